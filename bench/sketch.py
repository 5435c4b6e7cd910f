"""The sketch of 1,024 tokens at hidden size 1,536 on one thread, compared with toploc and the
public subnet's sketch; and the forged sketches that each of the three accepts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from figures import Figure, measure_together, report
from others import PublicSketch, build_toploc, check_toploc, is_toploc_accepted, load_toploc
from torch import Tensor
from work import load_genesis, make_any_projection, make_requests

from assay.inference.draft import Request
from assay.inference.passages import Passage
from assay.inference.reference import SketchBuilder
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.subnet.presets import DEMO_WORK
from assay.verification import Projection
from assay.verification.sketch import judge_sketch

TOKENS, HIDDEN = 1_024, 1_536
#: Tokens and number of the forged rollouts, which have different prompts.
FORGED_TOKENS, FORGED = 64, 200


def main() -> None:
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    toploc = load_toploc()
    with torch.inference_mode():
        figures = measure_speed(generator, toploc) + measure_forgeries(generator, toploc)
    report(f"sketch of {TOKENS} tokens × H = {HIDDEN}; what is accepted", figures, 1)


def measure_speed(generator: np.random.Generator, toploc: ModuleType | None) -> list[Figure]:
    """Times of building and checking, with all three in turn."""
    matrix = generator.choice([-1.0, 1.0], (HIDDEN, 2)).astype(np.float32)
    centre = generator.normal(size=HIDDEN).astype(np.float32)
    builder = SketchBuilder(Projection(matrix, centre, 40.0))
    states = torch.randn(TOKENS, HIDDEN)
    claimed = builder.build(states).numpy()
    public = PublicSketch.draw(generator)
    sketches = public.build(states)
    positions = torch.from_numpy(generator.permutation(TOKENS)[: PublicSketch.POSITIONS])
    runs: dict[str, Callable[[], object]] = {
        "ours build": lambda: builder.build(states),
        "ours check": lambda: judge_sketch(
            claimed, builder.build(states).numpy(), SMALL_MODEL_TESTS
        ),
        "public subnet's build": lambda: public.build(states),
        "public subnet's check": lambda: public.check(states, *sketches, positions),
    }
    if toploc is not None:
        narrow = states.bfloat16()
        proofs = build_toploc(toploc, narrow)
        runs |= {
            "toploc build": lambda: build_toploc(toploc, narrow),
            "toploc check": lambda: check_toploc(toploc, narrow, proofs),
            "toploc check in Python": lambda: check_toploc(toploc, list(narrow), proofs),
        }
    times = dict(zip(runs, measure_together(list(runs.values()), 31), strict=True))
    bounds = {"build": 1.0, "check": 0.7}
    return [
        Figure(what, times[f"ours {what}"] * 1e3, "ms", other, taken * 1e3, bound=bounds[what])
        for what in bounds
        for other, taken in times.items()
        if what in other and not other.startswith("ours")
    ]


@dataclass(frozen=True)
class Rollouts:
    """Honest states of the demo's model: [T, H] for each rollout, with different prompts."""

    states: Sequence[Tensor]
    projection: Projection


def measure_forgeries(generator: np.random.Generator, toploc: ModuleType | None) -> list[Figure]:
    """Share of forged sketches that each test lets through, on states of the demo's model."""
    rollouts = make_rollouts()
    accepted = {
        "ours": accept_ours(rollouts, generator),
        "the public subnet's": accept_public(rollouts, generator),
    }
    if toploc is not None:
        accepted["toploc"] = accept_toploc(rollouts, generator, toploc)
    figures = []
    for forgery, ours in accepted["ours"].items():
        for other in list(accepted)[1:]:
            honest = forgery == "honest"
            figures.append(
                Figure(
                    f"accepted by Assay: {forgery}",
                    100 * ours,
                    "%",
                    other,
                    100 * accepted[other][forgery],
                    bound=None if honest else 0,
                )
            )
    return figures


