"""What the generator makes: levels, schema, splits, and the same again."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from playpen.instance import SPLITS, Instance, InstanceError
from playpen.instance_sets import READY_SEED, Checker, parse_instances
from playpen.testing.driver import global_chance
from playpen.testing.findings import fault, not_json, place, reason
from playpen.testing.game_under_test import GameUnderTest


class GenerationChecks:
    """Instances can be made, are valid, keep to their split, and are the same every time."""

    def test_every_level_can_be_made(self, subject: GameUnderTest) -> None:
        """`generate` works for every split and level, and makes the level it is asked for."""
        game = subject.game
        levels = game.levels()
        if not levels or len(set(levels)) != len(levels):
            fault(
                game.name,
                f"levels() gives {levels!r}",
                "return the names of all experiments that generate() can make, each once.",
            )
        for split in SPLITS:
            for level in (None, *levels):
                where = _called(subject, split, level)
                try:
                    document = subject.document(split, level)
                    names = [experiment["name"] for experiment in document["experiments"]]
                except Exception as error:
                    fault(
                        where,
                        f"it raised {reason(error)}",
                        'return {"experiments": [{"name": ..., "game_instances": [...]}, ...]} '
                        "for every split and every level of levels().",
                    )
                if level is not None and names != [level]:
                    fault(
                        where,
                        f"it made the experiments {names}",
                        f"make exactly one experiment, named {level!r}.",
                    )
                if unknown := set(names) - set(levels):
                    fault(
                        where,
                        f"it made {sorted(unknown)}, which levels() does not name",
                        "name every level in levels().",
                    )

    def test_ready_splits_are_not_empty(self, subject: GameUnderTest) -> None:
        """Without further arguments there are instances of every split."""
        for split in SPLITS:
            made = _made(subject, split, None)
            if made is not None and not made:
                fault(
                    _called(subject, split, None),
                    "it made no instance",
                    "bring enough subject that every split gets some of it.",
                )

    def test_instances_follow_the_schema(self, subject: GameUnderTest) -> None:
        """There is a schema, and every instance of every level and split is valid."""
        game = subject.game
        schema = game.schema()
        if schema is None:
            fault(
                game.name,
                "it has no schema",
                f"put a schema.json beside the game's module (in the package {game.package()}), "
                "with the $defs 'experiment' and 'instance'.",
            )
        for part in ("experiment", "instance"):
            if part not in schema.get("$defs", {}):
                fault(game.name, f"the schema has no $defs.{part}", "describe its fields there.")
        try:
            Checker(game)
        except Exception as error:
            fault(game.name, f"the schema is not valid: {reason(error)}", "mend schema.json.")
        for split, level in _everything(subject):
            try:
                parse_instances(subject.document(split, level), game, source="its result")
            except InstanceError as error:
                fault(
                    _called(subject, split, level),
                    str(error),
                    "mend the generator, or the schema if the instances are as they should be.",
                )

    def test_instances_are_json(self, subject: GameUnderTest) -> None:
        """What the generator makes can be written to a file and read back unchanged."""
        for split, level in _everything(subject):
            if wrong := not_json(subject.document(split, level)):
                fault(
                    _called(subject, split, level),
                    wrong,
                    "use dicts with text keys, lists, texts, finite numbers, bools and None only "
                    "(lists instead of tuples and sets).",
                )

    def test_instance_ids_are_unique(self, subject: GameUnderTest) -> None:
        """Every instance has a `game_id` that no other instance of its experiment has."""
        for split, level in _everything(subject):
            for experiment in subject.document(split, level)["experiments"]:
                seen: set[object] = set()
                for item in experiment["game_instances"]:
                    number = item.get("game_id")
                    if number is None or number in seen:
                        fault(
                            f"{_called(subject, split, level)}, level {experiment['name']!r}",
                            "an instance has no game_id"
                            if number is None
                            else f"two instances have the game_id {number}",
                            "number the instances of each experiment.",
                        )
                    seen.add(number)

    def test_splits_share_no_puzzle(self, subject: GameUnderTest) -> None:
        """No fingerprint occurs in two splits, whatever the seed and the level."""
        game = subject.game
        owners: dict[str, Instance] = {}
        for seed in (READY_SEED, *subject.effort.seeds):
            for source in subject.sources():
                for split in SPLITS:
                    for instance in subject.instances(split, source, seed):
                        where = f"{place(game, instance)} (seed {seed})"
                        try:
                            mark = game.fingerprint(instance)
                        except Exception as error:
                            fault(
                                where,
                                f"fingerprint() raised {reason(error)}",
                                "return a text made of what makes the puzzle.",
                            )
                        if not isinstance(mark, str):
                            fault(where, f"fingerprint() gave {mark!r}", "return a text.")
                        other = owners.setdefault(mark, instance)
                        if other.split != split:
                            fault(
                                where,
                                f"it is the same puzzle ({mark!r}) as {place(game, other)}",
                                "give a puzzle to the split that playpen.split_of names for its "
                                "fingerprint; then no seed and no level can mix the splits.",
                            )

    def test_gives_as_many_instances_as_asked_for(self, subject: GameUnderTest) -> None:
        """`generate(n=...)` makes that many instances, or says that there are fewer."""
        for level in subject.game.levels():
            made = _made(subject, "test", level)
            if not made:
                continue
            for number in _numbers(len(made), subject.effort.most):
                where = _called(subject, "test", level, number)
                remedy = "raise InstanceError, saying how many there are, if there are fewer."
                try:
                    document = subject.game.generate("test", seed=READY_SEED, level=level, n=number)
                except InstanceError as error:
                    if number > len(made):
                        break
                    fault(
                        where,
                        f"it refused: {error}",
                        f"make them; without n it makes {len(made)}.",
                    )
                except Exception as error:
                    fault(where, f"it raised {reason(error)}", remedy)
                count = sum(len(e["game_instances"]) for e in document["experiments"])
                if count != number:
                    fault(where, f"it made {count} instances", remedy)

    def test_levels_stand_alone(self, subject: GameUnderTest) -> None:
        """A level that is made alone is the same as among all, if the game declares so."""
        game = subject.game
        if not game.levels_stand_alone:
            return
        for split in SPLITS:
            if _made(subject, split, None) is None:
                continue
            for experiment in subject.document(split)["experiments"]:
                level = experiment["name"]
                if _made(subject, split, level) is None:
                    continue
                if subject.document(split, level)["experiments"] != [experiment]:
                    fault(
                        _called(subject, split, level),
                        "it made other instances than without the level",
                        "seed and number each level for itself, or leave out levels_stand_alone "
                        "on the game's class.",
                    )

    def test_generating_again_gives_the_same(self, subject: GameUnderTest) -> None:
        """The same arguments give the same instances; no global chance is used."""
        for split, level in _everything(subject):
            first = msgspec.json.encode(subject.document(split, level), enc_hook=repr)
            where = _called(subject, split, level)
            with global_chance(1) as used:
                document = subject.game.generate(split, seed=READY_SEED, level=level)
                touched = used()
            if msgspec.json.encode(document, enc_hook=repr) != first:
                wrong = "the same arguments made other instances the second time"
            elif touched:
                wrong = "it used (or seeded) the global generator of random numbers"
            else:
                continue
            fault(
                where,
                wrong,
                "take all chance from a random.Random of your own, seeded with the arguments: "
                'random.Random(f"{seed} {split} {level}").',
            )


def _everything(subject: GameUnderTest) -> Iterator[tuple[str, str | None]]:
    """Arguments for which the generator works, so that every level is made in every split."""
    for source in subject.sources():
        for split in SPLITS:
            if _made(subject, split, source) is not None:
                yield split, source


def _made(subject: GameUnderTest, split: str, level: str | None) -> list[object] | None:
    """All instances that the generator makes; `None` if another check must say what is wrong."""
    try:
        experiments = subject.document(split, level)["experiments"]
        return [item for experiment in experiments for item in experiment["game_instances"]]
    except Exception:  # test_every_level_can_be_made reports it
        return None


def _numbers(ready: int, most: int) -> Iterator[int]:
    """How many instances to ask for: few, all that are ready, and more and more."""
    yield from (1, ready, ready + 1)
    number = 2 * ready
    while number <= most:
        yield number
        number *= 2


def _called(
    subject: GameUnderTest, split: str, level: str | None, number: int | None = None
) -> str:
    """The call of the generator, as an author would write it."""
    arguments = [repr(split), f"seed={READY_SEED}"]
    if level is not None:
        arguments.append(f"level={level!r}")
    if number is not None:
        arguments.append(f"n={number}")
    return f"{subject.game.name}, generate({', '.join(arguments)})"
