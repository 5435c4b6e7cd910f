"""What is looked at: audited groups, groups only fetched, positions of log-probabilities.

All validators, and anyone later, choose the same. Specification, sections 6 and 8.
"""

from dataclasses import dataclass

from assay.protocol.context import Context
from assay.protocol.prf import Stream
from assay.protocol.seeds import compute_positions_seed, compute_selection_seed

#: Log-probabilities compared a rollout, at most.
LOGPROB_POSITIONS = 32


@dataclass(frozen=True, slots=True)
class Selection:
    """Group indices in ascending order; the two never share one."""

    audited: tuple[int, ...]
    sampled: tuple[int, ...]


def select_groups(
    audit_seed: bytes, hotkey: bytes, groups: int, audited: int, sampled: int
) -> Selection:
    """min(groups, audited) groups to judge and up to `sampled` more whose leaves are checked."""
    stream = Stream(compute_selection_seed(audit_seed, hotkey))
    drawn = stream.sample(groups, min(groups, audited + sampled))
    return Selection(tuple(sorted(drawn[:audited])), tuple(sorted(drawn[audited:])))


def select_committed(context: Context, hotkey: bytes, groups: int) -> Selection:
    """What a window's audit looks at of a commitment to so many groups: none where the judge
    refuses their number."""
    work = context.parameters.work
    if not 0 < groups <= work.group_cap:
        return Selection((), ())
    return select_groups(
        context.audit_seed, hotkey, groups, work.audited_groups, work.sampled_groups
    )


def select_positions(
    audit_seed: bytes, hotkey: bytes, index: int, rollout: int, tokens: int
) -> list[int]:
    """min(32, tokens) positions of one rollout, ascending."""
    stream = Stream(compute_positions_seed(audit_seed, hotkey, index, rollout))
    return sorted(stream.sample(tokens, min(LOGPROB_POSITIONS, tokens)))
