"""The trainer's learner under torchrun: what it publishes is what one process would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.adversarial.team_neuron import learn_twice

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_second_process_follows_to_the_end(tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "-m",
        "tests.adversarial.team_neuron",
        str(tmp_path),
    ]
    # it holds where PYTHONSAFEPATH keeps the working directory out, too
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child needs a whole environment
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert (tmp_path / "followed").exists()
    learner, stats = learn_twice()
    tokens, loss, kl = json.loads((tmp_path / "stats.json").read_text())
    assert tokens == stats.tokens
    assert loss == pytest.approx(stats.loss, rel=1e-3, abs=1e-5)
    assert kl == pytest.approx(stats.mean_kl, rel=1e-2, abs=1e-5)
    published = load_file(tmp_path / "published.safetensors")
    alone = learner.bf16_state()
    assert published.keys() == alone.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(published[name], weight, rtol=0.02, atol=1e-3)
