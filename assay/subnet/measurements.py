"""What this machine has measured of models, kept for the next command, and for one that goes on
after a stop.

    ~/.cache/assay/measured/<SHA-256 of all that decides it>.json

A result is named by everything that decides it: the weights' digest, the question, the code, the
libraries, the processor. It is read only where nobody but this user can have written it, and never
from a model's own folder: whoever hands an owner a folder could write there what would let an
unfit model pass. A file's time is that of its last use.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from assay.network.files import write_file
from assay.protocol.encoding import EncodingError, Json, read_json
from assay.sandbox.guest.store import is_trusted

FOLDER = Path("~/.cache/assay/measured")
#: Results that stay, and the largest file of one: a calibration set's part has a few hundred KB.
_KEPT, _BYTES_MAX = 1_024, 64 << 20
#: The packages whose code decides what is measured.
_PACKAGES = ("environments", "gate", "inference", "protocol", "subnet", "verification")


class Measurements:
    """Results in a folder. A folder that cannot be used keeps nothing, and costs no command.

    Args:
        folder: None: nothing is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def recall(self, what: str, of: Mapping[str, Json]) -> Json:
        """A result that was kept; None: there is none, or others could have written it.

        Args:
            what: was measured.
            of: all that decides the result.
        """
        path = self._find(what, of)
        if path is None or not is_trusted(path):
            return None
        try:
            with path.open("rb") as file:
                document = read_json(file.read(_BYTES_MAX))
        except (OSError, EncodingError):
            return None
        with suppress(OSError):
            os.utime(path)
        return document.get("found") if isinstance(document, dict) else None

    def keep(self, what: str, of: Mapping[str, Json], found: Json) -> None:
        """Keep a result. Without effect where the disk refuses it."""
        path = self._find(what, of)
        if path is None:
            return
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = json.dumps({"what": what, "of": of, "found": found}).encode()
            write_file(path, data, 0o600, durable=False)
            self._remove_oldest()

    def _find(self, what: str, of: Mapping[str, Json]) -> Path | None:
        if self._folder is None:
            return None
        name = json.dumps([what, of, compute_code_digest()], sort_keys=True)
        return self._folder / f"{sha256(name.encode()).hexdigest()}.json"

    def _remove_oldest(self) -> None:
        assert self._folder is not None, "something was kept there"
        files = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[:-_KEPT]:
            path.unlink(missing_ok=True)


def open_measurements() -> Measurements:
    """What this user's commands have kept."""
    try:
        return Measurements(FOLDER.expanduser())
    except RuntimeError:  # no home
        return Measurements()


@cache
def compute_code_digest() -> str:
    """SHA-256 of the code that decides what is measured, in hex."""
    digest = sha256()
    for package in _PACKAGES:
        spec = find_spec(f"assay.{package}")
        places = () if spec is None else spec.submodule_search_locations or ()
        for folder in map(Path, places):
            for file in sorted(folder.rglob("*.py")):
                digest.update(f"{package}/{file.relative_to(folder)}\0".encode())
                digest.update(sha256(file.read_bytes()).digest())
    return digest.hexdigest()
