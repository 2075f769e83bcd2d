"""Play that is bound by a model: against clemcore 3.7.2, and against the engine alone.

The same conversations of four turns, on the same weights, in float32, alternately:

* ``hf:`` with its default options, against clemcore's batchwise runner with its Hugging Face
  backend, 32 rows a batch on both sides;
* ``hf:`` against its own engine, which gets the same requests as token ids, each as soon as the
  one before it in its conversation is answered: no game, no referee, no chat template;
* ``openai:`` against clemcore's OpenAI-compatible backend, on the same vLLM server, and against the
  same requests sent bare, without a game (needs what ``make test-vllm`` installs; skipped without).

Replies end in two ways:

* *as the model likes*: sampled at temperature 0.7 with nothing cut off, until the model ends its
  turn, or after 64 tokens.  The models are as they are, SmolLM2-135M-Instruct and the random one of
  the tests.  The two sides draw different numbers, so what is compared is tokens per second; how
  many tokens a reply had is shown for both.
* *at the limit*: greedy, 16 tokens each; the weights are changed so that the ids that end a turn
  are never the most probable ones.  Both sides do the same work, token by token, and clemcore's
  batches never wait for their longest reply, as they would have to in real games.

With ``games`` the conversations are as real games have them.  The recorded ones of Llama-3-8B in
the fourteen games of clembench, averaged over the games, begin with 259 ids (of SmolLM2's
tokenizer), of which most are the rules, the same in every instance; their replies have 29 tokens,
and half of the games ask 7 times or more often.  So a conversation begins with what our pack's
taboo, wordle or referencegame tells its first role, and goes on for 7 turns.  These sizes, too,
were written down before they were run.

With ``queue`` there are more conversations than rows (8 on both sides), as in an evaluation of
hundreds of instances: a row that is free is given to the next one here, and waits for the longest
reply of its batch there.  That part was added after the others had been measured, and its sizes
were written down before it was run.

The other settings were chosen before they were measured, too; but the conversations of SmolLM2
were 16, and became 12 afterwards, so that everything ends within minutes.  So few sampled replies
are not equally long on both sides: tokens per second favour the side with the longer ones, replies
per second the other one; both ratios are shown.  Outside of ``games``, all prompts differ from
their first words on; what can be shared is the template's system message, where it has one.  torch
computes with one thread on both sides (clemcore's backend allows no other number).

``python tests/benchmarks/engines.py [tiny] [smollm] [server] [games] [queue]``
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiohttp
import msgspec
import torch
import transformers
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.clemcore_side.served import generated
from tests.smollm import fetch_smollm
from tests.vllm.small_models import save_small_model

from playpen import (
    Ask,
    Episode,
    Game,
    Instance,
    Role,
    Success,
    get_game,
    make_player,
    play,
    ready_instances,
)
from playpen.instance import Experiment
from playpen.moves import Play
from playpen.players.transformers_engine.engine import Engine
from playpen.players.transformers_engine.request import Request
from playpen.rollout import DEFAULT_CONCURRENCY
from playpen.terminal.plain_table import PlainTable

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
CLEMCORE = REPOSITORY / ".venv-clemcore" / "bin" / "python"
VLLM = REPOSITORY / ".venv-vllm" / "bin" / "python"
BATCH = 32
POSITIONS = 4096
END = "<|im_end|>"
"""What ends a turn, by the chat templates of all models here."""

QUESTION = (
    "This is game number {number}, and the secret word begins with {letter}. Another player "
    "describes it to you, without using the word itself or any word that is derived from it. "
    "After each description you answer with one guess, and then you learn whether it was right. "
    "You lose if you have not found the word after four guesses. Here is the first description: "
    "it is something that people in town {number} use nearly every day. Answer with one short "
    "sentence. What is your guess?"
)
GAMES = ("taboo", "wordle", "referencegame")
"""Those that the tests with a real vLLM play."""
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
    """A model and what is played with it.

    Attributes:
        name: of the model.
        model: its directory.
        ends: whether replies end as the model likes, or all at the limit.
        new_tokens: the limit of a reply.
        conversations: how many.
        rounds: how often both sides play them.
        rows: of a batch, on both sides.
        turns: of a conversation.
        game: whose rules begin the conversations, "" for `QUESTION`.
    """

    name: str
    model: Path
    ends: bool
    new_tokens: int
    conversations: int
    rounds: int
    rows: int = BATCH
    turns: int = 1 + len(ANSWERS)
    game: str = ""

    @property
    def temperature(self) -> float:
        """At which replies are sampled."""
        return 0.7 if self.ends else 0.0

    @property
    def options(self) -> str:
        """Of a player's spec."""
        return f"max_new_tokens={self.new_tokens}&temperature={self.temperature}"

    def __str__(self) -> str:
        ending = "own ends" if self.ends else f"all {self.new_tokens} tokens"
        rows = f", {self.rows} rows" if self.rows != BATCH else ""
        return f"{self.name}, {ending}{rows}" + (f", {self.game}" if self.game else "")


