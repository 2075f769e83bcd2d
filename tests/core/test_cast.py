"""Who plays: made once, seated once, closed at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.core.command_line import good, playpen
from tests.core.sample_games import GuessingGame
from tests.core.tiny_model import save_tiny_model

from playpen.cast import Cast, make_cast
from playpen.conversation import Conversation, Reply
from playpen.game import Game
from playpen.player import Player

GUESSING = GuessingGame()


class Counted(Player):
    """Counts how often it is made, seated and closed, and in which loop it was closed."""

    made = 0
    seated = 0
    closed = 0

    def __init__(self, target: str, options: object) -> None:
        Counted.made += 1

    def seat(self, game: Game, role: str) -> Player:
        Counted.seated += 1
        return self

    def reply(self, conversation: Conversation) -> Reply:
        return Reply("1")

    async def close(self) -> None:
        Counted.closed += 1
        if self.made > 2:
            raise RuntimeError("cannot be closed")


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    Counted.made = Counted.seated = Counted.closed = 0
    monkeypatch.setattr("playpen.cast.make_player", lambda spec: Counted(spec, None))


def counts() -> tuple[int, int, int]:
    return Counted.made, Counted.seated, Counted.closed


def test_nobody_is_made_before_somebody_asks_and_nobody_twice() -> None:
    with make_cast([(None, "human:")]) as cast:
        assert counts() == (0, 0, 0)
        assert cast.players is cast.players and not cast.serial
        for _ in range(3):
            seats = cast.seats(GUESSING, {"guesser": "human:"})
        assert seats == {"guesser": cast.players["human:"]}
        assert counts() == (1, 1, 0)
    assert counts() == (1, 1, 1)


def test_a_cast_that_nobody_used_is_closed_without_making_anybody() -> None:
    with make_cast([(None, "human:")]):
        pass
    assert counts() == (0, 0, 0)


def test_all_are_closed_whatever_one_of_them_raises() -> None:
    cast = make_cast([("a", "human:"), ("b", "human:"), ("c", "human:")])
    assert len(cast.players) == 3
    with pytest.raises(RuntimeError, match="cannot be closed"):
        cast.close()
    assert Counted.closed == 3


def test_who_is_shared_is_the_same_player_under_another_label() -> None:
    with Cast({"0": "human:", "1": "human:"}) as cast:
        pair = cast.share({"x": "1", "y": "0"}, by_role={"a": "x", "b": "y"})
        assert pair.players == {"x": cast.players["1"], "y": cast.players["0"]}
        assert pair.specs == {"x": "human:", "y": "human:"} and pair.loop is cast.loop
        assert Counted.made == 2
    assert Counted.closed == 2


def test_it_also_plays_where_a_loop_runs_already() -> None:
    """A notebook's thread, say."""

    async def cell() -> None:
        with make_cast([(None, "human:")]) as cast:
            assert cast.players
            cast.loop.run(asyncio.sleep(0))

    asyncio.run(cell())
    assert Counted.closed == 1


# --- from the command line -----------------------------------------------------------------------


@pytest.fixture
def loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> list[Any]:
    """The models that transformers loads, in a folder with a tiny one."""
    import transformers

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    loaded: list[Any] = []
    load = transformers.AutoModelForCausalLM.from_pretrained

    def counted_load(*args: Any, **kwargs: Any) -> Any:
        loaded.append(args)
        return load(*args, **kwargs)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", counted_load)
    save_tiny_model(Path("model"))
    return loaded


TINY = "hf:model?max_new_tokens=2"


def test_play_loads_a_model_once_and_resume_again_once(loads: list[Any]) -> None:
    good("play", "taboo", "referencegame", "-p", TINY, "-n", "2", "-o", "run")
    assert len(loads) == 1
    assert "Nothing was left to play" in good("resume", "run")
    assert len(loads) == 1


def test_eval_of_two_suites_loads_a_model_once(
    loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from playpen.cli import evaluate
    from playpen.cli.playing import choose_instances

    monkeypatch.setattr(evaluate, "choose_instances", lambda *chosen: choose_instances(*chosen)[:1])
    arguments = ("eval", TINY, "--suite", "clembench-2.0", "--suite", "static-1.0", "-o", "out")
    good(*arguments)
    assert len(loads) == 1
    good(*arguments)  # everything is there already
    assert len(loads) == 1


def test_eval_with_an_executor_loads_nothing_here(
    loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from playpen import runner
    from playpen.cli import evaluate
    from playpen.cli.playing import choose_instances
    from playpen.runner import Executor

    class Nobody(Executor):
        """Plays nothing, and says that it failed."""

        def play(self, run: Any, units: Any, record: Any, *, concurrency: int) -> None:
            assert len(list(units)) == 1

    monkeypatch.setattr(evaluate, "choose_instances", lambda *chosen: choose_instances(*chosen)[:1])
    monkeypatch.setattr(runner, "make_executor", lambda spec: Nobody("", None))
    result = playpen("eval", TINY, "--games", "taboo", "--executor", "ray:", "-o", "out")
    assert "not complete" in result.err
    assert loads == []
