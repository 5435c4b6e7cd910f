"""The addresses of pages: each shows one view, as HTML, JSON or CSV; and server-sent events, which
tell every open page of changes.

An event is only a number: the page then loads itself again. Streams are limited in number and time;
a browser opens the next one by itself.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from assay.explorer.api_page import describe_api_page
from assay.explorer.csv_tables import pick_rows, write_csv
from assay.explorer.documents.shared import ErrorDocument
from assay.explorer.index import NUMBER_MAX, Index, IndexDamagedError, SlowQueryError
from assay.explorer.indexing import Indexer
from assay.explorer.menu import Menu
from assay.explorer.openapi import ROOT, describe_api, make_api_path
from assay.explorer.page_addresses import PAGES, PageAddress
from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.pages import STATIC, STATIC_FOLDERS, Pages, make_mark
from assay.explorer.ports import PageSources, ShownRecord
from assay.explorer.preparation import Preparation
from assay.explorer.rollout_index import RolloutIndex
from assay.explorer.rollout_indexing import RolloutIndexer
from assay.explorer.views.common import ROWS_MAX, Query
from assay.explorer.views.rollout_list import FILTERS, TEXT_LIMIT
from assay.network.web.guard import RATE, Guard, get_network

#: Pages made at once; each thread has a connection to the index.
_THREADS = 8
#: Digits of the largest number that the index holds.
_DIGITS_MAX = len(str(NUMBER_MAX))

#: Names under which pages are served by default.
HOSTS = ("127.0.0.1", "localhost", "::1")

#: Streams at once, in all and of one client; seconds that one lasts, and between its heartbeats.
STREAMS, STREAMS_PER_CLIENT = 64, 8
_LASTS_S, _BEAT_S = 300.0, 15.0
#: Seconds between two events of one stream, at least.
_PAUSE_S = 1.0
#: Seconds that a page in a browser waits for what has to be read first. Then it shows how far that
#: is.
_PAGE_WAITS_S = 0.8
#: Newest rows that a page shows of a table that it does not part: CSV and JSON have all.
_ROWS_SHOWN = 120
#: Reason for a refused stream. A script can read it only from HEAD, not from a stream.
_FULL = "too many pages are open"
#: Rules for caches: of a page behind a proxy, which the next block changes, and of a file whose
#: address has its digest.
_FRESH, _FOREVER = "public, max-age=5", "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Access:
    """The limit of a visitor's requests, and whether caches may store the answers.

    Attributes:
        rate: requests a second.
        is_public: whether the pages are behind a proxy, whose cache saves work.
    """

    rate: float = RATE
    is_public: bool = False


class StaticPages(StaticFiles):
    """Files that browsers may cache for ever under an address with their digest."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)
        self.all_directories = list(STATIC_FOLDERS)

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if (
            answer.status_code in (200, 304)
            and scope["query_string"] == f"v={make_mark(path)}".encode()
        ):
            answer.headers["cache-control"] = _FOREVER
        return answer


