"""The state that a trainer must not lose: its position, and its optimiser's state.

    trainer.json                    the next window, the last checkpoint
    learner-<digest>.safetensors    masters and moments as that checkpoint left them
    milestone-<digest>.safetensors  the same of the checkpoint to which a course would return
    gates/                          what the checkpoints of a course showed
    parameters-<digest>/            both, as a course under other parameters left them, with its
                                    steps; with -2, … as a later one under the same parameters did

`trainer.json` is written last and names the rest. A trainer that is killed anywhere therefore finds
the state before a lesson or after it. Its commitments are not stored here: the chain has them.
"""

import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated

from safetensors import SafetensorError

from assay.network.files import link_or_copy, replace_file, take_lock, write_json
from assay.protocol.encoding import (
    U8,
    U64,
    Digest,
    EncodingError,
    Integer,
    Last,
    from_json,
    read_json,
    to_json,
)
from assay.protocol.errors import OperatorError, TroubleKind
from assay.training import Learner

_STATE_FILE = "trainer.json"


class TrainerError(OperatorError):
    """The trainer's own folder cannot be used. The message says why and what to do."""

    trouble_kind = TroubleKind.DISK


@dataclass(frozen=True, slots=True)
class TrainerState:
    """A trainer's position between two lessons."""

    #: parameters, hotkey: the owner of this folder
    parameters: Digest
    hotkey: Digest
    window: U64  # the next one to learn from
    #: checkpoint, number: the last one published, or the one it started from
    checkpoint: Digest
    number: U64
    learner: U8  # 1 where the learner has a state beyond the checkpoint's weights
    #: steps behind the learner; None: an older program's, which did not keep them here
    steps: Annotated[int | None, Last(Integer(8))] = None
    #: number of the newest return to a milestone; None: there was none
    returned: Annotated[int | None, Last(Integer(8))] = None


class TrainerFolder:
    """One trainer's folder, held until `close` or until the process ends.

    Raises:
        TrainerError: it cannot be written, or another trainer holds it. `set_aside` and `load`
            raise it also if the folder is damaged, or is another network's or another hotkey's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise TrainerError(f"cannot use the trainer's folder {folder}: {error}") from error
        if not take_lock(self._lock):
            self.close()
            raise TrainerError(f"another trainer runs in {folder}: stop it first")

    def close(self) -> None:
        """Release the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def set_aside(self, parameters: bytes, hotkey: bytes) -> Path | None:
        """Move a course under other parameters out of the way, with its steps: a folder's steps
        are those of one course. Return its new place, or None where there is no such course. An
        interrupted move continues next time."""
        state = self._read()
        if state is None or state.parameters == parameters:
            return None
        self._require_same("hotkey", state.hotkey, hotkey)
        aside = self._choose_aside(state.parameters)
        learner = self._get_learner_path(state.checkpoint).name
        try:
            aside.mkdir(exist_ok=True)
            for path in aside.glob("*learner-*"):  # of an earlier course under the same parameters
                if path.name != learner:
                    path.unlink()
            for path in (self._folder / "steps").glob("step-*"):  # what it learned from stays
                (aside / "steps").mkdir(exist_ok=True)
                os.replace(path, aside / "steps" / path.name)
            for name in (learner, _STATE_FILE):  # state file last: until then nothing changes
                if (self._folder / name).exists():
                    os.replace(self._folder / name, aside / name)
        except OSError as error:
            raise TrainerError(f"cannot move the old training run to {aside}: {error}") from error
        return aside

    def _choose_aside(self, parameters: bytes) -> Path:
        """A folder without a course's state file, which is moved last."""
        name = f"parameters-{parameters.hex()[:32]}"
        places = (self._folder / (name if n == 1 else f"{name}-{n}") for n in count(1))
        return next(place for place in places if not (place / _STATE_FILE).exists())

    def load(self, parameters: bytes, hotkey: bytes) -> TrainerState | None:
        """The position where the last trainer here stopped, or None in a new folder."""
        state = self._read()
        if state is not None:
            self._require_same("parameters", state.parameters, parameters)
            self._require_same("hotkey", state.hotkey, hotkey)
        return state

    def _require_same(self, what: str, actual: bytes, wanted: bytes) -> None:
        if actual != wanted:
            raise TrainerError(
                f"{self._folder / _STATE_FILE} is of a trainer with the {what} "
                f"{actual.hex()[:16]}…, not {wanted.hex()[:16]}…: give this one a folder of its own"
            )

    def _read(self) -> TrainerState | None:
        path = self._folder / _STATE_FILE
        try:
            return from_json(TrainerState, read_json(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, EncodingError) as error:
            raise TrainerError(
                f"{path} cannot be read ({error}): move the folder away to start from the chain's "
                "checkpoint"
            ) from error

    def save(self, state: TrainerState, learner: Learner | None = None) -> None:
        """Make `state` the folder's content.

        Args:
            learner: the learner whose state belongs to it; None: it has a file already, or none.

        Raises:
            TrainerError: it cannot be written. The previous content remains.
        """
        current = self._get_learner_path(state.checkpoint)
        try:
            if learner is not None:
                with replace_file(current) as temporary:
                    learner.save_state(temporary)
            write_json(self._folder / _STATE_FILE, to_json(state))
            for path in self._folder.glob("*learner-*"):  # of earlier lessons, or cut off
                if path != current or not state.learner:
                    path.unlink()
        except (OSError, SafetensorError) as error:
            raise TrainerError(
                f"cannot write the trainer's state to {self._folder} ({error}): make sure that you "
                "may write to the folder and that its disk is not full"
            ) from error

    def keep_milestone(self, checkpoint: bytes, state: Path) -> None:
        """Keep a file of the learner's state after a checkpoint for a return to it, and no other
        one. Raises TrainerError: it cannot be kept."""
        path = self._get_milestone_path(checkpoint)
        try:
            if not path.exists():
                with replace_file(path) as temporary:
                    link_or_copy(state, temporary)
            for other in self._folder.glob("milestone-*"):
                if other != path:
                    other.unlink()
        except OSError as error:
            raise TrainerError(
                f"cannot keep the milestone's state in {self._folder} ({error}): its disk may be "
                "full"
            ) from error

    def find_milestone(self, checkpoint: bytes) -> Path | None:
        """The file of the learner's state to return to, or None where it is gone."""
        path = self._get_milestone_path(checkpoint)
        return path if path.exists() else None

    def _get_milestone_path(self, checkpoint: bytes) -> Path:
        return self._folder / f"milestone-{checkpoint.hex()[:32]}.safetensors"

    def find_learner(self, checkpoint: bytes) -> Path | None:
        """The file of the learner's state after a checkpoint, or None where it is gone."""
        path = self._get_learner_path(checkpoint)
        return path if path.exists() else None

    def _get_learner_path(self, checkpoint: bytes) -> Path:
        return self._folder / f"learner-{checkpoint.hex()[:32]}.safetensors"
