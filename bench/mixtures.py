"""What ramped routers cost a mixture, and whether it learns as well under them.

A small mixture (Qwen3's family, 8 experts, 2 of them chosen) is trained on written solutions of the
demo's sums, with its own routers. Then it learns twice from the same problems: by ramped routers,
as a network's reference has them, and by ramps so steep that they are choices. Each course draws by
its own model, and is measured by it. There are three courses each, of other problems, and success
differs by two points by chance. `--fast`: one course each, of few steps.
"""

import copy
import itertools
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, report
from torch.nn.functional import cross_entropy
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from assay.environments import make_environment
from assay.inference.calibration import compute_survival
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.expert_stacks import stack_experts
from assay.inference.implementations import make_packing_twin, make_twin
from assay.inference.reading import read
from assay.inference.routing import count_experts, record_logits
from assay.protocol.hashing import Domain, hash_fields
from assay.training import Group, LearnConfig, Learner
from assay.training.genesis_model import ALPHABET, CONTEXT, END, PAD, encode
from assay.training.pretrain import PretrainConfig, make_batch, write_examples

EXPERTS, CHOSEN, BALANCE = 8, 2, 0.01
PRETRAINING = PretrainConfig(levels=(4, 5), steps=20 if FAST else 500, batch=64, warmup=20)
STEPS, PROBLEMS, GROUP = (2, 4, 4) if FAST else (32, 24, 8)
LEVELS, LONGEST, TEMPERATURE = (5,), 48, 1_024
HELD_OUT = 16 if FAST else 512
#: Of the problems of each course.
SALTS = ("step",) if FAST else ("step", "course 0, step", "course 1, step")
#: A ramp of 2^-20 is a choice.
STEEP = 1


@dataclass(frozen=True)
class Course:
    """What a course ends with, before any step in `before`."""

    success: float  # of held-out problems
    loss: float  # of written solutions, nats a token
    load: float  # of the most used expert, by its even share


