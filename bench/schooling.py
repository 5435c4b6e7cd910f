"""A model that half knows word problems, for `evidence.py`: 12 million parameters from scratch.

    python bench/schooling.py --out DIR [--threads N] [--fast]

A Qwen2 reads solved problems of the environment `gsm`, from its templates, until it solves a given
share of other problems. It is stored as a genesis checkpoint, in a folder named after its settings.
Its state is saved every few steps: a stopped command continues there. Products are in bf16, so a
processor without bf16 takes longer.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import process_time
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from assay.environments.base import Environment, Problem
from assay.environments.gsm import Task
from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.draft import OwnDrafter, Rules
from assay.inference.tokenizing.folder_tokenizer import wrap_tokenizer
from assay.network.files import move_folder, replace_file
from assay.protocol.hashing import Domain, hash_fields
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import DEMO_WORK
from assay.training.held_out import try_problems

TEMPERATURE = 1_024
_PAD, _END = "<pad>", "<end>"
_IGNORED = -100
#: Solved problems from which the tokenizer is made.
_TEXTS = 2_000


@dataclass(frozen=True, slots=True)
class Schooling:
    """The settings of a model. All fields determine the name of its folder."""

    largest: int = 10  # the environment's `largest`
    levels: tuple[int, ...] = (1, 2, 3)  # steps of arithmetic in a problem
    hidden: int = 512
    layers: int = 4
    heads: int = 8
    shared_heads: int = 2  # shared heads of keys and values
    inner: int = 1_408
    batch: int = 32
    steps: int = 2_400  # at most
    rate: float = 1e-3
    warmup: int = 50
    every: int = 50  # steps from one trial to the next
    tried: int = 256  # problems of a trial
    enough: float = 0.3  # share of these that ends the schooling
    max_tokens: int = 72  # of a completion
    seed: int = 0

    @property
    def environment(self) -> Environment:
        return make_environment("gsm", {"largest": self.largest})


FULL = Schooling()
#: Ends after 200 steps, whatever the model knows.
SMALL = Schooling(levels=(1,), hidden=128, layers=2, heads=4, inner=256, steps=200, max_tokens=32)


def compute_name(*parts: object) -> str:
    """The name of a folder, from the settings that determine its content."""
    return sha256(repr(parts).encode()).hexdigest()[:12]


def make_problems(schooling: Schooling, what: str, count: int, *at: int) -> list[Problem]:
    """The first problems for one purpose. `at`: u32 each, which list."""
    environment = schooling.environment
    places = [number.to_bytes(4, "big") for number in at]
    return [
        environment.make_problem(
            hash_fields(Domain.HELD_OUT, what.encode(), *places, index.to_bytes(4, "big")),
            schooling.levels,
        )
        for index in range(count)
    ]


def make_lesson(schooling: Schooling, step: int) -> list[Problem]:
    """The solved problems that a step reads."""
    return make_problems(schooling, "evidence-lesson", schooling.batch, schooling.seed, step)


def get_solution(problem: Problem) -> str:
    assert isinstance(problem.answer, Task)
    return problem.answer.row.solution


def make_tokenizer(schooling: Schooling) -> PreTrainedTokenizerFast:
    """Byte-level BPE of solved problems, each digit a token."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        (
            problem.prompt + get_solution(problem)
            for step in range(_TEXTS // schooling.batch)
            for problem in make_lesson(schooling, step)
        ),
        trainers.BpeTrainer(
            vocab_size=1_024,
            special_tokens=[_PAD, _END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=_PAD,
        eos_token=_END,
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def make_first(schooling: Schooling, tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """A Qwen2 with random weights."""
    torch.manual_seed(schooling.seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=schooling.hidden,
        intermediate_size=schooling.inner,
        num_hidden_layers=schooling.layers,
        num_attention_heads=schooling.heads,
        num_key_value_heads=schooling.shared_heads,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config).eval()


def make_batch(
    problems: Sequence[Problem], tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and targets [problems, longest]; only solutions are targets."""
    end = tokenizer.eos_token_id
    rows = [
        (tokenizer.encode(one.prompt), [*tokenizer.encode(get_solution(one)), end])
        for one in problems
    ]
    longest = max(len(prompt) + len(solution) for prompt, solution in rows)
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    targets = torch.full_like(ids, _IGNORED)
    for row, (prompt, solution) in enumerate(rows):
        whole = torch.tensor(prompt + solution)
        ids[row, : len(whole)] = whole
        targets[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    return ids, targets


@dataclass(slots=True)
class Pupil:
    """A model in training, with everything that a restart needs."""

    schooling: Schooling
    tokenizer: PreTrainedTokenizerFast
    model: Qwen2ForCausalLM
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0  # of the processor
    solved: float = 0.0  # share in the last trial

    def read_lesson(self) -> float:
        """Learn from one batch. Returns the loss."""
        given = self.schooling
        for group in self.optimizer.param_groups:
            group["lr"] = given.rate * min(1.0, (self.step + 1) / given.warmup)
        ids, targets = make_batch(make_lesson(given, self.step), self.tokenizer)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = cross_entropy(
            logits.float().flatten(0, 1), targets[:, 1:].flatten(), ignore_index=_IGNORED
        )
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def take_trial(self) -> None:
        """Sample an answer to each problem of the trial."""
        given = self.schooling
        end = self.tokenizer.eos_token_id
        tokenizer = wrap_tokenizer(self.tokenizer, len(self.tokenizer), (end,))
        rules = Rules(TEMPERATURE, (end,), given.max_tokens)
        drafter = OwnDrafter(self.model, tokenizer.drawable, rules)
        problems = make_problems(given, "evidence-trial", given.tried, given.seed)
        seeds = [hash_fields(Domain.HELD_OUT, bytes([i >> 8, i & 255])) for i in range(given.tried)]
        solved = try_problems(drafter, tokenizer, given.environment, problems, seeds, DEMO_WORK)
        self.solved = sum(solved) / len(solved)

    def save(self, file: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": (self.step, self.seconds, self.solved),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(file) as temporary:
            torch.save(state, temporary)

    def restore(self, file: Path) -> None:
        state: dict[str, Any] = torch.load(file)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.solved = state["progress"]


def school(schooling: Schooling, out: Path) -> Checkpoint:
    """The model of `schooling`. A finished one in `out` is not made again.

    Raises:
        RuntimeError: after all its steps the model does not know enough to learn from.
    """
    folder = out / f"model-{compute_name(schooling)}"
    if folder.exists():
        return load_checkpoint(folder)
    tokenizer = make_tokenizer(schooling)
    model = make_first(schooling, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    pupil = Pupil(schooling, tokenizer, model, optimizer)
    kept = folder.with_suffix(".pt")
    if kept.exists():
        pupil.restore(kept)
        print(f"goes on after step {pupil.step}", flush=True)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{size:,} parameters, {len(tokenizer)} tokens, folder {folder}", flush=True)
    while pupil.step < schooling.steps and pupil.solved < schooling.enough:
        began = process_time()
        loss = pupil.read_lesson()
        if pupil.step % schooling.every == 0:
            pupil.take_trial()
        pupil.seconds += process_time() - began
        if pupil.step % schooling.every == 0:
            pupil.save(kept)
            print(
                f"step {pupil.step}: loss {loss:.3f}, solves {pupil.solved:.1%} of "
                f"{schooling.tried}, {pupil.seconds:.0f} s of processors",
                flush=True,
            )
    if schooling != SMALL and pupil.solved < schooling.enough:
        raise RuntimeError(f"it solves {pupil.solved:.1%} after {pupil.step} steps: too few")
    return graduate(pupil, folder)


def graduate(pupil: Pupil, folder: Path) -> Checkpoint:
    """Store the model as a genesis checkpoint, whole or not at all."""
    schooling = pupil.schooling
    temporary = folder.with_suffix(".new")
    published = Qwen2ForCausalLM(pupil.model.config).to(torch.bfloat16)  # type: ignore[arg-type]
    published.load_state_dict(
        {name: weight.to(torch.bfloat16) for name, weight in pupil.model.state_dict().items()}
    )
    published.save_pretrained(temporary)
    (temporary / "generation_config.json").unlink(missing_ok=True)
    pupil.tokenizer.save_pretrained(temporary)
    make_genesis(temporary, schooling.max_tokens, schooling.environment, schooling.levels)
    move_folder(temporary, folder)
    return load_checkpoint(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fast", action="store_true", help="a small one that knows little")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        checkpoint = school(SMALL if arguments.fast else FULL, arguments.out)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on after the last trial")
    print(f"checkpoint {checkpoint.digest.hex()} in {checkpoint.folder}")


if __name__ == "__main__":
    main()
