"""The caged child that turns a Parquet file of word problems into JSON Lines. It alone has pyarrow.

An answer is a byte, 0, and the rows; or 1 and what is wrong with the file.
"""

import io
import json
from typing import NoReturn

from assay.cage import child
from assay.cage.child import clean

#: Values of a file and bytes they unpack to, both columns together: as in `problem_file`.
_ROWS_MAX, _BYTES_MAX = 10**6, 96 << 20
_BATCH = 1_000


def main() -> NoReturn:
    import pyarrow as pa
    import pyarrow.parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve address space ahead
    child.serve(answer)


def answer(data: bytes) -> bytes:
    import pyarrow as pa

    try:
        return b"\0" + _convert(data)
    except MemoryError:  # pyarrow's own is also an ArrowException
        raise
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        return b"\1" + clean(f"it cannot be read as Parquet: {error}").encode(errors="replace")


def _convert(data: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(
        pa.BufferReader(data),
        pre_buffer=False,
        thrift_container_size_limit=100_000,
        arrow_extensions_enabled=False,
    )
    columns = ["question", "answer"]
    for name in columns:
        place = file.schema_arrow.get_field_index(name)
        kind = file.schema_arrow.field(place).type if place >= 0 else None
        if kind not in (pa.string(), pa.large_string()):
            raise ValueError(f"it needs a column {name!r} of text")
    if not 0 < file.metadata.num_rows <= _ROWS_MAX:
        raise ValueError(f"it has {file.metadata.num_rows} rows, not 1 to {_ROWS_MAX}")
    lines, size = io.BytesIO(), 0
    for batch in file.iter_batches(_BATCH, columns=columns, use_threads=False):
        size += batch.nbytes
        if size > _BYTES_MAX:
            raise ValueError(f"it unpacks to more than {_BYTES_MAX >> 20} MiB")
        for row in batch.to_pylist():
            lines.write(json.dumps(row).encode() + b"\n")
    return lines.getvalue()
