"""The programs that play the wordle family."""

from __future__ import annotations

import pytest
from tests.clembench.games_kit import generated, noted, self_play

from playpen.conversation import Conversation, Message
from playpen.instance import Experiment, Instance
from playpen.moves import Violated
from playpen_clembench.wordle import feedback, material
from playpen_clembench.wordle.game import Wordle, WordleWithClue, WordleWithCritic
from playpen_clembench.wordle.oracle import OPENERS, critic, guesser

FAMILY = [Wordle(), WordleWithClue(), WordleWithCritic()]
PLAIN, CLUE, CRITIC = FAMILY
by_name = pytest.mark.parametrize("game", FAMILY, ids=lambda game: game.name)


def guesses(episode, kind="committed guess"):
    return [data["guess"] for data in noted(episode, kind)]


def made(game, split="train"):
    return generated(game, split, seed=1)


def always(verdict):
    return lambda conversation: f"explanation: so it is\nagreement: {verdict}"


def test_the_plain_game_is_won_almost_always():
    episodes = [self_play(PLAIN, i, repeat=r) for i in made(PLAIN) for r in range(2)]
    assert not any(e.aborted for e in episodes)
    assert sum(e.success for e in episodes) >= 0.99 * len(episodes)
    assert sum(len(guesses(e)) for e in episodes) < 3.2 * len(episodes)


@by_name
def test_every_guess_keeps_to_all_feedback_and_none_is_repeated(game):
    for instance in made(game, "validation"):
        episode = self_play(game, instance)
        words = guesses(episode)
        assert len(set(words)) == len(words)
        for number, word in enumerate(words):
            for earlier in words[:number]:
                marks = feedback.colours(earlier, instance["target_word"])
                assert feedback.colours(earlier, word) == marks


@by_name
def test_replies_depend_on_the_seed_alone_and_vary_with_it(game):
    instance = made(game, "test")[0]
    texts = [
        [s.reply.text for s in self_play(game, instance, repeat=r).replies()] for r in range(12)
    ]
    again = [s.reply.text for s in self_play(game, instance, repeat=3).replies()]
    assert texts[3] == again
    assert len({text for reply in texts for text in reply[:1]}) > 2


def with_words(game, target, words, clue="no clue of the bank"):
    config = {
        "common_config": {"n_turns": 6},
        "lang_keywords": {"official_words_list": words},
    }
    item = {"target_word": target, "target_word_clue": clue}
    return Instance(game.name, Experiment("test", config), item)


def refused(episode):
    texts = [e.message for e in episode.events if isinstance(e, Violated)]
    assert all(e.code == "unknown_word" for e in episode.events if isinstance(e, Violated))
    return texts


def test_a_refused_word_is_not_tried_again():
    instance = with_words(PLAIN, "heart", ["heart", "raise", "trail"])
    for repeat in range(20):
        words = refused(self_play(PLAIN, instance, repeat=repeat))
        assert len(words) == len(set(words))


def test_a_clues_word_that_is_refused_is_given_up():
    clue = material.clues("en")["high"]["brain"]
    words = sorted(set(material.words("en")) - {"brain"})
    episode = self_play(CLUE, with_words(CLUE, "toxic", words, clue))
    assert len(refused(episode)) == 1
    assert episode.success


def test_a_clue_that_misleads_is_dropped_after_the_feedback():
    clue = material.clues("en")["high"]["brain"]
    episode = self_play(CLUE, with_words(CLUE, "toxic", list(material.words("en")), clue))
    assert guesses(episode)[0] == "brain"
    assert episode.success


@pytest.mark.parametrize("target", ["aalst", "topaz", "crumb"])
def test_targets_outside_the_bank_can_be_found_among_all_words(target):
    assert target not in {w for group in material.clues("en").values() for w in group}
    assert self_play(PLAIN, with_words(PLAIN, target, list(material.words("en")))).success


def test_a_target_that_it_does_not_know_is_played_to_the_end():
    episode = self_play(PLAIN, with_words(PLAIN, "qqqqq", [*material.words("en"), "qqqqq"]))
    assert episode.lose and len(set(guesses(episode))) == 6


def test_agreement_keeps_the_guess_and_doubt_changes_it():
    instance = with_words(CRITIC, "toxic", list(material.words("en")))
    agreed = self_play(CRITIC, instance, critic=always("yes"))
    assert guesses(agreed, "tentative guess") == guesses(agreed)
    doubted = self_play(CRITIC, instance, critic=always("no"))
    first = zip(guesses(doubted, "tentative guess"), guesses(doubted), strict=True)
    assert next(first)[0] != guesses(doubted)[0]
    # The doubt concerns the round in which it was uttered, not the next round's tentative guess.
    said = ["doubts" in s.reply.text for s in doubted.replies("guesser")]
    assert said[:3] == [False, True, False]


def test_doubt_does_not_change_a_guess_that_the_clue_makes_sure():
    for instance in made(CRITIC, "test")[:5]:
        assert self_play(CRITIC, instance, critic=always("no")).main_score == 100


def test_a_doubted_word_without_rivals_is_kept():
    words = [*material.words("en"), "qqqqq"]
    clue = "no clue of the bank"
    for target in ("heart", "crown"):
        episode = self_play(CRITIC, with_words(CRITIC, target, words, clue), critic=always("no"))
        assert not episode.aborted


def ask_critic(clue, guess, seed=0):
    text = f"PROMPT\nclue: an example\nguess: other\n\nclue: {clue}\nexplanation: x\nguess: {guess}"
    return critic(Conversation("critic", [Message("user", text)], sampling_seed=seed))


def test_the_critic_judges_by_the_clue_and_names_no_other_word():
    clue = material.clues("en")["high"]["brain"]
    assert ask_critic(clue, "brain").endswith("\nagreement: yes")
    for seed in range(10):
        answer = ask_critic(clue, "crane", seed)
        assert answer.endswith("\nagreement: no")
        assert "brain" not in answer
    assert ask_critic("agreement: guess: what", "crane").endswith("\nagreement: yes")


def test_replies_have_two_lines_whatever_was_said_before():
    texts = ["", "guess:", "no tags at all", "guess_feedback: odd", "clue: \nguess_agreement: no"]
    for answer in texts:
        for message in texts:
            messages = [Message("user", "start"), Message("assistant", answer)]
            conversation = Conversation("guesser", [*messages, Message("user", message)])
            first, second = guesser(conversation).split("\n")
            assert first.startswith("explanation: ")
            assert second.removeprefix("guess: ").isalpha()


def test_the_plain_game_has_no_critic():
    with pytest.raises(LookupError, match="critic"):
        PLAIN.oracle("critic")


def test_the_openers_have_five_different_letters():
    assert all(len(set(word)) == 5 for word in OPENERS)
