"""The loss and the advantages, number for number, against TRL's own trainer."""

import random

import pytest
import torch

from assay.protocol.episode import Reply, weave
from assay.training import Cispo, Grpo, LearnConfig, Learner, compute_advantages, compute_loss
from assay.training.genesis_model import make_model, make_tokenizer
from assay.training.grpo import LOSSES
from assay.training.imitation import Example, compute_distillation_loss
from assay.training.lesson import Rollout
from assay.training.objectives import Preference, Reinforcement
from assay.training.preferences import Pair
from assay.training.stale import anchor_rollouts, stack_anchors

pytest.importorskip("trl", reason="TRL is of the extra `train`")

PROMPT, LONGEST, ROWS = 4, 6, 8
CLIPS, KL_WEIGHT = Grpo(low=0.2, high=0.28, cap=1.5), 0.3
#: Our loss → theirs: its type, the level of its ratios, and its upper bound, of which they subtract
#: 1 everywhere but here.
THEIRS = {
    "grpo": ("dapo", "token", CLIPS.high),
    "gspo": ("grpo", "sequence", CLIPS.high),
    "cispo": ("cispo", "token", 1 + CLIPS.high),
}


def make_loss(name):
    """Ours, by the bounds of all."""
    if name == "cispo":
        return Cispo(CLIPS.high)
    return LOSSES[name](CLIPS.low, CLIPS.high, CLIPS.cap)


@pytest.fixture(scope="module")
def model():
    return make_model(hidden=16, layers=1, heads=2, inner=16, seed=0).eval()


def draw_inputs(model, seed):
    """Right-padded completions with ratios on both sides of every bound."""
    generator = torch.Generator().manual_seed(seed)
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


def make_theirs(model, folder, name):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    loss_type, level, high = THEIRS[name]
    config = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        bf16=False,
        loss_type=loss_type,
        importance_sampling_level=level,
        epsilon=CLIPS.low,
        epsilon_high=high,
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
    trainer.beta = KL_WEIGHT  # not before: it would look for its reference's weights online
    return trainer


def compute_theirs(trainer, model, inputs):
    model.eval().zero_grad()
    loss = trainer._compute_loss(model, inputs)
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


def compute_ours(model, inputs, name, behaviour=None, weights=None):
    """With a behaviour, `old_per_token_logps` are the proximal policy's."""
    model.zero_grad()
    mask = inputs["completion_mask"].bool()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    logprobs = model(input_ids=ids).logits[:, PROMPT - 1 : -1].log_softmax(-1)
    logprobs = logprobs.gather(-1, inputs["completion_ids"][..., None]).squeeze(-1)
    proximal = inputs["old_per_token_logps"]
    loss = compute_loss(
        logprobs,
        proximal if behaviour is None else behaviour,
        inputs["advantages"],
        mask,
        float(ROWS) if name == "gspo" else float(mask.sum()),
        make_loss(name),
        KL_WEIGHT if behaviour is None else 0.0,
        inputs["ref_per_token_logps"],
        None if behaviour is None else (proximal, weights),
    )
    loss.value.backward()
    assert loss.clipped
    return loss.value.item(), {n: weight.grad.clone() for n, weight in model.named_parameters()}


def require_same(ours, theirs):
    """Gradients by name, as one vector each: a weight's own rounding counts for little."""
    ours, theirs = (torch.cat([g.flatten() for _, g in sorted(d.items())]) for d in (ours, theirs))
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_loss_and_gradient_are_theirs(model, tmp_path, name):
    trainer = make_theirs(model, tmp_path, name)
    for seed in range(20):
        inputs = draw_inputs(model, seed)
        theirs, their_gradients = compute_theirs(trainer, model, inputs)
        ours, our_gradients = compute_ours(model, inputs, name)
        # a sum of 48 gains of both signs, each rounded at 2^-24 of at most 8
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
        require_same(our_gradients, their_gradients)


