"""A miner's file as far as a step has learned from it: read, held to its root, judged again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.steps.step_file import ConsumedGroup, to_integers
from assay.artifacts.submissions.submission_file import SubmissionFile
from assay.artifacts.submissions.submission_judge import judge_and_carry
from assay.artifacts.submissions.submission_layout import get_limits
from assay.artifacts.submissions.submission_pack import PackError
from assay.audit.bundle import BundleError
from assay.audit.findings import Aspect, Findings
from assay.audit.ports import Submissions
from assay.audit.provenance.consumed import describe_group
from assay.inference import Checkpoint, Outline
from assay.network import ObjectStore, StoreError
from assay.neurons.trainer.lessons import RecordingForward
from assay.protocol import Context, Footer, Reason, Refusal, encode_ss58
from assay.protocol.commitment import make_object_name
from assay.protocol.submission import (
    Rollout,
    decode_rollout,
    is_committed,
    is_group_committed,
    split_rows,
)
from assay.verification import Ledger, SubmissionReader, Verdict, examine
from assay.verification.logprobs import judge_logprobs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SubmissionsBeside:
    """Miners' files from where an audit finds them, and what that lacks from other stores."""

    first: Submissions
    stores: Sequence[ObjectStore]
    worker: ParquetWorker

    def open(self, context: Context, hotkey: bytes) -> SubmissionReader:
        """A reader of what a hotkey committed to: nothing counts but what its root binds."""
        name = make_object_name(encode_ss58(hotkey), context.window)
        limits = get_limits(context.parameters)
        readers = [self.first.open(context, hotkey)]
        readers += [SubmissionFile(store.open(name), self.worker, limits) for store in self.stores]
        root, size = context.commitments[hotkey].root, context.parameters.work.group_size
        return _Several(root, size, readers)


@dataclass(slots=True)
class _Several:
    """Copies of one file, each good for what the root binds of it."""

    root: bytes
    group_size: int
    #: at first all copies; once the footer is read, those that begin with it
    readers: list[SubmissionReader]
    footer: Footer | None = None

    def read_footer(self) -> Footer | Refusal:
        """See `SubmissionReader`; where no copy is good, what the first one says of it."""
        answers = [_answer(reader.read_footer) for reader in self.readers]
        copies = list(zip(self.readers, answers, strict=True))
        self.readers = []
        for reader, answer in copies:
            if isinstance(answer, Footer) and is_committed(answer, self.root):
                self.readers.append(reader)
                self.footer = answer
        return self.footer or answers[0]

    def read_group(self, index: int) -> bytes | Refusal:
        """See `SubmissionReader`, likewise."""
        first: Refusal | None = None
        for reader in self.readers:
            data = _answer(partial(reader.read_group, index))
            if isinstance(data, Refusal):
                first = first or data
            elif self.footer and is_group_committed(self.footer, index, data, self.group_size):
                return data
        return first or Refusal(Reason.NOT_REVEALED, "other bytes are served", index)


def _answer(read: Callable[[], T]) -> T | Refusal:
    """What a copy says, a store that cannot be read included."""
    try:
        return read()
    except (BundleError, PackError):
        why = "a bundle has the groups that an audit asks for; --files names whole files"
    except StoreError as error:
        why = f"the file cannot be read from its store: {error}"
    return Refusal(Reason.NOT_REVEALED, why)


@dataclass(frozen=True, slots=True)
class CommittedGroups:
    """What a root on chain binds of a file, as far as it could be had."""

    footer: Footer | Refusal
    groups: dict[int, bytes]  # index → canonical bytes
    missing: tuple[int, ...]  # indices of the others
    why: str  # the first of them is

    def read_footer(self) -> Footer | Refusal:
        """See `SubmissionReader`."""
        return self.footer

    def read_group(self, index: int) -> bytes | Refusal:
        """See `SubmissionReader`."""
        return self.groups.get(index) or Refusal(Reason.NOT_REVEALED, self.why, index)

    def decode(self, index: int, group_size: int) -> list[Rollout]:
        """The rollouts of a group that is there."""
        return [decode_rollout(row) for row in split_rows(self.groups[index], group_size)]


