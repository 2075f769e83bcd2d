"""Taboo: the tables of docs/rules/taboo.md, flow, scores, leaks, hostile replies, instances."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench import games_kit
from tests.clembench.games_kit import by_turns, oracles, shown, whole

from playpen import (
    Abort,
    Ask,
    Conversation,
    Episode,
    Experiment,
    Instance,
    Lose,
    Reward,
    Success,
    Violated,
    play,
)
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import parse_instances, ready_instances
from playpen.players.program import FunctionPlayer
from playpen.replay import replay
from playpen.scoring import episode_scores
from playpen_clembench.taboo.cards import Card, cards, mini_world
from playpen_clembench.taboo.game import Taboo
from playpen_clembench.taboo.words import forbidden_use, stem, stop_words, without_tag

GAME = Taboo()
DESCRIBER, GUESSER = "describer", "guesser"

BANDS = ("high_en", "medium_en", "low_en")

STOP_WORDS = """
a about above after again against ain all am an and any are aren as at be because been before being
below between both but by can couldn d did didn do does doesn doing don down during each few for
from further had hadn has hasn have haven having he her here hers herself him himself his how i if
in into is isn it its itself just ll m ma me mightn more most mustn my myself needn no nor not now
o of off on once only or other our ours ourselves out over own re s same shan she should shouldn so
some such t than that the their theirs them themselves then there these they this those through to
too under until up ve very was wasn we were weren what when where which while who whom why will
with won wouldn y you your yours yourself yourselves
"""


def card(
    target: str = "winter",
    related: Sequence[str] = ("cold", "snow", "season"),
    rounds: int = 3,
    **more: Any,
) -> Instance:
    """An instance of our own; `more` are fields of the experiment, such as prompts."""
    data = {"game_id": 0, "target_word": target, "related_word": list(related)}
    return Instance("taboo", Experiment("words", {"max_turns": rounds, **more}), data)


played = partial(by_turns, GAME)


def finished(item: Instance, *replies: str) -> Episode:
    """The episode of a script that the game uses up."""
    return whole(played(item, *replies))


def asked(episode: Episode) -> list[str]:
    return [event.role for event in episode.events if isinstance(event, Ask)]


# --- what a clue may be (docs/rules/taboo.md, "Reply format") -------------------------------------

CLUES = [
    # The table of docs/rules/taboo.md, "Reply format".
    ("CLUE: It is not hot.", "fine"),
    ("CLUE:frozen months", "fine"),
    ("CLUE:", "fine"),
    ("clue: ice", "abort"),
    (" CLUE: ice", "abort"),
    ("Sure! CLUE: ice", "abort"),
    ("CLUE: winters are long", "winter"),
    ("CLUE: Winter's opposite", "winter"),
    ("CLUE: four seasons", "season"),
    ("CLUE: snowing outside", "snow"),
    ("CLUE: snowy outside", "fine"),
    ("CLUE: snowman", "fine"),
    ("CLUE: The COLDEST part", "fine"),
    ("CLUE: mid-winter break", "fine"),
    ("CLUE: think ice\nwinter", "fine"),
    # Around the tag.
    ("", "abort"),
    ("\nCLUE: ice", "abort"),
    ("**CLUE:** ice", "abort"),
    ("CLUE ice", "abort"),
    ("Clue: ice", "abort"),
    ("GUESS: ice", "abort"),
    ("CLUE: ice\nGUESS: winter\nCLUE:", "winter"),
    ("CLUE: winCLUE:ter", "winter"),
    ("CLUE:CLUE:CLUE: snow", "snow"),
    # Normalisation: strip, lower, delete punctuation, split at the blank alone.
    ("CLUE: WINTER", "winter"),
    ("CLUE: w.i.n.t.e.r!", "winter"),
    ("CLUE: win-ter", "winter"),
    ("CLUE: (winter)", "winter"),
    ("CLUE:\n\t winter \n", "winter"),
    ("CLUE:    ice     snow   ", "snow"),
    ("CLUE: ice\tsnow", "fine"),
    ("CLUE: ice\u00a0snow", "fine"),
    ("CLUE: ice\nsnow season", "season"),
    ("CLUE: ice, snow, season", "snow"),
    ("CLUE: ice,snow,season", "fine"),
    ("CLUE: w i n t e r", "fine"),
    ("CLUE: wintertime", "fine"),
    # The curly apostrophe is no ASCII punctuation; the stemmer takes the possessive off.
    ("CLUE: winter\u2019s chill", "winter"),
    ("CLUE: \u2018winter\u2019", "winter"),
    ("CLUE: \u201cwinter\u201d", "fine"),
]


@pytest.mark.parametrize(("reply", "verdict"), CLUES)
def test_what_a_clue_may_be(reply: str, verdict: str) -> None:
    result = played(card(), reply, "GUESS: winter")
    episode = result.episode
    assert result.complete
    if verdict == "fine":
        assert episode.outcome == Success(100)
        assert shown(episode, GUESSER)[0].endswith(f"\n\n{reply}")
        return
    assert result.unused == 1
    assert asked(episode) == [DESCRIBER]
    violations = [event for event in episode.events if isinstance(event, Violated)]
    if verdict == "abort":
        assert isinstance(episode.outcome, Abort)
        assert episode.outcome.fault == DESCRIBER
        assert [v.role for v in violations] == [DESCRIBER]
    else:
        # A lost game and no violated request.
        assert episode.outcome == Lose(0, fault=DESCRIBER)
        assert not violations
        assert verdict in msgspec_text(episode)


def msgspec_text(episode: Episode) -> str:
    """The game master's notes, as one text."""
    return " ".join(str(event) for event in episode.events if type(event).__name__ == "Note")


