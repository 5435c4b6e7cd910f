"""A step of the learner: its time compared with TRL's on the same rows and model.

TRL is in the extra `train`; without it only our own times are printed. Both learn from 8 groups of
16 completions of 32 to 256 tokens. TRL computes a group at a time, padded, and keeps only the
logits of completions. `step_memory.py` measures a step's memory.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import torch
from figures import FAST, Figure, measure_together, report
from transformers import Qwen2Config, Qwen2ForCausalLM

from assay.training import Group, LearnConfig, Learner
from assay.training.genesis_model import make_tokenizer

THREADS = 2
GROUPS, ROLLOUTS, PROMPTS, LENGTHS = 8, 16, (32, 96), (32, 256)
#: 25 million parameters.
SMALL = Qwen2Config(
    vocab_size=16_384,
    hidden_size=384,
    intermediate_size=1_024,
    num_hidden_layers=8,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=1_024,
    tie_word_embeddings=False,
)
LEARNING = LearnConfig(epochs=1, groups_per_batch=GROUPS, tokens_per_pass=4_096)


def make_groups(
    count: int, vocabulary: int, prompts: tuple[int, int], lengths: tuple[int, int]
) -> list[Group]:
    """Groups of random ids, with lengths within these ranges."""
    drawn = random.Random(0)
    groups = []
    for _ in range(count):
        rows = [
            [drawn.randrange(vocabulary) for _ in range(drawn.randint(*lengths))]
            for _ in range(ROLLOUTS)
        ]
        prompt = [drawn.randrange(vocabulary) for _ in range(drawn.randint(*prompts))]
        rewards = [1_000_000 * (i % 2) for i in range(ROLLOUTS)]
        groups.append(Group(prompt, rows, rewards, [[-9.7] * len(row) for row in rows]))
    return groups


def make_model(config: Qwen2Config) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).eval()


def time_steps() -> list[Figure]:
    """Times of a step of ours and of TRL's, in turn."""
    groups = make_groups(GROUPS, SMALL.vocab_size, PROMPTS, LENGTHS)
    tokens = sum(len(row) for group in groups for row in group.completions)
    kept, twice = (
        Learner(make_model(SMALL), replace(LEARNING, recompute=recompute))
        for recompute in (False, True)
    )
    runs: list[Callable[[], object]] = [lambda: kept.learn(groups), lambda: twice.learn(groups)]
    if find_spec("trl"):
        runs.append(make_trl_step(groups))
    else:
        print("TRL is not there, its row is left out: pip install 'assay[train]'")
    seconds = measure_together(runs, repeats=1 if FAST else 5)
    theirs = seconds[2] if len(seconds) > 2 else None
    name = f"a step of {tokens:,} tokens, 25 M parameters"
    baseline = "" if theirs is None else "TRL's step, padded"
    return [
        Figure(f"{name}: packed", seconds[0], "s", baseline, theirs, ratio_bound=1.0),
        Figure(f"{name}: packed, layers computed twice", seconds[1], "s", baseline, theirs),
    ]


def make_trl_step(groups: list[Group]) -> Callable[[], None]:
    """The same step with TRL's loss, its padding and an AdamW like ours."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model = make_model(SMALL)
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            report_to=[],
            loss_type="dapo",
            epsilon=0.2,
            epsilon_high=0.28,
            delta=4.0,
            beta=0.0,
            gradient_checkpointing=False,
            per_device_train_batch_size=ROLLOUTS,
            num_generations=ROLLOUTS,
            steps_per_generation=1,
        )
        trainer = GRPOTrainer(
            model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=config,
            train_dataset=Dataset.from_dict({"prompt": ["a"] * ROLLOUTS}),
            processing_class=make_tokenizer(),
        )
    trainer.current_gradient_accumulation_steps = GROUPS
    model.eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5, betas=(0.9, 0.95), weight_decay=0)
    batches = [pad_group(group) for group in groups]
    total = sum(int(batch["completion_mask"].sum()) for batch in batches)

    def run() -> None:
        optimiser.zero_grad()
        for batch in batches:
            trainer._compute_loss(
                model, batch | {"num_items_in_batch": torch.tensor(total)}
            ).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    return run


def pad_group(group: Group) -> dict[str, torch.Tensor]:
    """A group in TRL's form: completions padded on the right."""
    longest = max(map(len, group.completions))
    ids = torch.zeros(ROLLOUTS, longest, dtype=torch.long)
    mask = torch.zeros(ROLLOUTS, longest, dtype=torch.long)
    old = torch.zeros(ROLLOUTS, longest)
    for i, row in enumerate(group.completions):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        old[i, : len(row)] = torch.tensor(group.behaviour_logprobs[i])
    prompts = torch.tensor([group.prompt] * ROLLOUTS)
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": ids,
        "completion_mask": mask,
        "advantages": torch.tensor(group.rewards) / 1e6 - 0.5,
        "old_per_token_logps": old,
    }


def main() -> None:
    torch.set_num_threads(THREADS)
    report("a step of the learner", time_steps(), THREADS)


if __name__ == "__main__":
    main()
