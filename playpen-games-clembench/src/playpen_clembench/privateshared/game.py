"""The rules of private and shared (docs/rules/privateshared.md)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from playpen import (
    Abort,
    Episode,
    Exchange,
    Game,
    Instance,
    Lose,
    Metrics,
    Move,
    Note,
    Play,
    Reward,
    Role,
    Round,
    Success,
    Violation,
    ask,
)
from playpen_clembench.privateshared.fingerprint import fingerprint
from playpen_clembench.privateshared.replies import answer_reader, aside_reader
from playpen_clembench.privateshared.scores import Probe, main_score, metrics
from playpen_clembench.privateshared.texts import Texts, scene_of, texts_of, upstream_texts

ANSWERER = "answerer"
ATTEMPTS = 5
"""How often the game master asks for a reply that it can read."""
MOST_SLOTS = 30
"""As the schema says."""


class PrivateShared(Game):
    """Tell a questioner values one by one, and keep track of which ones it knows.

    The questioner is part of the game.  Before its first question, and again after each answer,
    the game master asks aside for every slot whether the questioner knows the value.

    Each reply to the game master is rewarded with plus or minus its share of all of them, and each
    answer that holds the value with its share of the slots.  In a regular game, in which nothing
    is told before it is asked for, the former add up to kappa and the latter to the slot-filling
    accuracy.
    """

    name = "privateshared"
    roles = (Role(ANSWERER, "knows all values, and keeps track of which of them it has told"),)
    rules = "2.0"
    generator = "playpen_clembench.privateshared.generate"
    oracles = {ANSWERER: "playpen_clembench.privateshared.oracle:answer"}
    levels_stand_alone = True
    max_replies = MOST_SLOTS + ATTEMPTS * MOST_SLOTS * (MOST_SLOTS + 1)

    def play(self, instance: Instance) -> Play:
        """A round is a question, the answer, and the game master's questions aside."""
        texts = texts_of(instance)
        slots, order = instance["slots"], instance["request_order"]
        tag = instance.get("tag") or scene_of(instance.language, instance.experiment.name).tag
        read_answer = answer_reader(texts.words)
        # The round from which on a slot counts as shared; round 0 comes before all questions.
        shared_from = {slot: number for number, slot in enumerate(order, 1)}
        filled: list[bool] = []

        yield Note("request order", order)
        yield Exchange(ANSWERER, self._opening(instance, texts, tag), texts.words.ok)
        probes = yield from self._probe(instance, texts, 0, shared_from)
        for number, asked in enumerate(order, 1):
            yield Round()
            request = texts.request(asked, instance["requests"][asked])
            try:
                answer = yield from ask(ANSWERER, f"{tag}: {request}", read_answer)
            except Violation:
                continue  # the rest of the round is left out; all the same, the slot was asked for
            answer = answer.lower()
            told = [slot for slot in slots if slots[slot].lower() in answer]
            filled.append(asked in told)
            yield Note("answer", {"slot": asked, "filled": filled[-1], "told": told})
            yield Reward(ANSWERER, filled[-1] / len(order))
            for slot in told:
                shared_from[slot] = min(shared_from[slot], number)
            probes += yield from self._probe(instance, texts, number, shared_from)

        if not filled:
            return Abort(
                "no_valid_answer",
                "not one answer to the questioner was valid",
                ANSWERER,
                unscored=True,  # upstream fails to score such an episode
            )
        score = main_score(probes, filled)
        correct = all(filled) and all(probe.correct for probe in probes)
        return Success(score) if correct else Lose(score)

    def _probe(
        self, instance: Instance, texts: Texts, number: int, shared_from: Mapping[str, int]
    ) -> Generator[Move, Any, list[Probe]]:
        """The game master's questions of a round; five replies that cannot be read abort."""
        share = 1 / (len(shared_from) * (len(shared_from) + 1))
        probes = []
        for slot, wording in instance["probes"][str(number)].items():
            wordings = texts.probe(slot, wording)
            said = yield from ask(
                ANSWERER,
                next(wordings),
                aside_reader(texts.words, again=wordings),
                retries=ATTEMPTS - 1,
                keep=False,
            )
            probes.append(Probe(slot, number >= shared_from[slot], said))
            yield Reward(ANSWERER, share if probes[-1].correct else -share)
        yield Note("probes", [probe._asdict() for probe in probes])
        return probes

    def _opening(self, instance: Instance, texts: Texts, tag: str) -> str:
        """The first message, which shows all values."""
        if (given := instance.get("initial_prompt")) is not None:
            return str(given)
        return self.prompt("answerer", instance, **texts.opening_values(instance, tag))

    def metrics(self, episode: Episode) -> Metrics:
        """Upstream's numbers (docs/rules/privateshared.md, "Scores")."""
        return metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The slots and their values, in whatever order and words they are asked for."""
        return fingerprint(instance["slots"])

    def complete_import(self, document: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Upstream's question pools and fixed words, which its instances choose from by number."""
        for experiment in document["experiments"]:
            texts = upstream_texts(folder / "resources", experiment.get("name"))
            if texts:
                experiment.setdefault("texts", texts)
        return document
