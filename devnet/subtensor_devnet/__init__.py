"""A development network: a subtensor simulator that the unchanged SDK connects to.

`Devnet` serves a chain over websockets and HTTP, on one port, and stores it in a folder; nothing is
lost when it is killed. `DESCRIPTION` lists what a real subtensor has and this has not. Start at
`node.py`, then `chain.py` (blocks), `runtime.py` with `pallets/` (what a block does) and `rpc.py`
(the methods that clients call), served by `rpc_server.py` and `shared_port.py`. `runtime_apis.py`
has the runtime's own calls, `command.py` the command `subtensor-devnet`.
"""

from subtensor_devnet.errors import DevnetError
from subtensor_devnet.node import DESCRIPTION, Devnet, Seal

__all__ = ["DESCRIPTION", "Devnet", "DevnetError", "Seal"]
