"""Step records and the files for repeating them, in a folder.

    step-<number>-<record>.json                 the record, the checkpoint made
    step-<number>-<record>.parquet              every group consumed, a row a rollout, in order
    step-<number>-<record>.spare.parquet        good groups with a signal that it left over, if
                                                they may be replayed; of the last steps only
    step-<number>-<record>.before.safetensors   masters and moments before; of the last steps only
    next.before.safetensors                     the same of a step that is being computed
    rules/                                      the parameters

A step's files are written before the trainer's own state counts it as done: a trainer that is
killed between writes the same bytes again. Specification, section 11.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from assay.artifacts.discovery import publish_parameters
from assay.artifacts.steps.config import StepConfig, decode_config, encode_config
from assay.artifacts.steps.file import (
    ConsumedGroup,
    open_step_parser,
    read_groups,
    to_integers,
    write_groups,
)
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.inference.model_loading import read_tensors
from assay.network.files import link, remove_unfinished, replace_file, write_json
from assay.network.store.folder import open_folder
from assay.protocol.encoding import EncodingError, from_json, read_hex, read_json, to_json
from assay.protocol.errors import OperatorError
from assay.protocol.manifest import Manifest, TensorDigest, compute_tensor_root
from assay.protocol.parameters import Parameters
from assay.protocol.step import (
    STEP_VERSION,
    ReturnRecord,
    StepLeftOut,
    StepRecord,
    StepReplay,
    StepRollout,
    StepSource,
    compute_consumed_root,
    compute_delayed_leaf,
    compute_step_leaf,
)
from assay.training import Learner
from assay.training.last_bits import compute_code_digest, describe_engine

_T = TypeVar("_T")
_R = TypeVar("_R", StepRecord, ReturnRecord)
#: A larger record file is refused.
RECORD_BYTES_MAX = 1 << 25
_BEFORE, _SPARE = "next.before.safetensors", ".spare.parquet"
#: The names of types in safetensors.
_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.uint8: "U8"}


class StepError(OperatorError):
    """A step's files are missing or damaged. The message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step as its folder has it. `child` is the digest of its new checkpoint."""

    record: StepRecord
    child: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class StepFolder:
    """The folder of a trainer's steps. `kept` is the number of last steps whose optimiser state
    stays, so that they can be repeated; `spare` is that of the last steps whose spare groups
    stay."""

    folder: Path
    kept: int = 1
    spare: int = 0
    _cleaned: list[bool] = field(default_factory=list, init=False, repr=False)

    def keep_before(self, learner: Learner, present: Path | None) -> None:
        """Write the state before the next step, if states are kept.

        Args:
            present: a file with the learner's present state, which is linked if possible.

        Raises:
            OSError, SafetensorError: it cannot be written.
        """
        if not self._cleaned:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.folder, "trainer.json")
            self._cleaned.append(True)
        if self.kept:
            with replace_file(self.folder / _BEFORE) as temporary:
                if present is None or not link(present, temporary):
                    learner.save_state(temporary)

    def keep_data(
        self,
        record: StepRecord,
        parameters: Parameters,
        groups: Sequence[ConsumedGroup],
        spare: Sequence[ConsumedGroup] = (),
    ) -> None:
        """Write the groups that the step consumed and those left over, and name the state before it
        after the step. Raises OSError: it cannot be written."""
        publish_parameters(open_folder(self.folder / "rules"), parameters)
        path = self.get_path(record.number, record.digest)
        with replace_file(path.with_suffix(".parquet")) as temporary:
            write_groups(temporary, groups)
        if self.spare and spare:
            with replace_file(path.with_suffix(_SPARE)) as temporary:
                write_groups(temporary, spare)
        self._drop("*" + _SPARE, path.with_suffix(_SPARE), self.spare)
        before_path = path.with_suffix(".before.safetensors")
        if self.kept:
            before = self.folder / _BEFORE
            before.replace(before_path)
            # if a killed trainer has named the same file already, rename(2) leaves both names
            if before.exists():
                before.unlink()
        self._drop("*.before.safetensors", before_path, self.kept)

    def _drop(self, pattern: str, own: Path, kept: int) -> None:
        """Delete all but the newest `kept` files of a kind, a step's own one among them."""
        others = (p for p in self.folder.glob(f"step-{pattern}") if p != own)
        # after a clock was set back, the newest looks old
        files = sorted(others, key=lambda p: (p.stat().st_mtime, p.name), reverse=True)
        for file in files[max(0, kept - 1) :]:
            file.unlink()

    def keep_record(self, record: StepRecord, child: bytes) -> None:
        """Write the record, last. Raises OSError: it cannot be written."""
        write_record(self.get_path(record.number, record.digest), record, child)

    def get_path(self, number: int, digest: bytes) -> Path:
        """The path of a step's record, from the number of its checkpoint and its own digest."""
        return self.folder / f"step-{number:08d}-{digest.hex()[:16]}.json"


