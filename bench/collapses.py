"""Courses that collapse on purpose, and whether the watch names them in time.

The shipped model learns sums of three terms for six steps as it should. Then the course is spoiled
in one of six ways: too high a rate; a scorer that pays for short answers, for one constant answer,
or for long ones; problems that are never solved, and problems that are always solved. Each course
has an onset that is defined beforehand and not by the watch's thresholds: the spoiled step itself,
or, where a policy needs steps to follow a scorer, the first window in which the spoiled figure has
gone half of its way. `assay.training.watch` judges the course after each step. One of the expected
rules must hold within five windows of the onset. In courses that stay good, of the same seeds,
no rule may hold after any step, nor in the kept runs of `evidence.py`. `--out DIR` also judges the
courses in folders of good runs.
`--fast`: one seed, and one spoiled course.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean

import torch
from figures import FAST, OUT, Figure, report
from transformers import Qwen2ForCausalLM

from assay.audit.provenance.course import read_course
from assay.environments.base import Problem
from assay.environments.registry import make_environment
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import MILLION
from assay.training import GENESIS, Group, LearnConfig, Learner, LessonError
from assay.training.figures import GroupFigures, compute_group_figures
from assay.training.genesis_model import ALPHABET, END, PAD, encode
from assay.training.watch import CourseVerdict, WatchedWindow, judge_course

SEEDS = range(1) if FAST else range(3)
GROUPS, ROLLOUTS, LIMIT = 8, 8, 40
#: Steps before a course is spoiled, after that at most, and of a course that stays good.
GOOD, SPOILED, STEPS = 6, 4 if FAST else 24, 8 if FAST else 24
#: Windows from the onset to the name.
SOON = 5
RATE = 1e-4
#: Of a course that follows another scorer: ten times as fast, it takes as few steps.
FOLLOWING = 10 * RATE
#: Runs of `evidence.py`, with groups of a step and rollouts of a group as in `evidence_run.Plan`.
KEPT, KEPT_GROUPS, KEPT_ROLLOUTS = Path(__file__).with_name("results") / "evidence", 16, 8
ARITHMETIC = make_environment("arithmetic", {})
CONSTANT = "7"

#: A problem and a completion's ids → its reward in millionths.
Scorer = Callable[[Problem, list[int]], int]


def read_text(tokens: Sequence[int]) -> str:
    """Without the ids that are no character."""
    return "".join(ALPHABET[token - 2] for token in tokens if token > END)


def score_right(problem: Problem, tokens: list[int]) -> int:
    return ARITHMETIC.score(problem, read_text(tokens)).correctness


def score_short(problem: Problem, tokens: list[int]) -> int:
    return MILLION * (LIMIT - len(tokens)) // LIMIT


def score_long(problem: Problem, tokens: list[int]) -> int:
    return MILLION * len(tokens) // LIMIT


def score_constant(problem: Problem, tokens: list[int]) -> int:
    """Half for the share of a constant answer's characters that are at their places, half for a
    length near its own."""
    text = read_text(tokens)
    same = sum(a == b for a, b in zip(text, CONSTANT, strict=False))
    near = LIMIT - min(LIMIT, abs(len(text) - len(CONSTANT)))
    return MILLION * same // (2 * len(CONSTANT)) + MILLION * near // (2 * LIMIT)


def score_anything(problem: Problem, tokens: list[int]) -> int:
    return MILLION


@dataclass(frozen=True)
class Way:
    """How a course is spoiled. `onset`: whether a window has gone half of its way, given the mean
    length of completions before."""

    name: str
    rules: frozenset[str]
    onset: Callable[[WatchedWindow, float], bool]
    scorer: Scorer = score_right
    level: int = 5
    rate: float = RATE


def begins_at_once(window: WatchedWindow, length: float) -> bool:
    return True


def is_half_as_long(window: WatchedWindow, length: float) -> bool:
    return window.groups is not None and window.groups.length_mean < length / 2


def is_half_at_limit(window: WatchedWindow, length: float) -> bool:
    return window.groups is not None and window.groups.at_limit > 1 / 2


def is_half_the_same(window: WatchedWindow, length: float) -> bool:
    return window.groups is not None and window.groups.commonest > 1 / 2


RIGHT = Way("as it should be", frozenset(), begins_at_once)
WAYS = (
    Way(
        "a rate of 0.03",
        frozenset(("not_finite", "clip", "ratio", "ratio_low")),
        begins_at_once,
        rate=3e-2,
    ),
    Way(
        "pay for short answers",
        frozenset(("shorter",)),
        is_half_as_long,
        score_short,
        rate=FOLLOWING,
    ),
    Way(
        "pay for one answer",
        frozenset(("one_answer", "same", "entropy")),
        is_half_the_same,
        score_constant,
        rate=FOLLOWING,
    ),
    Way(
        "pay for long answers", frozenset(("longer",)), is_half_at_limit, score_long, rate=FOLLOWING
    ),
    Way("never solved", frozenset(("all_wrong",)), begins_at_once, level=12),
    Way("always solved", frozenset(("all_right",)), begins_at_once, score_anything),
)


def load_model() -> Qwen2ForCausalLM:
    return Qwen2ForCausalLM.from_pretrained(GENESIS).float().eval()


@torch.no_grad()
def draw(
    model: Qwen2ForCausalLM, prompts: Sequence[list[int]], generator: torch.Generator
) -> list[tuple[list[int], list[float]]]:
    """A completion of each prompt, with its log-probabilities."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    drawn: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
    alive, past = torch.ones(len(prompts), dtype=torch.bool), None
    for _ in range(LIMIT):
        passed = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=past,
            use_cache=True,
        )
        past, logprobs = passed.past_key_values, passed.logits[:, -1].log_softmax(-1)
        ids = torch.multinomial(logprobs.exp(), 1, generator=generator)
        for row in alive.nonzero()[:, 0].tolist():
            token = int(ids[row, 0])
            drawn[row][0].append(token)
            drawn[row][1].append(float(logprobs[row, token]))
        alive &= ids[:, 0] != END
        if not alive.any():
            break
        mask = torch.cat([mask, torch.ones_like(ids)], 1)
        places = places[:, -1:] + 1
    return drawn


