"""A subnet for development, as services on one machine: chain, beacon and store.

Start with `services.run_services`. It starts the services, and founds the network if there is none
(`services.found`, in a separate process); `founding` buys and publishes a subnet. `description`
reads and writes the files that a localnet leaves in its folder for every command's `--localnet`.
This folder never runs a neuron.
"""

__all__ = ["description", "services"]
