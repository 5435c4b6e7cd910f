"""Every script of bench/ that has small sizes runs with them: figures that nobody can print rot."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
GPU_PARTS = range(1, 8)
SCRIPTS = sorted(
    path.stem
    for path in BENCH.glob("*.py")
    if path.stem != "figures" and re.search(r"\bFAST\b", path.read_text())
)


def run_script(name, *arguments):
    environment = dict(os.environ)  # noqa: TID251 - a child needs a whole one
    environment.pop("PYTHONSAFEPATH", None)  # make sets it, and scripts import each other
    done = subprocess.run(
        [sys.executable, BENCH / f"{name}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=1_800,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done.stdout


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
    run_script(script, "--fast", "--json", tmp_path / "figures.json")
    assert (tmp_path / "figures.json").stat().st_size > 0


def test_each_part_for_a_card_is_short_and_runs_at_a_small_size():
    """What nobody with a card has run yet must not fail there by a slip: each of its scripts is
    among those that run above. Results are at most eight files."""
    written = []
    for part in GPU_PARTS:
        done = subprocess.run(
            ["make", "--dry-run", f"gpu-{part}", "VENV=absent"],
            capture_output=True,
            text=True,
            check=True,
            cwd=BENCH.parent,
        )
        lines = [line for line in done.stdout.replace("\\\n", "").splitlines() if "timeout" in line]
        assert 0 < sum(int(re.search(r"timeout (\d+)", line)[1]) for line in lines) <= 540
        for line in lines:
            if "pytest" not in line:
                assert re.search(r"bench/(\w+)\.py", line)[1] in SCRIPTS
            written += re.findall(r"--json (\S+)", line)
    assert len(set(written)) == len(written) <= 8
    assert all(path.startswith("bench/results/gpu-") for path in written)


@pytest.mark.nightly
def test_a_seed_s_results_are_the_same_out_of_its_packed_file(played, tmp_path):
    """Of a demo that is over. What is packed has no weights, and its reader has the model."""
    out, packed = tmp_path / "run", tmp_path / "seed-1.tar.xz"
    shutil.copytree(played[0], out / "seed-1" / "net")
    (out / "seed-1" / "runs.json").write_text('[{"processor": 3600.0}]')
    (model,) = (
        file.parent
        for file in (out / "seed-1" / "net" / "models").glob("*/manifest.json")
        if json.loads(file.read_text())["number"] == 0
    )
    run_script("public_run_pack", "pack", "--results", out / "seed-1", packed)
    run_script("public_run_pack", "unpack", packed, model, tmp_path / "again" / "seed-1")
    told = [run_script("registered_run", "--out", tmp_path / name) for name in ("run", "again")]
    assert told[0] == told[1]
    assert "seed-1: groups that taught" in told[0]
    assert packed.stat().st_size < 1_000_000
    assert not [*(tmp_path / "again" / "seed-1").rglob("*.rollouts")]
