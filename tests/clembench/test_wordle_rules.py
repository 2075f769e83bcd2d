"""The wordle family (docs/rules/wordle.md, "Flow", "Violations", "Ends" and "Scores")."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import shown, whole

from playpen.conversation import Reply
from playpen.episode import Episode
from playpen.instance import Experiment, Instance
from playpen.moves import Abort, Lose, Reward, Round, Success, Violated
from playpen.referee import Referee
from playpen.replay import replay, replay_script
from playpen.scoring import episode_scores
from playpen_clembench.wordle.game import Wordle, WordleWithClue, WordleWithCritic
from playpen_clembench.wordle.setting import setting_of

PLAIN, CLUE, CRITIC = Wordle(), WordleWithClue(), WordleWithCritic()
FAMILY = [PLAIN, CLUE, CRITIC]

WORDS = ["boost", "stoop", "roost", "crane", "slate", "moody", "llama", "label"]
KEYWORDS = {
    "official_words_list": WORDS,
    "error_prompt_text": {
        "NOT_VALID_WORD_FOR_GAME": "No such word.",
        "RETRY": "Once more.",
        "INVALID_FORMAT": "Write this:",
        "INVALID_WORD": "never shown",
    },
}
EXPERIMENT = Experiment(
    "high",
    {
        "common_config": {"n_turns": 6, "max_retry_per_error": {"NOT_VALID_WORD_FOR_GAME": 5}},
        "guesser_prompt": "GUESSER PROMPT costs $5 and $HOME$",
        "guesser_critic_prompt": "CRITIC PROMPT",
        "lang_keywords": KEYWORDS,
    },
)
FORM = "Write this:\nexplanation: details\nguess: word"
VERDICT_FORM = "Write this:\nexplanation: details\nagreement: yes or no"
AGAIN = f"No such word. Once more.\n\n{FORM}"


def make(game, target=" Boost\n", experiment=EXPERIMENT):
    item = {"game_id": 1, "target_word": target, "target_word_clue": " give a lift\n"}
    return Instance(game.name, experiment, item)


def g(word, why="because"):
    return f"explanation: {why}\nguess: {word}"


def v(verdict, why="I think so"):
    return f"explanation: {why}\nagreement: {verdict}"


def play(game, replies, instance=None) -> Episode:
    script = [(None, Reply(text)) for text in replies]
    return whole(replay_script(game, instance or make(game), script))


def scores(game, episode):
    return game.metrics(episode).episode


# --- flow ----------------------------------------------------------------------------------------


def test_messages_of_the_plain_game():
    episode = play(PLAIN, [g("stoop"), g("zzzzz"), g("crane"), g("boost")])
    stoop = "s<yellow> t<yellow> o<green> o<yellow> p<red>"
    crane = "c<red> r<red> a<red> n<red> e<red>"
    assert shown(episode, "guesser") == [
        "GUESSER PROMPT costs $5 and $HOME$",
        f"guess_feedback: {stoop}\n\n{FORM}",
        AGAIN,
        f"guess_feedback: {crane}\n\n{FORM}",
    ]
    assert sum(isinstance(e, Round) for e in episode.events) == 2
    assert episode.outcome == Success(100)


def test_the_clue_follows_the_prompt_once():
    episode = play(CLUE, [g("stoop"), g("boost")])
    first, second = shown(episode, "guesser")
    assert first == "GUESSER PROMPT costs $5 and $HOME$\n\nclue: give a lift"
    assert second.startswith("guess_feedback: s<yellow>")


def test_messages_of_the_variant_with_a_critic():
    replies = [g("zzzzz"), g("stoop", "a"), v("No", "b"), g("yyyyy"), g("roost")]
    replies += [g("boost", "c"), v("yes", "d"), g("boost")]
    episode = play(CRITIC, replies)
    roost = "r<red> o<green> o<green> s<green> t<green>"
    assert shown(episode, "guesser") == [
        "GUESSER PROMPT costs $5 and $HOME$\n\nclue: give a lift",
        AGAIN,
        f"clue: give a lift\nguess_agreement: no\nagreement_explanation: b\n\n{FORM}",
        AGAIN,
        f"guess_feedback: {roost}\n\n{FORM}",
        f"clue: give a lift\nguess_agreement: yes\nagreement_explanation: d\n\n{FORM}",
    ]
    assert shown(episode, "critic") == [
        "CRITIC PROMPT\n\nclue: give a lift\nexplanation: a\nguess: stoop",
        f"clue: give a lift\nexplanation: c\nguess: boost\n\n{VERDICT_FORM}",
    ]
    assert sum(isinstance(e, Round) for e in episode.events) == 1
    assert episode.outcome == Success(50)


def test_another_language_needs_no_other_code():
    tags = {
        "explanation_lang": "Erklärung:",
        "explanataion_details_lang": "Einzelheiten",
        "guess_lang": "Versuch:",
        "guess_word_lang": "Wort",
        "guess_feedback_lang": "Rückmeldung:",
        "clue_lang": "Hinweis:",
        "agreement_lang": "Zustimmung:",
        "agreement_word_lang": "ja oder nein",
        "agreement_match_keywords_lang": ["ja", "nein"],
        "guess_agreement_lang": "Urteil:",
        "agreement_explanation_lang": "Begründung:",
    }
    experiment = Experiment(
        "de", {**EXPERIMENT.config, "lang": "de", "lang_keywords": {**KEYWORDS, **tags}}
    )
    replies = [
        "Erklärung: x\nversuch: crane",
        "Erklärung: y\nZustimmung: ja",
        "Erklärung: z\nVersuch: crane",
        "Erklärung: x\nVersuch: boost",
        "Erklärung: y\nZustimmung: nein",
        "Erklärung: z\nVersuch: boost",
    ]
    episode = play(CRITIC, replies, make(CRITIC, experiment=experiment))
    assert episode.success
    assert shown(episode, "guesser")[1] == (
        "Hinweis: give a lift\nUrteil: ja\nBegründung: y\n\n"
        "Write this:\nErklärung: Einzelheiten\nVersuch: Wort"
    )
    assert shown(episode, "critic")[1].endswith("Erklärung: Einzelheiten\nZustimmung: ja oder nein")
    assert scores(CRITIC, episode)["Repetition-Guesser-On-Critic-Agreement"] == 1
    assert scores(CRITIC, episode)["Repetition-Guesser-On-Critic-Disagreement"] == 1


@pytest.mark.parametrize("where", ["lang_keywords", "common_config"])
def test_the_word_length_is_the_experiments(where):
    config = dict(EXPERIMENT.config)
    config["lang_keywords"] = {**KEYWORDS, "official_words_list": ["cat", "dog"]}
    config[where] = {**config[where], "max_word_length": 3}
    instance = make(PLAIN, "cat", Experiment("three", config))
    episode = play(PLAIN, [g("dog"), g("cat")], instance)
    assert episode.outcome == Success(100)
    assert play(PLAIN, [g("boost")], instance).outcome.code == "wrong_length"


@pytest.mark.parametrize("game", FAMILY, ids=lambda game: game.name)
def test_own_prompts_name_the_tags_and_the_limits(game):
    config = {"common_config": {"n_turns": 4}, "lang_keywords": {**KEYWORDS, "guess_lang": "TIP:"}}
    conversation = Referee(game, make(game, experiment=Experiment("own", config))).advance()
    assert conversation is not None
    for part in ("explanation:", "TIP:", "guess_feedback:", "4 guesses", "5 letters"):
        assert part in conversation.last
    assert ("clue: give a lift" in conversation.last) == game.has_clue
    assert ("critic" in conversation.last) == game.has_critic
    assert "$" not in conversation.last


def test_our_critic_prompt_promises_no_colours():
    config = {"common_config": {"n_turns": 6}, "lang_keywords": KEYWORDS}
    referee = Referee(CRITIC, make(CRITIC, experiment=Experiment("own", config)))
    referee.advance()
    question = referee.advance(Reply(g("crane"))).last
    assert "yes or no" in question and "agreement:" in question
    for word in ("color", "colour", "feedback", "green", "yellow", "red "):
        assert word not in question.lower()


def test_an_empty_prompt_counts_as_none():
    config = {**EXPERIMENT.config, "guesser_critic_prompt": ""}
    referee = Referee(CRITIC, make(CRITIC, experiment=Experiment("empty", config)))
    referee.advance()
    assert "yes or no" in referee.advance(Reply(g("crane"))).last


def test_the_critic_never_sees_the_colours():
    replies = [text for _ in range(6) for text in (g("stoop"), v("no"), g("roost"))]
    episode = play(CRITIC, replies)
    assert not any("<" in m.content for m in episode.conversation("critic"))


def test_the_word_list_becomes_a_set_once_per_experiment():
    first, second = make(PLAIN), make(CRITIC, "crane")
    assert setting_of(first) is setting_of(second)
    assert setting_of(first).words == frozenset(WORDS)


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "by_round"),
    [
        (PLAIN, [100, 100, 100, 50, 30, 20]),
        (CLUE, [100.0, 50.0, 33.33, 25.0, 20.0, 16.67]),
        (CRITIC, [100.0, 50.0, 33.33, 25.0, 20.0, 16.67]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_main_score_by_winning_round(game, by_round):
    def turn(word):
        return [g(word), v("yes"), g(word)] if game is CRITIC else [g(word)]

    for rounds, score in enumerate(by_round, start=1):
        replies = [text for _ in range(rounds - 1) for text in turn("crane")] + turn("boost")
        assert play(game, replies).outcome == Success(score)
    lost = play(game, [text for _ in range(6) for text in turn("crane")])
    assert lost.outcome == Lose(0)
    assert scores(game, lost)["Guess Repetitions"] == 5


def test_a_tentative_target_does_not_win():
    episode = play(CRITIC, [g("boost"), v("no"), g("crane"), g("boost"), v("yes"), g("boost")])
    assert episode.outcome == Success(50)


@pytest.mark.parametrize(
    ("replies", "fault"),
    [
        ([g("cranes")], "guesser"),
        ([g("crane"), v("perhaps")], "critic"),
        ([g("crane"), v("yes"), "guess: crane"], "guesser"),
        ([g("crane"), v("yes"), *[g("zzzzz")] * 6], "guesser"),
    ],
)
def test_an_abort_in_any_phase_names_the_role_at_fault(replies, fault):
    episode = play(CRITIC, replies)
    assert isinstance(episode.outcome, Abort)
    assert episode.outcome.fault == fault
    assert scores(CRITIC, episode)["Main Score"] is None


def test_the_sixth_unknown_word_in_a_row_aborts_and_counts_as_parsed():
    episode = play(PLAIN, [g("crane"), *[g("zzzzz")] * 6])
    assert isinstance(episode.outcome, Abort) and episode.outcome.code == "unknown_word"
    retried = [e.retried for e in episode.events if isinstance(e, Violated)]
    assert retried == [True] * 5 + [False]
    result = scores(PLAIN, episode)
    assert result["Request Count"] == result["Parsed Request Count"] == 7
    assert result["Violated Request Count"] == 0
    assert result["Request Success Ratio"] == 1.0


def test_the_retry_counter_starts_anew_with_every_guess_phase():
    unknown = [g("zzzzz")] * 5
    replies = [*unknown, g("crane"), v("no"), *unknown, g("crane"), *unknown, g("crane")]
    replies += [v("no"), *unknown, g("boost")]
    assert play(CRITIC, replies).outcome == Success(50)


def test_the_retry_limit_is_the_experiments():
    config = dict(EXPERIMENT.config)
    config["common_config"] = {"n_turns": 6, "max_retry_per_error": {"NOT_VALID_WORD_FOR_GAME": 1}}
    instance = make(PLAIN, experiment=Experiment("strict", config))
    assert play(PLAIN, [g("zzzzz"), g("zzzzz")], instance).aborted


# --- scores --------------------------------------------------------------------------------------

SHARED_KEYS = [
    "Aborted",
    "Lose",
    "Success",
    "Request Count",
    "Parsed Request Count",
    "Violated Request Count",
    "Request Success Ratio",
    "Main Score",
    "Guess Repetitions",
]
CRITIC_KEYS = [
    "Repetition-Guesser-On-Critic-Agreement",
    "Non-Repetition-Guesser-On-Critic-Agreement",
    "Repetition-Guesser-On-Critic-Disagreement",
    "Non-Repetition-Guesser-On-Critic-Disagreement",
]


def test_scores_of_a_won_game():
    episode = play(PLAIN, [g("stoop"), g("zzzzz"), g("roost"), g("boost")])
    result = PLAIN.metrics(episode)
    assert list(result.episode) == SHARED_KEYS
    assert list(result.episode.values()) == [0, 0, 1, 4, 4, 0, 1.0, 100, 0]
    assert result.rounds == {
        "1": {"Closeness Score": 14, "Strategy Score": 0},
        "2": {"Closeness Score": 20, "Strategy Score": 50},
        "3": {"Closeness Score": 25, "Strategy Score": 60},
    }
    assert episode_scores(PLAIN, episode)["Main Score"] == 100


def test_scores_of_an_aborted_game():
    episode = play(CLUE, [g("stoop"), g("roost"), "sorry"])
    result = CLUE.metrics(episode)
    assert list(result.episode.values()) == [1, 0, 0, 3, 2, 1, 2 / 3, None, None]
    assert list(result.rounds) == ["1", "2"]


@pytest.mark.parametrize("game", FAMILY, ids=lambda game: game.name)
def test_without_any_feedback_the_only_turn_key_is_zero(game):
    result = game.metrics(play(game, ["sorry"]))
    assert result.rounds == {"0": {"Closeness Score": None, "Strategy Score": None}}
    assert result.episode["Request Success Ratio"] == 0


def test_strategy_of_a_single_feedback():
    won, aborted = play(PLAIN, [g("boost")]), play(PLAIN, [g("crane"), "sorry"])
    assert PLAIN.metrics(won).rounds["1"]["Strategy Score"] == 100
    assert PLAIN.metrics(aborted).rounds["1"]["Strategy Score"] == 0
    config = {**EXPERIMENT.config, "common_config": {"n_turns": 1}}
    lost = play(PLAIN, [g("crane")], make(PLAIN, experiment=Experiment("one", config)))
    assert PLAIN.metrics(lost).rounds["1"]["Strategy Score"] == 100


def test_reactions_to_the_critic():
    replies = [g("crane"), v("yes"), g("crane"), g("crane"), v("yes"), g("slate")]
    replies += [g("slate"), v("yes"), g("slate"), g("crane"), v("no"), g("moody")]
    replies += [g("stoop"), v("no")]  # an incomplete round, which is dropped
    episode = play(CRITIC, [*replies, "sorry"])
    result = CRITIC.metrics(episode)
    assert list(result.episode) == SHARED_KEYS + CRITIC_KEYS
    assert [result.episode[key] for key in CRITIC_KEYS] == [0.67, 0.33, 0.0, 1.0]
    assert [result.rounds[key]["Change-Of-Opinion"] for key in "1234"] == [0, 1, 0, 1]
    assert list(result.rounds) == list("1234")


def test_an_empty_group_has_shares_of_zero():
    episode = play(CRITIC, [g("crane"), v("no"), g("boost")])
    assert [scores(CRITIC, episode)[key] for key in CRITIC_KEYS] == [0, 0, 0.0, 1.0]


@pytest.mark.parametrize(
    "replies",
    [["sorry"], [g("crane"), "sorry"], [g("crane"), v("yes"), "sorry"]],
)
def test_without_a_complete_round_the_shares_are_missing(replies):
    assert [scores(CRITIC, play(CRITIC, replies))[key] for key in CRITIC_KEYS] == [None] * 4


def test_rewards_add_up_to_the_closeness_of_the_last_guess():
    for words in (["crane", "stoop", "boost"], ["roost", *["crane"] * 5]):
        episode = play(PLAIN, [g(word) for word in words])
        rewards = [e.value for e in episode.events if isinstance(e, Reward)]
        assert len(rewards) == len(words)
        assert sum(rewards) == pytest.approx(float(words[-1] == "boost"))


# --- arbitrary replies ---------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="explanation: guess:agreement\n yesno", max_size=60),
    st.sampled_from(["", "\n", "\x00", "explanation:", "guess:", "$ROUNDS$", "İ" * 50, "\u2028"]),
)
NEAR_VALID = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["explanation: ", "explanation:", "Explanation: ", " explanation:", ""]),
    HOSTILE,
    st.sampled_from(["\n", "\n", "\n", "\n\n", " ", "\r", "\u2028"]),
    st.sampled_from(["guess: ", "agreement: ", "GUESS:", "guess_agreement:", "**guess:** "]),
    st.one_of(st.sampled_from([*WORDS, "yes", "no", "zzzzz", "İstan", "boost."]), HOSTILE),
)
VALID = st.one_of(
    st.builds(g, st.sampled_from([*WORDS, "zzzzz"])), st.builds(v, st.sampled_from(["yes", "no"]))
)


@pytest.mark.parametrize("game", FAMILY, ids=lambda game: game.name)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_replies_end_in_an_outcome(game, data):
    instance = make(game)
    referee = Referee(game, instance)
    pending = referee.advance()
    while pending is not None:
        fitting = st.builds(g, st.sampled_from([*WORDS, "zzzzz"]))
        if pending.role == "critic":
            fitting = st.builds(v, st.sampled_from(["yes", "no"]))
        text = data.draw(st.one_of(fitting, fitting, fitting, VALID, NEAR_VALID, HOSTILE))
        pending = referee.advance(Reply(text))
    episode = referee.episode
    result = game.metrics(episode)
    numbers = result.episode
    assert numbers["Aborted"] + numbers["Lose"] + numbers["Success"] == 1
    total = numbers["Parsed Request Count"] + numbers["Violated Request Count"]
    assert total == numbers["Request Count"] == len(episode.replies())
    assert (numbers["Main Score"] is None) == episode.aborted
    assert all(-1 <= e.value <= 1 for e in episode.events if isinstance(e, Reward))
    assert replay(game, instance, episode).divergences == []
