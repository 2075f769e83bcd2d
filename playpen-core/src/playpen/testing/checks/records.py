"""What is recorded is enough: replay, run directories, forks, prefixes, chance moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from playpen.conversation import Conversation, Reply
from playpen.episode import Episode
from playpen.game import Game
from playpen.moves import Ask, Draw, Violation
from playpen.referee import Referee, new_episode
from playpen.replay import fork, replay
from playpen.store import EpisodeWriter, Run, RunConfig, RunError
from playpen.testing.driver import PlayedEpisode, first_difference, lines_of
from playpen.testing.findings import fault, not_json, place, quoted, reason
from playpen.testing.game_under_test import GameUnderTest

PURE = "let play() depend on the instance, the replies and the results of its Draw moves alone."
FORKS = 12
"""At most this many turns of one episode are forked at."""


class RecordChecks:
    """An episode can be played again from its record, whole or from any turn."""

    def test_episodes_replay(self, subject: GameUnderTest) -> None:
        """The recorded replies and draws give the same moves and the same outcome."""
        subject.need_steady()
        for played in subject.finished():
            _check_replay(subject, played, played.episode)

    def test_episodes_replay_from_a_run_directory(
        self, subject: GameUnderTest, tmp_path: Path
    ) -> None:
        """They also do when episode and instance were written to files and read back."""
        subject.need_steady()
        plays = subject.samples_of_plays(40)
        config = RunConfig(episodes={subject.game.name: len(plays)})
        run = Run.create(tmp_path / "run", config, [played.instance for played in plays])
        with EpisodeWriter(run) as writer:
            for number, played in enumerate(plays):
                # Several players may have played one instance: a run has each unit once.
                episode = msgspec.structs.replace(played.episode, repeat=number)
                try:
                    writer.append(episode)
                except (TypeError, ValueError) as error:
                    fault(
                        place(subject.game, played.instance),
                        f"the episode cannot be written: {reason(error)}",
                        "put JSON values only into Note and Draw moves.",
                    )
        try:
            episodes, instances = list(run.episodes()), run.instances()
        except RunError as error:
            fault(
                subject.game.name,
                f"a run of it cannot be read: {error}",
                "give finite numbers as rewards and scores, and JSON values everywhere.",
            )
        for played, episode, instance in zip(plays, episodes, instances, strict=True):
            _check_replay(subject, PlayedEpisode(instance, played.episode), episode)

    def test_episodes_fork_at_every_turn(self, subject: GameUnderTest) -> None:
        """A fork has the same past, and can be played to an end."""
        subject.need_steady()
        for played in subject.samples_of_plays():
            turns = range(len(played.episode.replies()))
            for turn in turns[:: max(1, len(turns) // FORKS)]:
                _check_fork(subject, played, turn)

    def test_any_prefix_is_a_snapshot(self, subject: GameUnderTest) -> None:
        """A fresh referee that is given the first replies asks the same next question."""
        subject.need_steady()
        for played in subject.samples_of_plays():
            referee = Referee(
                subject.game,
                played.instance,
                new_episode(subject.game, played.instance, {}),
            )
            pending = referee.advance()
            for number, (asked, said) in enumerate(
                zip(played.asked, played.episode.replies(), strict=True)
            ):
                if pending is None or _shown(pending) != _shown(asked):
                    now = "nothing" if pending is None else quoted(pending.last, 200)
                    fault(
                        place(subject.game, played.instance),
                        f"after the same {number} replies another question follows: {now} "
                        f"instead of {quoted(asked.last, 200)} to {asked.role!r}",
                        PURE,
                    )
                pending = referee.advance(said.reply)

    def test_chance_moves_are_recorded(self, subject: GameUnderTest) -> None:
        """Draws are JSON values, and what was drawn decides the play, under any seed."""
        subject.need_steady()
        plays = [played for played in subject.finished() if played.episode.draws()]
        if not plays:
            pytest.skip("the game makes no chance moves")
        for played in plays:
            for options in _options(subject.game, played):
                if wrong := not_json(options):
                    fault(
                        place(subject.game, played.instance),
                        f"the options of a chance move are no JSON values: {wrong}",
                        "draw texts, numbers and lists only (no tuples): a replay gives the game "
                        "what was recorded, which has become JSON.",
                    )
            _check_draws(subject, played)


def _options(game: Game, played: PlayedEpisode) -> Iterator[list[Any]]:
    """The options of the chance moves as the game gives them; a record holds copies."""
    replies, draws = iter(played.episode.replies()), iter(played.episode.draws())
    moves = game.play(played.instance)
    answer: Any = None
    with suppress(StopIteration, Violation):
        while True:
            move = moves.send(answer)
            answer = None
            if isinstance(move, Ask):
                answer = next(replies).reply
            elif isinstance(move, Draw):
                yield move.options
                answer = next(draws)


def _check_replay(subject: GameUnderTest, played: PlayedEpisode, recorded: Episode) -> None:
    try:
        result = replay(subject.game, played.instance, recorded)
    except Exception as error:
        fault(
            place(subject.game, played.instance),
            f"the replay raised {reason(error)}",
            f"{PURE} Put JSON values only into Note and Draw moves.",
        )
    if result.divergences or not result.complete or result.unused:
        differences = [str(divergence) for divergence in result.divergences[:3]]
        if not result.complete:
            differences.append("the replay came to no end")
        if result.unused:
            differences.append(f"{result.unused} replies were left over")
        fault(
            place(subject.game, played.instance),
            f"the replay differs from the record: {'; '.join(differences)} {played.after()}",
            f"{PURE} Instances are read back as JSON: lists instead of tuples, texts as keys.",
        )


def _check_fork(subject: GameUnderTest, played: PlayedEpisode, turn: int) -> None:
    where = place(subject.game, played.instance)
    try:
        referee, pending = fork(
            subject.game, played.instance, played.episode, turn, sampling_seed=1
        )
    except Exception as error:
        fault(where, f"forking before reply {turn} failed: {reason(error)}", PURE)
    if _shown(pending) != _shown(played.asked[turn]):
        fault(where, f"forked before reply {turn}, the conversation is another one", PURE)
    try:
        going_on: Conversation | None = pending
        while going_on is not None:
            going_on = referee.advance(Reply(subject.consult(going_on, [])))
    except Exception as error:
        fault(where, f"a fork before reply {turn}, played on, raised {reason(error)}", PURE)


def _check_draws(subject: GameUnderTest, played: PlayedEpisode) -> None:
    """The same draws under another seed, from which other ones would be drawn."""
    blank = new_episode(subject.game, played.instance, {}, seed=99)
    referee = Referee(subject.game, played.instance, blank, draws=iter(played.episode.draws()))
    pending = referee.advance()
    for said in played.episode.replies():
        if pending is None or pending.role != said.role:
            break
        pending = referee.advance(said.reply)
    difference = first_difference(lines_of(played.episode), lines_of(blank))
    if difference is not None:
        fault(
            place(subject.game, played.instance),
            f"with the recorded draws under another seed it plays otherwise: {difference}",
            PURE,
        )


def _shown(conversation: Conversation) -> list[object]:
    """What a player gets, but for its seed."""
    return [
        conversation.turn,
        conversation.side,
        conversation.max_new_tokens,
        [(message.role, message.content) for message in conversation.messages],
        conversation.role,
    ]
