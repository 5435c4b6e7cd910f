"""Rounds: several trainers share the work, and anyone can recompute each of their merges.

A round begins at a common parent. Each trainer learns from its share of the groups by ordinary
steps and publishes a child. The children that were on chain in time determine the next parent, by
additions and multiplications in one order. Start with `outer_step`, then `child_verdict`; `wire`
has the form in which a child is sent.

Digests, blocks, draws and numbers decide a merge, so everybody decides it alike. Whether a step
computed its result does not decide: repeating the step shows that, and names the trainer that lied.
This module imports nothing that needs PyTorch, for programs that only read the chain.
"""

from assay.rounds.calendar import Round, compute_line, compute_share, find_round
from assay.rounds.in_force import InForce, get_checkpoint_digest, get_in_force
from assay.rounds.outer_records import ChildFinding, ChildRecord, MergedChild, MergeRecord

__all__ = [
    "ChildFinding",
    "ChildRecord",
    "InForce",
    "MergeRecord",
    "MergedChild",
    "Round",
    "compute_line",
    "compute_share",
    "find_round",
    "get_checkpoint_digest",
    "get_in_force",
]
