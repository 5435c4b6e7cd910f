"""Opens what somebody names to be judged: a miner's file, a bundle's parts of one, a context.

A miner's file is `*.rollouts`, whole. A bundle has only the parts that an audit reads, in a pack of
their own format, without a suffix.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from assay.gate.files import UnfitFileError, open_regular, read_regular
from assay.judge.form import ReadPart
from assay.judge.pack import PackedParts, PackError, decode_pack
from assay.judge.seal import FILE_BYTES
from assay.protocol.context import Context, context_from_json, find_context_fault
from assay.protocol.encoding import EncodingError, decode, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import DIGEST_BYTES
from assay.protocol.parameters import PROTOCOL_VERSION
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import HEADER_BYTES, Header, Range

#: Most bytes of a context.
_CONTEXT_BYTES = 64 << 20
_WINDOW = re.compile(r"window-(0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file to be judged.

    Attributes:
        hotkey: as the file says; None: it says nothing that can be read.
        window: as its folder or its name says, `window-N`, else as the file says; or None.
    """

    read: ReadPart
    hotkey: bytes | None
    window: int | None


def open_file(path: Path) -> ShownFile:
    """A miner's file, or a bundle's pack of one. Raises an OperatorError: it cannot be read."""
    with open_named(path) as file:
        head = file.read(HEADER_BYTES)
    begins = head[:2] == PROTOCOL_VERSION.to_bytes(2, "big")
    # a hotkey may begin with the version's bytes, too, and a bundle names its packs by hotkey
    if begins and path.name != encode_ss58(head[:DIGEST_BYTES].ljust(DIGEST_BYTES)):
        header = _read_header(head)
        hotkey = None if header is None else header.hotkey
        return ShownFile(read_file(path), hotkey, _find_window(path, header))
    with _name_errors(path):
        data = read_regular(path, FILE_BYTES, follow=True)
    try:
        packed = decode_pack(data)
    except PackError:  # whatever somebody shows as a miner's file
        return ShownFile(read_file(path), None, _find_window(path, None))
    opening = next((part.data for part in packed.parts if part.start == 0), None) or b""
    header = _read_header(opening[:HEADER_BYTES])
    return ShownFile(PackedParts(packed).read, packed.hotkey, _find_window(path, header))


def read_file(path: Path) -> ReadPart:
    """The parts of a file on this machine. Raises an OperatorError when a part is read: it cannot
    be, or the file is cut off."""

    def read(part: Range) -> bytes:
        with open_named(path) as file:
            file.seek(part.start)
            data = file.read(part.size)
            if len(data) < part.size:
                size = file.seek(0, 2)
                raise OperatorError(
                    f"{path} is cut off, {size:,} of at least {part.end:,} bytes: fetch it again"
                )
            return data

    return read


def read_context(path: Path) -> Context:
    """The context in a file of JSON, checked by `find_context_fault`. Raises an OperatorError: it
    is none that one can judge by."""
    with _name_errors(path):
        data = read_regular(path, _CONTEXT_BYTES, follow=True)
    try:
        context = context_from_json(read_json(data))
    except EncodingError as error:
        raise OperatorError(f"{path} is no context: {error}") from None
    fault = find_context_fault(context)
    if fault is None and context.audit is None:
        fault = "its audit beacon is not known yet"
    if fault is not None:
        raise OperatorError(f"{path}: {fault}")
    return context


@contextmanager
def open_named(path: Path) -> Iterator[BufferedReader]:
    """A regular file that somebody named. Raises an OperatorError: it cannot be opened or read."""
    with _name_errors(path), open_regular(path, follow=True) as file:
        yield file


@contextmanager
def _name_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperatorError(f"{path} cannot be read ({error.strerror})") from None
    except UnfitFileError as error:
        raise OperatorError(f"{path} {error}") from None


def _read_header(data: bytes) -> Header | None:
    try:
        return decode(Header, data)
    except EncodingError:
        return None


def _find_window(path: Path, header: Header | None) -> int | None:
    for name in (path.absolute().parent.name, path.stem):
        if found := _WINDOW.fullmatch(name):
            return int(found[1])
    return None if header is None else header.window
