"""A whole subnet on one machine: `assay demo` runs one.

`network` registers everybody on a development chain. `run` combines neurons, stores and folders and
plays the windows. `players` gives each neuron its turn, `report` describes the run and checks its
promises, and `view` draws it. The neurons are the real ones; only the chain is a simulator. Nothing
in the packages below knows that there is a demo. Start with `run.Demo`.
"""

__all__ = ["report", "run", "view"]
