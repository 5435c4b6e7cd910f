"""How answers of the chain are written: in this machine's archive and in an audit's bundle."""

from dataclasses import dataclass

from assay.protocol.context import Member
from assay.protocol.encoding import U64, Digest, FixedBytes, Integer, Numeral, Prefixed, Row, Table
from assay.protocol.window import Block

HOTKEY = FixedBytes(32)
#: hotkey → its place; hotkey → payload of its slot
MEMBERS = Table(HOTKEY, Row(Member))
SLOTS = Table(HOTKEY, Prefixed(1 << 16))
#: hotkey → block
WRITTEN = Table(HOTKEY, Integer(8))
#: uid → u16; validator's uid → its weights
ROW = Table(Numeral(2), Integer(2))
WEIGHTS = Table(Numeral(2), ROW)


@dataclass(frozen=True, slots=True)
class BlockStamp:
    """A block without its number, which is known wherever a block is written."""

    hash: Digest
    timestamp_ms: U64

    def at(self, number: int) -> Block:
        """The block with its number."""
        return Block(number, self.hash, self.timestamp_ms)


STAMP = Row(BlockStamp)
