"""The sources of an audit's checkpoints and files."""

import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from assay.artifacts.checkpoints.adapter import read_adapter, write_tensors
from assay.artifacts.checkpoints.download import PATIENCE_S, fetch_small_files
from assay.artifacts.checkpoints.folder import require_class_of
from assay.artifacts.ports import Objects, StoreFinder
from assay.artifacts.store_objects import CHUNK_BYTES, make_checkpoint_name
from assay.artifacts.submissions.reader import (
    KnownMirror,
    ReadRequest,
    know_no_mirrors,
    open_submission,
)
from assay.artifacts.submissions.reading import SubmissionReader
from assay.audit.ports import Outlines
from assay.inference.checkpoint import Checkpoint, Outline, load_checkpoint, load_outline
from assay.inference.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    CheckpointError,
    digest_tensors,
    digest_weights,
    verify_manifest,
)
from assay.inference.low_rank import Adapter
from assay.inference.plain.opening import require_class
from assay.network.store.base import StoreError
from assay.network.store.deadlines import within
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError
from assay.protocol.parameters import Parameters
from assay.protocol.reason import Refusal
from assay.verification import ReadPlan

#: Most checkpoints in memory: windows come in their order, and seldom go back by one.
_OPENED_MAX = 2


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
    _folders: dict[bytes, Path] = field(default_factory=dict)
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

    def find_folder(self, digest: bytes) -> Path:
        """See `Outlines`."""
        self.get(digest)
        return self._folders[digest]

    def _open(self, digest: bytes) -> Outline:
        reasons = []
        for number, store in enumerate(self.mirrors(), 1):
            # one folder for each store: their files may differ
            folder = self.folder / str(number) / digest.hex()
            try:
                fetch_small_files(partial(_fetch, store, digest), digest, folder)
                self._folders[digest] = folder
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


@dataclass(frozen=True, slots=True)
class TrainerFiles:
    """Records and answers in the folder of a trainer, or a fetched one, by their names in a store.

    Args:
        steps: the folder of its steps.
    """

    steps: Path

    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes; None: it is not there, or larger."""
        kind, _, rest = name.partition("/")
        if kind == "steps":
            paths = [*self.steps.glob(f"*-{rest[:16]}.json")]
        else:
            place = self.steps.parent / "course" / "gates" / rest
            paths = [place] if kind == "gates" else []
        for path in paths:
            if path.is_file() and path.stat().st_size <= limit:
                return path.read_bytes()
        return None


@dataclass(frozen=True, slots=True)
class MadeModels:
    """Checkpoints that are made of models which an auditor has: by their adapters, or only by their
    small files.

    Args:
        outlines: with small files and adapters.
        folder: for checkpoints, each of which takes as much room as the model that it is made of,
            in a folder of its own.
    """

    outlines: Outlines
    folder: Path

    def make(
        self, digest: bytes, find: Callable[[bytes], Path | None], models: Iterable[Path]
    ) -> Path | None:
        """The folder of a checkpoint, with the tensors of its manifest; None: nobody has a model of
        which it could be made.

        Args:
            find: the folder of a checkpoint by its digest, if it is here.
            models: folders of models that are no checkpoints.

        Raises:
            CheckpointError: a model cannot be read.
        """
        try:
            source = self.outlines.find_folder(digest)
            manifest = verify_manifest(source, digest)
            adapter = read_adapter(source, manifest)
        except (CheckpointError, EncodingError):
            return None
        base = None if adapter is None else find(adapter.base)
        for model in models if base is None else [base]:
            made = Path(tempfile.mkdtemp(prefix=f"{digest.hex()[:16]}-", dir=self.folder))
            with ExitStack() as undo, suppress(EncodingError):  # the adapter is of another model
                undo.callback(shutil.rmtree, made, ignore_errors=True)
                shutil.copytree(source, made, dirs_exist_ok=True)
                write_tensors(adapter or Adapter(digest, {}), model, made / MODEL_FILE)
                if digest_weights(made, digest_tensors(made)) == manifest.tensors:
                    undo.pop_all()
                    return made
        return None


class ModelShelf:
    """Checkpoints that the auditor was given, and those that can be made of these. One that was
    made keeps its files, of which its model may be read later, for as long as anybody has it.

    Args:
        folders: each a checkpoint, or a folder of checkpoints by digest; or, where checkpoints are
            made, a model that is none.
        load: opens one: here, or with workers.
        made: makes those that were not given; None: nobody does.

    Raises:
        CheckpointError: one of them is nothing of that.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        load: Callable[[Path, bytes], Checkpoint] = load_checkpoint,
        made: MadeModels | None = None,
    ) -> None:
        self._load = load
        self._made = made
        self._places: dict[bytes, Path] = {}
        self._models: list[Path] = []
        self._opened: OrderedDict[bytes, Checkpoint] = OrderedDict()
        for folder in folders:
            checkpoints = [folder] if (folder / MANIFEST_FILE).is_file() else _list_folders(folder)
            if made is not None and not checkpoints and any(folder.glob("*.safetensors")):
                self._models.append(folder)
            elif not checkpoints:
                raise CheckpointError(
                    f"{folder} has neither a checkpoint nor folders of checkpoints"
                )
            for path in checkpoints:
                self._places.setdefault(verify_manifest(path).digest, path)

    def get(self, digest: bytes, parameters: Parameters) -> Checkpoint | None:
        """A checkpoint, verified when first opened, or None if it was not given. Raises: see
        `Models`."""
        require_class(parameters.model_class)  # else our library's numbers would accuse others
        if digest not in self._opened:
            place = self._places.get(digest)
            with ExitStack() as undo:
                if place is None and self._made is not None:
                    place = self._made.make(digest, self._places.get, self._models)
                    if place is not None:
                        undo.callback(shutil.rmtree, place, ignore_errors=True)
                if place is None:
                    return None
                require_class_of(place, digest, parameters)
                checkpoint = self._load(place, digest)
                weakref.finalize(checkpoint.models, undo.pop_all().close)
            self._opened[digest] = checkpoint
            while len(self._opened) > _OPENED_MAX:
                self._opened.popitem(last=False)
        self._opened.move_to_end(digest)
        return self._opened[digest]


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST_FILE}"))
