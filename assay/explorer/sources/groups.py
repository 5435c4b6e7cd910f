"""Groups of miners' files, measured again by a helper: cached, limited, never waited for long.

The helper is a child process that starts with a request and ends when it idles. It keeps models,
tokenizers and scorers out of the process that serves: they are large, and run native code over
strangers' text. Its input is compared with the root and parsed by bounded code.
"""

import json
import logging
import threading
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from assay.explorer.documents.windows import ReadingLack, ReadingProgress
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import GroupReading, RolloutReading
from assay.explorer.sources.progress import note_progress, read_progress, watch_progress
from assay.protocol.context import Context, context_to_json
from assay.sandbox import Budget, Lost, Sandbox, WorkerError
from assay.settings.sections import StoreSettings

logger = logging.getLogger(__name__)
_BOOT = (
    "from assay.sandbox.child import serve;"
    "from assay.explorer.sources.group_child import GroupReader;"
    "serve(GroupReader().answer, None)"
)
#: Parts of a reading whose progress is told: the child's start, and four of its own.
PARTS = 5
#: Groups measured in a minute, at most, for all visitors; and seconds before a failed one is tried
#: again.
_A_MINUTE, _AGAIN_S = 30, 20.0
#: Bytes of packed groups in memory.
_CACHE_BYTES = 8 << 20
#: Seconds without a request after which the child ends.
IDLE_S = 120.0
#: Seconds for a request, the child's start included: it imports a lot, and machines are busy.
_REQUEST_S = 120.0
#: Processor seconds that one request may take, and bytes that its answer may have.
_PROCESSOR_S, _REPLY_MAX = 120.0, 64 << 20
#: Requests that may wait; seconds that the end of an idle child is waited for.
_WAITING_MAX, _CLOSE_S = 4, 10.0

Key = tuple[bytes, bytes, int]
Reply = Future[dict[str, Any] | str]


class BusyError(Exception):
    """Too many requests wait already."""


