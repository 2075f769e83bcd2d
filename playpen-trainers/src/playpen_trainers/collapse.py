"""Signs that a policy collapses while it is trained, each named once in a warning."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence

from playpen.episode import Episode

_WINDOW = 5
"""Batches that are looked at together."""

_MOST_ABORTED = 0.95
_MOST_ALIKE = 0.9
_SHRUNK, _GROWN = 0.3, 3.0
_LEAST_ENTROPY = 0.01


class CollapseWarning(UserWarning):
    """A policy shows a sign of collapse."""


class CollapseWatch:
    """Looks at each batch: do replies still differ, keep the rules, and have their first length?"""

    name = "collapse"

    def __init__(self) -> None:
        self._recent: deque[dict[str, float]] = deque(maxlen=_WINDOW)
        self._first_length: float | None = None
        self._seen: set[str] = set()
        self.entropy: float | None = None

    def state(self) -> dict[str, object]:
        """What was seen so far."""
        return {
            "recent": list(self._recent),
            "first_length": self._first_length,
            "seen": sorted(self._seen),
            "entropy": self.entropy,
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Take up what was kept."""
        recent, seen = state["recent"], state["seen"]
        assert isinstance(recent, list)
        assert isinstance(seen, list)
        self._recent = deque(recent, maxlen=_WINDOW)
        self._seen = set(seen)
        entropy = state["entropy"]
        self.entropy = entropy if isinstance(entropy, float) else None
        length = state["first_length"]
        self._first_length = length if isinstance(length, float) else None

    def look(self, values: Mapping[str, float]) -> list[str]:
        """Look at the numbers of a batch.

        Args:
            values: ``aborted`` (share of episodes), ``alike`` (share of replies that repeat an
                earlier one of the same role in the same episode), ``length`` (tokens per reply),
                and ``entropy`` where it is known.

        Returns:
            What is seen for the first time; each was given as a `CollapseWarning` too.
        """
        self._recent.append(dict(values))
        if len(self._recent) < _WINDOW:
            return []
        mean = {}
        for key in values:
            known = [batch[key] for batch in self._recent if key in batch]
            mean[key] = sum(known) / len(known)
        if self._first_length is None:
            self._first_length = mean["length"]
        new_signs = [(name, text) for name, text in self._signs(mean) if name not in self._seen]
        for name, text in new_signs:
            self._seen.add(name)
            warnings.warn(text, CollapseWarning, stacklevel=2)
        return [text for _, text in new_signs]

    def _signs(self, mean: Mapping[str, float]) -> list[tuple[str, str]]:
        signs: list[tuple[str, str]] = []
        if mean["aborted"] >= _MOST_ABORTED:
            signs.append(
                (
                    "aborted",
                    f"{100 * mean['aborted']:.0f} % of the last episodes broke a rule: nothing "
                    "can be learned from them alone; fine-tune on demonstrations first (sft), or "
                    "let reward.terms.outcome tell lost from aborted episodes",
                )
            )
        if mean["alike"] >= _MOST_ALIKE:
            signs.append(
                (
                    "alike",
                    f"{100 * mean['alike']:.0f} % of the replies repeat an earlier one of the same "
                    "episode: lower the learning rate, or raise beta",
                )
            )
        first, now = self._first_length or 0.0, mean["length"]
        if first and not _SHRUNK <= now / first <= _GROWN:
            change = "shrunk" if now < first else "grown"
            signs.append(
                (
                    change,
                    f"replies have {change} from {first:.1f} to {now:.1f} tokens: look at "
                    "transcripts; the reward may be earned without playing",
                )
            )
        if "entropy" in mean and mean["entropy"] < _LEAST_ENTROPY:
            signs.append(
                (
                    "entropy",
                    f"the entropy of replies fell to {mean['entropy']:.3f}: all episodes of a "
                    "group are alike and teach nothing; raise rollout.temperature or entropy_coef",
                )
            )
        return signs


def repeated(episodes: Sequence[Episode], name: str) -> float:
    """Share of a player's replies that repeat an earlier one of its own in the same episode.

    First replies cannot repeat anything and do not count.
    """
    again = total = 0
    for episode in episodes:
        for role, player in episode.players.items():
            if player != name:
                continue
            said: set[str] = set()
            for reply in (said_now.reply.text for said_now in episode.replies(role)):
                total += bool(said)
                again += reply in said
                said.add(reply)
    return again / total if total else 0.0
