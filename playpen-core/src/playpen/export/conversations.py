"""What is exported: the conversations of recorded episodes that a selection lets through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

from playpen.conversation import Message, Reply
from playpen.episode import Ending, Episode, Key, Turn
from playpen.errors import PlaypenError
from playpen.instance import content_hash
from playpen.player import did_you_mean
from playpen.rewards import Rewards
from playpen.store import Run, RunConfig


class ExportError(PlaypenError):
    """Nothing can be exported as asked.  The message names what is in the way, and the remedy."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversations are exported; what is left empty lets everything through.

    Attributes:
        games, roles, players: names, and labels of players.
        outcomes: how episodes ended.
        min_score: lowest main score; aborted episodes have none.
        allow_test: let episodes of a test split through.
    """

    games: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    players: tuple[str, ...] = ()
    outcomes: tuple[Ending, ...] = ()
    min_score: float | None = None
    allow_test: bool = False

    def has(self, episode: Episode) -> bool:
        """Whether an episode with an outcome is let through."""
        score = episode.main_score
        return (
            (not self.games or episode.game in self.games)
            and (not self.outcomes or episode.ending in self.outcomes)
            and (self.min_score is None or (score is not None and score >= self.min_score))
        )

    def has_role(self, role: str, player: str) -> bool:
        """Whether what a player said in a role is let through."""
        return (not self.roles or role in self.roles) and (
            not self.players or player in self.players
        )


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a conversation comes from.

    Attributes:
        run: the run directory, as it was named.
        run_config: content hash of the run's configuration.
        episode: name of the episode.
        game, rules, experiment: name of the game, version of its rules, and its level.
        instance: content hash of what was played.
        split: of the instance; `None` if it is unknown, as for imported files.
        role, player: whose conversation it is, and the label of who played the role.
        seed, repeat: seed of the run, and number of the repeat of this instance in it.
        outcome: ``success``, ``lose`` or ``abort``.
        fault: the role that is to blame for how the episode ended, where the game says so.
        score: the main score; `None` for aborted episodes.
        reward: of the role's whole part in the episode.
        side: whether it ends with a side question, which left no trace in the conversation.
        turn: number of the reply among all of the role, from 0; `None` for whole conversations.
    """

    run: str
    run_config: str
    episode: str
    game: str
    rules: str
    experiment: str
    instance: str
    split: str | None
    role: str
    player: str
    seed: int
    repeat: int
    outcome: str
    fault: str | None
    score: float | None
    reward: float
    side: bool
    turn: int | None


class ExportedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation of one role: the main one, or the one up to a side question.

    Attributes:
        origin: where it comes from.
        messages: ends with a reply of the role.
        replies: the places among the messages where the role's player speaks, at least one.
        turns: for each of these, its number among the role's replies, side questions included.
        chance: whether the game made chance moves, which depend on the seed of the run.
    """

    origin: Origin
    messages: list[Message]
    replies: list[int]
    turns: list[int]
    chance: bool


class Gathered(msgspec.Struct):
    """What is in some runs.

    Attributes:
        runs: path to configuration.
        conversations: those that were let through, ordered by the episodes' identity.
        episodes: how many episodes these conversations are of.
        left_out: how many episodes were not let through, or have no words of anybody wanted.
        failed: how many have no outcome, since the infrastructure failed.
        test: how many of `episodes` are of a test split.
    """

    runs: dict[str, RunConfig]
    conversations: list[ExportedConversation]
    episodes: int = 0
    left_out: int = 0
    failed: int = 0
    test: int = 0


def gather(runs: Sequence[Run], selection: Selection, rewards: Rewards) -> Gathered:
    """The conversations in some runs.

    Args:
        runs: where to look.
        selection: what to let through.
        rewards: what a role's part is worth.

    Raises:
        ExportError: a run is named twice, a name of the selection is in none of the runs, nothing
            is let through, or something of a test split would be.
        RunError: a run is damaged.
    """
    _check(runs, selection)
    gathered = Gathered({str(run.path): run.config for run in runs}, [])
    ordered: list[tuple[Key, int, list[ExportedConversation]]] = []
    for number, run in enumerate(runs):
        configuration = content_hash(msgspec.to_builtins(run.config))
        finished: set[Key] = set()
        failed: set[Key] = set()
        for episode in run.episodes(failed=True):
            if episode.outcome is None:
                failed.add(episode.key)
                continue
            finished.add(episode.key)
            conversations = []
            if selection.has(episode):
                conversations = _conversations(
                    episode, selection, rewards, (str(run.path), configuration)
                )
            if not conversations:
                gathered.left_out += 1
                continue
            if episode.split == "test":
                gathered.test += 1
                if not selection.allow_test:
                    raise ExportError(
                        f"{run.path}: {episode.name} is of the test split; who trains on it can no "
                        "longer be tested on it.  Export other episodes, or say --allow-test"
                    )
            ordered.append((episode.key, number, conversations))
        gathered.failed += len(failed - finished)
    # A run holds episodes as they ended, which is a matter of timing.
    ordered.sort(key=lambda entry: entry[:2])
    gathered.conversations = list(chain.from_iterable(entry[2] for entry in ordered))
    gathered.episodes = len(ordered)
    if not ordered:
        raise ExportError(
            f"nothing to export: none of the {gathered.left_out} finished episodes is let through"
            + (f", and {gathered.failed} failed" if gathered.failed else "")
        )
    return gathered


def _check(runs: Sequence[Run], selection: Selection) -> None:
    seen = set()
    for run in runs:
        place = run.path.resolve()
        if place in seen:
            raise ExportError(f"the run {run.path} is named twice")
        seen.add(place)
    seats = [
        (game, role, player)
        for run in runs
        for game, assignment in run.config.assignments.items()
        for role, player in assignment.items()
    ]
    for what, wanted, part in (
        ("game", selection.games, 0),
        ("role", selection.roles, 1),
        ("player", selection.players, 2),
    ):
        known = list(dict.fromkeys(seat[part] for seat in seats))
        for name in wanted:
            if name not in known:
                raise ExportError(
                    f"there is no {what} {name!r} in the runs{did_you_mean(name, known)} "
                    f"They have {', '.join(known)}."
                )


def _conversations(
    episode: Episode, selection: Selection, rewards: Rewards, run: tuple[str, str]
) -> list[ExportedConversation]:
    """The conversations of an episode that have something said in them."""
    conversations: list[ExportedConversation] = []
    for role, player in episode.players.items():
        turns = episode.turns(role)
        if not turns or not selection.has_role(role, player):
            continue
        origin = Origin(
            run=run[0],
            run_config=run[1],
            episode=episode.name,
            game=episode.game,
            rules=episode.rules,
            experiment=episode.experiment,
            instance=episode.instance,
            split=episode.split,
            role=role,
            player=player,
            seed=episode.seed,
            repeat=episode.repeat,
            outcome=episode.ending,
            fault=getattr(episode.outcome, "fault", None),
            score=None if episode.main_score is None else float(episode.main_score),
            reward=float(rewards.returns(episode, role)[0]),
            side=False,
            turn=None,
        )
        chance = bool(episode.draws())
        kept = [number for number, turn in enumerate(turns) if turn.keep]
        if kept:
            messages = _messages(turns[kept[-1]])
            places = [place for place, message in enumerate(messages) if message.reply is not None]
            said = [
                (place, number)
                for place, number in zip(places, kept, strict=True)
                if _spoken(turns[number].reply)
            ]
            if said:
                conversations.append(
                    ExportedConversation(
                        origin=origin,
                        messages=messages,
                        replies=[place for place, _ in said],
                        turns=[number for _, number in said],
                        chance=chance,
                    )
                )
        for number, turn in enumerate(turns):
            if not turn.keep and _spoken(turn.reply):
                messages = _messages(turn)
                conversations.append(
                    ExportedConversation(
                        origin=msgspec.structs.replace(origin, side=True, turn=number),
                        messages=messages,
                        replies=[len(messages) - 1],
                        turns=[number],
                        chance=chance,
                    )
                )
    return conversations


def _messages(turn: Turn) -> list[Message]:
    return [*turn.messages, Message("assistant", turn.reply.text, turn.reply)]


def _spoken(reply: Reply) -> bool:
    """Whether it was the player that said it, and not a limit that made it empty."""
    return bool(reply.text) or reply.stop_reason not in ("context", "budget", "filter")


def counted(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, in the order of the names."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
