"""Packs of the parts read of a miner's file: who makes them, and their limits."""

from collections.abc import Mapping

from assay.artifacts.submissions.reading import SubmissionCopy
from assay.judge.pack import PackedPart, PackedParts, PackedRefusal, PackedSubmission
from assay.protocol.parameters import Parameters
from assay.protocol.reason import Refusal
from assay.protocol.submission import Range, get_opening_bytes
from assay.verification import get_part_limits


def pack_parts(hotkey: bytes, parts: Mapping[Range, bytes | Refusal]) -> PackedSubmission | None:
    """The parts that plans have read of a file, in that order, or None if there were none."""
    if not parts:
        return None
    return PackedSubmission(hotkey, tuple(_pack_part(*item) for item in parts.items()))


def _pack_part(part: Range, data: bytes | Refusal) -> PackedPart:
    if isinstance(data, Refusal):
        refusal = PackedRefusal(data.reason, data.detail[:1_024])
        return PackedPart(part.start, part.size, None, refusal)
    return PackedPart(part.start, part.size, data, None)


class PackedCopy(PackedParts, SubmissionCopy):
    """The parts that were read elsewhere. Raises MissingPartError, PackError."""


def measure_pack(packed: PackedSubmission) -> int:
    """Approximate bytes of memory of a pack; at most `compute_pack_max`."""
    return sum(
        len(part.data or b"") + (0 if part.refusal is None else len(part.refusal.detail))
        for part in packed.parts
    )


def compute_pack_max(parameters: Parameters, *, samples: bool = False) -> int:
    """Most bytes of a pack: the parts that an audit requests of an honest file, or its samples."""
    work = parameters.work
    limits = get_part_limits(work)
    records = work.sampled_rollouts if samples else work.audited_rollouts
    heads = records * (limits.head + 8_192)
    ids = 0 if samples else work.valued_groups * limits.ids
    rest = records * (limits.ids + limits.proofs) // work.group_size
    return (1 << 20) + get_opening_bytes(work.group_cap) + heads + ids + rest
