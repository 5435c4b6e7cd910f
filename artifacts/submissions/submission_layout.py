"""How a submission lies in a Parquet file, and how large it may be. Specification, section 4.

Shared by who writes and fetches it (`submission_file`) and who parses it (`submission_parser`).
"""

import struct
from dataclasses import dataclass
from typing import Any

from assay.protocol import Parameters
from assay.protocol.submission import SKETCH_COLUMNS

#: Longest footer, bytes (specification, section 4).
FOOTER_MAX = 1 << 20
#: Longest canonical header a footer may carry, bytes.
HEADER_MAX = 1_024
#: Processor seconds a file may take to read. Tuning: the largest file of the main network takes
#: 0.1 s for its footer and twelve groups (bench/parquet.py), and what the limits below let through
#: not much more, so that slow and fast validators refuse the same files.
CPU_SECONDS = 4.0
#: What the worker's memory is built for: tokens of a group, groups of a footer.
GROUP_TOKENS_MAX, GROUP_CAP_MAX = 1 << 22, 1 << 14

MAGIC = b"PAR1"
TRAILER = 8  # bytes: u32 little-endian length of the footer, then the magic
HEADER_KEY, LEAVES_KEY = "assay.header", "assay.leaves"
LEAF = 32  # bytes
LISTS = ("tokens", "logprobs")
PATHS = ("tokens.list.element", "logprobs.list.element", "sketch")

FOOTER, GROUPS = 1, 2  # operations
REQUEST = struct.Struct(">BIIIQI")  # operation, the three limits, file size, footer length
GROUP_REQUEST = struct.Struct(">IQ")  # index, offset of the range
PART = struct.Struct(">I")  # of each group: bytes that follow
FOOTER_REPLY = struct.Struct(">II")  # header length, groups
RANGE = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """How large an honest file can be."""

    group_size: int  # G, rollouts of a group
    group_cap: int  # most groups of a file
    max_tokens: int  # longest completion
    cpu_seconds: float = CPU_SECONDS  # processor time a file may take, over all that is read of it

    def __post_init__(self) -> None:
        """Raises ValueError for limits that the worker's memory does not hold."""
        smallest = min(self.group_size, self.group_cap, self.max_tokens)
        if smallest < 1 or self.group_tokens > GROUP_TOKENS_MAX or self.group_cap > GROUP_CAP_MAX:
            raise ValueError(f"{self} is beyond what the Parquet worker is built for")

    @property
    def group_tokens(self) -> int:
        return self.group_size * self.max_tokens

    @property
    def group_bytes(self) -> int:
        return self.group_size * 4 + self.group_tokens * (8 + SKETCH_COLUMNS)

    @property
    def range_bytes(self) -> int:
        """Most bytes of a row group, compressed or not: whatever the encoding, a page's levels,
        dictionary and head do not double what it carries."""
        return 2 * self.group_bytes + (64 << 10)

    @property
    def file_bytes(self) -> int:
        return self.group_cap * self.range_bytes + FOOTER_MAX


def make_schema() -> Any:
    import pyarrow as pa

    element = pa.field("element", pa.uint32(), nullable=False)
    columns = [pa.field(name, pa.list_(element), nullable=False) for name in LISTS]
    return pa.schema([*columns, pa.field("sketch", pa.binary(), nullable=False)])


def get_limits(parameters: Parameters) -> SubmissionLimits:
    work = parameters.work
    return SubmissionLimits(work.group_size, work.group_cap, work.max_tokens)
