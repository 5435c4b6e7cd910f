"""An audit in two readings, as a study: some rollouts read by split3 and judged as today, others by
bf16 against bounds far beyond its noise, beside the same time spent on fewer rollouts by split3.

What each reading finds of honest rollouts and of cheats' is measured with the shipped model; what a
bf16 reading takes was measured on an H100 (`bench/card_shapes.py`). The rest is the closed form of
what cheating earns (`tests/lab/gauntlet/incentives.py`), for every share of a window's rollouts
that is faked, in every number of a settlement's windows, shown or withheld: the least time of an
audit by which nothing of that pays.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, report
from work import judge_groups, load_genesis, make_any_projection, make_requests

from assay.inference.draft import OwnDrafter
from assay.inference.generate import GroupRequest, follow_groups
from assay.inference.implementations import make_alone, make_model
from assay.inference.reference import Reference
from assay.lab.gauntlet.strategy import make_int4, make_int8
from assay.protocol.submission import LOGPROB_BITS, Rollout
from assay.subnet.presets import DEMO_WORK

sys.path.append(str(Path(__file__).parents[1]))
from tests.lab.gauntlet.incentives import WINDOWS, compute_expected_gain

GROUPS, ROLLOUTS = (2, 4) if FAST else (24, 8)
TEMPERATURE = DEMO_WORK.temperature
#: A bf16 reading's time over one by split3: of an 8B on an H100, and if split3 took 3.3 prefills.
COSTS = {"as measured": 34.1 / 148.1, "at 3.3 prefills": 1 / 3.3}
#: Deviations of an honest rollout's statistics, of their logarithm, that a bf16 bound is away: six
#: leave 1e-9 of a normal distribution. Tails are heavier; a wider bound finds less.
DEVIATIONS = (6, 9)
#: M: margins beyond the largest honest one by bf16, outside of the drawn share.
MARGINS = (1, 2, 4)
#: Cost of a faked rollout, with 1 for a genuine one.
SAVED = (0.001, 0.1, 0.3, 0.6)
#: Of these, what a draft without its correction costs at least, where all of it is read once.
READ = 0.6
#: Shares of a window's rollouts that are faked.
FRACTIONS = (1 / 384, 1 / 96, 1 / 24, 1 / 8, 1 / 4, 1 / 2, 1.0)
READ_MAX = 64
#: Share of a cheat's rollouts from which on bf16 is said to find them.
GROSS = 0.1
_LEAST = 1e-9


@dataclass(frozen=True)
class Found:
    """What both readings find of one rollout.

    Attributes:
        is_refused: by split3, as the judge is. has_bad_tokens: the same by its tokens alone.
        margin: the largest by split3, logits.
        statistics: by bf16: mean and largest margin, logits, and the RMS of claimed
            log-probabilities' errors.
    """

    is_refused: bool
    has_bad_tokens: bool
    margin: float
    statistics: tuple[float, float, float]


@dataclass(frozen=True)
class Detection:
    """Chances that a faked rollout is found by split3, and by bf16 and then split3.

    Attributes:
        least: cost of such a rollout, with 1 for a genuine one. A cheat that claims what the true
            model says has read it by that.
    """

    split: float
    rounded: float
    least: float


def make_groups(model: Any, requests: list[GroupRequest], swap: bool) -> list[list[Rollout]]:
    """Groups as a miner with this model in the reference's place makes them; `swap`: by seeds of
    the next group's rollouts."""
    checkpoint = load_genesis()
    rules = checkpoint.get_rules(TEMPERATURE)
    drawable = checkpoint.tokenizer.drawable
    seeds = [request.seeds for request in requests]
    if swap:
        seeds = seeds[1:] + seeds[:1]
    asked = [GroupRequest(r.prompt, own) for r, own in zip(requests, seeds, strict=True)]
    reference = Reference(model, drawable, TEMPERATURE)
    drafter = OwnDrafter(checkpoint.load_trainable().requires_grad_(False), drawable, rules)
    return follow_groups(asked, drafter, reference, rules, make_any_projection(checkpoint))


def examine(groups: list[list[Rollout]], requests: list[GroupRequest]) -> list[Found]:
    """Every rollout, read by split3 and by bf16."""
    checkpoint = load_genesis()
    model = checkpoint.load_trainable().requires_grad_(False)
    readers = (
        Reference(make_model(model, name), checkpoint.tokenizer.drawable, TEMPERATURE)
        for name in ("split3", "bf16")
    )
    exact, rounded = (list(judge_groups(r, checkpoint, requests, groups)) for r in readers)
    found = []
    for one, other in zip(exact, rounded, strict=True):
        margins = other.measured.margins.clip(0) / 2**20
        errors = (one.rollout.logprobs.astype(float) - other.measured.logprobs) / 2**LOGPROB_BITS
        statistics = (float(margins.mean()), float(margins.max()), _rms(errors))
        margin = float(one.measured.margins.max() / 2**20)
        bad = one.sampling.token is not None
        found.append(Found(one.is_refused, bad, margin, statistics))
    return found


def _rms(values: Any) -> float:
    return float(np.sqrt(np.square(values).mean()))


