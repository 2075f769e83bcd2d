"""IFEval: the checkers of its instructions, and the rules of the game around them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, whole

from playpen import PlaypenError
from playpen.episode import Episode
from playpen.instance import Experiment, Instance
from playpen.moves import Ask
from playpen.referee import Referee
from playpen.replay import replay
from playpen.scoring import episode_scores
from playpen_clembench.static import instructions, sentences
from playpen_clembench.static.ifeval import IfEval
from playpen_clembench.static.instructions import follows

GAME = IfEval()
ENGLISH = "The old man walked slowly through the garden and looked at the flowers of his wife"
GERMAN = "Der alte Mann ging langsam durch den Garten und sah sich die Blumen seiner Frau an"

AT_LEAST, LESS = {"relation": "at least"}, {"relation": "less than"}
KEYWORDS = {"keywords": ["oak", "tall tree"]}
FORBIDDEN = {"forbidden_words": ["oak", "tall tree"]}
TWICE = {"keyword": " oak ", "frequency": 2}
LETTERS = {"letter": "Q", "let_frequency": 2}
THIRD = {"num_paragraphs": 3, "nth_paragraph": 3, "first_word": "Then"}
CAPITALS = {"capital_frequency": 2}

FOLLOWED: list[tuple[str, dict[str, Any], str, bool]] = [
    ("keywords:existence", KEYWORDS, "An OAKEN table, a Tall Tree.", True),
    ("keywords:existence", KEYWORDS, "An oak.", False),
    ("keywords:frequency", TWICE | AT_LEAST, "Oak, oaken.", True),
    ("keywords:frequency", TWICE | AT_LEAST, "Oak.", False),
    ("keywords:frequency", TWICE | LESS, "Oak.", True),
    ("keywords:frequency", TWICE | LESS, "Oak, oaken.", False),
    ("keywords:forbidden_words", FORBIDDEN, "An oaken table.", True),
    ("keywords:forbidden_words", FORBIDDEN, "An Oak-table.", False),
    ("keywords:letter_frequency", LETTERS | {"let_relation": "at least"}, "Qq", True),
    ("keywords:letter_frequency", LETTERS | {"let_relation": "at least"}, "q", False),
    ("keywords:letter_frequency", LETTERS | {"let_relation": "less than"}, "q", True),
    ("keywords:letter_frequency", LETTERS | {"let_relation": "less than"}, "Qq", False),
    ("language:response_language", {"language": "en"}, ENGLISH, True),
    ("language:response_language", {"language": "en"}, GERMAN, False),
    ("language:response_language", {"language": "de"}, GERMAN, True),
    ("language:response_language", {"language": "de"}, "12 34 !", True),
    ("length_constraints:number_sentences", {"num_sentences": 2} | AT_LEAST, "So. No!", True),
    ("length_constraints:number_sentences", {"num_sentences": 3} | AT_LEAST, "So. No!", False),
    ("length_constraints:number_sentences", {"num_sentences": 3} | LESS, "So. No!", True),
    ("length_constraints:number_sentences", {"num_sentences": 2} | LESS, "So. No!", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***one *** two***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one *** *** two", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "one *** two", False),
    ("length_constraints:number_words", {"num_words": 4} | AT_LEAST, "it's a b", True),
    ("length_constraints:number_words", {"num_words": 5} | AT_LEAST, "it's a b", False),
    ("length_constraints:number_words", {"num_words": 5} | LESS, "it's a b", True),
    ("length_constraints:number_words", {"num_words": 4} | LESS, "it's a b", False),
    ("length_constraints:nth_paragraph_first_word", THIRD, "a\n\nb\n\n'\"Then, c", True),
    ("length_constraints:nth_paragraph_first_word", THIRD, "a\n\nb\n\n\"'then c", False),
    ("length_constraints:nth_paragraph_first_word", THIRD, "a\n\nb\n\n\n\nthen c", False),
    ("length_constraints:nth_paragraph_first_word", THIRD, "a\n\nb\n\nthen c\n\nd", False),
    ("length_constraints:nth_paragraph_first_word", THIRD, "a\n\nb\n\nthen.c", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a b] [c]", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b\nc]", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "so\np. s. more", True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "so\nP.P.S more", False),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "so P. P.S", True),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "so P.S. more", False),
    ("detectable_content:postscript", {"postscript_marker": "N.B. (x"}, "so n.b. (x y", True),
    ("detectable_content:postscript", {"postscript_marker": "N.B. (x"}, "so nxb. (x y", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n\n  - b\n** c", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b\n---", False),
    ("detectable_format:constrained_response", {}, "Well. My answer is no. Sorry.", True),
    ("detectable_format:constrained_response", {}, "my answer is no.", False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "**b** * *", False),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": " Part ", "num_sections": 2},
        "Part 1 a\nPart2 b",
        True,
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": " Part ", "num_sections": 2},
        "Part 1 a\npart 2 b",
        False,
    ),
    ("detectable_format:json_format", {}, ' ```json\n{"a": [1]}\n``` ', True),
    ("detectable_format:json_format", {}, "17", True),
    ("detectable_format:json_format", {}, '{"a": 1} so', False),
    ("detectable_format:title", {}, "so <<a title>>", True),
    ("detectable_format:title", {}, "<< >> <<\n>>", False),
    ("combination:two_responses", {}, "******a******b", True),
    ("combination:two_responses", {}, "a******a ", False),
    ("combination:two_responses", {}, "a******b******c", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, " say IT. So.", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, "Sure! Say it.", False),
    ("startend:end_checker", {"end_phrase": " The End. "}, '"so it is the end." ', True),
    ("startend:end_checker", {"end_phrase": " The End. "}, "The end. Yes", False),
    ("startend:quotation", {}, ' "a" b" ', True),
    ("startend:quotation", {}, '"', False),
    ("startend:quotation", {}, "“a”", False),
    (
        "change_case:capital_word_frequency",
        CAPITALS | {"capital_relation": "at least"},
        "A USA-EU deal",
        True,
    ),
    (
        "change_case:capital_word_frequency",
        CAPITALS | {"capital_relation": "less than"},
        "A USA-EU deal",
        False,
    ),
    (
        "change_case:capital_word_frequency",
        CAPITALS | {"capital_relation": "less than"},
        "a USA-EU deal",
        True,
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), True),
    ("change_case:english_capital", {}, GERMAN.upper(), False),
    ("change_case:english_capital", {}, ENGLISH, False),
    ("change_case:english_lowercase", {}, ENGLISH.lower(), True),
    ("change_case:english_lowercase", {}, GERMAN.lower(), False),
    ("change_case:english_lowercase", {}, ENGLISH, False),
    ("punctuation:no_comma", {}, "so; it، is", True),
    ("punctuation:no_comma", {}, "so, it is", False),
]


@pytest.mark.parametrize(("instruction", "arguments", "text", "expected"), FOLLOWED)
def test_instructions(instruction, arguments, text, expected):
    assert follows(text, instruction, arguments) is expected


def test_every_instruction_of_the_schema_is_tried():
    schema = GAME.schema()["$defs"]["instance"]["properties"]["target"]
    assert set(schema["properties"]) == {entry[0] for entry in FOLLOWED}
    assert set(schema["properties"]) == set(instructions._checkers())


@pytest.mark.parametrize("text", ["", " \n\t\u2003"])
def test_a_blank_text_follows_nothing(text):
    assert not follows(text, "punctuation:no_comma", {})
    assert not follows(text, "length_constraints:number_words", {"num_words": 9} | LESS)


# --- where ours differ from lm-eval's ------------------------------------------------------------


@pytest.mark.parametrize("letter", ["#", "!", "é"])
def test_any_character_is_counted(letter):
    arguments = {"letter": letter, "let_frequency": 3, "let_relation": "at least"}
    state = random.getstate()
    for _ in range(20):
        assert follows(letter * 3, "keywords:letter_frequency", arguments)
        assert not follows(letter * 2 + "abc" * 9, "keywords:letter_frequency", arguments)
    assert random.getstate() == state


def test_words_are_those_of_pythons_re():
    """nltk 3.10 takes combining marks, which Tamil is full of, for parts of a word."""
    tamil = "தமிழ் மொழி"
    arguments = {"num_words": 4} | AT_LEAST
    assert follows(tamil, "length_constraints:number_words", arguments)


def test_keywords_are_no_regular_expressions():
    for keyword in ("C++", "(", "[a-z", "a.c", "(a+)+$"):
        existence = {"keywords": [keyword]}
        frequency = {"keyword": keyword, "frequency": 1} | AT_LEAST
        splitter = {"section_spliter": keyword, "num_sections": 1}
        assert follows(f"so {keyword} 1", "keywords:existence", existence)
        assert not follows("abc" + "a" * 40 + "!", "keywords:existence", existence)
        assert follows(f"so {keyword} 1", "keywords:frequency", frequency)
        assert not follows("abc 1", "detectable_format:multiple_sections", splitter)
        assert follows(f"so {keyword} 1", "detectable_format:multiple_sections", splitter)


def test_a_paragraph_behind_the_last_cannot_begin_with_a_word():
    arguments = {"num_paragraphs": 1, "nth_paragraph": 2, "first_word": "so"}
    assert not any(
        follows("so it is", "length_constraints:nth_paragraph_first_word", arguments)
        for _ in range(20)
    )


@pytest.mark.parametrize("depth", [3, 199, 201, 900, 1000, 5000])
def test_deep_json_is_read_whatever_the_stack(depth):
    text = "[" * depth + "]" * depth
    assert follows(text, "detectable_format:json_format", {}) == (depth < 200)


def test_sentences_are_split_as_english_ones():
    text = 'Dr. Smith lives in Washington. He said: "Go home!" Then, at 5 p.m., he left the U.S.'
    assert list(sentences.sentences(text)) == [
        "Dr. Smith lives in Washington.",
        'He said: "Go home!"',
        "Then, at 5 p.m., he left the U.S.",
    ]
    assert sentences.word_tokens("I can't.") == ["I", "ca", "n't", "."]
    assert sentences.word_tokens("He's USA-born.") == ["He", "'s", "USA-born", "."]


def test_the_language_of_a_text_is_always_the_same():
    short = "no problema amigo hotel"
    arguments = [{"language": code} for code in ("en", "es", "pt", "it", "fr", "de")]
    first = [follows(short, "language:response_language", a) for a in arguments]
    for _ in range(20):
        again = [follows(short, "language:response_language", a) for a in arguments]
        assert again == first


def test_a_text_of_unknown_language_is_not_printed(caplog, capfd):
    follows("12345678", "language:response_language", {"language": "en"})
    assert "12345678" not in caplog.text
    assert capfd.readouterr() == ("", "")


# --- limits --------------------------------------------------------------------------------------


LONG_WORDS, LONG_NUMBERS = 20_000 * "tree ", 20_000 * "1. b "
LONG: list[tuple[str, dict[str, Any], str, bool]] = [
    ("keywords:existence", KEYWORDS, LONG_WORDS + "tall tree, oak", True),
    ("keywords:existence", KEYWORDS, LONG_WORDS + "oak", False),
    ("keywords:frequency", TWICE | LESS, LONG_WORDS + "oak", True),
    ("keywords:frequency", TWICE | LESS, LONG_WORDS + "oak oak", False),
    ("keywords:forbidden_words", FORBIDDEN, LONG_WORDS, True),
    ("keywords:forbidden_words", FORBIDDEN, LONG_WORDS + "oak", False),
    ("keywords:letter_frequency", LETTERS | {"let_relation": "at least"}, LONG_WORDS + "qq", True),
    ("keywords:letter_frequency", LETTERS | {"let_relation": "at least"}, LONG_WORDS + "q", False),
    ("language:response_language", {"language": "en"}, 1200 * f"{ENGLISH}. ", True),
    ("language:response_language", {"language": "en"}, 1200 * f"{GERMAN}. ", False),
    ("length_constraints:number_sentences", {"num_sentences": 3} | AT_LEAST, LONG_WORDS, False),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3} | AT_LEAST,
        f"{LONG_WORDS}. {LONG_NUMBERS}. So.",
        True,
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3} | LESS,
        f"{LONG_WORDS}. {LONG_NUMBERS}.",
        True,
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3} | LESS,
        "So" + 100_000 * "!" + " It is. No.",
        False,
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3} | LESS,
        "So" + 50_000 * "!?" + " It is.",
        True,
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, f"{LONG_WORDS} *** b", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, LONG_WORDS, False),
    ("length_constraints:number_words", {"num_words": 20_001} | LESS, LONG_WORDS, True),
    ("length_constraints:number_words", {"num_words": 20_001} | LESS, LONG_WORDS + "so", False),
    ("length_constraints:nth_paragraph_first_word", THIRD, f"{LONG_WORDS}\n\nb\n\nthen", True),
    ("length_constraints:nth_paragraph_first_word", THIRD, f"{LONG_WORDS}\n\nb\n\nc", False),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        100_000 * "[" + "\n[a]" + 100_000 * "[" + "]",
        True,
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        100_000 * "[" + "\n" + 100_000 * "]" + "\n" + 100_000 * "[" + "]",
        False,
    ),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, 10**5 * " " + "p. s.", True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, 10**5 * " " + "p.  s.", False),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, 10**5 * "\n" + "n.b.", True),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, 10**5 * "\n" + "n.b", False),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        "* a" + 100_000 * "\n" + 100_000 * " " + "- b",
        True,
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        "* a" + 100_000 * "\n" + 100_000 * " " + "** b",
        False,
    ),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "*\n- a\n* b\n- c", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, "*\n* a\n* b\n- c", True),
    ("detectable_format:constrained_response", {}, LONG_WORDS + "My answer is no.", True),
    ("detectable_format:constrained_response", {}, LONG_WORDS, False),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        100_001 * "*" + "a*\n*b*",
        True,
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        100_000 * "*" + "\n*b*",
        False,
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 2},
        f"Part 1 {LONG_WORDS} Part 2",
        True,
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 2},
        f"Part 1 {20_000 * 'Part '}",
        False,
    ),
    ("detectable_format:json_format", {}, "[" + 50_000 * "1," + "2]", True),
    ("detectable_format:json_format", {}, "[" + 50_000 * "1," + "]", False),
    ("detectable_format:title", {}, 100_000 * "<" + "a>>", True),
    ("detectable_format:title", {}, 100_000 * "<" + "\n" + 100_000 * ">", False),
    ("combination:two_responses", {}, f"{LONG_WORDS}******b", True),
    ("combination:two_responses", {}, f"{LONG_WORDS}******{LONG_WORDS}", False),
    ("combination:repeat_prompt", {"prompt_to_repeat": LONG_WORDS}, LONG_WORDS + "so", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": LONG_WORDS}, "so" + LONG_WORDS, False),
    ("startend:end_checker", {"end_phrase": "The end."}, LONG_WORDS + "the end.", True),
    ("startend:end_checker", {"end_phrase": "The end."}, LONG_WORDS, False),
    ("startend:quotation", {}, f'"{LONG_WORDS}"', True),
    ("startend:quotation", {}, f'"{LONG_WORDS}', False),
    (
        "change_case:capital_word_frequency",
        CAPITALS | {"capital_relation": "at least"},
        20_000 * "Tree. " + "USA's CAn't",
        True,
    ),
    (
        "change_case:capital_word_frequency",
        CAPITALS | {"capital_relation": "at least"},
        20_000 * "Tree. " + "USA's A'b C'x",
        False,
    ),
    (
        "change_case:capital_word_frequency",
        CAPITALS | {"capital_relation": "less than"},
        20_000 * "Tree. " + "USA-b U.S.",
        True,
    ),
    (
        "change_case:capital_word_frequency",
        CAPITALS | {"capital_relation": "less than"},
        20_000 * "Tree. " + "USA, U.S.",
        False,
    ),
    ("change_case:english_capital", {}, 1200 * f"{ENGLISH}. ".upper(), True),
    ("change_case:english_capital", {}, 1200 * f"{ENGLISH}. ".upper() + "a", False),
    ("change_case:english_lowercase", {}, 1200 * f"{ENGLISH}. ".lower(), True),
    ("change_case:english_lowercase", {}, 1200 * f"{ENGLISH}. ".lower() + "A", False),
    ("punctuation:no_comma", {}, 10_000_000 * "a", True),
    ("punctuation:no_comma", {}, 10_000_000 * "a" + ",", False),
]


@pytest.mark.parametrize(
    ("instruction", "arguments", "text", "expected"),
    [pytest.param(*case, id=f"{case[0]}-{place}") for place, case in enumerate(LONG)],
)
def test_a_long_text_is_checked_like_a_short_one(instruction, arguments, text, expected):
    assert follows(text, instruction, arguments) is expected


def test_every_instruction_is_tried_with_long_texts_that_follow_it_and_that_do_not():
    long = {(name, expected) for name, _, _, expected in LONG}
    assert long == {(name, expected) for name, _, _, _ in FOLLOWED for expected in (True, False)}


# --- the checks of our own against those that they stand for -------------------------------------

FRAGMENTS = st.sampled_from(
    [
        *(
            " ",
            "\n",
            "\n\n",
            "\t",
            "\r",
            "\u2028",
            "\x1c",
            "*",
            "**",
            "* ",
            "-",
            "--",
            "- ",
            "[",
            "]",
        ),
        *(
            "[a",
            "b]",
            "<<",
            ">>",
            "<",
            ">",
            "p.",
            "P.S.",
            "P.P.S",
            "P. ",
            "s",
            "S",
            "N.B.",
            '"',
            "'",
        ),
        *(".", ". ", "!", "?", "!?!?!?!?!?!?", "...", ",", ":", "a", "A", "AB", "Aa", "cannot"),
        *(
            "CANnot",
            "GIMme",
            "WANna ",
            "'Tis ",
            "n't ",
            "CAn't ",
            "A's ",
            "e.g. ",
            "U.S. ",
            "1",
            "/",
        ),
        *("É", "ß", "ǅ", "ª", "\u0301", "_", "(", ")", "İ", "\u017f", "\u2019"),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=40).map("".join)


@settings(deadline=None, max_examples=200)
@given(text=TEXTS, number=st.integers(1, 6))
def test_own_checks_agree_with_lm_eval(text, number):
    if not text.strip():
        return
    for instruction, arguments in [
        ("detectable_content:number_placeholders", {"num_placeholders": number}),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
        ("detectable_format:number_bullet_lists", {"num_bullets": number}),
        ("detectable_format:title", {}),
    ]:
        checker = instructions._checkers()[instruction](instruction)
        checker.build_description(**arguments)
        assert follows(text, instruction, arguments) == checker.check_following(text)


@settings(deadline=None, max_examples=200)
@given(text=TEXTS, number=st.integers(1, 9))
def test_counting_up_to_a_number_decides_as_counting_all(text, number):
    if not text.strip():
        return
    found = list(sentences.sentences(text))
    arguments = {"num_sentences": number} | AT_LEAST
    followed = follows(text, "length_constraints:number_sentences", arguments)
    assert followed == (len(found) >= number)
    capitals = [t for sentence in found for t in sentences.word_tokens(sentence) if t.isupper()]
    arguments = {"capital_frequency": number, "capital_relation": "less than"}
    followed = follows(text, "change_case:capital_word_frequency", arguments)
    assert followed == (len(capitals) < number)


# --- missing packages ----------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["langdetect", "lm_eval", "punkt.data"])
def test_a_missing_package_is_an_error_before_anybody_is_asked(package, monkeypatch):
    instructions._checkers.cache_clear()
    sentences._splitter.cache_clear()
    for name in list(sys.modules):
        if name == package or name.startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "lm_eval":
        monkeypatch.setitem(sys.modules, "lm_eval.tasks.ifeval.instructions_registry", None)
    with pytest.raises(PlaypenError, match=r"playpen-games-clembench\[ifeval\]"):
        Referee(GAME, instance()).advance()


def test_nothing_is_downloaded():
    code = """
