"""A private drand chain: real BLS signatures by one signer instead of a league of them.

It equals quicknet in scheme, message and verification, but not in trust: the holder of the key
knows all rounds beforehand. It serves demos and tests, and is never accepted as the public chain.
"""

from collections.abc import Callable
from hashlib import sha256

from assay.protocol.beacon import (
    G1_GENERATOR,
    G2_GENERATOR,
    Beacon,
    BeaconChain,
    Scheme,
    compute_message,
    compute_round_time_ms,
)
from assay.protocol.hashing import Domain, hash_fields

#: Order of the groups of BLS12-381 (RFC 9380, section 8.8).
_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


class LocalBeacon:
    """Signs rounds of its own chain once their time has come by `now_ms`. Its key follows from the
    seed, and round 1 is at `genesis_ms` (Unix, milliseconds)."""

    def __init__(
        self, seed: bytes, genesis_ms: int, period_ms: int, now_ms: Callable[[], int]
    ) -> None:
        wide = b"".join(
            hash_fields(Domain.LOCAL_KEY, seed, half) for half in (b"high", b"low")
        )  # 512 bits: the bias of the remainder is negligible
        self._secret = int.from_bytes(wide, "big") % (_ORDER - 1) + 1
        key = G2_GENERATOR.scalar_mul(self._secret).compress()
        self._now_ms = now_ms
        self.chain = BeaconChain(
            chain_hash=compute_local_hash(key),
            scheme=Scheme.UNCHAINED_G1,
            public_key=key,
            genesis_ms=genesis_ms,
            period_ms=period_ms,
        )

    def get(self, number: int) -> Beacon | None:
        """The beacon of a round, None before its time."""
        if number < 1 or compute_round_time_ms(self.chain, number) > self._now_ms():
            return None
        message = compute_message(self.chain, Beacon(number, b""))
        point = type(G1_GENERATOR).hash_to_group(message, self.chain.scheme.domain)
        return Beacon(number, point.scalar_mul(self._secret).compress())

    def get_newest_round(self) -> int:
        """Number of the newest round that is out, 0 before the first."""
        return max(0, 1 + (self._now_ms() - self.chain.genesis_ms) // self.chain.period_ms)


def compute_local_hash(public_key: bytes) -> bytes:
    """The name of a local chain, 32 bytes. Unlike in drand's rule, only the key enters it."""
    return sha256(b"assay local beacon" + public_key).digest()
