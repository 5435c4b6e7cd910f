"""Server-sent events: one line to every open page whenever something has changed.

An event holds a number and nothing else: the page asks for itself again. Streams are bounded in
number and in time; a browser opens the next one by itself.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from assay.network.web.guard import get_network

#: Streams at once, in all and of one client; seconds that one lasts, and between signs of life.
STREAMS, STREAMS_PER_CLIENT = 64, 8
_LASTS_S, _BEAT_S = 300.0, 15.0
#: Seconds between two events of one stream, at least.
_PAUSE_S = 1.0
#: What pages say that get no stream; a script cannot read it of a stream, but of HEAD.
_FULL = "too many pages are open"


class Events:
    """Tells open pages that something has changed. `notify` may be called from any thread."""

    def __init__(self) -> None:
        self._version = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: asyncio.Event | None = None
        self._open: Counter[str] = Counter()
        self._closing = False

    def bind(self) -> None:
        """To be called in the event loop that serves."""
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()

    def notify(self) -> None:
        """Something has changed."""
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
        """The stream, or a refusal where there are too many."""
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
