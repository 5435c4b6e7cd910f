"""A node's words, bounded before anybody reads them: frames, values, and what nobody asked for.

websockets bounds a message's bytes alone. A node may cut it into any number of empty fragments,
send pings or small messages without end, or pack a gigabyte of lists into a few megabytes of JSON.
And its `recv`, cancelled between two fragments, raises an AssertionError (15.0.1), which no
deadline turns into its own error.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

#: Longest answer of a node, bytes: nodes themselves send 15 MiB at most, where their operator has
#: not changed that. Metadata take 2 MB, a full block 10 MB in hex, a page of commitments 1 MB.
MESSAGE_BYTES = 16 * 1024 * 1024
#: Most frames since the last question, pings among them: a gateway that cuts a full block into
#: pieces of 4 KiB sends 2,500.
FRAMES = 16_384
#: Most values in one answer, as counted by commas and brackets: a page of a thousand keys takes
#: 5,000, a full block one an extrinsic.
VALUES = 131_072
#: Most updates that are kept for whoever may be about to subscribe, and characters in one. An
#: extrinsic has six updates or so, of a hash each.
EARLY, UPDATE_CHARS = 32, 65_536
#: What is parsed at once, bytes: a frame takes two at least.
_SLICE = 16_384


class BoundedSocket(ClientConnection):
    """A websocket that hears `FRAMES` since the last question, and ends at one more."""

    _heard = 0

    async def send(self, message: Any, text: bool | None = None) -> None:
        """As websockets does."""
        if self._heard <= FRAMES:
            self._heard = 0
        await super().send(message, text)

    async def recv(self, decode: bool | None = None) -> str:  # type: ignore[override]
        """The next message. Cancelled between two fragments the websocket can only be closed.

        Raises:
            ValueError: no UTF-8, or more than `VALUES` values.
            ConnectionError, WebSocketException: there will be none.
        """
        stream = cast("AsyncGenerator[bytes, None]", self.recv_streaming(decode=False))
        try:
            async with contextlib.aclosing(stream):
                data = b"".join([piece async for piece in stream])
        except ConnectionClosed:
            if self._heard > FRAMES:
                raise ConnectionError("it sends frames without end") from None
            raise
        if sum(map(data.count, (b",", b"[", b"{"))) > VALUES:
            raise ValueError("it answers with more values than any answer has")
        return data.decode()

    def data_received(self, data: bytes) -> None:
        """Parses no more once there were too many frames."""
        for start in range(0, len(data), _SLICE):
            if self._heard <= FRAMES:
                super().data_received(data[start : start + _SLICE])

    def process_event(self, event: Any) -> None:
        """Counts frames."""
        self._heard += 1
        if self._heard <= FRAMES:
            super().process_event(event)
        else:
            self.transport.abort()


def bound_updates(session: Any) -> Any:
    """The dispatch of an SDK's session, which else keeps all updates that nobody has subscribed to.

    Raises:
        ConnectionError: from the dispatch, which ends the session: there are too many, or one is
            too long.
    """
    dispatch: Callable[[Any], None] = session._dispatch

    def hear(message: Any) -> None:
        is_update = isinstance(message, dict) and message.get("id") is None
        if is_update and len(str(message)) > UPDATE_CHARS:
            raise ConnectionError("it sends an update longer than any")
        dispatch(message)
        if sum(len(early.items) for early in session._early.values()) > EARLY:
            raise ConnectionError("it sends updates that nobody has asked for")

    return hear
