"""Two theses compared: gate the step and verify nothing, or verify rollouts and measure
checkpoints on problems that are drawn when nobody can replace them.

    python bench/theses.py --out DIR [--fast]

*Fixed* is the first thesis, rebuilt: anybody uploads a batch, its rewards are taken as given, and
the step stays if z > 1 on 100 secret tasks, that is if its wins less its losses beside its parent
exceed the root of both together. *Drawn* is Assay's gate: `protocol/betting.py`, 256 new problems a
checkpoint, α 5 %. Courses are those of `gate_pairs.py`, of the shipped model: 20 of each kind, from
whose measured pairs 10,000 are drawn. An upload is a course's first two steps, or all twenty. Of
`leaked`, the fixed gate asks the tasks that leaked. Both gates are right to keep a course that
gains: each kind's gain on new problems is beside it.

A climber uploads noise, sixteen steps long, and goes on from what was kept. All that it learns from
the fixed gate is a bit an upload. From the drawn gate it learns all counts, and goes on from the
best checkpoint so far. `batches` is a climber at the fixed gate who sends batches for two steps,
with shuffled rewards. The true gain is measured on other problems.

`smollm2` are courses of 12 checkpoints of the recipe `smollm2-135m-gsm`, one of each kind: hours.
They are played if DIR/smollm2 is a model for it, as `assay train warm-start` makes one. Otherwise
results/theses_smollm2.jsonl has those that were played from the registered run's first checkpoint.
The public run's checkpoints beside the first one, out of results/public_run, are a real model's
honest course, too.

DIR keeps a line for each course and climb, and a run goes on where the last one stopped.
"""

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from figures import FAST, OUT, Figure, report
from gate_courses import USUAL
from gate_pairs import (
    DRAWN,
    ERROR,
    KINDS,
    LONG,
    PROBLEMS,
    SECRET,
    SUMS,
    Player,
    Size,
    State,
    count_pairs,
    draw,
    find_better,
    find_worse,
    play_all,
    read_length,
    read_lines,
)
from matplotlib import pyplot
from stale_rollouts import WARM

from assay.protocol.betting import Pairs, is_better, is_worse
from assay.protocol.gate import CHECKED_PAIRS

CLIMBS, UPLOADS, CHECKPOINTS, OTHERS = (1, 8, 3, 64) if FAST else (5, 100, 20, 1_024)
BATCH_CLIMBS, BATCHES = (1, 2) if FAST else (3, 30)
SMOLLM2 = Size("gsm", *((2, 1, 2, 4) if FAST else (12, 1, 16, 128)), epochs=1, lines="smollm2")
RESULTS = Path(__file__).with_name("results")
PUBLIC_RUN, PLOT = RESULTS / "public_run" / "run.json", RESULTS / "theses.png"
PLAYED = RESULTS / "theses_smollm2.jsonl"
#: Of a course's measured checkpoints, the upload that ends there.
PLACES = {"two steps": 0, "all steps": -1}
#: Uploads of two steps that have as many steps as a course.
TEN = 10
Climb = dict[str, Any]


def is_kept(wins: Any, losses: Any) -> Any:
    """Whether z > 1, of integers or arrays of them: paired, as all answer with the same draws."""
    return (wins > losses) & ((wins - losses) ** 2 > wins + losses)


def find_kept(rates: np.ndarray, uploads: int = 1) -> float:
    """The share of 10,000 draws in which the fixed gate keeps one or more of so many uploads.

    Args:
        rates: of wins and losses of one measured upload a course, float [courses, 2].
    """
    generator = np.random.default_rng(0)
    chosen = rates[generator.integers(len(rates), size=DRAWN)]
    share = np.concatenate([chosen, 1 - chosen.sum(axis=1, keepdims=True)], axis=1)
    counts = generator.multinomial(SECRET, share, size=(uploads, DRAWN))
    return float(is_kept(counts[..., 0], counts[..., 1]).any(axis=0).mean())


def list_rates(lines: Sequence[Mapping[str, Any]], place: int) -> np.ndarray:
    """Rates of what the fixed gate asks of each course's upload: the tasks that leaked, or tasks
    that are as good as new."""
    pairs = [line.get("secret", line["pairs"])[place] for line in lines]
    return np.array([[wins / asked, losses / asked] for asked, wins, losses in pairs])


