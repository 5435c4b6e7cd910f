"""The plan of reading a submission: which bytes it takes, in which order, and whether they are the
committed ones. It does no I/O: whoever has the bytes offers them.

    plan = plan_audit(context, hotkey)
    while plan.wanted is not None:
        refusal = plan.take(fetch(plan.wanted))
        if refusal is not None:     # not the committed bytes, and the plan still wants them
            plan.refuse(refusal)    # no other copy has them
    judge(plan.result, …)

Only the parts that locate the rest are decoded: opening and heads. Specification, sections 4 and 8.
"""

from collections.abc import Callable, Generator, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from assay.protocol.context import Committed, Context
from assay.protocol.encoding import EncodingError
from assay.protocol.hashing import DIGEST_BYTES, Domain
from assay.protocol.parameters import PROTOCOL_VERSION, Work
from assay.protocol.reason import Reason, Refusal
from assay.protocol.selection import AuditedGroup, select_committed, select_rollouts, select_samples
from assay.protocol.submission import (
    ID_BITS_MAX,
    PROOF_BITS_MAX,
    GroupHead,
    Opening,
    Range,
    decode_group_head,
    decode_opening,
    get_opening_bytes,
    is_head_committed,
    is_opening_committed,
    is_record_committed,
)

_T = TypeVar("_T")
#: Part of a file → its bytes, or the reason why no source had the committed ones.
PartRecord = MutableMapping[Range, bytes | Refusal]


class Purpose(Enum):
    """What a submission is read for."""

    AUDIT = "the rollouts that the audit selects"
    GROUPS = "groups that the reader selects"
    SAMPLES = "the sampled rollouts, which are compared with their commitment only"


@dataclass(frozen=True, slots=True, eq=False)
class ReadGroup:
    """A group with audited rollouts: the records as the file has them."""

    chosen: AuditedGroup
    head: GroupHead
    audited: tuple[int, ...]  # rollouts, ascending
    ids: dict[int, bytes]  # of all rollouts if the group is valued, else of the audited ones
    proofs: dict[int, bytes]  # of the audited rollouts


@dataclass(frozen=True, slots=True, eq=False)
class CheckedSubmission:
    """The parts that a plan has read of one submission. The root on chain binds every byte."""

    context: Context
    hotkey: bytes
    purpose: Purpose
    committed: Committed | None  # None: the chain's state alone refuses it
    opening: Opening | None  # None: it was refused before
    groups: tuple[ReadGroup, ...]  # ascending; of samples, none
    refusal: Refusal | None  # the first fault, which ended the reading
    size: int  # bytes that were taken
    leave_out: int = 0  # see `plan_groups`
    left_out: tuple[Refusal, ...] = ()  # the faults of groups that were left out, ascending


@dataclass(frozen=True, slots=True)
class _Request:
    """A part of the file, and its parser. An unbound refusal: these are not the committed bytes."""

    part: Range
    parse: Callable[[bytes], object]


#: Requests that end in a value.
_Steps = Generator[_Request, Any, _T]


class _PartFault(Exception):
    """A refusal of the wanted part. It ends the plan, unless a step goes on without the part."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


@dataclass(slots=True)
class _Progress:
    """The parts read so far of a file that the chain's state allows."""

    context: Context
    hotkey: bytes
    committed: Committed
    opening: Opening | None = None
    groups: list[ReadGroup] = field(default_factory=list)
    left_out: list[Refusal] = field(default_factory=list)