@dataclass(frozen=True)
class Held:
    """What holding all conversations of a setting took.

    Attributes:
        cpu_seconds: of the process that plays.
        wall_seconds: as a clock has it.
        sampled: tokens of all replies, those that end a turn included.
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
    answers = [ANSWERS[n % len(ANSWERS)] for n in range(setting.turns - 1)]
    # The rules may be all that there is to read at first; what comes later is no longer the same.
    told = "In game {number}: {answer}" if setting.game else "{answer}"
    return [
        {
            "game_id": number,
            "messages": [first, *(told.format(number=number, answer=a) for a in answers)],
        }
        for number, first in enumerate(first_messages(setting))
    ]


def first_messages(setting: Setting) -> list[str]:
    """What the conversations begin with."""
    numbers = range(setting.conversations)
    if not setting.game:
        return [QUESTION.format(number=n, letter="abcdefghij"[n % 10]) for n in numbers]
    game = get_game(setting.game)
    drawn = ready_instances(game, "train")[: setting.conversations]
    assert len(drawn) == setting.conversations
    episodes = play(game, make_player("program:oracle"), drawn)
    return [episode.turns(game.roles[0].name)[0].messages[0].content for episode in episodes]


def our_instances(setting: Setting) -> list[Instance]:
    return [Instance("talk", Experiment("all", {}), data) for data in instances(setting)]


# --- models --------------------------------------------------------------------------------------


def uncut(source: Path, target: Path) -> Path:
    """A copy of a checkpoint whose own generation configuration cuts nothing off."""
    shutil.copytree(source, target)
    config = transformers.GenerationConfig.from_pretrained(target)
    config.top_k, config.top_p = 0, 1.0
    config.do_sample = True
    config.save_pretrained(target)
    return target


def never_ending(source: Path, target: Path, *, words: bool = False) -> Path:
    """A copy of a checkpoint that gives the ids that end a turn a logit of 0.

    The most probable of the other ids has a higher one.

    Args:
        source: the checkpoint.
        target: directory of the copy.
        words: leave only the ids of whole words.  What a random model says is no text, and
            clemcore, which reads it again as text, would read more ids than were said.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    silent = tokenizer.convert_tokens_to_ids([END, tokenizer.eos_token])
    if words:
        said = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        silent = [token for token, text in enumerate(said) if not re.fullmatch(" [a-z]+", text)]
    head = model.get_output_embeddings()
    weight = head.weight.detach().clone()  # no longer the input's, where they were shared
    weight[silent] = 0
    head.weight = torch.nn.Parameter(weight)
    model.config.tie_word_embeddings = False
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def tiny(folder: Path) -> list[Setting]:
    source = save_small_model(folder / "tiny-source", positions=POSITIONS)
    name = "tiny, 2 x 64"
    return [
        Setting(name, uncut(source, folder / "tiny"), True, 64, 32, 3),
        Setting(name, never_ending(source, folder / "tiny-endless", words=True), False, 16, 32, 3),
    ]


