"""Downloads a checkpoint from untrusted stores: names are ours, sizes and time are limited.

The manifest is checked against the digest, and all small files and the list of tensors against the
manifest. From then on the SHA-256 and size of every further byte are known, and any store may
deliver it. An interrupted download continues: tensors that are right are kept.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from assay.artifacts.checkpoints.adapter import make_tensors, read_adapter
from assay.artifacts.checkpoints.tensor_download import TensorDownload, WantedTensor, digest_next
from assay.artifacts.checkpoints.tensor_table import (
    TABLE_FILE,
    compute_size,
    decode_table,
    plan_file,
)
from assay.artifacts.store_objects import (
    Progress,
    UnavailableError,
    answer_in_time,
    ignore_progress,
    make_checkpoint_name,
    read_parts,
)
from assay.gate.files import JSON_BYTES, SMALL_FILE_BYTES
from assay.inference.families import find_misfit
from assay.inference.folder import (
    FILES_FOLDER,
    MANIFEST_FILE,
    MODEL_FILE,
    SMALL_FILES,
    CheckpointError,
    ComingCheckpointError,
    UnusableCheckpointError,
    find_tensors,
    get_path,
    list_small_files,
    read_config,
    read_small_file,
    verify_manifest,
    verify_small_files,
)
from assay.inference.plain.opening import find_class_fault
from assay.inference.plain_config import is_plain
from assay.network.files import hold_folder, move_folder, write_file
from assay.network.store.base import ObjectStore, StoreError
from assay.protocol.encoding import EncodingError
from assay.protocol.manifest import Manifest, TensorDigest, TensorPlace
from assay.protocol.parameters import Parameters

#: Most stores that are asked for one checkpoint.
MIRRORS_MAX = 16
#: Bytes of the disk that a fetched checkpoint leaves free.
DISK_MARGIN = 256 << 20
#: What a manifest binds of the files that every checkpoint has.
_SMALL = ("structure", "tokenizer", "calibration", "calibration_set")
#: Most tensors that a message names.
NAMED_MAX = 3
#: Seconds for a chunk of a small file.
PATIENCE_S = 30.0
#: What the folder of a checkpoint without tensors has behind its digest.
OUTLINE = ".outline"


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """The limits of one checkpoint: bytes of its tensors; seconds for all of it, whatever the
    stores do."""

    checkpoint_bytes: int = 128 << 30
    seconds: float = 6 * 3_600.0


def fetch_checkpoint(
    stores: Iterable[ObjectStore],
    digest: bytes,
    root: Path,
    limits: DownloadLimits | None = None,
    progress: Progress = ignore_progress,
    alone: bool = False,
    parameters: Parameters | None = None,
) -> Path:
    """Fetch the folder `root/<digest>`, unless it exists, and return it. It appears atomically.

    If it has an adapter, its tensors are made from the base's, which is fetched, too, if it is not
    in `root`. If its parent is in `root` and a store has deltas, these are fetched instead of
    tensors. This checks only that the digest is right, not whether the checkpoint is usable.

    Args:
        alone: its adapter is not used, so that no other checkpoint is fetched.
        parameters: of its network, which name the class of a model without a family. None: no such
            model is fetched.

    Raises:
        UnusableCheckpointError: it matches the digest, but nobody can use it.
        CheckpointError: the stores do not have it (says of each why not), or our own disk fails.
        ComingCheckpointError: another program is fetching it at the moment.
    """
    target = root / digest.hex()
    if target.exists():
        return target
    with _hold_partial(root, digest) as folder:
        mirrors = list(islice(stores, MIRRORS_MAX))
        some = limits or DownloadLimits()
        _Download(mirrors, digest, folder, some, progress, alone, parameters).run()
        move_folder(folder, target)
    return target


def fetch_outline(
    stores: Iterable[ObjectStore], digest: bytes, root: Path, limits: DownloadLimits | None = None
) -> Path:
    """Fetch all files of a checkpoint but its tensors, unless these or all are in `root`. Return
    their folder, which appears atomically. Raises: as `fetch_checkpoint`."""
    target = find_outline(root, digest)
    if target is None:
        target = root / f"{digest.hex()}{OUTLINE}"
        with _hold_partial(root, digest) as folder:
            mirrors = list(islice(stores, MIRRORS_MAX))
            _Download(mirrors, digest, folder, limits or DownloadLimits()).run_outline()
            move_folder(folder, target)
    return target


def find_outline(root: Path, digest: bytes) -> Path | None:
    """The folder in `root` that has a checkpoint's files, with its tensors if they are here, too;
    None: there is none."""
    whole = root / digest.hex()
    folders = whole, root / f"{whole.name}{OUTLINE}"
    return next((folder for folder in folders if folder.exists()), None)


def fetch_small_files(
    fetch: Callable[[str, int], bytes], digest: bytes, folder: Path, root: Path | None = None
) -> None:
    """Write all files of a checkpoint but its tensors, its manifest first. Raises a CheckpointError
    if the manifest is another checkpoint's.

    Args:
        fetch: returns a file's bytes, from its name and the most bytes to accept.
        root: the folder of checkpoints. Files that the parent has there, too, are not fetched.
    """
    write_file(folder / MANIFEST_FILE, fetch(MANIFEST_FILE, JSON_BYTES))
    manifest = verify_manifest(folder, digest)
    (folder / FILES_FOLDER).mkdir(exist_ok=True)
    known: set[str] = set()
    parent = (root or folder) / manifest.parent.hex()
    if root is not None:
        with suppress(CheckpointError):  # it is not here, or damaged
            known = _list_same(parent, manifest)
    for name in list_small_files(manifest):
        if name in known:
            shutil.copyfile(parent / name, folder / name)
        else:
            write_file(folder / name, fetch(name, SMALL_FILE_BYTES))


def _list_same(parent: Path, manifest: Manifest) -> set[str]:
    """The small files of a checkpoint that its parent's folder has, with the same bytes. Raises a
    CheckpointError where the folder is not the parent's, or damaged."""
    before = verify_manifest(parent, manifest.parent)
    verify_small_files(parent, before)
    same = {get_path(file) for file in manifest.files if file in before.files}
    if all(getattr(before, name) == getattr(manifest, name) for name in _SMALL):
        same.update(SMALL_FILES)
    return same


