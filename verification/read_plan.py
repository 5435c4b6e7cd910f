"""The parts of a submission that a judge reads, checked against the root.

This module decodes only the parts that locate the rest: opening and heads. Specification, sections
4 and 8.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

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
from assay.verification.ports import SubmissionReader


@dataclass(frozen=True, slots=True, eq=False)
class ReadGroup:
    """A group with audited rollouts: the records as the file has them."""

    chosen: AuditedGroup
    head: GroupHead
    audited: tuple[int, ...]  # rollouts, ascending
    ids: dict[int, bytes]  # of all rollouts if the group is valued, else of the audited ones
    proofs: dict[int, bytes]  # of the audited rollouts


def choose(
    context: Context, hotkey: bytes, count: int, groups: Sequence[int] | None
) -> tuple[AuditedGroup, ...]:
    """The audit's choice, or these groups whole."""
    work = context.parameters.work
    if groups is None:
        return select_committed(context, hotkey, count)
    if not groups or not 0 <= min(groups) <= max(groups) < count:
        raise ValueError(f"groups to judge are some of 0 to {count - 1}")
    return tuple(AuditedGroup(g, work.group_size, True) for g in sorted(set(groups)))


def read_opening(
    reader: SubmissionReader, hotkey: bytes, context: Context, committed: Committed
) -> Opening | Refusal:
    """Header and index, checked against the root and the known facts; the checkpoint last."""

    def parse(data: bytes) -> Opening | Refusal:
        opening = _check_opening(data, hotkey, context, committed)
        if isinstance(opening, Refusal):
            return replace(opening, unbound=not is_opening_committed(data, committed.root))
        return opening

    return reader.read(Range(0, get_opening_bytes(committed.groups)), parse)


def read_groups(
    reader: SubmissionReader,
    hotkey: bytes,
    context: Context,
    opening: Opening,
    chosen: Sequence[AuditedGroup],
) -> list[ReadGroup] | Refusal:
    """All audited groups, in that order."""
    found = []
    for group in chosen:
        read = _read_group(reader, hotkey, context, opening, group)
        if isinstance(read, Refusal):
            return read
        found.append(read)
    return found


def find_sample_fault(
    reader: SubmissionReader, hotkey: bytes, context: Context, committed: Committed
) -> Refusal | None:
    """A refusal for the first sampled rollout that differs from its commitment, or None if all
    match. The records are not decoded."""
    opening = read_opening(reader, hotkey, context, committed)
    if isinstance(opening, Refusal):
        return opening
    work = context.parameters.work
    heads: dict[int, GroupHead] = {}
    for index, rollout in select_samples(context.sample_seed, hotkey, committed.groups, work):
        if index not in heads:
            head = _read_head(reader, opening, index, work)
            if isinstance(head, Refusal):
                return head
            heads[index] = head
        for part in _Part:
            record = _read_record(reader, opening, heads[index], index, rollout, part)
            if isinstance(record, Refusal):
                return record
    return None


def _check_opening(
    data: bytes, hotkey: bytes, context: Context, committed: Committed
) -> Opening | Refusal:
    try:
        opening = decode_opening(data, committed.groups)
    except EncodingError as error:
        return Refusal(Reason.MALFORMED, f"the file {error}")
    header, work = opening.header, context.parameters.work
    for name, found, wanted in (
        ("version", header.version, PROTOCOL_VERSION),
        ("parameters digest", header.parameters, context.parameters.digest),
        ("window", header.window, context.window),
        ("hotkey", header.hotkey, hotkey),
        ("group size", header.group_size, work.group_size),
    ):
        if found != wanted:
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


def _read_group(
    reader: SubmissionReader,
    hotkey: bytes,
    context: Context,
    opening: Opening,
    chosen: AuditedGroup,
) -> ReadGroup | Refusal:
    index, work = chosen.index, context.parameters.work
    whole: tuple[_Part, ...] = (_Part.IDS,) if chosen.valued else ()
    audited: Sequence[int] = range(work.group_size)
    if chosen.valued and chosen.rollouts == work.group_size:
        whole = tuple(_Part)
    read = _read_together(reader, opening, index, work, whole)
    if isinstance(read, Refusal):
        return read
    head, records = read
    if chosen.rollouts < work.group_size:
        audited = select_rollouts(context.audit_seed, hotkey, chosen, head.lengths)
    for part in _Part:
        for rollout in audited:
            if rollout not in records[part]:
                record = _read_record(reader, opening, head, index, rollout, part)
                if isinstance(record, Refusal):
                    return record
                records[part][rollout] = record
    return ReadGroup(chosen, head, tuple(audited), records[_Part.IDS], records[_Part.PROOF])


def _read_head(
    reader: SubmissionReader, opening: Opening, index: int, work: Work
) -> GroupHead | Refusal:
    read = _read_together(reader, opening, index, work, ())
    return read if isinstance(read, Refusal) else read[0]


def _read_together(
    reader: SubmissionReader, opening: Opening, index: int, work: Work, whole: Sequence[_Part]
) -> tuple[GroupHead, _Records] | Refusal:
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

    return reader.read(Range(where.start, end - where.start), parse)


def _read_record(
    reader: SubmissionReader,
    opening: Opening,
    head: GroupHead,
    group: int,
    rollout: int,
    part: _Part,
) -> bytes | Refusal:
    region, place = part.get_region(opening, group), part.get_place(head, rollout)

    def parse(data: bytes) -> bytes | Refusal:
        return data if part.is_committed(data, head, rollout) else _refuse_unbound(group, rollout)

    return reader.read(Range(region.start + place.start, place.size), parse)


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
