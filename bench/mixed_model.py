"""A small model that half knows sums and word problems, for `teaching.py`: made from scratch.

It reads solved problems of `arithmetic` and of `gsm`'s templates in turn, so that both environments
and a mixture of them can be taught with it. It has half a million weights and takes some minutes on
one core. The same machine makes the same weights.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from assay.environments.arithmetic import write_solution
from assay.environments.base import Problem
from assay.environments.gsm import Task
from assay.environments.registry import make_environment
from assay.training.pretrain import PretrainConfig, compute_rate, pretrain_seed

_PAD, _END, _IGNORED = "<pad>", "<end>", -100
#: Solved problems from which the tokenizer is made.
_TEXTS = 2_000
MAX_TOKENS = 64
#: Environment → the levels that are read. Higher levels are left to reinforcement learning.
READ = {"arithmetic": (1, 2, 4, 5), "gsm": (1, 2)}
SETTINGS = {"arithmetic": {}, "gsm": {"largest": 10}}


@dataclass(frozen=True, slots=True)
class Solved:
    """A problem and its solution."""

    problem: Problem
    solution: str


def write_solved(run: int) -> Iterator[Solved]:
    """Solved problems of both environments in turn, without end."""
    made = {name: make_environment(name, SETTINGS[name]) for name in READ}
    index = 0
    while True:
        for name, environment in made.items():
            problem = environment.make_problem(pretrain_seed(run, index), READ[name])
            answer = problem.answer
            if isinstance(answer, Task):
                yield Solved(problem, answer.row.solution)
            else:
                yield Solved(problem, write_solution(problem, range(problem.prompt.count("+") + 1)))
            index += 1


def make_tokenizer(texts: Iterable[str], size: int = 768) -> PreTrainedTokenizerFast:
    """Byte-level BPE of texts, each digit a token. `size`: of its vocabulary."""
    core = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[_PAD, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=_PAD,
        eos_token=_END,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def make_first(tokenizer: PreTrainedTokenizerFast, context: int = 512) -> Qwen2ForCausalLM:
    """A Qwen2 with random weights. `context`: most tokens that it reads."""
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )


def make_batch(
    examples: Iterator[Solved], tokenizer: PreTrainedTokenizerFast, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and targets [size, longest]; only solutions are targets."""
    rows = []
    for one in islice(examples, size):
        solution = [*tokenizer.encode(one.solution), tokenizer.eos_token_id]
        rows.append((tokenizer.encode(one.problem.prompt), solution))
    longest = max(len(prompt) + len(solution) for prompt, solution in rows)
    ids = torch.full((size, longest), tokenizer.pad_token_id)
    targets = torch.full((size, longest), _IGNORED)
    for row, (prompt, solution) in enumerate(rows):
        whole = torch.tensor(prompt + solution)
        ids[row, : len(whole)] = whole
        targets[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    return ids, targets


def make_mixed_model(folder: Path, steps: int, batch: int = 40) -> None:
    """Train the model, and write its weights and tokenizer into `folder`."""
    texts = (one.problem.prompt + one.solution for one in islice(write_solved(1), _TEXTS))
    tokenizer = make_tokenizer(texts)
    config = PretrainConfig(steps=steps, batch=batch, warmup=min(50, steps // 2))
    train(make_first(tokenizer), tokenizer, write_solved(0), config, folder)


def train(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: Iterator[Solved],
    config: PretrainConfig,
    folder: Path,
) -> None:
    """Have a model read examples, and write its weights and tokenizer into `folder`. Of the
    settings those count that are no model's, nor the demo's levels."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = compute_rate(step, config)
        ids, targets = make_batch(examples, tokenizer, config.batch)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = cross_entropy(
            logits.flatten(0, 1),
            targets[:, 1:].flatten(),
            ignore_index=_IGNORED,
            label_smoothing=config.smoothing,
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            print(f"pre-training, step {step + 1}: loss {loss.item():.3f}", flush=True)
    model.to(torch.bfloat16).save_pretrained(folder)  # type: ignore[arg-type]
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
