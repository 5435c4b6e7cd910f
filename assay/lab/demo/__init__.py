"""A whole subnet on one machine: `assay demo` runs one, `assay localnet` serves one to use.

`founding` buys and publishes a subnet on a development chain. `demo_network` registers everybody on
it. `demo_run` combines neurons, stores and folders and plays the windows. `players` gives each
neuron its turn, `report` describes the run and checks its promises, and `demo_view` draws it. The
neurons are the real ones; only the chain is a simulator. Nothing in the packages below knows that
there is a demo. Start with `demo_run.Demo`.
"""

__all__ = ["demo_run", "demo_view", "localnet", "report"]
