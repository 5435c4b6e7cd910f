"""SCALE outside of a runtime's own types, by the SDK's codec, and Substrate's hash."""

from hashlib import blake2b

from bittensor_core import Runtime

from subtensor_devnet.errors import MalformedError

#: A runtime that declares nothing: metadata of format 14 without types and pallets. It encodes
#: what every runtime encodes alike.
_BARE_RUNTIME = Runtime(b"meta\x0e\x00\x00\x00\x04\x00\x00", 0, 0)
#: Bytes of the longest compact integer here, of 128 bits.
_COMPACT_BYTES = 17


def encode_compact(value: int) -> bytes:
    """A compact integer, at most 128 bits."""
    return bytes(_BARE_RUNTIME.encode("Compact<u128>", value))


def encode_bytes(data: bytes) -> bytes:
    """A `Vec<u8>`."""
    return bytes(_BARE_RUNTIME.encode("Vec<u8>", data))


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
        piece = self.data[self.position : self.position + _COMPACT_BYTES]
        try:
            value = int(_BARE_RUNTIME.decode("Compact<u128>", piece, False))
        except ValueError as error:
            raise MalformedError(f"no compact integer: {error}") from error
        encoded = encode_compact(value)
        if not piece.startswith(encoded):
            raise MalformedError("a compact integer has more bytes than it needs")
        self.position += len(encoded)
        return value
