"""What players share whose model is loaded on this machine, whichever engine runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from playpen.chat_format import ChatFormat
from playpen.conversation import Conversation, Reply
from playpen.game import Game
from playpen.player import Player
from playpen.players.checkpoints import local_checkpoint, read_template
from playpen.players.replies import (
    DEFAULT_NEW_TOKENS,
    Thinking,
    generated_reply,
    longest_reply,
    no_room,
)


class LocalModelOptions(Protocol):
    """The options that every such player has."""

    @property
    def temperature(self) -> float: ...  # noqa: D102
    @property
    def max_new_tokens(self) -> int | None: ...  # noqa: D102
    @property
    def top_p(self) -> float: ...  # noqa: D102
    @property
    def top_k(self) -> int: ...  # noqa: D102
    @property
    def thinking(self) -> Thinking: ...  # noqa: D102
    @property
    def revision(self) -> str | None: ...  # noqa: D102
    @property
    def chat_template(self) -> str | None: ...  # noqa: D102


class LocalEngine(Protocol):
    """What runs a model."""

    positions: int
    """How many ids the model can read and write together."""


class LoadedModel(Protocol):
    """What a player has once its model is loaded."""

    @property
    def engine(self) -> LocalEngine:
        """What runs the model."""

    @property
    def chat(self) -> ChatFormat:
        """How conversations are written for the model."""


LoadedT = TypeVar("LoadedT", bound=LoadedModel)


class LocalModelPlayer(Player, Generic[LoadedT]):
    """A player that loads its model on first use and samples from it token by token.

    A subclass says how to load the model (`_load`), to sample from it (`_sample`) and to let it go
    (`_release`).
    """

    scheme: ClassVar[str]
    """Of the player's spec."""

    _options: LocalModelOptions
    _template: str | None
    _target: Path | str
    _loaded: LoadedT | None = None

    def __init__(self, target: str, options: LocalModelOptions) -> None:
        """Check what can be checked without loading.

        Args:
            target: a directory, or the name of a model on the hub.
            options: of the player.

        Raises:
            SpecError: there is no such directory or template file, or it is not a checkpoint.
        """
        self._options = options
        self._template = read_template(options.chat_template)
        self._target = local_checkpoint(self.scheme, target, options.revision) or target

    def seat(self, game: Game, role: str) -> Player:
        """Load the model, so that what is wrong with it shows before anything is played.

        Raises:
            PlayerError: the model cannot be loaded; says why.
            SpecError: the model has no chat template.
        """
        self._ready()
        return self

    async def reply(self, conversation: Conversation) -> Reply:
        """Generate a reply.

        Where the prompt leaves no room in the model's context, the reply is empty, with the
        `stop_reason` ``context`` and an empty trace: nothing was fed and nothing sampled.

        Raises:
            PlayerError: loading or generation failed, or the template refuses the chat.
        """
        loaded = self._ready()
        prompt = loaded.chat.prompt(conversation.messages)
        wanted = longest_reply(self._options.max_new_tokens, conversation)
        limit = min(wanted, loaded.engine.positions - len(prompt.full))
        if limit < 1:
            return no_room(conversation, prompt)
        sampled, logprobs = await self._sample(loaded, prompt.full, limit, conversation.seed)
        return generated_reply(
            loaded.chat,
            prompt,
            sampled,
            logprobs,
            thinking=self._options.thinking,
            cut="length" if limit == wanted else "context",
        )

    def describe(self) -> dict[str, Any]:
        """Model, engine and sampling options, and what happens to reasoning.

        What only the engine knows (the data type that ``auto`` stands for, say) is there once the
        model is loaded.
        """
        options = self._options
        described = {
            "model": str(self._target),
            "revision": options.revision,
            "chat_template": options.chat_template,
            **self._describe_engine(),
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "max_new_tokens": options.max_new_tokens or DEFAULT_NEW_TOKENS,
            **self._describe_batching(),
            "reasoning": "stripped" if options.thinking == "strip" else "kept",
        }
        return {name: value for name, value in described.items() if value is not None}

    async def close(self) -> None:
        """Let go of the model; with its last player its engine ends."""
        if self._loaded is not None:
            loaded, self._loaded = self._loaded, None
            await asyncio.to_thread(self._release, loaded)

    def _ready(self) -> LoadedT:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> LoadedT:
        """Load the model, or share the one that another player has loaded.

        Raises:
            PlayerError: it cannot be loaded; says why.
            SpecError: it has no chat template.
        """
        raise NotImplementedError

    async def _sample(
        self, loaded: LoadedT, ids: Sequence[int], limit: int, seed: int
    ) -> tuple[list[int], list[float]]:
        """Sample what follows `ids`.

        Args:
            loaded: the model.
            ids: what the model reads first.
            limit: most ids to sample.
            seed: of the sampling.

        Returns:
            The sampled ids, the end of the turn included, and the log-probability of each.

        Raises:
            PlayerError: generation failed.
        """
        raise NotImplementedError

    def _release(self, loaded: LoadedT) -> None:
        """Let go of what `_load` gave; called in another thread, as it may wait."""
        raise NotImplementedError

    def _describe_engine(self) -> dict[str, Any]:
        """What `describe` says about how the model is loaded and run."""
        raise NotImplementedError

    def _describe_batching(self) -> dict[str, Any]:
        """What `describe` says about which replies are computed together."""
        return {}
