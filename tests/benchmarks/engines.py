"""Play that is bound by a model: against clemcore 3.7.2, and against the engine alone.

The same conversations of four turns, greedy, on the same weights, in turns:

* ``hf:`` with its default options, against clemcore's batchwise runner with its Hugging Face
  backend, 32 rows a batch on both sides;
* ``hf:`` against its own engine, which gets the same requests as token ids, each as soon as the
  one before it in its conversation is answered: no game, no referee, no chat template;
* ``openai:`` against clemcore's OpenAI-compatible backend, on the same vLLM server (needs what
  ``make test-vllm`` installs; skipped without).

Every reply is as long as its limit: the weights are changed so that the ids that end a turn are
never the most probable ones.  So both sides do the same work, and clemcore's batches never wait
for their longest reply, as they would have to in real games.  All prompts differ from their first
words on; what can be shared is the template's system message, where it has one.  torch computes
with one thread on both sides (clemcore's backend allows no other number).

``python tests/benchmarks/engines.py [tiny] [smollm] [server]``
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.smollm import fetch_smollm
from tests.vllm.small_models import save_small_model

from playpen import Ask, Episode, Game, Instance, Role, Success, make_player, play
from playpen.game import Play
from playpen.instance import Experiment
from playpen.players.engine import Engine, Request
from playpen.report.tables import plain_table
from playpen.rollout import DEFAULT_CONCURRENCY

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
CLEMCORE = REPOSITORY / ".venv-clemcore" / "bin" / "python"
VLLM = REPOSITORY / ".venv-vllm" / "bin" / "python"
BATCH = 32
POSITIONS = 4096

QUESTION = (
    "This is game number {number}, and the secret word begins with {letter}. Another player "
    "describes it to you, without using the word itself or any word that is derived from it. "
    "After each description you answer with one guess, and then you learn whether it was right. "
    "You lose if you have not found the word after four guesses. Here is the first description: "
    "it is something that people in town {number} use nearly every day. What is your guess?"
)
ANSWERS = (
    "No, that is not the word. It is smaller than a house, and most are made in a factory.",
    "No, that is not the word. It has a colour of its own, and children are told to mind it.",
    "No, that is not the word. It can be bought in many shops, and it is not meant for eating.",
)


class Talk(Game):
    """One role gets the instance's messages one after the other, whatever it says."""

    name = "talk"
    roles = (Role("speaker"),)

    def play(self, instance: Instance) -> Play:
        """Ask and do not listen."""
        for message in instance["messages"]:
            yield Ask("speaker", message)
        return Success()


class Setting(NamedTuple):
    """A model and how much is played with it."""

    name: str
    model: Path
    end: str
    new_tokens: int
    conversations: int
    rounds: int


@dataclass(frozen=True)
class Held:
    """What holding all conversations of a setting took.

    Attributes:
        cpu_seconds: of the process that plays.
        wall_seconds: as a clock has it.
        sampled: tokens that the model sampled, over all replies.
        read: ids that the model read, padding and the sampled ones included.
        passes: how often the model was run.
        talks: the replies of each conversation.
    """

    cpu_seconds: float
    wall_seconds: float
    sampled: int
    read: int
    passes: int
    talks: list[list[str]]


def instances(setting: Setting) -> list[dict[str, Any]]:
    """The conversations, in the form of clembench's instances."""
    return [
        {
            "game_id": n,
            "messages": [QUESTION.format(number=n, letter="abcdefghij"[n % 10]), *ANSWERS],
        }
        for n in range(setting.conversations)
    ]


def our_instances(setting: Setting) -> list[Instance]:
    return [Instance("talk", Experiment("all", {}), data) for data in instances(setting)]


# --- models whose turns end at the limit only ----------------------------------------------------


