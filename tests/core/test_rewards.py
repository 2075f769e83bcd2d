"""Rewards: what each reply of a role is worth, and how several of them are combined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.conftest import PackFolder
from tests.core.sample_games import drive, game_of, guessing, instance_of, outcome_of, relay

from playpen.episode import Episode, Failure
from playpen.game import Game
from playpen.instance import Instance
from playpen.moves import Abort, Ask, Lose, Outcome, Play, Reward, Success, Tell
from playpen.plugins import get_game
from playpen.rewards import (
    OutcomeOptions,
    OutcomeReward,
    RewardFunction,
    RewardOptions,
    Rewards,
    RewardTable,
    ScoreOptions,
    ScoreReward,
    TurnReward,
    partner_broke_it,
    returns,
)
from playpen.training import ConfigError, GamesTable, LearnerTable, TrainConfig, TrainingRun

REWARD_PACK = """
from playpen.hookspecs import RewardSpec, hookimpl


@hookimpl
def playpen_rewards():
    path = "tests.core.test_rewards:BrevityReward"
    return [RewardSpec(name="brevity", path=path, summary="short replies")]
"""


class BrevityOptions(RewardOptions, kw_only=True):
    """Options of `BrevityReward`.

    Attributes:
        free: letters that cost nothing.
    """

    free: int = 0


class BrevityReward(RewardFunction):
    """A third party's reward: each reply costs its letters."""

    Options = BrevityOptions
    options: BrevityOptions

    def of(self, episode: Episode, role: str) -> list[float]:
        said = [reply.reply.text for reply in episode.replies(role)]
        return [-float(max(0, len(text) - self.options.free)) for text in said]


class OneTooMany(RewardFunction):
    """A reward with a bug."""

    def of(self, episode: Episode, role: str) -> list[float]:
        return [0.0] * (len(episode.replies(role)) + 1)


def ended(outcome: Outcome, *, replies: int = 2) -> Episode:
    """An episode in which `a` speaks so many times, `b` half as often, `c` never."""

    def play(instance: Instance) -> Play:
        for number in range(replies):
            yield Ask("a", "And?")
            if number % 2:
                yield Ask("b", "And?")
        return outcome

    game = game_of(play, roles=("a", "b", "c"))
    return drive(game, instance_of(game), lambda conversation: "x")[0]


def combined(terms: Sequence[RewardFunction], discount: float = 1.0) -> Rewards:
    return Rewards(terms, discount)


# --- outcome -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "value"),
    [
        (Success(), 2.0),
        (Success(1), 2.0),
        (Lose(), -0.5),
        (Lose(50), -0.5),
        (Abort("code", "message"), -1.0),
    ],
)
def test_the_outcome_is_rewarded_at_the_last_reply(outcome: Outcome, value: float) -> None:
    reward = OutcomeReward(OutcomeOptions(success=2.0, lose=-0.5, aborted=-1.0))
    assert reward.of(ended(outcome, replies=4), "a") == [0, 0, 0, value]
    assert reward.of(ended(outcome, replies=4), "b") == [0, value]


def test_by_default_only_success_is_worth_something() -> None:
    reward = OutcomeReward()
    found = [reward.of(ended(outcome), "a")[-1] for outcome in (Success(), Lose(), Abort("c", "m"))]
    assert found == [1.0, 0.0, 0.0]


# --- score ---------------------------------------------------------------------------------------


def test_the_main_score_is_a_share_of_100() -> None:
    assert ScoreReward().of(ended(Success(75)), "a") == [0, 0.75]
    assert ScoreReward(ScoreOptions(scale=50)).of(ended(Lose(25)), "a") == [0, 0.5]


def test_an_aborted_episode_has_no_score() -> None:
    episode = ended(Abort("code", "message"))
    assert ScoreReward().of(episode, "a") == [0, 0]
    assert ScoreReward(ScoreOptions(aborted=-0.3)).of(episode, "a") == [0, -0.3]


def test_a_score_of_nought_is_not_an_aborted_one() -> None:
    assert ScoreReward(ScoreOptions(aborted=-1)).of(ended(Lose(0)), "a") == [0, 0]