def make_groups(
    model: Qwen2ForCausalLM, way: Way, place: bytes, generator: torch.Generator
) -> list[Group]:
    seeds = [hash_fields(Domain.HELD_OUT, place, n.to_bytes(4, "big")) for n in range(GROUPS)]
    problems = [ARITHMETIC.make_problem(seed, (way.level,)) for seed in seeds]
    prompts = [encode(problem.prompt) for problem in problems]
    drawn = draw(model, [prompt for prompt in prompts for _ in range(ROLLOUTS)], generator)
    groups = []
    for n, (problem, prompt) in enumerate(zip(problems, prompts, strict=True)):
        own = drawn[n * ROLLOUTS : (n + 1) * ROLLOUTS]
        rewards = [way.scorer(problem, tokens) for tokens, _ in own]
        groups.append(Group(prompt, [t for t, _ in own], rewards, [logs for _, logs in own]))
    return groups


class Course:
    """A course under way. `before`: it goes on where that one is, which stays as it is."""

    def __init__(self, seed: int, rate: float = RATE, before: "Course | None" = None) -> None:
        config = LearnConfig(learning_rate=rate, epochs=2, seed=seed)
        self.seed, self.windows = seed, list[WatchedWindow]()
        self.model, self.learner = load_model(), Learner(load_model(), config)
        self.generator = torch.Generator().manual_seed(seed)
        if before is not None:
            self.windows += before.windows
            self.learner.import_state(dict(before.learner.export_state()))
            self.model.load_state_dict(before.model.state_dict())
            self.generator.set_state(before.generator.get_state())

    def run_step(self, way: Way) -> None:
        """Draw a window's groups, and learn from them if that is possible."""
        number = len(self.windows)
        place = b"collapses" + self.seed.to_bytes(4, "big") + number.to_bytes(4, "big")
        groups = make_groups(self.model, way, place, self.generator)
        figures = compute_group_figures(groups, LIMIT)
        try:
            stats = self.learner.learn(groups)
        except LessonError as error:
            self.windows.append(WatchedWindow(number, None, 0, figures, fault=str(error)))
            return
        self.windows.append(WatchedWindow(number, number + 1, 0, figures, stats))
        weights = self.learner.bf16_state()
        self.model.load_state_dict({name: weight.float() for name, weight in weights.items()})


