"""Recorded episodes of another implementation, read in place where they exist.

One row of `ROWS` for each game.  Every recording must come out with the recorded scores and, as
far as the row does not say otherwise, with the recorded messages.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.clembench.games_kit import noted, oracles, shown

from playpen import Experiment, Game, Instance, Note, Reply, get_game, play
from playpen.instance_sets import Checker
from playpen.interop.recordings import Recording, instance_of, read_recordings, replay_recording
from playpen.replay import Replay, replay_script
from playpen_clembench.imagegame.game import ImageGame

FLAGS = ("Aborted", "Success", "Lose")

Line = Mapping[str, Any]
"""A recorded episode with everything that stands in its file."""
Recorded = list[tuple[Recording, Line]]


class CountsHeader(ImageGame):
    """The follower's header is a request of its own, as in the clemcore of the recordings."""

    header_is_event = True


# --- what was sent -------------------------------------------------------------------------------


def events_of(line: Line) -> list[dict[str, Any]]:
    return [event for turn in line["turns"] for event in turn]


def sent(line: Line, player: str, label: str | None = None) -> list[str]:
    """What a player was sent (with one label only, if it is given).

    Some games logged a player's first prompt by itself, before the message that it begins.
    """
    messages, prompt = [], ""
    for event in events_of(line):
        if event["to"] != player or event["type"] != "send message":
            continue
        if label is not None and event.get("label") != label:
            continue
        if event.get("label") == "initial prompt":
            prompt = event["content"] + "\n\n"
        else:
            messages.append(prompt + event["content"])
            prompt = ""
    return messages


def sent_as_recorded(row: Row, recorded: Recorded) -> None:
    for recording, line in recorded:
        done = row.replay(recording)
        for player, role in row.roles.items():
            assert shown(done.episode, role) == sent(line, player), line["id"]


def begun_as_recorded(row: Row, recorded: Recorded) -> None:
    """The instance brings the prompt; what the world says are words of our own."""
    for recording, _ in recorded:
        (first, *_) = shown(row.replay(recording).episode, "adventurer")
        prompt = recording.instance["prompt"]
        assert first.startswith(prompt)
        assert first[len(prompt) :].startswith("You are in the ")


def sent_by_recorded_templates(row: Row, recorded: Recorded) -> None:
    """With the recorded templates all messages agree but for the first lines of our own reports.

    So do the notes of what happened on the board.
    """
    kinds = {
        *("board status", "clue", "targets", "word targeted", "guesses", "team revealed"),
        *("target revealed", "turn end after", "opponent revealed"),
    }
    given = templates(recorded, row.roles)
    for name, text in given.items():
        assert text.count("$") == (4 if "cluegiver" in name else 3)
    for recording, line in recorded:
        done = row.replay(recording, with_templates(line, given))
        assert (done.complete, done.unused, done.divergences) == (True, 0, [])
        for player, role in row.roles.items():
            messages, expected = shown(done.episode, role), sent(line, player)
            assert messages[:1] == expected[:1]
            assert [text.partition("\n")[2] for text in messages[1:]] == [
                text.partition("\n")[2] for text in expected[1:]
            ]
        notes = [event for event in done.episode.events if isinstance(event, Note)]
        assert [(note.kind, note.data) for note in notes if note.kind in kinds] == [
            (event["type"], event["content"]) for event in events_of(line) if event["type"] in kinds
        ]
        (end,) = noted(done.episode, "board end status")
        assert end == line["logged"]["board end status"]
        assert scored(row.game, done, row.unrecorded)[1] == line["turn_scores"]


def sent_by_recorded_wordings(row: Row, recorded: Recorded) -> None:
    """The wordings are our own; with the recorded ones brought along all messages agree."""
    for recording, line in recorded:
        done = row.replay(recording, with_wordings(line))
        assert (done.complete, done.unused) == (True, 0)
        turns = done.episode.turns("answerer")
        for label, keep in (("forget", False), ("context", True)):
            asked = [turn.messages[-1].content for turn in turns if turn.keep == keep]
            expected = sent(line, "Player 1", label)
            assert asked == expected[: len(asked)]
            # A game aborted before its first question: upstream's questioner utters it still.
            assert len(expected) - len(asked) in ([0, 1] if keep else [0])
        first, ok = turns[0].messages[:2]
        assert [first.content] == sent(line, "Player 1", "pseudo")
        assert ok.content == "Ok."


