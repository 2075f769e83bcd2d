"""The family's metrics, from the record of an episode (docs/rules/textmapworld.md, "Scores")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playpen.episode import Episode
from playpen.game import Metrics
from playpen.moves import Abort
from playpen_clembench.record import noted
from playpen_clembench.textmapworld.exploration import count_loops, explore
from playpen_clembench.textmapworld.graph_distance import shape_of, similarity
from playpen_clembench.textmapworld.maps import Graph, graph_of


def metrics(episode: Episode, *, forget_loops: bool = False) -> Metrics:
    """The scores that all games of the family share.

    Args:
        episode: the record.
        forget_loops: see `count_loops`.
    """
    graph, path = _graph(episode), _path(episode)
    walk = explore(graph, path)
    scores: dict[str, Any] = {
        "moves": len(walk.good_moves),
        "valid_moves": len(walk.good_moves),
        # Upstream looks for events that the game never writes.
        "invalid_moves": 0,
        "stopped": 1,
        "turns_limit": 0,
        "loops": count_loops(path, forget=forget_loops),
        "number_visited": walk.visited,
        "seen": walk.seen,
        "efficiency": walk.efficiency,
        "exploration": walk.exploration,
    }
    # The key is misspelt as in the files of version 2.
    rounds = {str(k): {"effiencient_move": good} for k, good in enumerate(walk.good_moves)}
    return Metrics(_if_stopped(episode, scores), rounds)


def target_metrics(episode: Episode) -> Metrics:
    """The scores of the search for a room, the exploration's quality among them."""
    result = metrics(episode, forget_loops=True)
    quality = explore(_graph(episode), _path(episode)).quality
    result.episode |= _if_stopped(episode, {"old_benchscore": quality})
    return result


def drawing_metrics(episode: Episode) -> Metrics:
    """The scores of the exploration with a map, the similarity of every drawn map among them."""
    result = metrics(episode)
    (house,) = noted(episode.events, "map")
    real = shape_of(house["rooms"], house["edges"])
    similarities = [
        0.0 if drawn is None else similarity(real, shape_of(drawn["nodes"], drawn["edges"]))
        for drawn in noted(episode.events, "graph")
    ]
    for scores, value in zip(result.rounds.values(), similarities, strict=True):
        scores["similarity"] = value
    last = similarities[-1] if similarities else 0
    result.episode |= _if_stopped(episode, {"graph_similarity": last})
    return result


def _if_stopped(episode: Episode, scores: dict[str, Any]) -> dict[str, Any]:
    """The scores of a walk that the player ended; there are none of another."""
    unfinished = episode.outcome is None or isinstance(episode.outcome, Abort)
    return dict.fromkeys(scores) if unfinished else scores


def _graph(episode: Episode) -> Graph:
    (house,) = noted(episode.events, "map")
    return graph_of(house["rooms"], house["edges"])


def _path(episode: Episode) -> Sequence[str]:
    (house,) = noted(episode.events, "map")
    return [house["start"], *(move["new"] for move in noted(episode.events, "move"))]
