"""assay-vllm is installed beside an engine, where of Assay only assay-judge is."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from assay.protocol import gumbel, parameters
from tests.tree import ROOT

ENGINE = ROOT / "engines" / "vllm"
#: Modules that are copies of `assay.inference.draws`.
COPIES = ("kernels.py", "card_kernels.py")


def list_imports(files: list[Path]) -> list[str]:
    named = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                named.append(node.module or "")
            elif isinstance(node, ast.Import):
                named += [alias.name for alias in node.names]
    return named


def test_of_assay_it_imports_the_noise_alone():
    copied = [ROOT / "assay" / "inference" / "draws" / name for name in COPIES]
    files = [file for file in (ENGINE / "assay_vllm").glob("*.py") if file.name not in COPIES]
    named = list_imports([*files, *copied])
    assert "assay_vllm.keyed_draw" in named
    ours = {name for name in named if name.split(".")[0] == "assay"}
    assert ours == {"assay.protocol.gumbel"}


@pytest.mark.slow
def test_its_wheel_has_the_references_own_kernels(tmp_path):
    """The build copies them out of the checkout, and the wheel has them out of the sdist."""
    engine, draws, out = tmp_path / "engines" / "vllm", Path("assay", "inference", "draws"), "dist"
    ignored = shutil.ignore_patterns("__pycache__", *COPIES)  # what an earlier build has left
    shutil.copytree(ENGINE, engine, ignore=ignored)
    shutil.copytree(ROOT / draws, tmp_path / draws)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / out, engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / out).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in COPIES:
            own = (ROOT / draws / name).read_bytes()
            assert archive.read(f"assay_vllm/{name}") == own


def test_its_scores_have_the_bits_of_the_parameters():
    assert gumbel.FRACTION_BITS == parameters.FRACTION_BITS
