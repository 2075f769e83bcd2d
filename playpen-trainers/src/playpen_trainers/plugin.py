"""The trainers and commands that this distribution brings."""

from __future__ import annotations

import click

from playpen.hookspecs import RecipeSpec, TrainerSpec, hookimpl

# Hooks as they are: nothing heavy is imported unless a tracker is asked for.
from playpen_trainers.trackers import playpen_episode_finished as playpen_episode_finished
from playpen_trainers.trackers import playpen_run_finished as playpen_run_finished
from playpen_trainers.trackers import playpen_run_started as playpen_run_started
from playpen_trainers.trackers import playpen_train_finished as playpen_train_finished
from playpen_trainers.trackers import playpen_train_logged as playpen_train_logged
from playpen_trainers.trackers import playpen_train_started as playpen_train_started


@hookimpl
def playpen_trainers() -> list[TrainerSpec]:
    """All trainers."""
    return [
        TrainerSpec(
            name="sft",
            path="playpen_trainers.sft:SFT",
            summary="supervised fine-tuning: imitate recorded or demonstrated episodes (TRL)",
        ),
        TrainerSpec(
            name="rft",
            path="playpen_trainers.rft:RFT",
            summary="rejection sampling: play, keep the best, fine-tune on it, and again (TRL)",
        ),
        TrainerSpec(
            name="grpo",
            path="playpen_trainers.grpo:GRPO",
            summary="online reinforcement learning: groups of episodes on the same instance (TRL)",
        ),
        TrainerSpec(
            name="rloo",
            path="playpen_trainers.rloo:RLOO",
            summary="online reinforcement learning with a leave-one-out baseline (TRL)",
        ),
        TrainerSpec(
            name="dpo",
            path="playpen_trainers.dpo:DPO",
            summary="preferences between dialogues, or between replies compared by forks (TRL)",
        ),
        TrainerSpec(
            name="kto",
            path="playpen_trainers.kto:KTO",
            summary="dialogues that are wanted or not, without pairs (TRL)",
        ),
    ]


@hookimpl
def playpen_recipes() -> list[RecipeSpec]:
    """The configurations of the paper, and of the demo."""
    return [
        RecipeSpec(
            name="demo-sft",
            path="playpen_trainers:recipes/demo-sft.toml",
            summary="the demo's first half: imitation of the oracle in taboo's mini world",
        ),
        RecipeSpec(
            name="demo-grpo",
            path="playpen_trainers:recipes/demo-grpo.toml",
            summary="the demo's second half: self-play in taboo's mini world",
        ),
        RecipeSpec(
            name="paper-sft",
            path="playpen_trainers:recipes/paper-sft.toml",
            summary="sft as in the paper: LoRA on Llama-3.1-8B-Instruct, successful episodes",
        ),
        RecipeSpec(
            name="paper-dpo",
            path="playpen_trainers:recipes/paper-dpo.toml",
            summary="dpo as in the paper: dialogue-level pairs",
        ),
        RecipeSpec(
            name="paper-grpo",
            path="playpen_trainers:recipes/paper-grpo.toml",
            summary="grpo with the paper's constants: 16 instances x 8 episodes, KL 0.04",
        ),
    ]


@hookimpl
def playpen_commands(cli: click.Group) -> None:
    """Add ``playpen demo``."""
    from playpen_trainers.demo_command import demo

    cli.add_command(demo)
