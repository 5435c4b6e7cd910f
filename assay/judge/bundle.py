"""Opens a bundle of an audit, and reads what a judge without a model needs of it.

`assay audit export` and `assay demo` make bundles. A bundle cannot prove that its maker asked an
honest node, and what the chain said is not compared here: `assay audit` does that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from assay.gate.files import UnfitFileError, read_regular
from assay.judge.about import SUBMISSIONS_FOLDER, About, read_about, read_document
from assay.judge.checkpoint import CheckpointOutline, OpenTokenizer, open_outline
from assay.judge.form import ReadPart
from assay.judge.pack import PackedParts, PackedSubmission, decode_pack
from assay.judge.seal import STORE_FOLDER, BundleError, read_file, require_bundle, require_sealed
from assay.protocol.amendment import AMENDMENTS_MAX, ParameterHistory, make_history
from assay.protocol.beacon import QUICKNET
from assay.protocol.context import Context, find_context_fault
from assay.protocol.encoding import EncodingError
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters, find_parameters_fault
from assay.protocol.record import (
    SettlementRecord,
    WindowRecord,
    compute_record_bytes_max,
    decode_settlement_record,
    decode_window_record,
    make_record_context,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.ss58 import encode_ss58

_PARAMETERS_BYTES = 1 << 20
#: Why a window's rows cannot be judged again.
NO_INPUTS = "its record has no inputs: the validator had not seen its challenge or its audit beacon"
OTHER_PARAMETERS = "it was not judged by the parameters that hold for it"
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

    @property
    def uses_quicknet(self) -> bool:
        """Whether all beacons are drand's. Whoever holds another chain's key knows its beacons
        before they are out."""
        return all(parameters.beacon == QUICKNET for parameters in self.history.all)

    def read_window(self, window: int) -> WindowRecord | None:
        """A window's record; None: there is none. Raises an EncodingError: it is no record, or
        another's."""
        name = make_window_record_name(self.validator, window)
        record = self._read_record(name, decode_window_record)
        if record is not None and record.window != window:
            raise EncodingError(f"under its name lies the record of window {record.window}")
        return record

    def list_epochs(self) -> list[int]:
        """The epoch blocks of which the bundle has a settlement, ascending."""
        folder = self.folder / STORE_FOLDER
        pattern = make_settlement_record_name(self.validator, 0).replace("0.record", "*.record")
        numbers = (path.stem.rpartition("-")[2] for path in folder.glob(pattern))
        return sorted(int(n) for n in numbers if n.isascii() and n.isdecimal() and str(int(n)) == n)

    def read_settlement(self, epoch: int) -> SettlementRecord | None:
        """The record of the settlement at an epoch block; None and errors as `read_window`."""
        name = make_settlement_record_name(self.validator, epoch)
        record = self._read_record(name, decode_settlement_record)
        if record is not None and record.epoch != epoch:
            raise EncodingError(f"under its name lies the record of epoch {record.epoch}")
        return record

    def read_context(self, window: int) -> Context:
        """The context from which a window was judged, checked. Raises a BundleError: its record has
        none that one can judge by."""
        try:
            record = self.read_window(window)
        except EncodingError as error:
            raise BundleError(f"window {window}: {error}") from None
        if record is None:
            raise BundleError(f"the bundle has no record of window {window}")
        parameters = self.history.get(window)
        context = make_record_context(record, parameters)
        if context is None or context.audit is None:
            raise BundleError(f"window {window}: {NO_INPUTS}")
        fault = find_context_fault(context)
        if fault is None and record.parameters != parameters.digest:
            fault = OTHER_PARAMETERS
        if fault is not None:
            raise BundleError(f"window {window}: {fault}")
        return context

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
        return PackedParts(read_pack(path, hotkey)).read

    def _read_record(self, name: str, decode: Callable[[bytes], _R]) -> _R | None:
        path = self.folder / STORE_FOLDER / name
        if not path.exists():
            return None
        try:
            record = decode(
                read_regular(path, max(map(compute_record_bytes_max, self.history.all)))
            )
        except EncodingError as error:
            raise EncodingError(f"its record is none: {error}") from None
        except UnfitFileError as error:
            raise EncodingError(f"its record {error}") from None
        if record.validator != self.about.validator:
            raise EncodingError(f"its record is {encode_ss58(record.validator)}'s")
        return record


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle's folder after a check of every byte.

    Raises:
        SealError: it differs from its seal: names the file.
        BundleError: it is not a bundle of this version, or not a folder.
    """
    try:
        require_bundle(folder)
        if not folder.is_dir():
            raise BundleError(
                f"{folder} is a bundle's file: unpack it with `tar -xf` into a folder"
            )
        require_sealed(folder)
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read ({error.strerror})") from None
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


def read_pack(path: Path, hotkey: bytes) -> PackedSubmission:
    """The parts read of a hotkey's file. Raises BundleError, PackError: they are missing, damaged,
    or another hotkey's."""
    packed = decode_pack(read_file(path))
    if packed.hotkey != hotkey:
        raise BundleError(f"{path} is another hotkey's file")
    return packed