def make_rollouts() -> Rollouts:
    checkpoint = load_genesis()
    temperature = DEMO_WORK.temperature
    requests = make_requests(checkpoint, FORGED, 1)
    drafter = checkpoint.get_drafter(temperature)
    drafts = drafter.draft([Request(g.prompt, g.seeds[0]) for g in requests])
    # drafts end early: repeat them up to the length, as teacher-forced tokens
    passages = [
        Passage(g.prompt, tuple((list(row) * FORGED_TOKENS)[:FORGED_TOKENS]))
        for g, row in zip(requests, drafts, strict=True)
    ]
    states = checkpoint.get_reference(temperature).compute_states(passages)
    return Rollouts(states, make_any_projection(checkpoint))


def accept_ours(rollouts: Rollouts, generator: np.random.Generator) -> dict[str, float]:
    builder = SketchBuilder(rollouts.projection)
    honest = [builder.build(states).numpy() for states in rollouts.states]
    shape = honest[0].shape
    constant = np.round(np.median(np.concatenate(honest), axis=0)).astype(np.int8)
    forgeries: dict[str, Callable[[int], np.ndarray]] = {
        "honest": lambda i: honest[i],
        "constant zero": lambda i: np.zeros(shape, np.int8),
        "constant, the median of honest ones": lambda i: np.broadcast_to(constant, shape),
        "random, of the honest range": lambda i: generator.integers(-127, 128, shape).astype(
            np.int8
        ),
        "copied from another prompt": lambda i: honest[i - 1],
    }
    return {
        name: np.mean(
            [
                judge_sketch(forge(i), measured, SMALL_MODEL_TESTS).token is None
                for i, measured in enumerate(honest)
            ]
        ).item()
        for name, forge in forgeries.items()
    }


def accept_public(rollouts: Rollouts, generator: np.random.Generator) -> dict[str, float]:
    public = PublicSketch.draw(generator)
    honest = [public.build(states) for states in rollouts.states]
    every = torch.cat([sketches for sketches, _ in honest])
    any_indices = torch.arange(PublicSketch.VALUES).repeat(FORGED_TOKENS, 1)
    forgeries: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {
        "honest": lambda i: honest[i],
        "constant zero": lambda i: (torch.zeros(FORGED_TOKENS).long(), any_indices),
        "constant, the median of honest ones": lambda i: (
            every.median().repeat(FORGED_TOKENS),
            any_indices,
        ),
        "random, of the honest range": lambda i: (
            every[torch.from_numpy(generator.integers(0, len(every), FORGED_TOKENS))],
            any_indices,
        ),
        "copied from another prompt": lambda i: honest[i - 1],
    }
    count = PublicSketch.POSITIONS

    def is_accepted(forged: tuple[Tensor, Tensor], states: Tensor) -> bool:
        positions = torch.from_numpy(generator.permutation(FORGED_TOKENS)[:count])
        return public.check(states, *forged, positions)

    return {
        name: np.mean([is_accepted(forge(i), s) for i, s in enumerate(rollouts.states)]).item()
        for name, forge in forgeries.items()
    }


def accept_toploc(
    rollouts: Rollouts, generator: np.random.Generator, toploc: ModuleType
) -> dict[str, float]:
    honest = [states.bfloat16() for states in rollouts.states]
    middle = torch.cat(honest).float().median(dim=0).values.bfloat16()
    forgeries: dict[str, Callable[[int], Tensor]] = {
        "honest": lambda i: honest[i],
        "constant zero": lambda i: torch.zeros_like(honest[i]),
        "constant, the median of honest ones": lambda i: middle.expand_as(honest[i]).contiguous(),
        "random, of the honest range": lambda i: torch.from_numpy(
            generator.normal(0, float(honest[i].float().std()), honest[i].shape)
        ).bfloat16(),
        "copied from another prompt": lambda i: honest[i - 1],
    }
    return {
        name: np.mean(
            [
                is_toploc_accepted(check_toploc(toploc, s, build_toploc(toploc, forge(i))))
                for i, s in enumerate(honest)
            ]
        ).item()
        for name, forge in forgeries.items()
    }


if __name__ == "__main__":
    main()
