"""The sources of an audit's checkpoints and files."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from assay.artifacts.checkpoints.download import PATIENCE_S, fetch_small_files
from assay.artifacts.ports import Objects, StoreFinder
from assay.artifacts.store_objects import CHUNK_BYTES, make_checkpoint_name
from assay.artifacts.submissions.reader import (
    KnownMirror,
    ReadRequest,
    know_no_mirrors,
    open_submission,
)
from assay.artifacts.submissions.reading import SubmissionReader
from assay.inference import Checkpoint, CheckpointError, Outline, load_checkpoint, load_outline
from assay.inference.folder import MANIFEST_FILE, verify_manifest
from assay.network.store import StoreError, within
from assay.protocol import Context, Refusal
from assay.verification import ReadPlan

#: Most checkpoints in memory.
_OPENED_MAX = 4


@dataclass(frozen=True, slots=True)
class StoredSubmissions:
    """Miners' files in the stores that their commitments name."""

    stores: StoreFinder
    mirrors: Callable[[bytes], Sequence[KnownMirror]] = know_no_mirrors

    def open(self, context: Context, hotkey: bytes) -> SubmissionReader:
        """A reader of the file that a hotkey committed to."""
        audited = open_submission(context, hotkey, self)
        if self.mirrors is know_no_mirrors:
            return audited
        return _AuditedOrSampled(
            audited, open_submission(context, hotkey, self, ReadRequest(samples=True))
        )


@dataclass(frozen=True, slots=True)
class _AuditedOrSampled:
    """A file of which mirrors have two objects: the audited parts, and the samples."""

    audited: SubmissionReader
    sampled: SubmissionReader

    def offer(self, plan: ReadPlan) -> Refusal | None:
        """See `SubmissionReader`. Raises StoreError: the miner's own store cannot be read, and no
        mirror has the part."""
        with suppress(StoreError):
            if self.audited.offer(plan) is None:
                return None
        return self.sampled.offer(plan)


@dataclass(slots=True)
class FetchedOutlines:
    """Checkpoints without their tensors, from the first store that has them.

    Args:
        folder: stores them.
        mirrors: stores to ask, in order.
    """

    folder: Path
    mirrors: Callable[[], Iterable[Objects]]
    _opened: dict[bytes, Outline | CheckpointError] = field(default_factory=dict)

    def get(self, digest: bytes) -> Outline:
        """The outline, verified when first opened. Raises UnusableCheckpointError: it matches its
        digest, but nobody can use it. CheckpointError: no store has it."""
        if digest not in self._opened:
            try:
                self._opened[digest] = self._open(digest)
            except CheckpointError as error:
                self._opened[digest] = error
        outline = self._opened[digest]
        if isinstance(outline, CheckpointError):
            raise outline
        return outline

    def _open(self, digest: bytes) -> Outline:
        reasons = []
        for number, store in enumerate(self.mirrors(), 1):
            # one folder for each store: their files may differ
            folder = self.folder / str(number) / digest.hex()
            try:
                fetch_small_files(partial(_fetch, store, digest), digest, folder)
                return load_outline(folder, digest)
            except StoreError as error:
                reasons.append(str(error))
            except CheckpointError as error:
                if type(error) is not CheckpointError:
                    raise  # unusable, from any store
                reasons.append(str(error))
        detail = "; ".join(reasons) or "no store is known that could have it"
        raise CheckpointError(f"checkpoint {digest.hex()[:16]}…: {detail}")


def _fetch(store: Objects, digest: bytes, name: str, limit: int) -> bytes:
    path = make_checkpoint_name(digest, name)
    with within(PATIENCE_S * max(1.0, limit / CHUNK_BYTES)):
        data = store.get(path, limit)
    if data is None:
        raise CheckpointError(f"a store has no {path}")
    return data


class ModelShelf:
    """Checkpoints that the auditor was given.

    Args:
        folders: each a checkpoint, or a folder of checkpoints by digest.
        load: opens one: here, or with workers.

    Raises:
        CheckpointError: one of them is neither.
    """

    def __init__(
        self, folders: Sequence[Path], load: Callable[[Path, bytes], Checkpoint] = load_checkpoint
    ) -> None:
        self._load = load
        self._places: dict[bytes, Path] = {}
        self._opened: OrderedDict[bytes, Checkpoint] = OrderedDict()
        for folder in folders:
            checkpoints = [folder] if (folder / MANIFEST_FILE).is_file() else _list_folders(folder)
            if not checkpoints:
                raise CheckpointError(
                    f"{folder} has neither a checkpoint nor folders of checkpoints"
                )
            for path in checkpoints:
                self._places.setdefault(verify_manifest(path).digest, path)

    def get(self, digest: bytes) -> Checkpoint | None:
        """A checkpoint, verified when first opened, or None if it was not given. Raises a
        CheckpointError if it is damaged."""
        place = self._places.get(digest)
        if place is None:
            return None
        if digest not in self._opened:
            self._opened[digest] = self._load(place, digest)
            while len(self._opened) > _OPENED_MAX:
                self._opened.popitem(last=False)
        self._opened.move_to_end(digest)
        return self._opened[digest]


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST_FILE}"))
