"""Opens a network: chain, parameters, beacons, stores, mirrors, checkpoints.

`session.py` leads from settings to chain, parameters, beacons, stores and mirrors, and opens each
when it is first read. `resources.py` opens one of them alone, and `evm_opening.py` the ledger.
`parameter_follower.py` follows the parameters that the owner's slot names, `window_reader.py` reads
a window from chain and beacon, and `payments.py` what a settlement paid. `chain_delivery.py` has
the states of a delivery to the chain. `memory.py` and `window_time.py` say by arithmetic what a
program needs. Nothing here runs a program. Start with `session.py`.
"""

__all__ = [
    "chain_delivery",
    "evm_opening",
    "memory",
    "parameter_follower",
    "payments",
    "resources",
    "session",
    "window_reader",
    "window_time",
]
