"""The program that plays AdventureGame."""

from __future__ import annotations

import pytest
from tests.clembench.games_kit import generated, oracles

from playpen import Conversation, Episode, Experiment, Instance, Message, play, ready_instances
from playpen.conversation import Reply
from playpen.instance import SPLITS
from playpen.referee import Referee
from playpen.scoring import episode_scores
from playpen_clembench.adventuregame.game import AdventureGame
from playpen_clembench.adventuregame.oracle import adventurer

GAME = AdventureGame()
PLAYERS = oracles(GAME)


def played(instances: list[Instance]) -> list[Episode]:
    return list(play(GAME, PLAYERS, instances))


@pytest.mark.parametrize("split", SPLITS)
def test_the_oracle_wins_ready_instances(split: str) -> None:
    instances = ready_instances(GAME, split)
    episodes = played(instances[::4] if split == "train" else instances)
    assert all(episode.success and episode.main_score == 100 for episode in episodes)
    for episode in episodes:
        scores = episode_scores(GAME, episode)
        assert scores["successful_actions"] == scores["Request Count"] <= 40
        assert scores["hallucination_count"] == 0
        # The optimum, which knows the whole house and need not say so, is never beaten.
        assert scores["turns_over_par"] >= 1
        if "planning" in episode.experiment:
            assert scores["plan_average_viability_ratio"] == 1


def test_the_oracle_wins_other_seeds() -> None:
    instances = generated(GAME, "train", seed=11, n=12)
    assert all(episode.success for episode in played(instances))


TASK = "Your goal is: Put the plate on the side table and the mop in the wardrobe.{}\n\n"
STATE = """
    room(hallway1,hallway) room(bedroom1,bedroom) room(broomcloset1,broomcloset)
    exit(hallway1,bedroom1) exit(bedroom1,hallway1) exit(hallway1,broomcloset1)
    exit(broomcloset1,hallway1) type(player1,player) at(player1,hallway1)
    type(sidetable1,sidetable) at(sidetable1,hallway1) type(wardrobe1,wardrobe)
    at(wardrobe1,bedroom1) closed(wardrobe1) type(bed1,bed) at(bed1,bedroom1)
    type(plate1,plate) at(plate1,bedroom1) in(plate1,wardrobe1)
    type(mop1,mop) at(mop1,bedroom1) on(mop1,bed1)
    type(apple1,apple) at(apple1,hallway1) on(apple1,sidetable1)
    type(book1,book) at(book1,hallway1) on(book1,sidetable1)
"""


def foreign(variant: str = "basic", *, limited: bool = False) -> Instance:
    """An instance with a prompt that is not ours."""
    more = " Carry up to two objects." if limited else ""
    more += ' Add a line "Next actions:".' if variant == "plan" else ""
    data = {
        "game_id": 1,
        "variant": variant,
        "prompt": TASK.format(more),
        "initial_state": STATE.split(),
        "goal_state": ["on(plate1,sidetable1)", "in(mop1,wardrobe1)"],
        "max_turns": 20,
        "optimal_turns": 6,
        "action_definitions": [f"basic_actions_v2{'_invlimit' if limited else ''}.json"],
    }
    return Instance(GAME.name, Experiment("foreign", {}), data)


@pytest.mark.parametrize("variant", ["basic", "plan"])
@pytest.mark.parametrize("limited", [False, True])
def test_the_oracle_understands_other_prompts(variant: str, limited: bool) -> None:
    (episode,) = played([foreign(variant, limited=limited)])
    assert episode.success


def continued(item: Instance, *replies: str) -> Episode:
    """The oracle takes over after replies of somebody else."""
    referee = Referee(GAME, item)
    pending = referee.advance()
    for reply in replies:
        pending = referee.advance(Reply(reply))
    while pending is not None:
        pending = referee.advance(Reply(adventurer(pending)))
    return referee.episode


@pytest.mark.parametrize(
    "replies",
    [
        ["> go bedroom", "> open wardrobe", "> close wardrobe"],
        ["> sing", "> go attic"],
        ["> take book", "> take apple"],
        ["> go bedroom", "> take mop", "> put mop on floor", "> go hallway"],
        ["> go bedroom", "> put mop on floor", "> open wardrobe", "> examine bed"],
    ],
)
@pytest.mark.parametrize("limited", [False, True])
def test_the_oracle_takes_over_from_others(replies: list[str], limited: bool) -> None:
    assert continued(foreign(limited=limited), *replies).success


@pytest.mark.parametrize("text", ["", "hello", "Put the apple on the table.", "\x00" * 1000])
def test_the_oracle_answers_any_message(text: str) -> None:
    assert adventurer(Conversation("adventurer", [Message("user", text)])) == "> done"