import os, socket, nltk
def refuse(*args, **kwargs):
    raise AssertionError("a download was tried")
nltk.download = socket.socket.connect = socket.getaddrinfo = refuse
from playpen_clembench.static import ifeval
from playpen_clembench.static.instructions import follows, require_checkers
require_checkers()
assert follows("So. No!", "length_constraints:number_sentences",
               {"num_sentences": 2, "relation": "at least"})
assert os.environ["LOCAL_RANK"] == "0"
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "LOCAL_RANK": "0"},
        check=False,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


# --- the game ------------------------------------------------------------------------------------

TARGET: dict[str, dict[str, Any]] = {
    "punctuation:no_comma": {},
    "length_constraints:number_words": {"num_words": 3, "relation": "at least"},
}


def instance(target: dict[str, Any] = TARGET, **config: Any) -> Instance:
    item = {"game_id": 9, "input": "Write a line.", "target": target}
    return Instance("ifeval", Experiment("ifeval", config), item)


def answered(reply: str, item: Instance | None = None) -> Episode:
    return whole(by_turns(GAME, item or instance(), reply))


@pytest.mark.parametrize(
    ("reply", "score"),
    [("so it is", 100), ("so it, is", 0), ("so so", 0), ("a, b", 0), ("", 0)],
)
def test_all_instructions_have_to_be_followed(reply, score):
    episode = answered(reply)
    assert episode.main_score == score
    assert (episode.success, episode.lose, episode.aborted) == (score == 100, score == 0, False)
    assert episode_scores(GAME, episode)["Request Success Ratio"] == 1.0


def test_which_instructions_were_followed_is_noted():
    (note,) = [e for e in answered("so, so").events if getattr(e, "kind", None) == "followed"]
    assert note.data == {"punctuation:no_comma": False, "length_constraints:number_words": False}


def test_the_limit_of_tokens_comes_from_the_experiment():
    def limit(**config: Any) -> int | None:
        (ask,) = [e for e in answered("so", instance(**config)).events if isinstance(e, Ask)]
        return ask.max_new_tokens

    assert limit(meta={"task": "x", "generation_kwargs": {"max_gen_toks": 1280}}) == 1280
    assert limit(meta={"generation_kwargs": {"until": []}}) is None
    assert limit() is None


PARTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["*", "******", "\n", "\n\n", "[", "]", "<<", ">>", "P.S.", '"', "{", ". "]),
    st.sampled_from([entry[2] for entry in FOLLOWED]),
)


@settings(deadline=None, max_examples=40)
@given(reply=st.lists(PARTS, max_size=6).map("".join))
def test_any_reply_ends_in_an_outcome(reply):
    item = instance({name: arguments for name, arguments, _, _ in FOLLOWED})
    episode = answered(reply, item)
    assert episode.success or episode.lose
    assert replay(GAME, item, episode).divergences == []