class Explorer:
    def __init__(self, reader: PageReader) -> None:
        self._reader = reader
        self._pages = Pages()
        self._menu = Menu(reader)

    def answer(self, page: PageAddress, request: Request) -> Response:
        """One page, its JSON, or a table of it; runs in a thread of its own."""
        try:
            asked = dict(request.query_params.items())
            is_page = find_format(request) == "html"
            query = Query(asked, _PAGE_WAITS_S) if is_page else Query(asked)
            document = page.view(self._reader, query, **_parse_path(request))
            table = query.get("table")
            if table or find_format(request) == "csv":
                return _write_table(page, document, table, request)
        except NotFoundError as error:
            return self._write_error(404, str(error), request)
        except SlowQueryError:
            return self._write_error(503, "it takes too long just now", request)
        except IndexDamagedError:
            why = "the index is being made anew: ask again in a moment"
            return self._write_error(503, why, request)
        target = document.get("redirect")
        if target is not None and find_format(request) == "html":
            return RedirectResponse(target, 303, {"vary": "accept"})
        return self._write(document, 200, page.template, request)

    def show_api(self, request: Request) -> Response:
        """The page of the API, or its description for a client that asks for JSON."""
        if find_format(request) == "json":
            return RedirectResponse(f"{ROOT}/openapi.json", 303, {"vary": "accept"})
        return self._write(describe_api_page(self._reader), 200, "api.html", request)

    def refuse(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        why = "there is no page under this address" if status == 404 else "that did not work"
        return self._write_error(status, why, request)

    def _write_error(self, status: int, why: str, request: Request) -> Response:
        title = "Not found" if status == 404 else "Not now"
        document = ErrorDocument(title=title, error=why, command=None)
        return self._write(document, status, "error.html", request)

    def _write(
        self, document: Mapping[str, Any], status: int, template: str, request: Request
    ) -> Response:
        headers, kind = {"vary": "accept"}, find_format(request)
        if kind == "csv":  # only refusals reach this
            return Response(f"{document['error']}\n", status, headers, "text/plain; charset=utf-8")
        if kind == "json":
            data = json.dumps(document, indent=1).encode()
            return Response(data, status, headers, "application/json")
        page = self._pages.render(template, document, self._describe_state(request))
        return Response(page, status, headers, "text/html; charset=utf-8")

    def _describe_state(self, request: Request) -> dict[str, Any]:
        reader, progress = self._reader, self._reader.indexer.progress
        live = reader.sources.read_live()
        # with two slashes at its start, the link would lead to another host
        path = "/" + request.url.path.strip("/")
        query = request.url.query
        stem = "/index" if path == "/" else path
        return {
            "path": path,
            "stem": stem,
            "places": self._menu.describe(path),
            "json_path": f"{ROOT}/openapi.json"
            if path == "/api"
            else make_api_path(path) + (f"?{query}" if query else ""),
            "asked": {
                name: text[:TEXT_LIMIT]
                for name in ("sort", "checkpoint", *FILTERS)
                if (text := request.query_params.get(name))
            },
            "rows_max": ROWS_MAX,
            "rows_shown": _ROWS_SHOWN,
            "validator": reader.address,
            "netuid": reader.subject.identity.netuid,
            "place": reader.subject.place,
            "progress": progress,
            "since_ms": None if live is None else live.since_ms,
        }


def find_format(request: Request) -> str:
    """The format that the address or the Accept header asks for: html, json or csv."""
    for kind in ("json", "csv"):
        if request.url.path.endswith(f".{kind}"):
            return kind
    if request.url.path.startswith(f"{ROOT}/"):
        return "json"
    accepted = request.headers.get("accept", "")
    return "json" if "application/json" in accepted and "text/html" not in accepted else "html"


async def serve_description(request: Request) -> Response:
    """The API's OpenAPI document."""
    return revalidate(Response(_write_description(), media_type="application/json"), request)


def revalidate(answer: Response, request: Request) -> Response:
    """The answer with its digest as ETag; 304 without a body for a client that has it already."""
    if answer.status_code != 200:
        return answer
    mark = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    answer.headers["etag"] = mark
    known = request.headers.get("if-none-match", "")
    if mark not in (one.strip().removeprefix("W/") for one in known.split(",")):
        return answer
    headers = {n: v for n, v in answer.headers.items() if n in ("etag", "vary", "link")}
    return Response(status_code=304, headers=headers)


@cache
def _write_description() -> bytes:
    return json.dumps(describe_api(), indent=1).encode()


def _write_table(
    page: PageAddress, document: Mapping[str, Any], table: str, request: Request
) -> Response:
    """One table of a page. Of one in pages, the Link header leads to the next."""
    name = table or next(iter(page.tables), "")
    if name not in page.tables:
        known = ", ".join(page.tables) or "it has none"
        raise NotFoundError(f"this page has no table {name!r}: {known}")
    rows = pick_rows(document, page.tables[name])
    headers, paging = {"vary": "accept"}, document.get("paging")
    if paging is not None and paging["page"] < paging["pages"]:
        following = request.url.include_query_params(page=paging["page"] + 1)
        headers["link"] = f'<{following.path}?{following.query}>; rel="next"'
    if find_format(request) == "json":
        return Response(json.dumps(rows, indent=1).encode(), 200, headers, "application/json")
    stem = request.url.path.strip("/").removesuffix(".csv").replace("/", "-")
    headers["content-disposition"] = f'attachment; filename="{quote(stem)}-{name}.csv"'
    return Response(write_csv(rows), 200, headers, "text/csv; charset=utf-8")


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
        await anext(
            body
        )  # it counts from now on, so that simultaneous requests cannot pass the limit
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
    subject: ShownRecord,
    index: Index,
    sources: PageSources,
    hosts: Sequence[str] = HOSTS,
    access: Access = Access(),
) -> tuple[ASGIApp, Events, Indexer, RolloutIndexer | None]:
    """The pages as an ASGI application, their events, and the indexers of the record and of
    rollouts, if there are any: the caller starts and stops them. hosts: see `Guard`.

    Raises:
        IndexDamagedError, OSError: the index of rollouts cannot be created.
    """
    events = Events()
    indexer = Indexer(subject, index, events.notify)
    reader, rollouts = PageReader(subject, index, indexer, sources), None
    indexer.prepare = Preparation(reader).run
    if sources.rollouts is not None:
        name = f"{index.path.stem}-rollouts{index.path.suffix}"
        reader.rollouts = RolloutIndex(index.path.with_name(name), *index.of)
        rollouts = RolloutIndexer(reader, reader.rollouts, sources.rollouts, events.notify)
    explorer = Explorer(reader)
    # a rollout may take seconds, and must not delay other pages
    quick, slow = CapacityLimiter(_THREADS), CapacityLimiter(_THREADS // 2)

    def make_route(path: str, page: PageAddress) -> list[Route]:
        limiter = slow if page.waits else quick

        async def endpoint(request: Request) -> Response:
            answer = await run_sync(explorer.answer, page, request, limiter=limiter)
            return revalidate(answer, request)

        stem, api = "/index" if path == "/" else path, make_api_path(path)
        # endings before the page's own: `{hotkey}` would take one for a part of the hotkey
        others = (f"{stem}.json", f"{stem}.csv", f"{api}.csv", api, path)
        return [Route(other, endpoint) for other in others]

    async def refuse(request: Request, error: Exception) -> Response:
        return await run_sync(explorer.refuse, request, error, limiter=quick)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        events.bind()
        yield
        events.close()

    async def show_api(request: Request) -> Response:
        return await run_sync(explorer.show_api, request, limiter=quick)

    routes: list[Route | Mount] = [
        Route("/events", events.serve),
        Route("/api", show_api),
        Route(ROOT, show_api),
        Route(f"{ROOT}/openapi.json", serve_description),
    ]
    for path, page in PAGES.items():
        routes += make_route(path, page)
    routes.append(Mount("/static", StaticPages()))
    app = Starlette(routes=routes, exception_handlers={404: refuse, 500: refuse}, lifespan=lifespan)
    app.router.redirect_slashes = False  # it would name a host: behind a server of others, ours
    fresh = _FRESH if access.is_public else "no-cache"
    return Guard(app, hosts, rate=access.rate, fresh=fresh), events, indexer, rollouts
