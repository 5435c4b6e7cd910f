"""What the explorer asks of a chain, through a helper: the SDK stays out of this process."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import TimeoutError
from dataclasses import dataclass
from typing import Any

from assay.explorer import Live, ShownWeights
from assay.explorer.sources.helper_process import BusyError, HelperProcess, Reply
from assay.explorer.sources.peer_health import PeerHealth
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings
from assay.protocol import Parameters
from assay.protocol.encoding import EncodingError

_BOOT = (
    "from assay.explorer.sources.helper_process import serve;"
    "from assay.explorer.sources.chain_child import ChainReader;"
    "serve(ChainReader().answer)"
)
#: Seconds between two looks at the head, that a page waits for weights, and after which a head that
#: was not renewed is an old one.
_EVERY_S, _WAIT_S, _STALE_S = 3.0, 3.0, 60.0
#: Seconds for the first look: it starts the child and reaches a node.
_FIRST_S = 60.0
#: Seconds for which weights that are not those wanted are kept before they are looked for again.
_AGAIN_S = 30.0


class ChainView:
    """A subnet's chain, as far as pages show it. Nothing but `find` raises."""

    def __init__(self, settings: Settings, validator: bytes | None = None) -> None:
        self.validator = validator
        # it is looked at every few seconds: it never idles for long
        self._helper = HelperProcess("chain reader", _BOOT)
        self._settings = {
            "chain": settings.chain.model_dump(mode="json"),
            "store": settings.store.model_dump(mode="json"),
        }
        self._live: tuple[float, int] | None = None
        self._answers = PeerHealth("the chain’s node")
        self._shown: dict[int, tuple[float, ShownWeights | None]] = {}
        self._lock = threading.Lock()
        # of all who look at pages one asks for weights at a time: the head's turn comes next
        self._asking = threading.Semaphore()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="head", daemon=True)

    def start(self) -> None:
        """Begins to look at the head."""
        self._thread.start()

    def close(self) -> None:
        """Ends the helper."""
        self._stop.set()
        self._helper.close()

    def find(self) -> tuple[Parameters, dict[str, str]]:
        """The network's parameters, and where validators say that their records lie: hotkey in
        SS58 → locator.

        Raises:
            ConfigError: the chain or the parameters cannot be had.
        """
        try:
            found = _wait(self._helper.ask(self._settings | {"do": "find"}), _FIRST_S)
        except BusyError:
            found = "the chain is being asked for something else"
        if isinstance(found, str):
            raise ConfigError(found)
        try:
            return Parameters.from_json(found["parameters"]), dict(found["announced"])
        except EncodingError as error:
            raise ConfigError(f"the parameters on chain: {error}") from None

    def read_live(self) -> Live | None:
        """The head as it was seen last."""
        with self._lock:
            live = self._live
        if live is None:
            return None
        trouble = self._answers.describe()
        moving = time.monotonic() - live[0] < _STALE_S
        return Live(
            live[1], moving, "the chain", trouble and trouble[0], since_ms=trouble and trouble[1]
        )

    def get_trouble(self) -> tuple[str, int] | None:
        """See `PeerHealth.describe`."""
        return self._answers.describe()

    def read_shown(self, epoch: int, wanted: Mapping[int, int]) -> ShownWeights | None:
        """The weights; None while they are not known."""
        if self.validator is None:
            return None
        ends = time.monotonic() + _WAIT_S
        kept = self._find_kept(epoch, wanted)
        # no page waits for a node that does not answer, nor longer than it may for other pages
        if kept.good or self._answers.describe() is not None:
            return kept.shown
        if not self._asking.acquire(timeout=_WAIT_S):
            return kept.shown
        kept = self._find_kept(epoch, wanted)  # whoever was before it may have asked for the same
        if kept.good:
            self._asking.release()
            return kept.shown
        request = {
            "do": "weights",
            "epoch": epoch,
            "validator": self.validator.hex(),
            "wanted": [[uid, weight] for uid, weight in wanted.items()],
        }
        try:
            reply = self._helper.ask(self._settings | request)
        except BusyError:
            self._asking.release()
            return kept.shown

        def take(done: Reply) -> None:  # also an answer that came too late for its page
            with self._lock:
                if len(self._shown) > 256:
                    self._shown.clear()
                self._shown[epoch] = time.monotonic(), _parse_shown(done.result())
            self._asking.release()

        reply.add_done_callback(take)
        return _parse_shown(_wait(reply, ends - time.monotonic())) or kept.shown

    def _find_kept(self, epoch: int, wanted: Mapping[int, int]) -> "_Kept":
        with self._lock:
            when, shown = self._shown.get(epoch, (float("-inf"), None))
        same = shown is not None and dict(shown.weights) == dict(wanted)
        return _Kept(shown, same or time.monotonic() - when < _AGAIN_S)

    def _look(self) -> None:
        self._answers.begin()
        try:
            found = _wait(self._helper.ask(self._settings | {"do": "head"}), _FIRST_S)
        except BusyError:  # the helper is closed, or asked by others: nothing is known of the node
            return
        self._answers.end(found if isinstance(found, str) else None)
        if not isinstance(found, str):
            with self._lock:
                self._live = time.monotonic(), int(found["head"])

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(_EVERY_S)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Weights as they were shown last; good: they need not be asked for again now."""

    shown: ShownWeights | None
    good: bool


def _wait(reply: Reply, seconds: float) -> dict[str, Any] | str:
    try:
        found = reply.result(max(0.0, seconds))
    except TimeoutError:
        return "the chain does not answer in time"
    return str(found["error"]) if isinstance(found, dict) and "error" in found else found


def _parse_shown(found: dict[str, Any] | str) -> ShownWeights | None:
    if isinstance(found, str) or found.get("weights") is None:
        return None
    return ShownWeights(
        int(found["block"]), {int(uid): int(weight) for uid, weight in found["weights"]}
    )
