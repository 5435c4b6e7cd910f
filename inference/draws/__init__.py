"""The keyed draw on tensors, and the judge's statistics of a row of logits: the same integers on
every device.

`sampler` draws and scores, `row_statistics` measures what was claimed; both by numba's `kernels` on
a CPU, by Triton's `card_kernels` on a card, and on plain tensors where neither compiles. Start with
`sampler`. Where the logits come from is never known here.
"""

__all__ = ["row_statistics", "sampler"]
