"""drand beacons: the round that a block names, and the check of a round's signature.

Pure: bytes and integers in, values out. `assay.network.beacon` fetches beacons. Time is a
parameter. Sources: drand specification (https://drand.love/docs/specification/), RFC 9380 (hash to
curve).
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, assert_never

import pyblst

from assay.protocol.encoding import U32, U64, Choice, Digest, Prefixed

#: Compressed sizes of points on BLS12-381, bytes.
G1_BYTES, G2_BYTES = 48, 96
#: Second-highest bit of a compressed point: it is the point at infinity.
_INFINITY_FLAG = 0x40

# The standard generators, compressed (draft-irtf-cfrg-pairing-friendly-curves, section 4.2.1).
G1_GENERATOR = pyblst.BlstP1Element.uncompress(
    bytes.fromhex(
        "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
        "6c55e83ff97a1aeffb3af00adb22c6bb"
    )
)
G2_GENERATOR = pyblst.BlstP2Element.uncompress(
    bytes.fromhex(
        "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049"
        "334cf11213945d57e5ac7d055d042b7e024aa2b2f08f0a91260805272dc51051"
        "c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
    )
)


class Scheme(Enum):
    """A drand chain's way of signing: the group of its signatures and the signed message."""

    UNCHAINED_G1 = "bls-unchained-g1-rfc9380"  # quicknet: sign SHA-256(round)
    CHAINED_G2 = "pedersen-bls-chained"  # default: sign SHA-256(previous signature ‖ round)

    @property
    def signature_bytes(self) -> int:
        """Length of a signature, compressed."""
        return G1_BYTES if self is Scheme.UNCHAINED_G1 else G2_BYTES

    @property
    def domain(self) -> bytes:
        """Hash-to-curve domain separation tag (RFC 9380, section 3.1)."""
        group = b"G1" if self is Scheme.UNCHAINED_G1 else b"G2"
        return b"BLS_SIG_BLS12381" + group + b"_XMD:SHA-256_SSWU_RO_NUL_"


@dataclass(frozen=True, slots=True)
class BeaconChain:
    """A pinned drand chain. A beacon is only ever checked against one of these."""

    chain_hash: Digest  # the chain's name, 32 bytes
    scheme: Annotated[Scheme, Choice(Scheme, "a beacon scheme")]
    #: compressed group key, 96 bytes (signatures on G1) or 48 bytes (on G2)
    public_key: Annotated[bytes, Prefixed(G2_BYTES)]
    genesis_ms: U64  # Unix time of beacon round 1, milliseconds
    period_ms: U32  # time between beacon rounds, milliseconds


#: How a claimed signature is written, of any scheme.
SIGNATURE = Prefixed(256)


@dataclass(frozen=True, slots=True)
class Beacon:
    """A claimed signature of one round. Untrusted until `is_valid_beacon`."""

    round: U64  # the beacon round
    signature: Annotated[bytes, SIGNATURE]
    previous_signature: Annotated[bytes, SIGNATURE] = b""

    @property
    def randomness(self) -> bytes:
        """SHA-256 of the signature, 32 bytes: the only randomness a beacon has."""
        return sha256(self.signature).digest()


def compute_round_at(chain: BeaconChain, time_ms: int) -> int:
    """The first round published at or after `time_ms` (Unix time, milliseconds); at least 1."""
    return max(1, 1 - (chain.genesis_ms - time_ms) // chain.period_ms)


def compute_round_time_ms(chain: BeaconChain, number: int) -> int:
    """The time at which a round comes out, Unix time in milliseconds."""
    return chain.genesis_ms + (number - 1) * chain.period_ms


def compute_message(chain: BeaconChain, beacon: Beacon) -> bytes:
    """The message that the network signs for this round, 32 bytes."""
    counter = beacon.round.to_bytes(8, "big")
    match chain.scheme:
        case Scheme.UNCHAINED_G1:
            return sha256(counter).digest()
        case Scheme.CHAINED_G2:
            return sha256(beacon.previous_signature + counter).digest()
        case _:
            assert_never(chain.scheme)


def is_valid_beacon(chain: BeaconChain, beacon: Beacon) -> bool:
    """Return whether `beacon.signature` is the chain's signature of `beacon.round`.

    Malformed input gives False: wrong lengths, encodings that are not canonical, the point at
    infinity, points outside the subgroup. The check costs two pairings, about 0.7 ms, once for all
    who ask in turn.
    """
    return 1 <= beacon.round < 2**64 and _is_signed(chain, beacon)


@lru_cache(maxsize=256)
def _is_signed(chain: BeaconChain, beacon: Beacon) -> bool:
    match chain.scheme:
        case Scheme.UNCHAINED_G1:
            size, point, key_point = G1_BYTES, pyblst.BlstP1Element, pyblst.BlstP2Element
        case Scheme.CHAINED_G2:
            size, point, key_point = G2_BYTES, pyblst.BlstP2Element, pyblst.BlstP1Element
        case _:
            assert_never(chain.scheme)
    if len(beacon.signature) != size:
        return False
    try:  # refuses what is not on the curve, not in the subgroup, not canonical
        signature = point.uncompress(beacon.signature)
        key = key_point.uncompress(chain.public_key)
    except ValueError:
        return False
    if beacon.signature[0] & _INFINITY_FLAG:
        return False
    message = point.hash_to_group(compute_message(chain, beacon), chain.scheme.domain)
    if chain.scheme is Scheme.UNCHAINED_G1:  # e(signature, G2) == e(H(message), key)
        left, right = pyblst.miller_loop(signature, G2_GENERATOR), pyblst.miller_loop(message, key)
    else:  # e(G1, signature) == e(key, H(message))
        left, right = pyblst.miller_loop(G1_GENERATOR, signature), pyblst.miller_loop(key, message)
    return bool(pyblst.final_verify(left, right))


#: quicknet as the League of Entropy runs it (https://api.drand.sh/52db9b…/info).
QUICKNET = BeaconChain(
    chain_hash=bytes.fromhex("52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"),
    scheme=Scheme.UNCHAINED_G1,
    public_key=bytes.fromhex(
        "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c"
        "8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb"
        "5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
    ),
    genesis_ms=1_692_803_367_000,
    period_ms=3_000,
)
