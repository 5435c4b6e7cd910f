"""Websockets to nodes, with limits on their frames, values, and answers for other keys.

websockets limits only a message's bytes. A node may cut it into any number of empty fragments, send
pings or small messages without end, or pack a gigabyte of lists into a few megabytes of JSON. In
addition, its `recv`, cancelled between two fragments, raises an AssertionError (15.0.1), which no
deadline turns into its own error.
"""

import contextlib
import json
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any, cast

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as _Connect
from websockets.exceptions import ConnectionClosed

#: Longest answer of a node, bytes. Nodes send at most 15 MiB by default. Metadata take 2 MB, a full
#: block 10 MB in hex, a page of commitments 1 MB.
MESSAGE_BYTES = 16 * 1024 * 1024
#: Most frames since the last request, pings included. A gateway that cuts a full block into pieces
#: of 4 KiB sends 2,500.
FRAMES = 16_384
#: Most values in one answer, counted by commas and brackets. A page of a thousand keys takes 5,000,
#: a full block one for each extrinsic.
VALUES = 131_072
#: Longest wait for a websocket's handshake.
HANDSHAKE_S = 10.0
#: Bytes that are parsed at once. A frame takes at least two.
_SLICE = 16_384


class BoundedSocket(ClientConnection):
    """A websocket that accepts `FRAMES` since the last request, and closes at one more."""

    _heard = 0

    async def send(self, message: Any, text: bool | None = None) -> None:
        """Send as websockets does, and start a new count."""
        if self._heard <= FRAMES:
            self._heard = 0
        await super().send(message, text)

    async def recv(self, decode: bool | None = None) -> str:  # type: ignore[override]
        """The next message. `ValueError`: not UTF-8, or more than `VALUES` values. After a
        cancellation between two fragments, the websocket can only be closed."""
        stream = cast("AsyncGenerator[bytes, None]", self.recv_streaming(decode=False))
        try:
            async with contextlib.aclosing(stream):
                data = b"".join([piece async for piece in stream])
        except ConnectionClosed:
            if self._heard > FRAMES:
                raise ConnectionError("it sends frames endlessly") from None
            raise
        if sum(map(data.count, (b",", b"[", b"{"))) > VALUES:
            raise ValueError(f"its answer has more than {VALUES} values")
        return data.decode()

    def data_received(self, data: bytes) -> None:
        """Parse nothing more once there were too many frames."""
        for start in range(0, len(data), _SLICE):
            if self._heard <= FRAMES:
                super().data_received(data[start : start + _SLICE])

    def process_event(self, event: Any) -> None:
        """Count frames."""
        self._heard += 1
        if self._heard <= FRAMES:
            super().process_event(event)
        else:
            self.transport.abort()


class _NoRedirect(_Connect):
    """A connection that treats a redirect like any other answer that is not a websocket."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(url: str, most: int = MESSAGE_BYTES) -> ClientConnection:
    """Open a websocket to a node. Proxies in the environment are not used: the settings alone name
    the host that a program connects to."""
    return await _NoRedirect(
        url,
        max_size=most,
        compression=None,
        open_timeout=HANDSHAKE_S,
        proxy=None,
        create_connection=BoundedSocket,
    )


async def ask(socket: ClientConnection, method: str, params: list[Any]) -> Any:
    """A node's answer, without the SDK. `ValueError`: the message is not one."""
    request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    await socket.send(json.dumps(request))
    text = await socket.recv()
    try:
        answer = json.loads(text)
    except RecursionError:
        raise ValueError(f"it nests its answer to {method} too deep") from None
    if not isinstance(answer, dict) or answer.get("id") != method or "result" not in answer:
        raise ValueError(f"it does not answer {method}")
    return answer["result"]


def check_answer(method: str, params: list[Any], answer: Any) -> None:
    """Check that an answer is for the requested keys, which the SDK does not. `ValueError`: some
    are missing, come twice, or were not requested."""
    if method == "state_queryStorageAt":
        asked = sorted({key.lower() for key in params[0]})
        changes = [(group["block"], key) for group in answer or [] for key, _ in group["changes"]]
        if sorted(key.lower() for _, key in changes) != asked:
            raise ValueError(f"{len(asked)} keys were requested, and it answers with others")
        if len(params) > 1 and params[1] and {block for block, _ in changes} - {params[1]}:
            raise ValueError("it answers for another block")
    elif method == "state_getKeysPaged":
        prefix, count, start = (*params, None)[:3]
        keys = [key.lower() for key in answer or []]
        floor = (start or prefix).lower()
        ordered = all(before < key for before, key in pairwise([floor, *keys]))
        if len(keys) > count or not ordered or any(not k.startswith(prefix) for k in keys):
            raise ValueError(f"it lists keys twice, out of order, or not below {prefix}")