def smollm(folder: Path) -> list[Setting]:
    source = fetch_smollm()
    name = "SmolLM2-135M"
    return [
        Setting(name, uncut(source, folder / "smollm"), True, 64, 12, 1),
        Setting(name, never_ending(source, folder / "smollm-endless"), False, 16, 12, 1),
    ]


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
    player: Any = make_player(f"hf:{setting.model}?{setting.options}&batch_size={setting.rows}")
    engine: Engine = player.seat(Talk(), "speaker")._loaded[0]
    short = Instance("talk", Experiment("all", {}), {"messages": ["What comes first is slower."]})
    play(Talk(), player, [short])  # as on the other side
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
            again = msgspec.structs.replace(request, rng=copy(request.rng))
            talks.setdefault(asyncio.current_task(), []).append(again)
            return submit(request)

        engine.submit = noted  # type: ignore[method-assign]
        talk_instances = our_instances(setting)
        wall, cpu = time.perf_counter(), time.process_time()
        episodes = play(Talk(), player, talk_instances)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        del engine.submit
    read = sum(rows * ids for rows, ids in shapes)
    sampled = sum(said.reply.completion_tokens or 0 for e in episodes for said in e.replies())
    return Held(cpu, wall, sampled, read, len(shapes), texts(episodes)), list(talks.values())


def raw(setting: Setting, talks: Sequence[Sequence[Request]]) -> tuple[Held, int]:
    """Give the engine the same requests; also how many of them are answered as before."""
    asked = [
        [
            msgspec.structs.replace(r, rng=copy(r.rng), sampled=[], logprobs=[], done=Future())
            for r in talk
        ]
        for talk in talks
    ]
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
    same = sum(1 for new, before in pairs if new.sampled == before.sampled)
    read = sum(rows * ids for rows, ids in shapes)
    sampled = sum(len(request.sampled) for request in chain.from_iterable(asked))
    return Held(cpu, wall, sampled, read, len(shapes), []), same


# --- clemcore's side -----------------------------------------------------------------------------


def clemcore_python() -> Path:
    """The interpreter of an environment with clemcore, made on first use."""
    if not CLEMCORE.exists():
        subprocess.run([sys.executable, "-m", "venv", CLEMCORE.parent.parent], check=True)
        subprocess.run([CLEMCORE, "-m", "pip", "install", "-q", "clemcore==3.7.2"], check=True)
    return CLEMCORE


@contextmanager
def theirs(setting: Setting, folder: Path, root: str | None = None) -> Iterator[Callable[[], Held]]:
    """What holds the conversations with clemcore: with its Hugging Face backend, or a server."""
    folder.mkdir()
    model: dict[str, Any] = {"model_name": "bench"}
    if root is None:
        model |= {
            "backend": "huggingface_local",
            "huggingface_id": str(setting.model),
            "model_config": {
                "premade_chat_template": True,
                "eos_to_cull": re.escape(END),
                "padding_side": "left",
            },
        }
    else:
        model |= {"backend": "openai_compatible", "model_id": "bench", "model_config": {}}
        key = {"openai_compatible": {"api_key": "none", "base_url": f"{root}/v1"}}
        (folder / "key.json").write_text(json.dumps(key), encoding="utf-8")
    (folder / "model_registry.json").write_text(json.dumps([model]), encoding="utf-8")
    work = {
        "model": "bench",
        "new_tokens": setting.new_tokens,
        "temperature": setting.temperature,
        "metrics": root and f"{root}/metrics",
        "batch_size": setting.rows,
        "instances": instances(setting),
    }
    (folder / "talks.json").write_text(json.dumps(work), encoding="utf-8")
    command: list[str | Path] = [
        clemcore_python(),
        HERE / "clemcore_side" / "talks.py",
        "--input",
        "talks.json",
    ]
    if root is None:
        # clemcore does not bring torch along: it borrows ours, and with it the same kernels.
        command += ["--packages", Path(torch.__file__).parent.parent]
    errors = folder / "errors.txt"
    with (
        errors.open("wb") as error,
        subprocess.Popen(
            command,
            cwd=folder,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=error,
        ) as process,
    ):
        asked, said = process.stdin, process.stdout
        assert asked is not None and said is not None

        def hold() -> Held:
            asked.write("again\n")
            asked.flush()
            for line in said:
                if line.startswith("{"):
                    return Held(**json.loads(line))
            raise SystemExit(f"the clemcore side failed:\n{errors.read_text()[-3000:]}")

        try:
            yield hold
        finally:
            asked.close()


