"""One child that parses the steps' files of a folder's tests. Elsewhere each reader has its own."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from assay.artifacts.steps import folder
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.audit.provenance import step_export
from assay.rounds import merging


@contextmanager
def share_parser(parser: ParquetWorker) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (folder, merging, step_export):
            patch.setattr(module, "open_step_parser", lambda: nullcontext(parser))
        yield