def never_ending(source: Path, target: Path) -> Path:
    """A copy of a checkpoint that gives the ids that end a turn a logit of 0.

    The most probable of the other ids has a higher one.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", tokenizer.eos_token])
    head = model.get_output_embeddings()
    weight = head.weight.detach().clone()  # no longer the input's, where they were shared
    weight[ends] = 0
    head.weight = torch.nn.Parameter(weight)
    model.config.tie_word_embeddings = False
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def tiny(folder: Path) -> Setting:
    source = save_small_model(folder / "tiny-source", positions=POSITIONS)
    model = never_ending(source, folder / "tiny")
    return Setting("tiny, 2 x 64", model, "<|im_end|>", 16, 32, 5)


def smollm(folder: Path) -> Setting:
    model = never_ending(fetch_smollm(), folder / "smollm")
    return Setting("SmolLM2-135M", model, "<|im_end|>", 16, 32, 3)


# --- our side ------------------------------------------------------------------------------------


@contextmanager
def counted(model: Any) -> Iterator[list[tuple[int, int]]]:
    """Rows and ids of each pass; each row of a pass has one token sampled."""
    shapes: list[tuple[int, int]] = []
    handle = model.register_forward_pre_hook(
        lambda module, args, named: shapes.append(tuple(named["input_ids"].shape)),
        with_kwargs=True,
    )
    try:
        yield shapes
    finally:
        handle.remove()


def texts(episodes: Sequence[Episode]) -> list[list[str]]:
    for episode in episodes:
        assert episode.failure is None, episode.failure
    return [[said.reply.text for said in episode.replies()] for episode in episodes]


@contextmanager
def loaded(setting: Setting) -> Iterator[tuple[Any, Engine]]:
    """A player with a freshly loaded engine that has computed something before."""
    player: Any = make_player(f"hf:{setting.model}?max_new_tokens={setting.new_tokens}")
    player.seat(Talk(), "speaker")
    engine: Engine = player._loaded[0]
    first = Request([5, 6, 7], 2, frozenset(), 0.0, 1.0, 0, BATCH, random.Random(0))
    engine.submit(first).result()
    gc.collect()
    try:
        yield player, engine
    finally:
        asyncio.run(player.close())


def ours(setting: Setting) -> tuple[Held, list[list[Request]]]:
    """Hold the conversations as games; also the requests that the engine got, by conversation."""
    talks: dict[Any, list[Request]] = {}
    with loaded(setting) as (player, engine), counted(engine.model) as shapes:
        submit = engine.submit

        def noted(request: Request) -> Future[None]:
            # As many tasks as there are episodes: each plays one.
            talks.setdefault(asyncio.current_task(), []).append(request)
            return submit(request)

        engine.submit = noted  # type: ignore[method-assign]
        wall, cpu = time.perf_counter(), time.process_time()
        episodes = play(Talk(), player, our_instances(setting))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        del engine.submit
    sampled, read = sum(rows for rows, _ in shapes), sum(rows * ids for rows, ids in shapes)
    return Held(cpu, wall, sampled, read, len(shapes), texts(episodes)), list(talks.values())


def raw(setting: Setting, talks: Sequence[Sequence[Request]]) -> tuple[Held, int]:
    """Give the engine the same requests; also how many of them are answered as before."""
    asked = [[replace(r, sampled=[], logprobs=[], done=Future()) for r in talk] for talk in talks]
    with loaded(setting) as (_, engine), counted(engine.model) as shapes:

        def send(talk: list[Request], number: int) -> None:
            done = engine.submit(talk[number])
            if number + 1 < len(talk):
                done.add_done_callback(lambda _: send(talk, number + 1))

        wall, cpu = time.perf_counter(), time.process_time()
        for talk in asked:
            send(talk, 0)
        for talk in asked:
            talk[-1].done.result()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    pairs = zip(chain.from_iterable(asked), chain.from_iterable(talks), strict=True)
    same = sum(new.sampled == before.sampled for new, before in pairs)
    sampled, read = sum(rows for rows, _ in shapes), sum(rows * ids for rows, ids in shapes)
    return Held(cpu, wall, sampled, read, len(shapes), []), same


# --- clemcore's side -----------------------------------------------------------------------------


def clemcore_python() -> Path:
    """The interpreter of an environment with clemcore, made on first use."""
    if not CLEMCORE.exists():
        subprocess.run([sys.executable, "-m", "venv", CLEMCORE.parent.parent], check=True)
        subprocess.run([CLEMCORE, "-m", "pip", "install", "-q", "clemcore==3.7.2"], check=True)
    return CLEMCORE


def theirs(setting: Setting, folder: Path, url: str | None = None) -> Held:
    """Hold the conversations with clemcore: with its Hugging Face backend, or with a server."""
    model: dict[str, Any] = {"model_name": "bench"}
    if url is None:
        model |= {
            "backend": "huggingface_local",
            "huggingface_id": str(setting.model),
            "model_config": {
                "premade_chat_template": True,
                "eos_to_cull": setting.end.replace("|", r"\|"),
                "padding_side": "left",
            },
        }
    else:
        model |= {"backend": "openai_compatible", "model_id": "bench", "model_config": {}}
        key = {"openai_compatible": {"api_key": "none", "base_url": url}}
        (folder / "key.json").write_text(json.dumps(key), encoding="utf-8")
    (folder / "model_registry.json").write_text(json.dumps([model]), encoding="utf-8")
    work = {
        "model": "bench",
        "new_tokens": setting.new_tokens,
        "batch_size": BATCH,
        "instances": instances(setting),
    }
    (folder / "talks.json").write_text(json.dumps(work), encoding="utf-8")
    command: list[str | Path] = [
        clemcore_python(),
        HERE / "clemcore_side" / "talks.py",
        "--input",
        "talks.json",
    ]
    if url is None:
        # clemcore does not bring torch along: it borrows ours, and with it the same kernels.
        command += ["--packages", Path(torch.__file__).parent.parent]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the clemcore side failed:\n{done.stderr[-3000:]}")
    return Held(**json.loads(done.stdout.splitlines()[-1]))


# --- a server ------------------------------------------------------------------------------------


@contextmanager
def served(setting: Setting, log: Path) -> Iterator[str]:
    """vLLM's server with a model, until the end of the block; gives its root URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What `vllm serve` starts; that command itself looks for a distribution of the name vllm, which
    # the one for CPUs is not.
    command: list[str | Path] = [
        VLLM,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        setting.model,
    ]
    command += ["--served-model-name", "bench", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "2048"]
    environment = os.environ | {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_SERVER_DEV_MODE": "1",  # for /reset_prefix_cache
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TORCHDYNAMO_DISABLE": "1",
    }
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        ) as server,
    ):
        root = f"http://127.0.0.1:{port}"
        try:
            while True:
                if server.poll() is not None:
                    raise SystemExit(f"vLLM's server ended:\n{log.read_text()[-3000:]}")
                with suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(f"{root}/health", timeout=5).close()
                    break
                time.sleep(0.5)
            yield root
        finally:
            server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=30)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def generated(root: str) -> int:
    """How many tokens the server has sampled since it was started."""
    with urllib.request.urlopen(f"{root}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("vllm:generation_tokens_total"):
                return int(float(line.split()[-1]))
    raise SystemExit("the server's /metrics has no vllm:generation_tokens_total")


def forget(root: str) -> None:
    """Empty the server's prefix cache, so that nobody profits from what was asked before."""
    request = urllib.request.Request(f"{root}/reset_prefix_cache", method="POST")
    urllib.request.urlopen(request, timeout=30).close()


def ours_served(setting: Setting, root: str) -> Held:
    """Hold the conversations as games with an ``openai:`` player."""
    player = make_player(f"openai:bench?base_url={root}/v1&max_new_tokens={setting.new_tokens}")
    player.seat(Talk(), "speaker")
    forget(root)
    before = generated(root)
    wall, cpu = time.perf_counter(), time.process_time()
    episodes = play(Talk(), player, our_instances(setting))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    asyncio.run(player.close())
    return Held(cpu, wall, generated(root) - before, 0, 0, texts(episodes))


def theirs_served(setting: Setting, folder: Path, root: str) -> Held:
    """Hold them with clemcore, whose count of tokens includes one reply before the clock runs."""
    forget(root)
    before = generated(root)
    held = theirs(setting, folder, f"{root}/v1")
    return replace(held, sampled=generated(root) - before - setting.new_tokens)


# --- tables --------------------------------------------------------------------------------------


def median(runs: Sequence[Held], seconds: str) -> float:
    """Tokens a second of the middle run."""
    return float(statistics.median(run.sampled / getattr(run, seconds) for run in runs))


def check(setting: Setting, mine: Held, other: Held) -> str:
    """How many replies are the same on both sides.

    Raises:
        SystemExit: the two sides have not done the same work.
    """
    turns = 1 + len(ANSWERS)
    for name, held in (("Playpen", mine), ("clemcore", other)):
        lengths = [len(talk) for talk in held.talks]
        tokens = setting.conversations * turns * setting.new_tokens
        if lengths != [turns] * setting.conversations or held.sampled != tokens:
            raise SystemExit(
                f"{setting.name}, {name}: {sum(lengths)} replies of {held.sampled} tokens "
                f"instead of {setting.conversations * turns} of {tokens}"
            )
    said = list(zip(chain.from_iterable(mine.talks), chain.from_iterable(other.talks), strict=True))
    return f"{100 * sum(a == b for a, b in said) / len(said):.0f} %"


def measure_hf(setting: Setting, folder: Path, against: Any, alone: Any) -> None:
    """Measure a model in this process and add a row to both tables."""
    mine, other, engine = [], [], []
    for number in range(setting.rounds):
        held, talks = ours(setting)
        mine.append(held)
        bare, same = raw(setting, talks)
        engine.append(bare)
        other.append(theirs(setting, folder))
        show(f"{setting.name}, round {number + 1}", ours=held, engine=bare, clemcore=other[-1])
    agreeing = check(setting, mine[-1], other[-1])
    cpu, wall = (
        [median(runs, seconds) for runs in (mine, other, engine)]
        for seconds in ("cpu_seconds", "wall_seconds")
    )
    against.add_row(
        setting.name,
        f"{mine[-1].sampled:,}",
        f"{mine[-1].read:,}",
        f"{other[-1].read:,}",
        agreeing,
        f"{cpu[0]:,.1f}",
        f"{cpu[1]:,.1f}",
        f"{cpu[0] / cpu[1]:.2f}",
        f"{wall[0] / wall[1]:.2f}",
    )
    alone.add_row(
        setting.name,
        f"{same} of {sum(map(len, talks))}",
        f"{mine[-1].passes} / {engine[-1].passes}",
        f"{cpu[0]:,.1f}",
        f"{cpu[2]:,.1f}",
        f"{100 * cpu[0] / cpu[2]:.1f}",
        f"{100 * wall[0] / wall[2]:.1f}",
    )


def measure_server(settings: Sequence[Setting], folder: Path, table: Any) -> None:
    """Measure both sides on one server; add a row to the table for each setting of its model."""
    with served(settings[0], folder / "server.log") as root:
        ours_served(settings[0]._replace(conversations=2), root)  # what comes first is slower
        for setting in settings:
            mine, other = [], []
            for number in range(setting.rounds):
                mine.append(ours_served(setting, root))
                other.append(theirs_served(setting, folder, root))
                title = f"{setting.name}, server, round {number + 1}"
                show(title, ours=mine[-1], clemcore=other[-1])
            fast, slow = (median(runs, "wall_seconds") for runs in (mine, other))
            table.add_row(
                setting.name,
                str(setting.conversations),
                str(setting.new_tokens),
                check(setting, mine[-1], other[-1]),
                f"{fast:,.1f}",
                f"{slow:,.1f}",
                f"{fast / slow:.2f}",
            )


def show(title: str, **runs: Held) -> None:
    """One line about a round, as it ends."""
    figures = ", ".join(
        f"{name} {held.cpu_seconds:.1f} s of CPU, {held.wall_seconds:.1f} s"
        for name, held in runs.items()
    )
    Console(stderr=True).print(f"{title}: {figures}", highlight=False)


def right(first: str, *columns: str) -> Any:
    table = plain_table(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def main(wanted: list[str]) -> None:
    """Run everything and print the tables."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    console = Console()
    rate = ("Playpen", "clemcore", "ratio")
    against = right("model", "tokens", "ids read", "clemcore's", "same", *rate, "wall")
    alone = right("model", "same", "passes", "in games", "alone", "% of CPU", "% of wall")
    server = right("model", "talks", "reply", "same", *rate)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = {make.__name__: make for make in (tiny, smollm)}
        for name in made:
            if name in wanted:
                measure_hf(made[name](folder), folder, against, alone)
        if against.row_count:
            console.print("hf: against clemcore, tokens per CPU second (target: 3x)")
            console.print(against)
            console.print("\nhf: against its engine alone, tokens per CPU second (target: 90 %)")
            console.print(alone)
        if "server" in wanted and VLLM.exists():
            short = tiny(folder)
            many = short._replace(new_tokens=100, conversations=DEFAULT_CONCURRENCY, rounds=3)
            measure_server([short, many], folder, server)
            console.print("\nopenai: against clemcore, one vLLM server, tokens/s (target: 8x)")
            console.print(server)
        elif "server" in wanted:
            console.print(f"\nSkipped: the vLLM server. There is no {VLLM}; run: make test-vllm")


if __name__ == "__main__":
    main(sys.argv[1:] or ["tiny", "smollm", "server"])
