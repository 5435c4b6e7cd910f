"""Honest rollouts of eight families, two mixtures and a hybrid among them: made by one
implementation of the reference from drafts in bf16, and judged by two others, with a GPU on it. And
rollouts of cheaper models, which the judge has to refuse.

The models are random, of four layers, each with rates of its own. What is done is kept in `--out`,
so that a run that was stopped goes on; `--only KIND` runs one family.
"""

import copy
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import FAST, ONLY, OUT, Figure, report

from assay.inference.calibration import measure_centre, measure_rates
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.generate import GroupRequest, follow_groups
from assay.inference.implementations import (
    APPEAL_IMPLEMENTATION,
    DEFAULT_IMPLEMENTATION,
    PlainReference,
    make_alone,
    make_packing_twin,
)
from assay.inference.implementations import make_model as make_implementation
from assay.inference.passages import Passage
from assay.inference.reference import Reference
from assay.inference.routing import choose_fewer, has_routers
from assay.lab.gauntlet.strategy import make_int8
from assay.network.files import write_json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import CENTRE_BITS, SMALL_MODEL_TESTS
from assay.protocol.submission import Rollout
from assay.verification import Projection
from assay.verification.logprobs import judge_logprobs
from assay.verification.sampling import judge_sampling
from assay.verification.sketch import judge_sketch

sys.path.append(str(Path(__file__).parents[1]))
from tests.inference.family_models import CHOSEN, RAMP, make_config, make_model

ALL = (
    *("llama", "qwen3", "mistral", "gemma3_text", "phi3"),
    *("qwen3_moe", "gpt_oss", "qwen3_5_text"),
)
FAMILIES = tuple(kind for kind in ALL if ONLY is None or kind in ONLY)
if FAST:
    FAMILIES = FAMILIES[-1:]
#: Of a layer's types, where a family has several; the models of the tests have half as many.
LAYERS, HIDDEN, INNER, HEADS, KEY_HEADS, WIDTH, VOCABULARY = 4, 128, 192, 8, 4, 16, 512
END, PROMPT, TOKENS, TEMPERATURE = 1, 20, 48, 1_024
ROLLOUTS, GROUPS = 8, 5
#: Of `GROUPS · ROLLOUTS` rollouts each: honest ones, and a cheat's.
PARTS, CHEAT_PARTS, PASSAGES = (1, 1, 8) if FAST else (50, 2, 64)
#: Where the judges are. On a GPU they are slow for models as small as these: fewer parts.
JUDGED_ON = "cuda:0" if torch.cuda.is_available() else "cpu"
if torch.cuda.is_available():
    PARTS = min(PARTS, 5)
THREADS, TESTS = 1, SMALL_MODEL_TESTS
Counts = dict[str, int]


