"""Where and how models run: which device, how much of its memory, what must not round.

Start with `placement`, what an operator names. `devices` says which there are and what they have
left, `memory_plan` how much is computed together, by `model_sizes`, arithmetic without torch;
`precision` turns off what rounds products. Nothing here knows a checkpoint.
"""

__all__ = ["devices", "memory_plan", "model_sizes", "placement", "precision"]
