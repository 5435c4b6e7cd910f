"""Model folders by digest: opened and verified once, fetched and published atomically.

A program fetches in the background. It continues with the checkpoint in force while the next one is
downloaded, and has it open when the first window with it begins.
"""

import logging
import os
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Lock, Thread

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from assay.artifacts.checkpoints.adapter import ADAPTER_PATH, name_adapter
from assay.artifacts.checkpoints.download import (
    MIRRORS_MAX,
    OUTLINE,
    DownloadLimits,
    explain_unnamed,
    fetch_checkpoint,
    fetch_outline,
    fetch_small_files,
    find_outline,
)
from assay.artifacts.checkpoints.pool_file import POOL_PATH, name_pool
from assay.artifacts.store_objects import Progress, ignore_progress
from assay.environments.pieces.growth import find_pool_fault
from assay.environments.registry import list_manners
from assay.environments.steering import find_levels_fault, find_parent_fault
from assay.inference.calibration import measure_centre
from assay.inference.checkpoint import (
    Checkpoint,
    FolderModels,
    Outline,
    load_checkpoint,
    load_outline,
)
from assay.inference.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    CheckpointError,
    ComingCheckpointError,
    UnusableCheckpointError,
    digest_tensors,
    find_tensors,
    list_small_files,
    read_config,
    read_passages,
    verify_manifest,
    verify_small_files,
)
from assay.inference.implementations import make_alone
from assay.inference.low_rank import decode_adapter
from assay.inference.model_loading import load_model
from assay.inference.passages import Passage
from assay.inference.placement import Placement
from assay.inference.placing.devices import CPU, free_memory
from assay.inference.placing.model_sizes import BF16_WEIGHTS
from assay.inference.plain.opening import LackingClassError, find_class_fault, require_class
from assay.inference.plain_config import is_plain
from assay.inference.reference import Reference
from assay.inference.routing import count_experts
from assay.network.files import hold_folder, move_folder, write_file, write_json
from assay.network.store.base import ObjectStore
from assay.protocol.encoding import EncodingError, to_json
from assay.protocol.gate import NO_COURSE, Course
from assay.protocol.manifest import (
    HeldOutCounts,
    LevelWeights,
    Manifest,
    compute_tensor_root,
    find_fault,
    find_line_lie,
)
from assay.protocol.parameters import Gate, Parameters

logger = logging.getLogger("assay")

#: Checkpoints that a program keeps on disk, besides the genesis; and open in memory, at most. On a
#: processor those beyond two, which overlapping windows need, must not take more bytes together
#: than the third figure: a learner and its lessons are in the same memory.
CHECKPOINTS_KEPT, OPENED_MAX, _OPENED_BYTES = 8, 4, 1 << 30
_OPENED_MIN = 2
#: Checkpoints behind a trainer's newest whose outlines it keeps: groups may be delayed by
#: `DELAY_MAX` steps, and `assay train proposals` and the explorer read older steps yet, each with
#: the checkpoints that drew its groups.
OUTLINES_KEPT = 32
#: Seconds that fetching an outline may take: callers wait for it.
_OUTLINE_S = 30.0
#: Digests whose last error is kept, because no mirror had them or nobody can use them.
FAILURES_MAX = 64
#: Seconds until mirrors are asked again for a checkpoint that none had: at first, and at most.
RETRY_S, RETRY_MAX_S = 5.0, 300.0
#: Temporary files untouched for this long have no owner: their program was killed. Seconds.
_LEFT_OVER_S = 86_400.0
#: Seconds that a caller waits for a download that it starts, between two log lines about one, and
#: for one to end with the program.
SHORT_S, _LINE_S, _END_S = 2.0, 10.0, 5.0


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """The sources of a missing checkpoint."""

    #: stores to ask, in order; requested anew each time
    mirrors: Callable[[], Iterable[ObjectStore]]
    limits: DownloadLimits | None = None
    progress: Progress = ignore_progress
    #: retry_s, longest_s: pause before mirrors that had nothing are asked again; it doubles up to
    #: the latter
    retry_s: float = RETRY_S
    longest_s: float = RETRY_MAX_S
    #: a caller gets an error while a download is running, and never waits long
    in_background: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
    until: float
    wait: float


