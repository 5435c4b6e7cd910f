"""A development network: a subtensor simulator that the unchanged SDK connects to.

`Devnet` serves a chain over websockets and HTTP, on one port, and keeps it in a folder; nothing is
lost when it is killed. It is for machines without a subtensor node: what it lacks is in
`DESCRIPTION`, and it never claims to be more. `SimulatedChain` is the same in memory, without a
wire. It knows nothing of Assay's rules. Start at `devnet.py`, then `devnet_chain.py` (blocks),
`devnet_runtime.py` with `pallets/` (what a block does) and `rpc.py` (the methods that clients
call), served by `rpc_server.py` and `http_door.py`; `runtime_apis.py` has the runtime's own calls.
"""

from subtensor_devnet.node import DESCRIPTION, Devnet, Seal
from subtensor_devnet.simulator import SimulatedChain, SimulatedRules

__all__ = ["DESCRIPTION", "Devnet", "Seal", "SimulatedChain", "SimulatedRules"]
