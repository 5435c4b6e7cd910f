"""Where and how models run: the device, the share of its memory, the precision of matrix products.

Start with `placement`, what an operator names. `devices` says which there are and what they have
left, `memory_plan` how much is computed together, by `model_sizes`, arithmetic without torch;
`precision` turns off what rounds products. Nothing here knows a checkpoint.
"""

__all__ = ["devices", "memory_plan", "model_sizes", "placement", "precision"]
