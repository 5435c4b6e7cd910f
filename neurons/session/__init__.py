"""Opens a network: chain, parameters, beacons, stores, mirrors, checkpoints.

`session.py` is the way from settings to chain, parameters, beacons, stores and mirrors, each opened
when it is first read; who wants one of them alone has it from `resources.py`, and the ledger from
`evm_opening.py`. `neuron_session.py` adds what judges and runs models, and watches the network once
a window. `parameter_follower.py` follows what the owner's slot says of parameters,
`window_reader.py` reads a window from chain and beacon, `chain_delivery.py` says how a thing gets
onto the chain. Nothing here decides what a neuron does next. Start with `session.py`.
"""

__all__ = [
    "chain_delivery",
    "evm_opening",
    "neuron_session",
    "parameter_follower",
    "resources",
    "session",
    "window_reader",
]