def make_mixture() -> Any:
    """A mixture that writes solutions of sums, trained by its own routers."""
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=len(ALPHABET) + 2,
        hidden_size=96,
        intermediate_size=256,
        moe_intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=32,
        num_experts=EXPERTS,
        num_experts_per_tok=CHOSEN,
        norm_topk_prob=True,
        router_aux_loss_coef=BALANCE,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        eos_token_id=END,
        bos_token_id=None,
    )
    config._experts_implementation = "eager"
    model: Any = Qwen3MoeForCausalLM(config)
    settings = PRETRAINING
    examples = write_examples(make_environment("arithmetic", {}), settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    for step in range(settings.steps):
        rate = min(1.0, (step + 1) / settings.warmup) * (1 - 0.9 * step / settings.steps)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * rate
        ids, targets = make_batch(examples, settings.batch)
        out = model(input_ids=ids[:, :-1], use_cache=False, output_router_logits=True)
        loss = cross_entropy(
            out.logits.flatten(0, 1), targets[:, 1:].flatten(), label_smoothing=settings.smoothing
        )
        (loss + BALANCE * out.aux_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval().requires_grad_(False)


class Bench:
    """A mixture under one ramp, its problems and its solutions."""

    def __init__(self, model: Any, ramp: int) -> None:
        self.model = copy.deepcopy(model)
        self.model.router_ramp = ramp
        self.environment = make_environment("arithmetic", {})
        self.drawable = np.ones(model.config.vocab_size, bool)
        self.drawable[PAD] = False
        self.rules = Rules(TEMPERATURE, (END,), LONGEST)

    def draw(self, name: str, problems: int, size: int) -> list[tuple[Any, list[list[int]]]]:
        """Problems, each with completions that the ramped model draws."""
        asked = [
            self.environment.make_problem(
                hash_fields(Domain.HELD_OUT, f"{name} {i}".encode()), LEVELS
            )
            for i in range(problems)
        ]
        requests = [
            Request(
                tuple(encode(p.prompt)), hash_fields(Domain.HELD_OUT, f"{name} {i} {r}".encode())
            )
            for i, p in enumerate(asked)
            for r in range(size)
        ]
        drafter = OwnDrafter(make_twin(self.model, "sdpa"), self.drawable, self.rules)
        drawn = iter(drafter.draft(requests))
        return [(p, [list(c) for c in itertools.islice(drawn, size)]) for p in asked]

    def reward(self, problem: Any, completion: list[int]) -> int:
        """Millionths: whether it is right."""
        text = "".join(ALPHABET[i - 2] for i in completion if i >= 2)
        return int(self.environment.score(problem, text).correctness)

    def make_groups(self, name: str) -> list[Group]:
        """Groups to learn from, with log-probabilities by the ramped model."""
        made = []
        for problem, completions in self.draw(name, PROBLEMS, GROUP):
            prompt = encode(problem.prompt)
            logits = read_logits(make_packing_twin(self.model), [prompt] * GROUP, completions)
            logprobs = [
                row.masked_fill(~torch.from_numpy(self.drawable), -torch.inf)
                .log_softmax(-1)
                .gather(1, torch.tensor(completion)[:, None])[:, 0]
                .tolist()
                for row, completion in zip(logits, completions, strict=True)
            ]
            rewards = [self.reward(problem, completion) for completion in completions]
            made.append(Group(prompt, completions, rewards, logprobs))
        return made

    def judge(self) -> Course:
        """Success, loss and load at present."""
        drawn = self.draw("held out", HELD_OUT, 1)
        solved = [
            self.reward(problem, completions[0]) == 1_000_000 for problem, completions in drawn
        ]
        prompts, solutions = zip(*itertools.islice(make_examples(), HELD_OUT), strict=True)
        twin = make_packing_twin(self.model)
        with record_logits(twin) as routed:
            logits = read_logits(twin, prompts, solutions)
        targets = torch.tensor([token for solution in solutions for token in solution])
        chosen = [layer.topk(CHOSEN).indices.flatten() for layer in routed]
        loads = [
            float(torch.bincount(c, minlength=EXPERTS).max()) * EXPERTS / len(c) for c in chosen
        ]
        return Course(
            success=sum(solved) / len(solved),
            loss=float(cross_entropy(torch.cat(logits), targets)),
            load=statistics.mean(loads),
        )

    def learn(self, salt: str) -> Course:
        """Learn STEPS steps from the model's own completions, of problems by a salt."""
        trained = copy.deepcopy(self.model).requires_grad_(True)
        learner = Learner(trained, LearnConfig(excluded=(PAD,)))
        for step in range(STEPS):
            learner.learn(self.make_groups(f"{salt} {step}"))
            weights = {n: w.float() for n, w in learner.bf16_state().items()}
            self.model.load_state_dict(stack_experts("qwen3_moe", weights))
        return self.judge()


def make_examples() -> Any:
    """Endless written solutions that no training has seen."""
    return write_examples(
        make_environment("arithmetic", {}), PretrainConfig(levels=LEVELS, seed=1_000)
    )


def read_logits(model: Any, prompts: Any, completions: Any) -> list[torch.Tensor]:
    """The logits that drew each completion's tokens, float32 [T, V] each."""
    states: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for chosen, parts in read(model, prompts, completions):
            states |= zip(chosen, parts, strict=True)
        return [model.lm_head(states[i]) for i in range(len(completions))]


def compare_readings(model: Any) -> list[Figure]:
    """The distance of an engine's choice from the ramp, for ramps by the routers' spread."""
    prompts, solutions = zip(*itertools.islice(make_examples(), HELD_OUT), strict=True)
    read_by = partial(read_logits, prompts=prompts, completions=solutions)
    bench = Bench(model, STEEP)
    own = torch.cat(read_by(make_packing_twin(bench.model))).double()
    rounded = copy.deepcopy(model).bfloat16().float()
    rounded.router_ramp = STEEP
    draft = torch.cat(read_by(make_packing_twin(rounded))).double()
    figures = []
    for share in (128, 64, 32, 16):
        bench.model.router_ramp = (1 << 20) // share
        twin = make_packing_twin(bench.model)
        with count_experts(twin) as count:
            ramped = torch.cat(read_by(twin)).double()
        gap = (own.log_softmax(-1) - ramped.log_softmax(-1)) * own.softmax(-1)
        wrong = compute_survival(draft, ramped, torch.zeros(1, dtype=torch.float64), 1.0)
        figures += [
            Figure(f"KL(choice, ramp of 1/{share})", float(gap.sum(-1).mean()), "nats a token"),
            Figure(f"wrong draft tokens, 1/{share}", 100 * float(wrong.mean()), "%"),
            Figure(f"experts a token, 1/{share}", count.needed / 1024, ""),
        ]
    return figures


def compare_courses(before: Course, courses: Sequence[tuple[Course, ...]]) -> Iterator[Figure]:
    """What the courses end with, and their means. Each is two: by ramps, and by choices."""
    for name, unit in (("success", "share"), ("loss", "nats a token"), ("load", "times")):
        yield Figure(f"{name} before", getattr(before, name), unit)
        pairs = [tuple(getattr(course, name) for course in pair) for pair in courses]
        for number, (one, other) in enumerate(pairs, 1):
            said = f"{name} after {STEPS} steps, course {number}, ramped"
            yield Figure(said, one, unit, "choice", other)
        one, other = (statistics.mean(values) for values in zip(*pairs, strict=True))
        yield Figure(f"{name}, mean of the courses, ramped", one, unit, "choice", other)


def main() -> None:
    torch.set_num_threads(1)
    model = make_mixture()
    figures = compare_readings(model)
    before = Bench(model, 1 << 15).judge()
    courses = []
    for salt in SALTS:
        courses.append(tuple(Bench(model, ramp).learn(salt) for ramp in (1 << 15, STEEP)))
        print(f"{len(courses)} of {len(SALTS)} courses: {courses[-1]}", file=sys.stderr, flush=True)
    figures += compare_courses(before, courses)
    report("Mixtures", figures, 1)


if __name__ == "__main__":
    main()
