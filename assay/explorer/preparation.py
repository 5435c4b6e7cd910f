"""What takes seconds, computed before anybody asks for it: in the indexer's thread, at the start
and whenever the record has grown."""

import logging

from assay.explorer.index import IndexDamagedError
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import Query
from assay.explorer.views.course import view_training
from assay.explorer.views.overview import view_overview

logger = logging.getLogger(__name__)
#: Newest settlements for which it is asked what the chain's epoch at their block paid.
_EPOCHS = 1_024


class Preparation:
    """Makes the first visits of pages quick: it reads the manifests and the line of checkpoints
    that they show, and has a helper begin with the course's steps. What the chain pays goes into
    the index, because a node forgets it.

    A course that was read once is read again only when somebody looks: meanwhile pages have the
    earlier reading.
    """

    def __init__(self, reader: PageReader) -> None:
        self._reader = reader
        self._seen: int | None = None
        self._has_course = False

    def run(self) -> None:
        """Raises IndexDamagedError: the index cannot be used."""
        self._note_pay()
        newest = self._reader.ask_one("SELECT max(epoch) AS epoch FROM settlements")["epoch"]
        if newest is None or newest == self._seen:
            return
        self._seen = newest
        try:
            view_overview(self._reader, Query({}))
            if not self._has_course:
                self._has_course = view_training(self._reader, Query({}))["lack"] is None
        except IndexDamagedError:
            raise
        except Exception:  # a page that shows it will say so; the index goes on
            logger.exception("pages are not prepared", extra={"event": "explorer_trouble"})

    def _note_pay(self) -> None:
        reader = self._reader
        epochs = [
            row["epoch"]
            for row in reader.ask(
                "SELECT epoch FROM settlements WHERE epoch NOT IN (SELECT epoch FROM chain_epochs) "
                "ORDER BY epoch DESC LIMIT ?",
                _EPOCHS,
            )
        ]
        for epoch, rows in reader.sources.read_pay(epochs).items():
            pay = [(uid.hotkey, uid.incentive, uid.emission) for uid in rows]
            reader.index.put_pay(epoch, pay)
