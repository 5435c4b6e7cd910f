"""What rollouts of older checkpoints teach, beside those of the newest one: gains in held-out
success by age, anchor of the loss and weight of what is stale.

    python bench/stale_rollouts.py --out DIR [--fast]

A course is a learner's steps without a chain: at step t the checkpoint of `age` steps ago draws
groups, its log-probabilities are recomputed, and the learner learns from them. All courses of a
task and seed ask the same problems with the same draws, so gains are compared seed by seed with
those of rollouts that are never old. Tasks: `sums` (the shipped model, sums of three terms, 24
groups a step, the learner's defaults) and `guess` (the recipe `genesis-guess`, 32 groups a step),
12 steps each; `long` (sums of 19 terms, whose completions have some 210 tokens, by the shipped
model after a warm start on worked ones; 12 groups a step and 4 an update). There a weight for a
whole completion is a product of so many ratios that it may leave little: see its sample size.
`gsm` (the recipe `smollm2-135m-gsm` with LoRA, 8 steps of 16 groups) is played if DIR/smollm2 is a
model that `assay train warm-start` made for it (docs/recipes.md has the command).

DIR keeps a line for each course, and a run goes on where the last one stopped. Courses are played
on as many processes as there are cores. Seconds are processor time of the learner alone: of the
same groups, once learned from as older ones and once as today's.
"""

import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any

import torch
from figures import FAST, OUT, Figure, measure_together, report

from assay.artifacts.steps.learner import make_learner
from assay.environments.arithmetic import Arithmetic, Terms
from assay.environments.base import Environment, Problem
from assay.environments.registry import open_environment
from assay.environments.rewards import compute_reward
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import MODEL_FILE, digest_tensors
from assay.inference.implementations import make_packing_twin
from assay.inference.sampled_episodes import sample_episodes
from assay.network.files import write_json
from assay.protocol.encoding import to_json
from assay.protocol.manifest import compute_tensor_root, start_levels
from assay.protocol.parameters import Parameters
from assay.protocol.prf import Stream
from assay.settings.learning import make_learning
from assay.subnet.genesis_checkpoint import make_recipe_genesis
from assay.subnet.recipe import read_recipe
from assay.training import GENESIS, Group, LearnConfig
from assay.training.first_turns import teach_first_turns
from assay.training.grpo import LOSSES
from assay.training.held_out import add_up, count_successes
from assay.training.lesson import Row
from assay.training.passes import Passes
from assay.training.policy import Policy

STEPS = 3 if FAST else 12
#: Groups of a step, by task.
GROUPS = {"sums": 24, "guess": 32, "long": 12, "gsm": 16}
SHORT = ("sums", "guess")
SEEDS = range(1) if FAST else range(3)
AGES = (1, 2) if FAST else (1, 2, 4, 8)
#: The last checkpoints of a course, whose mean is its result, and held-out problems of each.
LATE, PROBLEMS = (1, 256) if FAST else (3, 2_048)
#: Of `long`, whose problems take five times as long: held-out ones, terms, tokens that a completion
#: may have, steps of its warm start with their learning rate, and the learner's: at the default one
#: it forgets additions, however new rollouts are.
LONG_PROBLEMS, TERMS, LONG_TOKENS = (64, 19, 256) if FAST else (512, 19, 256)
LONG_RATE = 1.5e-5
WARM_STEPS, WARM_RATE = (8, 2e-3) if FAST else (420, 2e-3)
#: What a course's loss is anchored at, and how what is stale is weighed.
ARMS: Mapping[str, Mapping[str, Any]] = {
    "behaviour": {"anchor": "behaviour"},
    "sequence": {"anchor": "step", "stale_weight": "sequence", "stale_cap": 3.0},
    "token": {"anchor": "step", "stale_weight": "token", "stale_cap": 2.0},
    "none": {"anchor": "step", "stale_weight": "none"},
}
#: Of the tasks that are not of the shipped model's sums.
RECIPES = {"guess": "genesis-guess", "gsm": "smollm2-135m-gsm"}
LEVEL = 5  # of sums
#: Of `gsm`, whose steps take two minutes of a processor: steps and held-out problems.
GSM_STEPS, GSM_PROBLEMS = (2, 16) if FAST else (8, 256)
#: Where a warm start's model may be, below DIR.
WARM = "smollm2"


