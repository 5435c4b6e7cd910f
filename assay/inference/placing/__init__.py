"""The placing of models: their device, their share of its memory, the precision of matrix products.

Start with `devices`, which lists them and their free memory. `memory_plan` says how much is
computed together, with `model_sizes`, which is arithmetic without torch. `precision` turns off
everything that rounds products. Nothing here knows a checkpoint.
"""

__all__ = ["devices", "memory_plan", "model_sizes", "precision"]
