"""What a bundle says of itself: `about.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.judge.seal import ABOUT_FILE, BundleError, read_file
from assay.protocol.encoding import (
    U16,
    U64,
    Address,
    Digest,
    EncodingError,
    Json,
    Row,
    from_json,
    read_json,
)

BUNDLE_VERSION = 2
#: The folder of the parts read of miners' files.
SUBMISSIONS_FOLDER = "submissions"
_ABOUT_BYTES = 1 << 16
#: Most windows that are audited at a time: each takes memory.
AUDITED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class AuditedWindows:
    """The windows to audit, from the first to the last."""

    first: U64
    last: U64

    @property
    def all(self) -> range:
        """All of them."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True, slots=True)
class About:
    """The validator whose record a bundle is of."""

    bundle: U16  # version
    validator: Annotated[bytes, Address()]  # hotkey
    netuid: U16
    windows: Annotated[AuditedWindows, Row(AuditedWindows)]
    parameters: Digest  # of the newest parameters decided when it was made


def read_about(folder: Path) -> About:
    """Read `about.json`. Raises a BundleError if the file is not of this version."""
    value = read_document(folder / ABOUT_FILE, _ABOUT_BYTES)
    version = value.get("bundle") if isinstance(value, dict) else None
    if version is not None and version != BUNDLE_VERSION:
        raise BundleError(f"{folder} is a bundle of version {version}, not {BUNDLE_VERSION}")
    try:
        about = from_json(About, value)
        if not 0 < len(about.windows.all) <= AUDITED_MAX:
            raise EncodingError(f"windows: are not in order, less than {AUDITED_MAX} apart")
    except (EncodingError, OverflowError) as error:  # a range beyond any machine has no length
        raise BundleError(f"{folder / ABOUT_FILE} says nothing of a bundle: {error}") from None
    return about


def read_document(path: Path, limit: int) -> Json:
    """A file's JSON, of at most `limit` bytes. Raises a BundleError: it cannot be read."""
    try:
        return read_json(read_file(path, limit))
    except EncodingError as error:
        raise BundleError(f"{path} {error}") from None