@pytest.mark.parametrize(
    ("related", "reply", "allowed"),
    [
        # Stop words leave the clue before the comparison, so they cannot be forbidden.
        (["not", "be", "ice"], "CLUE: not to be", True),
        (["not", "be", "ice"], "CLUE: being", True),
        (["most", "just", "having"], "CLUE: just having most", True),
        (["not", "be", "ice"], "CLUE: nothing", True),
        (["not", "be", "ice"], "CLUE: ices", False),
        # Hyphens leave the clue and stay in the related word, so the two never meet.
        (["ice-cream", "snow", "season"], "CLUE: ice-cream", True),
        (["ice-cream", "snow", "season"], "CLUE: icecream", True),
        (["ice-cream", "snow", "season"], "CLUE: ice cream", True),
        (["ice-cream", "snow", "season"], "CLUE: ice-cream snows", False),
        # So do related words of two words.
        (["cold weather", "snow", "season"], "CLUE: cold weather", True),
        # Capitals of a related word do no harm: the stemmer takes lower case.
        (["Cold", "SNOW", "season"], "CLUE: cold", False),
        (["Cold", "SNOW", "season"], "CLUE: snowing", False),
        # Any number of related words, the first as good as the last.
        (["cold"], "CLUE: colds", False),
        (["a1", "a2", "a3", "a4", "a5"], "CLUE: a5", False),
    ],
)
def test_forbidden_words_of_odd_forms(related: list[str], reply: str, allowed: bool) -> None:
    episode = played(card(related=related), reply, "GUESS: winter").episode
    assert episode.outcome == (Success(100) if allowed else Lose(0, fault=DESCRIBER))


def test_the_stem_fields_of_an_instance_are_not_read() -> None:
    item = card()
    data = {**item.data, "target_word_stem": "ice", "related_word_stem": ["frozen", "x", "y"]}
    misleading = Instance("taboo", item.experiment, data)
    assert played(misleading, "CLUE: frozen ice x y", "GUESS: winter").episode.success
    assert played(misleading, "CLUE: winters").episode.lose


def test_the_stop_words_are_those_of_the_rules() -> None:
    assert stop_words() == frozenset(STOP_WORDS.split())
    assert len(stop_words()) == 153


@pytest.mark.parametrize(
    ("word", "expected"),
    # Where the algorithm was revised later, the version that upstream uses counts.
    [
        ("university", "univers"),
        ("evening", "even"),
        ("organization", "organ"),
        ("realization", "realize"),
        ("skies", "sky"),
        ("dying", "die"),
        ("Generously", "generous"),
    ],
)
def test_the_stemmer_is_that_of_nltk(word: str, expected: str) -> None:
    from nltk.stem.snowball import SnowballStemmer

    assert stem(word) == expected == SnowballStemmer("english").stem(word)


# --- what a guess may be -------------------------------------------------------------------------

