"""Groups of miners' files, measured again by a helper: cached, limited, never waited for long."""

import json
import logging
import threading
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError
from pathlib import Path
from typing import Any

from assay.explorer import GroupReading, RolloutReading, TokenReading, Unavailable
from assay.explorer.sources.helper_process import BusyError, HelperProcess
from assay.protocol import Context, context_to_json

logger = logging.getLogger(__name__)
_BOOT = (
    "from assay.explorer.sources.helper_process import serve;"
    "from assay.explorer.sources.group_child import GroupReader;"
    "serve(GroupReader().answer)"
)
#: Seconds that a page waits for a group.
WAIT_S = 8.0
#: Groups measured in a minute, at most, whoever asks; and seconds that what failed is not tried.
_A_MINUTE, _AGAIN_S = 30, 20.0
#: Bytes of packed groups that are kept.
_KEPT_BYTES = 8 << 20

Key = tuple[bytes, bytes, int]


class Groups:
    """Reads groups.

    Args:
        models: a checkpoint's folder, or a folder of such; None: groups are read, not measured.
        stores: folders of miners' files. readable: locators that may be opened.
        on_change: called once a group that was waited for in vain is there.
    """

    def __init__(
        self,
        models: Path | None,
        stores: Sequence[Path],
        readable: Sequence[str],
        scratch: Path,
        on_change: Callable[[], None],
    ) -> None:
        self._fixed = {
            "models": None if models is None else str(models),
            "stores": [str(folder) for folder in stores],
            "readable": list(readable),
            "scratch": str(scratch),
        }
        self._on_change = on_change
        self._helper = HelperProcess("model", _BOOT)
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._failed: OrderedDict[Key, tuple[float, str]] = OrderedDict()
        self._asked: dict[Key, Future[dict[str, Any] | str]] = {}
        self._begun: deque[float] = deque(maxlen=_A_MINUTE)

    @property
    def pid(self) -> int | None:
        """Process id of the helper; None while there is none."""
        return self._helper.pid

    def close(self) -> None:
        """Ends the helper."""
        self._helper.close()

    def read(self, context: Context, hotkey: bytes, group: int) -> GroupReading | Unavailable:
        """A group; a passing lack where it takes longer than a page waits."""
        key = context.challenge_seed, hotkey, group
        found = self._find(key, context, hotkey, group)
        if not isinstance(found, Future):
            return found
        try:
            found.result(WAIT_S)
        except TimeoutError:
            return Unavailable("the model is being run over this group: it takes a moment.", True)
        found = self._find(key, context, hotkey, group)
        if isinstance(found, Future):
            return Unavailable("the model is being run over this group: it takes a moment.", True)
        return found

    def _find(
        self, key: Any, context: Context, hotkey: bytes, group: int
    ) -> "GroupReading | Unavailable | Future[dict[str, Any] | str]":
        now = time.monotonic()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return _decode(json.loads(zlib.decompress(self._kept[key])))
            if key in self._failed and now - self._failed[key][0] < _AGAIN_S:
                return Unavailable(self._failed[key][1])
            if key in self._asked:
                return self._asked[key]
            if len(self._begun) == _A_MINUTE and now - self._begun[0] < 60:
                return Unavailable("too many groups were asked for just now.", True)
            request = self._fixed | {
                "context": context_to_json(context),
                "hotkey": hotkey.hex(),
                "group": group,
            }
            try:
                future = self._helper.ask(request)
            except BusyError:
                return Unavailable("other groups are being measured first.", True)
            self._begun.append(now)
            self._asked[key] = future
        future.add_done_callback(lambda done: self._note(key, done))
        return future

    def _note(self, key: Any, done: "Future[dict[str, Any] | str]") -> None:
        document = done.result()
        with self._lock:
            self._asked.pop(key, None)
            if isinstance(document, str) or document["kind"] == "lack":
                why = _tell(document)
                self._failed[key] = time.monotonic(), why
                while len(self._failed) > 256:
                    self._failed.popitem(last=False)
            else:
                self._kept[key] = zlib.compress(json.dumps(document).encode(), 1)
                while sum(map(len, self._kept.values())) > _KEPT_BYTES and len(self._kept) > 1:
                    self._kept.popitem(last=False)
        self._on_change()


def _tell(document: dict[str, Any] | str) -> str:
    """Why there is no group, for pages; whoever runs the explorer is told more."""
    told = document if isinstance(document, str) else document.get("told")
    if told is not None:
        logger.warning("a rollout: %s", told, extra={"event": "explorer_trouble"})
    if isinstance(document, str):
        return "it cannot be run just now"
    return str(document["value"]["why"])


def _decode(document: dict[str, Any]) -> GroupReading:
    value = document["value"]
    rollouts = [
        RolloutReading(**(one | {"tokens": [TokenReading(**token) for token in one["tokens"]]}))
        for one in value["rollouts"]
    ]
    return GroupReading(**(value | {"rollouts": rollouts}))