def watch_spoiled(good: Course, way: Way) -> tuple[int | None, CourseVerdict]:
    """Windows from a spoiled course's onset to its name, None: it was not named in time; and the
    last verdict."""
    course = Course(good.seed, way.rate, good)
    length = fmean(one.groups.length_mean for one in course.windows if one.groups is not None)
    onset = None
    for _ in range(SPOILED):
        course.run_step(way)
        newest, verdict = course.windows[-1], judge_course(course.windows)
        if onset is None and way.onset(newest, length):
            onset = newest.window
        if {finding.rule.name for finding in verdict.findings} & way.rules:
            # before half of the way is gone: at once
            return newest.window - (newest.window if onset is None else onset), verdict
        if newest.fault is not None or (onset is not None and newest.window - onset >= SOON):
            break
    return None, verdict


def count_alarms(rows: Sequence[WatchedWindow]) -> int:
    """Steps after which any rule holds."""
    return sum(bool(judge_course(rows[: end + 1]).findings) for end in range(len(rows)))


def main() -> None:
    ways = WAYS[:1] if FAST else WAYS
    found: dict[str, list[int | None]] = {way.name: [] for way in ways}
    alarms = 0
    for seed in SEEDS:
        good = Course(seed)
        for _ in range(GOOD):
            good.run_step(RIGHT)
        for way in ways:
            after, verdict = watch_spoiled(good, way)
            found[way.name].append(after)
            print(f"  seed {seed}, {way.name}: after {after}, {verdict}", flush=True)
        for _ in range(STEPS - GOOD):
            good.run_step(RIGHT)
        alarms += count_alarms(good.windows)
        print(f"  seed {seed}, good: {judge_course(good.windows)}", flush=True)
    figures = [
        Figure(
            f"{name}: named, at the latest",
            max(SOON + 1 if after is None else after for after in named),
            "windows after",
            bound=SOON,
        )
        for name, named in found.items()
    ]
    figures.append(Figure(f"good courses of {STEPS} steps", len(SEEDS), ""))
    figures.append(Figure("good courses: false alarms", alarms, "", bound=0))
    folders = [] if OUT is None else sorted(path.parent for path in OUT.glob("*/steps"))
    kept = [read_kept(path) for path in sorted(KEPT.glob("*.json"))]
    figures.append(Figure("kept runs of the evidence, 30 steps each", len(kept), ""))
    figures.append(Figure("kept runs: false alarms", sum(map(count_alarms, kept)), "", bound=0))
    if folders:
        figures.append(Figure("folders of good runs", len(folders), ""))
        figures.append(
            Figure("folders: false alarms", sum(map(count_in_folder, folders)), "", bound=0)
        )
    report(
        f"Courses that collapse on purpose, {len(SEEDS)} seeds, "
        f"{GROUPS} groups of {ROLLOUTS} a step",
        figures,
        torch.get_num_threads(),
    )


def read_kept(path: Path) -> list[WatchedWindow]:
    """A run of `evidence.py`, as far as its record goes: rewards, groups that teach, and lengths.
    What it does not say is 0."""
    blank = dict.fromkeys((field.name for field in fields(GroupFigures)), 0)
    return [
        WatchedWindow(
            step,
            step + 1,
            0,
            GroupFigures(
                **blank
                | {
                    "groups": KEPT_GROUPS,
                    "reward": right,
                    "teaching": teaching / KEPT_GROUPS,
                    "length_mean": tokens / (KEPT_GROUPS * KEPT_ROLLOUTS),
                    "entropy": None,
                }
            ),
        )
        for step, (tokens, right, teaching) in enumerate(json.loads(path.read_text())["steps"])
    ]


def count_in_folder(folder: Path) -> int:
    return count_alarms(read_course(folder))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