def test_a_role_is_rewarded_by_its_own_score_where_it_has_one() -> None:
    episode = ended(Success(80, role_scores={"a": 40}))
    assert ScoreReward().of(episode, "a") == [0, 0.4]
    assert ScoreReward().of(episode, "b") == [0.8]
    assert ScoreReward().of(ended(Lose(80, role_scores={"a": 0})), "a") == [0, 0]


# --- turn ----------------------------------------------------------------------------------------


def test_the_games_own_rewards_stand_at_their_replies() -> None:
    def play(instance: Instance) -> Play:
        yield Ask("a", "one")
        yield Reward("a", 0.5)
        yield Reward("a", 0.25)
        yield Ask("a", "aside", keep=False)
        yield Ask("b", "two")
        yield Reward("a", 1)  # for the side question, its latest reply
        yield Reward("b", -1)
        yield Tell("a", "well")
        yield Ask("a", "three")
        return Success()

    game = game_of(play)
    episode, _ = drive(game, instance_of(game), lambda conversation: "x")
    assert TurnReward().of(episode, "a") == [0.75, 1.0, 0.0]
    assert TurnReward().of(episode, "b") == [-1.0]


def test_a_reward_before_the_first_reply_is_nobodys() -> None:
    def play(instance: Instance) -> Play:
        yield Reward("a", 5)
        yield Ask("a", "one")
        return Success()

    game = game_of(play)
    episode, _ = drive(game, instance_of(game), lambda conversation: "x")
    assert TurnReward().of(episode, "a") == [0.0]


def test_each_guess_of_a_whole_game_earns_what_the_game_says(installed: PackFolder) -> None:
    game = get_game("guessing")
    episode, _ = drive(game, guessing(secret=7), {"guesser": ["9", "seven", "5", "7"]})
    # The reply that was no number earned nothing; the last one won, which is not a turn's reward.
    assert TurnReward().of(episode, "guesser") == [1 / 3, 0.0, 1 / 3, 0.0]


# --- together ------------------------------------------------------------------------------------


def won_relay() -> Episode:
    """The finder gets it in its second round: two side questions, two guesses."""
    game = get_game("relay")
    secret = drive(game, relay(), lambda c: "amber")[0].draws()[0][0]
    wrong = next(word for word in ("amber", "birch") if word != secret)
    replies = {"giver": ["hint", "hint"], "finder": ["yes", wrong, "yes", secret]}
    episode = drive(game, relay(), replies)[0]
    assert isinstance(episode.outcome, Success)
    assert episode.outcome.role_scores == {"giver": 90, "finder": 45}
    return episode


def test_the_terms_are_summed_with_their_weights(installed: PackFolder) -> None:
    episode = won_relay()
    terms = [
        OutcomeReward(OutcomeOptions(weight=0.5)),
        ScoreReward(ScoreOptions(weight=2.0)),
        TurnReward(RewardOptions(weight=-0.1)),
    ]
    last = 0.5 * 1 + 2 * 0.45 - 0.1 * 1
    assert combined(terms).of(episode, "finder") == pytest.approx([0, 0, 0, last])
    assert combined(terms).of(episode, "giver") == pytest.approx([0, 0.5 + 2 * 0.9])


def test_returns_are_discounted_from_each_reply_on(installed: PackFolder) -> None:
    episode = won_relay()
    halved = combined([OutcomeReward()], discount=0.5)
    assert halved.of(episode, "finder") == [0, 0, 0, 1]
    assert halved.returns(episode, "finder") == [0.125, 0.25, 0.5, 1]
    assert combined([OutcomeReward()]).returns(episode, "finder") == [1, 1, 1, 1]


def test_returns_of_given_rewards() -> None:
    assert returns([1, 2, 3], 1.0) == [6, 5, 3]
    assert returns([1, 2, 4], 0.5) == [3, 4, 4]
    assert returns([1, 2, 4], 0.0) == [1, 2, 4]
    assert returns([], 0.9) == []


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.floats(0, 1))
def test_each_return_is_its_reward_and_the_discounted_next_one(
    rewards: list[float], discount: float
) -> None:
    found = returns(rewards, discount)
    later = [*found[1:], 0.0]
    expected = [now + discount * then for now, then in zip(rewards, later, strict=True)]
    assert found == pytest.approx(expected)


def test_who_was_never_asked_earns_nothing() -> None:
    rewards = combined([OutcomeReward(), ScoreReward(), TurnReward()])
    assert rewards.of(ended(Success()), "c") == []
    assert rewards.returns(ended(Success()), "c") == []