class HelperProcess:
    """One child, see `Sandbox`, and one thread that sends it requests. Thread-safe."""

    def __init__(self, name: str, boot: str, idle_s: float = IDLE_S) -> None:
        self._sandbox = Sandbox(name, boot, _REQUEST_S)
        self._requests: Queue[tuple[bytes, Reply] | None] = Queue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle_s = idle_s
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        return self._sandbox.pid

    def ask(self, request: dict[str, Any]) -> Reply:
        """The child's answer, or a sentence that says why there is none. Raises BusyError: too many
        requests wait already, or the helper is closed."""
        with self._lock:
            if self._closed or self._waiting >= _WAITING_MAX:
                raise BusyError
            self._waiting += 1
            reply: Reply = Future()
            self._requests.put((json.dumps(request).encode(), reply))
        return reply

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the child, a busy one too: it would go on writing to a folder that is removed.
        Requests that wait are answered by a sentence."""
        with self._lock:
            self._closed = True
        self._sandbox.stop()
        self._requests.put(None)
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while True:
            try:
                item = self._requests.get(timeout=self._idle_s)
            except Empty:
                self._sandbox.renew()  # it idles
                continue
            if item is None:  # the last: nothing is asked of a closed one
                self._sandbox.close()
                return
            request, reply = item
            answer = self._exchange(request)
            with self._lock:
                self._waiting -= 1
            reply.set_result(answer)

    def _exchange(self, request: bytes) -> dict[str, Any] | str:
        if self._closed:
            return "the explorer is being stopped"
        try:
            reply = self._sandbox.ask(request, _REPLY_MAX, Budget(_PROCESSOR_S))
        except WorkerError as error:
            return str(error)
        if isinstance(reply, Lost):
            return f"it could not be found out: {reply.cause or 'it takes too long'}"
        document: dict[str, Any] = json.loads(reply)
        return document


class Groups:
    """Reads groups.

    Args:
        models: a checkpoint's folder, or a folder of such; None: groups are read, not measured.
        stores: folders of miners' files. settings: which locators may be opened.
        on_change: called when a request ends, for pages that no longer wait for it.
    """

    def __init__(
        self,
        models: Path | None,
        stores: Sequence[Path],
        settings: StoreSettings,
        scratch: Path,
        on_change: Callable[[], None],
    ) -> None:
        self._fixed = {
            "models": None if models is None else str(models),
            "stores": [str(folder) for folder in stores],
            "settings": settings.model_dump(
                mode="json", include={"locator", "ca_file", "readable"}
            ),
            "scratch": str(scratch),
        }
        self._scratch = scratch
        self._on_change = on_change
        self._helper = HelperProcess("model", _BOOT)
        self._lock = threading.Lock()
        self._packed: OrderedDict[Key, bytes] = OrderedDict()
        self._failed: BoundedCache[Key, tuple[float, str]] = BoundedCache(256)
        self._pending: dict[Key, Reply] = {}
        self._begun: deque[float] = deque(maxlen=_A_MINUTE)

    @property
    def pid(self) -> int | None:
        return self._helper.pid

    def close(self) -> None:
        self._helper.close()

    def read(
        self, context: Context, hotkey: bytes, group: int, wait_s: float
    ) -> GroupReading | ReadingLack:
        """A group. If it takes longer than `wait_s`, `passing` is set."""
        key = context.challenge_seed, hotkey, group
        result = self._find(key, context, hotkey, group)
        if not isinstance(result, Future):
            return result
        with suppress(TimeoutError):
            result.result(wait_s)
            result = self._find(key, context, hotkey, group)
        if isinstance(result, Future):
            progress = read_progress(self._get_progress_file(key))
            return _postpone("this group is being read and run through the model", progress)
        return result

    def _find(
        self, key: Key, context: Context, hotkey: bytes, group: int
    ) -> GroupReading | ReadingLack | Reply:
        now = time.monotonic()
        with self._lock:
            if key in self._packed:
                self._packed.move_to_end(key)
                return _decode(json.loads(zlib.decompress(self._packed[key])))
            failed = self._failed.get(key)
            if failed is not None and now - failed[0] < _AGAIN_S:
                return ReadingLack(why=failed[1], passing=False)
            if key in self._pending:
                return self._pending[key]
            if len(self._begun) == _A_MINUTE and now - self._begun[0] < 60:
                return _postpone("too many groups were asked for just now.")
            file = self._get_progress_file(key)
            request = self._fixed | {
                "progress": str(file),
                "context": context_to_json(context),
                "hotkey": hotkey.hex(),
                "group": group,
            }
            try:
                future = self._helper.ask(request)
            except BusyError:
                return _postpone("other groups are being measured first.")
            note_progress(str(file), 0, PARTS, "starting what reads files and runs models")
            self._begun.append(now)
            self._pending[key] = future
        watch_progress(file, future, self._on_change)
        future.add_done_callback(lambda done: self._note(key, done))
        return future

    def _get_progress_file(self, key: Key) -> Path:
        """The file in which the child notes how far it is with a group."""
        return self._scratch / f"{key[0].hex()[:16]}-{key[1].hex()[:16]}-{key[2]}.progress"

    def _note(self, key: Key, done: Reply) -> None:
        document = done.result()
        with self._lock:
            self._pending.pop(key, None)
            if isinstance(document, str) or document["kind"] == "unavailable":
                self._failed.put(key, (time.monotonic(), _explain_failure(document)))
            else:
                self._packed[key] = zlib.compress(json.dumps(document).encode(), 1)
                while sum(map(len, self._packed.values())) > _CACHE_BYTES and len(self._packed) > 1:
                    self._packed.popitem(last=False)
        self._get_progress_file(key).unlink(missing_ok=True)
        self._on_change()


def _postpone(why: str, progress: ReadingProgress | None = None) -> ReadingLack:
    return ReadingLack(why=why, passing=True, progress=progress)


def _explain_failure(document: dict[str, Any] | str) -> str:
    """Why there is no group, for pages. The log has more, for the explorer's operator."""
    message = document if isinstance(document, str) else document["message"]
    if message is not None:
        logger.warning("a rollout: %s", message, extra={"event": "explorer_trouble"})
    if isinstance(document, str):
        return "it cannot be run just now"
    return str(document["value"]["why"])


def _decode(document: dict[str, Any]) -> GroupReading:
    value = document["value"]
    return GroupReading(
        **value | {"rollouts": [RolloutReading(**one) for one in value["rollouts"]]}
    )