# --- instances that bring the recorded texts -----------------------------------------------------


def templates(recorded: Recorded, roles: Mapping[str, str]) -> dict[str, str]:
    """The prompts of codenames with their variables put back, taken from one episode."""
    line = next(
        line
        for _, line in recorded
        if line["instance"]["assignments"]["assassin"] and len(sent(line, "Player 2")) > 1
    )
    texts: dict[str, str] = {}
    for player, role in roles.items():
        for number, name in enumerate(("initial", "follow_up")):
            text = sent(line, player)[number]
            texts[f"{role}_{name}_prompt"] = text.partition("\n")[2] if number else text
    statuses = [e["content"]["hidden"] for e in events_of(line) if e["type"] == "board status"]
    moved = [e["content"]["word"] for e in events_of(line) if e["type"] == "opponent revealed"]
    clues = [e["content"] for e in events_of(line) if e["type"] == "clue"]
    targets = [e["content"] for e in events_of(line) if e["type"] == "targets"]
    for number, name in enumerate(("initial", "follow_up")):
        hidden = statuses[number]
        board = [w for w in line["instance"]["board"] if any(w in ws for ws in hidden.values())]
        for kind, words in hidden.items():
            if number and kind == "opponent":
                whole = line["instance"]["assignments"]["opponent"]
                words = [w for w in whole if w in words or w == moved[0]]
            field = f"cluegiver_{name}_prompt"
            texts[field] = texts[field].replace(", ".join(words) + ".", f"${kind}_words.")
        field = f"guesser_{name}_prompt"
        texts[field] = (
            texts[field]
            .replace(", ".join(board), "$board")
            .replace(f"'{clues[number]}'", "'$clue'")
            .replace(f"up to {len(targets[number])} ", "up to $number ")
        )
    return texts


def with_templates(line: Line, given: Mapping[str, str]) -> Instance:
    experiment = Experiment(line["experiment"], {**line["experiment_config"], **given})
    return Instance("codenames", experiment, line["instance"])


def with_wordings(line: Line) -> Instance:
    """An instance of privateshared whose experiment brings the wordings of a recording."""
    data, asides = line["instance"], sent(line, "Player 1", "forget")
    questions: dict[str, list[str]] = {}
    for number, probes in enumerate(line["logged"]["probes"]):
        wordings = data["probes"][str(number)]
        for probe in probes:
            slot = probe["target"].lower()
            pool = questions.setdefault(slot, ["not used"] * 20)
            pool[wordings[slot]] = probe["question"].removeprefix("ME: ")
    suffixes = {1: ""}
    for probe in (probe for probes in line["logged"]["probes"] for probe in probes):
        plain = probe["question"].removeprefix("ME: ")
        attempts = [text for text in asides if text.endswith(f" {plain}")]
        for number, text in enumerate(attempts[: probe.get("tries", 1)], start=1):
            suffixes[number] = text.removeprefix("ME: ").removesuffix(plain).removesuffix(" ")
    requests: dict[str, list[str]] = {}
    asked = sent(line, "Player 1", "context")
    for slot, text in zip(data["request_order"], asked, strict=False):
        pool = requests.setdefault(slot, ["not used"] * 20)
        pool[data["requests"][slot]] = text.removeprefix(f"{data['tag']}: ")
    texts = {
        "requests": requests,
        "probing_questions": questions,
        "reprompts": {"suffixes": [suffixes.get(n, "not used") for n in range(1, 6)]},
        "words": {
            "ANSWER": "ANSWER: ",
            "ASIDE": "ASIDE: ",
            "ME": "ME: ",
            "PROBE": "ME: {}",
            "YES": "yes",
            "NO": "no",
            "OK": "Ok.",
        },
    }
    assert Checker(get_game("privateshared")).errors("experiment", {"texts": texts}) == []
    return Instance("privateshared", Experiment(line["experiment"], {"texts": texts}), data)


# --- the table -----------------------------------------------------------------------------------


