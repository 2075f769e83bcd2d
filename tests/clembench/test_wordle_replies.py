"""The tables of docs/rules/wordle.md, "Reply format" and "Violations"."""

from __future__ import annotations

import pytest

from playpen.instance import Experiment, Instance
from playpen.moves import Violation
from playpen_clembench.wordle.reply_format import read_guess, read_verdict
from playpen_clembench.wordle.setting import setting_of

WORDS = ["apple", "crane", "river", "slate", "größe"]


@pytest.fixture(scope="module")
def setting():
    config = {"common_config": {"n_turns": 6}, "lang_keywords": {"official_words_list": WORDS}}
    return setting_of(Instance("wordle", Experiment("e", config), {}))


@pytest.mark.parametrize(
    ("reply", "guess", "explanation"),
    [
        ("explanation: common letters\nguess: crane", "crane", "common letters"),
        ("explanation: x\nGuess:CRANE ", "crane", "x"),
        ("explanation: I pick it. guess: crane", "crane", "I pick it. guess: crane"),
        ("explanation: x\nmy guess: crane", "crane", "x"),
        ("explanation:x\nguess:crane", "crane", "x"),
        ("explanation:\nguess: crane", "crane", ""),
        ("explanation: x\nguess: crane\n\n", "crane", "x"),
        ("explanation: x\t\nguess:\t crane\u00a0", "crane", "x"),
        ("explanation: explanation: x\nguess: crane", "crane", "explanation: x"),
        ("explanation: x\nguess: GRÖßE", "größe", "x"),
        # Only \n ends a line: these are two lines.
        ("explanation: a\u2028b\rc\x0bd\x85e\nguess: crane", "crane", "a\u2028b\rc\x0bd\x85e"),
    ],
)
def test_accepted_guesses(setting, reply, guess, explanation):
    assert read_guess(reply, setting) == (guess, explanation)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("", "wrong_start"),
        (" explanation: x\nguess: crane", "wrong_start"),
        ("\nexplanation: x\nguess: crane", "wrong_start"),
        ("Explanation: x\nguess: crane", "wrong_start"),
        ("guess: crane\nexplanation: x", "wrong_start"),
        ("explanation: x\n\nguess: crane", "too_many_lines"),
        ("explanation: x\nguess: crane\nThanks", "too_many_lines"),
        ("explanation: x\r\n\r\nguess: crane", "too_many_lines"),
        ("explanation: first guess: a\nguess: crane", "content_tag"),
        ("explanation: x", "content_tag"),
        ("explanation: x\ncrane", "content_tag"),
        ("explanation: x\nguess: crane.", "not_letters"),
        ("explanation: x\nguess: crane guess: slate", "not_letters"),
        ("explanation: x\n**guess:** crane", "not_letters"),
        ("explanation: x\nguess:", "not_letters"),
        ("explanation: x\nguess: cr4ne", "not_letters"),
        ("explanation: x\nguess: cra\x00ne", "not_letters"),
        ("explanation: x\nguess: cranes", "wrong_length"),
        ("explanation: x\nguess: cran", "wrong_length"),
        # lower() makes two characters of this capital, the second of which is no letter.
        ("explanation: x\nguess: İstan", "not_letters"),
    ],
)
def test_guesses_in_a_wrong_form_are_not_asked_again(setting, reply, code):
    with pytest.raises(Violation) as caught:
        read_guess(reply, setting)
    assert caught.value.code == code
    assert caught.value.retry is None


@pytest.mark.parametrize("word", ["qqqqq", "žluťo", "ﬁnger"])
def test_an_unknown_word_is_asked_again(setting, word):
    with pytest.raises(Violation) as caught:
        read_guess(f"explanation: x\nguess: {word}", setting)
    assert caught.value.code == "unknown_word"
    texts = setting.keywords.error_texts
    assert caught.value.retry == (
        f"{texts.unknown_word} {texts.retry}\n\n"
        f"{texts.answer_form}\nexplanation: details\nguess: word"
    )


@pytest.mark.parametrize(
    ("reply", "verdict", "explanation"),
    [
        ("explanation: fits\nagreement: yes", "yes", "fits"),
        ("explanation: fits\nAgreement: NO ", "no", "fits"),
        ("explanation: fits agreement: no", "no", "fits agreement: no"),
        ("explanation: fits\nguess_agreement: yes", "yes", "fits"),
        ("explanation: my guess: no\nagreement: yes", "yes", "my guess: no"),
    ],
)
def test_accepted_verdicts(setting, reply, verdict, explanation):
    assert read_verdict(reply, setting) == (verdict, explanation)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("explanation: fits\nagreement: yes.", "not_letters"),
        ("explanation: fits\nagreement: I agree", "not_letters"),
        ("explanation: fits\nagreement: maybe", "no_verdict"),
        ("explanation: fits\nagreement: y", "no_verdict"),
        ("agreement: yes", "wrong_start"),
        ("explanation: fits\n\nagreement: yes", "too_many_lines"),
        ("explanation: in agreement: fits\nagreement: yes", "content_tag"),
        ("explanation: fits\nguess: yes", "content_tag"),
        ("", "wrong_start"),
    ],
)
def test_verdicts_in_a_wrong_form(setting, reply, code):
    with pytest.raises(Violation) as caught:
        read_verdict(reply, setting)
    assert caught.value.code == code
    assert caught.value.retry is None


@pytest.mark.parametrize(
    "reply",
    [
        "x" * 10_000_000,
        "explanation: " + "g" * 10_000_000,
        "explanation: " + "guess:" * 1_700_000,
        "explanation: " + "gues" * 2_500_000 + "\nguess: " + "a" * 1_000_000,
        "explanation:" + "\n" * 5_000_000 + "guess: crane",
        "explanation: x\nguess:" + " " * 10_000_000,
        "explanation: x\nguess: " + "İ" * 3_000_000,
    ],
    ids=range(7),
)
def test_huge_replies_are_refused_with_a_short_message(setting, reply):
    with pytest.raises(Violation) as caught:
        read_guess(reply, setting)
    assert len(caught.value.message) < 200
