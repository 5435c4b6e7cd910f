"""Tasks of many steps: a completion acts on a simulated world, and the scorer replays it.

The prompt states the whole world, each command has one meaning, and only the end counts, so a score
is a function of bytes like any other. Nothing runs while a model writes, and no partial success
earns. Start with `errands`, whose `compute_step` both searches and judges.
"""

from assay.environments.worlds.errands import find_shortest, is_delivered, write_commands

__all__ = ["find_shortest", "is_delivered", "write_commands"]