@dataclass(slots=True)
class RunningDownload:
    """One running download, in its own thread. Counts bytes of tensors."""

    digest: bytes
    done: int = 0
    due: int = 0
    stopped: bool = False
    error: Exception | None = None
    thread: Thread | None = None
    began: float = field(default_factory=time.monotonic)
    logged_at: float = field(default_factory=time.monotonic)

    def note(self, done: int, due: int) -> None:
        """Log progress now and then, but nothing for quick downloads. Ends the calling thread if
        nobody waits any more."""
        self.done, self.due = done, due
        if self.stopped:
            raise CheckpointError("the program ends; what has come is kept")
        now = time.monotonic()
        if now - self.logged_at >= _LINE_S:
            self.logged_at = now
            logger.info(
                "checkpoint %s…: %.2f of %.2f GB, %.0f MB/s",
                self.digest.hex()[:16],
                done / 1e9,
                due / 1e9,
                done / (now - self.began) / 1e6,
                extra={"event": "checkpoint_progress"},
            )


class CheckpointFolder:
    """`root/<digest>/` for each checkpoint. Safe to use from several threads and processes.

    Args:
        fetching: without it a missing checkpoint is an error.
        keep: number of most recently used folders to keep when a new one comes. The genesis, the
            newest and open ones are always kept. None: all are kept.
        outlines: with `keep`, of the others everything but the tensors is kept, up to this number
            of steps behind the newest. 0: nothing.
        placement: where and how models run; None: on the CPU, as the reference is defined.
        load: opens a folder elsewhere, with workers; None: here.
    """

    def __init__(
        self,
        root: Path,
        fetching: DownloadSettings | None = None,
        keep: int | None = None,
        placement: Placement | None = None,
        load: Callable[[Path, bytes], Checkpoint] | None = None,
        outlines: int = 0,
    ) -> None:
        self.placement = placement or Placement()
        self._root = root
        self._outlines = outlines
        self._elsewhere = load
        self._fetching = fetching
        self._keep = keep
        self.opened: OrderedDict[bytes, Checkpoint] = OrderedDict()
        self._lock = Lock()
        self._fetch_lock = Lock()  # not `_lock`: a caller whose checkpoint is here never waits
        self.failures: dict[bytes, _Failure] = {}
        # why, for this version of the libraries: under which parameters, and which checkpoint
        self._unusable: dict[tuple[bytes, bytes], str] = {}
        self._compared: dict[bytes, None] = {}  # checkpoints that were compared with their parents
        self._downloads: dict[bytes, RunningDownload] = {}

    def get(self, digest: bytes, parameters: Parameters | None = None) -> Checkpoint:
        """The checkpoint with this digest, fetched if it is missing, verified when first opened.

        Args:
            parameters: of its network, which name the class of a model without a family, and the
                library that has it. None: no such model is opened.

        Raises:
            UnusableCheckpointError: it matches its digest, but nobody can use it.
            LackingClassError: this machine has not the library that the parameters name.
            CheckpointError: it is missing and no mirror has it, or not yet; or the copy here is
                damaged.
        """
        if parameters is not None:
            require_class(parameters.model_class)
        known = self._unusable.get(_name_case(digest, parameters))
        if known is not None:  # opening it takes long, and programs ask at every step
            raise UnusableCheckpointError(known)
        fetching = self._fetching
        if fetching is not None and fetching.in_background:
            self._await(digest, fetching, parameters)
        elif fetching is not None and not self.holds(digest):
            with self._fetch_lock:
                if not self.holds(digest):
                    self._fetch(digest, fetching, parameters)
        with self._lock:
            if digest not in self.opened:
                self._keep_open(self._load(digest, parameters))
            self.opened.move_to_end(digest)
            return self.opened[digest]

    def get_outline(self, digest: bytes) -> Outline:
        """The checkpoint without its tensors, which are neither read nor fetched.

        Raises:
            UnusableCheckpointError: it matches its digest, but nobody can use it.
            CheckpointError: it is missing and no mirror has it, or the copy here is damaged.
        """
        with self._lock:
            opened = self.opened.get(digest)
        if opened is not None:
            return opened
        folder = find_outline(self._root, digest)
        if folder is None and self._fetching is not None:
            folder = self._fetch_outline(digest, self._fetching)
        return load_outline(folder or self._root / digest.hex(), digest)

    def read_number(self, digest: bytes) -> int | None:
        """The number of a checkpoint, as `read_manifest` finds it."""
        manifest = self.read_manifest(digest)
        return None if manifest is None else manifest.number

    def read_manifest(self, digest: bytes) -> Manifest | None:
        """The manifest of a checkpoint of which something is here; None: nothing is, or it is
        damaged. Nothing is fetched."""
        folder = find_outline(self._root, digest)
        try:
            return verify_manifest(folder or self._root / digest.hex(), digest)
        except CheckpointError:
            return None

    def _fetch_outline(self, digest: bytes, fetching: DownloadSettings) -> Path:
        self._raise_failure(digest)
        limits = replace(fetching.limits or DownloadLimits(), seconds=_OUTLINE_S)
        try:
            return fetch_outline(fetching.mirrors(), digest, self._root, limits)
        except CheckpointError as error:
            self._note_failure(digest, error, fetching)
            raise

    def prefetch(self, digest: bytes, parameters: Parameters | None = None) -> None:
        """Start to fetch a checkpoint that may be needed soon, one at a time. `get` returns it
        later. `parameters`: as for `get`."""
        fetching = self._fetching
        if fetching is None or self._downloads or self.holds(digest):
            return
        if _name_case(digest, parameters) in self._unusable:
            return
        failure = self.failures.get(digest)
        if failure is None or time.monotonic() >= failure.until:
            self._begin(digest, fetching, parameters)

    def find_number(self, digest: bytes) -> int | None:
        checkpoint = self.opened.get(digest)
        return None if checkpoint is None else checkpoint.manifest.number

    @property
    def downloads(self) -> tuple[RunningDownload, ...]:
        return tuple(self._downloads.values())

    def close(self) -> None:
        """Stop downloads. The next program continues them."""
        downloads = self.downloads
        for download in downloads:
            download.stopped = True
        for download in downloads:
            if download.thread is not None:
                download.thread.join(_END_S)

    def _await(
        self, digest: bytes, fetching: DownloadSettings, parameters: Parameters | None
    ) -> None:
        """Wait for the checkpoint. Raises CheckpointError: it is still being downloaded, or
        unavailable."""
        download = self._downloads.get(digest)
        if download is None and not self.holds(digest):
            self._raise_failure(digest)
            download = self._begin(digest, fetching, parameters)
            if download.thread is not None:
                download.thread.join(SHORT_S)  # a quick download needs no message
            if download.error is not None:
                raise download.error
        if digest in self._downloads:
            raise ComingCheckpointError(f"checkpoint {digest.hex()[:16]}… is being fetched")

    def _begin(
        self, digest: bytes, fetching: DownloadSettings, parameters: Parameters | None
    ) -> RunningDownload:
        mirrors = list(islice(fetching.mirrors(), MIRRORS_MAX))  # reads the chain: not in a thread
        download = RunningDownload(digest)
        download.thread = Thread(
            target=self._run,
            args=(download, fetching, mirrors, parameters),
            name="checkpoint",
            daemon=True,
        )
        self._downloads[digest] = download
        download.thread.start()
        return download

    def _run(
        self,
        download: RunningDownload,
        fetching: DownloadSettings,
        mirrors: list[ObjectStore],
        parameters: Parameters | None,
    ) -> None:
        """Fetch and open one checkpoint. Its errors are raised later, to the caller that needs
        it."""
        digest = download.digest
        watched = replace(fetching, mirrors=lambda: mirrors, progress=download.note)
        try:
            self._fetch(digest, watched, parameters)
            with suppress(CheckpointError):  # the caller that needs it opens it again, and raises
                checkpoint = self._load(digest, parameters)
                with self._lock:
                    self._keep_open(checkpoint)
        except Exception as error:  # noqa: BLE001 - the outermost call of a thread
            download.error = error
            if not isinstance(error, CheckpointError):
                self._note_failure(digest, error, fetching)
        finally:
            self._downloads.pop(digest, None)

    def _load(self, digest: bytes, parameters: Parameters | None) -> Checkpoint:
        folder = self._root / digest.hex()
        try:
            require_class_of(folder, digest, parameters)
            if self._elsewhere is not None:
                checkpoint = self._elsewhere(folder, digest)
            else:
                self._make_room(folder)
                checkpoint = load_checkpoint(folder, digest, self.placement)
            return checkpoint
        except UnusableCheckpointError as error:
            self._note_unusable(digest, parameters, error)
            raise

    def _note_unusable(
        self, digest: bytes, parameters: Parameters | None, error: UnusableCheckpointError
    ) -> None:
        self._unusable[_name_case(digest, parameters)] = str(error)
        for oldest in list(self._unusable)[:-FAILURES_MAX]:
            self._unusable.pop(oldest, None)  # another thread may have

    def compare_parent(self, manifest: Manifest, gate: Gate) -> None:
        """Tell the operator, once, if a checkpoint lies about its parent, where the parent is here.
        It is used even so: others may not have the parent."""
        if manifest.digest in self._compared:
            return
        with suppress(CheckpointError):
            parent = verify_manifest(self._root / manifest.parent.hex(), manifest.parent)
            self._compared[manifest.digest] = None
            for oldest in list(self._compared)[:-FAILURES_MAX]:
                self._compared.pop(oldest, None)  # another thread may have
            fault = find_parent_fault(manifest, parent) or find_line_lie(manifest, parent, gate)
            if fault is not None:
                logger.warning(
                    "the trainer lies about checkpoint %s…: %s",
                    manifest.digest.hex()[:16],
                    fault,
                    extra={"event": "parent_differs"},
                )

    def _make_room(self, folder: Path) -> None:
        """Close the least recently used checkpoints until the new one fits into memory."""
        with suppress(OSError):  # loading it raises the clear error
            needed = self.placement.compute_weight_bytes(_count_stored(folder))
            if not self.placement.has_room_for(needed):
                free_memory(self.placement.device)
            while len(self.opened) > 1 and not self.placement.has_room_for(needed):
                self.opened.popitem(last=False)
                free_memory(self.placement.device)

    def _keep_open(self, checkpoint: Checkpoint) -> None:
        with suppress(OSError):  # of a folder that is not ours
            os.utime(checkpoint.folder)  # marks it as used now, for `_prune`
        self.opened[checkpoint.digest] = checkpoint
        most = OPENED_MAX
        if self._elsewhere is None:
            weights = self.placement.compute_weight_bytes(_count_stored(checkpoint.folder))
            most = count_opened(weights, self.placement.device)
        while len(self.opened) > most:
            self.opened.popitem(last=False)

    def opens_beside(self, digest: bytes, other: bytes) -> bool:
        """Whether a checkpoint that is here can be opened while another one stays open. That one
        counts as used now."""
        with self._lock:
            if other in self.opened:
                self.opened.move_to_end(other)
            if digest in self.opened:
                return True
            stored = _count_stored(self._root / digest.hex())
        if self._elsewhere is not None:
            return OPENED_MAX > 1
        weights, device = self.placement.compute_weight_bytes(stored), self.placement.device
        return self.placement.has_room_for(weights) and count_opened(weights, device) > 1

    def holds(self, digest: bytes) -> bool:
        """Return whether its folder is here, damaged or not."""
        return digest in self.opened or (self._root / digest.hex()).exists()

    def _fetch(
        self, digest: bytes, fetching: DownloadSettings, parameters: Parameters | None
    ) -> None:
        self._raise_failure(digest)
        try:
            fetch_checkpoint(
                fetching.mirrors(),
                digest,
                self._root,
                fetching.limits,
                fetching.progress,
                parameters=parameters,
            )
        except UnusableCheckpointError as error:  # from any store
            self._note_unusable(digest, parameters, error)
            raise
        except CheckpointError as error:
            self._note_failure(digest, error, fetching)
            raise
        self.failures.pop(digest, None)
        self._prune(digest)

    def _raise_failure(self, digest: bytes) -> None:
        failure = self.failures.get(digest)
        if failure is not None and time.monotonic() < failure.until:
            raise failure.error

    def _note_failure(self, digest: bytes, error: Exception, fetching: DownloadSettings) -> None:
        failure = self.failures.get(digest)
        wait = min(fetching.retry_s if failure is None else 2 * failure.wait, fetching.longest_s)
        self.failures.pop(digest, None)  # the newest come last
        self.failures[digest] = _Failure(error, time.monotonic() + wait, wait)
        for oldest in list(self.failures)[:-FAILURES_MAX]:
            self.failures.pop(oldest, None)  # another thread may have

    def add(self, folder: Path, digest: bytes) -> None:
        """Copy a published folder here, unless it is here already."""
        target = self._root / digest.hex()
        if not target.exists():
            with self._make_temporary() as temporary:
                shutil.copytree(folder, temporary, dirs_exist_ok=True)
                os.utime(temporary)  # else it would have the original's age
                _move(temporary, target)
            self._prune(digest)

    @contextmanager
    def _make_temporary(self) -> Iterator[Path]:
        """A temporary folder. The caller renames it when it is complete; otherwise it is
        deleted."""
        self._root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self._root, prefix=".new-"))
        try:
            with hold_folder(temporary):
                yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # renamed away if all went well

    def _prune(self, newest: bytes) -> None:
        """Remove the least recently used checkpoints, and the files of killed programs."""
        self.sweep(_LEFT_OVER_S)
        if self._keep is None:
            return
        with self._lock, suppress(OSError):  # another program prunes, too, or owns one of them
            here = [path for path in self._root.iterdir() if len(path.name) == 2 * len(newest)]
            here.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            needed = {digest.hex() for digest in self.opened} | {newest.hex()}
            numbers = {path: _read_number(path) for path in here}
            needed |= {path.name for path, n in numbers.items() if n in (0, max(numbers.values()))}
            oldest = max(numbers.values(), default=0) - self._outlines
            for path in here[self._keep :]:
                if path.name not in needed:
                    if numbers[path] >= max(oldest, 0):
                        self._keep_outline(path)
                    self._remove(path)
            for path in self._root.glob(f"*{OUTLINE}") if self._outlines else ():
                if _read_number(path) < oldest:
                    self._remove(path)

    def _remove(self, folder: Path) -> None:
        # renamed first, so that readers find a whole folder or none
        gone = Path(tempfile.mkdtemp(dir=self._root, prefix=".old-"))
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _keep_outline(self, folder: Path) -> None:
        target = folder.with_name(f"{folder.name}{OUTLINE}")
        if target.exists():
            return
        with suppress(CheckpointError, OSError), self._make_temporary() as temporary:
            digest = bytes.fromhex(folder.name)
            fetch_small_files(lambda name, most: (folder / name).read_bytes(), digest, temporary)
            _move(temporary, target)

    def sweep(self, age_s: float = 0.0) -> None:
        """Remove the files that killed programs have left here. `age_s`: only those untouched for
        this long."""
        for path in self._root.glob(".*-*"):
            with suppress(FileNotFoundError, NotADirectoryError):  # swept by another, or none
                if time.time() - path.stat().st_mtime < age_s:
                    continue
                with hold_folder(path) as held:
                    if held:
                        shutil.rmtree(path, ignore_errors=True)

    def publish(
        self,
        parent: Checkpoint,
        weights: Mapping[str, torch.Tensor],
        step: bytes,
        levels: LevelWeights | None = None,
        held_out: HeldOutCounts = (),
        number: int | None = None,
        adapter: bytes | None = None,
        pool: bytes | None = None,
        course: Course = NO_COURSE,
        root: bytes | None = None,
    ) -> Manifest:
        """Write a child of `parent` with new weights (bf16) and return its manifest.

        μ, scale and experts are measured again. Rates, calibration set and all else are the
        parent's. With `root` the model that was measured stays open, as `get` would open it.

        Args:
            step: digest of the step record.
            levels: of the environment; None: the parent's.
            held_out: the parent's success, from which the levels follow.
            number: of the child; None: the parent's plus one.
            adapter: the file that makes `weights` of another checkpoint's, from `make_adapter`.
            pool: the file of problems that the network wrote itself; None: the parent's.
            course: what was measured since the milestone.
            root: over `weights`, where the caller has hashed them; None: the file's tensors are.
        """
        pool = parent.piece_pool if pool is None else pool
        files = name_adapter(name_pool(parent.manifest.files, pool), adapter)
        opens = True
        with self._make_temporary() as temporary:
            for name in list_small_files(replace(parent.manifest, files=files)):
                (temporary / name).parent.mkdir(exist_ok=True)
                if name == ADAPTER_PATH and adapter is not None:
                    write_file(temporary / name, adapter)
                elif name == POOL_PATH:
                    write_file(temporary / name, pool)
                else:
                    shutil.copyfile(parent.folder / name, temporary / name)
            save_file(dict(weights), temporary / MODEL_FILE, metadata={"format": "pt"})
            if root is None:
                root, opens = compute_tensor_root(digest_tensors(temporary)), False
            manifest = replace(
                parent.manifest,
                tensors=root,
                parent=parent.digest,
                step=step,
                levels=parent.manifest.levels if levels is None else levels,
                levels_before=parent.manifest.levels,
                held_out=held_out,
                number=parent.manifest.number + 1 if number is None else number,
                files=files,
                course=course,
            )
            model = self._load_here(temporary, manifest) if opens else None
            manifest = measure_manifest(manifest, temporary, model=model)
            self._place(temporary, manifest)
        if model is not None:
            self._open_made(manifest, model)
        if adapter is not None:
            with suppress(EncodingError, OSError):  # keeps the base, which all later ones need
                os.utime(self._root / decode_adapter(adapter).base.hex())
        self._prune(manifest.digest)
        return manifest

    def _load_here(self, folder: Path, manifest: Manifest) -> PreTrainedModel | None:
        """The model that measures a new checkpoint, if it is what runs here, too."""
        placement = self.placement
        shares = placement.device == CPU and placement.implementation not in BF16_WEIGHTS
        if self._elsewhere is not None or not shares:
            return None
        with self._lock:
            self._make_room(folder)
        return load_model(folder, router_ramp=manifest.router_ramp)

    def _open_made(self, manifest: Manifest, model: PreTrainedModel) -> None:
        """Keep a checkpoint open that was just made, with its model. Its small files are compared
        with the manifest; its tensors are the caller's, and are hashed before they are uploaded."""
        folder, digest = self._root / manifest.digest.hex(), manifest.digest
        with suppress(CheckpointError), self._lock:  # `get` opens it again, and raises
            models = FolderModels(folder, self.placement, manifest.router_ramp, model)
            self._keep_open(load_outline(folder, digest).open(folder, models))

    def publish_return(
        self, parent: Checkpoint, milestone: Checkpoint, record: bytes, course: Course
    ) -> Manifest:
        """Write a child of `parent` that is `milestone` again, and return its manifest.

        Args:
            record: digest of the return's record.
            course: what gives the parent's course up.
        """
        manifest = replace(
            milestone.manifest,
            levels_before=milestone.manifest.levels,
            held_out=(),
            parent=parent.digest,
            step=record,
            number=parent.manifest.number + 1,
            course=course,
        )
        with self._make_temporary() as temporary:
            shutil.copytree(milestone.folder, temporary, dirs_exist_ok=True)
            os.utime(temporary)  # else it would have the milestone's age
            self._place(temporary, manifest)
        self._prune(manifest.digest)
        return manifest

    def keep_longer(self, digest: bytes) -> None:
        """Let a folder be the last to be deleted, if it is here."""
        with suppress(OSError):
            os.utime(self._root / digest.hex())

    def _place(self, temporary: Path, manifest: Manifest) -> None:
        write_json(temporary / MANIFEST_FILE, to_json(manifest))
        target = self._root / manifest.digest.hex()
        if not target.exists():  # equal weights give equal bytes and digest
            _move(temporary, target)


