"""Parquet from strangers, parsed in a cage.

A native parser meets untrusted bytes in a child process that may die of them, within limits of
memory and time. `parquet_worker` has both halves, `parquet_pages` what the child counts before a
decoder runs. Start with `parquet_worker`. They know pages and columns, never what these are about.
"""

from assay.artifacts.parquet.parquet_worker import ParquetWorker

__all__ = ["ParquetWorker"]
