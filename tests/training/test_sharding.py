"""Two processes under torchrun against one: the same model, to rounding; twice, to the bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assay.inference.low_rank import decode_adapter
from assay.training.genesis_model import make_model
from assay.training.objectives import Imitation, Preference
from tests.training.team import make_examples, make_groups, make_learner, make_pairs

ROOT = Path(__file__).parents[2]


def run_team(folder, rank, where):
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "-m",
        "tests.training.team",
        str(folder),
        str(rank),
        where,
    ]
    # it holds where PYTHONSAFEPATH keeps the working directory out, too
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child needs a whole environment
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3_000:]
    return load_file(folder / "end.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 4])
def test_two_processes_learn_what_one_learns(tmp_path, rank):
    """With all weights, or LoRA's factors alone, the published weights have the model's own names.
    The place of weights changes no bit."""
    if rank:
        pytest.importorskip("peft", reason="peft is of the extra `train`")
    team = run_team(tmp_path / "first", rank, "kept")
    alone = make_learner(rank)
    stats = alone.learn(make_groups())
    alone.learn(make_groups())
    alone.update(make_examples(), Imitation(), 1e-3)
    alone.update(make_pairs(), Preference(0.5), 1e-3)
    loss = float((tmp_path / "first" / "loss").read_text())
    assert loss == pytest.approx(alone.measure(make_examples()), rel=1e-4)
    assert (tmp_path / "first" / "tokens").read_text() == f"{stats.tokens} {stats.updates}"
    state = dict(alone.export_state())
    assert state.keys() == team.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(team[name], tensor, rtol=1e-3, atol=1e-5)
    published = load_file(tmp_path / "first" / "published.safetensors")
    own = alone.bf16_state()
    assert published.keys() == own.keys() == make_model(16, 2, 2, 16, 0).state_dict().keys()
    for name, tensor in own.items():
        torch.testing.assert_close(published[name], tensor, rtol=2e-2, atol=1e-4)
    alone.import_state(team)  # from here on a team publishes what one publishes
    assert all(torch.equal(published[name], weight) for name, weight in alone.bf16_state().items())
    factors = decode_adapter((tmp_path / "first" / "adapter").read_bytes()).factors if rank else {}
    assert factors.keys() == alone.export_factors().keys()
    for name, pair in alone.export_factors().items():
        assert torch.equal(factors[name].left, pair.left)
        assert torch.equal(factors[name].right, pair.right)
    again = run_team(tmp_path / "second", rank, "offload")
    assert all(torch.equal(team[name], again[name]) for name in team)
