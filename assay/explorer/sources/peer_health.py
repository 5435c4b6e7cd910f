"""Tracks whether a polled peer answers, and since when it does not."""

import logging
import threading
import time

from assay.protocol.errors import Trouble, TroubleKind

#: Seconds without an answer after which a peer counts as silent.
SLOW_S = 5.0

logger = logging.getLogger(__name__)


class PeerHealth:
    """Health of one peer. Thread-safe.

    Args:
        who: the peer's name at the start of a sentence.
        kind: what is in trouble while the peer does not answer.
    """

    def __init__(self, who: str, kind: TroubleKind) -> None:
        self._who = who
        self._kind = kind
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

    def describe(self) -> tuple[Trouble, int] | None:
        """The trouble and its start, Unix milliseconds. None without trouble.

        After a failure, trouble lasts until the peer answers.
        """
        with self._lock:
            slow = self._asked is not None and time.monotonic() - self._asked > SLOW_S
            text = self._trouble or (f"{self._who} does not answer" if slow else None)
            return None if text is None else (Trouble(self._kind, text), self._good_ms)