@dataclass(frozen=True)
class Subject:
    """A family's model, and what a network of it would have calibrated."""

    kind: str
    model: Any
    calibration: Calibration
    projection: Projection

    @staticmethod
    def make(kind: str) -> "Subject":
        model = make_wider(kind)
        one, other = (
            Reference(make_implementation(model, name), DRAWABLE, TEMPERATURE)
            for name in (DEFAULT_IMPLEMENTATION, APPEAL_IMPLEMENTATION)
        )
        requests = [
            Request(group.prompt, group.seeds[0])
            for part in range(-(-PASSAGES // GROUPS))
            for group in make_requests(f"{kind} calibration", part)
        ]
        completions = OwnDrafter(model, DRAWABLE, RULES).draft(requests)
        passages = [Passage(r.prompt, c) for r, c in zip(requests, completions, strict=True)]
        calibration = measure_rates(one, other, passages, TESTS.margin_levels, TEMPERATURE)
        centre, scale = measure_centre(one, passages)
        matrix = np.random.default_rng(0).choice([-1.0, 1.0], (len(centre), 2))
        unit = 1 << CENTRE_BITS
        projection = Projection(
            matrix.astype(np.float32), (np.array(centre) / unit).astype(np.float32), scale / unit
        )
        return Subject(kind, model, calibration, projection)

    def get_judged(self) -> Any:
        """The model where the judges are."""
        return self.model if JUDGED_ON == "cpu" else copy.deepcopy(self.model).to(JUDGED_ON)

    def make_rollouts(
        self, part: int, cheap: Any = None
    ) -> Iterator[tuple[GroupRequest, list[Rollout]]]:
        """A part's groups: the reference's own, or those of a cheaper model."""
        requests = make_requests(self.kind, part)
        drafted = copy.deepcopy(self.model).bfloat16()
        reference = Reference(
            make_packing_twin(self.model) if cheap is None else cheap, DRAWABLE, TEMPERATURE
        )
        drafter = OwnDrafter(drafted, DRAWABLE, RULES)
        groups = follow_groups(requests, drafter, reference, RULES, self.projection)
        return zip(requests, groups, strict=True)

    def judge(self, judge: Reference, request: GroupRequest, group: list[Rollout]) -> Counts:
        """The sums over a group's rollouts, and its largest margin."""
        tokens = [rollout.tokens for rollout in group]
        found = judge.measure([request.prompt] * len(group), tokens, request.seeds, self.projection)
        counts = {"flips": 0, "beyond the cap": 0, "refused": 0, "largest": 0}
        for rollout, m in zip(group, found, strict=True):
            sampling = judge_sampling(m.margins, m.gini, self.calibration, TESTS, TEMPERATURE)
            every = range(len(rollout.tokens))
            results = (
                judge_sketch(rollout.sketch, m.sketch, TESTS),
                judge_logprobs(rollout.logprobs, m.logprobs, every, TESTS),
                sampling,
            )
            counts["flips"] += int((m.margins > 0).sum())
            counts["beyond the cap"] += sampling.margin_max > TESTS.margin_cap
            counts["refused"] += any(result.token is not None for result in results)
            counts["largest"] = max(counts["largest"], sampling.margin_max)
        return counts

    def list_cheats(self) -> Mapping[str, Callable[[], Any]]:
        """What a miner could run in the model's place."""
        int8 = {"int8": lambda: make_alone(make_int8(self.model))}
        if not has_routers(self.model):
            return int8
        return int8 | {
            "its family's routers": lambda: self.model,
            "one expert fewer": self._make_fewer,
            "half the ramp": self._make_steeper,
        }

    def _make_fewer(self) -> Any:
        twin = make_packing_twin(self.model)
        choose_fewer(twin, lambda chosen: chosen - 1)
        return twin

    def _make_steeper(self) -> Any:
        steep = copy.deepcopy(self.model)
        steep.router_ramp = RAMP // 2
        return make_packing_twin(steep)


DRAWABLE = np.ones(VOCABULARY, bool)
RULES = Rules(TEMPERATURE, (END,), TOKENS)


def make_wider(kind: str) -> Any:
    """The tests' model of a family, wider and of twice as many layers."""
    types = getattr(make_config(kind), "layer_types", None)
    more = {} if types is None else {"layer_types": list(types[:2]) * (LAYERS // 2)}
    config = make_config(
        kind,
        num_hidden_layers=LAYERS,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        head_dim=WIDTH,
        vocab_size=VOCABULARY,
        **more,
    )
    return make_model(config)


def make_alone_model(model: Any) -> Any:
    return make_alone(model)


def make_requests(salt: str, part: int) -> list[GroupRequest]:
    """Prompts of random tokens, each with seeds of its own."""
    requests = []
    for group in range(GROUPS):
        seed = hash_fields(Domain.PROBLEM, f"families {salt} {part} {group}".encode())
        random = np.random.default_rng(list(seed))
        prompt = tuple(random.integers(2, VOCABULARY, PROMPT).tolist())
        seeds = tuple(hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(ROLLOUTS))
        requests.append(GroupRequest(prompt, seeds))
    return requests


def run_part(subject: Subject, part: int, cheap: Any = None) -> Counts:
    """What both judges say of a part. A cheat has the second one alone."""
    model = subject.get_judged()
    judges: dict[str, Reference] = {
        "fp32-eager": PlainReference(
            make_implementation(model, "fp32-eager"), DRAWABLE, TEMPERATURE
        )
    }
    if cheap is None:
        judges["split3"] = Reference(make_implementation(model, "split3"), DRAWABLE, TEMPERATURE)
    counts = {"rollouts": 0, "tokens": 0}
    for request, group in subject.make_rollouts(part, cheap):
        counts["rollouts"] += len(group)
        counts["tokens"] += sum(len(rollout.tokens) for rollout in group)
        for name, judge in judges.items():
            for what, count in subject.judge(judge, request, group).items():
                _add(counts, f"{name}: {what}", count)
    return counts


def _add(counts: Counts, name: str, count: int) -> None:
    before = counts.get(name, 0)
    counts[name] = max(before, count) if name.endswith("largest") else before + count


def run_family(kind: str, folder: Path | None) -> dict[str, Counts]:
    """Its honest rollouts' counts, under "honest", and those of each cheat."""
    path = None if folder is None else folder / f"{kind}.json"
    kept: dict[str, Counts] = {}
    if path is not None and path.exists():
        kept = json.loads(path.read_text())
    subject = Subject.make(kind)
    sums: dict[str, Counts] = {}
    works: list[tuple[str, int, Callable[[], Any]]] = [("honest", PARTS, lambda: None)]
    works += [(name, CHEAT_PARTS, make) for name, make in subject.list_cheats().items()]
    for name, parts, make in works:
        cheap = make()
        counts = sums[name] = {}
        for part in range(parts):
            key = f"{name} {part}"
            if key not in kept:
                kept[key] = run_part(subject, part, cheap)
                if path is not None:
                    write_json(path, kept)
            for what, count in kept[key].items():
                _add(counts, what, count)
            print(f"{kind}: {name}, part {part + 1} of {parts}", file=sys.stderr, flush=True)
    return sums


def describe(kind: str, sums: dict[str, Counts]) -> Iterator[Figure]:
    """The figures of a family."""
    honest = sums.pop("honest")
    rollouts = f"of {honest['rollouts']:,} honest rollouts, {honest['tokens']:,} tokens"
    for judge in ("split3", "fp32-eager"):
        refused, flips = honest[f"{judge}: refused"], honest[f"{judge}: flips"]
        over, largest = honest[f"{judge}: beyond the cap"], honest[f"{judge}: largest"]
        said = f"{kind}: refused by {judge}, {rollouts}"
        yield Figure(f"{said}; {flips} flips", refused, "rollouts", bound=0)
        yield Figure(f"{kind}: margins beyond the cap, by {judge}", over, "rollouts", bound=0)
        yield Figure(f"{kind}: largest margin, by {judge}", largest / 2**20, "logits")
    for name, counts in sums.items():
        share = 100 * counts["fp32-eager: refused"] / counts["rollouts"]
        yield Figure(f"{kind}: {name}, refused of {counts['rollouts']} rollouts", share, "%")


def main() -> None:
    torch.set_num_threads(THREADS)
    assert CHOSEN > 1, "a cheat computes one expert fewer"
    if OUT is not None:
        OUT.mkdir(parents=True, exist_ok=True)
    figures = [figure for kind in FAMILIES for figure in describe(kind, run_family(kind, OUT))]
    where = "" if JUDGED_ON == "cpu" else f", made on the CPU and judged on {JUDGED_ON}"
    report(f"honest rollouts of eight families, and cheaper models'{where}", figures, THREADS)


if __name__ == "__main__":
    main()