def list_cheats() -> Mapping[str, tuple[Any, bool]]:
    """What stands in the reference's place, and whether seeds are another's."""
    model = load_genesis().load_trainable().requires_grad_(False)
    return {
        "bf16 without verification": (make_model(model, "bf16"), False),
        "int8 weights": (make_alone(make_int8(model)), False),
        "int4 weights": (make_alone(make_int4(model)), False),
        "another's seeds": (make_alone(model), True),
    }


def compute_bounds(honest: list[Found], deviations: float) -> tuple[float, ...]:
    """What honest rollouts' statistics stay below."""
    logs = np.log(np.array([one.statistics for one in honest]) + 2.0**-20)
    return tuple(np.exp(logs.mean(0) + deviations * logs.std(0)).tolist())


def compute_detection(
    found: list[Found], honest: list[Found], deviations: float, margins: float, *, is_true: bool
) -> Detection:
    """Of a cheat's rollouts; `is_true`: with the true model's claims, so that only tokens are
    looked at."""
    bounds = compute_bounds(honest, deviations)[: 2 if is_true else 3]
    largest = max(one.statistics[1] for one in honest)
    refused = [one.has_bad_tokens if is_true else one.is_refused for one in found]
    seen = [
        any(value > bound for value, bound in zip(one.statistics, bounds, strict=False))
        and is_refused
        and (one.margin > margins * largest)
        for one, is_refused in zip(found, refused, strict=True)
    ]
    return Detection(float(np.mean(refused)), float(np.mean(seen)), READ if is_true else 0.0)


@cache
def gains(cost: float, missed: float) -> bool:
    """Whether some way to fake windows of this cost pays where an audit misses a fake."""
    for cheating, withholds in product(range(1, WINDOWS + 1), (False, True)):
        gain = compute_expected_gain(cheating, cost, 1 - missed, withholds=withholds)
        # one window for nothing, hidden when hit, is a window of rest, and a ticket
        rests = withholds and cheating == 1
        if gain > (missed / (WINDOWS - 1) + _LEAST if rests else _LEAST):
            return True
    return False


def pays(cheats: Mapping[str, Detection], exact: int, rounded: int) -> bool:
    """Whether any cheat pays against an audit of so many rollouts."""
    for found, share, saved in product(cheats.values(), FRACTIONS, SAVED):
        if saved < found.least:
            continue
        missed = (1 - share * found.split) ** exact * (1 - share * found.rounded) ** rounded
        if gains(round(1 - share * (1 - saved), 9), round(missed, 9)):
            return True
    return False


def find_least(cheats: Mapping[str, Detection], cost: float | None) -> tuple[float, int, int]:
    """The least time of an audit by which nothing pays, in readings by split3, and how many of both
    kinds: with split3 alone where a bf16 reading has no cost."""
    best = (math.inf, 0, 0)
    for exact in range(READ_MAX + 1):
        for rounded in range(0, 1 if cost is None else READ_MAX + 1):
            time = exact + (cost or 0.0) * rounded
            if time >= best[0]:
                break
            if not pays(cheats, exact, rounded):
                best = (time, exact, rounded)
    return best


def compare(found: Mapping[str, list[Found]], honest: list[Found]) -> Iterator[Figure]:
    """What is found where bf16 finds most, and the least audits of both kinds."""
    for deviations, margins in product(DEVIATIONS, MARGINS):
        cheats = {
            f"{name}, {claims}": compute_detection(
                rollouts, honest, deviations, margins, is_true=claims != "its claims"
            )
            for name, rollouts in found.items()
            for claims in ("its claims", "true claims")
        }
        where = f"bounds {deviations} deviations away, M {margins} × bf16's largest margin"
        if (deviations, margins) == (DEVIATIONS[0], MARGINS[0]):
            for name, one in cheats.items():
                label = f"{where}: {name}: found by bf16 and then split3"
                yield Figure(label, one.rounded, "share", "by split3", one.split)
            gross = {name: one for name, one in cheats.items() if one.rounded > GROSS}
            yield from compare_least(f"{where}; if only those that bf16 finds were tried", gross)
        yield from compare_least(where, cheats)


def compare_least(where: str, cheats: Mapping[str, Detection]) -> Iterator[Figure]:
    plain, alone, _ = find_least(cheats, None)
    for title, cost in COSTS.items():
        time, exact, rounded = find_least(cheats, cost)
        yield Figure(
            f"{where}; a bf16 reading {title}: least audit by which nothing pays, {exact} rollouts "
            f"by split3 and {rounded} by bf16",
            time,
            "readings by split3",
            f"{alone} by split3 alone",
            plain,
        )


def main() -> None:
    torch.set_num_threads(1)
    checkpoint = load_genesis()
    requests = make_requests(checkpoint, GROUPS, ROLLOUTS, b"two readings")
    model = checkpoint.load_trainable().requires_grad_(False)
    honest = examine(make_groups(make_alone(model), requests, swap=False), requests)
    found = {
        name: examine(make_groups(cheap, requests, swap), requests)
        for name, (cheap, swap) in list_cheats().items()
    }
    figures = [
        Figure(
            f"honest rollouts refused by split3, of {len(honest)}",
            sum(one.is_refused for one in honest),
            "rollouts",
            bound=0,
        ),
        *compare(found, honest),
    ]
    report("an audit in two readings, beside fewer rollouts by split3", figures, 1)


if __name__ == "__main__":
    main()