def read_committed(
    reader: SubmissionReader, root: bytes, taken: Sequence[ConsumedGroup], group_size: int
) -> CommittedGroups:
    """Reads the groups that a step has taken."""
    wanted = sorted({one.index for one in taken})
    footer = _answer(reader.read_footer)
    if isinstance(footer, Refusal):
        return CommittedGroups(footer, {}, tuple(wanted), footer.detail)
    if not is_committed(footer, root):
        return CommittedGroups(footer, {}, tuple(wanted), "another file is served")
    groups, missing, why = {}, [], ""
    for index in wanted:
        data = _answer(partial(reader.read_group, index))
        if isinstance(data, bytes) and is_group_committed(footer, index, data, group_size):
            groups[index] = data
            continue
        missing.append(index)
        why = why or (data.detail if isinstance(data, Refusal) else "other bytes are served")
    return CommittedGroups(footer, groups, tuple(missing), why)


def compare_groups(taken: Sequence[ConsumedGroup], held: CommittedGroups) -> str | None:
    """The first rollout that is not the one committed to; None: all are."""
    for one in taken:
        size = len(one.group.completions)
        try:
            rollouts = held.decode(one.index, size)
        except ValueError:
            return f"{describe_group(one)}: it has not the rollouts that its miner committed to"
        for number, (rollout, tokens) in enumerate(
            zip(rollouts, one.group.completions, strict=True)
        ):
            if rollout.tokens.tolist() != tokens:
                return (
                    f"{describe_group(one)}: rollout {number} is not the one that its miner had "
                    "committed to"
                )
    return None


def judge_committed(
    context: Context,
    outline: Outline,
    taken: Sequence[ConsumedGroup],
    held: CommittedGroups,
    found: Findings,
) -> bool:
    """Judges one miner's groups again, and their log-probabilities in the step.

    Args:
        outline: of the checkpoint in force; a whole checkpoint: forward passes are run.

    Returns:
        Whether they were judged in full, and are genuine.
    """
    hotkey, indices = taken[0].hotkey, sorted({one.index for one in taken})
    name, size = encode_ss58(hotkey), context.parameters.work.group_size
    found.look(Aspect.LOGPROBS)
    if not isinstance(outline, Checkpoint):
        examined = examine(
            held, hotkey, context, outline.tokenizer, manifest=outline.manifest, groups=indices
        )
        if isinstance(examined, Verdict):
            found.differ(Aspect.FILES, f"{name}: {examined.reason}: {examined.detail}")
        claimed = {i: [row.logprobs for row in held.decode(i, size)] for i in indices}
        if apart := _find_apart(context, taken, claimed):
            why = "is not its miner's: only a forward pass shows which is right"
            found.miss(Aspect.LOGPROBS, f"{name}: {apart} {why}")
        return False
    forward = RecordingForward(outline.get_reference(context.parameters.work.temperature))
    verdict, _ = judge_and_carry(
        held, hotkey, context, outline, Ledger(), groups=indices, forward=forward
    )
    if not verdict.accepted:
        found.differ(
            Aspect.VERDICTS,
            f"{name}: nobody may learn from its file, {verdict.reason}: {verdict.detail}",
        )
        return False
    seen = [[to_integers(row) for row in group[2]] for group in forward.seen[-len(indices) :]]
    apart = _find_apart(context, taken, dict(zip(indices, seen, strict=True)))
    if apart is not None:
        found.differ(Aspect.LOGPROBS, f"{name}: {apart} is not that of the checkpoint in force")
    return apart is None


def _find_apart(
    context: Context, taken: Sequence[ConsumedGroup], right: dict[int, list[NDArray[np.uint32]]]
) -> str | None:
    """The first rollout whose log-probabilities in the step are not those, within the bounds."""
    for one in taken:
        for number, logprobs in enumerate(one.group.behaviour_logprobs):
            told, wanted = to_integers(logprobs), right[one.index][number]
            found = judge_logprobs(told, wanted, range(len(told)), context.parameters.tests)
            if found.token is not None:
                return (
                    f"the step's log-probability of group {one.index}, rollout {number}, token "
                    f"{found.token}"
                )
    return None
