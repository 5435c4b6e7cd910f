"""Derives a round again: the merged children, and the reasons why others were left out. Repeats
steps of the merged children, and measures their success.

The merge is plain arithmetic: equal or not, on every machine. A repeated step shows whether a
child follows from the groups that its steps name. Held-out success decides nothing; it shows the
owner whose children lead elsewhere. On another kind of machine last bits differ. The audit then
reports that and accuses nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import read_step
from assay.artifacts.steps.store import fetch_step
from assay.audit.provenance.reexecution import (
    PROBLEMS_TRIED_MAX,
    THREADS_MAX,
    describe_counts,
    reexecute,
)
from assay.inference.checkpoint import Checkpoint
from assay.inference.model_loading import read_tensors
from assay.network.chain.errors import ChainError, ForgottenError
from assay.network.chain.ports import BlockReader
from assay.network.store.base import ObjectStore
from assay.protocol.amendment import ParameterHistory
from assay.protocol.context import Context
from assay.protocol.encoding import Json
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import ZERO_DIGEST, Domain, hash_fields
from assay.protocol.manifest import Manifest
from assay.protocol.ss58 import encode_ss58
from assay.rounds.calendar import Round, find_round
from assay.rounds.child_store import CHILD_SECONDS, RoundReader, WithheldError, count_outer_bytes
from assay.rounds.child_verdict import RoundFacts, is_fresh
from assay.rounds.in_force import get_in_force
from assay.rounds.merging import FoundChild, RoundMerge, find_children
from assay.rounds.outer_records import ChildFinding, MergeRecord
from assay.rounds.outer_step import begin_outer, compute_outer_root, round_masters
from assay.training.held_out import count_held_out
from assay.training.last_bits import describe_engine


class RoundError(OperatorError):
    """A round cannot be derived again. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class ChildAudit:
    """One trainer in a round."""

    hotkey: str
    said: str  # fate by the merge's record
    found: str  # fate by this audit
    detail: str


@dataclass(frozen=True, slots=True)
class StepAudit:
    """One repeated step of a child. `equal` None: it could not be repeated, or the machines
    differ."""

    hotkey: str
    window: int
    equal: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class SuccessAudit:
    """A child's held-out success, measured again. `equal` None: it could not be, or the machines
    differ."""

    hotkey: str
    equal: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class RoundAudit:
    """A round, derived again. `fault` says why its checkpoint is not the round's result; None if it
    is."""

    end: int
    checkpoint: str
    fault: str | None
    children: tuple[ChildAudit, ...]
    steps: tuple[StepAudit, ...]
    successes: tuple[SuccessAudit, ...] = ()

    @property
    def repeated(self) -> tuple[StepAudit | SuccessAudit, ...]:
        """Everything that was computed again."""
        return self.steps + self.successes

    @property
    def named(self) -> list[str]:
        """The trainers that lied."""
        return sorted({one.hotkey for one in self.repeated if one.equal is False})

    def to_json(self) -> dict[str, Json]:
        return asdict(self) | {"named": self.named}


@dataclass(frozen=True, slots=True)
class RoundSources:
    """The sources that a round is derived from.

    Attributes:
        get_context: returns a window's context; None if it is not known.
        checkpoints: fetches the round's parent, and the checkpoints that steps need.
        stores: trainers' own, asked in order.
        folder: for fetched files.
    """

    chain: BlockReader
    history: ParameterHistory
    get_context: Callable[[int], Context | None]
    checkpoints: CheckpointFolder
    stores: Sequence[ObjectStore]
    folder: Path