class ReadPlan:
    """The reading of one submission, from its first part to its last or to the first fault.

    Garbage ends it with a refusal and raises nothing.

    Args:
        read: the steps after the chain's state has allowed the file.
    """

    def __init__(
        self,
        context: Context,
        hotkey: bytes,
        purpose: Purpose,
        read: Callable[[_Progress], _Steps[None]],
        leave_out: int = 0,
    ) -> None:
        self.context = context
        self.hotkey = hotkey
        self.purpose = purpose
        self._leave_out = leave_out
        self._progress: _Progress | None = None
        self._refusal: Refusal | None = None
        self._size = 0
        self._record: PartRecord | None = None
        self._request: _Request | None = None
        committed = find_commitment(context, hotkey)
        if isinstance(committed, Refusal):
            self._refusal = committed
            return
        self._progress = _Progress(context, hotkey, committed)
        self._steps = read(self._progress)
        self._advance(None)

    @property
    def wanted(self) -> Range | None:
        """The part that is wanted next; None: the plan has ended."""
        return None if self._request is None else self._request.part

    @property
    def result(self) -> CheckedSubmission:
        """What was read. Raises ValueError: the plan has not ended."""
        if self._request is not None:
            raise ValueError("the plan still wants a part of the submission")
        progress = self._progress
        return CheckedSubmission(
            context=self.context,
            hotkey=self.hotkey,
            purpose=self.purpose,
            committed=None if progress is None else progress.committed,
            opening=None if progress is None else progress.opening,
            groups=() if progress is None else tuple(progress.groups),
            refusal=self._refusal,
            size=self._size,
            leave_out=self._leave_out,
            left_out=() if progress is None else tuple(progress.left_out),
        )

    def record(self, parts: PartRecord) -> None:
        """Enter each part from now on there, too."""
        self._record = parts

    def take(self, data: bytes) -> Refusal | None:
        """Take the wanted part, if these are the committed bytes.

        Returns:
            None if the plan goes on or has ended; else an unbound refusal: the plan still wants the
            part, from another copy.

        Raises:
            ValueError: our own fault: it wants nothing, or was made for groups that are not there.
        """
        request = self._require_request()
        if len(data) != request.part.size:
            detail = f"the file ends before byte {request.part.end}"
            return Refusal(Reason.NOT_REVEALED, detail, unbound=True)
        parsed = request.parse(data)
        if isinstance(parsed, Refusal) and parsed.unbound:
            return parsed
        self._size += len(data)
        self._enter(request.part, data)
        if isinstance(parsed, Refusal):
            self._end(parsed)
        else:
            self._advance(parsed)
        return None

    def refuse(self, refusal: Refusal) -> None:
        """Go on without the wanted part's group, or end the plan: no source has the committed bytes
        of the part."""
        self._enter(self._require_request().part, refusal)
        self._end(refusal)

    def _require_request(self) -> _Request:
        if self._request is None:
            raise ValueError("the plan of a submission has ended")
        return self._request

    def _enter(self, part: Range, data: bytes | Refusal) -> None:
        if self._record is not None:
            self._record[part] = data

    def _advance(self, parsed: object) -> None:
        try:
            self._request = self._steps.send(parsed)
        except StopIteration:
            self._request = None

    def _end(self, refusal: Refusal) -> None:
        """End the plan for a refusal, unless its steps leave a group out for it."""
        try:
            self._request = self._steps.throw(_PartFault(refusal))
        except StopIteration:
            self._request = None
        except _PartFault:
            self._request, self._refusal = None, refusal


def plan_audit(context: Context, hotkey: bytes, id_bits: int | None = None) -> ReadPlan:
    """A plan of everything that an audit reads before the samples are known.

    Args:
        id_bits: of the checkpoint's ids: no group is read of a file with others. None: not known
            yet, and the judge refuses it later.
    """

    def select(count: int) -> Sequence[AuditedGroup]:
        return select_committed(context, hotkey, count)

    return ReadPlan(context, hotkey, Purpose.AUDIT, partial(_read_groups, select, id_bits))


def plan_groups(
    context: Context,
    hotkey: bytes,
    groups: Sequence[int],
    id_bits: int | None = None,
    rollouts: int | None = None,
    leave_out: int = 0,
) -> ReadPlan:
    """A plan of these groups instead of the audit's selection, with the ids of all their rollouts.

    Args:
        rollouts: audited ones of each group; None: all.
        leave_out: the most groups with a fault of their own that are left out. One more refuses the
            file, as the first fault does at 0.
    """
    audited = context.parameters.work.group_size if rollouts is None else rollouts

    def select(count: int) -> Sequence[AuditedGroup]:
        if not groups or not 0 <= min(groups) <= max(groups) < count:
            raise ValueError(f"groups to judge are some of 0 to {count - 1}")
        return [AuditedGroup(group, audited, True) for group in sorted(set(groups))]

    read = partial(_read_groups, select, id_bits, leave_out=leave_out)
    return ReadPlan(context, hotkey, Purpose.GROUPS, read, leave_out)


def plan_samples(context: Context, hotkey: bytes) -> ReadPlan:
    """A plan of the sampled rollouts. Its result has a refusal for the first that differs from its
    commitment; the records are not decoded."""
    return ReadPlan(context, hotkey, Purpose.SAMPLES, _read_samples)


