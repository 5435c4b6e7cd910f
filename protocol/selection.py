"""The audit's selection: audited rollouts, fetched-only rollouts, log-probability positions.

All validators make the same choice, and so does anyone later. Specification, sections 6 and 8.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from assay.protocol.context import Context
from assay.protocol.parameters import Work
from assay.protocol.prf import Stream
from assay.protocol.seeds import (
    compute_groups_seed,
    compute_positions_seed,
    compute_rollouts_seed,
    compute_samples_seed,
)

#: Most log-probabilities that are compared in a rollout.
LOGPROB_POSITIONS = 32


@dataclass(frozen=True, slots=True)
class AuditedGroup:
    """A group with audited rollouts."""

    index: int
    rollouts: int  # how many are audited; `select_rollouts` draws them
    valued: bool  # whether it is read whole and scored


def select_groups(
    audit_seed: bytes, hotkey: bytes, groups: int, work: Work
) -> tuple[AuditedGroup, ...]:
    """Up to R groups with one audited rollout each, ascending. The first K drawn are valued. With
    fewer groups than R, all are chosen, and some have further audited rollouts."""
    audited = min(work.audited_rollouts, groups * work.group_size)
    stream = Stream(compute_groups_seed(audit_seed, hotkey))
    drawn = stream.sample(groups, min(groups, audited))
    each, more = divmod(audited, len(drawn))
    chosen = [
        AuditedGroup(index, each + (place < more), place < work.valued_groups)
        for place, index in enumerate(drawn)
    ]
    return tuple(sorted(chosen, key=lambda group: group.index))


def select_samples(
    sample_seed: bytes, hotkey: bytes, groups: int, work: Work
) -> tuple[tuple[int, int], ...]:
    """Up to S rollouts of all groups, ascending: group and rollout of each."""
    rollouts = groups * work.group_size
    stream = Stream(compute_samples_seed(sample_seed, hotkey))
    sampled = stream.sample(rollouts, min(rollouts, work.sampled_rollouts))
    return tuple(divmod(rollout, work.group_size) for rollout in sorted(sampled))


def select_committed(context: Context, hotkey: bytes, groups: int) -> tuple[AuditedGroup, ...]:
    """The groups that a window's audit selects from a commitment to this many groups. Empty where
    the judge refuses their number."""
    work = context.parameters.work
    if not 0 < groups <= work.group_cap:
        return ()
    return select_groups(context.audit_seed, hotkey, groups, work)


def select_sampled(context: Context, hotkey: bytes, groups: int) -> tuple[tuple[int, int], ...]:
    """The samples that are selected from the commitment. Empty before the sample beacon is
    known."""
    work = context.parameters.work
    if context.sample is None or not 0 < groups <= work.group_cap:
        return ()
    return select_samples(context.sample_seed, hotkey, groups, work)


def select_rollouts(
    audit_seed: bytes, hotkey: bytes, group: AuditedGroup, lengths: Sequence[int], work: Work
) -> tuple[int, ...]:
    """The audited rollouts of a group, ascending. In a valued group the first is drawn in
    proportion to its work, since work is paid.

    Args:
        lengths: tokens of each of its rollouts.
    """
    stream = Stream(compute_rollouts_seed(audit_seed, hotkey, group.index))
    chosen: list[int] = []
    if group.valued:
        ends = list(accumulate(map(work.weigh_completion, lengths)))
        drawn_work = stream.draw_below(ends[-1])
        chosen.append(bisect_right(ends, drawn_work))
    others = [rollout for rollout in range(len(lengths)) if rollout not in chosen]
    drawn = stream.sample(len(others), group.rollouts - len(chosen))
    return tuple(sorted([*chosen, *(others[place] for place in drawn)]))


def select_positions(
    audit_seed: bytes, hotkey: bytes, index: int, rollout: int, tokens: int
) -> list[int]:
    """min(32, tokens) positions of one rollout, ascending."""
    stream = Stream(compute_positions_seed(audit_seed, hotkey, index, rollout))
    return sorted(stream.sample(tokens, min(LOGPROB_POSITIONS, tokens)))
