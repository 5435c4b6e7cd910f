"""Opens a bundle of an audit, and reads what a judge without a model needs of it.

`assay audit export` and `assay demo` make bundles. A bundle cannot prove that its maker asked an
honest node, and what the chain said is not compared here: `assay audit` does that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from assay.judge.about import SUBMISSIONS_FOLDER, About, read_about, read_document
from assay.judge.checkpoint import CheckpointOutline, OpenTokenizer, open_outline
from assay.judge.form import ReadPart
from assay.judge.pack import PackedParts, decode_pack
from assay.judge.seal import FILE_BYTES, STORE_FOLDER, BundleError, require_bundle, require_sealed
from assay.protocol.amendment import AMENDMENTS_MAX, ParameterHistory, make_history
from assay.protocol.encoding import EncodingError
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters, find_parameters_fault
from assay.protocol.record import (
    SettlementRecord,
    WindowRecord,
    compute_record_bytes_max,
    decode_settlement_record,
    decode_window_record,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.ss58 import encode_ss58

_PARAMETERS_BYTES = 1 << 20
_R = TypeVar("_R", WindowRecord, SettlementRecord)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose seal is intact.

    Methods raise a BundleError or another OperatorError where a file cannot be read.
    """

    folder: Path
    about: About
    history: ParameterHistory
    _outlines: dict[bytes, CheckpointOutline] = field(default_factory=dict)

    @property
    def validator(self) -> str:
        """The validator whose record it has, in SS58."""
        return encode_ss58(self.about.validator)

    def read_window(self, window: int) -> WindowRecord | None:
        """A window's record; None: there is none. Raises an EncodingError: it is no record."""
        name = make_window_record_name(self.validator, window)
        return self._read_record(name, decode_window_record)

    def read_settlements(self) -> Iterator[SettlementRecord]:
        """All settlements of the validator that the bundle has, by epoch. Raises an EncodingError:
        one is no record."""
        start = make_settlement_record_name(self.validator, 0).partition("/")[2].partition("0")[0]
        folder = self.folder / STORE_FOLDER / self.validator
        names = (path.name.removeprefix(start) for path in folder.glob(f"{start}*.record"))
        epochs = sorted(int(n[:-7]) for n in names if n[:-7].isascii() and n[:-7].isdecimal())
        for epoch in epochs:
            name = make_settlement_record_name(self.validator, epoch)
            record = self._read_record(name, decode_settlement_record)
            if record is not None:
                yield record

    def open_outline(
        self, digest: bytes, open_tokenizer: OpenTokenizer | None = None
    ) -> CheckpointOutline:
        """A checkpoint without its tensors, see `checkpoint.open_outline`."""
        if digest not in self._outlines:
            folder = self.folder / STORE_FOLDER / "checkpoints" / digest.hex()
            self._outlines[digest] = open_outline(folder, digest, open_tokenizer)
        return self._outlines[digest]

    def open_submission(self, window: int, hotkey: bytes) -> ReadPart:
        """The parts that were read of a hotkey's file. Raises PackError: it is damaged."""
        path = self.folder / SUBMISSIONS_FOLDER / f"window-{window}" / encode_ss58(hotkey)
        packed = decode_pack(_read(path, FILE_BYTES))
        if packed.hotkey != hotkey:
            raise BundleError(f"{path} is another hotkey's file")
        return PackedParts(packed).read

    def _read_record(self, name: str, decode: Callable[[bytes], _R]) -> _R | None:
        path = self.folder / STORE_FOLDER / name
        if not path.is_file():
            return None
        return decode(_read(path, max(map(compute_record_bytes_max, self.history.all))))


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle's folder after a check of every byte.

    Raises:
        SealError: it differs from its seal: names the file.
        BundleError: it is not a bundle of this version, or not a folder.
    """
    require_bundle(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder} is a bundle's file: unpack it with `tar -xf` into a folder")
    require_sealed(folder)
    about = read_about(folder)
    return Bundle(folder, about, _read_history(folder / STORE_FOLDER, about.parameters))


def _read_history(store: Path, newest: bytes) -> ParameterHistory:
    path: list[Parameters] = []
    digest = newest
    while digest != ZERO_DIGEST:
        if len(path) > AMENDMENTS_MAX:
            raise BundleError(f"the bundle's parameters have more than {AMENDMENTS_MAX} amendments")
        path.append(_read_parameters(store / "parameters" / f"{digest.hex()}.json", digest))
        digest = path[-1].start.predecessor
    try:
        return make_history(path[::-1])
    except ValueError as error:
        raise BundleError(f"the bundle's parameters do not follow each other: {error}") from None


def _read_parameters(path: Path, digest: bytes) -> Parameters:
    try:
        parameters = Parameters.from_json(read_document(path, _PARAMETERS_BYTES))
    except EncodingError as error:
        raise BundleError(f"{path} holds no parameters: {error}") from None
    fault = find_parameters_fault(parameters)
    if parameters.digest != digest:
        fault = "they are not those that the name says"
    if fault is not None:
        raise BundleError(f"nobody can judge by {path}: {fault}")
    return parameters


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise BundleError(f"{path} has more than {limit:,} bytes")
    return data
