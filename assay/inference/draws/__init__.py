"""The keyed draw on tensors, and the judge's statistics of a row of logits: the same integers on
every device.

`sampler` draws and scores, `row_statistics` measures claimed tokens. Both use numba's `kernels` on
a CPU, Triton's `card_kernels` on a GPU, and plain tensors where neither compiles. Start with
`sampler`. This folder never knows where the logits come from.
"""

__all__ = ["row_statistics", "sampler"]
