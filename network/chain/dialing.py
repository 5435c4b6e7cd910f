"""Websockets to nodes: how they are opened, how much they may say, and how they end.

The SDK's own would follow a redirect, inflate what a node has compressed and take answers of four
gigabytes; and when its websocket breaks it opens another one to whatever answers at the address,
which nobody has asked which chain it is of. It has no settings for any of it, hence its private
names.
"""

import asyncio
import json
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as _Connect
from websockets.exceptions import WebSocketException

if TYPE_CHECKING:
    from bittensor import RpcSubstrate
    from bittensor._transport.interface import SubstrateConnection

logger = logging.getLogger("assay.chain")

#: Longest answer of a node, bytes: metadata take 2 MB, a full block 10 MB in hex.
MESSAGE_BYTES = 64 * 1024 * 1024
#: Substrate numbers blocks in 32 bits.
MOST_BLOCKS = 2**32 - 1
#: Longest wait for a websocket's handshake, and for its end.
HANDSHAKE_S, CLOSE_S = 10.0, 15.0
#: Longest answer to a question outside the SDK, bytes, and the wait for all of them.
_PEEK_BYTES, _PEEK_S = 1024 * 1024, 10.0
#: What `peek` raises of a node that does not answer, or not to the question.
PEEK_ERRORS = (OSError, WebSocketException, TimeoutError, ValueError)


class _NoRedirect(_Connect):
    """A redirect is an answer like any other that is no websocket."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(url: str, most: int = MESSAGE_BYTES) -> ClientConnection:
    """A websocket to a node.

    Raises:
        OSError, WebSocketException: there is none.
    """
    return await _NoRedirect(url, max_size=most, compression=None, open_timeout=HANDSHAKE_S)


async def open_substrate(
    endpoint: str, archives: tuple[str, ...], answer_s: float
) -> "RpcSubstrate":
    """The SDK's view of one node, connected.

    Args:
        answer_s: longest wait for the first, small answer; the runtime may take longer.

    Raises:
        BittensorError, OSError, TimeoutError: the node cannot be reached.
    """
    from bittensor import RpcSubstrate

    class Strict(RpcSubstrate):
        """Whose websockets, the archives' too, are opened here."""

        def _interface(self, endpoint: str, fallbacks: list[str]) -> "SubstrateConnection":
            interface = super()._interface(endpoint, fallbacks)
            interface._session._connect = partial(_dial_living, answer_s=answer_s)
            return interface

    # the SDK's own fallback nodes would not be asked which chain they are of
    substrate = Strict(endpoint, fallback_endpoints=[], archive_endpoints=list(archives))
    usable = False
    try:
        await substrate.connect()
        _forbid_redialling(substrate)
        usable = True
    finally:
        if not usable:
            await close(substrate)
    return substrate


async def _dial_living(url: str, answer_s: float) -> ClientConnection:
    """A websocket to a node that answers: half-open ones take connections and say nothing."""
    socket = await dial(url)
    try:
        async with asyncio.timeout(answer_s):
            await _ask(socket, "chain_getBlockHash", [0])
    except BaseException:
        socket.transport.abort()
        raise
    return socket


def _forbid_redialling(substrate: "RpcSubstrate") -> None:
    """Has the SDK give up on a websocket that broke instead of opening another one."""

    async def refuse(_: str) -> Any:
        raise ConnectionError("the connection was lost")

    session = substrate.raw._session
    session._connect = refuse

    def hear(task: "asyncio.Task[Any]") -> None:
        """Whoever waits for an answer hears that none comes, also where the SDK's own task has
        stumbled over what the node sent; and asyncio has no word to say about it."""
        error = None if task.cancelled() else task.exception()
        if session._fatal_error is None and not session._closing:
            session._give_up(ConnectionError(f"the connection was lost: {error or 'it ended'}"))

    if session._supervisor is not None:
        session._supervisor.add_done_callback(hear)


def is_cut(substrate: "RpcSubstrate") -> bool:
    """Whether the SDK has given up on the websocket: whatever it raised, the node said nothing."""
    return substrate._substrate is None or substrate.raw._session._fatal_error is not None


async def close(substrate: "RpcSubstrate") -> None:
    """Closes it; a half-open websocket takes long."""
    from bittensor._transport.errors import SubstrateRequestException

    try:
        async with asyncio.timeout(CLOSE_S):
            await substrate.close()
    except (SubstrateRequestException, WebSocketException, OSError, TimeoutError) as error:
        logger.debug("closing a connection: %s", error, extra={"event": "connection_closed"})


@dataclass(frozen=True, slots=True)
class Peek:
    """What a node says of itself, unchecked.

    Attributes:
        genesis: hash of block 0, 32 bytes.
        finalized: number of its newest finalized block.
        asked: number of the block that was asked for.
        known: its hash, 32 bytes; None: it has not come so far.
    """

    genesis: bytes
    finalized: int
    asked: int
    known: bytes | None


async def peek(url: str, number: int) -> Peek:
    """Asks a node how far it has come, and for one block's hash; without the SDK, which would
    fetch the runtime first.

    Raises:
        OSError, WebSocketException, TimeoutError, ValueError: it does not answer, or nonsense.
    """
    async with asyncio.timeout(_PEEK_S):
        socket = await dial(url, _PEEK_BYTES)
        try:
            head = _read_hash(await _ask(socket, "chain_getFinalizedHead", []))
            header = await _ask(socket, "chain_getHeader", ["0x" + (head or b"").hex()])
            genesis = _read_hash(await _ask(socket, "chain_getBlockHash", [0]))
            known = _read_hash(await _ask(socket, "chain_getBlockHash", [number]))
            await socket.close()
        except BaseException:
            socket.transport.abort()  # a farewell may take longer than the question
            raise
    if not isinstance(header, dict) or genesis is None:
        raise ValueError("it has no head or no block 0")
    finalized = int(str(header.get("number")), 16)
    if not 0 <= finalized <= MOST_BLOCKS:
        raise ValueError(f"no chain has a block {finalized}")
    return Peek(genesis, finalized, number, known)


async def _ask(socket: ClientConnection, method: str, params: list[Any]) -> Any:
    request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    await socket.send(json.dumps(request))
    answer = json.loads(await socket.recv())
    if not isinstance(answer, dict) or answer.get("id") != method or "result" not in answer:
        raise ValueError(f"it does not answer {method}")
    return answer["result"]


def _read_hash(text: Any) -> bytes | None:
    if text is None:
        return None
    value = bytes.fromhex(str(text).removeprefix("0x"))
    if len(value) != 32:
        raise ValueError("a block's hash has 32 bytes")
    return value
