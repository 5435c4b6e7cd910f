"""A whole subnet on one machine: `assay demo` runs one, `localnet` serves one to work on.

`founding` buys and publishes a subnet on a development chain, `demo_network` puts everybody on it,
`demo_run` puts neurons, stores and folders together and plays the windows, `players` gives each
neuron its turn, `report` describes the run and checks its promises, `demo_view` draws it. The
neurons are the real ones; only the chain is a simulator. Nothing below knows that there is a demo.
Start with `demo_run.Demo`.
"""

__all__ = ["demo_run", "demo_view", "localnet", "report"]
