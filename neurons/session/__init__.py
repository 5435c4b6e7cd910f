"""Opening a network: chain, parameters, beacons, stores, mirrors, checkpoints.

`session.py` is the one way from settings to chain, parameters, beacons, stores and mirrors, each
opened when it is first read; `neuron_session.py` adds what judges and runs models, and watches the
network once a window. `window_reader.py` reads a window from chain and beacon, `chain_delivery.py`
says how a thing gets onto the chain. Nothing here decides what a neuron does next. Start with
`session.py`.
"""

__all__ = ["chain_delivery", "neuron_session", "resources", "session", "window_reader"]