def test_a_failed_episode_earns_nothing() -> None:
    episode = ended(Success())
    episode.outcome, episode.failure = None, Failure("player", "its server is down")
    assert combined([OutcomeReward()]).of(episode, "a") == []


def test_a_reward_with_the_wrong_number_of_values_is_named() -> None:
    with pytest.raises(ValueError, match=r"OneTooMany gave 3 rewards for 2 replies of a in inline"):
        combined([OutcomeReward(), OneTooMany()]).of(ended(Success()), "a")


# --- whose fault ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "roles"),
    [
        (Success(), []),
        (Lose(), []),
        (Abort("reply_limit", "too many"), []),
        (Lose(fault="a"), ["b"]),
        (Abort("code", "message", fault="b"), ["a"]),
    ],
)
def test_a_partner_is_at_fault_only_if_it_is_named_and_another(
    outcome: Outcome, roles: list[str]
) -> None:
    episode = ended(outcome)
    assert [role for role in ("a", "b") if partner_broke_it(episode, role)] == roles


def test_a_broken_rule_is_the_fault_of_who_broke_it(installed: PackFolder) -> None:
    game = get_game("relay")
    outcome = outcome_of(game, relay(), {"giver": [" "]})
    assert isinstance(outcome, Abort)
    episode, _ = drive(game, relay(), {"giver": [" "]})
    assert partner_broke_it(episode, "finder")
    assert not partner_broke_it(episode, "giver")


# --- as plug-ins ---------------------------------------------------------------------------------


def run_with(table: RewardTable, tmp_path: Path) -> TrainingRun:
    config = TrainConfig(
        learner=LearnerTable(player="hf:x"), games=GamesTable(names=["guessing"]), reward=table
    )
    return TrainingRun("any", config, tmp_path)


@pytest.fixture
def brevity(installed: PackFolder) -> PackFolder:
    """The sample games, and a third party's reward."""
    installed.add("brevity-pack", REWARD_PACK)
    return installed


def guessed(game: Game) -> Episode:
    return drive(game, guessing(secret=7), {"guesser": ["12", "7"]})[0]


def test_without_a_word_the_outcome_is_the_reward(installed: PackFolder, tmp_path: Path) -> None:
    rewards = run_with(RewardTable(), tmp_path).rewards()
    assert rewards.of(guessed(get_game("guessing")), "guesser") == [0, 1]


def test_a_third_partys_reward_is_named_like_ours(brevity: PackFolder, tmp_path: Path) -> None:
    terms = {"brevity": {"weight": 0.1, "free": 1}, "outcome": {"success": 3.0}}
    rewards = run_with(RewardTable(terms=terms, discount=0.5), tmp_path).rewards()
    episode = guessed(get_game("guessing"))
    assert rewards.of(episode, "guesser") == pytest.approx([-0.1, 3.0])
    assert rewards.returns(episode, "guesser") == pytest.approx([1.4, 3.0])


def test_all_of_the_cores_rewards_are_found_by_name(installed: PackFolder, tmp_path: Path) -> None:
    terms = {"outcome": {}, "score": {}, "turn": {"weight": 3}}
    rewards = run_with(RewardTable(terms=terms), tmp_path).rewards()
    first = 3 * 1 / (1 + 5)
    assert rewards.of(guessed(get_game("guessing")), "guesser") == pytest.approx([first, 1.5])


def test_a_misspelt_reward_is_refused_with_a_suggestion(
    brevity: PackFolder, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"there is no reward 'brevty'; did you mean 'brevity'\?"):
        run_with(RewardTable(terms={"brevty": {}}), tmp_path).rewards()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fre": 1}, "unknown key 'reward.terms.brevity.fre'; did you mean 'free'?"),
        (
            {"free": "much"},
            "reward.terms.brevity.free = 'much': a whole number is expected",
        ),
        (
            {"weight": "heavy"},
            "reward.terms.brevity.weight = 'heavy': a number from -1e9 to 1e9 is expected",
        ),
    ],
)
def test_a_wrong_option_of_a_reward_is_named_with_its_key(
    brevity: PackFolder, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run_with(RewardTable(terms={"brevity": options}), tmp_path).rewards()
    assert message in str(caught.value)
