"""What `bench/trl_trainer.py` spares TRL, beside which learners are measured."""

import pytest
import torch

from assay.environments.registry import make_environment
from assay.inference.checkpoint import load_checkpoint
from assay.training import GENESIS, LearnConfig
from assay.training.genesis_model import make_tokenizer
from tests.tree import ROOT

SIZE, GROUPS = 4, 10


@pytest.mark.slow
def test_it_changes_no_gradient(tmp_path, monkeypatch):
    """Of one update, whose prompts and completions have several lengths, and some of whose groups
    have equal rewards: each pass leaves rows or columns out, and the gradient only rounds
    otherwise."""
    pytest.importorskip("trl", reason="TRL is of the extra `train`")
    monkeypatch.syspath_prepend(ROOT / "bench")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import trl_trainer

    environment = make_environment("arithmetic", {})
    problems = [
        environment.make_problem(bytes([number]) * 32, (3 + number % 4,))
        for number in range(GROUPS)
    ]
    learning = LearnConfig(groups_per_batch=GROUPS, epochs=1, weight_decay=0.0, learning_rate=1.0)
    course = trl_trainer.TrlCourse(environment, [problems], learning, SIZE, 24, tmp_path / "trl")
    given = {"optim": "sgd", "max_grad_norm": 1e9, "per_device_train_batch_size": SIZE}
    given |= {"gradient_accumulation_steps": GROUPS, "steps_per_generation": GROUPS}

    def learn(leave_out):
        elements = []

        def see(inputs):
            left = leave_out(inputs)
            elements.append([left[name].numel() for name in ("prompt_ids", "completion_ids")])
            return left

        monkeypatch.setattr(trl_trainer, "leave_out_idle", see)
        model, steps = load_checkpoint(GENESIS).load_trainable(), []
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        trl_trainer.make_trl_trainer(course, model, make_tokenizer(), steps.append, **given).train()
        assert steps == [1]
        after = dict(model.named_parameters())
        return {name: after[name].detach() - before[name] for name in before}, elements

    leave_out_idle = trl_trainer.leave_out_idle
    (whole, all_of_it), (spared, less) = learn(dict), learn(leave_out_idle)
    assert all(torch.allclose(whole[name], spared[name], rtol=1e-3, atol=1e-6) for name in whole)
    assert max(float(change.abs().max()) for change in whole.values()) > 1e-2
    assert len(all_of_it) == len(less) == GROUPS
    assert sum(map(sum, less)) < sum(map(sum, all_of_it)) / 2
