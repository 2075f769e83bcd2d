"""Replay of clemcore episodes: agreement, every kind of difference, broken files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.core.command_line import HOSTILE, good, playpen, refused
from tests.core.sample_games import RelayGame, game_of

from playpen.game import Game
from playpen.instance import Instance
from playpen.interop.recordings import Recording, read_recordings, replay_recording
from playpen.moves import Draw, Lose, Play, Success, ask
from playpen.replay import Divergence

PLAYERS = ("Player 1", "Player 2")
WIN = ("CLUE: ice", "GUESS: summer", "CLUE: frost", "GUESS: winter")
SCORES = {
    "Violated Request Count": 0,
    "Parsed Request Count": 2,
    "Request Count": 2,
    "Request Success Ratio": 1.0,
    "Aborted": 0,
    "Success": 1,
    "Lose": 0,
    "Main Score": 50.0,
    "Repetition-Guesser": 0,
    "Repetition-Describer": 0,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*texts: str) -> list[dict[str, str]]:
    """Responses of two players in turn."""
    return [{"player": PLAYERS[n % 2], "content": text} for n, text in enumerate(texts)]


def line(name: str = "own-1", **changes: Any) -> dict[str, Any]:
    """An episode of our own in the form of the recordings; by default taboo, won in round 2."""
    return {
        "schema": "parity-episode/1",
        "id": name,
        "game": "taboo",
        "experiment": "words",
        "game_id": 4,
        "experiment_config": {
            "name": "words",
            "max_turns": 3,
            "describer_initial_prompt": "Describe $TARGET_WORD$ without\n\n$REL_WORD$",
            "guesser_initial_prompt": "Guess.",
        },
        "instance": {
            "game_id": 4,
            "target_word": "winter",
            "related_word": ["cold", "snow", "season"],
        },
        "players": {"GM": {"game_role": "x", "model_name": "programmatic"}},
        "responses": said(*WIN),
        "turns": [],
        "logged": {},
        "turn_scores": {},
        "episode_scores": SCORES,
        "provenance": {"suite": "own"},
        **changes,
    }


def write(*episodes: Mapping[str, Any], path: str = "own.jsonl") -> str:
    """Write a file of episodes, compressed if its name says so."""
    content = "".join(json.dumps(episode) + "\n" for episode in episodes).encode()
    Path(path).write_bytes(gzip.compress(content) if path.endswith(".gz") else content)
    return path


def differences(*episodes: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """What a replay that must find differences prints about them, and the lines it writes."""
    result = playpen("replay", write(*episodes), "--out", "lines.jsonl")
    assert (result.code, result.err) == (1, "")
    *found, summary = result.out.splitlines()
    assert summary.startswith(f"{len(episodes)} episodes replayed, ")
    return found, written()


def written() -> list[dict[str, Any]]:
    return [json.loads(text) for text in Path("lines.jsonl").read_bytes().splitlines()]


# --- agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["own.jsonl", "own.jsonl.gz"])
def test_an_episode_that_plays_as_recorded_agrees(path: str) -> None:
    out = good("replay", write(line("a"), line("b"), path=path), "--out", "lines.jsonl")
    assert out == "2 episodes replayed, 2 agree, 0 differ\n"
    first, second = written()
    assert first == {
        "id": "a",
        "game": "taboo",
        "experiment": "words",
        "game_id": 4,
        "aborted": False,
        "success": True,
        "lose": False,
        "main_score": 50.0,
        "episode_scores": SCORES,
        "unused_responses": 0,
        "incomplete": False,
        "error": None,
    }
    assert second == {**first, "id": "b"}


LOST = {**SCORES, "Success": 0, "Lose": 1, "Main Score": 0, "Request Count": 1,
        "Parsed Request Count": 1}  # fmt: skip
ABORTED = {**LOST, "Lose": 0, "Aborted": 1, "Main Score": None, "Violated Request Count": 1,
           "Parsed Request Count": 0, "Request Success Ratio": 0.0}  # fmt: skip


@pytest.mark.parametrize(
    ("responses", "scores", "flags"),
    [
        (["CLUE: snowing"], LOST, (False, False, True, 0)),
        (["ice"], ABORTED, (True, False, False, None)),
        (["CLUE: ice", "winter"], ABORTED, (True, False, False, None)),
    ],
)
def test_losses_and_aborts_agree_too(
    responses: list[str], scores: dict[str, Any], flags: tuple[Any, ...]
) -> None:
    file = write(line(responses=said(*responses), episode_scores=scores))
    good("replay", file, "--out", "lines.jsonl")
    (result,) = written()
    names = ("aborted", "success", "lose", "main_score")
    assert tuple(result[name] for name in names) == flags


def test_without_recorded_scores_there_is_nothing_to_differ() -> None:
    bare = line()
    for key in ("episode_scores", "turns", "logged", "turn_scores", "schema", "players",
                "provenance", "experiment", "game_id"):  # fmt: skip
        del bare[key]
    good("replay", write(bare), "--out", "lines.jsonl")
    (result,) = written()
    # Its names then come from the experiment's settings and the instance.
    assert (result["experiment"], result["game_id"], result["main_score"]) == ("words", 4, 50)


def test_a_flag_without_a_recorded_value_is_not_compared() -> None:
    good("replay", write(line(episode_scores={**SCORES, "Success": None, "Lose": None})))
    some = {key: SCORES[key] for key in ("Aborted", "Main Score")}
    good("replay", write(line(episode_scores=some)))


def test_numbers_agree_to_a_millionth() -> None:
    third = said("CLUE: ice", "GUESS: a", "CLUE: ice", "GUESS: b", "CLUE: ice", "GUESS: winter")
    for number, code in ((33.3333333, 0), (33.33333, 1)):
        episode = line(responses=third, episode_scores={"Main Score": number})
        assert playpen("replay", write(episode)).code == code


def test_integers_flags_and_numbers_compare_by_value() -> None:
    scores = {**SCORES, "Aborted": False, "Success": True, "Main Score": 50, "Request Count": 2.0}
    good("replay", write(line(episode_scores=scores)))


def test_blank_lines_are_skipped() -> None:
    write(line())
    Path("own.jsonl").write_text("\n" + Path("own.jsonl").read_text() + "  \n")
    assert "1 episodes replayed, 1 agree" in good("replay", "own.jsonl")


# --- differences ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "recorded", "shown"),
    [
        ("Success", 0, "Success: recorded 0, replayed 1"),
        ("Aborted", 1, "Aborted: recorded 1, replayed 0"),
        ("Lose", 1, "Lose: recorded 1, replayed 0"),
        ("Main Score", 100.0, "Main Score: recorded 100.0, replayed 50.0"),
        ("Main Score", None, "Main Score: recorded None, replayed 50.0"),
        ("Request Count", 4, "Request Count: recorded 4, replayed 2"),
        ("Elegance", 1, "Elegance: recorded 1, replayed 'nothing'"),
    ],
)
def test_a_score_that_differs_is_named(name: str, recorded: Any, shown: str) -> None:
    found, _ = differences(line(episode_scores={**SCORES, name: recorded}), line("fine"))
    assert found == [f"own-1: {shown}"]


def test_an_abort_that_was_recorded_with_a_score_differs() -> None:
    found, _ = differences(line(responses=said("ice"), episode_scores={"Main Score": 0}))
    assert found == ["own-1: Main Score: recorded 0, replayed None"]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_responses_that_run_out_are_reported_and_give_no_flags(count: int) -> None:
    found, (result,) = differences(line(responses=said(*WIN)[:count]))
    assert len(found) == 1
    assert found[0].startswith(f"own-1: responses: recorded '{count}'")
    assert result["incomplete"] is True
    for flag in ("aborted", "success", "lose", "main_score", "episode_scores"):
        assert result[flag] is None
    assert (result["unused_responses"], result["error"]) == (0, None)


def test_left_over_responses_are_counted() -> None:
    found, (result,) = differences(line(responses=said(*WIN, "CLUE: more", "GUESS: more")))
    assert found == ["own-1: responses: recorded 0, replayed '2 left over'"]
    assert (result["unused_responses"], result["success"], result["incomplete"]) == (2, True, False)


def test_a_response_of_the_wrong_player_is_reported() -> None:
    swapped = said(*WIN)
    swapped[1]["player"] = "Player 1"
    found, _ = differences(line(responses=swapped))
    assert found == ["own-1: reply 1: recorded 'describer', replayed 'guesser'"]


def test_an_instance_that_breaks_the_game_does_not_hide_the_others() -> None:
    empty = line("no-target", instance={"game_id": 9}, experiment_config={"max_turns": 3})
    broken = line("bad-type", instance={"target_word": 5, "related_word": None})
    found, results = differences(empty, line("fine"), broken)
    assert [text.partition(":")[0] for text in found] == ["no-target", "bad-type"]
    assert "target_word" in found[0]
    assert [bool(result["error"]) for result in results] == [True, False, True]
    assert [result["game_id"] for result in results] == [4, 4, 4]
    assert results[0]["success"] is results[2]["success"] is None
    assert results[1]["success"] is True


def test_what_a_recording_says_is_shown_inert() -> None:
    hostile = line(f"id {HOSTILE}\nsecond line", responses=said(f"CLUE: {HOSTILE}"))
    found, (result,) = differences(hostile)
    assert len(found) == 1
    assert not any(ord(character) < 32 for character in found[0])
    assert "\u202e" not in found[0]
    assert result["id"] == f"id {HOSTILE}\nsecond line"


# --- files that are none -------------------------------------------------------------------------


def test_an_unknown_game_is_named_with_its_place() -> None:
    file = write(line(), line("own-2", game="tabo"))
    message = refused_late("replay", file)
    assert message == "Error: own.jsonl, own-2: there is no game 'tabo'; did you mean 'taboo'?\n"


def refused_late(*args: str) -> str:
    """The message of a call that is refused after it may have printed differences."""
    result = playpen(*args)
    assert result.code == 2
    assert "Traceback" not in result.err
    return result.err


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"{not json}\n", "malformed"),
        (b'{"id": "x"}\n', "missing required field `game`"),
        (b'{"id": "x", "game": "taboo", "instance": {}, "responses": ["hi"]}\n', "responses"),
        (b"[]\n", "Expected `object`"),
        (b'{"id": "\xff"}\n', ""),
        (b'{"id": "x", "game": "taboo", "instance": {"a": NaN}, "responses": []}\n', "malformed"),
    ],
)
def test_a_broken_line_is_named(broken: bytes, message: str) -> None:
    write(line(), line())
    with Path("own.jsonl").open("ab") as file:
        file.write(broken)
    shown = refused("replay", "own.jsonl", "--out", "lines.jsonl")
    assert shown.startswith("own.jsonl, line 3: not a recording: ")
    assert message in shown
    assert not Path("lines.jsonl").exists()


def test_a_broken_archive_is_named() -> None:
    whole = Path(write(line(responses=said(*[str(n) * 9 for n in range(999)])), path="a.gz"))
    content = whole.read_bytes()
    damaged = content[:60] + bytes(byte ^ 0xFF for byte in content[60:90]) + content[90:]
    for name, data in (
        ("no.gz", b"not gzip at all"),
        ("cut.gz", content[: len(content) // 2]),
        ("odd.gz", damaged),
    ):
        Path(name).write_bytes(data)
        assert refused("replay", name).startswith(f"{name}: cannot be read: ")


# --- roles, chance moves, experiments ------------------------------------------------------------


class Lottery(Game):
    """Two players guess what is drawn; the draws of a recording are among its events."""

    name = "lottery"
    roles = RelayGame.roles

    def play(self, instance: Instance) -> Play:
        for role in self.role_names():
            (drawn,) = yield Draw([1, 2, 3, 4, 5, 6, 7, 8, 9])
            if (yield from ask(role, "Which?")) != str(drawn):
                return Lose()
        return Success()

    def recorded_draws(self, events: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        return [[event["content"]] for event in events if event["type"] == "drawn"]


def lottery(responses: Iterable[tuple[str, str]], drawn: Sequence[int]) -> Recording:
    turns = [[{"type": "drawn", "content": n}, {"type": "other", "content": ""}] for n in drawn]
    said = [{"player": player, "content": text} for player, text in responses]
    document = {"id": "l", "game": "lottery", "instance": {}, "responses": said, "turns": turns}
    Path("l.jsonl").write_text(json.dumps(document))
    (recording,) = read_recordings(Path("l.jsonl"))
    return recording


@pytest.mark.parametrize("drawn", [(1, 2), (9, 9), (5, 3)])
def test_chance_moves_come_from_the_recorded_events(drawn: tuple[int, int]) -> None:
    responses = zip(PLAYERS, map(str, drawn), strict=True)
    result, found = replay_recording(Lottery(), lottery(responses, drawn))
    assert (result.success, found) == (True, [])


def test_a_player_that_is_no_role_fits_any_role() -> None:
    # Programmatic players are numbered too, so a number need not be one of our roles.
    recording = lottery([("Player 7", "1"), ("GM", "2")], (1, 2))
    result, found = replay_recording(Lottery(), recording)
    assert (result.success, found) == (True, [])


def test_players_are_roles_in_their_order() -> None:
    recording = lottery([("Player 2", "1"), ("Player 1", "2")], (1, 2))
    _, found = replay_recording(Lottery(), recording)
    assert found == [
        Divergence("reply 0", "role", "finder", "giver"),
        Divergence("reply 1", "role", "giver", "finder"),
    ]


def test_the_experiment_settings_reach_the_game() -> None:
    seen: list[tuple[Any, ...]] = []

    def rules(instance: Instance) -> Play:
        seen.append((instance["secret"], instance["tries"], instance.experiment.name, instance.id))
        yield from ask("a", "?")
        return Success()

    recording = Recording(
        "x",
        "inline",
        [],
        {"game_id": 3, "secret": "own"},
        {"name": "easy", "secret": "shared", "tries": 2},
    )
    replay_recording(game_of(rules), recording)
    assert seen == [("own", 2, "easy", 3)]


# --- a recorded evaluation, read in place --------------------------------------------------------


def test_the_recorded_evaluation_agrees(parity: Path) -> None:
    out = good("replay", parity / "clem" / "taboo.jsonl.gz", "--out", "lines.jsonl")
    assert out == "12 episodes replayed, 12 agree, 0 differ\n"
    with gzip.open(parity / "clem" / "taboo.jsonl.gz", "rt", encoding="utf-8") as file:
        recorded = [json.loads(text) for text in file]
    for old, new in zip(recorded, written(), strict=True):
        for key in ("id", "game", "experiment", "game_id"):
            assert new[key] == old[key]
        for flag in ("Aborted", "Success", "Lose"):
            assert new[flag.lower()] == bool(old["episode_scores"][flag])
        assert new["main_score"] == pytest.approx(old["episode_scores"]["Main Score"], abs=1e-6)
