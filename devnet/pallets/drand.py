"""Drand pulses: what opens timelocked weights. Only real ones of quicknet get in."""

from assay.devnet.devnet_state import DevnetState, StateView
from assay.protocol import QUICKNET, Beacon, is_valid_beacon

_PALLET = "Drand"


def get_signature(state: StateView, number: int) -> bytes | None:
    """The signature of a round that the chain knows."""
    pulse = state.get(_PALLET, "Pulses", number)
    if pulse is None:
        return None
    return bytes.fromhex(pulse["signature"].removeprefix("0x"))


def is_pulse(number: int, signature: bytes) -> bool:
    """Whether quicknet signed the round so."""
    return is_valid_beacon(QUICKNET, Beacon(number, signature))


def put_pulse(state: DevnetState, number: int, signature: bytes) -> None:
    """Keeps a round whose signature was checked."""
    beacon = Beacon(number, signature)
    pulse = {
        "round": number,
        "randomness": "0x" + beacon.randomness.hex(),
        "signature": "0x" + signature.hex(),
    }
    state.put(_PALLET, "Pulses", number, pulse)
    newest, oldest = (state.get(_PALLET, f"{age}StoredRound") for age in ("Last", "Oldest"))
    state.put(_PALLET, "LastStoredRound", max(newest, number))
    state.put(_PALLET, "OldestStoredRound", min(oldest, number) if oldest else number)
