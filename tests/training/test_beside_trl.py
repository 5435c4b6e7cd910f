"""What `bench/trl_trainer.py` spares TRL, beside which learners are measured."""

import pytest
import torch

from assay.environments.registry import make_environment
from assay.inference.checkpoint import load_checkpoint
from assay.training import GENESIS, LearnConfig
from assay.training.genesis_model import make_tokenizer
from tests.tree import ROOT

ROWS, PROMPT, COMPLETION = 6, 9, 11


def draw_pass(stale, taught):
    """Rows with prompts and completions of several lengths, of which `taught` have an advantage."""
    generator = torch.Generator().manual_seed(0)

    def draw_ids(columns):
        return torch.randint(3, 12, (ROWS, columns), generator=generator)

    place = torch.arange(ROWS)[:, None]
    made = {
        "prompt_ids": draw_ids(PROMPT),
        "prompt_mask": (torch.arange(PROMPT) >= 2 + place % 4).long(),
        "completion_ids": draw_ids(COMPLETION),
        "completion_mask": (torch.arange(COMPLETION) < 3 + place).long(),
        "advantages": torch.tensor([0.5, 0.0, -0.25, 0.0, 0.125, 0.0]) * taught,
        "num_items_in_batch": torch.tensor(40.0),
    }
    if stale:
        made["old_per_token_logps"] = -4 * torch.rand(ROWS, COMPLETION, generator=generator)
    return made


@pytest.fixture
def trl(monkeypatch):
    """The bench's module."""
    pytest.importorskip("trl", reason="TRL is of the extra `train`")
    monkeypatch.syspath_prepend(ROOT / "bench")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import trl_trainer

    return trl_trainer


def make_trainer(trl, folder, spared, **more):
    """A trainer, in doubles but for TRL's head in float32, and its prompts."""
    environment = make_environment("arithmetic", {})
    problems = [
        environment.make_problem(bytes([number]) * 32, (1 + number,)) for number in range(3)
    ]
    learning = LearnConfig(groups_per_batch=3, epochs=1)
    course = trl.TrlCourse(environment, [problems], learning, 2, 24, folder)
    model = load_checkpoint(GENESIS).load_trainable().double()
    trainer = trl.make_trl_trainer(course, model, make_tokenizer(), print, spared=spared, **more)
    trainer.current_gradient_accumulation_steps = 1
    return trainer, [problem.prompt for problem in problems]


@pytest.mark.slow
def test_it_changes_no_gradient(trl, tmp_path):
    """Sums of the head have fewer than a hundred terms, which round by 2^-24. A row or place too
    few would be a hundredth or more."""

    def take(inputs, spared):
        trainer, _ = make_trainer(trl, tmp_path, spared)
        trainer.compute_loss(trainer.model, inputs).backward()
        return {name: weight.grad for name, weight in trainer.model.named_parameters()}

    for stale, taught in ((False, True), (True, True), (True, False)):
        inputs = draw_pass(stale, taught)
        less = trl.leave_out_idle(inputs)
        assert len(less["advantages"]) == (3 if taught else 1)
        assert less["completion_ids"].shape[1] < COMPLETION
        whole, spared = take(inputs, False), take(inputs, True)
        most = max(float(gradient.abs().max()) for gradient in whole.values())
        assert (most > 0) == taught
        off = max(float((whole[name] - spared[name]).abs().max()) for name in whole)
        assert off <= 100 * 2.0**-24 * most


@pytest.mark.slow
def test_it_is_not_spared_what_counts(trl, tmp_path):
    with pytest.raises(ValueError, match="count with these arguments"):
        make_trainer(trl, tmp_path, True, beta=0.1)


@pytest.mark.slow
def test_it_generates_and_reads_what_trl_does(trl, tmp_path, monkeypatch):
    """It reads where there is an advantage; the same bound. With LoRA's factors, as the run."""
    from peft import LoraConfig

    rewards = 10**6, 0, 10**6, 10**6, 0, 10**6
    taught = torch.tensor([True, True, False, False, True, True])

    def generate(spared):
        given = iter(rewards)
        monkeypatch.setattr(trl, "compute_reward", lambda *_: next(given))
        torch.manual_seed(0)
        trainer, prompts = make_trainer(
            trl,
            tmp_path,
            spared,
            steps_per_generation=2,
            per_device_train_batch_size=4,
            peft_config=LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False),
        )
        rows = [{"prompt": prompt} for prompt in prompts for _ in range(2)]
        torch.manual_seed(0)
        return trainer._generate_and_score_completions(rows)  # noqa: SLF001

    whole, spared = generate(False), generate(True)
    assert torch.equal(whole["completion_ids"], spared["completion_ids"])
    assert torch.equal(spared["advantages"] != 0, taught)
    shown = whole["completion_mask"].bool()
    theirs = whole["old_per_token_logps"].where(shown, 0)
    ours = spared["old_per_token_logps"].where(shown, 0)
    assert not ours[~taught].any()
    assert theirs[~taught].any()
    assert (ours - theirs)[taught].abs().max() <= 100 * 2.0**-24 * theirs.abs().max()
