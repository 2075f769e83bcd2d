"""A JSON server over HTTP: connections, requests, and a careful reading of the answers."""

from __future__ import annotations

import asyncio
import http.client
import random
import re
import threading
import urllib.error
import urllib.request
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import anyio
import msgspec

from playpen.player import PlayerError
from playpen.players.http.key_mask import KeyMask
from playpen.players.http.rate_limit import RateLimiter
from playpen.players.http.retry import (
    Fault,
    RetryPolicy,
    describe_attempts,
    is_temporary,
    requested_wait,
)

T = TypeVar("T")

DEFAULT_CONCURRENCY = 64
"""Requests in flight, unless a player of the server says otherwise."""
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer's body; a longer one is not read."""
_CONNECTING = 30.0
_KEEPING = 4.0
"""Seconds for which a connection is kept unused: a little less than servers do, vLLM's among them,
so that none is closed while a request is on its way."""
_CHECKING = 5.0
_LONGEST_QUOTE = 300
_LONGEST_READ = 30_000
"""Characters of what is quoted that are looked through for the key: enough that what is left of
them after masking is longer than a quote."""
_SPACE = re.compile(r"\s+")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_NUMBERED = re.compile(r"[\w-]*\d[\w-]*")
"""Times and the names of requests, by which two answers differ that say the same."""


class Malformed(Exception):
    """An answer is not what was asked for; asking again may help.

    Attributes:
        passing: the same answer may come twice, and another one after it.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class Refused(PlayerError):
    """The server refused a request for good.

    Attributes:
        status: the HTTP status; 200 where the body of a good answer twice held an error.
        reason: what the server said, and after it the codes that it has for it.
    """

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class _Session(NamedTuple):
    """What belongs to one event loop."""

    client: aiohttp.ClientSession
    slots: anyio.CapacityLimiter
    turn: asyncio.Lock
    keeper: AsyncGenerator[None, None]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: another server must not get the key."""

    def redirect_request(self, *_: Any) -> None:
        """Not followed: the answer is the status."""