@contextmanager
def _hold_partial(root: Path, digest: bytes) -> Iterator[Path]:
    """Lock the folder for the partial download. Errors of the disk become clear ones."""
    folder = root / f".fetch-{digest.hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_folder(folder) as held:
            if not held:
                raise ComingCheckpointError(
                    f"another program is fetching checkpoint {digest.hex()[:16]}… into {root}: "
                    "look again when it has ended"
                )
            try:
                yield folder
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)  # frees the space on a full disk
                raise
    except OSError as error:
        raise CheckpointError(
            f"cannot keep checkpoint {digest.hex()[:16]}… below {root} ({error}): see that the "
            "folder is yours to write and that its disk is not full"
        ) from error


@dataclass(slots=True)
class _Download:
    mirrors: list[ObjectStore]
    digest: bytes
    folder: Path
    limits: DownloadLimits
    progress: Progress = ignore_progress
    alone: bool = False
    parameters: Parameters | None = None
    deadline: float = float("inf")
    all_mirrors: list[ObjectStore] = field(default_factory=list)

    def run(self) -> None:
        """Download everything, cheapest first. Each step is checked against the ones before."""
        self.all_mirrors = list(self.mirrors)  # one without this checkpoint may have its base
        self.deadline = time.monotonic() + self.limits.seconds
        manifest, tensors, reasons = self._get_head()
        self._require_fit(manifest, tensors)
        total, limit = sum(map(compute_size, tensors)), self.limits.checkpoint_bytes
        if total > limit:
            raise CheckpointError(
                f"checkpoint {self.digest.hex()[:16]}… has {total:,} bytes of tensors, and "
                f"at most {limit:,} are accepted"
            )
        first, starts = plan_file(tensors)
        file = self.folder / MODEL_FILE
        resumed = self._reserve(file, len(first) + total)
        with file.open("r+b") as opened:
            opened.write(first)
        made: set[str] = set()
        try:
            made = self._make_tensors(manifest, tensors, starts, resumed)
        except (CheckpointError, EncodingError) as error:
            reasons.append(f"its adapter: {error}")
        left = [tensor for tensor in tensors if tensor.name not in made]
        if made and left:
            names = ", ".join(tensor.name for tensor in left[:NAMED_MAX])
            more = f" and {len(left) - NAMED_MAX} more" if left[NAMED_MAX:] else ""
            reasons.append(f"its adapter makes other tensors than it lists: {names}{more}")
        pieces = _list_pieces(left, starts, self._find_parent(manifest))
        gathering = TensorDownload(file, self.digest, pieces, self.mirrors, resumed, self.deadline)
        try:
            gathering.run(self.progress)
        except UnavailableError as error:
            raise self._explain([*reasons, str(error)]) from None
        self._keep_only({MANIFEST_FILE, MODEL_FILE, *list_small_files(manifest)})

    def run_outline(self) -> None:
        """Download everything but the tensors."""
        self.deadline = time.monotonic() + self.limits.seconds
        manifest, _, _ = self._get_head()
        self._keep_only({MANIFEST_FILE, *list_small_files(manifest)})

    def _keep_only(self, names: set[str]) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):  # a folder after what is in it
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif str(path.relative_to(self.folder)) not in names:
                path.unlink()

    def _explain(self, reasons: list[str]) -> CheckpointError:
        listed = "; ".join(reasons) or "no mirror is known"
        name = self.digest.hex()[:16]
        return CheckpointError(f"checkpoint {name}… is not here and cannot be had: {listed}")

    # --- tensors without fetching them

    def _make_tensors(
        self, manifest: Manifest, tensors: list[TensorDigest], starts: dict[str, int], resumed: bool
    ) -> set[str]:
        """Make tensors by the checkpoint's adapter, if it has one. Return the names of those that
        are in the file and right.

        Raises:
            CheckpointError: its base is not here and cannot be had, or the time is over.
            EncodingError: it is refused.
        """
        adapter = read_adapter(self.folder, manifest) if not self.alone else None
        if adapter is None:
            return set()
        base = self.folder.parent / adapter.base.hex()
        if not base.exists():
            limits = replace(self.limits, seconds=max(0.0, self.deadline - time.monotonic()))
            root, mirrors = self.folder.parent, self.all_mirrors
            fetch_checkpoint(
                mirrors, adapter.base, root, limits, self.progress, True, self.parameters
            )
        os.utime(base)  # marks it as used now: it is not the first to be removed
        with (self.folder / MODEL_FILE).open("r+b") as file:
            there = set[str]()
            for tensor in tensors if resumed else ():
                file.seek(starts[tensor.name])
                if digest_next(file, compute_size(tensor)) == tensor.sha256:
                    there.add(tensor.name)

            def write(tensor: TensorDigest, at: int, data: memoryview) -> None:
                if time.monotonic() > self.deadline:
                    raise CheckpointError("the time that one checkpoint may take is over")
                file.seek(starts[tensor.name] + at)
                file.write(data)

            return there | make_tensors(adapter, base, tensors, write, there)

    # --- everything but the tensors

    def _get_head(self) -> tuple[Manifest, list[TensorDigest], list[str]]:
        """Manifest, tensors, and the fault of each store that failed, which is not asked again."""
        try:
            return *self._read_head(), []
        except UnusableCheckpointError:
            raise
        except CheckpointError:  # incomplete or wrong
            pass
        reasons: list[str] = []
        while self.mirrors:
            try:
                return *self._fetch_head(self.mirrors[0]), reasons
            except (UnavailableError, StoreError) as error:
                reasons.append(f"mirror {len(reasons) + 1}: {error}")
                self.mirrors = self.mirrors[1:]
        raise self._explain(reasons)

    def _fetch_head(self, store: ObjectStore) -> tuple[Manifest, list[TensorDigest]]:
        try:
            fetch = partial(self._fetch, store)
            fetch_small_files(fetch, self.digest, self.folder, self.folder.parent)
            write_file(self.folder / TABLE_FILE, self._fetch(store, TABLE_FILE, JSON_BYTES))
            return self._read_head()
        except UnusableCheckpointError:
            raise
        except CheckpointError as error:
            raise UnavailableError(
                f"the store's copy of checkpoint {self.digest.hex()[:16]}… is not it: {error}"
            ) from None

    def _read_head(self) -> tuple[Manifest, list[TensorDigest]]:
        manifest = verify_manifest(self.folder, self.digest)
        verify_small_files(self.folder, manifest)
        try:
            table = read_small_file(self.folder, TABLE_FILE, JSON_BYTES)
            return manifest, decode_table(table, manifest)
        except EncodingError as error:
            raise CheckpointError(f"{self.folder / TABLE_FILE} {error}") from None

    def _fetch(self, store: ObjectStore, name: str, limit: int) -> bytes:
        source = store.open(make_checkpoint_name(self.digest, name))
        size = answer_in_time(source.size, self._get_patience)
        if size is None:
            raise UnavailableError(
                f"the store has no {name} of checkpoint {self.digest.hex()[:16]}…"
            )
        if size > limit:
            raise UnavailableError(
                f"the store's {name} has {size:,} bytes; at most {limit:,} are accepted"
            )
        fault = f"the store serves {name} with another size than it says"
        return b"".join(read_parts(source, size, self._get_patience, fault))

    def _get_patience(self) -> float:
        """Seconds for an answer; none once the time for all of it is over."""
        return PATIENCE_S if time.monotonic() < self.deadline else 0.0

    def _require_fit(self, manifest: Manifest, tensors: list[TensorDigest]) -> None:
        """Raise an UnusableCheckpointError unless config.json is of a model with these tensors. So
        nobody reserves room for others, or waits for them."""
        config = read_config(self.folder)
        shapes = {tensor.name: tensor.shape for tensor in tensors}
        plain, fault = is_plain(config), None
        name = f"checkpoint {self.digest.hex()[:16]}…"
        if self.parameters is not None:  # of a plain type they name the tensors
            fault = find_class_fault(self.parameters, manifest.structure, plain, shapes)
        elif plain:
            raise CheckpointError(explain_unnamed(self.digest))
        if fault is None and not plain:
            fault = find_misfit(config, shapes)
        if fault is not None:
            raise UnusableCheckpointError(f"{name}: {fault}")

    # --- room for the tensors

    def _reserve(self, file: Path, size: int) -> bool:
        """Reserve the disk space before anything is fetched. Return whether the file existed."""
        if file.exists() and file.stat().st_size == size:
            return True
        file.unlink(missing_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < size + DISK_MARGIN:
            raise OSError(f"{size:,} bytes are to come, and {free:,} are free")
        with file.open("wb") as opened:
            os.posix_fallocate(opened.fileno(), 0, max(1, size))
        return False

    def _find_parent(self, manifest: Manifest) -> dict[str, tuple[Path, TensorPlace]]:
        """The parent's tensors by name, if the parent is here."""
        folder = self.folder.parent / manifest.parent.hex()
        try:
            verify_manifest(folder, manifest.parent)
            return find_tensors(folder)
        except CheckpointError:
            return {}


def explain_unnamed(digest: bytes) -> str:
    """What to do where a model without a family is wanted, and nobody says of which network."""
    return (
        f"no family describes the model of checkpoint {digest.hex()[:16]}…: only parameters of its "
        "network name its class, and none are known here"
    )


def _list_pieces(
    tensors: list[TensorDigest],
    starts: dict[str, int],
    parents: dict[str, tuple[Path, TensorPlace]],
) -> list[WantedTensor]:
    same: dict[tuple[bytes, int], list[str]] = {}
    for tensor in tensors:
        same.setdefault((tensor.sha256, compute_size(tensor)), []).append(tensor.name)
    pieces = []
    for (digest, size), names in same.items():
        parent = None
        if names[0] in parents:
            path, place = parents[names[0]]
            parent = (path, place.start) if place.end - place.start == size else None
        pieces.append(WantedTensor(digest, size, tuple(starts[n] for n in names), parent))
    return pieces
