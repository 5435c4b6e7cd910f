"""Recomputes results from public data: a record, a miner's refusal, a trainer's step.

`auditor` checks a validator's windows and settlements and returns findings, with the help of
`window_check`, `settlement_check`, `derived_context` and `window_parameters`. `ports` lists the
inputs, which `sources` reads from the network and `bundle` from a sealed folder, or from the one
file that `bundle_file` makes of it. `explain` says why one hotkey's window was accepted or refused.
`comparison` compares validators, and `differences` their records. `provenance` shows whose data a
training step learned from, and `tracing` at which operator two runs of a step differ. Nothing here
signs, sends or decides: every sentence is a comparison that anybody can repeat.
Start at `auditor`.
"""

__all__ = [
    "auditor",
    "bundle",
    "bundle_export",
    "bundle_file",
    "bundle_seal",
    "comparison",
    "differences",
    "explain",
    "findings",
    "ports",
    "provenance",
    "sources",
    "tracing",
]