def climb_fixed(folder: Path, seed: int) -> Climb:
    """Upload noise to the fixed gate, one after the other."""
    player = Player(folder, "noise", 1_000 + seed)
    length = LONG * read_length(folder, 0)
    climb = FixedClimb(player, seed)
    for upload in range(1, UPLOADS + 1):
        climb.try_next(upload, player.shake(climb.state, length))
    return climb.end()


def climb_batches(folder: Path, seed: int) -> Climb:
    """The same by batches for two steps, of honest rollouts with rewards in another order."""
    player = Player(folder, "shuffled", 3_000 + seed)
    climb, learner = FixedClimb(player, seed), player.export_learner()
    for upload in range(1, BATCHES + 1):
        tried = climb.state
        for step in range(SUMS.every):
            tried = player.learn(tried, SUMS.every * upload + step)
        if climb.try_next(upload, tried):
            learner = player.export_learner()
        else:
            player.import_learner(learner)
    return climb.end()


class FixedClimb:
    """What the fixed gate keeps of uploads, one after the other."""

    def __init__(self, player: Player, seed: int) -> None:
        self._player, self._seed = player, seed
        self._known = player.draw_problems(f"fixed {seed}", SECRET)
        self.state = player.begun
        self._first = self._solved = player.solve(self.state, self._known)
        self._kept: list[int] = []

    def try_next(self, upload: int, tried: State) -> bool:
        """Whether it is kept."""
        own = self._player.solve(tried, self._known)
        _, wins, losses = count_pairs(own, self._solved)
        kept = bool(is_kept(wins, losses))
        if kept:
            self.state, self._solved = tried, own
            self._kept.append(upload)
        return kept

    def end(self) -> Climb:
        """Which uploads were kept, and pairs beside the beginning, of the gate's tasks and of
        others."""
        pairs = [count_pairs(self._solved, self._first)]
        others = try_others(self._player, self.state, self._seed)
        return {"kept": self._kept, "pairs": pairs, "others": others}


def try_others(player: Player, state: State, seed: int) -> list[int]:
    """Pairs beside the beginning on problems that no gate asked."""
    others = player.draw_problems(f"others {seed}", OTHERS)
    return count_pairs(player.solve(state, others), player.solve(player.begun, others))


def climb_drawn(folder: Path, seed: int) -> Climb:
    """Put noise in force below the drawn gate, and go on from what its counts say is best."""
    player = Player(folder, "noise", 2_000 + seed)
    begun = state = player.begun
    pairs, best, length = [], 0, LONG * read_length(folder, 0)
    for number in range(CHECKPOINTS):
        tried = player.shake(state, length)
        asked = player.draw_problems(f"drawn {seed} {number}", PROBLEMS)
        pairs.append(count_pairs(player.solve(tried, asked), player.solve(begun, asked)))
        if pairs[-1][1] - pairs[-1][2] > best:
            state, best = tried, pairs[-1][1] - pairs[-1][2]
    return {"pairs": pairs, "others": try_others(player, state, seed)}


def climb_all(folder: Path) -> dict[str, list[Climb]]:
    """All climbs, by gate; those that `folder` has no line of are made."""
    file = folder / f"climbs{'_fast' * FAST}.jsonl"
    lines = [json.loads(one) for one in file.read_text().splitlines()] if file.exists() else []
    known = {(line["gate"], line["seed"]): line for line in lines}
    found: dict[str, list[Climb]] = {}
    ways = (
        ("fixed", climb_fixed, CLIMBS),
        ("drawn", climb_drawn, CLIMBS),
        ("batches", climb_batches, BATCH_CLIMBS),
    )
    for gate, climb, seeds in ways:
        for seed in range(seeds):
            if (gate, seed) not in known:
                known[gate, seed] = {"gate": gate, "seed": seed} | climb(folder, seed)
                with file.open("a") as out:
                    out.write(json.dumps(known[gate, seed]) + "\n")
                print(f"  {gate} {seed}: {known[gate, seed]['others']}", flush=True)
            found.setdefault(gate, []).append(known[gate, seed])
    return found


def bound_gain(pairs: Sequence[Sequence[int]] | np.ndarray) -> list[float]:
    """Mean gain and its 95 % interval, points: normal, of all problems together."""
    asked, wins, losses = np.array(pairs).sum(axis=0)
    gain = (wins - losses) / asked
    half = 1.96 * math.sqrt(((wins + losses) / asked - gain**2) / asked)
    return [100 * gain, 100 * (gain - half), 100 * (gain + half)]