class LongSums(Arithmetic):
    """Sums of different numbers of two digits. One is the place of the next, so that a small model
    finds its way through them."""

    levels = range(1, 2)

    def _draw(self, stream: Stream, level: int) -> Problem:
        values = tuple(10 + drawn for drawn in stream.sample(90, TERMS))
        return Problem("+".join(map(str, values)) + "=?\n", level, Terms(values))


@dataclass(frozen=True, order=True)
class Course:
    """One line of the table. `age` 0: rollouts are of the newest checkpoint."""

    task: str
    age: int
    arm: str
    seed: int
    epochs: int = 4
    loss: str = "grpo"


@dataclass(frozen=True)
class Task:
    """What a course begins with. `config`: the learner's."""

    checkpoint: Checkpoint
    environment: Environment
    rules: Parameters
    config: LearnConfig


def list_courses(folder: Path) -> Iterable[Course]:
    """What is asked, the most telling first: a real model if `folder` has one, `guess` at age 2 by
    five seeds, both anchors by age, other losses once, then weights by token, the oldest rollouts
    and courses of one epoch."""
    if (folder / WARM).exists():
        for seed in SEEDS:
            yield Course("gsm", 0, "behaviour", seed, epochs=1)
            for arm in ("sequence", "behaviour", "token"):
                yield Course("gsm", 2, arm, seed, epochs=1)
    for seed in SEEDS if FAST else range(5):
        yield Course("guess", 0, "behaviour", seed)
        yield Course("guess", 2, "behaviour", seed)
        yield Course("guess", 2, "sequence", seed)
    yield from _list_ages(("behaviour", "sequence"), AGES[:3])
    for loss in () if FAST else sorted(set(LOSSES) - {"grpo"}):
        for task in SHORT:
            yield Course(task, 0, "behaviour", 0, loss=loss)
            for arm in ("behaviour", "sequence"):
                yield Course(task, 2, arm, 0, loss=loss)
    yield Course("long", 0, "behaviour", 0)
    for arm in ("behaviour", "sequence", "token"):
        yield Course("long", 2, arm, 0)
    yield from _list_ages(("token", "none"), (2,))
    yield from _list_ages(tuple(ARMS)[:3], AGES)
    if not FAST:
        yield from _list_ages(tuple(ARMS)[:3], AGES, 1)


def _list_ages(arms: Iterable[str], ages: Iterable[int], epochs: int = 4) -> Iterable[Course]:
    for age in (0, *ages):
        for task in SHORT:
            for arm in arms if age else ("behaviour",):
                for seed in SEEDS:
                    yield Course(task, age, arm, seed, epochs)


def prepare(folder: Path, task: str) -> None:
    """Write the checkpoint with which a task's courses begin, once."""
    target = folder / "start" / task
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "made"
        if task == "guess":
            recipe = read_recipe(RECIPES[task])
            rules, model = recipe.make_rules(), Path(scratch) / "model"
            environment = open_environment(rules.environment)
            begun = load_checkpoint(GENESIS)
            teach_first_turns(begun, environment, recipe.levels[0], rules.work, model)
            make_recipe_genesis(recipe, model, made, rules, report=lambda *_: None)
        elif task == "long":
            _prepare_long(made, Path(scratch) / "model")
        elif task == "gsm":
            recipe = read_recipe(RECIPES[task])
            rules = recipe.make_rules()
            make_recipe_genesis(recipe, folder / WARM, made, rules, report=lambda *_: None)
        else:
            shutil.copytree(GENESIS, made)
            manifest = replace(load_checkpoint(GENESIS).manifest, levels=start_levels((LEVEL,)))
            write_json(made / "manifest.json", to_json(manifest))
        made.rename(target)


def _prepare_long(made: Path, model: Path) -> None:
    """The shipped model after it has read worked sums of many terms, in the order of the terms."""
    shutil.copytree(GENESIS, made)
    manifest = replace(
        load_checkpoint(GENESIS).manifest, levels=start_levels((1,)), max_tokens=LONG_TOKENS
    )
    write_json(made / "manifest.json", to_json(manifest))
    environment = LongSums({})

    def work_out(problem: Problem, _: Stream) -> Generator[str, str, None]:
        yield environment.solve(problem)[0]

    work = read_recipe("genesis-arithmetic").make_rules().work
    begun = load_checkpoint(made)
    teach_first_turns(begun, environment, 1, work, model, work_out, WARM_STEPS, WARM_RATE)
    shutil.copy(model / MODEL_FILE, made / MODEL_FILE)
    changed = replace(manifest, tensors=compute_tensor_root(digest_tensors(made)))
    write_json(made / "manifest.json", to_json(changed))


