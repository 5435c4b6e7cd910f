"""The ports to an audit's inputs, from the network or from a bundle."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from assay.artifacts.ports import BeaconSource, Objects
from assay.artifacts.submissions.reading import SubmissionReader
from assay.inference.checkpoint import Checkpoint, Outline
from assay.network.chain.ports import BlockReader
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment
from assay.protocol.context import Context
from assay.protocol.parameters import Parameters


class Submissions(Protocol):
    """Miners' files."""

    def open(self, context: Context, hotkey: bytes) -> SubmissionReader:
        """A reader of the file that a hotkey committed to. May raise a StoreError, now or when it
        reads."""


class Outlines(Protocol):
    """Checkpoints without their tensors."""

    def get(self, digest: bytes) -> Outline:
        """The outline of a checkpoint. Raises a CheckpointError if it is unavailable."""

    def find_folder(self, digest: bytes) -> Path:
        """The folder that it was read from, with the checkpoint's further files. Raises as `get`
        does."""


class Models(Protocol):
    """Checkpoints that can be run."""

    def get(self, digest: bytes, parameters: Parameters) -> Checkpoint | None:
        """The checkpoint, or None if the auditor was not given that one.

        Args:
            parameters: of its network, which name the class of a model without a family.

        Raises:
            LackingClassError: this machine has not the library that they name. CheckpointError: it
                is damaged.
        """


class ScoreLedgerReader(Protocol):
    """The contract on the EVM in which a validator records its settlements, write-once."""

    def get_digest(self, hotkey: bytes, epoch: int) -> bytes:
        """Digest of the entry of a settlement, 32 bytes; zeros if there is none."""


def _know_no_stores() -> Iterable[Objects]:
    return ()


@dataclass(frozen=True, slots=True)
class Public:
    """Everything that an audit reads."""

    chain: BlockReader
    beacons: BeaconSource
    #: those of the current window; code for another window replaces them
    parameters: Parameters
    history: ParameterHistory  # of the network
    records: Objects  # the validator's publications, by the names of `assay.protocol.record`
    submissions: Submissions
    outlines: Outlines
    copies: Mapping[str, Objects]  # other readers' copies of them, by the readers' names
    models: Models | None = None  # None: no forward pass is run again
    parallel: int = 1  # members of a window that are checked at a time
    ledger: ScoreLedgerReader | None = None  # None: not compared
    #: a slot of the owner's → the store that it names, for parameters that the network has since
    #: replaced; may raise a StoreError. None: verdicts under them stay unchecked.
    rules: Callable[[Commitment], Objects] | None = None
    #: stores with what the trainer publishes beside its checkpoints, asked in order
    mirrors: Callable[[], Iterable[Objects]] = _know_no_stores
    is_bundle: bool = False  # nothing can be asked for but what it holds
