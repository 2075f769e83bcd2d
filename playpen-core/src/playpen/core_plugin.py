"""What playpen-core itself brings, through the same hooks as everybody else."""

from __future__ import annotations

from playpen.hookspecs import ExecutorSpec, PlayerSpec, RewardSpec, hookimpl


@hookimpl
def playpen_players() -> list[PlayerSpec]:
    """The players of the core."""
    return [
        PlayerSpec(
            scheme="program",
            path="playpen.players.program:ProgramPlayer",
            summary="the game's own oracle, or a function of yours (program:module:function)",
        ),
        PlayerSpec(
            scheme="human",
            path="playpen.players.human:HumanPlayer",
            summary="a person at this terminal",
        ),
        PlayerSpec(
            scheme="replay",
            path="playpen.players.recorded:RecordedPlayer",
            summary="the replies of a recorded run (replay:RUN)",
        ),
        PlayerSpec(
            scheme="hf",
            path="playpen.players.hf:HuggingFacePlayer",
            summary="a transformers model, from the hub or a directory",
            extra="playpen-core[hf]",
        ),
        PlayerSpec(
            scheme="vllm",
            path="playpen.players.vllm:VllmPlayer",
            summary="a model on vLLM's engine, from the hub or a directory",
            extra="playpen-core[vllm]",
        ),
        PlayerSpec(
            scheme="openai",
            path="playpen.players.openai:OpenAIPlayer",
            summary="a model behind a server that speaks OpenAI's HTTP interface (vLLM's, say)",
            extra="playpen-core[openai]",
        ),
    ]


@hookimpl
def playpen_executors() -> list[ExecutorSpec]:
    """The executors of the core."""
    return [
        ExecutorSpec(
            scheme="ray",
            path="playpen.executors.ray:RayExecutor",
            summary="workers of a Ray cluster, or of one that is started here",
            extra="playpen-core[ray]",
        ),
    ]


@hookimpl
def playpen_rewards() -> list[RewardSpec]:
    """The rewards of the core."""
    return [
        RewardSpec(
            name="outcome",
            path="playpen.rewards:OutcomeReward",
            summary="how the episode ended: success, lose or aborted",
        ),
        RewardSpec(
            name="score",
            path="playpen.rewards:ScoreReward",
            summary="the main score, or the role's own",
        ),
        RewardSpec(
            name="turn",
            path="playpen.rewards:TurnReward",
            summary="the game's own turn-level rewards",
        ),
    ]
