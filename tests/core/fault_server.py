"""A small OpenAI-compatible server that fails in every way a server can, decided by a seed.

It runs on an event loop in a thread of its own and is made of the standard library only.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Self

from playpen.conversation import Conversation

Payload = dict[str, Any]

EVERY_FAULT = (
    "429", "429 with Retry-After", "500", "503", "reset", "reset late", "slow", "malformed",
    "truncated", "no choices", "wrong types",
)  # fmt: skip


class Canned(NamedTuple):
    """An answer as it is: status, body, further headers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Request(NamedTuple):
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    payload: Payload


def completion(content: Any, prompt_tokens: int = 0, finish: str = "stop", **message: Any) -> bytes:
    """The body of a good answer to a chat."""
    tokens = len(content.split()) if isinstance(content, str) else 0
    return json.dumps(
        {
            "choices": [{"message": {"content": content, **message}, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens},
        }
    ).encode()


def words(payload: Payload) -> int:
    """What the server counts as the tokens of a prompt."""
    return sum(len(message["content"].split()) for message in payload["messages"])


class FaultServer:
    """Answers chats with a function, and fails a share of the requests.

    Whether a request fails, and how, depends on the seed, its body and how often this body came:
    not on the order in which requests arrive.

    Attributes:
        requests: what was sent, except for the list of models.
        faults: how often each fault was made.
        broken: requests that always fail, with status 500.
        scripted: answers or faults for the next requests, whatever they are.
        most_in_flight: requests that were answered at the same time.
    """

    def __init__(
        self,
        answer: Callable[[Payload], str | Canned] = lambda payload: "hello",
        *,
        share: float = 0.0,
        kinds: tuple[str, ...] = EVERY_FAULT,
        seed: int = 0,
        delay: float = 0.0,
    ) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.faults: Counter[str] = Counter()
        self.broken: Callable[[Payload], bool] = lambda payload: False
        self.scripted: deque[str | Canned] = deque()
        self.models = Canned(200, b'{"data": []}')
        self.most_in_flight = 0
        self._share, self._kinds, self._seed, self._delay = share, kinds, seed, delay
        self._seen: Counter[bytes] = Counter()
        self._noise = random.Random(seed)
        self._in_flight = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def spec(self, model: str = "m", **options: object) -> str:
        """A spec string for this server, with back-offs too short to notice."""
        settings = {"base_url": self.url, "retry_delay": 0.001, **options}
        query = "&".join(f"{name}={value}" for name, value in settings.items())
        return f"openai:{model}?{query}"

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        handlers: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._converse(reader, writer))
            handlers.add(task)
            task.add_done_callback(handlers.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=2048)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                pairs = (line.partition(":") for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if path.endswith("/models"):
                    await self._send(writer, self.models)
                    continue
                self._in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self._in_flight)
                try:
                    payload = json.loads(body)
                    self.requests.append(Request(method, path, headers, payload))
                    await asyncio.sleep(self._delay)
                    await self._respond(writer, body, payload)
                finally:
                    self._in_flight -= 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _respond(self, writer: asyncio.StreamWriter, body: bytes, payload: Payload) -> None:
        if self.scripted:
            step = self.scripted.popleft()
        elif self.broken(payload):
            step = Canned(500, b'{"error": {"message": "broken for good"}}')
        else:
            step = self._fault(body) or self.answer(payload)
            if isinstance(step, str) and step not in EVERY_FAULT:
                step = Canned(200, completion(step, words(payload)))
        if isinstance(step, Canned):
            await self._send(writer, step)
            return
        self.faults[step] += 1
        # No two bad answers are the same: one that comes twice is not asked for again.
        note = "".join(self._noise.choices("abcdefghij", k=20))
        good = completion(f"{note} never to be believed", 1)
        match step:
            case "429":
                await self._send(writer, Canned(429, b'{"error": {"message": "slow down"}}'))
            case "429 with Retry-After":
                await self._send(writer, Canned(429, b"busy", {"Retry-After": "0.002"}))
            case "500" | "503":
                await self._send(writer, Canned(int(step), b"<html>oops</html>"))
            case "reset":
                writer.transport.abort()
            case "reset late":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + good[:20])
                await writer.drain()
                writer.transport.abort()
            case "slow":
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(good)}\r\n\r\n".encode())
                for number in range(len(good)):
                    await asyncio.sleep(3600 if number == len(good) - 1 else 0)
                    writer.write(good[number : number + 1])
                    await writer.drain()
            case "malformed":
                await self._send(writer, Canned(200, good[:-9]))
            case "truncated":
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(good) + 9}\r\n\r\n".encode())
                writer.write(good)
                await writer.drain()
                writer.close()
            case "no choices":
                await self._send(writer, Canned(200, b'{"choices": [], "x": "%s"}' % note.encode()))
            case "wrong types":
                body = b'{"choices": [{"message": {"content": 5}}], "x": "%s"}' % note.encode()
                await self._send(writer, Canned(200, body))
            case _:
                raise AssertionError(step)

    def _fault(self, body: bytes) -> str | None:
        chance = random.Random(f"{self._seed}|{self._seen[body]}|{body!r}")
        self._seen[body] += 1
        return chance.choice(self._kinds) if chance.random() < self._share else None

    async def _send(self, writer: asyncio.StreamWriter, answer: Canned) -> None:
        lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {len(answer.body)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
        await writer.drain()


# --- a program that plays taboo, behind the server and without it --------------------------------


def talk(chat: list[dict[str, str]], seed: int) -> str:
    """A move in taboo that depends on everything the player was told; often against the rules."""
    chance = random.Random(f"{seed} {json.dumps(chat)}")
    if chance.random() < 0.4:
        return "I would rather not"
    tag = "GUESS:" if "GUESS: <" in chat[0]["content"] else "CLUE:"
    return f"{tag} {chance.choice(['sun', 'river', 'a kind of stone', 'tall'])}"


def talking(payload: Payload) -> str:
    """`talk` behind the server."""
    return talk(payload["messages"], payload["seed"])


def talker(conversation: Conversation) -> str:
    """`talk` as a program."""
    return talk(conversation.chat(), conversation.seed & 0x7FFFFFFF)