GUESSES = [
    # The table of docs/rules/taboo.md, "Reply format".
    ("GUESS: winter", "hit"),
    ("GUESS:Winter!", "hit"),
    ('GUESS: "winter"', "hit"),
    ("GUESS: win-ter", "hit"),
    ("GUESS: winter GUESS:", "hit"),
    ("GUESS: - winter", "miss"),
    ("GUESS: the winter", "miss"),
    ("GUESS: winter\nBecause it is cold.", "miss"),
    ("guess: winter", "abort"),
    ("**GUESS:** winter", "abort"),
    ("GUESS winter", "abort"),
    # More of the same kinds.
    ("GUESS: WINTER.", "hit"),
    ("GUESS:\n\twinter\n", "hit"),
    ("GUESS:GUESS: winter", "hit"),
    ("GUESS: winGUESS:ter", "hit"),
    ("GUESS: winter -", "miss"),
    ("GUESS: winters", "miss"),
    ("GUESS: winter\u2019", "miss"),
    ("GUESS: CLUE: winter", "miss"),
    ("GUESS:", "miss"),
    ("GUESS: ", "miss"),
    ("", "abort"),
    ("winter", "abort"),
    (" GUESS: winter", "abort"),
    ("\nGUESS: winter", "abort"),
    ("CLUE: winter", "abort"),
    ("I say GUESS: winter", "abort"),
]


@pytest.mark.parametrize(("reply", "verdict"), GUESSES)
def test_what_a_guess_may_be(reply: str, verdict: str) -> None:
    result = played(card(), "CLUE: ice", reply)
    episode = result.episode
    assert result.unused == 0
    if verdict == "hit":
        assert episode.outcome == Success(100)
    elif verdict == "abort":
        assert isinstance(episode.outcome, Abort)
        assert episode.outcome.fault == GUESSER
    else:
        # A wrong guess is no violation; it goes to the describer as it is.
        assert not result.complete
        assert shown(episode, DESCRIBER)[1] == reply
        assert not [event for event in episode.events if isinstance(event, Violated)]


@pytest.mark.parametrize("target", ["Winter", "win-ter", "winter!"])
def test_a_target_that_is_not_in_normal_form_cannot_be_guessed(target: str) -> None:
    guesses = (f"GUESS: {target}", "GUESS: winter", f"GUESS:{target.lower()}")
    replies = [reply for guess in guesses for reply in ("CLUE: ice", guess)]
    assert finished(card(target), *replies).lose


# --- flow ----------------------------------------------------------------------------------------

PROMPTS: dict[str, Any] = {
    "describer_initial_prompt": "D $TARGET_WORD$ / $REL_WORD$ / $N$ / $5 $OTHER$",
    "guesser_initial_prompt": "G $N$ $TARGET_WORD$",
}


def test_each_role_has_its_own_history() -> None:
    episode = finished(
        card(**PROMPTS),
        "CLUE:  one ",
        "GUESS: First, guess!",
        "CLUE: two\nCLUE: lines\n ",
        "GUESS: \n second",
        "CLUE:",
        "GUESS: winter",
    )
    assert [(m.role, m.content) for m in episode.conversation(DESCRIBER)] == [
        ("user", "D winter / - cold\n- snow\n- season / 3 / $5 $OTHER$"),
        ("assistant", "CLUE:  one "),
        ("user", "GUESS: First, guess!"),
        ("assistant", "CLUE: two\nCLUE: lines\n "),
        ("user", "GUESS: \n second"),
        ("assistant", "CLUE:"),
    ]
    assert [(m.role, m.content) for m in episode.conversation(GUESSER)] == [
        # The secret has no place in the guesser's prompt, even if the prompt asks for it.
        ("user", "G 3 $TARGET_WORD$\n\nCLUE:  one "),
        ("assistant", "GUESS: First, guess!"),
        ("user", "CLUE: two\nCLUE: lines\n "),
        ("assistant", "GUESS: \n second"),
        ("user", "CLUE:"),
        ("assistant", "GUESS: winter"),
    ]


def test_our_own_prompts_are_filled() -> None:
    episode = played(card(rounds=5), "CLUE: ice").episode
    (for_describer,), (for_guesser,) = shown(episode, DESCRIBER), shown(episode, GUESSER)
    assert "\n- cold\n- snow\n- season\n" in for_describer
    assert "winter" in for_describer
    assert "winter" not in for_guesser
    for prompt, tag in ((for_describer, "CLUE:"), (for_guesser, "GUESS:")):
        assert "$" not in prompt
        assert "5" in prompt
        assert tag in prompt


