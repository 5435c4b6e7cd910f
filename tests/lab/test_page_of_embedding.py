"""The program in docs/embedding.md runs as it stands there, and does what the page says."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from assay.protocol.reason import Reason
from tests.tree import ROOT

PAGE = ROOT / "docs" / "embedding.md"


@pytest.fixture
def home():
    with TemporaryDirectory() as folder:  # pytest's are too long for a locator
        yield Path(folder)


def test_a_subnet_is_published_mined_judged_and_audited(home):
    torch.set_num_threads(1)
    program, imports = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {"home": home}
    exec(compile(imports + program, PAGE, "exec"), names)
    assert names["verdict"].reason is Reason.ACCEPTED
    report = names["report"]
    assert report.matched
    assert [part.number for part in report.windows] == [0]
    assert len(report.settlements) == 1
    (record,) = report.settlement_records.values()
    assert {row.hotkey for row in record.scores if row.score} == {names["MINER"]}
