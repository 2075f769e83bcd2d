"""Advantages: computed by hand, against TRL's formulas, and by their properties."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from playpen.rewards import returns as discounted
from playpen_trainers.advantages import (
    Baseline,
    Credit,
    GradedSample,
    RunningBaselines,
    Scale,
    advantages,
)


def part(
    *rewards: float, group: int = 0, role: str = "a", game: str = "g", discount: float = 1.0
) -> GradedSample:
    """A part with the given reward of each reply."""
    return GradedSample(group, game, role, discounted(rewards, discount), rewards)


def forked(rewards: Sequence[float], values: Sequence[float], group: int = 0) -> GradedSample:
    """A part whose expected return before each reply was estimated."""
    return GradedSample(group, "g", "a", discounted(rewards, 1.0), rewards, [*values, 0.0])


def graded(
    parts: Sequence[GradedSample],
    credit: Credit = "sequence",
    baseline: Baseline = "group",
    scale: Scale = "none",
    running: RunningBaselines | None = None,
    discount: float = 1.0,
) -> list[list[float]]:
    return advantages(
        parts,
        credit=credit,
        baseline=baseline,
        scale=scale,
        running=running or RunningBaselines(),
        discount=discount,
    )


def close(expected: object) -> object:
    """Equal up to rounding, in nested lists too."""
    if isinstance(expected, list) and expected and isinstance(expected[0], list):
        return [pytest.approx(inner, abs=1e-9) for inner in expected]
    return pytest.approx(expected, abs=1e-9)


def known(**means: float) -> RunningBaselines:
    """Running baselines with means by role of the game g."""
    running = RunningBaselines()
    running.restore({f"g/{role}": mean for role, mean in means.items()})
    return running


# --- one unit for everything: two groups, parts of one and two replies ---------------------------

PARTS = [
    part(0.0, 1.0, group=0),  # returns 1, 1
    part(0.0, group=0),  # returns 0
    part(0.5, 0.0, group=0),  # returns 0.5, 0
    part(2.0, group=1),
    part(1.0, 1.0, group=1),  # returns 2, 1
]

RAW: dict[tuple[Credit, Baseline], list[list[float]]] = {
    # Group 0 has the returns 1, 0, 0.5 and the mean 0.5; group 1 has 2 and 2.
    ("sequence", "group"): [[0.5, 0.5], [-0.5], [0.0, 0.0], [0.0], [0.0, 0.0]],
    # The others' means: (0 + 0.5)/2, (1 + 0.5)/2, (1 + 0)/2; 2 and 2.
    ("sequence", "leave-one-out"): [[0.75, 0.75], [-0.75], [0.0, 0.0], [0.0], [0.0, 0.0]],
    ("sequence", "running"): [[0.6, 0.6], [-0.4], [0.1, 0.1], [1.6], [1.6, 1.6]],
    # Second replies of group 0 have the returns 1 and 0; in group 1 only one part has a second
    # reply, and is compared with how the group ended: (2 + 1)/2.
    ("turn", "group"): [[0.5, 0.5], [-0.5], [0.0, -0.5], [0.0], [0.0, -0.5]],
    ("turn", "leave-one-out"): [[0.75, 1.0], [-0.75], [0.0, -1.0], [0.0], [0.0, -1.0]],
    ("turn", "running"): [[0.6, 0.6], [-0.4], [0.1, -0.4], [1.6], [1.6, 0.6]],
}


@pytest.mark.parametrize(("credit", "baseline"), RAW, ids=lambda value: str(value))
def test_without_scale_an_advantage_is_the_distance_from_the_baseline(
    credit: Credit, baseline: Baseline
) -> None:
    found = graded(PARTS, credit, baseline, running=known(a=0.4))
    assert found == close(RAW[credit, baseline])


@pytest.mark.parametrize("scale", ["group", "batch"])
@pytest.mark.parametrize(("credit", "baseline"), RAW, ids=lambda value: str(value))
def test_scaled_advantages_are_in_units_of_their_deviation(
    credit: Credit, baseline: Baseline, scale: Scale
) -> None:
    raw = RAW[credit, baseline]
    found = graded(PARTS, credit, baseline, scale, running=known(a=0.4))
    groups = [0, 0, 0, 1, 1] if scale == "group" else [0] * 5
    for number, values in enumerate(raw):
        unit = [v for v, g in zip(raw, groups, strict=True) if g == groups[number]]
        # Each part counts once, however many replies it has.
        squares = [sum(x * x for x in other) / len(other) for other in unit]
        deviation = math.sqrt(sum(squares) / (len(unit) - 1))
        assert found[number] == close([x / (deviation + 1e-4) for x in values])


def test_a_scale_computed_by_hand() -> None:
    found = graded([part(1.0), part(0.0)], scale="group")
    # The unbiased deviation of 0 and 1 is the root of 1/2.
    assert found == close([[0.5 / (math.sqrt(0.5) + 1e-4)], [-0.5 / (math.sqrt(0.5) + 1e-4)]])
    both = graded([part(1.0), part(0.0), part(3.0, group=1), part(1.0, group=1)], scale="batch")
    unit = math.sqrt((0.25 + 0.25 + 1 + 1) / 3) + 1e-4
    assert both == close([[0.5 / unit], [-0.5 / unit], [1 / unit], [-1 / unit]])


# --- TRL's formulas ------------------------------------------------------------------------------

RETURNS = st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=8)


@given(RETURNS)
def test_the_default_is_trls_grpo(rewards: list[float]) -> None:
    found = graded([part(reward) for reward in rewards], scale="group")
    tensor = torch.tensor(rewards, dtype=torch.float64)
    expected = (tensor - tensor.mean()) / (tensor.std() + 1e-4)  # std is the unbiased one
    assert [value for [value] in found] == pytest.approx(expected.tolist(), abs=1e-6)


@given(RETURNS)
def test_leave_one_out_is_rloo(rewards: list[float]) -> None:
    found = graded([part(reward) for reward in rewards], baseline="leave-one-out")
    count = len(rewards)
    for number, [value] in enumerate(found):
        # TRL: (r * k - sum) / (k - 1), which is the distance from the mean of the others.
        expected = (rewards[number] * count - math.fsum(rewards)) / (count - 1)
        others = rewards[:number] + rewards[number + 1 :]
        assert value == pytest.approx(expected, abs=1e-6)
        assert value == pytest.approx(rewards[number] - statistics.fmean(others), abs=1e-6)


# --- who is compared with whom -------------------------------------------------------------------


def test_roles_and_groups_are_not_compared_with_each_other() -> None:
    parts = [
        part(1.0, role="a", group=0),
        part(10.0, role="b", group=0),
        part(0.0, role="a", group=0),
        part(30.0, role="b", group=0),
        part(100.0, role="a", group=1),
        part(102.0, role="a", group=1),
    ]
    assert graded(parts) == close([[0.5], [-10.0], [-0.5], [10.0], [-1.0], [1.0]])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["group", "leave-one-out", "running"])
@pytest.mark.parametrize("credit", ["sequence", "turn"])
def test_a_lone_member_has_nobody_to_be_compared_with(
    credit: Credit, baseline: Baseline, scale: Scale
) -> None:
    assert graded([part(5.0)], credit, baseline, scale) == [[0.0]]
    # Whose credit is by turn can still differ from itself where it knows a mean of its role.
    if baseline != "running":
        assert graded([part(5.0, -3.0)], credit, baseline, scale) == [[0.0, 0.0]]


def test_a_turn_is_compared_with_the_same_turn_of_others() -> None:
    parts = [part(0.0, 0.0, 6.0), part(0.0, 2.0), part(1.0)]
    # First replies: returns 6, 2, 1; second: 6, 2; nobody else has a third.
    found = graded(parts, "turn")
    ended = (6 + 2 + 1) / 3  # the third reply is compared with how it ended for all
    assert found == close([[3.0, 2.0, 6 - ended], [-1.0, -2.0], [-2.0]])
    alone = graded(parts, "turn", "leave-one-out")
    assert alone == close([[4.5, 4.0, 6 - 1.5], [-1.5, -4.0], [-3.0]])


def test_credit_by_turn_needs_no_discount_of_its_own() -> None:
    """Returns come discounted already."""
    parts = [part(0.0, 1.0, discount=0.5), part(0.0, 0.0, discount=0.5)]
    assert parts[0].returns == [0.5, 1.0]
    assert graded(parts, "turn", discount=0.5) == close([[0.25, 0.5], [-0.25, -0.5]])


# --- forked values -------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["group", "leave-one-out", "running"])
def test_a_forked_reply_is_worth_what_it_changed(baseline: Baseline) -> None:
    parts = [forked([0.0, 0.25, 1.0], [0.5, 0.8, 0.4]), forked([0.0], [0.3])]
    found = graded(parts, "forked", baseline, discount=0.5, running=known(a=9.0))
    expected = [
        [0.0 + 0.5 * 0.8 - 0.5, 0.25 + 0.5 * 0.4 - 0.8, 1.0 + 0 - 0.4],
        [0.0 + 0 - 0.3],
    ]
    assert found == close(expected)


def test_forked_advantages_are_scaled_like_others() -> None:
    parts = [forked([1.0], [0.5]), forked([0.0], [0.5])]
    assert graded(parts, "forked", scale="group") == graded([part(1.0), part(0.0)], scale="group")


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=6), st.lists(st.floats(-2, 2), min_size=6))
def test_undiscounted_forked_advantages_sum_to_the_surprise(
    rewards: list[float], values: list[float]
) -> None:
    """What is got minus what was expected before the first reply."""
    expected = math.fsum(rewards) - values[0]
    [found] = graded([forked(rewards, values[: len(rewards)])], "forked")
    assert math.fsum(found) == pytest.approx(expected, abs=1e-9)


# --- running baselines ---------------------------------------------------------------------------


def test_running_baselines_are_conditioned_on_game_and_role() -> None:
    running = RunningBaselines()
    parts = [
        part(1.0, role="a", game="g"),
        part(3.0, role="a", game="g"),
        part(10.0, role="b", game="g"),
        part(-4.0, role="a", game="h"),
    ]
    running.learn(parts)
    assert running.state() == {"g/a": 2.0, "g/b": 10.0, "h/a": -4.0}
    found = graded(parts, baseline="running", running=running)
    assert found == close([[-1.0], [1.0], [0.0], [0.0]])


def test_a_role_without_a_mean_yet_has_no_advantage() -> None:
    running = known(a=1.0)
    found = graded([part(5.0, role="b"), part(5.0)], baseline="running", running=running)
    assert found == [[0.0], [4.0]]


def test_a_running_mean_follows_each_part_by_a_twentieth() -> None:
    running = known(a=0.0)
    running.learn([part(1.0)])
    assert running.state() == close({"g/a": 0.05})
    running.learn([part(1.0), part(1.0)])
    assert running.state() == close({"g/a": 1 - 0.95**3})


def test_computing_advantages_does_not_move_the_means() -> None:
    running = known(a=0.0)
    graded([part(1.0), part(2.0)], baseline="running", running=running)
    assert running.state() == {"g/a": 0.0}


def test_running_baselines_are_kept_and_taken_up() -> None:
    running, again = known(a=0.25), RunningBaselines()
    kept = running.state()
    again.restore(kept)
    running.learn([part(1.0)])
    assert again.of(part(9.0)) == 0.25
    assert kept == {"g/a": 0.25}


# --- properties ----------------------------------------------------------------------------------

WHOLE = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from("ab"),
        st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=16,
)
ALL_CREDITS: tuple[Credit, ...] = ("sequence", "turn")
ALL_BASELINES: tuple[Baseline, ...] = ("group", "leave-one-out", "running")
COMPARED: tuple[Baseline, ...] = ("group", "leave-one-out")
ALL_SCALES: tuple[Scale, ...] = ("group", "batch", "none")


@given(WHOLE)
def test_the_advantages_of_a_group_sum_to_zero(
    drawn: list[tuple[int, str, list[float]]],
) -> None:
    parts = [part(*rewards, group=group, role=role) for group, role, rewards in drawn]
    sums: dict[tuple[int, str], list[float]] = {}
    for one, values in zip(parts, graded(parts, scale="group"), strict=True):
        assert len(values) == len(one.rewards)
        assert len(set(values)) == 1  # every reply of a part gets the same
        sums.setdefault((one.group, one.role), []).append(values[0])
    for values in sums.values():
        assert math.fsum(values) == pytest.approx(0, abs=1e-6)


@given(WHOLE, st.integers(-3, 3), st.sampled_from([0.25, 0.5, 1.0]))
def test_the_same_for_all_teaches_nothing(
    drawn: list[tuple[int, str, list[float]]], reward: int, discount: float
) -> None:
    """Constant rewards for parts of the same length, in every mode."""
    parts = [
        part(reward, reward, group=group, role=role, discount=discount) for group, role, _ in drawn
    ]
    running = RunningBaselines()
    running.learn(parts)
    for baseline, scale in itertools.product(ALL_BASELINES, ALL_SCALES):
        found = graded(parts, "sequence", baseline, scale, running)
        assert found == close([[0.0, 0.0] for _ in parts])
    for baseline, scale in itertools.product(COMPARED, ALL_SCALES):
        found = graded(parts, "turn", baseline, scale, running)
        assert found == close([[0.0, 0.0] for _ in parts])


@given(WHOLE, st.floats(-10, 10))
def test_a_bonus_for_all_changes_nothing(
    drawn: list[tuple[int, str, list[float]]], bonus: float
) -> None:
    before = [part(*rewards, group=group, role=role) for group, role, rewards in drawn]
    after = [
        part(*rewards[:-1], rewards[-1] + bonus, group=group, role=role)
        for group, role, rewards in drawn
    ]
    for credit, baseline in itertools.product(ALL_CREDITS, COMPARED):
        assert graded(after, credit, baseline) == [
            pytest.approx(values, abs=1e-6) for values in graded(before, credit, baseline)
        ]


@given(WHOLE)
def test_every_mode_gives_every_reply_a_finite_number(
    drawn: list[tuple[int, str, list[float]]],
) -> None:
    parts = [part(*rewards, group=group, role=role) for group, role, rewards in drawn]
    for credit, baseline, scale in itertools.product(ALL_CREDITS, ALL_BASELINES, ALL_SCALES):
        found = graded(parts, credit, baseline, scale, known(a=0.5))
        assert [len(values) for values in found] == [len(one.rewards) for one in parts]
        assert all(math.isfinite(value) for values in found for value in values)
