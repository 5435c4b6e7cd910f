"""A demo of episodes: the whole loop over several turns, and a model that learns from replies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_the_honest_are_paid_and_the_model_learns_from_replies(tmp_path: Path) -> None:
    """Exit code 0 says that held-out success rose beyond both its intervals."""
    command = [sys.executable, "-m", "assay", "demo", "--episodes", "--json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "demo")], capture_output=True, text=True, timeout=3_000
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    summary = json.loads(done.stdout)
    reasons = {
        verdict["name"]: verdict["reason"]
        for window in summary["windows"]
        for verdict in window["verdicts"]
        if verdict["role"] == "honest"
    }
    assert reasons == {"honest-1": "ACCEPTED", "honest-2": "ACCEPTED"}
    assert 1 <= len(summary["episode"]["turns"]) <= 4
