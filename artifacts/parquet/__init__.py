"""Parquet from strangers, parsed in a cage.

A native parser meets untrusted bytes in a child process that may die of them, within limits of
memory and time. It knows pages and columns, never what they are about.
"""

from assay.artifacts.parquet.parquet_worker import Budget, ParquetWorker, WorkerError

__all__ = ["Budget", "ParquetWorker", "WorkerError"]
