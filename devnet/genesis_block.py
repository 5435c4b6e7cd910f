"""Block 0: who holds what before anything has happened."""

from collections.abc import Mapping

from bittensor_core import Keypair

from assay.devnet.devnet_runtime import DevnetRuntime
from assay.devnet.pallets.balances import mint

TAO = 10**9
#: Development keys, known to everybody, and what their coldkeys hold, rao.
ACCOUNTS: Mapping[str, int] = {
    "//Alice": 1_000_000 * TAO,
    "//Bob": 1_000_000 * TAO,
    "//Charlie": 1_000_000 * TAO,
}
#: Who may do anything.
SUDO = "//Alice"


def build_genesis(runtime: DevnetRuntime) -> None:
    """Writes the first state: accounts, sudo, and the root network, which nobody is on."""
    for uri, amount in ACCOUNTS.items():
        mint(runtime, Keypair.create_from_uri(uri).ss58_address, amount)
    state = runtime.state
    state.put("Sudo", "Key", Keypair.create_from_uri(SUDO).ss58_address)
    state.put("Timestamp", "Now", runtime.now_ms)
    state.put("System", "Number", 0)
    state.put("System", "Events", [])
    runtime.put("NetworksAdded", 0, True)
    runtime.put("TotalNetworks", 1)
    runtime.put("BlockEmission", TAO)