def audit_round(
    sources: RoundSources,
    digest: bytes,
    steps: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> RoundAudit:
    """Derive the round that made a checkpoint.

    Args:
        digest: digest of the merged checkpoint.
        steps: number of steps to repeat of each merged child, drawn by the deadline's block. With
            0, its success is not measured either.

    Raises:
        RoundError: no round made it, or a store lacks the needed files.
        ChainError: state of its blocks cannot be read.
        CheckpointError: its parent is unavailable.
    """
    reader = RoundReader(sources.stores, sources.folder / "steps")
    try:
        manifest = reader.read_manifest(digest)
        record = reader.read_merge_record(manifest.step)
    except WithheldError as error:
        raise RoundError(f"no round is known to have made it: {error}") from None
    of = find_round(sources.history.get(record.end - 1), record.end - 1)
    if of.end != record.end:
        raise RoundError(f"its record names window {record.end}, which ends no round")
    merging = _open_merging(sources, of, record, reader)
    say(f"round {of.end}: {len(of.rounds.trainers)} trainers' worker updates")
    merging.gather(dict.fromkeys(merging.commitments, sources.stores), CHILD_SECONDS)
    fault, merge = merging.find_fault(manifest, record)
    recorded = {child.hotkey: child.finding.value for child in record.children}
    children = tuple(
        ChildAudit(
            encode_ss58(child.hotkey),
            recorded.get(child.hotkey, "nothing"),
            child.finding.value,
            _describe(merging.gathered[child.hotkey]),
        )
        for child in merge.children
    )
    merged = [
        merging.gathered[child.hotkey]
        for child in merge.children
        if child.finding is ChildFinding.TAKEN
    ]
    block = sources.chain.get_block(of.deadline).hash
    done = [
        _do_again(sources, one, step, say)
        for one in merged
        for step in draw_steps(block, one, steps)
    ]
    measured = (
        _measure_again(sources, merging.facts, record.parent, one, say) for one in merged if steps
    )
    successes = tuple(filter(None, measured))
    merging.forget()
    return RoundAudit(of.end, digest.hex(), fault, children, tuple(done), successes)


def _describe(child: FoundChild) -> str:
    why = child.judgment[1]
    if child.files is None or not child.files.record.held_out:
        return why
    return f"{why}; its record says that it solves {describe_counts(child.files.record.held_out)}"


def draw_steps(block_hash: bytes, child: FoundChild, count: int) -> list[int]:
    """Places of the child's steps to repeat. Nobody knew them when the child was made."""
    steps = 0 if child.files is None else len(child.files.steps)
    ranks = [
        hash_fields(Domain.LINE, block_hash, child.digest, n.to_bytes(4, "big"))
        for n in range(steps)
    ]
    return sorted(sorted(range(steps), key=ranks.__getitem__)[:count])


def _open_merging(
    sources: RoundSources, of: Round, record: MergeRecord, reader: RoundReader
) -> RoundMerge:
    parent = sources.checkpoints.get(record.parent, of.parameters)
    weights: dict[str, Tensor] = {}
    for file in sorted(parent.folder.glob("*.safetensors")):
        weights |= read_tensors(file)
    outer = begin_outer(weights)
    merged = _find_merge(reader, parent.manifest)
    if merged is not None:
        try:
            outer = reader.read_outer(merged.outer_after, count_outer_bytes(outer.masters))
        except WithheldError as error:
            raise RoundError(f"the masters that the round began with: {error}") from None
    known = _list_true(sources, reader, parent, of)
    contexts = {}
    for window in of.windows:
        context = sources.get_context(window)
        if context is None:
            raise ChainError(f"the chain's state for window {window} is not known")
        number = known.get(context.checkpoint)
        if number is not None and is_fresh(of, parent.manifest.number, number):
            contexts[window] = context
    root = compute_outer_root(outer)
    facts = RoundFacts(of, outer, root, parent.manifest, contexts)
    commitments = find_children(of, sources.chain.get_commitments(of.deadline))
    expected = _find_first_parent(sources, of) or record.parent
    return RoundMerge(facts, commitments, expected, sources.folder / "steps")


def _find_first_parent(sources: RoundSources, of: Round) -> bytes | None:
    """The parent of the first of all rounds; None: this round is not the first, or nodes have
    pruned the checkpoint in force."""
    first, history = of.windows.start, sources.history
    if first != of.parameters.start.window or (first and history.get(first - 1).rounds is not None):
        return None
    try:
        return get_in_force(sources.chain, of.parameters, first).digest
    except ForgottenError:
        return None


def _find_merge(reader: RoundReader, manifest: Manifest) -> MergeRecord | None:
    """The merge that made a checkpoint. None if a step made it, or if no store has a merge's
    record."""
    if manifest.step == ZERO_DIGEST:
        return None
    try:
        return reader.read_merge_record(manifest.step)
    except WithheldError:
        return None


def _list_true(
    sources: RoundSources, reader: RoundReader, parent: Checkpoint, of: Round
) -> dict[bytes, int]:
    """Checkpoints whose groups the round may learn from, with their numbers: its parent, and
    earlier ones. Audits of their own rounds show that these are true."""
    numbers, manifest = {parent.digest: parent.manifest.number}, parent.manifest
    while _find_merge(reader, manifest) is not None:
        try:
            manifest = reader.read_manifest(manifest.parent)
        except WithheldError:
            break
        if not is_fresh(of, parent.manifest.number, manifest.number):
            break
        numbers[manifest.digest] = manifest.number
    return numbers


def _do_again(
    sources: RoundSources, child: FoundChild, place: int, say: Callable[[str], None]
) -> StepAudit:
    if child.files is None:
        raise RuntimeError("a step of no child")
    step = child.files.steps[place]
    hotkey, window = encode_ss58(child.hotkey), step.record.window
    try:
        path = fetch_step(sources.stores, step.child, sources.folder / "repeated")
        models = CheckpointFolder(sources.folder / "repeated" / "models")
        compared = reexecute(read_step(path), models, say)
    except OperatorError as error:
        return StepAudit(hotkey, window, None, f"not repeated: {error}")
    detail = "; ".join((compared.detail, *compared.remarks))
    equal = compared.equal if compared.equal or not compared.remarks else None
    return StepAudit(hotkey, window, equal, detail)


def _measure_again(
    sources: RoundSources,
    facts: RoundFacts,
    parent: bytes,
    child: FoundChild,
    say: Callable[[str], None],
) -> SuccessAudit | None:
    """A child's held-out success. None: its trainer did not measure it."""
    files, hotkey = child.files, encode_ss58(child.hotkey)
    if files is None or not files.record.held_out:
        return None
    claim, asked = files.record.held_out, sum(one.asked for one in files.record.held_out)
    last = files.steps[-1].record
    if asked > PROBLEMS_TRIED_MAX or not 1 <= last.threads <= THREADS_MAX:
        why = f"its records name {asked:,} held-out problems and {last.threads:,} threads"
        return SuccessAudit(hotkey, None, f"{why}: more than anybody has")
    torch.set_num_threads(last.threads)  # their number may change last bits
    say(f"the worker update of {hotkey}: {asked:,} held-out problems")
    parameters = facts.of.parameters
    base = sources.checkpoints.get(parent, parameters)
    found = count_held_out(base, parameters, asked, round_masters(files.masters))
    if found == claim:
        return SuccessAudit(hotkey, True, f"solves {describe_counts(found)}")
    engine = describe_engine(torch.device(base.models.placement.device))
    is_alike = engine == last.engine
    detail = f"solves {describe_counts(found)}; its record says {describe_counts(claim)}"
    return SuccessAudit(hotkey, False if is_alike else None, detail)
