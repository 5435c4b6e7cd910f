"""A block's header and its hash, as substrate has them.

The two roots are no Merkle tries: nobody asks a development network for proofs. They bind what
they stand for all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from assay.devnet.scale import encode_bytes, hash_blake2
from assay.network.chain.finalized_heads import hash_header


@dataclass(frozen=True)
class BlockHeader:
    """A block's header: hash and roots of 32 bytes, the digest's items encoded (ours have none)."""

    number: int
    parent_hash: bytes
    state_root: bytes
    extrinsics_root: bytes
    digest: tuple[bytes, ...] = ()

    @cached_property
    def hash(self) -> bytes:
        """The block's hash, 32 bytes."""
        return hash_header(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """As nodes hand it out."""
        return {
            "parentHash": "0x" + self.parent_hash.hex(),
            "number": hex(self.number),
            "stateRoot": "0x" + self.state_root.hex(),
            "extrinsicsRoot": "0x" + self.extrinsics_root.hex(),
            "digest": {"logs": ["0x" + log.hex() for log in self.digest]},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BlockHeader":
        """Of what `to_json` made."""
        return cls(
            int(value["number"], 16),
            _read(value["parentHash"]),
            _read(value["stateRoot"]),
            _read(value["extrinsicsRoot"]),
            tuple(_read(log) for log in value["digest"]["logs"]),
        )


def compute_state_root(parent_root: bytes, changes: Mapping[bytes, bytes | None]) -> bytes:
    """What binds all state: the parent's root and what changed since."""
    pieces = [parent_root]
    for key, value in sorted(changes.items()):
        pieces.append(encode_bytes(key))
        pieces.append(b"\x00" if value is None else b"\x01" + encode_bytes(value))
    return hash_blake2(b"".join(pieces))


def compute_extrinsics_root(extrinsics: Sequence[bytes]) -> bytes:
    """What binds a block's extrinsics and their order; they come without their signatures."""
    return hash_blake2(b"".join(encode_bytes(extrinsic) for extrinsic in extrinsics))


def _read(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
