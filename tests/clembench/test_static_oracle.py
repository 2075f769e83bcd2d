"""The programs that answer the static benchmarks."""

from __future__ import annotations

import pytest
from tests.clembench.games_kit import consult, oracles

from playpen import play
from playpen.game import Game
from playpen.instance import Experiment, Instance
from playpen.instance_sets import ready_instances
from playpen_clembench.static.bbh import Bbh
from playpen_clembench.static.cladder import Cladder
from playpen_clembench.static.eqbench import EqBench
from playpen_clembench.static.ifeval import IfEval
from playpen_clembench.static.mmlu_pro import MmluPro

ALL = [MmluPro(), Cladder(), EqBench(), Bbh(), IfEval()]
GAMES = pytest.mark.parametrize("game", ALL, ids=lambda game: game.name)


def wins(game: Game, instances: list[Instance]) -> list[bool]:
    return [episode.success for episode in play(game, oracles(game), instances)]


def say(game: Game, text: str, *, seed: int = 0) -> str:
    return consult(game, "answerer", text, seed=seed)


def test_the_last_question_counts_after_worked_examples():
    example = "Question:\nWhat is 2 plus 2?\nOptions:\nA. 4\nB. 5\nThe answer is (A)\n\n"
    text = f"{example}Question:\nWhat is 12 times 3?\nOptions:\nA. 35\nB. 36\n"
    assert say(MmluPro(), text) == "The answer is (B)"


@pytest.mark.parametrize(
    ("game", "text", "guesses"),
    [
        (
            MmluPro(),
            "Question:\nWho?\nOptions:\nA. she\nB. he\n",
            {"The answer is (A)", "The answer is (B)"},
        ),
        (Cladder(), "Does it rain on 5% of all days?", {"Yes", "No"}),
        (EqBench(), "Sad: <score>\nGlad: <score>\n", {"Sad: 5\nGlad: 5"}),
        (Bbh(), "not True is", {"(A)"}),
    ],
)
def test_other_questions_are_guessed(game, text, guesses):
    assert {say(game, text, seed=seed) for seed in range(40)} == guesses


def test_a_task_in_other_words_gets_some_text():
    assert "We walked" in say(IfEval(), "Write a poem. Do not use commas.")


@GAMES
@pytest.mark.parametrize("text", ["", "\0", "What is 1 plus 1?", "Take the number 5.", "Fill x"])
def test_any_question_gets_an_answer(game, text):
    assert isinstance(say(game, text), str)


def test_official_templates_do_not_disturb():
    config = {
        "initial_prompt": "Questions:\n\nQuestion:\nWho?\nOptions:\nA. I\nThe answer is (A)\n\n"
        "{{input}}",
        "choices": list("ABCDEFGHIJ"),
        "regex_pattern": r"answer is \(?([ABCDEFGHIJ])\)?",
    }
    game = MmluPro()
    items = [
        Instance(game.name, Experiment("x", config), instance.data)
        for instance in ready_instances(game, "test")
    ]
    assert wins(game, items) == [True] * len(items)
