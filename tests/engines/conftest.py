"""Tests of the distributions for engines share what is compiled already."""

import sys
from pathlib import Path

import pytest

from assay.inference.draws import kernels

_LINK = Path(__file__).parents[2] / "engines/vllm/assay_vllm/kernels.py"


@pytest.fixture(autouse=True)
def _kernels_are_compiled_once(monkeypatch):
    """`assay_vllm.kernels` is a link to our own module, whose compilation takes seconds."""
    assert _LINK.samefile(kernels.__file__)
    monkeypatch.setitem(sys.modules, "assay_vllm.kernels", kernels)
