"""Tracks whether a polled peer answers, and since when it does not."""

import logging
import threading
import time

#: Seconds without an answer after which a peer counts as silent.
SLOW_S = 5.0

logger = logging.getLogger(__name__)


class PeerHealth:
    """Health of one peer. Thread-safe. who: the peer's name at the start of a sentence."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._lock = threading.Lock()
        self._good_ms = time.time_ns() // 1_000_000
        self._asked: float | None = None
        self._trouble: str | None = None

    def begin(self) -> None:
        with self._lock:
            self._asked = time.monotonic()

    def end(self, trouble: str | None = None) -> None:
        """It has answered, or there is trouble, which is logged. Pages show only its kind."""
        with self._lock:
            is_news = trouble not in (None, self._trouble)
            self._asked, self._trouble = None, trouble
            if trouble is None:
                self._good_ms = time.time_ns() // 1_000_000
        if is_news:
            logger.warning("%s", trouble, extra={"event": "explorer_trouble"})

    def describe(self) -> tuple[str, int] | None:
        """The trouble and its start, Unix milliseconds. None without trouble.

        After a failure, trouble lasts until the peer answers.
        """
        with self._lock:
            slow = self._asked is not None and time.monotonic() - self._asked > SLOW_S
            trouble = self._trouble or (f"{self._who} does not answer" if slow else None)
            return None if trouble is None else (trouble, self._good_ms)
