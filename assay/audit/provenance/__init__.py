"""Shows whose data a training step learned from, and compares it with the chain and the stores.

`comparing` checks a step's groups, miner by miner. `step_submissions` reads and judges the files
that they come from. `reexecution` repeats a step and compares every tensor, `consumed` checks its
groups, and `choice` and `delays` compare them with the step's plan. `round_audit` derives a round
of several trainers, and `round_watch` each round as it ends. `course` reads a course's windows,
whose figures say whether it learns. `step_export` writes accepted rollouts as a data set with the
columns of `column_layouts`, and `step_push` sends them to a server. Nothing here continues a
training. Start at `comparing.check_provenance`.
"""

__all__ = [
    "comparing",
    "course",
    "reexecution",
    "round_audit",
    "round_watch",
    "step_export",
    "step_push",
    "step_submissions",
]
