"""The order in which other validators' stores are asked for a miner's missing bytes.

Each reader and each submission has its own order, drawn by stake: no mirror is asked first by
everybody, and a mirror needs stake to be asked often. A mirror that failed or lied is asked last
for a while. The order only affects speed: no verdict depends on the mirror that has shown the
bytes.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256

from assay.artifacts.submissions.reader import KnownMirror
from assay.network.chain.errors import ChainError
from assay.network.chain.ports import SubnetReader
from assay.network.store.base import ObjectStore, StoreError
from assay.protocol.commitment import Tag, parse_commitment

#: Most known stores of validators, and most that are asked for one submission.
_KNOWN_MAX, _ASKED_MAX = 64, 6
#: Submissions whose number of earlier requests is kept.
_ROOTS_MAX = 4_096
#: Blocks between two reads of the list of validators.
_LOOK_BLOCKS = 30
#: Seconds for which a chain that did not answer is not asked again, since every submission needs
#: it.
_SILENT_S = 30.0


def order_by_stake(root: bytes, reader: bytes, stakes: Mapping[bytes, int]) -> list[bytes]:
    """Mirrors' hotkeys in the order in which a reader asks them for one submission.

    A weighted draw without replacement (Efraimidis and Spirakis, 2006): a mirror comes first with
    the chance of its share of stake (rao, by hotkey). It follows from the arguments alone.
    """

    def draw(hotkey: bytes) -> tuple[float, bytes]:
        drawn = int.from_bytes(sha256(root + reader + hotkey).digest()[:7])
        return -math.log((drawn + 1) / 2**56) / max(1, stakes[hotkey]), hotkey

    return sorted(stakes, key=draw)


class MirrorList:
    """The operator's own mirrors, then the stores of validators that announce a record, read from
    the chain now and then. Its methods are for one thread.

    Args:
        find: opens a stranger's locator; None if it is not read from here.
        own: mirrors that the operator named.
        hotkey: one's own, which is left out.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        chain: SubnetReader,
        find: Callable[[str], ObjectStore | None],
        own_mirrors: Sequence[ObjectStore],
        hotkey: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._find = find
        self._clock = clock
        self._own = [KnownMirror(store, clock) for store in own_mirrors]
        self._hotkey = hotkey
        self._stakes: dict[bytes, int] = {}
        self._locators: dict[bytes, str] = {}
        self._known: dict[str, KnownMirror] = {}
        self._asked: OrderedDict[bytes, int] = OrderedDict()
        self._due = -1
        self._silent_until = -math.inf

    def __call__(self, root: bytes) -> tuple[KnownMirror, ...]:
        """Mirrors of a submission in the order in which they are asked. Each call continues after
        the mirrors of the call before, so that in the end all are asked. If the chain fails, the
        last known mirrors are used."""
        if self._clock() >= self._silent_until:
            try:
                head = self._chain.get_head()
                if head >= self._due:
                    self._look(head)
                    self._due = head + _LOOK_BLOCKS
            except ChainError:
                self._silent_until = self._clock() + _SILENT_S
        hotkeys = order_by_stake(root, self._hotkey, self._stakes)
        first = self._count(root) * _ASKED_MAX % max(1, len(hotkeys))
        in_turn = [*hotkeys[first:], *hotkeys[:first]]
        mirrors = [*self._own, *(self._known[self._locators[hotkey]] for hotkey in in_turn)]
        mirrors.sort(key=lambda mirror: mirror.is_shunned)
        return tuple(mirrors[: len(self._own) + _ASKED_MAX])

    def _count(self, root: bytes) -> int:
        """The number of earlier requests for mirrors of a submission."""
        count = self._asked.pop(root, 0)
        self._asked[root] = count + 1
        while len(self._asked) > _ROOTS_MAX:
            self._asked.popitem(last=False)
        return count

    def _look(self, head: int) -> None:
        slots = self._chain.get_commitments(head)
        rows = [row for row in self._chain.get_metagraph(head) if row.permit]
        stakes: dict[bytes, int] = {}
        locators: dict[bytes, str] = {}
        known: dict[str, KnownMirror] = {}
        for row in sorted(rows, key=lambda row: (-row.stake, row.hotkey)):
            commitment = parse_commitment(slots.get(row.hotkey, b""))
            if commitment is None or commitment.tag is not Tag.RECORD:
                continue
            locator = commitment.locator
            if row.hotkey == self._hotkey or locator in known or len(known) == _KNOWN_MAX:
                continue
            mirror = self._known.get(locator) or self._open(locator)
            if mirror is not None:
                stakes[row.hotkey], locators[row.hotkey] = row.stake, locator
                known[locator] = mirror
        self._stakes, self._locators, self._known = stakes, locators, known

    def _open(self, locator: str) -> KnownMirror | None:
        with suppress(StoreError):
            store = self._find(locator)
            if store is not None:
                return KnownMirror(store, self._clock)
        return None