def find_commitment(context: Context, hotkey: bytes) -> Committed | Refusal:
    """A hotkey's commitment, or the reason why its file need not be fetched."""
    if hotkey not in context.members:
        return Refusal(
            Reason.NOT_REGISTERED,
            "the hotkey did not hold a uid at both the window's first and its commitment block",
        )
    committed = context.commitments.get(hotkey)
    if committed is None:
        return Refusal(
            Reason.NO_COMMITMENT,
            "the chain's state at the commitment block has no commitment to this window",
        )
    cap = context.parameters.work.group_cap
    if committed.groups > cap:
        return Refusal(
            Reason.TOO_LARGE, f"{committed.groups} groups committed, {cap} are the most allowed"
        )
    if committed.groups == 0:
        return Refusal(Reason.MALFORMED, "the commitment names no group")
    return committed


def find_width_fault(opening: Opening, id_bits: int) -> Refusal | None:
    """A refusal if a file's ids are not as wide as the checkpoint's."""
    width = opening.header.id_bits
    if width == id_bits:
        return None
    detail = f"the header's ids have {width} bits, the checkpoint's {id_bits}"
    return Refusal(Reason.WRONG_HEADER, detail)


# --- the steps


class _Part(Enum):
    """A kind of record, and the label of its digest. A group has the kinds in this order."""

    IDS = Domain.IDS
    PROOF = Domain.PROOF

    def get_region(self, opening: Opening, group: int) -> Range:
        """The range of a group's records of this kind."""
        return opening.find_ids(group) if self is _Part.IDS else opening.find_proofs(group)

    def get_place(self, head: GroupHead, rollout: int) -> Range:
        """The range of a rollout's record within its region."""
        return head.find_ids(rollout) if self is _Part.IDS else head.find_proof(rollout)

    def is_committed(self, data: bytes, head: GroupHead, rollout: int) -> bool:
        digests = head.ids_digests if self is _Part.IDS else head.proof_digests
        return is_record_committed(self.value, data, digests[rollout])


#: The records that were read of a group, by kind: rollout → record.
_Records = dict[_Part, dict[int, bytes]]


def _ask(part: Range, parse: Callable[[bytes], _T | Refusal]) -> _Steps[_T]:
    parsed: _T = yield _Request(part, parse)
    return parsed


def _read_groups(
    select: Callable[[int], Sequence[AuditedGroup]],
    id_bits: int | None,
    progress: _Progress,
    leave_out: int = 0,
) -> _Steps[None]:
    """The opening and the selected groups, in that order."""
    opening = yield from _read_opening(progress, id_bits)
    for chosen in select(progress.committed.groups):
        try:
            group = yield from _read_group(progress, opening, chosen)
        except _PartFault as fault:
            if leave_out:
                progress.left_out.append(replace(fault.refusal, group=chosen.index))
            if len(progress.left_out) > leave_out or not leave_out:
                raise
            continue
        progress.groups.append(group)


def _read_samples(progress: _Progress) -> _Steps[None]:
    context, work = progress.context, progress.context.parameters.work
    opening = yield from _read_opening(progress)
    heads: dict[int, GroupHead] = {}
    count = progress.committed.groups
    for index, rollout in select_samples(context.sample_seed, progress.hotkey, count, work):
        if index not in heads:
            heads[index], _ = yield from _read_together(opening, index, work, ())
        for part in _Part:
            yield from _read_record(opening, heads[index], index, rollout, part)


def _read_opening(progress: _Progress, id_bits: int | None = None) -> _Steps[Opening]:
    """Header and index, checked against the root and the known facts; the checkpoint last."""
    committed = progress.committed

    def parse(data: bytes) -> Opening | Refusal:
        opening = _check_opening(data, progress.hotkey, progress.context, committed)
        if isinstance(opening, Refusal):
            return replace(opening, unbound=not is_opening_committed(data, committed.root))
        return (id_bits is not None and find_width_fault(opening, id_bits)) or opening

    opening = yield from _ask(Range(0, get_opening_bytes(committed.groups)), parse)
    progress.opening = opening
    return opening


def _read_group(progress: _Progress, opening: Opening, chosen: AuditedGroup) -> _Steps[ReadGroup]:
    context = progress.context
    index, work = chosen.index, context.parameters.work
    whole: tuple[_Part, ...] = (_Part.IDS,) if chosen.valued else ()
    audited: Sequence[int] = range(work.group_size)
    if chosen.valued and chosen.rollouts == work.group_size:
        whole = tuple(_Part)
    head, records = yield from _read_together(opening, index, work, whole)
    if chosen.rollouts < work.group_size:
        audited = select_rollouts(context.audit_seed, progress.hotkey, chosen, head.lengths, work)
    for part in _Part:
        for rollout in audited:
            if rollout not in records[part]:
                record = yield from _read_record(opening, head, index, rollout, part)
                records[part][rollout] = record
    return ReadGroup(chosen, head, tuple(audited), records[_Part.IDS], records[_Part.PROOF])


