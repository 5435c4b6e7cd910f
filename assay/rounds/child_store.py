"""Children and merges in stores: a trainer uploads those of its round, and others read them.

    children/<digest>.json     a child's record
    pieces/<SHA-256>           the pieces of its masters; its trainer's state if that is published
    steps/<digest>/…           its steps, as usual, and checkpoints/<digest>/manifest.json of each
    merges/<digest>.json       a merge's record
    outer/<root>               the masters and the velocity after it, a safetensors file

A digest of its content names each object, so any store's copy will do. A store that cannot be read,
or shows other bytes than it should, counts as withholding. Until its round's deadline, a trainer
puts its child on a shelf, a store that nobody else reads.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save

from assay.artifacts.steps.file import DATA_BYTES_MAX, ConsumedGroup
from assay.artifacts.steps.folder import (
    RECORD_BYTES_MAX,
    StepError,
    StepFolder,
    read_step,
    read_step_groups,
)
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.artifacts.store_objects import (
    CHILDREN,
    UnavailableError,
    answer_in_time,
    make_checkpoint_name,
    make_child_name,
    make_merge_name,
    make_outer_name,
    make_piece_name,
    make_step_name,
    map_file,
    put_object,
)
from assay.inference.folder import MANIFEST_FILE
from assay.network.files import replace_file, write_file
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.folder import FolderStore
from assay.protocol.encoding import EncodingError, from_json, read_json, to_json
from assay.protocol.manifest import Manifest
from assay.rounds.child_verdict import ChildFiles, ChildStep
from assay.rounds.difference_form import FormError, WireForm
from assay.rounds.outer_records import ChildRecord, MergeRecord
from assay.rounds.outer_step import Masters, OuterState, compute_outer_root
from assay.rounds.wire import PIECE_BYTES

#: Most bytes of a manifest, a child's and a merge's record; of an outer state's file, in addition
#: to its tensors.
_RECORD_MAX, _BESIDE_MAX = 1 << 22, 1 << 24
#: Suffixes of a child's files in a reader's folder: its pieces in a row, and its decoded masters.
_PIECES, _MASTERS = ".pieces", ".masters"
#: Seconds for one object, and for all of one child. Tuning.
_PATIENCE_S, CHILD_SECONDS = 60.0, 900.0
T = TypeVar("T")


class WithheldError(Exception):
    """No store has the object that a digest names. The message names the object."""


def put_record(store: ObjectStore, record: ChildRecord | MergeRecord) -> None:
    """Store a record. Raises StoreError if the store cannot be read or written, like every function
    here that writes."""
    make = make_child_name if isinstance(record, ChildRecord) else make_merge_name
    put_bytes(store, make(record.digest), json.dumps(to_json(record)).encode())


def put_pieces(store: ObjectStore, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        put_bytes(store, make_piece_name(sha256(piece).digest()), piece)


def put_manifest(store: ObjectStore, manifest: Manifest) -> None:
    """Upload the manifest of a checkpoint that is not uploaded itself."""
    name = make_checkpoint_name(manifest.digest, MANIFEST_FILE)
    if store.open(name).size() is None:
        put_bytes(store, name, json.dumps(to_json(manifest)).encode())


def put_outer(store: ObjectStore, state: OuterState, root: bytes) -> None:
    put_bytes(store, make_outer_name(root), save(state.to_tensors()))


def put_bytes(store: ObjectStore, name: str, data: bytes) -> None:
    put_object(store, name, sha256(data).digest(), memoryview(data))


def put_child(store: ObjectStore, child: ChildFiles, pieces: Iterable[bytes], steps: Path) -> None:
    """Store everything that a child's record names, and the record last: a reader that finds the
    record finds all of it.

    Args:
        steps: folder with the steps' records and groups. Raises OSError if they cannot be read.
    """
    put_manifest(store, child.parent)
    for step in child.steps:
        place = _find_step(steps, step)
        for suffix, name in ((".parquet", "step.parquet"), (".json", "step.json")):
            data = place.with_suffix(suffix).read_bytes()
            put_bytes(store, make_step_name(step.record.digest, name), data)
        put_manifest(store, step.manifest)
    put_pieces(store, pieces)
    put_record(store, child.record)


def reveal(shelf: FolderStore, store: ObjectStore) -> None:
    """Put everything on a shelf into a store, a child's record last. Raises StoreError, OSError."""
    for name in sorted(shelf.list(), key=lambda name: name.startswith(f"{CHILDREN}/")):
        with map_file(shelf.root / name) as data, memoryview(data) as view:
            put_object(store, name, sha256(view).digest(), view)


def read_pieces(file: Path) -> Iterator[bytes]:
    """The pieces of a child, from the file of a `RoundReader`. Raises OSError."""
    with file.open("rb") as opened:
        while piece := opened.read(PIECE_BYTES):
            yield piece


def forget_masters(folder: Path) -> None:
    """Remove the children's pieces and masters from a reader's folder. Masters that are still in
    use stay readable. Raises OSError."""
    for suffix in (_PIECES, _MASTERS):
        for path in folder.glob(f"*{suffix}"):
            path.unlink()


def _find_step(folder: Path, step: ChildStep) -> Path:
    """The path of a step's record, as its trainer keeps it, or as it was read from a store."""
    own_step = StepFolder(folder).get_path(step.record.number, step.record.digest)
    return own_step if own_step.exists() else StepFolder(folder).get_path(0, step.record.digest)


