"""Tasks of many steps: a completion or an episode acts on a simulated world.

`errands` needs one turn: the prompt states the whole world, the completion is a line of commands,
and the scorer replays it. In `guess`, `codes` and `rooms`, errands on a map that is explored, the
world replies, and an episode has many turns. Each command has one meaning, only the end counts, and
no partial success earns. Start with `guessing`; `world` has what keeps replies the same on all
machines.
"""

from assay.environments.worlds.errands import find_shortest, is_delivered, write_commands

__all__ = ["find_shortest", "is_delivered", "write_commands"]