def _read_together(
    opening: Opening, index: int, work: Work, whole: Sequence[_Part]
) -> _Steps[tuple[GroupHead, _Records]]:
    """A group's head and all records of some kinds. They are adjacent, so this reads one range."""
    where = opening.find_head(index)
    end = whole[-1].get_region(opening, index).end if whole else where.end

    def parse(data: bytes) -> tuple[GroupHead, _Records] | Refusal:
        head = _parse_head(data[: where.size], opening, index, work)
        if isinstance(head, Refusal):
            return head
        records: _Records = {part: {} for part in _Part}
        for part in whole:
            region = part.get_region(opening, index).start - where.start
            for rollout in range(work.group_size):
                place = part.get_place(head, rollout)
                record = data[region + place.start : region + place.end]
                if not part.is_committed(record, head, rollout):
                    return _refuse_unbound(index, rollout)
                records[part][rollout] = record
        return head, records

    read = yield from _ask(Range(where.start, end - where.start), parse)
    return read


def _read_record(
    opening: Opening, head: GroupHead, group: int, rollout: int, part: _Part
) -> _Steps[bytes]:
    region, place = part.get_region(opening, group), part.get_place(head, rollout)

    def parse(data: bytes) -> bytes | Refusal:
        return data if part.is_committed(data, head, rollout) else _refuse_unbound(group, rollout)

    record = yield from _ask(Range(region.start + place.start, place.size), parse)
    return record


# --- the checks


def _check_opening(
    data: bytes, hotkey: bytes, context: Context, committed: Committed
) -> Opening | Refusal:
    try:
        opening = decode_opening(data, committed.groups)
    except EncodingError as error:
        return Refusal(Reason.MALFORMED, f"the file {error}")
    header, work = opening.header, context.parameters.work
    for name, actual, wanted in (
        ("version", header.version, PROTOCOL_VERSION),
        ("parameters digest", header.parameters, context.parameters.digest),
        ("window", header.window, context.window),
        ("hotkey", header.hotkey, hotkey),
        ("group size", header.group_size, work.group_size),
    ):
        if actual != wanted:
            return Refusal(Reason.WRONG_HEADER, f"the header's {name} is not that of this window")
    if not is_opening_committed(data, committed.root):
        return Refusal(Reason.ROOT_MISMATCH, "header and index are not the ones committed")
    if header.checkpoint != context.checkpoint:
        return Refusal(
            Reason.WRONG_CHECKPOINT, "the work is for another checkpoint than the one in force"
        )
    return _find_large_group(opening, work) or opening


@dataclass(frozen=True, slots=True)
class PartLimits:
    """Most bytes of the parts of an honest group."""

    head: int  # without the path
    ids: int
    proofs: int


def get_part_limits(work: Work, id_bits: int = ID_BITS_MAX) -> PartLimits:
    """An id takes its fixed width on average at most."""
    tokens = work.group_size * work.max_tokens
    ids = tokens * id_bits // 8 + work.group_size
    # digests, sizes and the two codes
    head = work.group_size * (2 * DIGEST_BYTES + 12) + 512 + ids
    return PartLimits(head, ids, tokens * PROOF_BITS_MAX // 8 + work.group_size)


def _find_large_group(opening: Opening, work: Work) -> Refusal | None:
    limits = get_part_limits(work, opening.header.id_bits)
    for index, sizes in enumerate(opening.sizes):
        for part in ("head", "ids", "proofs"):
            if (size := getattr(sizes, part)) > (limit := getattr(limits, part)):
                detail = f"the {part} of group {index} have {size} bytes, more than {limit}"
                return Refusal(Reason.TOO_LARGE, detail, index)
    return None


def _parse_head(data: bytes, opening: Opening, index: int, work: Work) -> GroupHead | Refusal:
    if not is_head_committed(data, opening, index):
        return _refuse_unbound(index)
    try:
        head = decode_group_head(data[len(data) - opening.sizes[index].head :], opening, index)
    except EncodingError as error:
        return Refusal(Reason.MALFORMED, f"group {index} {error}", index)
    if (longest := max(head.lengths)) > work.max_tokens:
        detail = f"a rollout of group {index} has {longest} tokens, more than {work.max_tokens}"
        return Refusal(Reason.TOO_LARGE, detail, index)
    return head


def _refuse_unbound(group: int, rollout: int | None = None) -> Refusal:
    what = f"group {group}" if rollout is None else f"rollout {rollout} of group {group}"
    detail = f"{what} is not the one committed"
    return Refusal(Reason.ROOT_MISMATCH, detail, group, rollout, unbound=True)