class Row(NamedTuple):
    """What is recorded of a game, and in what the recordings and the game differ.

    Attributes:
        game: the game that gives the recorded scores.
        count: the number of recordings.
        roles: the role of each player that is not part of the game.
        folder: where the recordings are.
        messages: what is asserted of the messages.
        oracle: the main score that the oracles get on the recorded instances, if it is always
            the same one; "wins" or "no abort" where it is not.
        unrecorded: scores that the recordings lack.
        ordered: the game's metrics are all scores, in the recorded order.
        exact: scores are equal to the last bit.
    """

    game: Game
    count: int
    roles: Mapping[str, str]
    folder: str = "clem"
    messages: Callable[[Row, Recorded], None] = sent_as_recorded
    oracle: float | str = 100
    unrecorded: frozenset[str] = frozenset()
    ordered: bool = False
    exact: bool = True

    def recorded(self, parity: Path) -> Recorded:
        path = parity / self.folder / f"{self.game.name}.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return list(zip(read_recordings(path), map(json.loads, lines), strict=True))

    def replay(self, recording: Recording, instance: Instance | None = None) -> Replay:
        script = [(self.roles[said.player], Reply(said.content)) for said in recording.responses]
        events = [event for turn in recording.turns for event in turn]
        draws = self.game.recorded_draws(events)
        return replay_script(self.game, instance or instance_of(recording), script, draws=draws)


def explorer(name: str, count: int, unrecorded: frozenset[str] = frozenset()) -> Row:
    # Moves are scored by the whole map, which no explorer knows.
    return Row(
        get_game(name), count, {"Player 1": "explorer"}, oracle="wins", unrecorded=unrecorded
    )


def static(name: str, count: int) -> Row:
    # The oracle knows the answers to the pack's own questions.
    return Row(get_game(name), count, {"Player 1": "answerer"}, "static", oracle="no abort")


def wordle(name: str, oracle: str, **more: str) -> Row:
    # How soon a word is found depends on the word.
    roles = {"Player 1": "guesser", **more}
    return Row(get_game(name), 6, roles, oracle=oracle, ordered=True)


ADVENTURE = Row(
    get_game("adventuregame"), 24, {"Player 1": "adventurer"}, messages=begun_as_recorded
)
CODENAMES = Row(
    get_game("codenames"),
    26,
    {"Player 1": "cluegiver", "Player 2": "guesser"},
    messages=sent_by_recorded_templates,
    ordered=True,
)
IMAGES = Row(CountsHeader(), 11, {"Player 1": "giver", "Player 2": "follower"})
PRIVATE = Row(
    get_game("privateshared"),
    10,
    {"Player 1": "answerer"},
    messages=sent_by_recorded_wordings,
    exact=False,  # the same means and ratios, computed in another order
)
ROWS = (
    ADVENTURE,
    CODENAMES,
    IMAGES,
    PRIVATE,
    Row(get_game("guesswhat"), 12, {"Player 1": "guesser", "Player 2": "answerer"}),
    Row(get_game("matchit_ascii"), 8, {"Player 1": "player_a", "Player 2": "player_b"}),
    Row(get_game("referencegame"), 15, {"Player 1": "giver", "Player 2": "follower"}),
    Row(get_game("taboo"), 12, {"Player 1": "describer", "Player 2": "guesser"}),
    explorer("textmapworld", 10),
    # Upstream left the comparison of maps out of its recordings.
    explorer("textmapworld_graphreasoning", 6, frozenset({"similarity", "graph_similarity"})),
    explorer("textmapworld_specificroom", 6),
    # One of these words takes more than six guesses.
    wordle("wordle", "no abort"),
    wordle("wordle_withclue", "wins"),
    wordle("wordle_withcritic", "wins", **{"Player 2": "critic"}),
    static("cladder", 101),
    static("eqbench", 34),
    static("ifeval", 54),
    static("mmlu_pro", 113),
)


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.game.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


@pytest.fixture(scope="module")
def recorded(parity: Path, row: Row) -> Recorded:
    return row.recorded(parity)


# --- what holds for every game -------------------------------------------------------------------