def parse_record(of: type[_R], version: int, data: bytes) -> tuple[_R, bytes]:
    """A record and the digest of the checkpoint that it made, from the bytes of the record's file.
    Raises EncodingError: it is none of this kind, or not the record that it names."""
    if len(data) > RECORD_BYTES_MAX:
        raise EncodingError(f"has more than {RECORD_BYTES_MAX} bytes")
    value = read_json(data)
    if not isinstance(value, dict) or value.keys() != {"digest", "child", "record"}:
        kind = "step" if of is StepRecord else "return"
        raise EncodingError(f"is not a {kind} record's file")
    record: _R = from_json(of, value["record"])
    if record.version != version:
        raise EncodingError(f"is of version {record.version}, not {version}")
    if record.digest != read_hex(value["digest"]):
        raise EncodingError("has another digest than it says")
    return record, read_hex(value["child"])


def read_record(path: Path, parse: Callable[[bytes, Path], _T]) -> _T:
    """What a record's file has. Raises StepError: it is unreadable, or `parse` refuses it."""
    try:
        with path.open("rb") as file:
            return parse(file.read(RECORD_BYTES_MAX + 1), path)
    except OSError as error:
        raise StepError(f"{path} cannot be read: {error.strerror}") from None
    except EncodingError as error:
        raise StepError(f"{path} cannot be read: {error}") from None


def write_record(path: Path, record: StepRecord | ReturnRecord, child: bytes) -> None:
    """Write a record's file. Raises OSError: it cannot be written."""
    value = {"digest": record.digest.hex(), "child": child.hex(), "record": to_json(record)}
    write_json(path, value)


def parse_step(data: bytes, path: Path = Path()) -> Step:
    """A step from the bytes of its record's file. Raises EncodingError: see `parse_record`."""
    return Step(*parse_record(StepRecord, STEP_VERSION, data), path)


def read_step(path: Path) -> Step:
    """The step of a record's file. Raises StepError: it is unreadable, or not the record that it
    names."""
    return read_record(path, parse_step)


def read_step_groups(step: Step, parser: ParquetWorker | None = None) -> list[ConsumedGroup]:
    """The groups that a step consumed, checked against its record.

    Args:
        parser: see `open_step_parser`; None: one for this file alone.

    Raises:
        StepError: the file is missing, or has other groups.
        WorkerError: no child can be started to read it.
    """
    path, record = step.path.with_suffix(".parquet"), step.record
    try:
        with open_step_parser() if parser is None else nullcontext(parser) as reading:
            groups = read_groups(path, reading)
        root = compute_root_of(groups, record.window, record.parent)
    except OSError as error:
        raise StepError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, MemoryError, OverflowError) as error:
        raise StepError(f"{path} cannot be read: {error}") from None
    if root != record.consumed or len(groups) != record.groups:
        raise StepError(f"{path} is not what the step consumed: its root is {root.hex()[:16]}…")
    return groups


def read_spare(step: Step, parser: ParquetWorker) -> list[ConsumedGroup]:
    """The groups that a step left over, as its trainer kept them; none where there is no file. No
    record binds them. Raises StepError: the file is damaged. WorkerError: as
    `read_step_groups`."""
    path = step.path.with_suffix(_SPARE)
    try:
        return read_groups(path, parser)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise StepError(f"{path} cannot be read: {error}") from None


