"""A node's newest final block: read, and checked against the clock and earlier final blocks.

A header must have its hash. A node must not be ahead of what a chain can reach by the clock, nor
contradict itself or an earlier run. No finality proof is requested: a node that lies within these
bounds is trusted, so an operator should run its own node.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from assay.network.chain.errors import StillError, UnfitError, WrongChainError
from assay.network.text import name_host

logger = logging.getLogger("assay.chain")

#: Method, parameters → a node's answer.
Ask = Callable[[str, list[Any]], Awaitable[Any]]

#: Substrate numbers blocks in 32 bits.
MOST_BLOCKS = 2**32 - 1
#: A node that is this many blocks behind the newest finalized head is left.
LAG_BLOCKS = 10
#: A head counts as still after this many blocks' time, and after at least this many seconds.
STILL_BLOCKS, LEAST_STILL_S = 10, 30.0
#: A final block's time is never later than this after the machine's clock: twice the error of a
#: clock without summer time. With a larger limit, a lying node could claim as much more.
AHEAD_MS = 2 * 3_600_000
#: No chain that is read here is older: 2020.
_FIRST_MS = 1_577_836_800_000
#: Finalized hashes that are kept.
_MARKS = 256
#: The key of a block's time in state: Timestamp.Now, twox128 of either name.
_NOW = "0xf0c365c3cf59d671eb72da0e7a4113c49f1f0515f462cdcf84e0f1d6045dfcbb"


@dataclass(frozen=True, slots=True)
class BlockHead:
    """A block that a node claims as its newest final one. `hash` has 32 bytes. `at_ms` is its
    timestamp, Unix milliseconds; 0 in block 0, which has none."""

    number: int
    hash: bytes
    at_ms: int


class FinalizedHeads:
    """The known finalized heads of all nodes of one chain. No I/O and no clock: times are the
    caller's.

    Attributes:
        newest: number of the newest, -1 before the first.
        last: the newest head; None before the first.
        still_s: a node whose head has not moved for this long is left.
        slot_ms: the chain's time between two blocks; None as long as it is not known.
    """

    def __init__(self, still_s: float) -> None:
        self.newest = -1
        self.last: BlockHead | None = None
        self.still_s = still_s
        self.slot_ms: int | None = None
        self._base = (0, _FIRST_MS)
        self._based = False
        self._grown_at = float("-inf")
        self._patient_since = float("-inf")
        self._said = False
        self._lagging: dict[str, int] = {}
        self._marks: OrderedDict[int, bytes] = OrderedDict()

    def keep(self, number: int, hash_: bytes, at_ms: int) -> None:
        """Note a final block that an earlier run has read."""
        self._base, self._based = (number, at_ms), True
        self._marks[number] = hash_

    def begin(self, now: float) -> None:
        """Note that another node is in use from now on."""
        self._patient_since = now

    def find_excess(self, head: BlockHead, wall_ms: int) -> str | None:
        """The evidence that a chain cannot have come so far by the machine's clock (Unix
        milliseconds), or None: it has at most one block a slot, counted from a known one."""
        ahead_ms = head.at_ms - wall_ms
        if ahead_ms > AHEAD_MS:
            return (
                f"calls block {head.number} final, whose time is {ahead_ms / 3.6e6:.1f} h ahead of "
                "this machine's clock: the node lies, or the clock is slow"
            )
        slot_ms, (base, base_ms) = self.slot_ms or 1, self._base
        most = base + (max(0, head.at_ms - base_ms) + AHEAD_MS) // slot_ms
        if head.number > most:
            return (
                f"calls block {head.number} final: with a block every {slot_ms / 1e3:g} s the "
                f"chain can have reached block {most} at most since block {base}"
            )
        return None

    def hear(
        self, node: str, head: BlockHead, now: float, wall_ms: int, *, has_choice: bool
    ) -> None:
        """Check and note the head that the current node has named.

        Args:
            node: its URL.
            wall_ms: the machine's clock, Unix milliseconds.
            has_choice: whether there is another node. A single node is accepted as it is.

        Raises:
            UnfitError: another node should be asked; `StillError` if its head does not move, or is
                older than the clock allows.
            WrongChainError: it contradicts earlier final blocks.
        """
        number = head.number
        if self._marks.get(number, head.hash) != head.hash:
            raise WrongChainError(
                f"{name_host(node)} has another final block {number} than one seen before: one of "
                "two nodes follows a fork or lies, or the chain was started anew"
            )
        if number < self.newest - LAG_BLOCKS and has_choice:
            self._lagging[node] = number
            raise UnfitError(f"is only at block {number}, and block {self.newest} was final before")
        self._lagging.clear()
        self._marks[number] = head.hash
        while len(self._marks) > _MARKS:
            self._marks.popitem(last=False)
        if not self._based and head.at_ms:
            self._base, self._based = (number, head.at_ms), True
        late_ms = wall_ms - head.at_ms
        is_late = late_ms > self.still_s * 1_000 + LAG_BLOCKS * (self.slot_ms or 0)
        if number > self.newest:
            self.newest, self._grown_at, self._said, self.last = number, now, False, head
            if not (is_late and has_choice):
                self._patient_since = now
        if now - self._patient_since <= self.still_s:
            return
        self._patient_since = now
        if self._grown_at > now - self.still_s:
            raise StillError(f"is {late_ms / 1e3:.0f} s behind this machine's clock")
        if not self._said:
            logger.warning(
                "%s: block %d has been the newest final one for %.0f s; looking elsewhere",
                name_host(node),
                number,
                now - self._grown_at,
                extra={"event": "head_still"},
            )
        self._said = True
        raise StillError(f"has stopped at block {number}")

    def settle_for_less(self, now: float) -> None:
        """Accept lower heads after every node was asked: if all that answer lag, one made a false
        claim."""
        if not self._lagging:
            return
        number = max(self._lagging.values())
        logger.warning(
            "no node that answers has reached block %d: continuing from block %d",
            self.newest,
            number,
            extra={"event": "nodes_lag"},
        )
        self.newest, self._grown_at, self._patient_since = number, now, now
        self._lagging.clear()
        for mark in [mark for mark in self._marks if mark > number]:
            del self._marks[mark]
        self.last = None


async def read_head(ask: Ask, last: BlockHead | None = None) -> BlockHead:
    """A node's newest final block. If that is `last`, no further request is made. Passes on
    `NONSENSE`."""
    hash_ = _read_hash(await ask("chain_getFinalizedHead", []))
    if last is not None and hash_ == last.hash:
        return last
    text = "0x" + hash_.hex()
    header = await ask("chain_getHeader", [text])
    if hash_header(header) != hash_:
        raise ValueError("the header of its newest final block does not match its hash")
    now = await ask("state_getStorage", [_NOW, text])
    return BlockHead(int(header["number"], 16), hash_, 0 if now is None else _read_time(now))


def hash_header(header: Any) -> bytes:
    """BLAKE2b-256 of a header in the nodes' format, which is the block's hash. `NONSENSE`: it is
    not a header."""
    number, logs = int(header["number"], 16), header["digest"]["logs"]
    if not 0 <= number <= MOST_BLOCKS:
        raise ValueError(f"no chain has a block {number}")
    parent, state, body = (
        _read_hash(header[name]) for name in ("parentHash", "stateRoot", "extrinsicsRoot")
    )
    items = b"".join(_read_bytes(log) for log in logs)
    data = parent + encode_compact(number) + state + body + encode_compact(len(logs)) + items
    return blake2b(data, digest_size=32).digest()


def encode_compact(value: int) -> bytes:
    """SCALE's compact unsigned integer. Source: parity-scale-codec, "Compact/general integers"."""
    for mode, bits in enumerate((6, 14, 30)):
        if value < 1 << bits:
            return (value << 2 | mode).to_bytes(1 << mode, "little")
    body = value.to_bytes((value.bit_length() + 7) // 8, "little")
    return bytes([len(body) - 4 << 2 | 3]) + body


def _read_time(text: Any) -> int:
    """Unix milliseconds, at most 64 bits: longer values would break later arithmetic."""
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
