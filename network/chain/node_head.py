"""What a node says of itself: which chain, how far it has come, and one block's hash.

A header must be the one that its hash is of. Nothing shows that the chain has it: no finality
proof is asked for.
"""

from asyncio import timeout
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from websockets.exceptions import WebSocketException

from assay.network.chain.sdk_private import ask, dial

#: Method, parameters → a node's answer.
Ask = Callable[[str, list[Any]], Awaitable[Any]]

#: Substrate numbers blocks in 32 bits.
MOST_BLOCKS = 2**32 - 1
#: What `peek` raises of a node that does not answer, or not to the question.
PEEK_ERRORS = (OSError, WebSocketException, TimeoutError, ValueError, LookupError, TypeError)
#: Longest answer to it, bytes, and the wait for all of them.
_PEEK_BYTES, _PEEK_S = 1024 * 1024, 10.0
#: Where state has a block's time: Timestamp.Now, twox128 of either name.
_NOW = "0xf0c365c3cf59d671eb72da0e7a4113c49f1f0515f462cdcf84e0f1d6045dfcbb"


@dataclass(frozen=True, slots=True)
class Head:
    """A block that a node calls its newest final one.

    Attributes:
        hash: 32 bytes.
        at_ms: its timestamp, Unix milliseconds; 0 in block 0, which has none.
    """

    number: int
    hash: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class Peek:
    """What a node says of itself, unchecked.

    Attributes:
        genesis: hash of block 0, 32 bytes.
        head: its newest final block.
        asked: number of the block that was asked for.
        known: its hash, 32 bytes; None: the head is below it.
    """

    genesis: bytes
    head: Head
    asked: int
    known: bytes | None


async def peek(url: str, number: int) -> Peek:
    """Asks a node how far it has come, and for one block's hash; without the SDK, which would
    fetch the runtime first.

    Raises:
        `PEEK_ERRORS`: it does not answer, or nonsense.
    """
    async with timeout(_PEEK_S):
        socket = await dial(url, _PEEK_BYTES)
        try:
            head = await read_head(lambda method, params: ask(socket, method, params))
            genesis = _read_hash(await ask(socket, "chain_getBlockHash", [0]))
            known = None
            if head.number >= number:
                known = _read_hash(await ask(socket, "chain_getBlockHash", [number]))
            await socket.close()
        except BaseException:
            socket.transport.abort()  # a farewell may take longer than the question
            raise
    return Peek(genesis, head, number, known)


async def read_head(ask: Ask, last: Head | None = None) -> Head:
    """A node's newest final block.

    Args:
        last: what is known already: nothing more is asked about it.

    Raises:
        ValueError, LookupError, TypeError: it answers nonsense.
    """
    hash_ = _read_hash(await ask("chain_getFinalizedHead", []))
    if last is not None and hash_ == last.hash:
        return last
    text = "0x" + hash_.hex()
    header = await ask("chain_getHeader", [text])
    if hash_header(header) != hash_:
        raise ValueError("its newest final block is not the one that its hash is of")
    now = await ask("state_getStorage", [_NOW, text])
    return Head(int(header["number"], 16), hash_, 0 if now is None else _read_time(now))


def hash_header(header: Any) -> bytes:
    """BLAKE2b-256 of a header as nodes hand it out: the block's hash.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
    number, logs = int(header["number"], 16), header["digest"]["logs"]
    if not 0 <= number <= MOST_BLOCKS:
        raise ValueError(f"no chain has a block {number}")
    parent, state, body = (
        _read_hash(header[name]) for name in ("parentHash", "stateRoot", "extrinsicsRoot")
    )
    items = b"".join(_read_bytes(log) for log in logs)
    data = parent + _encode_compact(number) + state + body + _encode_compact(len(logs)) + items
    return blake2b(data, digest_size=32).digest()


def _encode_compact(value: int) -> bytes:
    """SCALE's compact integers, of 32 bits at most."""
    for mode, bits in enumerate((6, 14, 30)):
        if value < 1 << bits:
            return (value << 2 | mode).to_bytes(1 << mode, "little")
    return b"\x03" + value.to_bytes(4, "little")


def _read_time(text: Any) -> int:
    """Unix milliseconds, of 64 bits: longer ones would break whoever reckons with them."""
    value = _read_bytes(text)
    if len(value) != 8:
        raise ValueError("a block's time has 8 bytes")
    return int.from_bytes(value, "little")


def _read_bytes(text: Any) -> bytes:
    return bytes.fromhex(str(text).removeprefix("0x"))


def _read_hash(text: Any) -> bytes:
    value = _read_bytes(text)
    if len(value) != 32:
        raise ValueError("a block's hash has 32 bytes")
    return value
