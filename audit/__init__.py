"""Recomputes results from public data: a record, a miner's refusal, a trainer's step.

`auditor` takes a validator's windows and settlements and comes to findings, by way of
`window_check`, `settlement_check`, `derived_context` and `window_parameters`; `ports` says what it
reads, `sources` and `bundle` give it that from the network or from a sealed folder. `explain` says
why one hotkey's window was accepted or refused; `comparison` holds validators beside each other;
`provenance` says whose data a training step learned from, `tracing` at which operator two runs of
a step part. Nothing here signs, sends or decides:
every sentence is a comparison that anybody can repeat.
Start at `auditor`.
"""

__all__ = [
    "auditor",
    "bundle",
    "bundle_export",
    "bundle_seal",
    "comparison",
    "explain",
    "findings",
    "ports",
    "provenance",
    "sources",
    "tracing",
]
