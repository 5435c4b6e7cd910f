"""The child of a step's parser: reads `step.parquet`'s columns as plain numbers.

The file may come from a stranger's store. So native code reads it only in a sandbox
(`parquet_worker`), within limits (`parquet_columns`). The parent interprets the numbers (`file`),
and the step's root shows whether they are the ones that the step consumed.
"""

import struct

import pyarrow as pa

from assay.artifacts.steps.parquet_columns import divide_request, read_columns
from assay.artifacts.steps.parquet_worker import serve
from assay.protocol.hashing import ZERO_DIGEST

#: Address space that the child may add: the largest file, one of its columns and the answer, twice.
MEMORY_BYTES = 6 << 30
SCHEMA = pa.schema(
    [
        ("window", pa.uint64()),
        ("hotkey", pa.binary(32)),
        ("group", pa.uint32()),
        ("rollout", pa.uint32()),
        ("checkpoint", pa.binary(32)),
        ("proof", pa.binary(32)),
        ("problem_seed", pa.binary(32)),
        ("levels", pa.list_(pa.uint32())),
        ("prompt", pa.list_(pa.uint32())),
        ("tokens", pa.list_(pa.uint32())),
        ("replies_at", pa.list_(pa.uint32())),
        ("replies", pa.list_(pa.list_(pa.uint32()))),
        ("logprobs", pa.list_(pa.uint32())),
        ("reward", pa.uint32()),
        ("source", pa.binary(32)),
        ("tries", pa.uint32()),
        ("solves", pa.uint32()),
        ("counts", pa.uint32()),
    ]
)
#: The columns of files that are older than delayed proposals, which have no group that waits or has
#: waited: all are learned from at once.
_AT_ONCE = pa.schema(list(SCHEMA)[: SCHEMA.get_field_index("source")])


def serve_steps() -> None:
    serve(answer, MEMORY_BYTES)


def answer(request: bytes) -> bytes:
    """The columns of the file at a path, as of `read_columns`. A request has limits, then a path.

    Raises:
        FileFault: it is not a step's, or reading it would take more than for any honest step. Also
            raises pyarrow's errors.
    """
    limits, path = divide_request(request)
    with open(path, "rb") as file:
        data = file.read(limits.data_bytes + 1)
    schema, rows, columns = read_columns(data, limits, (SCHEMA, _AT_ONCE), "a step's")
    parts = [columns]
    for field in list(SCHEMA)[len(schema) :]:
        number = struct.pack("<I", field.name == "counts")
        parts.append((number if field.type == pa.uint32() else ZERO_DIGEST) * rows)
    return b"".join(parts)
