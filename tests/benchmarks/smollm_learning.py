"""SmolLM2-135M-Instruct learns two games with LoRA: SFT on oracle episodes, then GRPO.

Everything that is decided beforehand stands in ``smollm_learning.toml``.  What is made goes to
``runs/smollm-learning``; an interrupted experiment is continued by starting it again.  At the end
``docs/smollm.md`` is written.  ``python tests/benchmarks/smollm_learning.py [CONFIG]``; another
configuration has its own directory and writes its page there.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch

from playpen import Instance, get_game, ready_instances
from playpen.cast import make_cast
from playpen.episode import Abort, Episode
from playpen.instance_sets import parse_instances
from playpen.runner import create_run, play_run
from playpen.scoring import score_episodes
from playpen.store import Run
from playpen.training import TrainConfig, train

REPOSITORY = Path(__file__).parent.parent.parent
CONFIG = Path(__file__).with_suffix(".toml")
STAGES = {"before": "before", "sft": "after SFT", "grpo": "after GRPO"}


def generated(name: str, split: str) -> list[Instance]:
    """All that a game's generator has for its official levels (those of the ready instances)."""
    game = get_game(name)
    found: list[Instance] = []
    for level in dict.fromkeys(i.experiment.name for i in ready_instances(game, split)):

        def refused(count: int, level: str = level) -> bool:
            try:
                game.generate(split, seed=0, level=level, n=count)
            except ValueError:  # the material is finite
                return True
            return False

        most = bisect.bisect_left(range(1, 2000), True, key=refused)
        document = game.generate(split, seed=0, level=level, n=most)
        found += parse_instances(document, game, source=f"{name} ({level})", split=split)
    return found


def unseen_instances(name: str, count: int) -> tuple[list[Instance], Counter[str]]:
    """Instances to measure on, and how many are of which split.

    All of the test split; where that is not enough, validation instances that were not among the
    ones that choices were made on.  Their order is that of their fingerprints' hashes.
    """
    game = get_game(name)
    chosen = generated(name, "test")[:count]
    looked_at = {game.fingerprint(i) for i in ready_instances(game, "validation")[::2]}
    spare = [i for i in generated(name, "validation") if game.fingerprint(i) not in looked_at]
    spare.sort(key=lambda i: hashlib.sha256(game.fingerprint(i).encode()).hexdigest())
    splits = Counter({"test": len(chosen)})
    chosen += spare[: count - len(chosen)]
    splits["validation"] = len(chosen) - splits["test"]
    known = {game.fingerprint(i) for i in generated(name, "train")}
    assert len({game.fingerprint(i) for i in chosen}) == len(chosen) == count
    assert not known & {game.fingerprint(i) for i in chosen}
    return chosen, splits


