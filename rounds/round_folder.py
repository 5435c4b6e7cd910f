"""The state of rounds that a trainer must keep.

    rounds.json                    the current round, its beginning, the steps made in it
    outer-<root>.safetensors       masters and velocity that it began with
    begin.safetensors              the learner's state at the round's beginning
    residual-<child>.safetensors   the part that the last child left out
    children/                      steps of others, as they were read

`rounds.json` is written last and names the rest.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from assay.network.files import replace_file, write_json
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
from assay.protocol.errors import OperatorError
from assay.protocol.manifest import Manifest
from assay.rounds.outer_records import STEPS_MAX
from assay.rounds.outer_step import Masters, OuterState, compute_outer_root

_STATE_FILE, _BEGIN = "rounds.json", "begin.safetensors"
#: Most true checkpoints that are remembered.
TRUE_MAX = 64


class RoundFolderError(OperatorError):
    """A trainer's folder of rounds cannot be used. The message says why and what to do."""


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
    residual: Digest  # child whose residual is added to the next one; zeros: none
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
                f"{path} cannot be read ({error}): move the folder away to begin with the "
                "checkpoint in force"
            ) from error
        return state if state.parameters == parameters else None

    def save(self, state: RoundState, outer: OuterState | None = None) -> None:
        """Save a state, which counts from then on. `outer` is the outer state that it names, if it
        is not here yet."""
        try:
            if outer is not None:
                self._write(self._get_outer(state.outer), outer.to_tensors())
            write_json(self.folder / _STATE_FILE, to_json(state))
            kept = {self._get_outer(state.outer), self._get_residual(state.residual)}
            for pattern in ("outer-*.safetensors", "residual-*.safetensors"):
                for path in set(self.folder.glob(pattern)) - kept:
                    path.unlink()
            names = {f"manifest-{step.child.hex()}.json" for step in state.steps}
            for path in self.folder.glob("manifest-*.json"):
                if path.name not in names:
                    path.unlink()
        except (OSError, SafetensorError) as error:
            raise RoundFolderError(
                f"cannot write to {self.folder} ({error}): see that the folder is yours to write "
                "and that its disk is not full"
            ) from error

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

    def load_residual(self, child: bytes) -> Masters:
        """A child's residual, or no tensors if it is missing or damaged."""
        return self._read(self._get_residual(child)) or {}

    def write_residual(self, child: bytes, residual: Masters) -> None:
        """Write a child's residual. It counts once a state that names the child is saved, so a
        child that is made again begins with the same residual."""
        self._write(self._get_residual(child), dict(residual))

    def keep_manifest(self, manifest: Manifest) -> None:
        write_json(self._get_manifest(manifest.digest), to_json(manifest))

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
        with replace_file(path) as temporary:
            save_file(tensors, temporary)

    def _read(self, path: Path) -> dict[str, Tensor] | None:
        try:
            return load_file(path)
        except (OSError, SafetensorError):
            return None
