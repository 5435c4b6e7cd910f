"""Steps in a store: the files that a stranger needs to repeat one.

    steps/<digest of the record>/step.json             the record, the checkpoint made
    steps/<digest of the record>/step.parquet          every group consumed
    steps/<digest of the record>/before.safetensors    masters and moments before, where published

A checkpoint's manifest names the record, and the record binds the rest, so any store will do. They
are uploaded before the checkpoint. Specification, section 11.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from assay.artifacts.checkpoints.download import DownloadLimits, fetch_outline
from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.discovery import fetch_parameters, publish_parameters
from assay.artifacts.steps.file import DATA_BYTES_MAX
from assay.artifacts.steps.folder import (
    RECORD_BYTES_MAX,
    Step,
    StepError,
    StepFolder,
    digest_tensors_of,
    parse_config,
    read_state_before,
    read_step,
    read_step_groups,
)
from assay.artifacts.steps.pool import has_pools
from assay.artifacts.steps.replay import STALENESS_MAX, find_false_origin
from assay.artifacts.steps.returns import RETURN_FILE, get_return_path, publish_return, read_return
from assay.artifacts.store_objects import (
    UnavailableError,
    answer_in_time,
    make_step_name,
    map_file,
    put_object,
    read_parts,
)
from assay.inference.checkpoint import Checkpoint, Outline
from assay.inference.folder import CheckpointError
from assay.network.files import hold_folder, remove_unfinished, replace_file
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.deadlines import within
from assay.network.store.folder import open_folder
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters

#: Most bytes of an optimiser's state that are uploaded and fetched.
STATE_BYTES_MAX = 1 << 37
#: Suffix in a trainer's folder → name in a store and most bytes of it.
_RECORD, _DATA, _STATE = ".json", ".parquet", ".before.safetensors"
_RETURN = "return"  # the record of a return has no files beside it
OBJECTS = {
    _RETURN: (RETURN_FILE, RECORD_BYTES_MAX),
    _RECORD: ("step.json", RECORD_BYTES_MAX),
    _DATA: ("step.parquet", DATA_BYTES_MAX),
    _STATE: ("before.safetensors", STATE_BYTES_MAX),
}
#: Seconds for a step with its checkpoints, and for a chunk.
FETCH_SECONDS, _PATIENCE_S = 6 * 3_600.0, 60.0


def publish_step(
    store: ObjectStore, steps: StepFolder, made: Manifest, with_state: bool
) -> list[str]:
    """Upload the step, or the return, that made a checkpoint, and read each object back. Existing
    objects stay. Nothing is uploaded of a step that was made elsewhere.

    Returns:
        One line for each object that was left out, because it is too large or missing.

    Raises:
        StoreError, StepError, OSError: the store or the trainer's folder cannot be read or written.
    """
    publish_return(store, steps, made)
    record = steps.get_path(made.number, made.step)
    if not record.exists():
        return []
    left_out = []
    rules = open_folder(steps.folder / "rules")
    publish_parameters(store, fetch_parameters(rules, read_step(record).record.parameters))
    for suffix in (*((_STATE,) if with_state else ()), _DATA, _RECORD):  # the record last
        path = record.with_suffix(suffix)
        name, limit = OBJECTS[suffix]
        size = path.stat().st_size if path.exists() else 0
        if not 0 < size <= limit:
            why = f"has {size:,} bytes, more than {limit:,}" if size else "is not here"
            left_out.append(f"{path.name} is not in the store: it {why}")
            continue
        with map_file(path) as data, memoryview(data) as view:
            put_object(store, make_step_name(made.step, name), sha256(view).digest(), view)
    return left_out


def fetch_step(
    stores: Sequence[ObjectStore], checkpoint: bytes, folder: Path, seconds: float = FETCH_SECONDS
) -> Path:
    """Fetch the step that made a checkpoint, with the checkpoint and its parent, the record of the
    previous step if a store has it, and without their tensors the checkpoints from whose pools the
    step's problems were drawn. Of a return, its record, and without tensors the milestone and the
    checkpoint that it gives up, with the record of the milestone's step if a store has it.

    Removes the remains of a killed fetch from the folder, except for tensors of these checkpoints:
    the fetch continues with them.

    Args:
        stores: asked in order: the trainer's, and the owner's for the first checkpoint.
        folder: gets `steps` and `models`, as in a trainer's folder.
        seconds: for all of it, whatever the stores do.

    Returns:
        The record's file, checked to be the one that the checkpoint names.

    Raises:
        StepError: the stores have no such step, or another, or not in time; or another program is
            fetching into the folder.
        OperatorError: reading or writing fails.
    """
    steps = folder / "steps"
    try:
        steps.mkdir(parents=True, exist_ok=True)
        with hold_folder(steps) as held:
            if not held:
                raise StepError(f"another program is fetching into {folder}: name another folder")
            remove_unfinished(steps, "trainer.json")
            path = _Fetch(stores, folder, time.monotonic() + seconds).run(checkpoint)
            CheckpointFolder(folder / "models").sweep()
            return path
    except OSError as error:
        raise StepError(f"the step cannot be kept in {folder}: {error}") from None


def fetch_record(
    stores: Sequence[ObjectStore], made: Manifest, digest: bytes, steps: StepFolder
) -> Step | None:
    """The record of the step that made a checkpoint, from a folder or else from a store; None: no
    store has it.

    Raises:
        StepError: a store has another, or cannot be read in a minute.
    """
    try:
        steps.folder.mkdir(parents=True, exist_ok=True)
        fetching = _Fetch(stores, steps.folder, time.monotonic() + _PATIENCE_S)
        path = fetching.fetch_record(steps, made, digest, "checkpoint")
    except OSError as error:
        raise StepError(f"a step's record cannot be kept in {steps.folder}: {error}") from None
    return None if path is None else read_step(path)


@dataclass(frozen=True, slots=True)
class _Fetch:
    """The fetch of one step. `deadline` is for all of it, on the monotonic clock."""

    stores: Sequence[ObjectStore]
    folder: Path
    deadline: float

    def run(self, checkpoint: bytes) -> Path:
        made = self._get_outline(checkpoint).manifest
        steps = StepFolder(self.folder / "steps")
        if made.is_return:
            return self._run_return(steps, made)
        path = self.fetch_record(steps, made, checkpoint, "checkpoint")
        if path is None:
            raise StepError(
                f"there is no step record of checkpoint {checkpoint.hex()[:16]}… in any store: "
                "name its trainer's own"
            )
        step = read_step(path)
        # a missing object is reported when it is needed
        self._fetch(made.step, _DATA, path, lambda: read_step_groups(step))
        with suppress(StepError):
            self._fetch(made.step, _STATE, path, lambda: _check_state(step))
        parameters = self._get_parameters(step.record.parameters)
        publish_parameters(open_folder(self.folder / "steps" / "rules"), parameters)
        self._get_checkpoint(checkpoint, parameters)
        parent = self._get_checkpoint(step.record.parent, parameters)
        if has_pools(parameters.environment, parent):
            with suppress(StepError, CheckpointError):  # reported when it is needed
                self._fetch_outlines(step, parameters.identity.trainer)
        if parent.manifest.number:  # the windows of the two steps are compared
            with suppress(StepError):  # reported when it is needed
                self._fetch_made(steps, parent.manifest, "parent")
        if parse_config(step.record).learning.from_genesis:
            self._get_checkpoint(parameters.identity.genesis_checkpoint, parameters)
        return path

    def _run_return(self, steps: StepFolder, made: Manifest) -> Path:
        path = self._fetch_made(steps, made, "checkpoint")
        if path is None:
            raise StepError(
                f"there is no record of the return that made checkpoint {made.digest.hex()[:16]}… "
                "in any store: name its trainer's own"
            )
        record = read_return(path).record
        parameters = self._get_parameters(record.parameters)
        publish_parameters(open_folder(self.folder / "steps" / "rules"), parameters)
        self._get_checkpoint(made.digest, parameters)
        milestone = self._get_outline(record.milestone).manifest
        self._get_outline(record.parent)
        if milestone.step != ZERO_DIGEST:
            with suppress(StepError):  # reported when it is needed
                self._fetch_made(steps, milestone, "milestone")
        return path

    def _fetch_made(self, steps: StepFolder, made: Manifest, whose: str) -> Path | None:
        """The record of the step or return that made a checkpoint; None: no store has it."""
        if not made.is_return:
            return self.fetch_record(steps, made, made.digest, whose)
        path = get_return_path(steps, made.number, made.step)

        def check_record() -> None:
            read = read_return(path)
            if read.record.digest != made.step or read.child != made.digest:
                raise StepError(f"the store's return is not the one that the {whose} names")

        return path if self._fetch(made.step, _RETURN, path, check_record) else None

    def _get_outline(self, digest: bytes) -> Outline:
        fetching = DownloadSettings(lambda: self.stores, DownloadLimits(seconds=self._get_left()))
        return CheckpointFolder(self.folder / "models", fetching).get_outline(digest)

    def _fetch_outlines(self, step: Step, trainer: bytes) -> None:
        """Fetch the checkpoints whose problems a step's groups answer, without tensors. Of a false
        step none: its groups could be of any number of them."""
        groups = read_step_groups(step)
        if find_false_origin(step.record, groups, trainer, STALENESS_MAX) is None:
            for digest in sorted({one.checkpoint for one in groups} - {step.record.parent}):
                limits = DownloadLimits(seconds=self._get_left())
                fetch_outline(self.stores, digest, self.folder / "models", limits)

    def fetch_record(
        self, steps: StepFolder, made: Manifest, digest: bytes, whose: str
    ) -> Path | None:
        """The record of the step that made a checkpoint; None: no store has it."""
        path = steps.get_path(made.number, made.step)

        def check_record() -> None:
            step = read_step(path)
            if step.record.digest != made.step or step.child != digest:
                raise StepError(f"the store's record is not the one that the {whose} names")

        return path if self._fetch(made.step, _RECORD, path, check_record) else None

    def _get_checkpoint(self, digest: bytes, parameters: Parameters) -> Checkpoint:
        limits = DownloadLimits(seconds=self._get_left())
        fetching = DownloadSettings(lambda: self.stores, limits)
        return CheckpointFolder(self.folder / "models", fetching).get(digest, parameters)

    def _get_parameters(self, digest: bytes) -> Parameters:
        for store in self.stores[:-1]:
            with suppress(UnavailableError, StoreError), within(self._get_left()):
                return fetch_parameters(store, digest)
        with within(self._get_left()):
            return fetch_parameters(self.stores[-1], digest)

    def _get_left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise StepError("the stores did not show all of the step in time")
        return left

    def _get_patience(self) -> float:
        return min(_PATIENCE_S, self._get_left())

    def _fetch(self, digest: bytes, suffix: str, record: Path, check: Callable[[], object]) -> bool:
        """Fetch one object beside the record, unless it is there and right. Return False if no
        store has it. An object that `check` refuses with a StepError is deleted, and the next store
        is asked."""
        path, reasons = record if suffix == _RETURN else record.with_suffix(suffix), []
        if path.exists():
            with suppress(StepError):
                check()
                return True
        for store in self.stores:
            try:
                if self._fetch_from(store, digest, suffix, path):
                    check()
                    return True
            except (StepError, UnavailableError, StoreError) as error:
                reasons.append(str(error))
                path.unlink(missing_ok=True)
        if reasons:
            raise StepError("; ".join(reasons))
        return False

    def _fetch_from(self, store: ObjectStore, digest: bytes, suffix: str, path: Path) -> bool:
        name, limit = OBJECTS[suffix]
        source = store.open(make_step_name(digest, name))
        size = answer_in_time(source.size, self._get_patience)
        if size is None:
            return False
        if size > limit:
            raise StepError(
                f"the store's {name} has {size:,} bytes; at most {limit:,} are accepted"
            )
        fault = f"the store serves {name} with another size than it says"
        with replace_file(path) as temporary, temporary.open("wb") as file:
            for data in read_parts(source, size, self._get_patience, fault):
                self._get_left()
                file.write(data)
        return True


def _check_state(step: Step) -> None:
    state = read_state_before(step)
    try:
        right = (
            state is not None and digest_tensors_of(state.items()) == step.record.optimiser_before
        )
    except (KeyError, TypeError):  # values of a kind that no state has
        right = False
    if not right:
        raise StepError("the store's optimiser's state is not what the record says")
