"""Real rounds of drand's chains, and bad ones, as relays send them."""

import json
from pathlib import Path
from typing import Any

from assay.network.beacon import read_chain_info
from assay.protocol.beacon import BeaconChain

DATA = json.loads((Path(__file__).parents[2] / "data" / "drand-beacons.json").read_bytes())
#: After all recorded rounds.
TODAY_MS = 2_000_000_000_000


def get_chain(name: str) -> BeaconChain:
    return read_chain_info(json.dumps(DATA[name]["info"]).encode())


def get_recorded(name: str) -> dict[int, dict[str, Any]]:
    """Round → its fields as relays send them."""
    fields = "round", "randomness", "signature", "previous_signature"
    rows = DATA[name]["beacons"]
    return {row["round"]: {key: row[key] for key in fields if key in row} for row in rows}
