"""Posting beside validating: a thread of its own, so that nothing of the EVM delays a verdict."""

import logging
import threading
import traceback

from assay.neurons.validator.ledger_outbox import LedgerOutbox
from assay.protocol import SettlementRecord
from assay.protocol.errors import OperatorError

logger = logging.getLogger("assay")

#: Seconds between two looks; after a failure twice as long, then twice that, up to the second.
LOOK_S, _LONGEST_S = 6.0, 300.0
#: Seconds that an ending program waits for a request under way.
_END_S = 30.0


class LedgerThread:
    """Drives an outbox until it is stopped.

    Attributes:
        trouble: what keeps settlements from the ledger, for people; None while nothing does.
    """

    def __init__(self, outbox: LedgerOutbox, look_s: float = LOOK_S) -> None:
        self.trouble: str | None = None
        self._outbox = outbox
        self._look_s = look_s
        self._wake = threading.Event()
        self._ended = threading.Event()
        # a request that hangs to its deadline must not keep a program that was asked to stop
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Begins; what was on its way when the program last ended goes on."""
        self._thread.start()

    def put_record(self, record: SettlementRecord) -> None:
        """See `LedgerOutbox.put_record`."""
        self._outbox.put_record(record)
        self._wake.set()

    def close(self) -> None:
        """Ends after the request under way. What is not posted is on disk."""
        self._ended.set()
        self._wake.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        pause_s = self._look_s
        while not self._ended.is_set():
            self._wake.clear()
            pause_s = self._look_s if self._step() else min(2 * pause_s, _LONGEST_S)
            self._wake.wait(pause_s)

    def _step(self) -> bool:
        """Whether all went well."""
        try:
            self._outbox.step()
            self._say(self._outbox.trouble)
        except (OperatorError, OSError) as error:
            self._say(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the outermost loop of a thread
            logger.error(
                "a defect of assay:\n%s",
                "".join(traceback.format_exception(error)),
                extra={"event": "defect"},
            )
            self._say("posting to the ledger fails by a defect of assay, which the log shows")
            return False
        return True

    def _say(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self.trouble:
            logger.warning("ledger: %s", trouble, extra={"event": "posting_trouble"})
        elif trouble is None and self.trouble is not None:
            logger.info("ledger: settlements are posted again", extra={"event": "posting_resumed"})
        self.trouble = trouble
