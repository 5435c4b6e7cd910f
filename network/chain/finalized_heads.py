"""What finalized heads tell of the nodes that name them: who lags, stands still, forks,
or is where no chain can be.

No I/O and no clock. What it does not know: which of two nodes that contradict each other is right.
"""

import logging
from collections import OrderedDict

from assay.network.chain.chain_target import name_node
from assay.network.chain.errors import WrongChainError
from assay.network.chain.failures import StillError, UnfitError
from assay.network.chain.node_head import Head

logger = logging.getLogger("assay.chain")

#: A node this many blocks behind the newest finalized head seen is left.
LAG_BLOCKS = 10
#: A head stands still after so many blocks' time, and not before so many seconds.
STILL_BLOCKS, LEAST_STILL_S = 10, 30.0
#: A final block is never of a time later than this by the machine's clock: twice what a clock that
#: knows no summer time is wrong by. Greater, and a lone node that lies may claim as much more.
AHEAD_MS = 2 * 3_600_000
#: No chain that is read here is older: 2020.
_FIRST_MS = 1_577_836_800_000
#: Finalized hashes that are remembered.
_MARKS = 256
#: Names what an earlier run has kept, where nodes are named.
KEPT = ""

#: Node → the hash that it has named, and when.
Words = dict[str, tuple[bytes, float]]


class Heads:
    """Finalized heads as heard, of all nodes of one chain. Times are on the caller's clock.

    Attributes:
        newest: number of the newest, -1 before the first.
        confirmed: newest that a second node has come to too, -1 before the first.
        last: the newest, whole; None before the first.
        still_s: a node whose head stands still for so long is left.
        slot_ms: the chain's time between two blocks; None as long as it is not known.
    """

    def __init__(self, still_s: float) -> None:
        self.newest = self.confirmed = -1
        self.last: Head | None = None
        self.still_s = still_s
        self.slot_ms: int | None = None
        self._base = (0, _FIRST_MS)
        self._based = False
        self._grown_at = float("-inf")
        self._patient_since = float("-inf")
        self._said = False
        self._lagging: dict[str, int] = {}
        self._marks: OrderedDict[int, bytes] = OrderedDict()
        self._namers: dict[int, dict[str, float]] = {}
        self._moved: dict[str, tuple[int, float]] = {}

    def keep(self, number: int, hash_: bytes, at_ms: int) -> None:
        """An earlier run has read this final block."""
        self._base, self._based = (number, at_ms), True
        self._marks[number] = hash_
        self._namers[number] = {KEPT: float("inf")}

    def begin(self, now: float) -> None:
        """A node is in use from now on."""
        self._patient_since = now

    def find_excess(self, head: Head, wall_ms: int) -> str | None:
        """What shows that a chain cannot have come so far; None: nothing.

        A chain has one block a slot at most, counted from a block that is known.

        Args:
            wall_ms: the machine's clock, Unix milliseconds.
        """
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
                f"chain can have come to block {most} at most since block {base}"
            )
        return None

    def hear(self, node: str, head: Head, now: float, *, choice: bool) -> None:
        """The node in use has named its head.

        Args:
            node: its URL.
            choice: whether there is another one. Alone it is taken as it is.

        Raises:
            UnfitError: another one should be asked; `StillError` where its head does not move.
            WrongChainError: it contradicts what was final.
        """
        number = head.number
        if self._marks.get(number, head.hash) != head.hash:
            raise WrongChainError(
                f"{name_node(node)} calls another block {number} final than was final before: one "
                "of two nodes follows a fork or lies, or the chain was started anew"
            )
        if number < self.newest - LAG_BLOCKS and choice:
            self._lagging[node] = number
            raise UnfitError(
                f"has come to block {number} only, and block {self.newest} was final before"
            )
        self._lagging.clear()
        self._marks[number] = head.hash
        self.second(node, number, head.hash, now)
        while len(self._marks) > _MARKS:
            del self._namers[self._marks.popitem(last=False)[0]]
        if not self._based and head.at_ms:
            self._base, self._based = (number, head.at_ms), True
        if number > self.newest:
            self.newest, self._grown_at, self._said, self.last = number, now, False, head
            self._patient_since = now
        elif now - self._patient_since > self.still_s:
            self._patient_since = now
            if not self._said:
                logger.warning(
                    "%s: block %d has been the newest final one for %.0f s; looking elsewhere",
                    name_node(node),
                    number,
                    now - self._grown_at,
                    extra={"event": "head_still"},
                )
            self._said = True
            raise StillError(f"stands still at block {number}")

    def second(self, node: str, number: int, hash_: bytes, now: float) -> None:
        """A node names a hash; it counts if that still stands here, by when it has answered."""
        if self._marks.get(number) == hash_:
            self._namers.setdefault(number, {})[node] = now

    def settle_for_less(self, now: float) -> None:
        """Every node was asked: where all that answer lag, one has claimed what is not so."""
        if not self._lagging:
            return
        number = max(self._lagging.values())
        logger.warning(
            "no node that answers has come to block %d: going on from block %d",
            self.newest,
            number,
            extra={"event": "nodes_lag"},
        )
        self.newest, self._grown_at, self._patient_since = number, now, now
        self.confirmed = min(self.confirmed, number)
        self._lagging.clear()
        self._forget([mark for mark in self._marks if mark > number])

    def watch(self, node: str, number: int, now: float) -> bool:
        """Whether a node's finalized head still moves, as far as is known of it."""
        before, moved_at = self._moved.get(node, (-1, now))
        if number != before:
            self._moved[node] = number, now
            return True
        return now - moved_at <= self.still_s

    def find_words(self, number: int) -> Words:
        """Who has named the hash of a block that stands here."""
        return {
            node: (self._marks[number], at) for node, at in self._namers.get(number, {}).items()
        }

    def find_rivals(self, number: int, hash_: bytes) -> Words:
        """Who has named another hash of a block."""
        return {} if self._marks.get(number, hash_) == hash_ else self.find_words(number)

    def find_agreed(self) -> tuple[int, bytes] | None:
        """The newest block whose hash two nodes have named, or an earlier run has kept."""
        agreed = [n for n, by in self._namers.items() if KEPT in by or len(by) > 1]
        return (max(agreed), self._marks[max(agreed)]) if agreed else None

    def disown(self, nodes: set[str]) -> None:
        """Forgets what nobody but these nodes has named: they have lied."""
        self._forget([mark for mark in self._marks if self._namers[mark].keys() <= nodes])
        self.newest = max(self._marks, default=-1)
        self.confirmed = min(self.confirmed, self.newest)

    def correct(self, number: int, hash_: bytes) -> None:
        """Most nodes name this hash: what followed on another one is forgotten."""
        if self._marks.get(number, hash_) != hash_:
            self._forget([mark for mark in self._marks if mark >= number])
            self.newest = max(self._marks, default=-1)
            self.confirmed = min(self.confirmed, self.newest)

    def _forget(self, marks: list[int]) -> None:
        for mark in marks:
            del self._marks[mark], self._namers[mark]
        self.last = None

    def find_mark(self, number: int) -> tuple[int, bytes] | None:
        """The newest block at or below a number whose hash was heard."""
        known = [mark for mark in self._marks if mark <= number]
        return (max(known), self._marks[max(known)]) if known else None
