"""A drand chain of one's own: real BLS signatures, one signer instead of a league of them.

Everything about it is as on quicknet (scheme, message, verification) but the trust: whoever holds
the key knows all rounds beforehand. It serves demos and tests and is never accepted as the public
chain.
"""

from collections.abc import Callable
from hashlib import sha256

from assay.protocol import Beacon, BeaconChain, Domain, Scheme, hash_fields
from assay.protocol.beacon import G1_GENERATOR, G2_GENERATOR, compute_message

#: Order of the groups of BLS12-381 (RFC 9380, section 8.8).
_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


class LocalBeacon:
    """Signs rounds of its own chain once their time has come.

    Args:
        seed: the secret key follows from it.
        genesis_ms: Unix time of round 1, milliseconds.
        now_ms: the clock that says which rounds are out.
    """

    def __init__(
        self, seed: bytes, genesis_ms: int, period_ms: int, now_ms: Callable[[], int]
    ) -> None:
        wide = b"".join(
            hash_fields(Domain.LOCAL_KEY, seed, half) for half in (b"high", b"low")
        )  # 512 bits: the remainder's bias is beyond notice
        self._secret = int.from_bytes(wide, "big") % (_ORDER - 1) + 1
        key = G2_GENERATOR.scalar_mul(self._secret).compress()
        self._now_ms = now_ms
        self.chain = BeaconChain(
            chain_hash=sha256(b"assay local beacon" + key).digest(),
            scheme=Scheme.UNCHAINED_G1,
            public_key=key,
            genesis_ms=genesis_ms,
            period_ms=period_ms,
        )

    def get(self, number: int) -> Beacon | None:
        """The beacon of a round, None before its time."""
        if number < 1 or self.compute_time_ms(number) > self._now_ms():
            return None
        message = compute_message(self.chain, Beacon(number, b""))
        point = type(G1_GENERATOR).hash_to_group(message, self.chain.scheme.domain)
        return Beacon(number, point.scalar_mul(self._secret).compress())

    def compute_time_ms(self, number: int) -> int:
        """When a round comes out, Unix time in milliseconds."""
        return self.chain.genesis_ms + (number - 1) * self.chain.period_ms
