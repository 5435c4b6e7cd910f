"""Files that programs publish for each other and fetch by digest.

`submissions` has a miner's file and its way from a commitment to a verdict. `checkpoints` are model
folders, published, downloaded and opened by digest. `steps` has the files that a stranger needs to
repeat a trainer's step, `gates` those by which its checkpoints are measured. `records` are what
validators publish and a run leaves in its folder, `status` the shape of that folder's
`status.json`. `discovery` finds a network's parameters from its chain, `published_problems` the
files that their environment needs, and `announced_parameters` describes future parameters.
`store_objects` names all objects of a store, and `ports` lists the needs of this package from a
chain. Start with `submissions`. No store is trusted: bytes count if they match the digest on chain.
This package never decides what a neuron does next.
"""

__all__ = [
    "announced_parameters",
    "checkpoints",
    "discovery",
    "gates",
    "ports",
    "published_problems",
    "records",
    "status",
    "steps",
    "store_objects",
    "submissions",
]
