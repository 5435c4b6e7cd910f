"""Every script of bench/ that has small sizes runs with them: figures that nobody can print rot."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
SCRIPTS = sorted(
    path.stem
    for path in BENCH.glob("*.py")
    if path.stem != "figures" and re.search(r"\bFAST\b", path.read_text())
)


@pytest.mark.nightly
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_prints_its_figures(script, tmp_path):
    if script in ("evidence", "learning"):
        pytest.importorskip("trl")
    if script == "optimizers":
        pytest.importorskip("bitsandbytes")
    if script == "suite_scores":
        pytest.importorskip("lm_eval")
    if script == "clients" and "CLIENTS_FOLDER" not in os.environ:  # noqa: TID251 - the Makefile's
        pytest.skip("no CLIENTS_FOLDER: `make clients` installs the clients")
    environment = dict(os.environ)  # noqa: TID251 - a child needs a whole one
    environment.pop("PYTHONSAFEPATH", None)  # make sets it, and scripts import each other
    done = subprocess.run(
        [sys.executable, BENCH / f"{script}.py", "--fast", "--json", tmp_path / "figures.json"],
        capture_output=True,
        text=True,
        timeout=1_800,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert (tmp_path / "figures.json").stat().st_size > 0