@pytest.mark.slow
@pytest.mark.parametrize("weight", ["sequence", "token"])
def test_the_decoupled_loss_is_theirs_with_a_sampler_s_weights(model, tmp_path, weight):
    """Theirs calls the behaviour the sampler, which they correct for by `sequence_truncate` or
    `token_truncate`. They weigh the divergence, too, so here it has no weight."""
    trainer = make_theirs(model, tmp_path, "grpo")
    trainer.beta, trainer.use_vllm = 0.0, True
    trainer.vllm_importance_sampling_correction = True
    for seed in range(20):
        inputs = draw_inputs(model, seed)
        noise = torch.randn(ROWS, LONGEST, generator=torch.Generator().manual_seed(100 + seed))
        mask, proximal = inputs["completion_mask"].bool(), inputs["old_per_token_logps"]
        behaviour = torch.where(mask, proximal + 0.5 * noise, 0.0)
        rows = []
        for row in range(ROWS):
            length = int(mask[row].sum())
            own, told = behaviour[row, :length].tolist(), inputs["completion_ids"][row].tolist()
            rows.append(Rollout([1], told[:length], [], 1.0, own, False, 1))
        anchored, _ = anchor_rollouts(rows, _Told(proximal, mask), CLIPS, weight, 2.0)
        anchor, weights = stack_anchors(anchored, behaviour[:, : int(mask.sum(-1).max())])
        gaps = torch.where(mask, proximal - behaviour, 0.0)
        ratio = (gaps.sum(-1, keepdim=True) if weight == "sequence" else gaps).exp()
        inputs["importance_sampling_ratio"] = ratio.clamp(max=2.0)
        theirs, their_gradients = compute_theirs(trainer, model, inputs)
        padded = torch.nn.functional.pad(weights, (0, LONGEST - weights.shape[1]), value=1.0)
        assert torch.equal(anchor[mask[:, : anchor.shape[1]]], proximal[mask])
        ours, our_gradients = compute_ours(model, inputs, "grpo", behaviour, padded)
        assert ours == pytest.approx(theirs, rel=1e-5)
        require_same(our_gradients, their_gradients)


class _Told:
    """Passes that know a tensor's log-probabilities."""

    def __init__(self, logprobs, mask):
        self.parts = [row[here] for row, here in zip(logprobs, mask, strict=True)]

    def compute_logprobs(self, rows):
        return self.parts


EPISODES = [
    ([5, 6, 2, 7, 2, 8], [Reply(3, (30, 31)), Reply(5, (32,))]),
    ([9, 2], []),
    ([9, 9, 2, 4, 4, 2], [Reply(3, (40, 41, 42, 43))]),
    ([2, 2, 2], [Reply(1, (50,)), Reply(2, ())]),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_the_learner_s_loss_of_episodes_is_theirs_with_a_tool_mask(model, tmp_path, name):
    """The learner's own packs of own tokens and replies, against their padded rows."""
    prompt = [3, 4, 5, 6]
    woven = [weave(own, replies) for own, replies in EPISODES]
    shape = len(EPISODES), max(len(sequence) for sequence, _ in woven)
    ids, mask, own = (torch.zeros(shape, dtype=torch.int64) for _ in range(3))
    for row, (sequence, places) in enumerate(woven):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
        own[row, places] = 1
    prompts = torch.tensor([prompt] * len(EPISODES))
    with torch.no_grad():
        logits = model(input_ids=torch.cat([prompts, ids], 1)).logits[:, len(prompt) - 1 : -1]
    logprobs = logits.log_softmax(-1).gather(-1, ids[..., None]).squeeze(-1)
    behaviour = logprobs + torch.randn(shape, generator=torch.Generator().manual_seed(1))
    advantages = torch.tensor([1.0, -0.5, 0.7, -1.3])
    inputs = {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": ids,
        "completion_mask": mask,
        "tool_mask": own,
        "advantages": advantages,
        "old_per_token_logps": behaviour,
        "ref_per_token_logps": behaviour,
        "num_items_in_batch": own.sum(),
    }
    theirs, their_gradients = compute_theirs(make_theirs(model, tmp_path, name), model, inputs)
    model.zero_grad()
    objective = Reinforcement(make_loss(name), KL_WEIGHT)
    learner = Learner(model, LearnConfig())
    rows = [
        Rollout(prompt, tokens, replies, gain, behaviour[row, places].tolist(), is_earlier=False)
        for row, ((tokens, replies), (_, places), gain) in enumerate(
            zip(EPISODES, woven, advantages.tolist(), strict=True)
        )
    ]
    (read,) = learner._passes.read(rows, with_reference=False)
    scale = float(len(rows)) if name == "gspo" else float(own.sum())
    loss = objective.compute_loss(read, scale)
    loss.value.backward()
    assert (loss.tokens, loss.value.item()) == (own.sum(), pytest.approx(theirs, rel=1e-5))
    require_same({n: weight.grad for n, weight in model.named_parameters()}, their_gradients)


def test_scaled_advantages_are_theirs():
    """TRL: (r − mean) / (std + 1e-4), the sample's standard deviation."""
    rewards = [1_000_000, 0, 200_000, 1_000_000, 0, 0]
    values = torch.tensor(rewards, dtype=torch.float64) / 1e6
    expected = (values - values.mean()) / (values.std() + 1e-4)
    assert compute_advantages(rewards, scaled=True) == pytest.approx(expected.tolist(), rel=1e-12)


BETA = 0.3


def make_their_preferences(model, folder):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    config = DPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        bf16=False,
        beta=BETA,
        gradient_checkpointing=False,
        disable_dropout=False,
        per_device_train_batch_size=ROWS,
    )
    rows = {"prompt": ["1"], "chosen": ["2"], "rejected": ["3"]}
    trainer = DPOTrainer(
        model,
        ref_model=make_model(hidden=16, layers=1, heads=2, inner=16, seed=0),
        args=config,
        train_dataset=Dataset.from_dict(rows),
        processing_class=make_tokenizer(),
    )
    trainer.precompute_ref_logps = True  # not before: it would read its rows
    return trainer