def open_task(folder: Path, course: Course) -> Task:
    """A course's checkpoint, and the learner's settings."""
    checkpoint = load_checkpoint(folder / "start" / course.task)
    recipe = read_recipe(RECIPES.get(course.task, "genesis-arithmetic"))
    rules = recipe.make_rules()
    config = replace(
        make_learning(recipe.trainer), seed=course.seed, epochs=course.epochs, **ARMS[course.arm]
    )
    environment = open_environment(rules.environment)
    if course.task == "long":
        environment = LongSums({})
        rules = replace(rules, work=replace(rules.work, max_tokens=LONG_TOKENS))
        config = replace(config, groups_per_batch=4, learning_rate=LONG_RATE)
    if course.loss != "grpo":
        config = replace(config, loss=LOSSES[course.loss]())
    return Task(checkpoint, environment, rules, config)


def draw_groups(task: Task, model: Any, course: Course, step: int, count: int) -> list[Group]:
    """Groups of a step, drawn by `model`. Problems and draws follow from seed and step alone."""
    rules, checkpoint = task.rules, task.checkpoint
    drafter = checkpoint.get_drafter(rules.work.temperature, model)
    asked, size = [], rules.work.group_size
    for number in range(count):
        seed = sha256(f"stale {course.seed} {step} {number}".encode()).digest()
        problem = task.environment.make_problem(seed, checkpoint.manifest.level_numbers)
        prompt = tuple(checkpoint.tokenizer.encode(problem.conversation))
        draws = (sha256(seed + bytes([place])).digest() for place in range(size))
        asked += [(problem, prompt, draw) for draw in draws]
    played = sample_episodes(drafter, checkpoint.tokenizer, task.environment, asked, rules.work)
    scores = run_all(task.environment, [one.episode.state.score for one in played])
    most = rules.work.max_tokens
    rewards = [
        compute_reward(score, len(one.tokens), rules.rewards, most)
        for score, one in zip(scores, played, strict=True)
    ]
    rows = [Row([*p.prompt], [*p.tokens], [*p.episode.replies], 0.0) for p in played]
    excluded = (~checkpoint.tokenizer.drawable).nonzero()[0].tolist()
    policy = Policy(make_packing_twin(model), excluded, task.config.precision)
    passes = Passes(policy, None, torch.device("cpu"), task.config.tokens_per_pass)
    logprobs = [part.tolist() for part in passes.compute_logprobs(rows)]
    return [
        Group(
            rows[first].prompt,
            [row.completion for row in rows[first : first + size]],
            rewards[first : first + size],
            logprobs[first : first + size],
            [row.replies for row in rows[first : first + size]],
            is_older=min(step, course.age) > 0,
            age=min(step, course.age),
        )
        for first in range(0, len(rows), size)
    ]


def play(folder: Path, course: Course) -> dict[str, Any]:
    """Play a course. Returns its line."""
    torch.set_num_threads(1)
    task = open_task(folder, course)
    checkpoint, work = task.checkpoint, task.rules.work
    learner = make_learner(checkpoint, task.config, lambda: checkpoint)
    drawer = checkpoint.load_trainable().requires_grad_(False)
    states, curve, figures, seconds = [learner.bf16_state()], {}, [], 0.0

    def load(state: Mapping[str, torch.Tensor]) -> Any:
        drawer.load_state_dict({name: w.float() for name, w in state.items()}, strict=False)
        return drawer

    def measure(step: int) -> None:
        model = load(states[-1])
        problems = {"long": LONG_PROBLEMS, "gsm": GSM_PROBLEMS}.get(course.task, PROBLEMS)
        found = count_successes(checkpoint, task.environment, work, problems, model=model)
        total = add_up(found)
        curve[step] = total.solved / total.asked

    steps = GSM_STEPS if course.task == "gsm" else STEPS
    measure(0)
    for step in range(steps):
        model = load(states[max(0, step - course.age)])
        groups = draw_groups(task, model, course, step, GROUPS[course.task])
        began = process_time()
        stats = learner.learn(groups)
        seconds += process_time() - began
        states.append(learner.bf16_state())
        figures.append(
            {
                "reward": stats.mean_reward,
                "clipped": stats.clipped_share,
                "updates": stats.updates,
                "entropy": stats.entropy,
                "ess": stats.stale_ess,
                "kl": stats.stale_kl,
                "tokens": stats.tokens / stats.updates,
            }
        )
        if step + 1 > steps - LATE:
            measure(step + 1)
    late = statistics.fmean(curve[step] for step in curve if step > steps - LATE)
    return {
        **asdict(course),
        "gain": 100 * (late - curve[0]),
        "curve": curve,
        "steps": figures,
        "seconds": seconds,
    }