# --- a server ------------------------------------------------------------------------------------


class Server(NamedTuple):
    """A server that has been started.

    Attributes:
        root: its root URL.
        process: its process.
        log: what it says.
    """

    root: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Wait until it answers."""
        while self.process.poll() is None:
            with suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self.root}/health", timeout=5).close()
                return
            time.sleep(0.5)
        raise SystemExit(f"vLLM's server ended:\n{self.log.read_text()[-3000:]}")


@contextmanager
def started(model: Path, log: Path) -> Iterator[Server]:
    """vLLM's server with a model, until the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What `vllm serve` starts; that command itself looks for a distribution of the name vllm, which
    # the one for CPUs is not.
    command: list[str | Path] = [VLLM, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", model, "--served-model-name", "bench"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "2048"]
    # In the engine's own process: another one for the worker, which vLLM has on CPUs, has both of
    # them spin while they wait for each other, on the two cores that there are.
    command += ["--distributed-executor-backend", "uni"]
    environment = os.environ | {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
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
        ) as process,
    ):
        try:
            yield Server(f"http://127.0.0.1:{port}", process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def forget(root: str) -> None:
    """Empty the server's prefix cache, so that nobody profits from what was asked before."""
    request = urllib.request.Request(f"{root}/reset_prefix_cache", method="POST")
    urllib.request.urlopen(request, timeout=30).close()


def ours_served(setting: Setting, root: str) -> tuple[Held, list[list[Any]]]:
    """Hold the conversations as games with an ``openai:`` player; also what was sent, by talk."""
    # clemcore sends no seed either, and on a CPU vLLM 0.32 crashes over one with sampled requests.
    player: Any = make_player(f"openai:bench?base_url={root}/v1&seed=false&{setting.options}")
    player.seat(Talk(), "speaker")
    talks: dict[Any, list[Any]] = {}
    post = player._endpoint.post

    def noted(path: str, payload: Any, *rest: Any, **options: Any) -> Any:
        talks.setdefault(asyncio.current_task(), []).append(payload)
        return post(path, payload, *rest, **options)

    player._endpoint.post = noted
    talk_instances = our_instances(setting)
    with on_server(root) as count:
        episodes = play(Talk(), player, talk_instances)
    asyncio.run(player.close())
    return count(texts(episodes)), list(talks.values())


def bare_served(root: str, talks: Sequence[Sequence[Any]]) -> Held:
    """Send the same requests, each as soon as the one before it in its talk is answered."""
    bodies = [[json.dumps(payload).encode() for payload in talk] for talk in talks]

    async def send() -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"Content-Type": "application/json"}
        ) as session:

            async def hold(talk: list[bytes]) -> None:
                for body in talk:
                    async with session.post(f"{root}/v1/chat/completions", data=body) as answer:
                        answer.raise_for_status()
                        await answer.read()

            await asyncio.gather(*map(hold, bodies))

    with on_server(root) as count:
        asyncio.run(send())
    return count([])


@contextmanager
def on_server(root: str) -> Iterator[Callable[[list[list[str]]], Held]]:
    """Measure the block; what is given makes the measurement of the replies afterwards."""
    forget(root)
    before = generated(f"{root}/metrics")
    gc.collect()  # as on the other side
    wall, cpu = time.perf_counter(), time.process_time()
    ended: list[float] = []

    def count(talks: list[list[str]]) -> Held:
        cpu_seconds, wall_seconds = ended
        sampled = generated(f"{root}/metrics") - before
        return Held(cpu_seconds, wall_seconds, sampled, 0, 0, talks)

    yield count
    ended += [time.process_time() - cpu, time.perf_counter() - wall]


# --- comparing -----------------------------------------------------------------------------------


class Rates(NamedTuple):
    """Tokens per second of CPU time and of wall time, those of the middle round.

    Attributes:
        cpu: of the process that plays.
        wall: as a clock has it.
        length: mean tokens of a reply, over all rounds.
    """

    cpu: float
    wall: float
    length: float


