"""The explorer's view of a chain. No page waits for a node."""

import threading
import time
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Future, TimeoutError
from contextlib import ExitStack, suppress

from assay.artifacts.announced_parameters import AnnouncedParameters, list_announced
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import Live, Neurons, ShownWeights, Uid
from assay.explorer.sources.peer_health import PeerHealth
from assay.network.chain.subtensor import SubtensorChain
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.errors import OperatorError, Trouble, TroubleKind
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import compute_window
from assay.session.parameter_follower import ParameterFollower
from assay.session.session import open_session
from assay.session.window_reader import iterate_weight_blocks
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings

#: Seconds between two readings of the head, of a page's wait for weights, until a head is stale.
_EVERY_S, _WAIT_S, _STALE_S = 3.0, 3.0, 60.0
#: Seconds before weights are read again that were not the wanted ones.
_AGAIN_S = 30.0
#: Seconds between two readings of the uids.
_NEURONS_S = 60.0
#: Epochs whose pay one look reads, and seconds before one that the node has forgotten is tried
#: again.
_EPOCHS, _FORGOTTEN_S = 8, 600.0
#: Settlements' weights in memory.
_CACHED = 1_024
#: Longest wait for the thread's end, seconds.
_CLOSE_S = 2.0


class ChainView:
    """A subnet's chain, as far as pages show it. Only `find` raises."""

    def __init__(self, settings: Settings, validator: bytes | None = None) -> None:
        self.validator = validator
        self._stack = ExitStack()
        self._session = self._stack.enter_context(open_session(settings))
        self._chain: SubtensorChain | None = None
        self._followed: ParameterFollower | None = None
        self._followed_at: int | None = None  # window in which the owner's slot was read last
        self._opening = threading.Lock()
        self._live: tuple[float, int] | None = None
        self._neurons: tuple[float, Neurons] | None = None
        # epochs whose pay is wanted, what was read of it, and when an epoch could not be read
        self._wanted: Sequence[int] = ()
        self._pay: dict[int, Sequence[Uid]] = {}
        self._forgotten: dict[int, float] = {}
        self._health = PeerHealth("the chain’s node", TroubleKind.CHAIN)
        self._shown: BoundedCache[int, tuple[float, ShownWeights | None]] = BoundedCache(_CACHED)
        self._lock = threading.Lock()
        # one request for weights at a time, whatever the number of visitors
        self._asking = threading.Semaphore()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="head", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._chain is not None:
            self._chain.stop_retrying()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)
        if self._opening.acquire(timeout=_CLOSE_S):
            self._opening.release()
            self._stack.close()

    def _open(self) -> SubtensorChain:
        with self._opening:
            self._chain = self._session.chain
            return self._chain

    def find(self) -> tuple[ParameterHistory, dict[str, str]]:
        """The network's parameters, which are followed from now on, and the announced locators of
        records by the validators' hotkeys in SS58. Raises ConfigError: the chain or the parameters
        are unavailable."""
        try:
            chain = self._open()
            self._followed = self._session.followed
            self._follow(chain.get_head())
            commitments = chain.get_commitments(chain.get_head())
        except OperatorError as error:
            raise ConfigError(str(error)) from None
        slots = {hotkey: parse_commitment(payload) for hotkey, payload in commitments.items()}
        return self._followed.history, {
            encode_ss58(hotkey): slot.locator
            for hotkey, slot in slots.items()
            if slot is not None and slot.tag is Tag.RECORD
        }

    def list_announced(self, head: int | None) -> list[AnnouncedParameters]:
        """Parameters that do not hold yet, from the last reading. head: the newest block; None: it
        is not known."""
        if head is None or self._followed is None:
            return []
        return list_announced(self._followed.history, self._followed.pending, head)

    def _follow(self, head: int) -> None:
        """Read the owner's announcement of parameters once a window. Raises OperatorError: it or
        the chain cannot be read."""
        if self._followed is None:
            return
        window = compute_window(self._followed.history.first.timing, head)
        if window != self._followed_at:
            self._followed.look()
            self._followed_at = window

    def read_live(self) -> Live | None:
        with self._lock:
            live = self._live
        if live is None:
            return None
        problem = self._health.describe()
        moving = time.monotonic() - live[0] < _STALE_S
        return Live(
            live[1], moving, "the chain", problem and problem[0], since_ms=problem and problem[1]
        )

    def get_trouble(self) -> tuple[Trouble, int] | None:
        return self._health.describe()

    def read_neurons(self) -> Neurons | None:
        with self._lock:
            return None if self._neurons is None else self._neurons[1]

    def _update_neurons(self, head: int) -> None:
        """Raises OperatorError: the chain cannot be read."""
        now = time.monotonic()
        if self._neurons is not None and now - self._neurons[0] < _NEURONS_S:
            return
        recorders = {
            hotkey
            for hotkey, payload in self._open().get_commitments(head).items()
            if (slot := parse_commitment(payload)) is not None and slot.tag is Tag.RECORD
        }
        rows = self._list_uids(head, recorders)
        price = None
        with suppress(OperatorError):  # uids are worth more than what alpha is worth
            price = self._open().get_alpha_price()
        with self._lock:
            self._neurons = now, Neurons(head, rows, price)

    def _list_uids(self, block: int, recorders: Container[bytes] = ()) -> list[Uid]:
        return [
            Uid(
                row.uid,
                row.hotkey,
                row.coldkey,
                row.registered_at,
                row.stake,
                row.permit,
                row.incentive,
                row.emission,
                row.hotkey in recorders,
            )
            for row in self._open().get_metagraph(block)
        ]

    def read_pay(self, epochs: Sequence[int]) -> Mapping[int, Sequence[Uid]]:
        """What the chain's epochs at these blocks paid, of those that were read since the last
        call: each is told once. The others are read with the next looks."""
        now = time.monotonic()
        with self._lock:
            found = {epoch: self._pay.pop(epoch) for epoch in epochs if epoch in self._pay}
            late = {e for e, at in self._forgotten.items() if now - at < _FORGOTTEN_S}
            self._wanted = [e for e in epochs if e not in found and e not in late]
        return found

    def _update_pay(self, head: int) -> None:
        with self._lock:
            wanted = [epoch for epoch in self._wanted if epoch <= head and epoch not in self._pay]
        for epoch in wanted[:_EPOCHS]:
            try:
                rows = self._list_uids(epoch)
            except OperatorError:  # most nodes forget states that are an hour old
                self._forgotten[epoch] = time.monotonic()
                return
            with self._lock:
                self._pay[epoch] = rows

    def read_shown(self, epoch: int, wanted: Mapping[int, int]) -> ShownWeights | None:
        """The weights at the first block after an epoch that shows the wanted ones, otherwise at
        the first block. None: they are not known yet."""
        if self.validator is None:
            return None
        ends = time.monotonic() + _WAIT_S
        weights, is_good = self._find_cached(epoch, wanted)
        # no page waits for a silent node, nor too long for the requests of other pages
        if is_good or self._health.describe() or not self._asking.acquire(timeout=_WAIT_S):
            return weights
        # the request before this one may have been for the same weights
        weights, is_good = self._find_cached(epoch, wanted)
        if is_good:
            self._asking.release()
            return weights
        reply: Future[ShownWeights | None] = Future()
        # an answer that is too late for its page is stored for the next one
        request = self.validator, epoch, dict(wanted), reply
        threading.Thread(target=self._ask, args=request, name="weights", daemon=True).start()
        try:
            return reply.result(max(0.0, ends - time.monotonic())) or weights
        except TimeoutError:
            return weights

    def _ask(
        self,
        validator: bytes,
        epoch: int,
        wanted: Mapping[int, int],
        reply: Future[ShownWeights | None],
    ) -> None:
        weights = None
        try:
            with suppress(OperatorError):
                weights = self._find_weights(validator, epoch, wanted)
        finally:
            self._shown.put(epoch, (time.monotonic(), weights))
            self._asking.release()
            reply.set_result(weights)

    def _find_weights(
        self, validator: bytes, epoch: int, wanted: Mapping[int, int]
    ) -> ShownWeights | None:
        chain, first = self._open(), None
        for number in iterate_weight_blocks(chain, epoch):
            on_chain = ShownWeights(number, dict(chain.get_weights(number).get(validator, {})))
            if on_chain.weights == wanted:
                return on_chain
            first = first or on_chain
        return first

    def _find_cached(
        self, epoch: int, wanted: Mapping[int, int]
    ) -> tuple[ShownWeights | None, bool]:
        """The weights of the last reading, and whether another one is unnecessary now."""
        when, cached = self._shown.get(epoch) or (float("-inf"), None)
        same = cached is not None and dict(cached.weights) == dict(wanted)
        return cached, same or time.monotonic() - when < _AGAIN_S

    def look(self) -> None:
        """Read the head, once a window the parameters, once a minute the uids, and the pay of some
        epochs."""
        self._health.begin()
        try:
            head = self._open().get_head()
            with self._lock:
                self._live = time.monotonic(), head
            self._follow(head)
            self._update_neurons(head)
            self._update_pay(head)
        except OperatorError as error:
            if not self._stop.is_set():
                self._health.end(str(error))
        else:
            self._health.end()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(_EVERY_S)
