"""Addresses, and what answers them: one view each, as a page or as JSON; and one line to every open
page whenever something has changed (server-sent events).

An event holds a number and nothing else: the page asks for itself again. Streams are bounded in
number and in time; a browser opens the next one by itself.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from assay.explorer.index import NUMBER_MAX, Index, IndexDamagedError
from assay.explorer.indexing import Indexer
from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.pages import Pages
from assay.explorer.ports import PageSources, ShownRecord
from assay.explorer.views.attacks import view_gauntlet
from assay.explorer.views.common import Query, View
from assay.explorer.views.course import view_training
from assay.explorer.views.ledger_entries import view_ledger
from assay.explorer.views.miners import view_miner, view_miners
from assay.explorer.views.overview import view_overview
from assay.explorer.views.rollouts import view_rollout
from assay.explorer.views.settlements import view_settlement, view_weights
from assay.explorer.views.windows import view_member, view_window, view_windows
from assay.network.web.guard import Guard, get_network

_STATIC = Path(__file__).with_name("static")
#: Pages made at once; each thread has a connection to the index.
_THREADS = 8
#: Digits of the largest number that the index holds.
_DIGITS_MAX = len(str(NUMBER_MAX))

#: Names by which the page may be asked for where nobody says others.
HOSTS = ("127.0.0.1", "localhost", "::1")

#: Streams at once, in all and of one client; seconds that one lasts, and between signs of life.
STREAMS, STREAMS_PER_CLIENT = 64, 8
_LASTS_S, _BEAT_S = 300.0, 15.0
#: Seconds between two events of one stream, at least.
_PAUSE_S = 1.0
#: What pages say that get no stream; a script cannot read it of a stream, but of HEAD.
_FULL = "too many pages are open"

MakeView = Callable[..., View]
#: Path → its view and its template. What stands in braces is a number, or `hotkey`.
PAGES: dict[str, tuple[MakeView, str]] = {
    "/": (view_overview, "overview.html"),
    "/miners": (view_miners, "miners.html"),
    "/miner/{hotkey}": (view_miner, "miner.html"),
    "/windows": (view_windows, "windows.html"),
    "/window/{window}": (view_window, "window.html"),
    "/window/{window}/{hotkey}": (view_member, "member.html"),
    "/window/{window}/{hotkey}/{group}/{rollout}": (view_rollout, "rollout.html"),
    "/weights": (view_weights, "weights.html"),
    "/settlement/{epoch}": (view_settlement, "settlement.html"),
    "/ledger": (view_ledger, "ledger.html"),
    "/training": (view_training, "training.html"),
    "/gauntlet": (view_gauntlet, "gauntlet.html"),
}


class Explorer:
    def __init__(self, reader: PageReader) -> None:
        self._reader = reader
        self._pages = Pages()

    def answer(self, template: str, view: MakeView, request: Request) -> Response:
        """One page or its JSON; runs in a thread of its own."""
        try:
            query = Query(dict(request.query_params.items()))
            document = view(self._reader, query, **_parse_path(request))
        except NotFoundError as error:
            return self._write_error(404, str(error), request)
        except IndexDamagedError:
            why = "the index is being made anew: ask again in a moment"
            return self._write_error(503, why, request)
        return self._write(document, 200, template, request)

    def refuse(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        why = "there is no page under this address" if status == 404 else "that did not work"
        return self._write_error(status, why, request)

    def _write_error(self, status: int, why: str, request: Request) -> Response:
        title = "Not found" if status == 404 else "Not now"
        document = {"title": title, "error": why, "command": None}
        return self._write(document, status, "error.html", request)

    def _write(self, document: View, status: int, template: str, request: Request) -> Response:
        headers = {"vary": "accept"}
        if is_json(request):
            data = json.dumps(document, indent=1).encode()
            return Response(data, status, headers, "application/json")
        page = self._pages.render(template, document, self._describe_state(request))
        return Response(page, status, headers, "text/html; charset=utf-8")

    def _describe_state(self, request: Request) -> dict[str, Any]:
        reader, progress = self._reader, self._reader.indexer.progress
        live = reader.sources.read_live()
        # one slash at its head: two would make the link one to another host
        path = "/" + request.url.path.strip("/")
        query = request.url.query
        json_path = ("/index" if path == "/" else path) + ".json" + (f"?{query}" if query else "")
        return {
            "path": path,
            "json_path": json_path,
            "validator": reader.address,
            "netuid": reader.subject.identity.netuid,
            "place": reader.subject.place,
            "progress": progress,
            "since_ms": None if live is None else live.since_ms,
        }


def is_json(request: Request) -> bool:
    """Whether the address or the Accept header asks for JSON."""
    accepted = request.headers.get("accept", "")
    return request.url.path.endswith(".json") or (
        "application/json" in accepted and "text/html" not in accepted
    )


def _parse_path(request: Request) -> dict[str, Any]:
    return {
        name: text[:64] if name == "hotkey" else _parse_number(name, text)
        for name, text in request.path_params.items()
    }


def _parse_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or (text[0] == "0" and text != "0"):
        raise NotFoundError(
            f"in this address {name} is a whole number: digits alone, without sign and without "
            "zeros before it"
        )
    if len(text) > _DIGITS_MAX or int(text) >= NUMBER_MAX:
        raise NotFoundError(f"there is no such {name}: all are below {NUMBER_MAX:,}")
    return int(text)


class Events:
    def __init__(self) -> None:
        self._version = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._open: Counter[str] = Counter()
        self._closing = False

    def bind(self) -> None:
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()

    def notify(self) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(self._advance)
        except RuntimeError:  # it was closed just now: nobody listens any more
            return

    def close(self) -> None:
        """Ends all streams: a server that stops waits for none of them."""
        self._closing = True
        self.notify()

    def _advance(self) -> None:
        self._version += 1
        assert self._changed is not None  # bound with the loop
        self._changed.set()
        self._changed = asyncio.Event()

    async def serve(self, request: Request) -> Response:
        client = get_network(request.client.host if request.client else "")
        if self._open.total() >= STREAMS or self._open[client] >= STREAMS_PER_CLIENT:
            headers = {"retry-after": "60", "x-reason": _FULL}
            return PlainTextResponse(f"{_FULL}\n", 503, headers)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        body = self._stream(client)
        await anext(body)  # it counts from here on: of many that ask at once, none slips through
        return StreamingResponse(
            body,
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _stream(self, client: str) -> AsyncIterator[bytes]:
        self._open[client] += 1
        try:
            ends = time.monotonic() + _LASTS_S
            seen = self._version
            yield b""
            yield b"retry: 3000\n\n"
            while time.monotonic() < ends and not self._closing:
                assert self._changed is not None  # bound before anything is served
                if seen == self._version:
                    try:
                        await asyncio.wait_for(self._changed.wait(), _BEAT_S)
                    except TimeoutError:
                        yield b": alive\n\n"
                        continue
                seen = self._version
                yield f"event: changed\ndata: {seen}\n\n".encode()
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


def make_app(
    subject: ShownRecord, index: Index, sources: PageSources, hosts: Sequence[str] = HOSTS
) -> tuple[ASGIApp, Events, Indexer]:
    """The page as an ASGI application, what tells it of changes, and what reads the record. Whoever
    serves it starts and stops the indexer. hosts: see `Guard`."""
    events = Events()
    indexer = Indexer(subject, index, events.notify)
    explorer = Explorer(PageReader(subject, index, indexer, sources))
    # a rollout may be waited for: it holds up no other page
    quick, slow = CapacityLimiter(_THREADS), CapacityLimiter(_THREADS // 2)

    def make_route(path: str, view: MakeView, template: str) -> list[Route]:
        limiter = slow if view is view_rollout else quick

        async def endpoint(request: Request) -> Response:
            return await run_sync(explorer.answer, template, view, request, limiter=limiter)

        other = "/index.json" if path == "/" else path + ".json"
        # before the page's own: `{hotkey}` would take the ending for a part of the hotkey
        return [Route(other, endpoint), Route(path, endpoint)]

    async def refuse(request: Request, error: Exception) -> Response:
        return await run_sync(explorer.refuse, request, error, limiter=quick)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        events.bind()
        yield
        events.close()

    routes: list[Route | Mount] = [Route("/events", events.serve)]
    for path, (view, template) in PAGES.items():
        routes += make_route(path, view, template)
    routes.append(Mount("/static", StaticFiles(directory=_STATIC)))
    app = Starlette(routes=routes, exception_handlers={404: refuse, 500: refuse}, lifespan=lifespan)
    app.router.redirect_slashes = False  # it would name a host: behind a server of others, ours
    return Guard(app, hosts), events, indexer