def read_state_before(step: Step) -> dict[str, Tensor] | None:
    """Masters and moments before a step. None if they are not kept or cannot be read."""
    try:
        return read_tensors(step.path.with_suffix(".before.safetensors"))
    except (OSError, SafetensorError, ValueError, RuntimeError):
        return None


def make_record(
    parameters: Parameters,
    window: int,
    groups: Sequence[ConsumedGroup],
    left_out: Iterable[StepLeftOut],
    parent: Manifest,
    config: StepConfig,
    states: tuple[bytes, bytes],
    weights: Mapping[str, Tensor],
    device: torch.device,
    replayed: tuple[StepReplay, ...] | None = None,
) -> StepRecord:
    """The record of a step that has just been computed.

    Args:
        left_out: groups with a fault, in any order.
        states: digests of the learner's before and after, see `digest_tensors_of`.
        weights: as published.
        device: where it was computed.
        replayed: where those of the groups are from that are of earlier windows.
    """
    return StepRecord(
        version=STEP_VERSION,
        software=f"assay {version('assay')}",
        engine=describe_engine(device),
        threads=torch.get_num_threads(),
        code=compute_code_digest(),
        parameters=parameters.digest,
        window=window,
        number=parent.number + 1,
        parent=parent.digest,
        sources=_count_sources(groups, window, parameters.identity.trainer),
        left_out=tuple(sorted(left_out, key=lambda left: (left.hotkey, left.index))),
        groups=len(groups),
        consumed=compute_root_of(groups, window, parent.digest),
        config=encode_config(config),
        optimiser_before=states[0],
        optimiser_after=states[1],
        tensors=digest_tensors_of(weights.items()),
        replayed=replayed,
    )


def parse_config(record: StepRecord) -> StepConfig:
    """The settings that a step was made with, of the right form. Their values are not checked.
    Raises StepError: they are not such settings."""
    try:
        return decode_config(record.config)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StepError(f"the record's settings are not a learner's: {error}") from None


def read_steps_before(record: StepRecord) -> int | None:
    """The steps that were behind the learner before a step; None: the record does not say, as older
    programs' records."""
    try:
        return parse_config(record).learning.step if "step" in json.loads(record.config) else None
    except StepError:
        return None


def compute_root_of(groups: Sequence[ConsumedGroup], window: int, parent: bytes) -> bytes:
    return compute_consumed_root(list(map(_compute_leaf, groups)), window, parent)


def _compute_leaf(one: ConsumedGroup) -> bytes:
    group = one.group
    parts = group.completions, group.behaviour_logprobs, group.rewards, group.replies
    leaf = compute_step_leaf(
        one.hotkey,
        one.index,
        one.checkpoint,
        np.array(group.prompt, np.uint32),
        [
            StepRollout(np.array(tokens, np.uint32), to_integers(logprobs), reward, replies)
            for tokens, logprobs, reward, replies in zip(*parts, strict=True)
        ],
    )
    if one.delay is None:
        return leaf
    return compute_delayed_leaf(leaf, one.delay.source, one.delay.rollouts)


def digest_tensors_of(state: Iterable[tuple[str, Tensor]]) -> bytes:
    """The root over named tensors, which are read one at a time."""
    return compute_tensor_root(
        TensorDigest(
            name,
            _DTYPES[tensor.dtype],
            tuple(tensor.shape),
            sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data).digest(),
        )
        for name, tensor in state
    )


def _count_sources(
    groups: Sequence[ConsumedGroup], window: int, trainer: bytes
) -> tuple[StepSource, ...]:
    counts: dict[tuple[bytes, bytes], int] = {}
    for one in groups:
        if one.hotkey != trainer and one.window == window:
            counts[one.hotkey, one.proof] = counts.get((one.hotkey, one.proof), 0) + 1
    return tuple(StepSource(hotkey, root, n) for (hotkey, root), n in counts.items())
