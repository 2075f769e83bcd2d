"""The real SmolLM2-135M-Instruct plays real games: recordings, token traces, replay, scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from playpen import get_game, ready_instances, replay
from playpen.cast import make_cast
from playpen.chat_format import ChatFormat
from playpen.conversation import Trajectory
from playpen.runner import create_run, play_run
from playpen.scoring import score_episodes
from playpen.store import Run

pytestmark = pytest.mark.smollm
EPISODES = 3


@pytest.fixture(scope="module")
def runs(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Self-play of taboo and wordle, and taboo against an oracle in each role."""
    model = f"hf:{smollm}?max_new_tokens=40"
    casts = {
        "self-play": (["taboo", "wordle"], [(None, model)]),
        "guesser": (["taboo"], [("guesser", model), ("describer", "program:oracle")]),
        "describer": (["taboo"], [("describer", model), ("guesser", "program:oracle")]),
    }
    folder = tmp_path_factory.mktemp("runs")
    played = {}
    for name, (games, assignments) in casts.items():
        instances = {game: ready_instances(get_game(game), "validation") for game in games}
        run = create_run(folder / name, instances, make_cast(assignments), episodes=EPISODES)
        tally = play_run(run)
        assert (tally.failed, tally.remaining) == (0, 0)
        played[name] = run
    return played


def test_every_episode_is_recorded_once(runs: dict[str, Run]):
    for run in runs.values():
        episodes = list(run.episodes())
        assert len(episodes) == EPISODES * len(run.config.assignments)
        assert len({episode.key for episode in episodes}) == len(episodes)
        assert all(episode.outcome is not None for episode in episodes)


def test_replay_agrees_in_every_move(runs: dict[str, Run]):
    for run in runs.values():
        instances = {(i.game, i.hash): i for i in run.instances()}
        for episode in run.episodes():
            instance = instances[episode.game, episode.instance]
            again = replay(get_game(episode.game), instance, episode)
            assert again.complete
            assert again.divergences == []


def test_the_text_is_what_was_sampled(runs: dict[str, Run], smollm: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm)
    for run in runs.values():
        for episode in run.episodes():
            for said in episode.replies():
                if said.reply.tokens is None:
                    assert episode.players[said.role] == "program:oracle"
                    continue
                sampled = tokenizer.decode(said.reply.tokens.sampled, skip_special_tokens=True)
                assert sampled.strip() == said.reply.text
                assert "<|im_end|>" not in said.reply.text
                assert len(said.reply.tokens.sampled) <= 40
                assert len(said.reply.tokens.sampled) == len(said.reply.tokens.logprobs)


def rows_of(runs: dict[str, Run]) -> list[tuple[list, Trajectory]]:
    """Per role that the model played: what it was told, and its tokens."""
    found = []
    for run in runs.values():
        for episode in run.episodes():
            for role, player in episode.players.items():
                if player.startswith("hf:") and episode.replies(role):
                    trajectory = episode.trajectory(role)
                    assert trajectory is not None
                    found.append((episode.conversation(role), trajectory))
    return found


def test_a_role_is_one_row_of_what_the_model_was_sent(runs: dict[str, Run], smollm: Path):
    from transformers import AutoTokenizer

    chat = ChatFormat(AutoTokenizer.from_pretrained(smollm))
    checked = rows_of(runs)
    assert any(len(row.rows[0].spans) > 1 for _, row in checked), "no episode had two turns"
    for messages, trajectory in checked:
        [row] = trajectory.rows  # SmolLM2's template keeps history as it was
        assert sum(row.mask) == sum(end - start for _, start, end in row.spans)
        last = max(number for number, m in enumerate(messages) if m.reply is not None)
        sent = chat.prompt(messages[:last]).full
        assert row.ids[: len(sent)] == sent
        assert row.ids[len(sent) :] == messages[last].reply.tokens.sampled


def test_log_probabilities_are_the_models(runs: dict[str, Run], smollm: Path):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm, dtype=torch.float32).eval()
    _, trajectory = max(rows_of(runs), key=lambda pair: len(pair[1].rows[0].spans))
    row = trajectory.rows[0]
    with torch.no_grad():
        logits = model(torch.tensor([row.ids])).logits[0]
    logprobs = torch.log_softmax(logits, dim=-1)
    for place, trained in enumerate(row.mask):
        if trained:
            expected = logprobs[place - 1, row.ids[place]].item()
            assert row.logprobs[place] == pytest.approx(expected, abs=1e-3)


def test_scores_add_up(runs: dict[str, Run]):
    games = {name: get_game(name) for name in ("taboo", "wordle")}
    for run in runs.values():
        score = score_episodes(run.episodes(failed=True), games)
        for game in score.games:
            assert game.episodes == EPISODES
            assert game.success + game.lose + game.aborted == game.episodes
            assert game.played == pytest.approx(100 * (1 - game.aborted / game.episodes), abs=0.01)


def test_the_oracle_describes_well_enough_for_some_format(runs: dict[str, Run]):
    """With the oracle as describer no episode may be lost by a forbidden word."""
    for episode in runs["guesser"].episodes():
        assert not (episode.lose and episode.outcome.fault == "describer")
