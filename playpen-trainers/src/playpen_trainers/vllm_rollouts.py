"""vLLM plays the learner while it trains: its adapter is saved and loaded before each roll-out."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import PeftModel

from playpen.play_loop import PlayLoop
from playpen.players.hf import HuggingFaceOptions
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.arguments import OptimiserOptions
from playpen_trainers.learner import check_learner

if TYPE_CHECKING:
    from playpen.players.vllm import VllmPlayer

_FOLDER = "rollout-adapter"
_TRAINED = "default"
"""The name of the adapter that is trained, in peft; TRL may keep others beside it."""


class VllmLearner:
    """vLLM's engine over the learner's base model, with the learner's adapter as it is.

    Partners are not played by it: snapshots of the learner, too, play with transformers.

    Args:
        run: says where adapters are saved, and how the learner plays.
        rank: rank of the adapter that is put on the learner; 0 if it has one.
        loop: where players are closed.
    """

    def __init__(self, run: TrainingRun, rank: int, loop: PlayLoop) -> None:
        self._spec, self._options = check_learner(run.learner)
        self._rollout = run.config.rollout
        self._folder = run.output / _FOLDER
        self._rank = rank
        self._loop = loop
        self._numbers = itertools.count()
        self._player: VllmPlayer | None = None

    def player(self, model: Any, tokenizer: Any, sampling: HuggingFaceOptions) -> VllmPlayer:
        """The learner as it is now; the player that was given out before ends.

        Args:
            model: the learner, with its adapter if that was made already.
            tokenizer: of the learner.
            sampling: how replies are sampled.

        Raises:
            PlayerError: vLLM does not start, or cannot run the adapter; says why.
        """
        from playpen.players.vllm import VllmOptions, VllmPlayer

        options = VllmOptions(
            temperature=sampling.temperature,
            max_new_tokens=sampling.max_new_tokens,
            dtype=str(model.dtype).removeprefix("torch."),  # type: ignore[arg-type]
            gpu_memory_utilization=self._rollout.gpu_memory_utilization,
            max_num_seqs=self._rollout.concurrency,
            revision=self._options.revision,
        )
        adapter = self._save(model) if isinstance(model, PeftModel) else None
        earlier = self._player
        self._player = VllmPlayer.following(
            self._spec.target,
            options,
            tokenizer=tokenizer,
            adapter=adapter,
            rank=self._rank,
        )
        if earlier is not None:
            self._loop.run(earlier.close())
        for path in self._folder.glob("*"):
            if path != adapter:  # of an earlier roll-out, or of a process that died
                shutil.rmtree(path)
        return self._player

    def close(self) -> None:
        """End the engine, and remove what was saved for it."""
        if self._player is not None:
            self._loop.run(self._player.close())
            self._player = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _save(self, model: PeftModel) -> Path:
        folder = self._folder / str(next(self._numbers))
        shutil.rmtree(folder, ignore_errors=True)  # of a process that died
        model.save_pretrained(
            str(folder), selected_adapters=[_TRAINED], save_embedding_layers=False
        )
        return folder


def check_engine(run: TrainingRun, options: OptimiserOptions) -> None:
    """Refuse roll-outs by vLLM where it cannot follow the learner, before anything is loaded.

    Raises:
        ConfigError: names the key, the value and the remedy.
    """
    if run.config.rollout.engine != "vllm":
        return
    place = "rollout.engine = 'vllm'"
    if options.load_in_4bit:
        raise ConfigError(
            f"{place}: it would not play with the 4 bits of trainer.load_in_4bit = true; "
            "leave one of the two out"
        )
    spec, _ = check_learner(run.learner)
    folder = Path(spec.target).expanduser()
    adapted = (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()
    if not options.lora_r and not adapted:
        raise ConfigError(
            f"{place} follows adapters only, and trainer.lora_r = 0 trains all weights; "
            "set trainer.lora_r = 16, or leave rollout.engine out"
        )
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate tell it
    if processes > 1:
        raise ConfigError(
            f"{place}: there are {processes} processes that train, and it follows only one; "
            "start one, or leave the option out"
        )
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            f"{place}: vLLM is not installed; pip install 'playpen-core[vllm]', "
            "or leave the option out"
        )
    from playpen.players.vllm import COLDEST

    config = run.config
    for key, value in (
        ("rollout.temperature", config.rollout.temperature),
        ("eval.temperature", config.eval.temperature),
    ):
        if 0 < value < COLDEST:
            raise ConfigError(f"{key} = {value}: vLLM samples from {COLDEST} on; raise it")
