"""Honest miners are not refused: ≥ 2,000 rollouts drafted in fp32 and as many in bf16, over decode
batches, padding and attention implementations, with one seed each; and the cost of drafting.

Every group is submitted as a miner would submit it, and judged by a validator whose reference uses
the *other* attention implementation, so that honest noise is real noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from time import perf_counter

import torch
from figures import Figure, report
from work import judge_groups, load_genesis, make_any_projection, make_requests

from assay.inference.checkpoint import Checkpoint
from assay.inference.draft import OwnDrafter, Request
from assay.inference.generate import DraftCount, GroupRequest, generate_groups
from assay.inference.implementations import make_twin
from assay.protocol.submission import Rollout
from assay.subnet.presets import DEMO_WORK

THREADS, ROLLOUTS, GROUPS = 2, 8, 22
OTHER = {"sdpa": "eager", "eager": "sdpa"}


@dataclass(frozen=True)
class Case:
    dtype: torch.dtype
    attention: str
    batch: int
    padded: bool

    @property
    def name(self) -> str:
        precision = str(self.dtype).removeprefix("torch.")
        padding = "left padding" if self.padded else "no padding"
        return f"{precision}, {self.attention}, decode batch {self.batch}, {padding}"


def iterate_batches(requests: list[GroupRequest], padded: bool) -> Iterator[list[GroupRequest]]:
    """Batches: all groups together, with prompts of several lengths, or those of one length
    together."""
    if padded:
        yield requests
        return
    for length in sorted({len(request.prompt) for request in requests}):
        yield [request for request in requests if len(request.prompt) == length]


def main() -> None:
    torch.set_num_threads(THREADS)
    checkpoint = load_genesis()
    figures: list[Figure] = []
    refused = {torch.float32: 0, torch.bfloat16: 0}
    rollouts = dict(refused)
    distinct: dict[torch.dtype, set[bytes]] = {dtype: set() for dtype in refused}
    cases = product((torch.float32, torch.bfloat16), OTHER, (1, 8, 32), (False, True))
    for case in (Case(*fields) for fields in cases):
        requests = make_requests(checkpoint, GROUPS, ROLLOUTS, case.name.encode())
        count, seconds, plain, groups = _generate(case, checkpoint, requests)
        judge = checkpoint.get_reference(DEMO_WORK.temperature, f"fp32-{OTHER[case.attention]}")
        refused[case.dtype] += sum(
            judged.is_refused
            for judged in judge_groups(judge, checkpoint, *zip(*groups, strict=True))
        )
        for request, group in groups:  # repeated problems would be repeated evidence
            distinct[case.dtype] |= set(request.seeds)
            rollouts[case.dtype] += len(group)
        share = 100 * (1 - count.discarded / count.drafted)
        figures.append(
            Figure(
                f"{case.name}: {share:.2f} % of the draft kept",
                seconds / count.submitted * 1e6,
                "µs/token",
                "plain decoding",
                plain / count.submitted * 1e6,
            )
        )
    for dtype, wrong in refused.items():
        assert len(distinct[dtype]) == rollouts[dtype]
        drafted = str(dtype).removeprefix("torch.")
        name = f"refused of {rollouts[dtype]:,} honest rollouts drafted in {drafted}"
        figures.append(Figure(name, wrong, "rollouts", bound=0))
    report("honest rollouts: refusals, drafts kept, cost of draft and verify", figures, THREADS)


def _generate(
    case: Case, checkpoint: Checkpoint, requests: list[GroupRequest]
) -> tuple[DraftCount, float, float, list[tuple[GroupRequest, list[Rollout]]]]:
    """Groups by draft and verify, with the seconds for them and for plain decoding alone."""
    temperature = DEMO_WORK.temperature
    rules = checkpoint.get_rules(temperature)
    model = make_twin(checkpoint.load_trainable().requires_grad_(False), case.attention)
    model = model.to(case.dtype)
    drafter = OwnDrafter(model, checkpoint.tokenizer.drawable, rules, case.batch)
    reference = checkpoint.get_reference(temperature, f"fp32-{case.attention}")
    projection = make_any_projection(checkpoint)
    count, seconds, plain = DraftCount(), 0.0, 0.0
    groups: list[tuple[GroupRequest, list[Rollout]]] = []
    for batch in iterate_batches(requests, case.padded):
        rows = [Request(g.prompt, seed) for g in batch for seed in g.seeds]
        started = perf_counter()
        drafter.draft(rows)
        plain += perf_counter() - started
        started = perf_counter()
        made = generate_groups(batch, drafter, reference, rules, projection, count)
        seconds += perf_counter() - started
        groups += zip(batch, made, strict=True)
    return count, seconds, plain, groups


if __name__ == "__main__":
    main()
