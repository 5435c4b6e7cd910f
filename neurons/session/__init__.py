"""Opens a network: chain, parameters, beacons, stores, mirrors, checkpoints.

`session.py` leads from settings to chain, parameters, beacons, stores and mirrors, and opens each
when it is first read. `resources.py` opens one of them alone, and `evm_opening.py` the ledger.
`neuron.py` adds the parts that judge and run models, and watches the network once a window.
`running.py` opens a neuron's program on it and runs its loop. `parameter_follower.py` follows the
parameters that the owner's slot names, `window_reader.py` reads a window from chain and beacon, and
`chain_delivery.py` defines the states of a delivery to the chain. Nothing here decides what a
neuron does next. Start with `session.py`.
"""

__all__ = [
    "chain_delivery",
    "evm_opening",
    "neuron",
    "parameter_follower",
    "resources",
    "running",
    "session",
    "window_reader",
]
