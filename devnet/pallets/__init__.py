"""Subtensor's pallets, as far as this network has them. Importing this fills the table of calls.

Source: the runtime's public source (opentensor/subtensor, pallets/), of a spec version a little
older than the metadata's. Where names and arguments differ the metadata has the last word. Nothing
here knows blocks, a wire or a clock. Start at `subnets.py` and `registration.py`; `coinbase.py` is
what every block does.
"""

from assay.devnet.pallets import (
    admin,
    balances,
    commitments,
    drand,
    hotkeys,
    registration,
    shield,
    staking,
    subnets,
    utility,
    weights,
)

__all__ = [
    "admin",
    "balances",
    "commitments",
    "drand",
    "hotkeys",
    "registration",
    "shield",
    "staking",
    "subnets",
    "utility",
    "weights",
]
