"""Files that programs publish for each other and fetch by digest.

`submissions` is a miner's file and the way from a commitment to a verdict; `checkpoints` are model
folders, published, downloaded and opened by digest; `steps` is what a stranger needs to do a
trainer's step again; `records` are what validators publish, and what a run leaves in its folder;
`discovery` finds a network's parameters from its chain, `announced_parameters` tells people of
those to come. `store_objects` has the names of all that lies in a store, `ports` what this room
needs of a chain. Start with `submissions`. Nobody who keeps a copy is trusted: bytes count where
they match what is on chain. This room never decides what a neuron does next.
"""

__all__ = [
    "announced_parameters",
    "checkpoints",
    "discovery",
    "ports",
    "records",
    "steps",
    "store_objects",
    "submissions",
]