def rates(runs: Sequence[Held], setting: Setting) -> Rates:
    """The rates of one side.

    Raises:
        SystemExit: it has not played what it should have.
    """
    replies = setting.conversations * setting.turns
    for run in runs:
        lengths = [len(talk) for talk in run.talks]
        complete = lengths == [setting.turns] * setting.conversations
        if not complete or (not setting.ends and run.sampled != replies * setting.new_tokens):
            raise SystemExit(
                f"{setting}: {sum(lengths)} of {replies} replies, {run.sampled} tokens"
            )
    return Rates(
        statistics.median(run.sampled / run.cpu_seconds for run in runs),
        statistics.median(run.sampled / run.wall_seconds for run in runs),
        statistics.mean(run.sampled for run in runs) / replies,
    )


def agreeing(one: Held, other: Held) -> str:
    """How many replies are the same on both sides."""
    said = list(zip(chain.from_iterable(one.talks), chain.from_iterable(other.talks), strict=True))
    return f"{100 * sum(a == b for a, b in said) / len(said):.0f} %"


class Tables:
    """The three comparisons, as tables for people and as figures."""

    def __init__(self) -> None:
        compared = ("talks", "tokens a reply", "clemcore's", "Playpen", "clemcore")
        self.against = right(
            "replies", *compared, "ratio", "of replies", "wall ratio", "ids read", "clemcore's "
        )
        self.alone = right(
            "replies", "same", "passes", "in games", "alone", "% of CPU", "% of wall"
        )
        self.server = right(
            "replies", *compared, "ratio", "of replies", "% of bare", "CPU of ours", "clemcore's "
        )
        self.figures: dict[str, dict[str, float]] = {}

    def note(self, name: str, ratios: dict[str, float]) -> list[str]:
        """Keep figures; what a table shows of them."""
        self.figures[name] = {key: round(ratio, 3) for key, ratio in ratios.items()}
        return [f"{ratio:.2f}" for ratio in ratios.values()]

    def compare(
        self,
        player: str,
        setting: Setting,
        fast: Rates,
        slow: Rates,
        clock: Literal["cpu", "wall"],
        further: dict[str, float],
    ) -> list[str]:
        """What a comparison with clemcore shows first: what was held, rates and ratios."""
        ours, other = getattr(fast, clock), getattr(slow, clock)
        replies = ours / fast.length / (other / slow.length)
        ratios = {clock: ours / other, "replies": replies, **further}
        return [
            str(setting),
            str(setting.conversations),
            f"{fast.length:.1f}",
            f"{slow.length:.1f}",
            f"{ours:,.1f}",
            f"{other:,.1f}",
            *self.note(f"{player}, {setting}", ratios),
        ]

    def print(self) -> None:
        """Print what there is."""
        console = Console(width=160)
        for table, title in (
            (self.against, "hf: against clemcore, tokens per CPU second (target: 3x)"),
            (self.alone, "hf: against its engine alone, tokens per CPU second (target: 90 %)"),
            (self.server, "openai: against clemcore, one vLLM server, tokens/s (target: 8x)"),
        ):
            if table.row_count:
                console.print(f"\n{title}", highlight=False)
                console.print(table)
        print(json.dumps(self.figures))


def measure_hf(setting: Setting, folder: Path, tables: Tables) -> None:
    """Measure a model in this process and add a row to two tables."""
    mine, other, engine = [], [], []
    with theirs(setting, folder / f"clemcore, {setting}") as hold:
        for number in range(setting.rounds):
            held, talks = ours(setting)
            mine.append(held)
            bare, same = raw(setting, talks)
            engine.append(replace(bare, talks=held.talks))
            other.append(hold())
            show(f"{setting}, round {number + 1}", ours=held, engine=bare, clemcore=other[-1])
    fast, slow, bare_rates = (rates(runs, setting) for runs in (mine, other, engine))
    tables.against.add_row(
        *tables.compare("hf", setting, fast, slow, "cpu", {"wall": fast.wall / slow.wall}),
        f"{mine[-1].read:,}",
        f"{other[-1].read:,}",
    )
    shares = {
        "cpu": 100 * fast.cpu / bare_rates.cpu,
        "wall": 100 * fast.wall / bare_rates.wall,
    }
    tables.alone.add_row(
        str(setting),
        f"{same} of {sum(map(len, talks))}",
        f"{mine[-1].passes} / {engine[-1].passes}",
        f"{fast.cpu:,.1f}",
        f"{bare_rates.cpu:,.1f}",
        *tables.note(f"engine alone, {setting}", shares),
    )
    if not setting.ends:
        show_line(f"{setting}: {agreeing(mine[-1], other[-1])} of the replies as clemcore's")


