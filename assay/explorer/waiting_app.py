"""The page that is served while there is no record yet. It says what the explorer waits for.

The explorer's own pages replace it under the same address, and a waiting browser reloads by itself.
"""

import asyncio
import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from assay.explorer.documents.shared import ErrorDocument
from assay.explorer.pages import Pages
from assay.network.web.guard import RATE, Guard

#: Seconds after which a browser asks again.
_AGAIN_S = 2
_STATIC = {"/static/style.css": "text/css", "/static/icon.svg": "image/svg+xml"}
#: What the explorer may wait for, in words for strangers: only its operator may know the places.
AWAITED = {
    "opening": "the record is being looked for",
    "localnet": "no localnet has been started here yet: `assay localnet` in another terminal",
    "validator": "nobody validates on the localnet yet: `assay validate` in another terminal",
    "record": "no record is there yet: it is published once its first settlement's weights are "
    "open",
}


class WaitingApp:
    """An ASGI application that passes requests on to the pages once they exist. awaited: a key of
    `AWAITED`."""

    def __init__(self, hosts: tuple[str, ...], rate: float = RATE) -> None:
        self.awaited = "opening"
        self._pages = Pages()
        self._guard = Guard(self._explain, hosts, rate=rate)
        self._app: ASGIApp | None = None
        self._ready: tuple[ASGIApp, Callable[[], None], Callable[[], None]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def install(self, app: ASGIApp, begin: Callable[[], None], end: Callable[[], None]) -> None:
        """Serve these pages from now on; may be called from any thread. begin, end: called in the
        event loop, before the first request and when serving ends."""
        self._ready = app, begin, end
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        if self._ready is not None and self._app is None:
            app, begin, _ = self._ready
            begin()
            self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await (self._app or self._guard)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await receive()
        self._take()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._ready is not None and self._app is not None:
            self._ready[2]()
        await send({"type": "lifespan.shutdown.complete"})

    async def _explain(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(Request(scope))(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        headers = {"retry-after": str(_AGAIN_S), "vary": "accept"}
        accepted = request.headers.get("accept", "")
        path, why = request.url.path, AWAITED[self.awaited]
        if kind := _STATIC.get(path):
            return Response(self._pages.read_static(path.rpartition("/")[2]), media_type=kind)
        if path.endswith(".json") or ("json" in accepted and "html" not in accepted):
            document = ErrorDocument(title="Not yet", error=why, awaited=self.awaited, command=None)
            return Response(json.dumps(document).encode(), 503, headers, "application/json")
        page = self._pages.render("waiting.html", {"awaited": why, "again": _AGAIN_S}, {})
        return Response(page, 503, headers, "text/html; charset=utf-8")
