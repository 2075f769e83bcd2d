"""Scores (docs/rules/privateshared.md, "Scores")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from playpen import Ask, Episode, Metrics, Note, Round, Violated
from playpen_clembench.record import noted


class Probe(NamedTuple):
    """One question of the game master: is the slot's value shared, and does the answerer say so."""

    slot: str
    shared: bool
    said: bool

    @property
    def correct(self) -> bool:
        """Whether the answerer says what is the case."""
        return self.shared == self.said


def accuracy(probes: Sequence[Probe]) -> float:
    """Share of the correct replies."""
    return sum(probe.correct for probe in probes) / len(probes)


def kappa(probes: Sequence[Probe]) -> float:
    """Cohen's kappa of what is shared and what was said; 1 if no reply is wrong."""
    number = len(probes)
    shared, said = sum(probe.shared for probe in probes), sum(probe.said for probe in probes)
    wrong = sum(not probe.correct for probe in probes)
    wrong_by_chance = (shared * (number - said) + (number - shared) * said) / number
    return 1 - wrong / wrong_by_chance if wrong else 1.0


def main_score(probes: Sequence[Probe], filled: Sequence[bool]) -> float:
    """Harmonic mean of slot-filling accuracy and kappa (at least 0), times 100."""
    filling, agreement = sum(filled) / len(filled), max(0.0, kappa(probes))
    total = filling + agreement
    return 100 * 2 * filling * agreement / total if total else 0.0


class _Counts(msgspec.Struct):
    """The requests of one round."""

    requests: int = 0
    parsed: int = 0
    violated: int = 0

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(
            self.requests + other.requests,
            self.parsed + other.parsed,
            self.violated + other.violated,
        )

    def named(self) -> dict[str, Any]:
        """The counts under upstream's names."""
        return {
            "Request Count": self.requests,
            "Parsed Request Count": self.parsed,
            "Violated Request Count": self.violated,
        }


def metrics(episode: Episode) -> Metrics:
    """Upstream's numbers; `None` stands for NaN.

    Requests are counted by round.  Complete rounds of probes and filled slots are numbered without
    the rounds that an invalid answer cut short, so the scores of a turn may come from two rounds.
    """
    counts = _counts(episode)
    probed = [[Probe(**probe) for probe in data] for data in noted(episode.events, "probes")]
    filled = [answer["filled"] for answer in noted(episode.events, "answer")]
    slots = next(map(len, noted(episode.events, "request order")), 0)

    turns = {}
    for turn, probes in enumerate(probed):
        turns[str(turn)] = {**counts[turn].named(), "Accuracy": accuracy(probes)}
        if turn:
            turns[str(turn)]["Slot Filled?"] = int(filled[turn - 1])

    scores: dict[str, Any] = dict.fromkeys(
        ["Accuracy", "Kappa", "Truncated Kappa", "Slot-Filling-Accuracy"]
    )
    middle = turns.get(str((slots + 1) // 2 - 1))
    if middle is not None:
        scores["Middle-Accuracy"] = None if episode.aborted else middle["Accuracy"]
    if not episode.aborted:
        probes = [probe for of_round in probed for probe in of_round]
        scores["Accuracy"] = accuracy(probes)
        scores["Kappa"] = kappa(probes)
        scores["Truncated Kappa"] = max(0.0, kappa(probes))
        scores["Slot-Filling-Accuracy"] = sum(filled) / len(filled)

    total = sum(counts, _Counts())
    ratio = total.parsed / total.requests if total.requests else None
    return Metrics({**scores, **total.named(), "Request Success Ratio": ratio}, turns)


def _counts(episode: Episode) -> list[_Counts]:
    """The requests of each round.

    An invalid answer to the questioner is a violation, but upstream does not count it as a request.
    """
    counts = [_Counts()]
    aside = False
    for event in episode.events:
        match event:
            case Round():
                counts.append(_Counts())
            case Ask(keep=keep):
                aside = not keep
                counts[-1] += _Counts(requests=aside, parsed=aside)
            case Note("answer"):
                counts[-1] += _Counts(requests=1, parsed=1)
            case Violated():
                counts[-1] += _Counts(parsed=-aside, violated=1)
    return counts
