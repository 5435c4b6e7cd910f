"""How far a helper is: it writes that into a file, and pages show it."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.artifacts.records.run_folder import BROKEN
from assay.explorer.documents.windows import ReadingProgress
from assay.network.files import write_file

#: Seconds between two looks at a file, and most bytes of it.
_LOOK_S, _BYTES = 0.5, 1_024


def note_progress(file: str, done: int, of: int, what: str) -> None:
    """Note, as a helper, that so many parts are done, and which is under way."""
    document = ReadingProgress(done=done, of=of, what=what)
    with suppress(OSError):  # a full disk costs the bar, not the reading
        write_file(Path(file), json.dumps(document).encode(), durable=False)


def read_progress(file: Path) -> ReadingProgress | None:
    """What a helper noted; None: nothing yet."""
    try:
        with file.open("rb") as opened:
            document = json.loads(opened.read(_BYTES))
        return ReadingProgress(
            done=int(document["done"]), of=int(document["of"]), what=str(document["what"])
        )
    except (OSError, *BROKEN):
        return None


def watch_progress(file: Path, reading: Future[Any], on_change: Callable[[], None]) -> None:
    """Call `on_change` whenever a helper has come further, until its reading ends."""

    def watch() -> None:
        seen = None
        while wait([reading], _LOOK_S).not_done:
            found = read_progress(file)
            if found != seen:
                seen = found
                on_change()

    threading.Thread(target=watch, name="progress", daemon=True).start()
