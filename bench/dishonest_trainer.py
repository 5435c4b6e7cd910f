"""One dishonest trainer of three: what the merged model solves, compared with the two honest ones
alone; and what the merge's rule costs where all three are honest.

Three trainers take a third of each step's groups, as in `outer_success.py`, whose courses these
are. Where one lies, its child is replaced by another before the merge:

    noise       random values, as long as norm_bound allows
    back        the way back from where the two others lead, a hundred times as long
    against     what it learns from rewards turned round: right answers are wrong ones
    idle        almost nothing
    half        half of what it learned, and half of "against": it agrees with the others in part

No rule can tell the last one from an honest child, so it has no bound. The merge measures how far
children agree: the cosines of two children's differences are printed, because a lie is told apart
only where honest children agree more than it does with them. The rule is compared with the plain
mean of the same children, which `norm_bound` alone protects. Success is measured after
the last round, on the same problems for all, with one try on each. Finished courses in --out are
not repeated. `--fast`: one seed, one round.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from tempfile import mkdtemp

import torch
from figures import FAST, OUT, Figure, report
from outer_bytes import get_masters
from outer_success import SPARSE, Arm, Course

from assay.network.files import write_json
from assay.rounds.outer_step import Masters
from assay.rounds.wire import DifferenceForm
from assay.training import Group, LearnConfig, Learner, name_masters

SEEDS, ROUNDS = (1, 1) if FAST else (2, 4)
TRAINERS, LIAR = 3, 2
#: Most points that the rule may cost three honest trainers, and that a liar may cost two.
HONEST_MOST, LIE_MOST = 1.0, 2.0
Lie = Callable[[Masters, Sequence[Masters], Masters], Masters]


def measure(way: Masters) -> float:
    """Euclidean length."""
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in way.values()))


def lead(before: Masters, way: Masters, length: float) -> Masters:
    """Masters at this distance in a direction."""
    scale = length / measure(way)
    return {name: before[name] + tensor * scale for name, tensor in way.items()}


def compare(one: Masters, other: Masters) -> float:
    """Cosine of two differences."""
    shared = sum(float((way.double() * other[name].double()).sum()) for name, way in one.items())
    return shared / (measure(one) * measure(other))


def subtract(one: Masters, other: Masters) -> Masters:
    return {name: tensor - other[name] for name, tensor in one.items()}


def make_noise(before: Masters) -> Masters:
    random = torch.Generator().manual_seed(1)
    return {name: torch.randn(t.shape, generator=random) for name, t in before.items()}


def go_back(before: Masters, children: Sequence[Masters], against: Masters) -> Masters:
    ways = [subtract(before, child) for child in children[:LIAR]]
    mean = {name: sum(way[name] for way in ways) / len(ways) for name in before}
    return lead(before, mean, 100 * measure(mean))


def mix(before: Masters, children: Sequence[Masters], against: Masters) -> Masters:
    honest, bad = (subtract(one, before) for one in (children[LIAR], against))
    lengths = measure(honest), measure(bad)
    way = {name: honest[name] / lengths[0] + bad[name] / lengths[1] for name in before}
    return lead(before, way, lengths[0])


LIES: dict[str, Lie] = {
    "noise": lambda before, children, against: lead(before, make_noise(before), 99.0),
    "back": go_back,
    "against": lambda before, children, against: against,
    "idle": lambda before, children, against: lead(before, make_noise(before), 1e-6),
    "half": mix,
}


class Rivals(Course):
    """Three trainers under one seed.

    Args:
        kind: "rule" or "mean": three honest trainers, and how they are merged; "two": the third
            one's child is missing; else a lie.
    """

    steps, groups, problems = (2, 6, 200) if FAST else (4, 12, 3_000)

    def __init__(self, form: DifferenceForm, seed: int, kind: str) -> None:
        super().__init__(Arm(kind, TRAINERS, form), seed)
        self.kind = kind
        self.cosines: dict[str, list[float]] = {"honest": [], "lie": []}
        self._against = Learner(self._checkpoint.load_trainable(), LearnConfig(seed=seed))

    def learn(self, place: int, groups: list[Group]) -> None:
        super().learn(place, groups)
        if place == LIAR and self.kind in ("against", "half"):
            turned = [replace(one, rewards=[10**6 - r for r in one.rewards]) for one in groups]
            self._against.learn(turned)

    def choose_children(self, before: Masters, children: list[Masters]) -> list[Masters]:
        if self.kind == "mean":  # as one child, whose factor is 1
            return [{n: sum(c[n] for c in children) / len(children) for n in before}]
        ways = [subtract(child, before) for child in children]
        self.cosines["honest"].append(compare(*ways[:LIAR]))
        if self.kind == "rule":
            return children
        honest = children[:LIAR]
        if self.kind == "two":
            return honest
        lie = LIES[self.kind](before, children, get_masters(self._against))
        away = subtract(lie, before)
        self.cosines["lie"].append(max(compare(away, way) for way in ways[:LIAR]))
        return [*honest, lie]

    def _merge(self, form: DifferenceForm) -> None:
        super()._merge(form)
        parent = name_masters(self._outer.masters)
        self._against.import_state(dict(self._against.export_state()) | parent)


FORMS = {"exact": DifferenceForm(), "sparse": SPARSE}
KINDS = ("rule", "mean", "two", *LIES)
#: A lie's own child is exact: a sparse one would have to be encoded, and is not stronger for it.
ARMS = [("exact", kind) for kind in KINDS]
ARMS += [("sparse", kind) for kind in ("rule", "mean", "two", "noise")]


@dataclass(frozen=True)
class Ran:
    """Percent of held-out problems solved at the end; and cosines, one a round: of the two honest
    children, and the larger one of a lie with either."""

    solved: float
    honest: list[float]
    lie: list[float]


def run(form: str, kind: str, seed: int, out: Path) -> Ran:
    done = out / f"{form}-{kind}.{seed}.json"
    if not done.exists():
        course = Rivals(FORMS[form], seed, kind)
        for _ in range(ROUNDS):
            course.take_round()
        write_json(done, {"solved": course.try_held_out()} | course.cosines)
    ran = Ran(**json.loads(done.read_text()))
    print(f"  {form}, {kind}, seed {seed}: solves {ran.solved:.2f} %", flush=True)
    return ran


def main() -> None:
    torch.set_num_threads(1)
    out = OUT or Path(mkdtemp(prefix="assay-"))
    out.mkdir(parents=True, exist_ok=True)
    ran = {arm: [run(*arm, seed, out) for seed in range(SEEDS)] for arm in dict.fromkeys(ARMS)}
    solved = {arm: fmean(one.solved for one in runs) for arm, runs in ran.items()}
    figures = []
    for form in FORMS:
        honest = [
            c for (f, _), runs in ran.items() if f == form for one in runs for c in one.honest
        ]
        figures.append(Figure(f"{form}: least cosine of two honest children", min(honest), ""))
    for (form, kind), percent in solved.items():
        name = {
            "rule": "three honest trainers",
            "mean": "three honest trainers, plain mean",
            "two": "two honest trainers",
        }.get(kind, f"two honest trainers and {kind}")
        figures.append(Figure(f"{form}: {name}: success", percent, "%"))
        against, most = ("mean", HONEST_MOST) if kind == "rule" else ("two", LIE_MOST)
        if kind not in ("mean", "two"):
            lost = solved[form, against] - percent
            bound = None if kind == "half" else most
            figures.append(Figure(f"{form}: {name}: points lost", lost, "points", bound=bound))
        if kind in LIES:
            largest = max(c for one in ran[form, kind] for c in one.lie)
            figures.append(Figure(f"{form}: largest cosine of {kind} with either", largest, ""))
    seeds = "one seed" if SEEDS == 1 else f"{SEEDS} seeds"
    title = (
        f"One dishonest trainer of three: {ROUNDS} rounds of {Rivals.steps} steps of "
        f"{Rivals.groups} groups, {seeds}, {Rivals.problems:,} problems"
    )
    report(title, figures, threads=1)


if __name__ == "__main__":
    main()
