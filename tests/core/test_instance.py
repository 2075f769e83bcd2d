"""Instances: identity, splits, validation against a schema, and the clembench form."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.sample_games import EndlessGame, GuessingGame, guessing, instance_of

from playpen.instance import SPLITS, Experiment, Instance, InstanceError, content_hash, split_of
from playpen.instance_sets import (
    READY_SEED,
    document_of,
    load_json,
    parse_instances,
    read_instances,
    ready_instances,
)
from playpen.store import Run, RunConfig

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)


def document(*items: dict[str, Any], **config: Any) -> dict[str, Any]:
    """A clembench document with one experiment of the guessing game."""
    experiment = {"name": "small", "limit": 20, "tries": 5, **config}
    return {"experiments": [{**experiment, "game_instances": list(items)}]}


# --- reading keys --------------------------------------------------------------------------------


def test_a_key_is_looked_up_in_the_item_and_then_in_its_experiment() -> None:
    instance = Instance("g", Experiment("e", {"a": 1, "b": 2}), {"b": 3, "c": 4})
    assert dict(instance) == {"a": 1, "b": 3, "c": 4}
    assert len(instance) == 3
    assert instance.get("missing", 5) == 5
    with pytest.raises(KeyError):
        instance["missing"]


@pytest.mark.parametrize(("given_lang", "language"), [("de", "de"), (None, "en"), (5, "en")])
def test_the_language_is_english_unless_the_instance_says_otherwise(
    given_lang: Any, language: str
) -> None:
    assert instance_of("g", lang=given_lang).language == language
    assert instance_of("g").language == "en"


# --- identity ------------------------------------------------------------------------------------


def test_renaming_ids_and_experiments_keeps_the_identity() -> None:
    first = Instance("g", Experiment("one", {"limit": 9, "name": "x"}), {"game_id": 1, "s": 4})
    second = Instance("g", Experiment("two", {"limit": 9, "name": "y"}), {"game_id": 7, "s": 4})
    assert first.hash == second.hash
    assert first == second
    assert len({first, second}) == 1


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ({"limit": 9}, {"secret": 5}),
        ({"limit": 8}, {"secret": 4}),
        ({"limit": 9}, {"secret": "4"}),
        ({"limit": 9}, {"secret": 4, "more": None}),
        ({"limit": 9, "secret": 4}, {}),
        ({}, {"limit": 9, "secret": 4}),
        ({"limit": 9}, {"secret": [4]}),
    ],
)
def test_changing_any_field_changes_the_identity(config: Any, data: Any) -> None:
    original = Instance("g", Experiment("e", {"limit": 9}), {"secret": 4})
    assert Instance("g", Experiment("e", config), data).hash != original.hash


def test_the_same_content_in_two_games_is_two_instances() -> None:
    assert instance_of("g", secret=1) != instance_of("h", secret=1)


def test_the_hash_is_the_published_function_of_the_content() -> None:
    # A run written today must be resumable by every later version: these never change.
    assert content_hash({"b": [1, 2.5, None, True], "a": "é"}) == "0c187fb652afca8017b5ef38178eeef0"
    assert guessing(7, 20, 6).hash == "f74588ebc03cbc1aa2ab74a3cf49ac0b"


@given(json_objects)
def test_the_order_of_keys_carries_no_meaning(value: dict[str, Any]) -> None:
    def reversed_keys(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: reversed_keys(part[key]) for key in reversed(part)}
        return [reversed_keys(item) for item in part] if isinstance(part, list) else part

    assert content_hash(reversed_keys(value)) == content_hash(value)


@given(json_objects, json_objects)
def test_different_content_has_different_hashes(one: dict[str, Any], two: dict[str, Any]) -> None:
    # Compared as JSON texts: for Python 1, 1.0 and True are equal.
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (content_hash(one) == content_hash(two)) == same


# --- splits --------------------------------------------------------------------------------------


def test_the_splits_have_their_proportions() -> None:
    counts = Counter(split_of(f"puzzle {i}") for i in range(10_000))
    assert set(counts) == set(SPLITS)
    # Five standard deviations of a fair assignment.
    assert abs(counts["train"] - 6000) < 250
    assert abs(counts["validation"] - 2000) < 200
    assert abs(counts["test"] - 2000) < 200


def test_a_puzzle_never_changes_its_split() -> None:
    # Pinned: if these move, training data of earlier versions leaks into today's test split.
    splits = " ".join(split_of(str(i)) for i in range(8))
    assert splits == "test test train validation validation validation train train"


@pytest.mark.parametrize("seed", [0, 1, READY_SEED])
def test_whatever_the_seed_no_puzzle_is_in_two_splits(seed: int) -> None:
    game = GuessingGame()
    puzzles = {
        split: {
            game.fingerprint(instance)
            for instance in parse_instances(game.generate(split, seed=seed, n=40), game)
        }
        for split in SPLITS
    }
    assert all(puzzles.values())
    assert not puzzles["train"] & puzzles["validation"]
    assert not (puzzles["train"] | puzzles["validation"]) & puzzles["test"]


def test_ready_instances_know_their_split_and_are_always_the_same() -> None:
    first, second = (ready_instances(GuessingGame(), "validation") for _ in range(2))
    assert first == second
    assert {instance.split for instance in first} == {"validation"}
    with pytest.raises(InstanceError, match=r"'training'.*train, validation, test"):
        ready_instances(GuessingGame(), "training")


@pytest.mark.parametrize("stand_alone", [False, True])
def test_the_ready_instances_of_a_level_are_those_of_the_split(stand_alone: bool) -> None:
    asked: list[str | None] = []

    class Asked(GuessingGame):
        levels_stand_alone = stand_alone

        def generate(self, split: str, *, level: str | None = None, **more: Any) -> dict[str, Any]:
            asked.append(level)
            return super().generate(split, level=level, **more)

    everything = ready_instances(Asked(), "train")
    of_level = ready_instances(Asked(), "train", "large")
    assert of_level == [i for i in everything if i.experiment.name == "large"] != []
    assert ready_instances(Asked(), "train", "huge") == []
    assert asked == [None, *(["large"] if stand_alone else [None, None])]


# --- validation ----------------------------------------------------------------------------------


def test_every_instance_of_a_file_is_reachable_in_order(tmp_path: Path) -> None:
    experiments = [
        {
            "name": f"level {e}",
            "limit": 99,
            "tries": 5,
            "game_instances": [{"secret": 10 * e + i} for i in range(1, 4)],
        }
        for e in range(3)
    ]
    file = tmp_path / "instances.json"
    file.write_text(json.dumps({"experiments": experiments}), encoding="utf-8")
    found = read_instances(file, GuessingGame(), split="train")
    assert [i["secret"] for i in found] == [1, 2, 3, 11, 12, 13, 21, 22, 23]
    assert [i.experiment.name for i in found] == [f"level {e}" for e in range(3) for _ in range(3)]
    assert {i.split for i in found} == {"train"}


def test_identical_items_are_all_read() -> None:
    found = parse_instances(document({"secret": 4}, {"secret": 4}), GuessingGame())
    assert len(found) == 2
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"game_id": 12, "secret": "seven"}, "field 'secret'"),
        ({"game_id": 12, "secret": 3, "hints": ["x", 5]}, r"field 'hints\[1\]'"),
        ({"game_id": 12}, "'secret' is a required property"),
    ],
)
def test_a_fault_names_source_experiment_instance_and_field(
    item: dict[str, Any], field: str
) -> None:
    with pytest.raises(InstanceError) as caught:
        parse_instances(document({"secret": 1}, item), GuessingGame(), source="my.json")
    message = str(caught.value)
    assert message.startswith("my.json: not valid for the game 'guessing':")
    with pytest.raises(InstanceError, match=rf"experiment 'small', instance 12: .*{field}"):
        parse_instances(document({"secret": 1}, item), GuessingGame())
    assert message.count("\n") == 1


def test_an_item_without_an_id_is_named_by_its_position() -> None:
    with pytest.raises(InstanceError, match=r"instance number 1: field 'secret'"):
        parse_instances(document({"secret": 1}, {"secret": 0}), GuessingGame())


def test_a_fault_of_the_experiment_is_reported_once_for_all_its_items() -> None:
    with pytest.raises(InstanceError) as caught:
        parse_instances(document({"secret": 1}, {"secret": 2}, limit=0), GuessingGame())
    assert str(caught.value).count("experiment 'small': field 'limit'") == 1


@pytest.mark.parametrize(("faults", "listed", "rest"), [(20, 20, None), (50, 20, 30)])
def test_many_faults_are_listed_and_the_rest_counted(
    faults: int, listed: int, rest: int | None
) -> None:
    items = [{"game_id": i, "secret": -i} for i in range(faults)]
    with pytest.raises(InstanceError) as caught:
        parse_instances(document(*items), GuessingGame())
    lines = str(caught.value).split("\n")
    assert sum("field 'secret'" in line for line in lines) == listed
    assert (lines[-1].strip() == f"... and {rest} more") == (rest is not None)


def test_a_huge_value_does_not_flood_the_message() -> None:
    with pytest.raises(InstanceError) as caught:
        parse_instances(document({"secret": "x" * 100_000}), GuessingGame())
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([], "expected an object with a list 'experiments'"),
        ({}, "expected an object with a list 'experiments'"),
        ({"experiments": {}}, "expected an object with a list 'experiments'"),
        ({"experiments": [5]}, "experiment number 0: expected an object with a 'name'"),
        ({"experiments": [{"game_instances": []}]}, "experiment number 0: .* 'name'"),
        ({"experiments": [{"name": "x"}]}, "'x': field 'game_instances' must be a list"),
        (document(5), "'small', instance number 0: expected an object"),  # type: ignore[arg-type]
        (
            {"experiments": document({"secret": 1})["experiments"] * 2},
            "experiment 'small': the name is used twice",
        ),
    ],
)
def test_a_wrong_form_is_refused_with_the_place(broken: Any, message: str) -> None:
    with pytest.raises(InstanceError, match=message):
        parse_instances(broken, GuessingGame(), source="x.json")


def test_a_game_without_a_schema_takes_any_object() -> None:
    found = parse_instances(document({"anything": [1]}), EndlessGame())
    assert found[0]["anything"] == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"{not json", "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"a": "\xff\xfe"}', "not valid JSON"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "odd.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InstanceError, match=rf"odd\.json: {message}"):
        load_json(file)


# --- round trips ---------------------------------------------------------------------------------


def test_the_clembench_document_comes_back() -> None:
    first = {
        "experiments": [
            {
                "name": "a",
                "limit": 9,
                "tries": 1,
                "game_instances": [{"game_id": 1, "secret": 2}, {"game_id": 2, "secret": 2}],
            },
            {
                "name": "b",
                "limit": 9,
                "tries": 1,
                "game_instances": [{"game_id": "x", "secret": 2}],
            },
        ]
    }
    assert document_of(parse_instances(first, GuessingGame())) == first


experiments = st.builds(Experiment, st.text(), json_objects)


@st.composite
def instance_lists(draw: st.DrawFn) -> list[Instance]:
    pool = draw(st.lists(experiments, min_size=1, max_size=3))
    return draw(
        st.lists(
            st.builds(
                Instance,
                st.sampled_from(["guessing", "relay"]),
                st.sampled_from(pool),
                json_objects,
                st.sampled_from([None, *SPLITS]),
            ),
            max_size=5,
        )
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(instances=instance_lists())
def test_any_instances_survive_being_written_to_a_run(
    tmp_path_factory: pytest.TempPathFactory, instances: list[Instance]
) -> None:
    def everything(of: list[Instance]) -> list[tuple[object, ...]]:
        return [
            (i.game, i.experiment.name, i.experiment.config, dict(i.data), i.split, i.hash)
            for i in of
        ]

    folder = tmp_path_factory.mktemp("run")
    Run.create(folder, RunConfig(), instances)
    assert everything(Run.open(folder).instances()) == everything(instances)
