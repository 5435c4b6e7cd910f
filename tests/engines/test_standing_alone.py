"""assay-vllm is installed beside an engine, where nothing of Assay is."""

import ast
from pathlib import Path

from assay.protocol import gumbel, parameters

FILES = Path(__file__).parents[2] / "engines" / "vllm" / "assay_vllm"


def test_it_imports_nothing_of_assay():
    named = []
    for file in FILES.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                named.append(node.module or "")
            elif isinstance(node, ast.Import):
                named += [alias.name for alias in node.names]
    assert "assay_vllm.keyed_draw" in named
    assert [name for name in named if name.split(".")[0] == "assay"] == []


def test_its_scores_have_the_bits_of_the_parameters():
    assert gumbel.FRACTION_BITS == parameters.FRACTION_BITS
