"""The few pieces of SCALE that are read and written outside typed values.

Typed values go through the SDK's own codec. Source: parity-scale-codec, "Compact/general integers".
"""

from hashlib import blake2b

from assay.network.chain.finalized_heads import encode_compact
from subtensor_devnet.errors import MalformedError


def encode_bytes(data: bytes) -> bytes:
    """A `Vec<u8>`."""
    return encode_compact(len(data)) + data


def hash_blake2(data: bytes) -> bytes:
    """Substrate's BLAKE2b-256, 32 bytes."""
    return blake2b(data, digest_size=32).digest()


class ScaleReader:
    """Reads a byte string from its start; `MalformedError` where too few bytes are left."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    @property
    def rest(self) -> bytes:
        """Everything not yet read."""
        return self.data[self.position :]

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self.position + count
        if end > len(self.data):
            raise MalformedError("it ends too early")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def take_byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def take_compact(self) -> int:
        """The next compact integer."""
        first = self.take_byte()
        mode = first & 3
        if mode == 0:
            return first >> 2
        if mode == 3:
            return int.from_bytes(self.take((first >> 2) + 4), "little")
        self.position -= 1
        return int.from_bytes(self.take(2 * mode), "little") >> 2