def play_all(folder: Path) -> dict[Course, dict[str, Any]]:
    """All courses that `folder` has no line of."""
    lines = folder / ("fast.jsonl" if FAST else "courses.jsonl")
    known = {}
    if lines.exists():
        for text in lines.read_text().splitlines():
            line = json.loads(text)
            known[Course(*(line[name] for name in Course.__dataclass_fields__))] = line
    wanted = [course for course in dict.fromkeys(list_courses(folder)) if course not in known]
    for task in {course.task for course in wanted}:
        prepare(folder, task)
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool, lines.open("a") as file:
        running = {pool.submit(play, folder, course): course for course in wanted}
        for number, future in enumerate(as_completed(running), 1):
            course, line = running[future], future.result()
            known[course] = line
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(f"  {number} of {len(wanted)}: {course}: {line['gain']:+.1f} points", flush=True)
    return known


def time_learning(folder: Path, epochs: int) -> list[float]:
    """Processor seconds of learning from the groups of a step of `sums`, at least: as older ones,
    anchored at the step, and as they were learned from before that."""
    prepare(folder, "sums")
    course = Course("sums", 1, "sequence", 0, epochs)
    task = open_task(folder, course)
    drawer = task.checkpoint.load_trainable().requires_grad_(False)
    groups = draw_groups(task, drawer, course, 1, GROUPS["sums"])
    configs = task.config, replace(task.config, anchor="behaviour")
    learners = [
        make_learner(task.checkpoint, config, lambda: task.checkpoint) for config in configs
    ]
    runs = [partial(learner.learn, groups) for learner in learners]
    return measure_together(runs, 3 if FAST else 9, process_time)


def compare(
    known: Mapping[Course, Mapping[str, Any]], course: Course, seeds: Sequence[int]
) -> list[float]:
    """Gains of a course less those of rollouts that are never old, seed by seed."""
    pairs = [
        (replace(course, seed=seed), replace(course, seed=seed, age=0, arm="behaviour"))
        for seed in seeds
    ]
    return [known[a]["gain"] - known[b]["gain"] for a, b in pairs if a in known and b in known]


def main() -> None:
    """Play, and print the tables."""
    folder = OUT or Path(tempfile.mkdtemp(prefix="assay-stale-"))
    folder.mkdir(parents=True, exist_ok=True)
    known = play_all(folder)
    figures = []
    rows = sorted({replace(course, seed=0) for course in known})
    for row in rows:
        seeds = sorted(c.seed for c in known if replace(c, seed=0) == row)
        name = f"{row.task}, age {row.age}, {row.arm}, {row.loss}, {row.epochs} epochs"
        gains = [known[replace(row, seed=seed)]["gain"] for seed in seeds]
        figures.append(
            Figure(f"gain: {name}", statistics.fmean(gains), f"points, {len(gains)} seeds")
        )
        less = compare(known, row, seeds)
        if row.age and less:
            figures.append(Figure(f"less on-policy: {name}", statistics.fmean(less), "points"))
            if len(less) > 1:
                figures.append(
                    Figure(f"its standard deviation: {name}", statistics.stdev(less), "points")
                )
    for row in rows:
        steps = known.get(row, {"steps": []})["steps"]
        if sizes := [step["ess"] for step in steps if step["ess"] is not None]:
            name = f"{row.task}, age {row.age}, {row.arm}, {row.loss}, {row.epochs} epochs"
            figures.append(Figure(f"sample size: {name}", statistics.fmean(sizes), "of 1"))
    torch.set_num_threads(1)
    for epochs, bound in ((4, 1.15), (1, 1.35)):
        older, today = time_learning(folder, epochs)
        name = f"a step of older rollouts, {epochs} epochs"
        figures.append(Figure(name, older, "s", "without an anchor", today, ratio_bound=bound))
    report("What rollouts of older checkpoints teach", figures, threads=1)


if __name__ == "__main__":
    main()
