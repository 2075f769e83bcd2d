"""The viewer: serves the runs below a directory to a browser on this machine.

It only reads, and only what it found to be a run or a training: no part of an address is ever a
path.  A request must name this machine by its address or as localhost, so that no web page can
reach the viewer by a name of its own (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from playpen.errors import PlaypenError
from playpen.report.figures import curve_figures
from playpen.report.live import Library, LiveRun, LiveTraining
from playpen.report.page import asset, embedded_json, environment
from playpen.report.sources import encodable

AT_ONCE = 2000
"""Rows of the list that one answer holds."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; connect-src 'self'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_DRAWING = threading.Lock()
"""matplotlib's settings are those of the process."""
_HTML, _JSON = "text/html; charset=utf-8", "application/json"
_ASSETS = {
    "/app.js": "text/javascript; charset=utf-8",
    "/style.css": "text/css; charset=utf-8",
}


class NotThereError(Exception):
    """What a request asks for does not exist; the message says what."""


class Viewer(ThreadingHTTPServer):
    """The server.  `address` is what to type into a browser."""

    daemon_threads = True

    def __init__(self, folder: Path, host: str, port: int) -> None:
        """Listen at an address.

        Args:
            folder: where runs are looked for.
            host: name or address to listen at.
            port: 0 for any that is free.

        Raises:
            OSError: that is not possible.
        """
        self.library = Library(folder)
        self.host = host
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        """The address as a browser takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/"

    @property
    def private(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def knows(self, host: str) -> bool:
        """Whether a request for this host is meant for this server."""
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", self.host.lower()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes the connection is not reported."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Viewer
    server_version = "playpen"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    def do_GET(self) -> None:
        """Answer a request."""
        try:
            known = self.server.knows(self.headers.get("Host", ""))
        except ValueError:
            known = False
        if not known:
            self._refuse(HTTPStatus.FORBIDDEN, "This viewer does not serve that host.")
            return
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, errors="replace")
        try:
            if parts.path in _ASSETS:
                self._send(asset(parts.path[1:]).encode(), _ASSETS[parts.path])
                return
            answer = _ROUTES.get(parts.path)
            if answer is None:
                raise NotThereError("There is no such page.")
            answer(self, query)
        except NotThereError as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except IndexError:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such episode.")
        except (PlaypenError, OSError, ValueError) as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"This cannot be read: {error}")

    # --- pages -------------------------------------------------------------------------------

    def index(self, query: dict[str, list[str]]) -> None:
        """All runs and trainings; the page asks for them itself."""
        self._page("index.html", folder=str(self.server.library.folder))

    def chosen_runs(self, query: dict[str, list[str]]) -> None:
        """Some runs: progress, episodes, transcripts."""
        runs = [self._run(name) for name in dict.fromkeys(query.get("r", []))]
        if not runs:
            raise NotThereError("Choose at least one run.")
        settings = {"live": True, "runs": [{"id": run.id, "name": run.name} for run in runs]}
        self._page("runs.html", runs=runs, settings=embedded_json(settings))

    def training(self, query: dict[str, list[str]]) -> None:
        """The learning curves of a training."""
        live = self._training(query)
        summary = live.summary()
        with _DRAWING:
            figures = curve_figures(summary, 0)
        self._page(
            "training.html",
            styles=" 'unsafe-inline'",  # matplotlib writes styles into its elements
            training=summary,
            figures=figures,
            going_on=live.going_on(),
        )

    # --- data --------------------------------------------------------------------------------

    def listing(self, query: dict[str, list[str]]) -> None:
        """The state of all runs and trainings."""
        library = self.server.library
        library.scan()
        runs = []
        for run in library.runs.values():
            run.refresh()
            players = sorted(run.config.players) if run.config else []
            runs.append({
                "id": run.id,
                "name": run.name,
                "players": players,
                "games": list(run.games()),
                "total": run.total(),
                "idle": time.time() - run.written if run.written else None,
                "problem": run.problem,
            })  # fmt: skip
        trainings = [_list_entry(training) for training in library.trainings.values()]
        self._json({"runs": runs, "trainings": trainings})

    def rows(self, query: dict[str, list[str]]) -> None:
        """Rows of a run from a number on, and its progress."""
        run = self._run(_first(query, "run"))
        begin = _number(query, "from")
        run.refresh()
        self._json({
            "generation": run.generation,
            "rows": run.rows[begin : begin + AT_ONCE],
            "total": len(run.rows),
            "progress": run.total(),
            "games": run.games(),
            "problem": run.problem,
        })  # fmt: skip

    def episode(self, query: dict[str, list[str]]) -> None:
        """A transcript."""
        self._json(self._run(_first(query, "run")).transcript(_number(query, "number")))

    def search(self, query: dict[str, list[str]]) -> None:
        """Numbers of the episodes that hold a text."""
        run = self._run(_first(query, "run"))
        self._json({"numbers": run.search(_first(query, "text"))})

    # --- helpers -----------------------------------------------------------------------------

    def _run(self, name: str) -> LiveRun:
        library = self.server.library
        if name not in library.runs:
            library.scan()
        try:
            return library.runs[name]
        except KeyError:
            raise NotThereError("There is no such run.") from None

    def _training(self, query: dict[str, list[str]]) -> LiveTraining:
        library = self.server.library
        name = _first(query, "t")
        if name not in library.trainings:
            library.scan()
        try:
            return library.trainings[name]
        except KeyError:
            raise NotThereError("There is no such training.") from None

    def _page(self, template: str, *, styles: str = "", **values: Any) -> None:
        page = environment().get_template(template).render(**values)
        self._send(page.encode("utf-8", "replace"), _HTML, styles=styles)

    def _json(self, value: object) -> None:
        self._send(msgspec.json.encode(value), _JSON)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(message.encode("utf-8", "replace"), "text/plain; charset=utf-8", status)

    def _send(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, *, styles: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY.format(styles=styles))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


_ROUTES: dict[str, Callable[[_Handler, dict[str, list[str]]], None]] = {
    "/": _Handler.index,
    "/runs": _Handler.chosen_runs,
    "/training": _Handler.training,
    "/api/runs": _Handler.listing,
    "/api/rows": _Handler.rows,
    "/api/episode": _Handler.episode,
    "/api/search": _Handler.search,
}
_LISTED_METRICS = ("loss", "reward", "success", "eval/success", "eval/score")


def _list_entry(training: LiveTraining) -> dict[str, Any]:
    """A training in the list: how far it is, and the last of its main numbers."""
    told: dict[str, Any] = {"id": training.id, "name": training.name, "problem": ""}
    try:
        summary = training.summary()
    except PlaypenError as error:
        return {**told, "problem": encodable(error)}
    curves = summary.curves
    last = {name: curves[name][-1][1] for name in _LISTED_METRICS if curves.get(name)}
    return {**told, "trainer": summary.trainer, "steps": summary.steps, "last": last}


def _first(query: dict[str, list[str]], name: str) -> str:
    return query.get(name, [""])[0]


def _number(query: dict[str, list[str]], name: str) -> int:
    text = _first(query, name)
    if not text.isdecimal() or len(text) > 12:
        raise NotThereError(f"{name} must be a number.")
    return int(text)
