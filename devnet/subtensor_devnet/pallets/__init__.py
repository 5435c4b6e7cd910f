"""The pallets of subtensor that the development network has. Importing this registers their calls.

Source: the runtime's public source (opentensor/subtensor, pallets/), of a spec version a little
older than the metadata's. Where names and arguments differ the metadata has the last word. Nothing
here knows blocks, a wire or a clock. Start at `subnets.py` and `registration.py`; `coinbase.py` is
what every block does.
"""

from assay.devnet.devnet_runtime import CALLS
from assay.devnet.pallets import (  # noqa: F401 - each enters its calls
    admin,
    balances,
    commitments,
    hotkeys,
    registration,
    shield,
    staking,
    subnets,
    utility,
    weights,
)

__all__ = ["CALLS"]