class Experiment:
    """The stages, their costs, and their directory."""

    def __init__(self, config: dict[str, Any], output: Path) -> None:
        self.config = config
        self.output = output
        output.mkdir(parents=True, exist_ok=True)
        decided = output / "decided.json"
        text = json.dumps({k: v for k, v in config.items() if k not in ("remarks", "shown")})
        if decided.exists() and decided.read_text() != text:
            raise SystemExit(f"{output} holds an experiment with another configuration")
        decided.write_text(text)

    def timed(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do something and note what it took."""
        cpu, wall = time.process_time(), time.time()
        try:
            return work()
        finally:
            cost = {
                "stage": stage,
                "cpu": round(time.process_time() - cpu, 1),
                "wall": round(time.time() - wall, 1),
            }
            with (self.output / "costs.jsonl").open("a") as file:
                file.write(json.dumps(cost) + "\n")
            print(cost, flush=True)

    def measure(self, stage: str, checkpoint: Path) -> None:
        """Play the unseen instances of every game, greedily; the model holds all roles."""
        for name in self.config["games"]:
            path = self.output / f"eval-{stage}-{name}"
            options = f"max_new_tokens={self.config['max_new_tokens'][name]}"
            spec = f"hf:{checkpoint}?dtype={self.config['dtype']}&batch_size=64&{options}"
            if (path / "run.json").exists():
                run = Run.open(path)
            else:
                instances, _ = unseen_instances(name, self.config["instances"])
                run = create_run(
                    path, {name: instances}, make_cast([(None, spec)]), seed=self.config["seed"]
                )
            if len(list(run.episodes())) < self.config["instances"]:
                self.timed(f"eval-{stage}-{name}", lambda run=run: play_run(run))
            episodes = list(run.episodes())
            print(stage, score_episodes(episodes, {name: get_game(name)}).games, flush=True)

    def learn(self, trainer: str, name: str, checkpoint: Path, tables: dict[str, Any]) -> Path:
        """Train from a checkpoint."""
        output = self.output / name
        done = output / "done"
        if not done.exists():
            learner = {**tables.get("learner", {}), "player": f"hf:{checkpoint}"}
            config = msgspec.convert({**tables, "learner": learner}, TrainConfig)
            made = self.timed(name, lambda: train(trainer, config, output))
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            done.write_text(json.dumps({"made": made.name, "gib": round(memory, 1)}))
        return output / json.loads(done.read_text())["made"]

    def run(self) -> None:
        """Everything, in order."""
        fetch = [sys.executable, str(REPOSITORY / "tests" / "smollm.py")]
        printed = subprocess.run(fetch, check=True, stdout=subprocess.PIPE, text=True).stdout
        checkpoint = Path(printed.splitlines()[-1])
        self.measure("before", checkpoint)
        self.write_page()
        checkpoint = self.learn("sft", "sft", checkpoint, self.config["sft"])
        self.measure("sft", checkpoint)
        self.write_page()
        for number, phase in enumerate(self.config["grpo"], start=1):
            checkpoint = self.learn("grpo", f"grpo-{number}", checkpoint, phase)
        self.measure("grpo", checkpoint)
        self.write_page()

    # --- the page --------------------------------------------------------------------------------

    def write_page(self) -> None:
        """Write what is known so far, and say where."""
        ours = self.output == REPOSITORY / tomllib.loads(CONFIG.read_text())["output"]
        page = REPOSITORY / "docs" / "smollm.md" if ours else self.output / "smollm.md"
        page.write_text(self.page(), encoding="utf-8")
        print(page, flush=True)

    def measured(self) -> dict[str, str]:
        """The stages that all games were measured in."""
        return {
            stage: title
            for stage, title in STAGES.items()
            if all(
                (self.output / f"eval-{stage}-{name}" / "run.json").exists()
                and len(self.episodes(stage, name)) == self.config["instances"]
                for name in self.config["games"]
            )
        }

    def page(self) -> str:
        """The result as Markdown."""
        parts = [self._head(), self._table(), self._ends(), self._budget(), self._log()]
        return "\n".join([*parts, self._fixed()])

    def episodes(self, stage: str, name: str) -> list[Episode]:
        """What was played to measure."""
        return list(Run.open(self.output / f"eval-{stage}-{name}").episodes())

    def _head(self) -> str:
        remarks = "\n".join(f"- {remark}" for remark in self.config["remarks"])
        splits = "\n".join(
            f"- {name}: {found['test']} of the test split, {found['validation']} of validation"
            for name in self.config["games"]
            for _, found in [unseen_instances(name, self.config["instances"])]
        )
        return f"""# SmolLM2-135M-Instruct learns two games

Written by `tests/benchmarks/smollm_learning.py` from what was played and logged; the decisions
were fixed before, in `tests/benchmarks/smollm_learning.toml`.

The model holds every role (in taboo it plays with itself).  It is measured at temperature 0 on
{self.config["instances"]} unseen instances of each game, none of whose fingerprints is in the
training split.  Where the test split is too small, instances of the validation split that no
choice was made on fill it up:

{splits}

The ± of shares is half of Wilson's 95 % interval, that of quality 1.96 standard errors over the
played episodes.  Neither says anything about other seeds of training.

What this run does not show:

{remarks}
"""

    def _table(self) -> str:
        lines = [
            "| game | stage | n | % played | % success | quality |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name in self.config["games"]:
            for stage, title in self.measured().items():
                episodes = self.episodes(stage, name)
                count = len(episodes)
                played = share(sum(not e.aborted for e in episodes), count)
                success = share(sum(e.success for e in episodes), count)
                scores = [e.main_score for e in episodes if e.main_score is not None]
                cells = [name, title, str(count), played, success, mean(scores)]
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def _ends(self) -> str:
        lines = [
            "How the episodes ended (codes of violations where they were aborted):\n",
            "| game | stage | endings | replies per episode |",
            "| --- | --- | --- | --- |",
        ]
        for name in self.config["games"]:
            for stage, title in self.measured().items():
                episodes = self.episodes(stage, name)
                endings = Counter(ending(e) for e in episodes)
                shown = ", ".join(f"{end} {n}" for end, n in endings.most_common())
                replies = sum(len(e.replies()) for e in episodes) / len(episodes)
                lines.append(f"| {name} | {title} | {shown} | {replies:.1f} |")
        return "\n".join(lines) + "\n"

    def _budget(self) -> str:
        costs: dict[str, list[float]] = {}
        for line in (self.output / "costs.jsonl").read_text().splitlines():
            cost = json.loads(line)
            found = costs.setdefault(cost["stage"], [0.0, 0.0])
            found[0] += cost["cpu"]
            found[1] += cost["wall"]
        lines = [
            "## What it cost\n",
            "| stage | episodes | rows optimised | tokens sampled | tokens read by the optimiser "
            "| CPU s | wall s |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for stage, (cpu, wall) in costs.items():
            cells = [stage, *self._amounts(stage), f"{cpu:.0f}", f"{wall:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
        total = [sum(pair[number] for pair in costs.values()) for number in (0, 1)]
        lines.append(f"| all | | | | | {total[0]:.0f} | {total[1]:.0f} |")
        packages = ("torch", "transformers", "trl", "peft", "playpen-core", "playpen-trainers")
        versions = ", ".join(f"{name} {version(name)}" for name in packages)
        lines += [
            "",
            "Model: a Q4_1 GGUF file that comes with a package (`tests/smollm.py`), unpacked to "
            f"{self.config['dtype']}.  Python {platform.python_version()}, {versions}.  "
            f"Machine: {processor()}, {os.cpu_count()} cores shared with other work, one thread.",
        ]
        return "\n".join(lines) + "\n"

    def _amounts(self, stage: str) -> list[str]:
        if stage.startswith("eval-"):
            episodes = list(Run.open(self.output / stage).episodes())
            sampled = sum(s.reply.completion_tokens or 0 for e in episodes for s in e.replies())
            return [str(len(episodes)), "", str(sampled), ""]
        log = self.metrics(stage)
        if stage == "sft":
            [first] = [line for line in log if "rows" in line and line["step"] == 0]
            last = log[-1]
            options = self.config["sft"]["trainer"]
            batch = options["per_device_train_batch_size"] * options["gradient_accumulation_steps"]
            rows = min(last["step"] * batch, round(first["rows"] * last["epoch"]))
            return [str(first["episodes"]), str(rows), "", f"{last['num_tokens']:.0f}"]
        steps = [line for line in log if "reward" in line]
        options = self.config["grpo"][int(stage.rpartition("-")[2]) - 1]["trainer"]
        batch = options["per_device_train_batch_size"] * options["gradient_accumulation_steps"]
        rows = round(sum(line["rows"] for line in steps))
        sampled = steps[-1]["tokens_sampled"]  # of all steps so far
        return [str(len(steps) * batch), str(rows), f"{sampled:.0f}", ""]

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """The training log of a stage."""
        text = (self.output / stage / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def _log(self) -> str:
        parts = ["## Training logs\n"]
        stages = ["sft", *(f"grpo-{n}" for n in range(1, len(self.config["grpo"]) + 1))]
        for stage in stages:
            if not (self.output / stage / "metrics.jsonl").exists():
                continue
            keys = self.config["shown"]["sft" if stage == "sft" else "grpo"]
            lines = [line for line in self.metrics(stage) if "loss" in line]
            parts.append(f"`{stage}`\n")
            parts.append(f"| step | {' | '.join(keys)} |")
            parts.append("| --- |" + " --- |" * len(keys))
            for line in lines:
                values = [number(line.get(key)) for key in keys]
                parts.append(f"| {line['step']} | {' | '.join(values)} |")
            parts.append("")
        return "\n".join(parts)

    def _fixed(self) -> str:
        return f"## What was fixed beforehand\n\n```toml\n{CONFIG.read_text()}```\n"


def ending(episode: Episode) -> str:
    """In a word or two."""
    if episode.success:
        return "won"
    outcome = episode.outcome
    if isinstance(outcome, Abort):
        return f"aborted: {outcome.code}"
    fault = getattr(outcome, "fault", None)
    return f"lost by {fault}" if fault else "lost"


def share(hits: int, count: int) -> str:
    """Percentage with half the width of Wilson's 95 % interval."""
    z = 1.96
    rate = hits / count
    half = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return f"{100 * rate:.1f} ± {100 * half / (1 + z * z / count):.1f}"


def mean(values: Sequence[float]) -> str:
    """Mean with half the width of its 95 % interval by normal approximation."""
    if not values:
        return "-"
    count = len(values)
    average = math.fsum(values) / count
    if count < 2:
        return f"{average:.1f} (n = 1)"
    spread = math.sqrt(sum((v - average) ** 2 for v in values) / (count - 1))
    return f"{average:.1f} ± {1.96 * spread / math.sqrt(count):.1f} (n = {count})"


def number(value: float | None) -> str:
    """A number of a log."""
    return "-" if value is None else f"{value:.3g}"


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


def main() -> None:
    """Run what is missing and write the page."""
    config_file = Path(sys.argv[1]) if len(sys.argv) > 1 else CONFIG
    config = tomllib.loads(config_file.read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    Experiment(config, REPOSITORY / config["output"]).run()


if __name__ == "__main__":
    main()
