"""The programs that play codenames."""

from __future__ import annotations

import pytest
from tests.clembench.games_kit import consult, self_play

from playpen import Instance
from playpen.episode import Episode
from playpen.instance import Experiment
from playpen_clembench.codenames import material
from playpen_clembench.codenames.game import Codenames
from playpen_clembench.codenames.generate import FLAGS

GAME = Codenames()


def made(words: dict[str, list[str]], **config: object) -> Instance:
    board = [word for group in words.values() for word in group]
    counts = {name: len(group) for name, group in words.items()}
    experiment = {"variable": "x", "opponent difficulty": 0, "assignments": counts, "flags": FLAGS}
    data = {"game_id": 0, "board": board, "assignments": words}
    return Instance(GAME.name, Experiment("x", {**experiment, **config}), data)


def clues(episode: Episode) -> list[str]:
    return [said.reply.text for said in episode.replies("cluegiver")]


OPPONENTS = ["blue", "green", "red", "white", "black", "pink"]


def test_themes_come_first_and_the_code_last() -> None:
    words = {
        "team": ["otter", "violin", "tiger", "noon", "ice cream"],
        "opponent": [*OPPONENTS, "tuba"],
        "innocent": ["level"],
        "assassin": [],
    }
    episode = self_play(GAME, made(words))
    assert clues(episode) == [
        "CLUE: animal\nTARGETS: otter, tiger",
        "CLUE: time\nTARGETS: noon",
        "CLUE: reversed/niloiv/maerc_eci\nTARGETS: violin, ice cream",
    ]
    assert episode.success


def test_a_theme_that_is_a_form_of_a_board_word_is_no_clue() -> None:
    words = {
        "team": ["otter", "tiger"],
        "opponent": OPPONENTS,
        "innocent": ["animals"],
        "assassin": [],
    }
    assert clues(self_play(GAME, made(words))) == [
        "CLUE: reversed/retto/regit\nTARGETS: otter, tiger"
    ]


def test_there_is_no_time_for_themes_when_the_opponents_are_few() -> None:
    words = {
        "team": ["otter", "violin"],
        "opponent": ["blue", "red"],
        "innocent": [],
        "assassin": [],
    }
    assert clues(self_play(GAME, made(words, **{"opponent difficulty": 2}))) == [
        "CLUE: reversed/retto/niloiv\nTARGETS: otter, violin"
    ]


def test_prompts_in_other_words_are_understood() -> None:
    text = (
        "Go.\n\nYours are: otter, comet.\nTheirs are: kettle.\nRest: violin.\nDeadly words are: ."
    )
    assert consult(GAME, "cluegiver", text) == "CLUE: reversed/retto/temoc\nTARGETS: otter, comet"
    text = "Your turn's over.\nName up to 2 words for 'animal'. Begin with 'GUESS: '.\n\n{}"
    assert (
        consult(GAME, "guesser", text.format("otter, comet, tiger, deer")) == "GUESS: otter, tiger"
    )


def test_a_clue_that_says_nothing_is_answered_by_chance() -> None:
    words = "otter, comet, tiger"
    text = f'Clue: "sky"\nNumber of words: 2\nBoard: {words}'
    answers = {consult(GAME, "guesser", text, seed=seed) for seed in range(30)}
    assert answers == {f"GUESS: {word}" for word in words.split(", ")}


@pytest.mark.parametrize(
    "text", ["", "\n\n\n", "a:\nb:\nc:\nd:", 'Clue: ""\nup to 99999\n:', ": . :"]
)
def test_odd_messages_are_answered(text: str) -> None:
    assert consult(GAME, "cluegiver", text).startswith("CLUE: ")
    assert consult(GAME, "guesser", text).startswith("GUESS: ")


def test_themes_do_not_look_like_the_code() -> None:
    assert not [theme for theme in material.themes() if "/" in theme]
