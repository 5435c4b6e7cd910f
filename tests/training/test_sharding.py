"""Two processes under torchrun against one: the same model, to rounding; twice, to the bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.team import make_groups, make_learner

ROOT = Path(__file__).parents[2]


def run_team(folder):
    folder.mkdir()
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone",
        "-m", "tests.training.team", str(folder),
    ]  # fmt: skip
    # it holds where PYTHONSAFEPATH keeps the working directory out, too
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child needs a whole environment
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3_000:]
    return load_file(folder / "end.safetensors")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    team = run_team(tmp_path / "first")
    alone = make_learner()
    stats = alone.learn(make_groups())
    alone.learn(make_groups())
    assert (tmp_path / "first" / "tokens").read_text() == f"{stats.tokens} {stats.updates}"
    state = alone.export_state()
    assert state.keys() == team.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(team[name], tensor, rtol=1e-3, atol=1e-5)
    assert load_file(tmp_path / "first" / "published.safetensors").keys() == (
        alone.bf16_state().keys()
    )
    again = run_team(tmp_path / "second")
    assert all(torch.equal(team[name], again[name]) for name in team)
