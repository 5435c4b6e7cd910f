"""A process that sees something else than the others ends the team in one sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assay.training.last_bits import compute_code_digest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_process_that_disagrees_ends_the_team_in_one_sentence(tmp_path):
    """Both processes raise the same error, which names only what differs."""
    command = [sys.executable, "-m", "tests.training.odd_process", str(tmp_path)]
    # it holds where PYTHONSAFEPATH keeps the working directory out, too
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child needs a whole environment
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    said = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    assert said == 2 * ["process 1 sees own of 1, and the first own of 0"]
    assert done.returncode == 1
    why, ended = done.stderr.splitlines()
    code = compute_code_digest().hex()
    assert why == (
        f"assay: the team cannot learn: process 1 sees code {'0' * 64}, and the first code {code}"
    )
    # either may be the first to be found ended
    assert re.fullmatch("process [01] of 2 ended with exit code 1, and so have the others", ended)
