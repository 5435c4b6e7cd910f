"""The example of judge/README.md, as it stands there."""

import re
import runpy
import shutil
import subprocess
import sys

import pytest

from assay.audit.bundle_seal import seal_folder
from assay.judge import command
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


def run(program, bundle, *options):
    command = [sys.executable, "-P", program, bundle, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def run_locally(program, bundle):
    return run(program, bundle, "--allow-local-beacon")


@pytest.fixture
def run_here(monkeypatch, capsys):
    """The same in this process: exit code, output, errors."""

    def run(program, bundle):
        monkeypatch.setattr(sys, "argv", [str(program), str(bundle), "--allow-local-beacon"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(program), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


def test_it_says_who_was_refused_and_why(example, kept):
    done = run_locally(example, kept)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"window 4: 5\w+ (\w+), (.*)", done.stdout)
    reasons = [reason for reason, _ in said]
    assert sorted(reasons) == [*["NO_COMMITMENT"] * 3, "SAMPLING_MISMATCH"]
    assert ("SAMPLING_MISMATCH", "FORM_OK here: the model decides") in said
    assert "it costs the whole settlement" in done.stdout


def test_it_takes_no_beacons_of_somebodys_own(example, kept):
    done = run(example, kept)
    assert (done.returncode, done.stderr) == (2, "")
    assert "beacon chain" in done.stdout


def lose(folder):
    (path,) = folder.glob("store/*/settlement-301.record")
    path.unlink()


def change(folder):
    (path,) = folder.glob("store/*/settlement-301.record")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def lose_the_newest_parameters(folder):
    for path in folder.glob("store/parameters/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("touch", "is_sealed", "code", "said"),
    [
        (lose, True, 2, "not checked: window 4: no settlement"),
        (change, True, 1, "the record is wrong: epoch 301"),
        (lose, False, 2, "cannot be checked: "),
        (shutil.rmtree, False, 2, "is not a bundle"),
        (lose_the_newest_parameters, True, 2, "cannot be checked: "),
    ],
)
def test_it_is_as_strong_as_the_command(
    example, run_here, kept, tmp_path, touch, is_sealed, code, said
):
    copy = shutil.copytree(kept, tmp_path / "bundle")
    touch(copy)
    if is_sealed:
        seal_folder(copy)
    ended, out, err = run_here(example, copy)
    assert (ended, err) == (code, "")
    assert said in out
    assert command.run(["bundle", str(copy), "--allow-local-beacon"]) == code


def test_its_links_lead_somewhere_without_the_repository():
    text = (ROOT / "judge" / "README.md").read_text()
    assert "](../" not in text


def test_it_names_every_command():
    text = (ROOT / "judge" / "README.md").read_text()
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "assay.judge.command", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    commands = re.findall(r"^    ([a-z]+)  ", shown, re.M)
    assert len(commands) == 7
    assert [name for name in commands if f"| `{name}" not in text] == []


def test_it_reads_a_demos_bundle(example, played):
    done = run_locally(example, played[0] / "bundle")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SAMPLING_MISMATCH, FORM_OK here: the model decides" in done.stdout
    assert "not checked" not in done.stdout