def measure_servers(settings: Sequence[Setting], folder: Path, tables: Tables) -> None:
    """Measure both sides, each model on a server of its own; add rows to the table."""
    for model, alike in groupby(settings, key=lambda setting: setting.model):
        with started(model, folder / f"server-{model.name}.log") as server:
            server.wait()
            for setting in alike:
                measure_server(setting, server.root, folder, tables)


def measure_server(setting: Setting, root: str, folder: Path, tables: Tables) -> None:
    """Measure both sides with a server and add a row to the table."""
    mine, other, bare = [], [], []
    with theirs(setting, folder / f"clemcore, server, {setting}", root) as hold:
        ours_served(setting._replace(turns=1), root)  # what comes first is slower
        for number in range(setting.rounds):
            held, talks = ours_served(setting, root)
            mine.append(held)
            bare.append(replace(bare_served(root, talks), talks=held.talks))
            forget(root)
            other.append(hold())
            title = f"{setting}, server, round {number + 1}"
            show(title, ours=held, bare=bare[-1], clemcore=other[-1])
    fast, slow, most = (rates(runs, setting) for runs in (mine, other, bare))
    of_bare = {"of bare": 100 * fast.wall / most.wall}
    tables.server.add_row(
        *tables.compare("openai", setting, fast, slow, "wall", of_bare),
        f"{statistics.median(run.cpu_seconds for run in mine):.2f} s",
        f"{statistics.median(run.cpu_seconds for run in other):.2f} s",
    )


def show(title: str, **runs: Held) -> None:
    """One line about a round, as it ends."""
    figures = ", ".join(
        f"{name} {held.sampled} tokens, {held.cpu_seconds:.1f} s of CPU, {held.wall_seconds:.1f} s"
        for name, held in runs.items()
    )
    show_line(f"{title}: {figures}")


def show_line(line: str) -> None:
    """A line that does not belong to the tables."""
    Console(stderr=True, soft_wrap=True).print(line, highlight=False)


def right(first: str, *columns: str) -> Any:
    table = PlainTable(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def main(wanted: list[str]) -> None:
    """Run everything and print the tables."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tables = Tables()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small, large = tiny(folder), smollm(folder) if set(wanted) - {"tiny"} else []
        settings = [*small * ("tiny" in wanted), *large * ("smollm" in wanted)]
        if "games" in wanted:
            settings += [
                one._replace(conversations=talks, rounds=1, turns=7, game=game)
                for one, talks in ((small[0], 32), (small[1], 32), (large[1], 8))
                for game in GAMES
            ]
        if "queue" in wanted:
            settings += [
                small[0]._replace(conversations=64, rows=8),
                large[0]._replace(conversations=20, rows=8),
            ]
        for setting in settings:
            measure_hf(setting, folder, tables)
        if "server" in wanted and VLLM.exists():
            flying = [
                one._replace(conversations=DEFAULT_CONCURRENCY, rounds=rounds)
                for one, rounds in ((small[0], 5), (small[1], 5), (large[1], 1))
            ]
            flying[2:2] = [
                small[1]._replace(conversations=DEFAULT_CONCURRENCY, turns=7, game=g) for g in GAMES
            ]
            measure_servers(flying, folder, tables)
        elif "server" in wanted:
            show_line(f"Skipped: the vLLM server. There is no {VLLM}; run: make test-vllm")
    tables.print()
    show_line(f"{time.perf_counter() - begin:.0f} seconds")


if __name__ == "__main__":
    main(sys.argv[1:] or ["tiny", "smollm", "server", "games", "queue"])