@pytest.mark.parametrize("rounds", [1, 2, 3, 7])
def test_the_last_round_is_the_last(rounds: int) -> None:
    wrong = ["CLUE: ice", "GUESS: ice"] * (rounds - 1)
    won = finished(card(rounds=rounds), *wrong, "CLUE: ice", "GUESS: winter")
    assert won.outcome == Success(100 / rounds)
    lost = finished(card(rounds=rounds), *wrong, "CLUE: ice", "GUESS: ice")
    assert lost.outcome == Lose(0)
    # An untagged guess in the last round is an abort, not a loss.
    assert finished(card(rounds=rounds), *wrong, "CLUE: ice", "ice").aborted


def test_nothing_is_asked_after_the_end() -> None:
    result = played(card(), "CLUE: ice", "GUESS: winter", "CLUE: more", "GUESS: winter")
    assert (result.episode.outcome, result.unused) == (Success(100), 2)


def test_the_hit_rewards_both_roles_and_nothing_else_does() -> None:
    def rewards(*replies: str) -> list[tuple[str, float]]:
        events = finished(card(), *replies).events
        return [(event.role, event.value) for event in events if isinstance(event, Reward)]

    assert rewards("CLUE: ice", "GUESS: x", "CLUE: ice", "GUESS: winter") == [
        (DESCRIBER, 1.0),
        (GUESSER, 1.0),
    ]
    assert rewards("CLUE: winter") == []
    assert rewards("ice") == []
    assert rewards(*["CLUE: ice", "GUESS: x"] * 3) == []


# --- scores (docs/rules/taboo.md, "Scores") -------------------------------------------------------

WRONG = ("CLUE: ice", "GUESS: ice")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("ending", "flag", "main"),
    [
        (("CLUE: ice", "GUESS: winter"), "Success", None),
        (("CLUE: winters",), "Lose", 0),
        (("ice",), "Aborted", None),
        (("CLUE: ice", "ice"), "Aborted", None),
    ],
    ids=["win", "clue error", "describer aborts", "guesser aborts"],
)
def test_scores(number: int, ending: tuple[str, ...], flag: str, main: float | None) -> None:
    episode = finished(card(), *WRONG * (number - 1), *ending)
    violated = int(flag == "Aborted")
    assert episode_scores(GAME, episode) == {
        "Violated Request Count": violated,
        "Parsed Request Count": number - violated,
        "Request Count": number,
        "Request Success Ratio": pytest.approx((number - violated) / number),
        "Aborted": violated,
        "Success": int(flag == "Success"),
        "Lose": int(flag == "Lose"),
        "Main Score": pytest.approx(100 / number) if flag == "Success" else main,
        "Repetition-Guesser": 0,
        "Repetition-Describer": 0,
    }
    before = {
        "Accuracy": 0,
        "Violated Request Count": 0,
        "Parsed Request Count": 1,
        "Request Count": 1,
    }
    assert GAME.metrics(episode).rounds == {
        **{str(n): before for n in range(number - 1)},
        str(number - 1): {
            "Accuracy": int(flag == "Success"),
            "Violated Request Count": violated,
            "Parsed Request Count": 1 - violated,
            "Request Count": 1,
        },
    }


def test_scores_of_a_game_that_runs_out_of_rounds() -> None:
    episode = finished(card(), *WRONG * 3)
    scores = episode_scores(GAME, episode)
    assert (scores["Lose"], scores["Main Score"], scores["Request Count"]) == (1, 0, 3)
    assert scores["Request Success Ratio"] == 1
    assert [r["Accuracy"] for r in GAME.metrics(episode).rounds.values()] == [0, 0, 0]


# --- leaks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", GAME.levels())
def test_what_the_guesser_sees_depends_on_the_clues_alone(level: str) -> None:
    # Cards differ, clues do not: were there a leak, the conversations would differ too.
    instances = parse_instances(GAME.generate("train", level=level, n=60), GAME)
    script = ["CLUE: qq", "GUESS: zz"] * 3
    conversations = {
        tuple(m.content for m in finished(item, *script).conversation(GUESSER))
        for item in instances
    }
    assert len(instances) == 60
    assert len(conversations) == 1


