"""The child of the parser of a gate's answers. See `assay.artifacts.steps.parser`."""

import pyarrow as pa

from assay.artifacts.steps.parquet_columns import divide_request, read_columns
from assay.artifacts.steps.parquet_worker import serve

#: Address space that the child may add: the largest file, one of its columns and the answer, twice.
MEMORY_BYTES = 2 << 30
SCHEMA = pa.schema(
    [("problem", pa.uint32()), ("model", pa.uint8()), ("tokens", pa.list_(pa.uint32()))]
)


def serve_answers() -> None:
    serve(answer, MEMORY_BYTES)


def answer(request: bytes) -> bytes:
    """The columns of a file, as of `read_columns`. A request has limits, then the file.

    Raises:
        FileFault: it has no gate's answers, or more than there can be. Also raises pyarrow's
            errors.
    """
    limits, data = divide_request(request)
    return read_columns(data, limits, (SCHEMA,), "those of a gate's answers")[2]
