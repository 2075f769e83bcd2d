"""Hold conversations with a model through clemcore, as ``clem run -b N`` does, and time them.

The model is loaded once; then each line on the standard input has all conversations held anew.

To be run by the interpreter of an environment that has clemcore 3.7.2; see README.md.  The working
directory holds the ``model_registry.json`` (and for a server the ``key.json``) that clemcore reads.
"""

import argparse
import contextlib
import gc
import json
import os
import site
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from served import generated

HERE = Path(__file__).resolve().parent


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True, help="the conversations, a JSON file")
    parser.add_argument("--packages", help="folder with torch and transformers, if not installed")
    return parser.parse_args()


OPTIONS = arguments()
if OPTIONS.packages:
    site.addsitedir(OPTIONS.packages)  # comes last: what clemcore brought along is used first
os.environ["TQDM_DISABLE"] = "1"  # no progress bars; has to be set before tqdm is imported
with contextlib.chdir(HERE):  # where clemcore finds the logging.yaml that keeps it quiet
    from clemcore import backends
    from clemcore.backends import Model, ModelSpec
    from clemcore.clemgame import (
        DialogueGameMaster,
        GameBenchmark,
        GameBenchmarkCallbackList,
        GameInstances,
        GameSpec,
        Player,
    )
    from clemcore.clemgame.instances import to_rows
    from clemcore.clemgame.runners import batchwise, dispatch, sequential  # noqa: F401 (lazy there)


class Speaker(Player):
    """A player that only models fill."""

    def _custom_response(self, context: dict[str, Any]) -> str:
        raise NotImplementedError("no program plays this game")


class TalkMaster(DialogueGameMaster):
    """Sends the instance's messages one after the other, whatever the replies are."""

    def __init__(
        self,
        game_spec: GameSpec,
        experiment: dict[str, Any],
        player_models: list[Model],
        talks: dict[int, list[str]],
    ) -> None:
        super().__init__(game_spec, experiment, player_models)
        self._talks = talks

    def _on_setup(self, **instance: Any) -> None:
        first, *self.messages = instance["messages"]
        self.replies = self._talks.setdefault(instance["game_id"], [])
        self.speaker = Speaker(self.player_models[0], game_role="Speaker")
        self.add_player(self.speaker, initial_context=first)

    def _parse_response(self, player: Player, response: str) -> str:
        return response

    def _advance_game(self, player: Player, parsed_response: str) -> None:
        self.replies.append(parsed_response)
        if self.messages:
            self.set_context_for(self.speaker, self.messages.pop(0))
        else:
            self.state.succeed()


class TalkBenchmark(GameBenchmark):
    """Makes masters; the replies are in `talks` afterwards, by game id."""

    def __init__(self, game_spec: GameSpec) -> None:
        super().__init__(game_spec)
        self.talks: dict[int, list[str]] = {}

    def create_game_master(
        self, experiment: dict[str, Any], player_models: list[Model]
    ) -> TalkMaster:
        """Return a new master for one conversation."""
        return TalkMaster(self.game_spec, experiment, player_models, self.talks)


class Passes:
    """What is done with a model that is in this process.

    Attributes:
        shapes: rows and ids of each pass.
        sampled: tokens of all replies, the id that ends a turn included.
    """

    def __init__(self) -> None:
        self.shapes: list[Sequence[int]] = []
        self.sampled = 0


@contextlib.contextmanager
def counted(model: Model) -> Iterator[Passes]:
    """Note what is done with a model; nothing is, if it is on a server."""
    passes = Passes()
    inner = getattr(model, "model", None)
    if inner is None:
        yield passes
        return
    handle = inner.register_forward_pre_hook(
        lambda module, args, named: passes.shapes.append(tuple(named["input_ids"].shape)),
        with_kwargs=True,
    )
    generate = inner.generate
    configured = inner.generation_config.eos_token_id
    stops = set(configured if isinstance(configured, list) else [configured])

    def counting(ids: Any, **options: Any) -> Any:
        output = generate(ids, **options)
        for row in output.sequences[:, ids.shape[1] :].tolist():
            # After the end of a row come ids that let it wait for the others.
            ends = (place for place, token in enumerate(row, start=1) if token in stops)
            passes.sampled += next(ends, len(row))
        return output

    inner.generate = counting
    try:
        yield passes
    finally:
        del inner.generate
        handle.remove()


def hold(work: dict[str, Any], models: list[Model]) -> dict[str, Any]:
    """Hold all conversations once; returns the measurement."""
    benchmark = TalkBenchmark(GameSpec(game_name="talk", game_path=str(HERE), players=1))
    experiment = {"name": "all", "game_instances": work["instances"]}
    instances = GameInstances("talk", to_rows("talk", {"experiments": [experiment]}))
    before = generated(work["metrics"]) if work["metrics"] else 0
    gc.collect()
    with counted(models[0]) as passes:
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        dispatch.run(
            benchmark,
            instances,
            models,
            callbacks=GameBenchmarkCallbackList([]),
            batch_size=work["batch_size"],
        )
        cpu_seconds = time.process_time() - cpu_start
        wall_seconds = time.perf_counter() - wall_start
    return {
        "cpu_seconds": cpu_seconds,
        "wall_seconds": wall_seconds,
        "sampled": generated(work["metrics"]) - before if work["metrics"] else passes.sampled,
        "read": sum(rows * ids for rows, ids in passes.shapes),
        "passes": len(passes.shapes),
        "talks": [benchmark.talks[instance["game_id"]] for instance in work["instances"]],
    }


def main() -> int:
    """Load the model, and print a measurement for each line that comes in."""
    work = json.loads(OPTIONS.input.read_text(encoding="utf-8"))
    sampling = {"temperature": work["temperature"], "max_tokens": work["new_tokens"]}
    models = backends.load_models([ModelSpec.from_name(work["model"])], sampling)
    models[0].generate_response([{"role": "user", "content": "What comes first is slower."}])
    for _ in sys.stdin:
        print(json.dumps(hold(work, models)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