def draw_pairs(seed):
    """Pairs of answers of several lengths, and how the reference stands to each."""
    rng = random.Random(seed)

    def draw(most):
        return [rng.randint(3, 90) for _ in range(rng.randint(1, most))]

    prompts = [draw(PROMPT) for _ in range(ROWS)]
    answers = [[Example(prompt, draw(LONGEST)) for prompt in prompts] for _ in range(2)]
    return [
        Pair(chosen, rejected, rng.uniform(-4, 4))
        for chosen, rejected in zip(*answers, strict=True)
    ]


def make_their_batch(pairs):
    """As their collator makes it: all chosen answers, then all rejected ones."""
    rows = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    longest = max(len(row.prompt) + len(row.completion) for row in rows)
    ids, attended, mask = (torch.zeros(len(rows), longest, dtype=torch.int64) for _ in range(3))
    for at, row in enumerate(rows):
        whole = [*row.prompt, *row.completion]
        ids[at, : len(whole)] = torch.tensor(whole)
        attended[at, : len(whole)] = 1
        mask[at, len(row.prompt) : len(whole)] = 1
    return {
        "input_ids": ids,
        "attention_mask": attended,
        "completion_mask": mask,
        "ref_chosen_logps": torch.tensor([pair.reference for pair in pairs]),
        "ref_rejected_logps": torch.zeros(len(pairs)),
    }


@pytest.mark.slow
def test_loss_and_gradient_of_preferences_are_theirs(model, tmp_path, monkeypatch):
    trainer = make_their_preferences(model, tmp_path)
    learner = Learner(
        make_model(hidden=16, layers=1, heads=2, inner=16, seed=0),
        LearnConfig(max_gradient=1e9, tokens_per_pass=60),
    )
    seen = {}

    def keep(optimizer):  # and change nothing: each batch is of the same weights
        seen.update({n: w.grad.clone() for n, w in learner.model.named_parameters()})

    monkeypatch.setattr(torch.optim.AdamW, "step", keep)
    for seed in range(20):
        pairs = draw_pairs(seed)
        model.eval().zero_grad()
        loss = trainer._compute_loss(model, make_their_batch(pairs), return_outputs=False)
        loss.backward()
        theirs = {name: weight.grad.clone() for name, weight in model.named_parameters()}
        stats = learner.update(pairs, Preference(BETA), 1e-3)
        assert stats.loss == pytest.approx(loss.item(), rel=1e-5)
        require_same(seen, theirs)


def test_a_taught_token_has_the_gradient_of_their_divergence():
    """Ours of the drawn token, added up over all tokens that may be drawn, is theirs."""
    from trl.experimental.gkd import GKDTrainer

    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        rows, ids = 6, 40
        student, teacher = torch.randn(2, rows, ids, generator=generator, dtype=torch.float64)
        student.requires_grad_()
        theirs = GKDTrainer.generalized_jsd_loss(student[None], teacher[None], beta=1)
        (their_gradient,) = torch.autograd.grad(theirs, student)
        logs, wanted = student.log_softmax(-1), teacher.log_softmax(-1)
        shares, value, gradient = logs.exp().detach(), 0.0, torch.zeros_like(student)
        for token in range(ids):
            for row in range(rows):
                one = torch.arange(rows)[:, None] == row
                column = slice(token, token + 1)
                loss = compute_distillation_loss(logs[:, column], wanted[:, column], one, 1.0)
                (slope,) = torch.autograd.grad(loss.value, student, retain_graph=True)
                value += shares[row, token].item() * loss.value.item()
                gradient += shares[row, token] * slope
        assert value == pytest.approx(theirs.item(), rel=1e-5)  # theirs is a sum over one row
        assert (gradient - their_gradient).norm() <= 1e-5 * their_gradient.norm()
