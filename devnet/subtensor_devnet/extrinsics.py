"""Signed extrinsics: taken apart, and checked before a block may hold them.

What is checked: the format, the signature over exactly what this runtime has signed, the lifetime
(era), the nonce, and that the signer can pay. A peer's bad bytes are an `InvalidTransactionError`
with a real node's words.

Source: the runtime's transaction extensions, in this order: CheckNonZeroSender, CheckSpecVersion,
CheckTxVersion, CheckGenesis, CheckEra, CheckNonce, CheckWeight, ChargeTransactionPayment, and
CheckMetadataHash. Every extension of subtensor's own signs nothing.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from bittensor_core import CRYPTO_ED25519, CRYPTO_SR25519, ss58_encode, verify

from subtensor_devnet.errors import InvalidTransactionError, MalformedError
from subtensor_devnet.metadata import SPEC_VERSION, TRANSACTION_VERSION
from subtensor_devnet.scale import ScaleReader, encode_bytes, hash_blake2
from subtensor_devnet.scale_codec import SS58_TYPE, RuntimeCall, ScaleCodec

#: Largest extrinsic, bytes: what a block of subtensor has room for, for normal calls.
EXTRINSIC_BYTES = 5 * 1024 * 1024 * 3 // 4
_SIGNED = 0x84
_BARE = 0x05
#: `MultiAddress::Id`.
_ACCOUNT_ID = 0
#: `MultiSignature`'s variants that are checked here; Ethereum's are not.
_SCHEMES = {0: CRYPTO_ED25519, 1: CRYPTO_SR25519}
#: Longer payloads are signed by their hash.
_LONGEST_PAYLOAD = 256


@dataclass(frozen=True, slots=True)
class Era:
    """The time of an extrinsic's inclusion: `period` blocks from the one that `phase` names."""

    period: int
    phase: int

    def compute_birth(self, block: int) -> int:
        """The newest block at or before `block` in which it may be born."""
        return (max(block, self.phase) - self.phase) // self.period * self.period + self.phase

    def is_alive(self, birth: int, block: int) -> bool:
        """Whether a block may hold it."""
        return birth <= block < birth + self.period


@dataclass(frozen=True, slots=True)
class ExtrinsicParts:
    """The parts of a signed extrinsic, as it claims them: nothing is checked yet."""

    public_key: bytes
    scheme: int  # of the signature, as `bittensor_core` names them
    signature: bytes
    era: Era | None
    nonce: int
    tip: int
    extra: bytes  # the bytes of lifetime, nonce, tip and metadata mode, which are signed
    call: bytes  # bytes
    length: int  # of the extrinsic, without the length before it: what a fee is of


@dataclass(frozen=True, slots=True)
class Extrinsic:
    """A signed extrinsic whose signature holds: `data` as it travels, without its length; `era`
    None: valid for ever; `birth`: the block whose hash it signs."""

    data: bytes
    signer: str
    nonce: int
    tip: int
    era: Era | None
    birth: int
    call: RuntimeCall

    @property
    def hash(self) -> bytes:
        """The hash that nodes name it by, 32 bytes: of the bytes with their length before them."""
        return hash_blake2(encode_bytes(self.data))


def decode_extrinsic(
    codec: ScaleCodec, data: bytes, block: int, get_hash: Callable[[int], bytes | None]
) -> Extrinsic:
    """An extrinsic that the block after `block` might hold, with a valid signature.

    Args:
        data: with its length before it, as it travels.
        get_hash: a block's hash by its number.

    Raises:
        InvalidTransactionError: a real node would not take it; says why.
    """
    try:
        parts = take_apart(data)
        birth = 0 if parts.era is None else parts.era.compute_birth(block)
        birth_hash, genesis = get_hash(birth), get_hash(0)
        if birth_hash is None or genesis is None:
            raise InvalidTransactionError("Transaction has an ancient birth block")
        payload = make_payload(parts.call, parts.extra, genesis, birth_hash)
        signer = ss58_encode(parts.public_key, SS58_TYPE)
        if not verify(payload, parts.signature, signer, parts.scheme):
            raise InvalidTransactionError("Transaction has a bad signature")
        call = codec.decode_call(parts.call)
    except MalformedError as error:
        raise InvalidTransactionError(f"Could not decode `OpaqueExtrinsic`: {error}") from error
    body = data[-parts.length :]
    return Extrinsic(body, signer, parts.nonce, parts.tip, parts.era, birth, call)


def take_apart(data: bytes) -> ExtrinsicParts:
    """A signed extrinsic's parts; `data` has its length before it. `MalformedError`: it is none."""
    outer = ScaleReader(data)
    length = outer.take_compact()
    if length > EXTRINSIC_BYTES:
        raise MalformedError("it is larger than a block")
    reader = ScaleReader(outer.take(length))
    if outer.rest:
        raise MalformedError("there is more than its length says")
    if reader.take_byte() != _SIGNED:
        raise MalformedError("it is not signed, or of another version")
    if reader.take_byte() != _ACCOUNT_ID:
        raise MalformedError("the signer is not given as an account")
    public_key = reader.take(32)
    scheme = _SCHEMES.get(reader.take_byte())
    if scheme is None:
        raise MalformedError("signatures are sr25519 or ed25519 here")
    signature = reader.take(64)
    start = reader.position
    era = _take_era(reader)
    nonce, tip = reader.take_compact(), reader.take_compact()
    if reader.take_byte() != 0:
        raise MalformedError("a signed metadata hash is not supported here")
    extra = reader.data[start : reader.position]
    return ExtrinsicParts(
        public_key, scheme, signature, era, nonce, tip, extra, reader.rest, length
    )


def make_payload(call: bytes, extra: bytes, genesis: bytes, birth: bytes) -> bytes:
    """The signed bytes. `genesis` and `birth` are block hashes: the chain's first, the era's."""
    versions = struct.pack("<II", SPEC_VERSION, TRANSACTION_VERSION)
    payload = call + extra + versions + genesis + birth + b"\x00"
    return hash_blake2(payload) if len(payload) > _LONGEST_PAYLOAD else payload


def get_unsigned(data: bytes) -> bytes:
    """An extrinsic without its signature: sr25519 draws at random for every one, and what a block
    is called is to follow from what is in it."""
    reader = ScaleReader(data)
    reader.take_compact()
    if reader.rest[:1] == bytes([_BARE]):
        return data
    parts = take_apart(data)
    return parts.public_key + parts.extra + parts.call


def encode_bare(call: bytes) -> bytes:
    """An unsigned extrinsic, such as a block's own first, with its length before it."""
    return encode_bytes(bytes([_BARE]) + call)


def _take_era(reader: ScaleReader) -> Era | None:
    """Source: sp_runtime::generic::Era: the period's power of two below, the phase above."""
    first = reader.take_byte()
    if first == 0:
        return None
    value = first | reader.take_byte() << 8
    period = 2 << (value & 15)
    phase = (value >> 4) * max(period >> 12, 1)
    if period < 4 or phase >= period:
        raise MalformedError("no such era")
    return Era(period, phase)