class RoundReader:
    """Reads children and merges out of stores, one after another, into a folder.

    Args:
        stores: asked in order.
        folder: gets steps, in the layout of a trainer's folder, and the children's pieces and
            masters.
        seconds: limit of all reads through this object.
        parser: see `open_step_parser`; None: one for each file.
    """

    def __init__(
        self,
        stores: Sequence[ObjectStore],
        folder: Path,
        seconds: float = CHILD_SECONDS,
        parser: ParquetWorker | None = None,
    ) -> None:
        self._parser = parser
        self._stores = stores
        self._folder, self._steps = folder, StepFolder(folder)
        self._deadline = time.monotonic() + seconds
        folder.mkdir(parents=True, exist_ok=True)

    def read_child_record(self, digest: bytes) -> ChildRecord:
        """A child's record. Raises WithheldError if no store has it, like every method that
        reads."""

        def parse(data: bytes) -> ChildRecord:
            record = from_json(ChildRecord, read_json(data))
            return _require(record, record.digest == digest)

        return self._read(make_child_name(digest), _RECORD_MAX, parse)

    def read_merge_record(self, digest: bytes) -> MergeRecord:
        def parse(data: bytes) -> MergeRecord:
            record = from_json(MergeRecord, read_json(data))
            return _require(record, record.digest == digest)

        return self._read(make_merge_name(digest), _RECORD_MAX, parse)

    def read_manifest(self, digest: bytes) -> Manifest:
        def parse(data: bytes) -> Manifest:
            manifest = from_json(Manifest, read_json(data))
            return _require(manifest, manifest.digest == digest)

        name = make_checkpoint_name(digest, MANIFEST_FILE)
        return self._read(name, _RECORD_MAX, parse)

    def read_outer(self, root: bytes, most: int) -> OuterState:
        """The outer state of a root. `most` limits the bytes of its file."""

        def parse(data: bytes) -> OuterState:
            try:
                state = OuterState.from_tensors(load(data))
            except (SafetensorError, KeyError) as error:
                raise ValueError(str(error)) from None
            return _require(state, compute_outer_root(state) == root)

        return self._read(make_outer_name(root), most, parse)

    def read_child(
        self, record: ChildRecord, parent: Masters, form: WireForm, most_steps: int
    ) -> tuple[ChildFiles, Path] | str:
        """Everything that a child's record names, and the file with its pieces; or a sentence with
        the fault. The masters are mapped from a file.

        Args:
            parent: masters that the round begins with. They limit the total size of the pieces.
            most_steps: most steps of a round.
        """
        if not 1 <= len(record.steps) <= most_steps:
            return f"it has {len(record.steps)} steps, and a round at most {most_steps}"
        steps = [self._read_step(digest) for digest in record.steps]
        first = self.read_manifest(steps[0].record.parent)
        pieces = self._folder / f"{record.digest.hex()}{_PIECES}"
        sizes = self._read_pieces(record, form.compute_limit(parent), pieces)
        try:
            masters = form.decode_file(parent, sizes, pieces, pieces.with_suffix(_MASTERS))
        except FormError as error:
            return f"its difference {error}"
        return ChildFiles(record, first, steps, masters), pieces

    def _read_pieces(self, record: ChildRecord, most: int, path: Path) -> list[int]:
        """Write the pieces, at most `most` bytes, into a file, and return their sizes."""
        sizes: list[int] = []
        with replace_file(path, durable=False) as temporary, temporary.open("wb") as file:
            for digest in record.pieces:
                piece = self._read_piece(digest, min(PIECE_BYTES, most - sum(sizes)))
                sizes.append(file.write(piece))
        return sizes

    def _read_piece(self, digest: bytes, most: int) -> bytes:
        def parse(data: bytes) -> bytes:
            return _require(data, sha256(data).digest() == digest)

        return self._read(make_piece_name(digest), most, parse)

    def _read_step(self, digest: bytes) -> ChildStep:
        """Read a step's record and groups, and keep them in the folder."""
        place = self._steps.get_path(0, digest)

        def parse_record(data: bytes) -> None:
            write_file(place, data)
            _require(None, read_step(place).record.digest == digest)

        def parse_groups(data: bytes) -> list[ConsumedGroup]:
            write_file(place.with_suffix(".parquet"), data)
            return read_step_groups(read_step(place), self._parser)

        self._read(make_step_name(digest, "step.json"), RECORD_BYTES_MAX, parse_record)
        step = read_step(place)
        groups = self._read(make_step_name(digest, "step.parquet"), DATA_BYTES_MAX, parse_groups)
        return ChildStep(step.record, step.child, self.read_manifest(step.child), groups)

    def _read(self, name: str, most: int, parse: Callable[[bytes], T]) -> T:
        reasons = []
        for store in self._stores:
            try:
                data = answer_in_time(partial(store.get, name, most), self._get_patience)
                if data is not None:
                    return parse(data)
            except (StoreError, UnavailableError, StepError, EncodingError, ValueError) as error:
                reasons.append(str(error))
        raise WithheldError(f"no store has {name}{''.join(f'; {why}' for why in reasons[:2])}")

    def _get_patience(self) -> float:
        return max(0.0, min(_PATIENCE_S, self._deadline - time.monotonic()))


def _require(value: T, is_right: bool) -> T:
    if not is_right:
        raise ValueError("it holds something else than its name says")
    return value


def count_outer_bytes(masters: Masters) -> int:
    """Most bytes of a file with an outer state of this form."""
    return 2 * sum(tensor.nbytes for tensor in masters.values()) + _BESIDE_MAX