tagged_text = st.builds(
    "{}{}".format, st.sampled_from(["CLUE:", "GUESS:", "CLUE: ", "GUESS: "]), st.text()
)
words = st.lists(
    st.sampled_from(
        [
            "winter",
            "cold",
            "snow",
            "seasons",
            "Winter's",
            "not",
            "",
            "ice-cold",
            "\n",
            "CLUE:",
            "GUESS:",
        ]
    ),
    max_size=8,
).map(" ".join)
any_reply = st.one_of(
    st.text(),
    tagged_text,
    words.map("CLUE: {}".format),
    words.map("GUESS: {}".format),
    st.sampled_from(["CLUE: ice", "GUESS: ice", "GUESS: winter", "CLUE:\x00", "CLUE:\x1b[2J"]),
)


@settings(deadline=None, max_examples=300)
@given(played_well=st.integers(0, 5), odd=st.lists(any_reply, min_size=6, max_size=6))
def test_any_replies_end_in_an_outcome_and_replay_identically(
    played_well: int, odd: list[str]
) -> None:
    replies = [*[*WRONG * 3][:played_well], *odd]
    item = card()
    result = played(item, *replies)
    assert result.complete
    episode = result.episode
    assert isinstance(episode.outcome, Success | Lose | Abort)
    assert set(episode_scores(GAME, episode)) >= {"Main Score", "Request Count"}
    again = replay(GAME, item, episode)
    assert (again.complete, again.unused, again.divergences) == (True, 0, [])
    assert again.episode.outcome == episode.outcome


def test_a_forbidden_word_never_reaches_the_guesser() -> None:
    episode = finished(card("canarytarget"), *WRONG, "CLUE: canarytargets")
    assert "canary" not in "".join(shown(episode, GUESSER))


# --- hostile replies -----------------------------------------------------------------------------

