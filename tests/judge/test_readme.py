"""The example of judge/README.md, as it stands there."""

import re
import subprocess
import sys

import pytest

from tests.tree import ROOT

LINES_MAX = 40


@pytest.fixture
def example(tmp_path):
    """The program, in a file."""
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "judge" / "README.md").read_text(), re.S)
    assert len(text.splitlines()) <= LINES_MAX
    program = tmp_path / "refused.py"
    program.write_text(text)
    return program


def run(program, bundle):
    command = [sys.executable, "-P", program, bundle]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_it_says_who_was_refused_and_why(example, kept):
    done = run(example, kept)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"window 4: 5\w+ (\w+), (.*)", done.stdout)
    reasons = [reason for reason, _ in said]
    assert sorted(reasons) == [*["NO_COMMITMENT"] * 3, "SAMPLING_MISMATCH"]
    assert ("SAMPLING_MISMATCH", "FORM_OK here: the model decides") in said
    assert "it costs the whole settlement" in done.stdout


def test_it_reads_a_demos_bundle(example, played):
    done = run(example, played[0] / "bundle")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SAMPLING_MISMATCH, FORM_OK here: the model decides" in done.stdout
    assert "not checked" not in done.stdout
