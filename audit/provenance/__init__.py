"""Shows whose data a training step learned from, and compares it with the chain and the stores.

`step_provenance` goes through a step's groups, miner by miner; `step_submissions` reads and judges
the files that they lead to. `reexecution` does a step again and compares every tensor, `consumed`
lists what it took, `round_audit` derives a round of several trainers and `round_watch` each as it
ends. `step_export` writes accepted
rollouts as a data set, its columns named by `column_layouts`, and `step_push` hands them to a
server. Nothing here trains on.
Start at `step_provenance.check_provenance`.
"""

__all__ = [
    "reexecution",
    "round_audit",
    "round_watch",
    "step_export",
    "step_provenance",
    "step_push",
    "step_submissions",
]
