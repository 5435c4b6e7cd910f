"""Tests of the distributions for engines share what is compiled already."""

import sys

import pytest

from assay.inference.draws import kernels


@pytest.fixture(autouse=True)
def _kernels_are_compiled_once(monkeypatch):
    """`assay_vllm.kernels` is a copy of our own module, whose compilation takes seconds. Its build
    makes the copy: `test_standing_alone.py` compares it."""
    monkeypatch.setitem(sys.modules, "assay_vllm.kernels", kernels)