class Endpoint:
    """A server and the key it is asked with.  All players that use both share one.

    Connections are kept open until the event loop ends that they were made in.
    """

    def __init__(self, url: str, key: str | None) -> None:
        """Prepare; nothing is sent.

        Args:
            url: where all paths begin, without a slash at the end.
            key: sent as a bearer token; it appears in no message.
        """
        self.url = url
        self._key = key
        self._key_mask = KeyMask(key)
        self._concurrency: int | None = None
        self._requests = RateLimiter()
        self._tokens = RateLimiter()
        self._sessions: dict[asyncio.AbstractEventLoop, _Session] = {}
        self._rng = random.Random()
        self._checked = False

    def limit(
        self,
        *,
        concurrency: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        """Set limits; where several players set one, the smallest counts."""
        self._concurrency = _smaller(self._concurrency, concurrency)
        self._requests.per_minute = _smaller(self._requests.per_minute, requests_per_minute)
        self._tokens.per_minute = _smaller(self._tokens.per_minute, tokens_per_minute)

    def check(self, asker: str, remedy: str) -> None:
        """Ask once whether the server is there and takes the key, before anything is played.

        Args:
            asker: whom a message begins with.
            remedy: what to do about a key that is not taken.

        Raises:
            PlayerError: nothing answers, or the key is not taken.
        """
        if self._checked:
            return
        # The time-out of urllib is that of each single read: a server that sends one byte at a
        # time could hold us for ever.
        found: list[int | urllib.error.URLError] = []
        asking = threading.Thread(target=lambda: found.append(self._models_status()), daemon=True)
        asking.start()
        asking.join(_CHECKING)
        status = found[0] if found else 0
        if isinstance(status, urllib.error.URLError):
            raise PlayerError(
                f"{asker}: no connection to {self.url}: {self._clean(status.reason)}. "
                "Is the server running, and is base_url right?"
            )
        if status == 401:
            raise PlayerError(f"{asker}: {self.url} does not let us in (HTTP 401): {remedy}")
        self._checked = True

    def _models_status(self) -> int | urllib.error.URLError:
        """The status of the list of models, 0 if none came, or why there is no connection."""
        address = f"{self.url}/models"  # with a scheme that the player has checked
        request = urllib.request.Request(address, headers=self._headers())  # noqa: S310
        try:
            with urllib.request.build_opener(_NoRedirects).open(
                request, timeout=_CHECKING
            ) as response:
                status: int = response.status
                return status
        except urllib.error.HTTPError as answer:
            answer.close()
            return answer.code
        except urllib.error.URLError as error:
            return 0 if isinstance(error.reason, TimeoutError) else error
        except (http.client.HTTPException, OSError):
            return 0  # it may be busy: requests are tried again

    async def post(
        self,
        path: str,
        payload: Any,
        read: Callable[[bytes], tuple[T, int | None]],
        policy: RetryPolicy,
        *,
        asker: str,
        tokens: int = 0,
    ) -> T:
        """Send a request until it is answered, or until the same malformed answer came twice.

        Args:
            path: appended to the endpoint's URL.
            payload: sent as JSON.
            read: turns the answer's body into the result and the tokens used, if it tells;
                it raises `Malformed` where the body is not what was asked for.
            policy: time-out and retries.
            asker: whom a message for people begins with.
            tokens: how many tokens the request may use, counted against the limit beforehand.

        Raises:
            Refused: the server will not answer this, and says why.
            PlayerError: all attempts failed; says how, and how often.
        """
        session = await self._session()
        address = self.url + path
        body = msgspec.json.encode(payload)
        faults: Counter[str] = Counter()
        malformed: set[str] = set()
        while True:
            try:
                async with session.slots:
                    await self._requests.take(1, session.turn)
                    await self._tokens.take(tokens, session.turn)
                    content = await self._attempt(session, address, body, policy.timeout, asker)
                try:
                    result, used = read(content)
                except Malformed as error:
                    told = _NUMBERED.sub("", str(error))
                    repeated = told in malformed and not error.passing
                    malformed.add(told)
                    said = _error_in(content)
                    raise Fault(
                        "malformed answer",
                        self._clean(error),
                        final=repeated,
                        reason=None if said is None else self._reason(said),
                    ) from None
            except Fault as fault:
                faults[fault.kind] += 1
                wait = policy.wait_after(fault, faults.total(), self._rng)
                if wait is None:
                    message = (
                        f"{asker}: {address} gave no answer in {describe_attempts(faults, fault)}"
                    )
                    if fault.reason is not None:
                        raise Refused(message, 200, fault.reason) from None
                    raise PlayerError(message) from None
                await asyncio.sleep(wait)
            else:
                if used is not None:
                    self._tokens.give_back(tokens - used)
                return result

    async def _attempt(
        self, session: _Session, address: str, body: bytes, timeout: float, asker: str
    ) -> bytes:
        """The body of a good answer."""
        try:
            async with (
                asyncio.timeout(timeout),
                session.client.post(address, data=body, allow_redirects=False) as response,
            ):
                content = await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Fault("no connection", self._clean(error)) from None
        except TimeoutError:
            raise Fault("time-out", f"after {timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Fault("disconnect", self._clean(error)) from None
        status = response.status
        if 200 <= status < 300:
            return content
        said = _error_of(content)
        phrase = response.reason or http.client.responses.get(status, "")
        reason = self._clean(said.message or phrase)
        if is_temporary(status, said.codes):
            raise Fault(f"HTTP {status}", reason, requested_wait(response.headers))
        hint = " (is the model's name right, and does base_url end in /v1?)"
        message = f"{asker}: {address} refused with HTTP {status}: {reason}"
        raise Refused(
            message + (hint if status == 404 else ""),
            status,
            self._reason(said),
        )

    async def _session(self) -> _Session:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            concurrency = self._concurrency or DEFAULT_CONCURRENCY
            client = aiohttp.ClientSession(
                headers=self._headers(),
                # The slots limit their number.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPING),
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECTING),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                proxy=_proxy(self.url),
            )
            keeper = self._keep(loop, client)
            session = self._sessions[loop] = _Session(
                client, anyio.CapacityLimiter(concurrency), asyncio.Lock(), keeper
            )
            await anext(keeper)
        session.slots.total_tokens = self._concurrency or DEFAULT_CONCURRENCY
        return session

    async def _keep(
        self, loop: asyncio.AbstractEventLoop, client: aiohttp.ClientSession
    ) -> AsyncGenerator[None, None]:
        """Close the client when the loop ends, which closes all its asynchronous generators."""
        try:
            yield
        finally:
            del self._sessions[loop]
            await client.close()

    def without_key(self, text: str) -> str:
        """A text that a server sent, ready to be recorded: it may have repeated the key."""
        return self._key_mask.mask(text)

    def _headers(self) -> dict[str, str]:
        # Not compressed: a few bytes could unfold to more than memory holds.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers

    def _reason(self, said: _Said) -> str:
        """What an error says, and after it its codes."""
        return " ".join(map(self._clean, [said.message, *said.codes]))

    def _clean(self, said: object) -> str:
        """What somebody else said, in one short line, without the key."""
        text = str(said) or type(said).__name__
        text = self._key_mask.mask_all(_SPACE.sub(" ", text)[:_LONGEST_READ])
        text = " ".join(_ERRNO.sub("", text).split())
        return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "..."


_endpoints: weakref.WeakValueDictionary[tuple[str, str | None], Endpoint] = (
    weakref.WeakValueDictionary()
)
_endpoints_lock = threading.Lock()


def find_endpoint(url: str, key: str | None) -> Endpoint:
    """The endpoint of a URL and a key: the same one for all players of this process."""
    with _endpoints_lock:
        endpoint = _endpoints.get((url, key))
        if endpoint is None:
            endpoint = _endpoints[url, key] = Endpoint(url, key)
        return endpoint


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL.

    aiohttp would look for it at every request, and for a password that contradicts the key.
    """
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _smaller(one: float | None, other: float | None) -> Any:
    return min((limit for limit in (one, other) if limit is not None), default=None)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Fault("malformed answer", "it is compressed, which was not asked for")
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > LARGEST_ANSWER:
            raise Fault("malformed answer", f"it is longer than {LARGEST_ANSWER} bytes")
    return bytes(content)


class _Said(NamedTuple):
    message: str
    codes: tuple[Any, ...] = ()


def _error_of(content: bytes) -> _Said:
    """What the body of an error says: there are several forms of it, and none is certain."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _Said(content.decode("utf-8", "replace"))
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or error
        return _Said(str(message), (error.get("code"), error.get("type")))
    return _Said(str(error))


def _error_in(content: bytes) -> _Said | None:
    """The error that is the body of an answer with status 200, if it is one."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return _error_of(content) if isinstance(body, dict) and body.get("error") else None
