"""Returns to a milestone, in a trainer's folder of steps and in a store.

    return-<number>-<record>.json                  in a folder
    steps/<digest of the record>/return.json       in a store

A checkpoint's manifest names the record of a return where others name a step's. Nothing was
learned: there are no other files. Specification, section 7.1.
"""

from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from assay.artifacts.steps.folder import (
    StepError,
    StepFolder,
    parse_record,
    read_record,
    write_record,
)
from assay.artifacts.store_objects import make_step_name, put_object
from assay.network.store.base import ObjectStore
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import PROTOCOL_VERSION, Parameters
from assay.protocol.step import ReturnRecord

#: The name of a return's record in a store, in its step's place.
RETURN_FILE = "return.json"
#: What its name begins with in a folder.
RETURN_PREFIX = "return-"


@dataclass(frozen=True, slots=True)
class Return:
    """A return as its file has it. `child` is the digest of the checkpoint that it made."""

    record: ReturnRecord
    child: bytes
    path: Path = Path()


def make_return_record(
    parameters: Parameters, window: int, parent: Manifest, milestone: Manifest, state: bytes
) -> ReturnRecord:
    """The record of a return.

    Args:
        window: the last one whose checkpoint's counts are in the manifest.
        parent: of the checkpoint that is given up.
        state: digest of the learner's state that the next step begins with.
    """
    return ReturnRecord(
        version=PROTOCOL_VERSION,
        software=f"assay {version('assay')}",
        parameters=parameters.digest,
        window=window,
        number=parent.number + 1,
        parent=parent.digest,
        milestone=milestone.digest,
        tensors=milestone.tensors,
        optimiser=state,
    )


def get_return_path(steps: StepFolder, number: int, digest: bytes) -> Path:
    """The path of a return's record, from the number of its checkpoint and its own digest."""
    return steps.folder / f"{RETURN_PREFIX}{number:08d}-{digest.hex()[:16]}.json"


def keep_return(steps: StepFolder, record: ReturnRecord, child: bytes) -> None:
    """Write a return's record. Raises OSError: it cannot be written."""
    write_record(get_return_path(steps, record.number, record.digest), record, child)


def parse_return(data: bytes, path: Path = Path()) -> Return:
    """A return from its file's bytes. Raises EncodingError: see `parse_record`."""
    return Return(*parse_record(ReturnRecord, PROTOCOL_VERSION, data), path)


def read_return(path: Path) -> Return:
    """A return from a folder. Raises StepError: it is unreadable, or not the record that it
    names."""
    return read_record(path, parse_return)


def has_return(steps: StepFolder, number: int, child: bytes) -> bool:
    """Whether a folder has the return that made a checkpoint: a line of steps ends there."""
    for path in steps.folder.glob(f"{RETURN_PREFIX}{number:08d}-*.json"):
        try:
            if read_return(path).child == child:
                return True
        except StepError:
            continue
    return False


def publish_return(store: ObjectStore, steps: StepFolder, made: Manifest) -> None:
    """Upload the return that made a checkpoint, if it was made here. Raises StoreError, OSError:
    the store or the folder cannot be written or read."""
    path = get_return_path(steps, made.number, made.step)
    if path.exists():
        data = path.read_bytes()
        name, view = make_step_name(made.step, RETURN_FILE), memoryview(data)
        put_object(store, name, sha256(data).digest(), view)
