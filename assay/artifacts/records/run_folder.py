"""Reads the files that a demo, a validator or a trainer has left in its folder.

All of them are JSON that programs write for people. A malformed document counts as missing, and
nothing raises unless its docstring says so.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from assay.artifacts.status.demo import DemoStatus
from assay.artifacts.status.program import ProgramStatus
from assay.artifacts.status.validator import ValidatorStatus
from assay.network.files import is_locked
from assay.protocol.encoding import EncodingError, read_json

if TYPE_CHECKING:  # `assay status` reads one file of JSON and should load nothing else
    from assay.network.store.folder import FolderStore
    from assay.protocol.context import Context

T = TypeVar("T")
#: Largest JSON that is read, bytes.
DOCUMENT_BYTES = 64 << 20
#: Errors of reading a malformed document.
BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError)


class JsonFile:
    """A JSON document that is read again when its file has changed. Safe to share between
    threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[tuple[int, int, int] | None, Any] = None, None  # one: threads change it

    def read(self) -> Any:
        """The document; None where it is missing or unreadable."""
        mark, value = self._known
        try:
            stat = self.path.stat()
            now = stat.st_mtime_ns, stat.st_size, stat.st_ino
            if now != mark:
                with self.path.open("rb") as opened:
                    value = json.loads(opened.read(DOCUMENT_BYTES))
                self._known = now, value
        except (OSError, ValueError, RecursionError):
            self._known = None, None
            return None
        return value

    def read_object(self) -> Mapping[str, Any] | None:
        """The document, which should be an object: empty where it is anything else; None where
        there is no file."""
        document = self.read()
        if isinstance(document, dict):
            return document
        return {} if self.path.is_file() else None

    def pick(self, read: Callable[[Any], T], default: T) -> T:
        """The part of the document that `read` returns, or the default if it is malformed."""
        try:
            return read(self.read())
        except BROKEN:
            return default


class RunFolder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.status = JsonFile(root / "status.json")
        self.summary = JsonFile(root / "summary.json")

    def is_held(self) -> bool:
        """Return whether a program on this machine holds the folder."""
        return any(is_locked(marker) for marker in self.root.glob(".assay-*"))

    # --- the program's own documents

    def get_locator(self) -> str | None:
        """The locator of its program's record; None: the record is in the folder, or not named."""

        def read(status: ValidatorStatus) -> str | None:
            record = status["record"]
            return None if record is None else record["locator"]

        locator = self.status.pick(read, None)
        return None if locator is None else str(locator)

    def get_hotkey(self, netuid: int | None) -> str | None:
        """The hotkey of a validator's folder, SS58. `netuid` is the requested subnet. None: the
        validator is of another one."""

        def read(status: ProgramStatus) -> str | None:
            if netuid is not None and status.get("netuid", netuid) != netuid:
                return None
            return str(status["hotkey"]) if status["program"] == "validator" else None

        return self.status.pick(read, None)

    def get_parameters(self) -> bytes | None:
        """Digest of its program's parameters."""

        def read(status: ProgramStatus) -> bytes:
            return bytes.fromhex(status["parameters"])

        return self.status.pick(read, None)

    def get_names(self) -> dict[str, str]:
        """A demo's miners: hotkey in SS58 → name."""

        def read(status: DemoStatus) -> dict[str, str]:
            return {str(miner["hotkey"]): str(miner["name"]) for miner in status["demo"]["miners"]}

        return self.status.pick(read, {})

    def get_payment(self, epoch: int, address: str) -> tuple[int, int] | None:
        """The block at which a demo's chain paid a settlement, and a miner's incentive, u16."""
        try:
            for settlement in self.summary.read()["settlements"]:
                if settlement["epoch_block"] == epoch and settlement["paid_at"] is not None:
                    incentive = settlement["incentives"][self.get_names()[address]]
                    return int(settlement["paid_at"]), int(incentive)
        except BROKEN:
            pass
        return None

    # --- windows

    @property
    def has_contexts(self) -> bool:
        """Return whether the folder is of a run that keeps contexts: a demo's or a validator's."""
        return (self.root / "contexts").is_dir()

    def list_windows(self) -> list[int]:
        names = (path.stem for path in (self.root / "contexts").glob("window-*.json"))
        numbers = (name.rpartition("-")[2] for name in names)
        return sorted(int(number) for number in numbers if number.isdecimal())

    def get_context_path(self, window: int) -> Path:
        return self.root / "contexts" / f"window-{window}.json"

    def read_context(self, window: int) -> "Context":
        """A window's context, as it was written. Raises EncodingError: the file is not one, or
        cannot be read."""
        from assay.protocol.context import context_from_json

        try:
            with self.get_context_path(window).open("rb") as opened:
                return context_from_json(read_json(opened.read(DOCUMENT_BYTES)))
        except OSError as error:
            raise EncodingError(f"cannot be read ({error.strerror})") from None

    def read_verdicts(self, window: int) -> dict[str, Any]:
        """A validator's own notes of a window, before its record is out; empty if missing."""
        document = JsonFile(self.root / "verdicts" / f"window-{window}.json").read()
        return document if isinstance(document, dict) else {}

    def open_record(self) -> "FolderStore | None":
        """The public record in the folder, or None before the first one."""
        from assay.network.store.folder import open_folder

        root = self.root / "record"
        return open_folder(root) if root.is_dir() else None
