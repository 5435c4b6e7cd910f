"""The state of rounds that a trainer must keep.

    rounds.json                    the current round, its beginning, the steps made in it
    outer-<root>.safetensors       masters and velocity that it began with
    begin.safetensors              the learner's state that was loaded or uploaded last
    residual-<child>.safetensors   the part that a child left out
    children/                      steps, pieces and masters of others, as they were read
    shelf/                         a store: the current round's child, until the deadline

`rounds.json` is written last and names the rest.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from assay.network.files import replace_file, write_json
from assay.network.store.folder import FolderStore, open_folder
from assay.protocol.encoding import (
    U64,
    Digest,
    EncodingError,
    Many,
    Record,
    from_json,
    read_json,
    to_json,
)
from assay.protocol.errors import OperatorError, TroubleKind
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest
from assay.rounds.outer_records import STEPS_MAX
from assay.rounds.outer_step import Masters, OuterState, compute_outer_root

_STATE_FILE, _BEGIN, _SHELF = "rounds.json", "begin.safetensors", "shelf"
#: Most true checkpoints that are remembered.
TRUE_MAX = 64


class RoundFolderError(OperatorError):
    """A trainer's folder of rounds cannot be used. The message says why and what to do."""

    trouble_kind = TroubleKind.DISK


@dataclass(frozen=True, slots=True)
class MadeStep:
    """A step of the current round: its record's digest and the checkpoint that it made."""

    record: Digest
    child: Digest


@dataclass(frozen=True, slots=True)
class TrueCheckpoint:
    """A checkpoint that was derived here, or that the trainer began with."""

    digest: Digest
    number: U64


@dataclass(frozen=True, slots=True)
class RoundState:
    """A trainer's state in its rounds."""

    parameters: Digest  # digest of the network's first parameters
    end: U64  # of the current round
    base: Digest  # checkpoint at its beginning
    outer: Digest  # root of masters and velocity there
    steps: Annotated[tuple[MadeStep, ...], Many(Record(MadeStep), STEPS_MAX)]
    child: Digest  # its record on chain; zeros: none yet
    residual: Digest  # child whose residual is added to this round's; zeros: none
    true: Annotated[tuple[TrueCheckpoint, ...], Many(Record(TrueCheckpoint), TRUE_MAX)]


class RoundFolder:
    """One trainer's folder of rounds. The holder of the trainer's folder also holds this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, parameters: bytes) -> RoundState | None:
        """The last saved state, or None if the trainer was in no round of this network. Raises
        RoundFolderError."""
        path = self.folder / _STATE_FILE
        try:
            state = from_json(RoundState, read_json(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, EncodingError) as error:
            raise RoundFolderError(
                f"{path} is damaged, or of another version of assay ({error}): move "
                f"{self.folder} away, and the trainer begins with the checkpoint in force"
            ) from error
        return state if state.parameters == parameters else None

    def save(self, state: RoundState, outer: OuterState | None = None) -> None:
        """Save a state, which counts from then on. `outer` is the outer state that it names, if it
        is not here yet."""
        if outer is not None:
            self._write(self._get_outer(state.outer), outer.to_tensors())
        residuals = map(self._get_residual, (state.residual, state.child))
        needed = {self._get_outer(state.outer), *residuals}
        try:
            write_json(self.folder / _STATE_FILE, to_json(state))
            for pattern in ("outer-*.safetensors", "residual-*.safetensors"):
                for path in set(self.folder.glob(pattern)) - needed:
                    path.unlink()
            names = {f"manifest-{step.child.hex()}.json" for step in state.steps}
            for path in self.folder.glob("manifest-*.json"):
                if path.name not in names:
                    path.unlink()
        except OSError as error:
            raise self._explain(error) from error

    def load_outer(self, root: bytes) -> OuterState | None:
        """The outer state of a root, or None if it is missing or damaged."""
        tensors = self._read(self._get_outer(root))
        if tensors is None:
            return None
        try:
            state = OuterState.from_tensors(tensors)
        except ValueError:
            return None
        return state if compute_outer_root(state) == root else None

    def write_begin(self, state: dict[str, Tensor]) -> Path:
        """Write the learner's state that is loaded next, and return its path."""
        path = self.folder / _BEGIN
        self._write(path, state)
        return path

    def load_residual(self, child: bytes) -> Masters | None:
        """A child's residual, no tensors for zeros, or None if it is missing or damaged."""
        return {} if child == ZERO_DIGEST else self._read(self._get_residual(child))

    def write_residual(self, child: bytes, residual: Masters) -> None:
        """Write a child's residual, before the state that names the child."""
        self._write(self._get_residual(child), dict(residual))

    def open_shelf(self) -> FolderStore:
        """The store with what is to be published after the deadline. Raises StoreError."""
        return open_folder(self.folder / _SHELF)

    def clear_shelf(self) -> None:
        shutil.rmtree(self.folder / _SHELF, ignore_errors=True)

    def keep_manifest(self, manifest: Manifest) -> None:
        try:
            write_json(self._get_manifest(manifest.digest), to_json(manifest))
        except OSError as error:
            raise self._explain(error) from error

    def load_manifest(self, digest: bytes) -> Manifest:
        """The manifest of a step of the current round. Raises RoundFolderError if it is missing."""
        path = self._get_manifest(digest)
        try:
            return from_json(Manifest, read_json(path.read_bytes()))
        except (OSError, EncodingError) as error:
            raise RoundFolderError(f"{path} cannot be read: {error}") from error

    def _get_manifest(self, digest: bytes) -> Path:
        return self.folder / f"manifest-{digest.hex()}.json"

    def _get_outer(self, root: bytes) -> Path:
        return self.folder / f"outer-{root.hex()[:32]}.safetensors"

    def _get_residual(self, child: bytes) -> Path:
        return self.folder / f"residual-{child.hex()[:32]}.safetensors"

    def _write(self, path: Path, tensors: dict[str, Tensor]) -> None:
        try:
            with replace_file(path) as temporary:
                save_file(tensors, temporary)
        except (OSError, SafetensorError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> RoundFolderError:
        return RoundFolderError(
            f"cannot write to {self.folder} ({error}): see that the folder is yours to write and "
            "that its disk is not full"
        )

    def _read(self, path: Path) -> dict[str, Tensor] | None:
        try:
            return load_file(path)
        except (OSError, SafetensorError):
            return None