MILLIONS = 10_000_000
HUGE = {
    "one long token": "ay" * (MILLIONS // 2),
    "a long token of suffixes": "ational" * (MILLIONS // 7),
    "many short tokens": "ay " * (MILLIONS // 3),
    "NULs": "\0" * MILLIONS,
    "punctuation": "!" * MILLIONS,
    "apostrophes": "'" * MILLIONS,
    "curly apostrophes": "\u2019" * (MILLIONS // 4),
    "blanks": " " * MILLIONS + "x",
    "lines": "\n" * MILLIONS + "x",
    "tags": "CLUE:GUESS:" * (MILLIONS // 11),
    "tokens just short enough to be stemmed": " ".join(["y" * 35] * (MILLIONS // 36)),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", HUGE)
def test_huge_replies_end_in_an_outcome(kind: str) -> None:
    text = HUGE[kind]
    episode = finished(card(), f"CLUE:{text}", f"GUESS:{text}", *WRONG * 2)
    assert episode.outcome == Lose(0)
    assert finished(card(), f"x{text}").aborted


@pytest.mark.timeout(30)
def test_a_long_reply_is_checked_to_its_end() -> None:
    padding = "ay " * 100_000
    assert finished(card(), f"CLUE: {padding}winter").outcome == Lose(0, fault=DESCRIBER)
    assert finished(card(), f"CLUE: {'x' * 1_000_000} winter").outcome == Lose(0, fault=DESCRIBER)


def test_the_stemmer_is_never_given_an_absurdly_long_word(monkeypatch: pytest.MonkeyPatch) -> None:
    # Older versions of NLTK need time quadratic in the length of such a word.
    stemmed: list[str] = []

    def recording(word: str) -> str:
        stemmed.append(word)
        return stem(word)

    monkeypatch.setattr("playpen_clembench.taboo.words.stem", recording)
    finished(card(), f"CLUE: {'ay' * 1000} {'y' * 500}ing winter")
    assert "winter" in stemmed
    assert max(map(len, stemmed)) < 100


@pytest.mark.timeout(30)
def test_the_shortcut_for_long_tokens_misses_no_form_of_a_word() -> None:
    # All endings that the stemmer takes off one after the other, with possessives and doublings.
    endings = ["s", "'s'", "ingly", "edly", "izations", "fulnesses", "ousnesses", "ivenesses"]
    for ending in endings + [a + b for a in endings for b in endings]:
        word = "winter" + ending
        token = word.replace("'", "\u2019")
        expected = stem(token) == stem("winter")
        assert (forbidden_use(token, "winter", []) is not None) == expected


def test_replies_that_no_text_file_can_hold_end_in_an_outcome() -> None:
    assert finished(card(), "\ud800").aborted
    assert finished(card(), "CLUE: \ud800", "GUESS: \udfff", *WRONG * 2).lose


# --- oracles -------------------------------------------------------------------------------------


def self_play(instances: Sequence[Instance]) -> list[Episode]:
    return play(GAME, oracles(GAME), instances)


def test_the_oracles_play_the_mini_world_by_its_rules_and_mostly_win() -> None:
    instances = parse_instances(GAME.generate("train", level="mini", n=500), GAME)
    episodes = self_play(instances)
    assert not [e for e in episodes if e.aborted or (e.lose and e.outcome != Lose(0))]
    assert sum(episode.success for episode in episodes) > 0.95 * len(episodes)
    # It takes talking: one clue seldom settles it, so there is something to learn.
    assert sum(episode.main_score == 100 for episode in episodes) < 0.5 * len(episodes)
    clues = set(mini_world().clues)
    said = {
        reply.reply.text.removeprefix("CLUE: ") for e in episodes for reply in e.replies(DESCRIBER)
    }
    assert said <= clues


def wrong(conversation: Conversation) -> str:
    return "GUESS: wrong"


def silent(conversation: Conversation) -> str:
    return "CLUE:"


@pytest.mark.parametrize("level", GAME.levels())
def test_the_describing_oracle_never_breaks_the_rules_with_a_poor_guesser(level: str) -> None:
    players = oracles(GAME) | {GUESSER: FunctionPlayer(wrong)}
    for split in SPLITS:
        instances = parse_instances(GAME.generate(split, level=level), GAME)[:300]
        for episode in play(GAME, players, instances):
            assert episode.outcome == Lose(0), episode.conversation(DESCRIBER)
            assert len(episode.replies(DESCRIBER)) == 3


def test_the_guessing_oracle_tries_different_words_with_a_poor_describer() -> None:
    players = oracles(GAME) | {DESCRIBER: FunctionPlayer(silent)}
    for episode in play(GAME, players, ready_instances(GAME, "validation")[:40]):
        assert not episode.aborted
        guesses = [said.reply.text for said in episode.replies(GUESSER)]
        assert len(set(guesses)) == len(guesses)


def test_the_oracles_win_on_words_and_prompts_they_do_not_know() -> None:
    instances = [
        card("quixotic", ["dreamer", "windmill", "noble"], **PROMPTS),
        card("spelling", ["backward", "letter", "word"]),
        card("zebra", ["stripe", "horse", "safari"]),
    ]
    prompt: dict[str, Any] = {
        "describer_initial_prompt": "Explain:\n\n$TARGET_WORD$\n\nAvoid:\n\n$REL_WORD$\n\nGo!",
        "guesser_initial_prompt": "Find the word in $N$ tries.",
    }
    instances += [card(i["target_word"], i["related_word"], **prompt) for i in instances]
    episodes = self_play(instances)
    assert [e.success for e in episodes[1:]] == [True] * (len(episodes) - 1)


# --- the pack's own words ------------------------------------------------------------------------

ALL_CARDS = [(band, one) for band, found in cards().items() for one in found]


def test_the_card_bands() -> None:
    assert {f"{band}_en" for band in cards()} == set(BANDS)
    assert all(len(found) >= 200 for found in cards().values())


def test_no_word_is_on_two_cards() -> None:
    targets = [one.target for _, one in ALL_CARDS]
    assert len(set(targets)) == len(targets)


def test_hints_are_unique() -> None:
    hints = [without_tag(one.hint, "CLUE:") for _, one in ALL_CARDS]
    assert len(set(hints)) == len(hints)


def test_every_card_can_be_triggered_and_its_hint_does_not_trigger_it() -> None:
    def faults(one: Card) -> list[str]:
        found = []
        entries = (one.target, *one.related)
        for word in entries:
            if not (word.isascii() and word.isalpha() and word.islower()):
                found.append(f"{word!r} is not one lower-case word")
            if word in stop_words():
                found.append(f"{word!r} is a stop word")
            if not forbidden_use(word, one.target, list(one.related)):
                found.append(f"{word!r} is never caught")
        if len(one.target) < 3:
            found.append("the target is too short")
        if len(one.related) != 3:
            found.append("there are not three related words")
        if len({stem(word) for word in entries}) != 4:
            found.append("two entries have one stem")
        if forbidden_use(without_tag(one.hint, "CLUE:"), one.target, list(one.related)):
            found.append("the hint breaks the rule")
        if one.target in without_tag(one.hint, "CLUE:").replace(" ", ""):
            found.append("the hint contains the target")
        if "\n" in one.hint or one.hint != one.hint.strip():
            found.append("the hint is not one trimmed line")
        return found

    assert {one.target: faults(one) for _, one in ALL_CARDS if faults(one)} == {}


def test_the_mini_world_is_closed_and_playable() -> None:
    world = mini_world()
    assert len(set(world.clues)) == len(world.clues)
    assert {clue for fitting in world.words.values() for clue in fitting} == set(world.clues)
    for fitting in world.words.values():
        assert len(set(fitting)) == len(fitting) > 2 + 1  # two may be forbidden
    # No clue of the world is a form of another word of it, or it could lose the game.
    stems = [stem(word) for word in (*world.clues, *world.words)]
    assert len(set(stems)) == len(stems)
    assert not {*world.clues, *world.words} & stop_words()


# --- instances -----------------------------------------------------------------------------------


generated = partial(games_kit.generated, GAME)


def test_levels() -> None:
    assert GAME.levels() == (*BANDS, "mini")
    for split in SPLITS:
        # The mini world is made on demand.
        assert {i.experiment.name for i in ready_instances(GAME, split)} == set(BANDS)
        assert {i["max_turns"] for i in ready_instances(GAME, split)} == {3}
        assert len(ready_instances(GAME, split)) > 100


@pytest.mark.parametrize("split", SPLITS)
def test_no_target_repeats_in_a_pack_and_the_stem_fields_are_right(split: str) -> None:
    found = ready_instances(GAME, split)
    targets = [i["target_word"] for i in found]
    assert len(set(targets)) == len(targets)
    for item in found:
        assert item["target_word_stem"] == stem(item["target_word"])
        assert item["related_word_stem"] == [stem(word) for word in item["related_word"]]


def test_a_fingerprint_is_the_card_whatever_the_wording_and_order() -> None:
    one = card(related=["cold", "snow", "season"])
    other = card(related=["snow", "season", "cold"], rounds=5, **PROMPTS)
    assert one.hash != other.hash
    assert GAME.fingerprint(one) == GAME.fingerprint(other)
    assert GAME.fingerprint(one) != GAME.fingerprint(card("summer"))
    assert GAME.fingerprint(one) != GAME.fingerprint(card(related=["cold", "snow", "ice"]))


@pytest.mark.parametrize("split", SPLITS)
def test_a_level_that_is_used_up_says_what_there_is(split: str) -> None:
    there_are = len(generated(split, level="high_en"))
    with pytest.raises(InstanceError) as caught:
        GAME.generate(split, level="high_en", n=there_are + 1)
    for part in ("high_en", split, str(there_are), str(there_are + 1)):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_word": 5}, "field 'target_word'"),
        ({"target_word": ""}, "field 'target_word'"),
        ({"related_word": "cold"}, "field 'related_word'"),
        ({"related_word": []}, "field 'related_word'"),
        ({"related_word": ["cold", 7]}, r"field 'related_word\[1\]'"),
    ],
)
def test_invalid_instances_are_refused(change: dict[str, Any], message: str) -> None:
    item = {**card().data, **change}
    document = {"experiments": [{"name": "x", "max_turns": 3, "game_instances": [item]}]}
    with pytest.raises(InstanceError, match=rf"experiment 'x', instance 0: {message}"):
        parse_instances(document, GAME)


@pytest.mark.parametrize("rounds", [0, "three", None, 101])
def test_an_experiment_needs_a_sane_number_of_rounds(rounds: Any) -> None:
    document = {"experiments": [{"name": "x", "max_turns": rounds, "game_instances": []}]}
    with pytest.raises(InstanceError, match="'max_turns'"):
        parse_instances(document, GAME)
