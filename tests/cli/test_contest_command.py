"""`assay contest`: its output, files and refusals, and its stop on request."""

import json
import shutil
import signal
import subprocess
from dataclasses import replace

import pytest

from assay.inference.folder import MANIFEST_FILE, read_record
from assay.network.files import write_json
from assay.protocol.encoding import to_json
from assay.protocol.manifest import Manifest
from assay.training import GENESIS
from tests.commands import run_command, run_program, start_program
from tests.lab.contests.judge_server import KEY, serve_judge

ENV = ("--env", "arithmetic")


@pytest.fixture(scope="module")
def shorter(tmp_path_factory):
    """The shipped model, cut off before most of its solutions end."""
    folder = tmp_path_factory.mktemp("models") / "shorter"
    shutil.copytree(GENESIS, folder)
    manifest = read_record(folder, MANIFEST_FILE, Manifest)
    write_json(folder / MANIFEST_FILE, to_json(replace(manifest, max_tokens=20)))
    return folder


def contest(*words, env=None):
    return run_command("contest", *words, "--device", "cpu", env=env)


def test_a_contest_is_told_to_people_and_to_programs(shorter, tmp_path):
    asked = (GENESIS, shorter, GENESIS, *ENV, "--problems", 60, "--out", tmp_path / "c")
    done = contest(*asked)
    assert done.returncode == 0
    assert "genesis#1 : shorter" in done.stdout
    assert "genesis#1 is better" in done.stdout
    assert "genesis#1 : genesis#2  0 : 0, 60 alike, p = 1: no winner" in done.stdout
    assert "assay: shorter: 60 of 60 problems answered" in done.stderr
    again = contest(*asked, "--json", "--quiet")
    assert again.stderr == ""
    document = json.loads(again.stdout)
    assert document.pop("out") == str(tmp_path / "c")
    assert document == json.loads((tmp_path / "c" / "ranking.json").read_text())
    ranking = document["by_scorer"]["ranking"]
    assert [(row["name"], row["rank"]) for row in ranking] == [
        ("genesis#1", [1, 2]), ("genesis#2", [1, 2]), ("shorter", [3, 3])
    ]  # fmt: skip
    low, high = ranking[0]["solved_interval95"]
    assert low < ranking[0]["solved"] / 60 < high
    assert document["levels"] == [5, 6]  # those in force
    assert "judge" not in document
    # the same texts of two contestants are one preference
    assert document["preferences"] == ranking[0]["solved"] - ranking[-1]["solved"]


def test_a_judge_is_asked_with_a_key_that_is_never_shown(shorter, tmp_path):
    words = (GENESIS, shorter, *ENV, "--problems", 8, "--out", tmp_path / "c")
    with serve_judge() as url:
        asked = (*words, "--judge", url, "--judge-model")
        env = {"ASSAY_JUDGE__KEY": KEY}
        done = contest(*asked, "longer", env=env)
        assert done.returncode == 0
        assert "with the judge" in done.stdout
        refused = contest(*asked, "refusing", env=env)
        assert refused.returncode == 1
        assert "have no verdict" in refused.stdout
        assert "the same command asks again" in refused.stdout
        missing = json.loads(contest(*asked, "refusing", "--json", env=env).stdout)["judge"]
        assert missing["without_verdict"]["refused"] + missing["left_out"] > 0
    for said in (done.stdout, done.stderr, refused.stdout, refused.stderr):
        assert KEY not in said
    for path in (tmp_path / "c").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_an_impossible_contest_is_reported_in_one_line(shorter, tmp_path):
    both, out = (GENESIS, shorter), ("--out", tmp_path / "c")
    file = tmp_path / "file"
    file.touch()
    for words, said in (
        ((GENESIS, *ENV, *out), "name 2 to 32 checkpoints, not 1"),
        ((*both, "--env", "nonsense", *out), "nonsense"),
        ((*both, "--env", "guess", *out), "and guess replies between turns"),
        ((GENESIS, tmp_path / "nowhere", *ENV, *out), "there is no such file or folder"),
        ((*both, *ENV, "--level", 99_999, *out), "--level 99999 is not a level of arithmetic"),
        ((*both, *ENV, "--judge", "http://u:hunter2@host", *out), "address is"),
        ((*both, *ENV, "--out", file), "--out"),
        ((*both, *ENV, "--temperature", 0, *out), "temperature"),
        ((*both, *ENV, "--problems", 0, *out), "problems"),
    ):
        done = contest(*words)
        assert done.returncode == 2, said
        assert said in done.stderr
        assert "hunter2" not in done.stderr
        assert "Traceback" not in done.stderr
    assert [*(tmp_path / "c").iterdir()] == []


@pytest.mark.slow
def test_a_contest_stops_when_asked_and_goes_on(shorter, tmp_path):
    words = ["contest", GENESIS, shorter, *ENV, "--problems", 384, "--out", tmp_path / "c"]
    words += ["--device", "cpu", "--threads", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start_program(*words, **pipes) as running:
        assert running.stderr is not None
        while "128 of 384" not in running.stderr.readline():
            pass
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=120)
    assert (running.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1] == "assay: stopped"
    assert not (tmp_path / "c" / "ranking.json").exists()
    done = run_program(*words)
    assert done.returncode == 0
    assert "genesis: 128 of" not in done.stderr  # that is known
    assert "genesis is better" in done.stdout
