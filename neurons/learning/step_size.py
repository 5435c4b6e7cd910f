"""What reading a step's Parquet file may cost: a stranger's store has given it."""

import pyarrow.parquet as pq

from assay.network.parquet_child import FileFault
from assay.network.parquet_pages import check_pages

#: Values of all columns, an element of a list being one: some 5 GB once they are Python's. Bytes
#: that they unpack to. Pages of a column of a row group.
VALUES_MAX, UNPACKED_MAX, PAGES_MAX = 1 << 27, 1 << 31, 1 << 16


def check_size(file: pq.ParquetFile, data: bytes) -> None:
    """Holds the footer against the limits, and every page's head against the footer.

    Args:
        data: the whole file.

    Raises:
        ValueError: reading it would take more than any honest step does.
    """
    metadata = file.metadata
    values = unpacked = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            chunk = row_group.column(index)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            values += chunk.num_values
            unpacked += chunk.total_uncompressed_size
            if min(chunk.num_values, chunk.total_uncompressed_size, start) < 0:
                raise ValueError("a column has fewer than no values")
            if values > VALUES_MAX or unpacked > UNPACKED_MAX:
                raise ValueError(
                    f"it unpacks to more than {VALUES_MAX:,} values or {UNPACKED_MAX:,} bytes"
                )
            pages = data[start : start + chunk.total_compressed_size]
            try:
                check_pages(
                    pages, chunk.path_in_schema, chunk.num_values,
                    chunk.total_uncompressed_size, PAGES_MAX,
                )  # fmt: skip
            except FileFault as fault:
                raise ValueError(str(fault)) from None
