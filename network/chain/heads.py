"""What finalized heads tell of the nodes that name them: who lags, who stands still, who forks.

No I/O and no clock. What it does not know: which of two nodes that contradict each other is right.
What was final before stands, unless more nodes deny it than have ever named it.
"""

import logging
from collections import OrderedDict

from assay.network.chain.errors import WrongChainError
from assay.network.chain.failures import StillError, UnfitError
from assay.network.chain.target import name_node

logger = logging.getLogger("assay.chain")

#: A node this many blocks behind the newest finalized head seen is left.
LAG_BLOCKS = 10
#: A head stands still after so many blocks' time, and not before so many seconds.
STILL_BLOCKS, LEAST_STILL_S = 10, 30.0
#: Finalized hashes that are remembered.
_MARKS = 256


class Heads:
    """Finalized heads as heard, of all nodes of one chain. Times are on the caller's clock.

    Attributes:
        newest: number of the newest, -1 before the first.
        confirmed: newest that a second node has come to too, -1 before the first.
        still_s: a node whose head stands still for so long is left.
    """

    def __init__(self, still_s: float) -> None:
        self.newest = self.confirmed = -1
        self.still_s = still_s
        self._grown_at = float("-inf")
        self._patient_since = float("-inf")
        self._said = False
        self._lagging: dict[str, int] = {}
        self._marks: OrderedDict[int, bytes] = OrderedDict()
        self._namers: dict[int, set[str]] = {}
        self._moved: dict[str, tuple[int, float]] = {}

    def begin(self, now: float) -> None:
        """A node is in use from now on."""
        self._patient_since = now

    def hear(self, node: str, number: int, hash_: bytes, now: float, *, choice: bool) -> None:
        """The node in use has named its head.

        Args:
            node: its URL.
            choice: whether there is another one. Alone it is taken as it is.

        Raises:
            UnfitError: another one should be asked; `StillError` where its head does not move.
            WrongChainError: it contradicts what was final.
        """
        if self._marks.get(number, hash_) != hash_:
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
        self._marks[number] = hash_
        self._namers.setdefault(number, set()).add(node)
        while len(self._marks) > _MARKS:
            del self._namers[self._marks.popitem(last=False)[0]]
        if number > self.newest:
            self.newest, self._grown_at, self._said = number, now, False
            self._patient_since = now
        elif now - self._patient_since > self.still_s:
            self._patient_since = now
            if not self._said:
                logger.warning(
                    "%s: block %d has been the newest final one for %.0f s; looking elsewhere",
                    name_node(node), number, now - self._grown_at, extra={"event": "head_still"},
                )  # fmt: skip
            self._said = True
            raise StillError(f"stands still at block {number}")

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

    def find_rivals(self, number: int, hash_: bytes) -> set[str]:
        """Who has named another hash of a block."""
        differs = self._marks.get(number, hash_) != hash_
        return set(self._namers[number]) if differs else set()

    def disown(self, nodes: set[str]) -> None:
        """Forgets what nobody but these nodes has named: they have lied."""
        self._forget([mark for mark in self._marks if self._namers[mark] <= nodes])
        self.newest = max(self._marks, default=-1)
        self.confirmed = min(self.confirmed, self.newest)

    def _forget(self, marks: list[int]) -> None:
        for mark in marks:
            del self._marks[mark], self._namers[mark]

    def find_mark(self, number: int) -> tuple[int, bytes] | None:
        """The newest block at or below a number whose hash was heard."""
        known = [mark for mark in self._marks if mark <= number]
        return (max(known), self._marks[max(known)]) if known else None
