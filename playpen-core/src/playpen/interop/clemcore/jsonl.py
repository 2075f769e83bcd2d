"""Making a run of recordings that hold one episode a line (``.jsonl`` or ``.jsonl.gz``)."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from playpen.episode import Episode, Failure
from playpen.game import Game
from playpen.interop.clemcore.importing import (
    Imported,
    ImportedRun,
    installed,
    new_run_folder,
    refuse_occupied,
)
from playpen.interop.clemcore.reading import RecordingError
from playpen.interop.recordings import (
    Recording,
    compare_scores,
    instance_of,
    read_recordings,
    script_of,
)
from playpen.referee import new_episode
from playpen.replay import replay_script
from playpen.runner import versions
from playpen.scoring import episode_scores
from playpen.store import MAX_ATTEMPTS, EpisodeWriter, Run, RunConfig

_PATTERNS = ("*.jsonl", "*.jsonl.gz")


def recording_files(path: Path) -> list[Path]:
    """The files of recordings that a path stands for: itself, or those in the folder."""
    if path.is_file():
        return [path]
    return sorted(file for pattern in _PATTERNS for file in path.glob(pattern))


def import_recordings(
    path: Path, output: Path, *, model: str | None = None, command: Sequence[str] = ()
) -> Imported:
    """Make one run of recorded episodes, which are played again by our rules.

    Args:
        path: a file, or a folder of files.
        output: the run directory.
        model: label of the players; as recorded if left out, else the name of the file or folder.
        command: the command line, for the record.

    Raises:
        RecordingError: there are no episodes.
        InstanceError: a line is no recording.
        PluginError: none of the games is installed.
        RunError: the run directory exists already, or cannot be written.
    """
    recordings = [
        recording for file in recording_files(path) for recording in read_recordings(file)
    ]
    if not recordings:
        raise RecordingError(f"{path}: there are no recorded episodes")
    games, left_out = installed((recording.game for recording in recordings), path)
    refuse_occupied(output)
    kept = [recording for recording in recordings if recording.game in games]
    fallback = path.name.split(".")[0]
    casts = [_cast(games[recording.game], recording, model, fallback) for recording in kept]
    result = ImportedRun(output, model or _only(casts) or fallback)
    with new_run_folder(output) as folder:
        run = Run.create(
            folder,
            _config(games, kept, casts, path, output, command),
            [instance_of(recording) for recording in kept],
        )
        repeats: Counter[object] = Counter()
        with EpisodeWriter(run) as writer:
            for recording, players in zip(kept, casts, strict=True):
                game = games[recording.game]
                episode = new_episode(game, instance_of(recording), dict(players))
                first = episode.key
                episode.repeat = repeats[first]
                repeats[first] += 1
                _replay(game, recording, episode, result)
                writer.append(episode)
    return Imported([result], left_out, [])


def _cast(game: Game, recording: Recording, model: str | None, fallback: str) -> Mapping[str, str]:
    """The label of the player in each role."""
    cast = {}
    for number, role in enumerate(game.role_names(), 1):
        recorded = recording.players.get(f"Player {number}", {}).get("model_name")
        cast[role] = model or (recorded if isinstance(recorded, str) and recorded else fallback)
    return cast


def _only(casts: Sequence[Mapping[str, str]]) -> str | None:
    labels = {label for cast in casts for label in cast.values()}
    return labels.pop() if len(labels) == 1 else None


def _replay(game: Game, recording: Recording, episode: Episode, result: ImportedRun) -> None:
    """Play what was recorded into an empty episode, and note how that went."""
    result.episodes += 1
    name = f"{episode.name} ({recording.id})"
    script, events = script_of(game, recording)
    scores: dict[str, object] = {}
    fault = None
    try:
        again = replay_script(
            game, instance_of(recording), script, draws=game.recorded_draws(events), episode=episode
        )
        if again.divergences:
            fault = f"the replies are not in the order of the rules: {again.divergences[0]}"
        elif not again.complete:
            fault = f"it ends after {len(script)} replies, and the rules ask for one more"
        elif again.unused:
            fault = f"by the rules it is over {again.unused} replies earlier"
        else:
            scores = episode_scores(game, episode)
    except Exception as error:  # a recording that breaks the game must not hide the others
        fault = f"the game {game.name} raised {type(error).__name__}: {error}"
    if fault is not None:
        episode.outcome, episode.failure = None, Failure("recording", fault)
        episode.attempts = MAX_ATTEMPTS  # the same replies would fail again
        result.failed[name] = fault
    elif not recording.episode_scores:
        result.unscored += 1
    elif differences := compare_scores(game, recording, episode, scores):
        result.differing[name] = differences


def _config(
    games: Mapping[str, Game],
    recordings: Sequence[Recording],
    casts: Sequence[Mapping[str, str]],
    path: Path,
    target: Path,
    command: Sequence[str],
) -> RunConfig:
    first = {r.game: dict(cast) for r, cast in reversed(list(zip(recordings, casts, strict=True)))}
    assignments = {name: first[name] for name in games}
    labels = dict.fromkeys(label for cast in casts for label in cast.values())
    return RunConfig(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=list(command),
        players=dict.fromkeys(labels, f"replay:{target}"),
        assignments=assignments,
        episodes=dict(Counter(recording.game for recording in recordings)),
        source=str(path),
        descriptions={label: {"model": label} for label in labels},
        prompts=dict.fromkeys(games, "imported"),
        rules={name: game.rules for name, game in games.items()},
        versions=versions(list(games)),
    )
