"""Play scripted episodes with clemcore, as ``clem run`` does, and print how long it took.

To be run by the interpreter of an environment that has clemcore 3.7.2; see README.md.
"""

import argparse
import contextlib
import gc
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

os.environ["TQDM_DISABLE"] = "1"  # no progress bars; has to be set before tqdm is imported
with contextlib.chdir(HERE):  # where clemcore finds the logging.yaml that keeps it quiet
    from clemcore import backends
    from clemcore.backends import Model
    from clemcore.clemgame import (
        ExperimentFileSaver,
        GameBenchmark,
        GameBenchmarkCallback,
        GameBenchmarkCallbackList,
        GameInstances,
        GameMaster,
        GameSpec,
        InstanceFileSaver,
        InteractionsFileSaver,
        ResultsFolder,
        RunFileSaver,
        SignalFileSaver,
    )
    from clemcore.clemgame.callbacks.files import PlayerFileSaver
    from clemcore.clemgame.instances import to_rows
    from clemcore.clemgame.runners import dispatch, sequential  # noqa: F401 (lazy in dispatch)

    sys.path.insert(0, str(HERE))  # for the games, which lie beside this file
    from games import EpisodeKey, Script, TabooBenchmark, WordleBenchmark

BENCHMARKS = {"taboo": TabooBenchmark, "wordle": WordleBenchmark}
NUMBER_OF_PLAYERS = {"taboo": 2, "wordle": 1}
OUTCOME_NAMES = {"success": "success", "failure": "lose", "aborted": "abort"}
"""From clemcore's names of outcomes to those of the input."""


@dataclass(frozen=True)
class Result:
    """How an episode ended; the main score of an aborted episode is None."""

    outcome: str
    main_score: float | None

    def matches(self, other: "Result") -> bool:
        """Whether both are the same but for rounding."""
        if self.outcome != other.outcome:
            return False
        if self.main_score is None or other.main_score is None:
            return self.main_score is other.main_score
        return math.isclose(self.main_score, other.main_score, abs_tol=0.01)


@dataclass(frozen=True)
class Work:
    """The input, brought into the form in which clemcore takes it."""

    game: str
    instances: GameInstances
    scripts: Mapping[EpisodeKey, Script]
    expected: Mapping[EpisodeKey, Result]


class ResultCollector(GameBenchmarkCallback):
    """Remembers how each episode ended."""

    def __init__(self) -> None:
        self.results: dict[EpisodeKey, Result] = {}

    def on_game_end(
        self,
        game_master: GameMaster,
        game_instance: dict[str, Any],
        exception: Exception | None = None,
        rewards: dict[str, float] | None = None,
    ) -> None:
        """Note the outcome, unless the episode crashed."""
        if exception is None:
            key = (game_master.experiment["name"], game_instance["game_id"])
            outcome = OUTCOME_NAMES[game_master.state.outcome.value]
            self.results[key] = Result(outcome, game_master.main_score())


def read_work(path: Path) -> Work:
    """Read the input file.

    Raises:
        ValueError: If two episodes would share a folder of the results tree, or two experiments
            a name.
    """
    with path.open(encoding="utf-8") as file:
        content = json.load(file)
    experiments: dict[str, dict[str, Any]] = {}
    scripts: dict[EpisodeKey, Script] = {}
    expected: dict[EpisodeKey, Result] = {}
    for episode in content["episodes"]:
        config, instance = episode["experiment"], episode["instance"]
        key = (config["name"], instance["game_id"])
        if key in scripts:
            raise ValueError(
                f"experiment {key[0]!r} has game id {key[1]} twice: clemcore would store both "
                "episodes in the same folder, so give every episode an id of its own"
            )
        experiment = experiments.setdefault(config["name"], {**config, "game_instances": []})
        if {**experiment, "game_instances": None} != {**config, "game_instances": None}:
            raise ValueError(f"two different experiments are called {config['name']!r}")
        experiment["game_instances"].append(instance)
        scripts[key] = Script(episode["replies"])
        expected[key] = Result(episode["outcome"], episode["main_score"])
    rows = to_rows(content["game"], {"experiments": list(experiments.values())})
    return Work(content["game"], GameInstances(content["game"], rows), scripts, expected)


def recording_callbacks(directory: Path, models: list[Model]) -> list[GameBenchmarkCallback]:
    """Return the callbacks of ``clem run``: between them they write the whole results tree."""
    folder = ResultsFolder(directory, run_dir=Model.to_identifier(models))
    infos = Model.to_infos(models)
    return [
        InstanceFileSaver(folder),
        ExperimentFileSaver(folder, player_model_infos=infos),
        InteractionsFileSaver(folder, player_model_infos=infos),
        RunFileSaver(folder, player_model_infos=infos),
        PlayerFileSaver(folder),
        SignalFileSaver(folder),
    ]


def differences(work: Work, results: Mapping[EpisodeKey, Result]) -> list[str]:
    """Return what did not go as the input says, one line for each episode."""
    lines: list[str] = []
    for key, wanted in work.expected.items():
        found = results.get(key)
        if found is None:
            lines.append(f"{key}: crashed")
        elif not found.matches(wanted):
            lines.append(f"{key}: ended with {found}, not {wanted}")
        elif not work.scripts[key].is_used_up:
            lines.append(f"{key}: ended before its script did")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the episodes of the input file and print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True, help="the episodes, a JSON file")
    parser.add_argument("--out", type=Path, help="new or empty folder for the results tree")
    parser.add_argument("--record", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    if options.record:
        if options.out is None:
            parser.error("--record needs --out")
        if options.out.exists() and any(options.out.iterdir()):
            parser.error(f"{options.out} is not empty: overwriting records is not the same work")

    work = read_work(options.input)
    game_spec = GameSpec(
        game_name=work.game, game_path=str(HERE), players=NUMBER_OF_PLAYERS[work.game]
    )
    models = backends.load_models(["programmatic"], {"temperature": 0.0, "max_tokens": 300})
    collector = ResultCollector()
    recorders = recording_callbacks(options.out, models) if options.record else []
    callbacks = GameBenchmarkCallbackList([*recorders, collector])
    benchmark: GameBenchmark = BENCHMARKS[work.game](game_spec, work.scripts)
    gc.collect()

    wall_start, cpu_start = time.perf_counter(), time.process_time()
    dispatch.run(benchmark, work.instances, models, callbacks=callbacks, batch_size=1)
    cpu_seconds = time.process_time() - cpu_start
    wall_seconds = time.perf_counter() - wall_start

    problems = differences(work, collector.results)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    measurement = {
        "episodes": len(work.expected),
        "cpu_seconds": cpu_seconds,
        "wall_seconds": wall_seconds,
        "recorded": options.record,
    }
    print(json.dumps(measurement))
    return 0


if __name__ == "__main__":
    sys.exit(main())
