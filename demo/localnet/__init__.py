"""A subnet for development, as services on one machine: chain, beacon and store.

Start with `services.run_services`: it starts them and founds the network where there is none
(`services.found`, in a process of its own); `description` is what a localnet leaves in its
folder for every command's `--localnet`. It never runs a neuron.
"""

__all__ = ["description", "services"]
