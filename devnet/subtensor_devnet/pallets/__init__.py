"""The pallets of subtensor that the development network has. Importing this registers their calls.

Source: the runtime's public source (opentensor/subtensor, pallets/), of a spec version a little
older than the metadata's. Where names and arguments differ the metadata has the last word. Nothing
here knows blocks, a wire or a clock. Start at `subnets.py` and `registration.py`; `coinbase.py` is
what every block does.
"""

from subtensor_devnet.pallets import (  # noqa: F401 - each enters its calls
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
from subtensor_devnet.runtime import CALLS

__all__ = ["CALLS"]
