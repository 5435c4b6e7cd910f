"""The loss and the advantages, number for number, against TRL's own trainer."""

import pytest
import torch

from assay.training import LossConfig, compute_advantages, compute_loss
from assay.training.genesis_model import make_model, make_tokenizer

pytest.importorskip("trl", reason="TRL is of the extra `train`")

PROMPT, LONGEST, ROWS = 4, 6, 8
CLIPS = LossConfig(low=0.2, high=0.28, cap=1.5, kl_weight=0.3)


@pytest.fixture(scope="module")
def model():
    return make_model(hidden=16, layers=1, heads=2, inner=16, seed=0).eval()


@pytest.fixture(scope="module")
def inputs(model):
    """Right-padded completions with ratios on both sides of every bound."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, LONGEST + 1, (ROWS,), generator=generator)
    completions = torch.randint(3, 90, (ROWS, LONGEST), generator=generator)
    prompts = torch.randint(3, 90, (ROWS, PROMPT), generator=generator)
    mask = torch.arange(LONGEST)[None, :] < lengths[:, None]
    ids = torch.cat([prompts, completions], 1)
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits[:, PROMPT - 1 : -1].log_softmax(-1)
    logprobs = logprobs.gather(-1, completions[..., None]).squeeze(-1)
    noise = torch.randn(2, ROWS, LONGEST, generator=generator)
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": completions,
        "completion_mask": mask.long(),
        "advantages": torch.randn(ROWS, generator=generator),
        "old_per_token_logps": logprobs + noise[0],
        "ref_per_token_logps": logprobs + noise[1],
        "num_items_in_batch": mask.sum(),
    }


def compute_theirs(model, inputs, folder, loss_type, level):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        bf16=False,
        loss_type=loss_type,
        importance_sampling_level=level,
        epsilon=CLIPS.low,
        epsilon_high=CLIPS.high,
        delta=CLIPS.cap,
        beta=0.0,
        per_device_train_batch_size=ROWS,
        num_generations=ROWS,
        steps_per_generation=1,
        use_bias_correction_kl=False,
    )
    trainer = GRPOTrainer(
        model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["a"] * ROWS}),
        processing_class=make_tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.beta = CLIPS.kl_weight  # not before: it would look for its reference's weights online
    model.eval().zero_grad()
    loss = trainer._compute_loss(model, inputs)
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def compute_ours(model, inputs, level):
    model.zero_grad()
    mask = inputs["completion_mask"].bool()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    logprobs = model(input_ids=ids).logits[:, PROMPT - 1 : -1].log_softmax(-1)
    logprobs = logprobs.gather(-1, inputs["completion_ids"][..., None]).squeeze(-1)
    loss = compute_loss(
        logprobs,
        inputs["old_per_token_logps"],
        inputs["advantages"],
        mask,
        float(mask.sum()) if level == "token" else float(ROWS),
        LossConfig(CLIPS.low, CLIPS.high, CLIPS.cap, CLIPS.kl_weight, level),
        inputs["ref_per_token_logps"],
    )
    loss.value.backward()
    assert loss.clipped
    return loss.value.item(), {n: weight.grad.clone() for n, weight in model.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize(("level", "loss_type"), [("token", "dapo"), ("sequence", "grpo")])
def test_loss_and_gradient_are_theirs(model, inputs, tmp_path, level, loss_type):
    theirs, their_gradients = compute_theirs(model, inputs, tmp_path, loss_type, level)
    ours, our_gradients = compute_ours(model, inputs, level)
    assert ours == pytest.approx(theirs, rel=1e-5)
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_scaled_advantages_are_theirs():
    """TRL: (r − mean) / (std + 1e-4), the sample's standard deviation."""
    rewards = [1_000_000, 0, 200_000, 1_000_000, 0, 0]
    values = torch.tensor(rewards, dtype=torch.float64) / 1e6
    expected = (values - values.mean()) / (values.std() + 1e-4)
    assert compute_advantages(rewards, scaled=True) == pytest.approx(expected.tolist(), rel=1e-12)