def scored(
    game: Game, done: Replay, unrecorded: frozenset[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of the episode and of its rounds, without those that are not recorded."""
    metrics = game.metrics(done.episode)
    return without(metrics.episode, unrecorded), {
        key: without(values, unrecorded) for key, values in metrics.rounds.items()
    }


def without(scores: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if name not in names}


def test_recorded_episodes_replay_to_the_same_scores(row: Row, recorded: Recorded) -> None:
    assert len(recorded) == row.count
    for recording, line in recorded:
        result, differences = replay_recording(row.game, recording)
        assert differences == [], line["id"]
        assert (result.incomplete, result.unused_responses, result.error) == (False, 0, None)
        old = dict(line["episode_scores"])
        flags = [bool(old.get(flag)) for flag in FLAGS]
        assert [result.aborted, result.success, result.lose] == flags
        assert result.main_score == (result.episode_scores or {})["Main Score"]
        new = without(result.episode_scores or {}, row.unrecorded)
        # An aborted episode of guesswhat was recorded without the other two flags.
        old = dict.fromkeys(FLAGS) | old
        assert new == (old if row.exact else pytest.approx(old))

        done = row.replay(recording)
        assert (done.complete, done.unused, done.divergences) == (True, 0, [])
        episode, rounds = scored(row.game, done, row.unrecorded)
        assert rounds == line["turn_scores"], line["id"]
        assert list(rounds) == list(line["turn_scores"])
        if row.ordered:
            assert list(episode) == list(line["episode_scores"])


def test_messages_are_sent_as_recorded(row: Row, recorded: Recorded) -> None:
    row.messages(row, recorded)


def test_recorded_instances_are_valid(row: Row, recorded: Recorded) -> None:
    checker = Checker(row.game)
    for recording, line in recorded:
        assert checker.errors("experiment", line["experiment_config"]) == []
        assert checker.errors("instance", line["instance"]) == []
        assert row.game.fingerprint(instance_of(recording))


def test_the_oracles_play_the_recorded_instances(row: Row, recorded: Recorded) -> None:
    episodes = play(
        row.game, oracles(row.game), [instance_of(recording) for recording, _ in recorded]
    )
    assert [episode.failure for episode in episodes] == [None] * row.count
    assert not any(episode.aborted for episode in episodes)
    if row.oracle != "no abort":
        assert all(episode.success for episode in episodes)
    if row.oracle not in ("wins", "no abort"):
        assert {episode.main_score for episode in episodes} == {row.oracle}


# --- what holds for one game ---------------------------------------------------------------------


def test_every_command_fails_or_succeeds_as_recorded(parity: Path) -> None:
    for recording, line in ADVENTURE.recorded(parity):
        old = [
            (event["content"].get("phase"), event["content"].get("fail_type"))
            for event in events_of(line)
            if event["type"] in ("action_info", "action_fail")
        ]
        new = [
            (action["phase"], action["failure"])
            for action in noted(ADVENTURE.replay(recording).episode, "action")
        ]
        assert new == old


def test_the_oracles_win_the_recorded_boards_with_the_recorded_templates(parity: Path) -> None:
    recorded = CODENAMES.recorded(parity)
    given = templates(recorded, CODENAMES.roles)
    instances = [with_templates(line, given) for _, line in recorded]
    episodes = play(CODENAMES.game, oracles(CODENAMES.game), instances)
    assert [episode.success for episode in episodes] == [True] * CODENAMES.count


def test_the_count_of_the_present_clemcore_differs_in_the_first_round_only(parity: Path) -> None:
    row = IMAGES._replace(game=get_game("imagegame"))
    recorded = row.recorded(parity)
    for recording, line in recorded:
        assert {d.where for d in replay_recording(row.game, recording)[1]} <= {
            *("Request Count", "Parsed Request Count", "Request Success Ratio")
        }
        metrics = row.game.metrics(row.replay(recording).episode)
        header = int(any(said.player == "Player 2" for said in recording.responses))
        assert metrics.episode["Request Count"] + header == line["episode_scores"]["Request Count"]
        for key, values in line["turn_scores"].items():
            if key != "0":
                assert metrics.rounds[key] == values
    # The count is all in which the two games differ.
    sent_as_recorded(row, recorded)
    test_the_oracles_play_the_recorded_instances(row, recorded)


def test_the_oracle_understands_most_recorded_questions(parity: Path) -> None:
    complete = [line for _, line in PRIVATE.recorded(parity) if not line["logged"]["Aborted"]]
    episodes = play(PRIVATE.game, oracles(PRIVATE.game), [with_wordings(line) for line in complete])
    scores = [episode.main_score for episode in episodes]
    assert None not in scores
    assert sum(scores) / len(scores) > 80, scores
