"""One child that parses the steps' files of all tests. Elsewhere each reader starts its own."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from assay.artifacts.steps import folder
from assay.artifacts.steps.file import open_step_parser
from assay.audit.provenance import step_export
from assay.rounds import merging


@contextmanager
def share_parser() -> Iterator[None]:
    with open_step_parser() as parser, pytest.MonkeyPatch.context() as patch:
        for module in (folder, merging, step_export):
            patch.setattr(module, "open_step_parser", lambda: nullcontext(parser))
        yield