def count_opened(weights: int, device: str) -> int:
    """Most checkpoints that a program keeps open.

    Args:
        weights: bytes that one takes there.
        device: torch's name of it.
    """
    if device != CPU:
        return OPENED_MAX
    return max(_OPENED_MIN, min(OPENED_MAX, _OPENED_BYTES // max(1, weights)))


def _count_stored(folder: Path) -> int:
    """Bytes of a checkpoint's tensors on the disk."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _move(temporary: Path, target: Path) -> None:
    temporary.chmod(0o755)
    move_folder(temporary, target)


def _read_number(folder: Path) -> int:
    """The number of steps from the genesis; -1 for a folder without a valid manifest."""
    try:
        return verify_manifest(folder).number
    except CheckpointError:
        return -1


def measure_manifest(
    manifest: Manifest, folder: Path, device: str = CPU, model: PreTrainedModel | None = None
) -> Manifest:
    """The manifest with μ, scale and the experts of a mixture measured on the weights in `folder`.

    Args:
        model: the folder's, if it is in memory.

    Raises:
        UnusableCheckpointError: the weights do not make a model, or not with this ramp.
    """
    try:
        model = model or load_model(folder, device, router_ramp=manifest.router_ramp)
        centre, scale, experts = measure_states(model, read_passages(folder))
    except ValueError as error:
        raise UnusableCheckpointError(f"{folder}: {error}") from None
    return replace(manifest, centre=centre, scale=scale, experts=experts)


def measure_states(
    model: PreTrainedModel, passages: Sequence[Passage]
) -> tuple[tuple[int, ...], int, int]:
    """μ and scale of a model's states on a calibration set, both in 2^-16, and the experts that a
    mixture's token needs, 2^-10. Raises a ValueError: it is a mixture without a ramp."""
    alone = make_alone(model)
    drawable = np.ones(alone.config.vocab_size, bool)  # states do not depend on it
    reference = Reference(alone, drawable, temperature=1_024)
    with count_experts(alone) as count:
        centre, scale = measure_centre(reference, passages)
    return centre, scale, count.needed


def _name_case(digest: bytes, parameters: Parameters | None) -> tuple[bytes, bytes]:
    """Amended parameters may name another class."""
    return b"" if parameters is None else parameters.digest, digest


def require_class_of(folder: Path, digest: bytes, parameters: Parameters | None) -> None:
    """Raise an UnusableCheckpointError unless a folder's checkpoint is of the class that a
    network's parameters name, before any class is opened. Raises a LackingClassError where this
    machine has not that class, and a CheckpointError for a model without a family where no
    parameters are known: whoever names a class reads it by the library that belongs to it."""
    if parameters is not None:
        require_class(parameters.model_class)
    manifest = verify_manifest(folder, digest)
    verify_small_files(folder, manifest)
    plain = is_plain(read_config(folder))
    if parameters is None:
        if plain:
            raise CheckpointError(explain_unnamed(digest))
        return
    shapes = _list_shapes(folder) if plain else None
    fault = find_class_fault(parameters, manifest.structure, plain, shapes)
    if fault is not None:
        raise UnusableCheckpointError(f"checkpoint {digest.hex()[:16]}… is unusable: {fault}")


def _list_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    return {name: place.shape for name, (_, place) in find_tensors(folder).items()}


def open_checkpoint(
    checkpoints: CheckpointFolder, digest: bytes, parameters: Parameters
) -> Checkpoint:
    """The checkpoint with this digest, loaded and within the parameters' bounds.

    Raises:
        UnusableCheckpointError: nobody can use it, and it voids its windows.
        CheckpointError: it is missing or damaged here, or this machine lacks its class: our own
            fault.
    """
    try:
        checkpoint = checkpoints.get(digest, parameters)
    except (UnusableCheckpointError, LackingClassError):
        raise
    except CheckpointError:  # a class may not fit into this machine: what needs none decides first
        if checkpoints.holds(digest):
            fault = find_checkpoint_fault(checkpoints.get_outline(digest), parameters)
            if fault is not None:
                raise UnusableCheckpointError(
                    f"checkpoint {digest.hex()[:16]}… is unusable: {fault}"
                ) from None
        raise
    fault = find_checkpoint_fault(checkpoint, parameters)
    if fault is not None:
        raise UnusableCheckpointError(f"checkpoint {digest.hex()[:16]}… is unusable: {fault}")
    checkpoints.compare_parent(checkpoint.manifest, parameters.gate)
    return checkpoint


def find_checkpoint_fault(checkpoint: Outline, parameters: Parameters) -> str | None:
    """The reason why a published checkpoint is unusable for everybody, or None."""
    fault = find_fault(
        checkpoint.manifest,
        checkpoint.calibration,
        parameters.tests,
        parameters.gate,
        parameters.work.max_tokens,
    )
    if fault is not None:
        return fault
    plain, shapes = checkpoint.is_plain, None
    if plain and isinstance(checkpoint, Checkpoint):
        shapes = _list_shapes(checkpoint.folder)
    fault = find_class_fault(parameters, checkpoint.manifest.structure, plain, shapes)
    if fault is not None:
        return fault
    fault = checkpoint.tokenizer.find_template_fault(list_manners(parameters.environment))
    if fault is not None:
        return fault
    fault = find_pool_fault(checkpoint.piece_pool)
    if fault is not None:
        return fault
    ends, drawable = checkpoint.manifest.end_tokens, checkpoint.tokenizer.drawable
    if any(end >= len(drawable) or not drawable[end] for end in ends):
        return f"end tokens {ends} are not all ids that the model may draw"
    return find_levels_fault(checkpoint.manifest, parameters)