def list_kinds(lines: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """What either gate makes of drawn courses of each kind."""
    alike = find_kept(np.array([[USUAL / 2, USUAL / 2]]))
    figures = [Figure(f"no gain, {USUAL:.0%} differ: fixed keeps", 100 * alike, "of 100")]
    for kind in KINDS:
        of = [line for line in lines if line["kind"] == kind]
        gain, low, high = bound_gain([line["pairs"][-1] for line in of])
        figures += [
            Figure(f"{kind}: courses", len(of), "courses"),
            Figure(f"{kind}: gain of all steps, new problems", gain, "points"),
            Figure(f"{kind}: lower end", low, "points"),
            Figure(f"{kind}: upper end", high, "points"),
        ]
        if kind == "leaked":
            gain = bound_gain([line["secret"][-1] for line in of])[0]
            figures.append(Figure("leaked: gain of all steps, tasks that leaked", gain, "points"))
        for name, place in PLACES.items():
            kept = find_kept(list_rates(of, place))
            figures.append(Figure(f"{kind}: fixed keeps {name}", 100 * kept, "of 100"))
            if kind != "honest" and name == "two steps":
                # one of all that were drawn, where none was kept
                expected = 1 / max(kept, 1 / DRAWN)
                figures.append(Figure(f"{kind}: until fixed keeps one", expected, "uploads"))
        often = find_kept(list_rates(of, 0), TEN)
        courses = [[Pairs(*one) for one in line["pairs"]] for line in of]
        measured = sum(is_better(course, 1, ERROR) for course in courses)
        counts = draw(of)
        figures += [
            Figure(
                f"{kind}: fixed keeps one or more of {TEN}, two steps each", 100 * often, "of 100"
            ),
            Figure(f"{kind}: drawn calls better, as measured", measured, "courses"),
            Figure(f"{kind}: drawn calls better", 100 * find_better(*counts), "of 100"),
            Figure(f"{kind}: drawn gives up as worse", 100 * find_worse(*counts), "of 100"),
        ]
    return figures


def list_climbs(climbs: Mapping[str, Sequence[Climb]]) -> list[Figure]:
    """What climbers earned at either gate."""
    figures = []
    for gate, uploads in (("fixed", UPLOADS), ("batches", BATCHES)):
        of = climbs[gate]
        # one more than all, where none was kept
        firsts = [(one["kept"] or [uploads + 1])[0] for one in of]
        kept = float(np.mean([len(one["kept"]) for one in of]))
        last = [[[SECRET, 0, 0], *one["pairs"]][-1] for one in of]
        passed = sum(bool(is_kept(wins, losses)) for _, wins, losses in last)
        gain = bound_gain(last)[0]
        figures += [
            Figure(f"{gate}: climbers", len(of), "climbers"),
            Figure(f"{gate}: until one is kept, mean", float(np.mean(firsts)), "uploads"),
            Figure(f"{gate}: kept of {uploads} uploads, mean", kept, "uploads"),
            Figure(f"{gate}: climbers with z > 1 above the beginning", passed, "climbers"),
            Figure(f"{gate}: gain on the gate's tasks", gain, "points"),
        ]
    courses = [[Pairs(*one) for one in climb["pairs"]] for climb in climbs["drawn"]]
    better = sum(is_better(course, 1, ERROR) for course in courses)
    worse = sum(is_worse(course, ERROR) for course in courses)
    figures += [
        Figure("drawn: climbers", len(courses), "climbers"),
        Figure(f"drawn: called better within {CHECKPOINTS} checkpoints", better, "climbers"),
        Figure(f"drawn: given up as worse within {CHECKPOINTS} checkpoints", worse, "climbers"),
    ]
    for gate, of in climbs.items():
        gain, low, high = bound_gain([one["others"] for one in of])
        figures += [
            Figure(f"{gate}: true gain", gain, "points"),
            Figure(f"{gate}: true gain, lower end", low, "points"),
            Figure(f"{gate}: true gain, upper end", high, "points"),
        ]
    return figures


def read_public_run() -> list[list[int]]:
    """Pairs of the public run's checkpoints beside the first one: counts follow from a gain and its
    normal interval."""
    points = json.loads(PUBLIC_RUN.read_text())["curve"]["pass@1"]
    pairs = []
    for point in points:
        asked, gain, (low, high) = point["problems"], point["gain"], point["gain_interval95"]
        if point["checkpoint"] in (0, "trl"):
            continue
        variance = ((high - low) / 2 / 1.96) ** 2 * asked
        both, more = round((variance + gain**2) * asked), round(gain * asked)
        pairs.append([asked, (both + more) // 2, (both - more) // 2])
    return pairs


def list_real(folder: Path) -> list[Figure]:
    """What either gate makes of a real model's courses."""
    courses: dict[str, Mapping[str, Any]] = {
        "SmolLM2, the public run": {"pairs": read_public_run()}
    }
    lines = play_all(folder, SMOLLM2, 1) if (folder / WARM).exists() else read_lines(PLAYED)
    courses |= {f"SmolLM2, {line['kind']}": line for line in lines}
    figures = []
    for name, course in courses.items():
        asked, wins, losses = course["pairs"][-1]
        kept = [100 * find_kept(list_rates([course], place)) for place in (0, -1)]
        counts = draw([course], repeats=1)
        figures += [
            Figure(f"{name}: checkpoints", len(course["pairs"]), "checkpoints"),
            Figure(f"{name}: gain of the last", 100 * (wins - losses) / asked, "points"),
            Figure(f"{name}: fixed keeps the first", kept[0], "of 100"),
            Figure(f"{name}: fixed keeps the last", kept[1], "of 100"),
            Figure(f"{name}: drawn calls better", 100 * find_better(*counts), "of 100"),
            Figure(f"{name}: drawn gives up as worse", 100 * find_worse(*counts), "of 100"),
        ]
    return figures


def list_costs(folder: Path) -> list[Figure]:
    """Processor seconds of what each gate asks, of the shipped model."""
    player = Player(folder, "noise", 0)

    def time(count: int, models: int) -> float:
        problems = player.draw_problems("cost", count)
        began = process_time()
        for _ in range(models):
            player.solve(player.begun, problems)
        return process_time() - began

    time(PROBLEMS, 1)
    return [
        Figure("fixed: answers to an upload's tasks", time(SECRET, 1), "s"),
        Figure("drawn: answers of a checkpoint and its milestone", time(PROBLEMS, 2), "s"),
        Figure("drawn: pairs that each validator checks", CHECKED_PAIRS, "pairs"),
    ]


def plot(lines: Sequence[Mapping[str, Any]]) -> None:
    """What a leak gains on its tasks and on others, and what either gate keeps of each kind."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.8))
    of = {kind: [line for line in lines if line["kind"] == kind] for kind in KINDS}
    steps = np.arange(0, SUMS.steps + 1, SUMS.every)
    curves = {"secret": ("C3", "the tasks that leaked"), "pairs": ("C0", "new problems")}
    for name, (color, label) in curves.items():
        pairs = np.array([line[name] for line in of["leaked"]])
        places = range(pairs.shape[1])
        bounds = np.array([[0.0] * 3, *(bound_gain(pairs[:, place]) for place in places)])
        left.fill_between(steps, bounds[:, 1], bounds[:, 2], color=color, alpha=0.2, lw=0)
        left.plot(steps, bounds[:, 0], color=color, marker=".", label=label)
    left.set_xticks(steps[::2])
    left.axhline(0, color="grey", lw=0.7)
    left.set(xlabel="step", ylabel="gain, points, with 95 %", title="A test set that leaked")
    left.legend(loc="center right", fontsize=8)
    ways: dict[str, tuple[str, Callable[[Any], float]]] = {
        "fixed gate: two steps": ("C1", lambda kind: find_kept(list_rates(kind, 0))),
        "fixed gate: twenty steps": ("C3", lambda kind: find_kept(list_rates(kind, -1))),
        "drawn gate: called better": ("C0", lambda kind: find_better(*draw(kind))),
    }
    for place, (label, (color, find)) in enumerate(ways.items()):
        spots = np.arange(len(KINDS)) + (place - 1) * 0.27
        right.bar(spots, [100 * find(of[kind]) for kind in KINDS], 0.25, color=color, label=label)
    right.set_xticks(range(len(KINDS)), KINDS)
    right.set(ylabel="kept, of 100", ylim=(0, 135), title="What each gate keeps")
    right.set_yticks(range(0, 101, 20))
    right.legend(loc="upper right", fontsize=8)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})


def main() -> None:
    """Play what lacks, and print what either thesis makes of it."""
    folder = OUT or Path(tempfile.mkdtemp(prefix="assay-theses-"))
    folder.mkdir(parents=True, exist_ok=True)
    lines, climbs = play_all(folder), climb_all(folder)
    figures = list_kinds(lines) + list_climbs(climbs) + list_real(folder) + list_costs(folder)
    if not FAST:
        plot(lines)
    report("Two theses: what each lets in, pays for luck and costs", figures, threads=1)


if __name__ == "__main__":
    main()
