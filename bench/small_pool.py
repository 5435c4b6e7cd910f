"""Whether a network learns more from problems that it writes itself than from fixed ones: a small
model, made here, that proposes and deduces.

A Qwen2 of 0.6 million weights reads little programs (`little_programs.py`): what they return, and
proposals of others like them. Then it learns by reinforcement, from one start, in two ways. With
the growing pool half of a step's groups propose and half deduce, and what is proposed and valid is
asked from the next step on; with the fixed pool all deduce, and the first pool stays. Both take the
same number of steps of as many groups. The trainer's own code draws and scores the groups, learns
from them, derives the pool and publishes; they count as a miner's, and there is no chain. A
proposal earns by its validity alone.

Success is the share of answers that are right, one draw at temperature 1 each, on 200 small pure
functions of packages (`registry_pieces.py`), none of which has the shape of a program that was read
or of a function of the first pool; proposals of these shapes are counted. Differences are paired.
An interval over functions is 1.96 standard errors of the seeds' mean; one over seeds is Student's.
`--out DIR` keeps the model and finished runs, and uses them again. `--fast`: little of everything.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from time import process_time

import torch
from figures import FAST, OUT, Figure, read_processor_time, report
from little_programs import write_pieces
from mixed_model import Solved, make_first, make_tokenizer, train
from registry_pieces import PIECES

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.steps.groups import generate_own
from assay.artifacts.steps.learner import make_learner
from assay.artifacts.steps.pool import DrawnBy, compute_step_pool
from assay.environments.base import Environment, Problem
from assay.environments.pieces.deduce import Deduce
from assay.environments.pieces.growth import compute_shape, measure_pool, read_pool
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.piece_environment import get_task
from assay.environments.pieces.pool import list_first_pieces, read_piece
from assay.environments.pieces.propose import Kind, Propose, ProposeTask, write_proposal
from assay.environments.problem_file import add_problem_files, compute_file_digest
from assay.environments.registry import make_environment
from assay.environments.rewards import choose_rewards
from assay.inference.checkpoint import Checkpoint
from assay.network.files import replace_file
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import MILLION, Parameters
from assay.sandbox.guest import INTERPRETER, running
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import make_demo_parameters, parse_environment
from assay.training import LearnConfig
from assay.training.held_out import try_problems
from assay.training.pretrain import PretrainConfig, pretrain_seed

SEEDS = range(1) if FAST else range(3)
STEPS, GROUPS = (2, 8) if FAST else (16, 16)
#: Programs that are read, and steps and sequences of the reading.
PROGRAMS, READING, BATCH = (500, 20, 16) if FAST else (12_000, 600, 64)
#: Share of what is read that proposes.
PROPOSING = 0.2
#: Answers to each input of each function.
TRIES = 1 if FAST else 2
#: Tokens of a completion.
LONGEST = 96
RATE, EPOCHS = 1e-4, 2
CONTEXT = 4_096
TRAINER, MINER = b"t" * 32, b"m" * 32
#: Levels of a pool that are asked: the smaller half of its functions.
LEVELS = range(1, 5)
#: Seeds less one → Student's t for two-sided 95 %.
_T = {1: 12.706, 2: 4.303}
#: Answers that are drawn together; examples that are put in order of length together.
_DRAWN, _SORTED = 256, 16 * BATCH


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to learn. `levels`: of its environment, in force from the beginning."""

    name: str
    environment: str
    levels: tuple[int, ...]


GROWING = Arm(
    "the growing pool",
    "mix,deduce=1,propose=1",
    tuple(1_000 * part + level for part in (1, 2) for level in LEVELS),
)
FIXED = Arm("the fixed pool", "deduce", tuple(LEVELS))
ARMS = GROWING, FIXED


# --- the start


def read_registry() -> list[Piece]:
    return [read_piece(line, "registry") for line in PIECES.read_bytes().splitlines()]


def list_shapes(pieces: Sequence[Piece]) -> set[str]:
    return {compute_shape(piece.function) for piece in pieces}


def write_examples(pieces: Sequence[Piece]) -> Iterator[Solved]:
    """Solved problems of these pieces, without end: outputs, and as proposals a piece's last input,
    which is not shown, its function for its pairs, or another piece."""
    deduce, propose, random = Deduce({}), Propose({}), Random(0)
    shown = [replace(one, inputs=one.inputs[:-1], outputs=one.outputs[:-1]) for one in pieces]
    hidden = {one.function: one.inputs[-1] for one in pieces}
    deduce.fill(pieces)
    propose.fill(shown)
    index = 0
    while True:
        seed, index = pretrain_seed(0, index), index + 1
        if random.random() >= PROPOSING:
            problem = deduce.make_problem(seed, deduce.levels)
            yield Solved(problem, deduce.solve(problem)[0])
            continue
        problem = propose.make_problem(seed, propose.levels)
        task = problem.answer
        assert isinstance(task, ProposeTask)
        piece = random.choice(shown) if task.kind is Kind.FUNCTION else task.piece
        given = {Kind.FUNCTION: piece.inputs[0], Kind.INPUT: hidden[piece.function]}.get(task.kind)
        function = None if task.kind is Kind.INPUT else piece.function
        yield Solved(problem, write_proposal(function, given))


def sort_examples(examples: Iterator[Solved]) -> Iterator[Solved]:
    """The same in batches of like length, which take less padding, in a random order of batches."""
    random = Random(0)
    while True:
        part = sorted(
            islice(examples, _SORTED), key=lambda one: len(one.problem.prompt) + len(one.solution)
        )
        batches = [part[start : start + BATCH] for start in range(0, _SORTED, BATCH)]
        random.shuffle(batches)
        for batch in batches:
            yield from batch


def make_start(folder: Path) -> tuple[int, float]:
    """Make the model in `folder` if it is not there. Returns its weights' number, and the
    processor's seconds."""
    kept = folder.with_suffix(".json")
    if not kept.exists():
        began = process_time()
        left_out = list_shapes([*read_registry(), *list_first_pieces()])
        pieces = list(islice(write_pieces(0, left_out), PROGRAMS))
        texts = (one.problem.prompt + one.solution for one in islice(write_examples(pieces), 2_000))
        tokenizer = make_tokenizer(texts, 512)
        config = PretrainConfig(
            steps=READING, batch=BATCH, warmup=READING // 10, learning_rate=2e-3, smoothing=0
        )
        model = make_first(tokenizer, CONTEXT)
        train(model, tokenizer, sort_examples(write_examples(pieces)), config, folder)
        weights = sum(weight.numel() for weight in model.parameters())
        _keep(kept, (weights, process_time() - began))
    weights, seconds = json.loads(kept.read_text())
    return weights, seconds


def make_parent(arm: Arm, start: Path, folder: Path) -> tuple[Checkpoint, Parameters]:
    """An arm's checkpoint 0, and its rules."""
    shutil.copytree(start, folder / "new")
    choice = parse_environment(arm.environment)
    settings = {setting.name: setting.value for setting in choice.settings}
    environment = make_environment(choice.name, settings)
    manifest = make_genesis(folder / "new", LONGEST, environment, arm.levels, problems=64)
    (folder / "models").mkdir()
    (folder / "new").rename(folder / "models" / manifest.digest.hex())
    made = make_demo_parameters(bytes(32), QUICKNET, 0, TRAINER, manifest.digest)
    rewards, work = choose_rewards(environment.rated), replace(made.work, max_tokens=LONGEST)
    parameters = replace(made, environment=choice, rewards=rewards, work=work)
    checkpoints = CheckpointFolder(folder / "models")
    return open_checkpoint(checkpoints, manifest.digest, parameters), parameters


# --- success


def list_problems(environment: Environment, pieces: Sequence[Piece]) -> list[Problem]:
    """Each input of each piece once, in order."""
    count, found = sum(len(piece.inputs) for piece in pieces), dict[tuple[str, str], Problem]()
    index = 0
    while len(found) < count:
        problem = environment.make_problem(pretrain_seed(1, index), list(environment.levels))
        task = get_task(problem)
        found.setdefault((task.piece.function, task.given), problem)
        index += 1
    return [found[piece.function, given] for piece in pieces for given in piece.inputs]


@dataclass(frozen=True)
class Course:
    """What a run ends with.

    Attributes:
        registry: success on each function of packages, in order. first: on the first pool, mean.
        valid: share of each step's proposals that are valid; none where nobody proposes.
        proposals, shapes: of the pool, and different ones. same: such as have a registry's shape.
    """

    registry: list[float]
    first: float
    valid: list[float]
    proposals: int
    shapes: int
    same: int
    seconds: float


class Examiner:
    """Asks checkpoints for what functions return."""

    def __init__(self) -> None:
        add_problem_files([PIECES])
        self.pieces = read_registry()
        named = make_environment(f"deduce:{compute_file_digest(PIECES)}", {})
        self._registry = named, list_problems(named, self.pieces)
        first = make_environment("deduce", {})
        self._first = first, list_problems(first, list_first_pieces())

    def try_registry(self, checkpoint: Checkpoint, parameters: Parameters) -> list[float]:
        """Success on each function of packages."""
        right = iter(self._try(checkpoint, parameters, *self._registry))
        return [fmean(islice(right, TRIES * len(piece.inputs))) for piece in self.pieces]

    def try_first(self, checkpoint: Checkpoint, parameters: Parameters) -> float:
        """Success on the first pool."""
        return fmean(self._try(checkpoint, parameters, *self._first))

    def _try(
        self,
        checkpoint: Checkpoint,
        parameters: Parameters,
        environment: Environment,
        problems: Sequence[Problem],
    ) -> list[bool]:
        drafter = checkpoint.get_drafter(parameters.work.temperature)
        asked = [problem for problem in problems for _ in range(TRIES)]
        seeds = [sha256(f"success {number}".encode()).digest() for number in range(len(asked))]
        right: list[bool] = []
        for at in range(0, len(asked), _DRAWN):
            part = slice(at, at + _DRAWN)
            given = environment, asked[part], seeds[part], parameters.work
            right += try_problems(drafter, checkpoint.tokenizer, *given)
        return right


# --- runs


def run_course(arm: Arm, seed: int, start: Path, examiner: Examiner, steps: int = STEPS) -> Course:
    """Take the steps, and try the last checkpoint."""
    folder = Path(tempfile.mkdtemp(prefix="assay-"))
    began, valid = _read_seconds(), []
    parent, parameters = make_parent(arm, start, folder)
    checkpoints = CheckpointFolder(folder / "models")
    config = LearnConfig(learning_rate=RATE, epochs=EPOCHS, seed=seed)
    first = parent
    learner = make_learner(first, config, lambda: first)
    for step in range(steps):
        window = 1_000 * seed + step  # other problems for each seed
        drawn = generate_own(parent, parameters, GROUPS, window)
        taken = [replace(one, hotkey=MINER) for one in drawn]
        proposed = [one.group for one in taken if one.levels[0] > 2_000]
        if proposed:
            valid.append(fmean(r == MILLION for group in proposed for r in group.rewards))
        pool = compute_step_pool(taken, window, DrawnBy(parameters, parent, checkpoints))
        stats = learner.learn([one.group for one in taken])
        manifest = checkpoints.publish(
            parent, learner.bf16_state(), sha256(f"{seed} {step}".encode()).digest(), pool=pool
        )
        parent = open_checkpoint(checkpoints, manifest.digest, parameters)
        print(
            f"  {arm.name}, seed {seed}, step {step + 1}: reward {stats.mean_reward:.3f}, "
            f"{stats.groups - stats.dropped} groups teach, {measure_pool(pool).proposals} in the "
            f"pool, {_read_seconds() - began:.0f} s",
            flush=True,
        )
    seconds = _read_seconds() - began
    figures = measure_pool(parent.piece_pool)
    known = list_shapes(examiner.pieces)
    same = sum(compute_shape(one.function) in known for one in read_pool(parent.piece_pool))
    course = Course(
        examiner.try_registry(parent, parameters),
        examiner.try_first(parent, parameters),
        valid,
        figures.proposals,
        figures.shapes,
        same,
        seconds,
    )
    shutil.rmtree(folder)
    return course


def _read_seconds() -> float:
    """Processor seconds of this process and of the sandbox."""
    return read_processor_time(running._get_children(INTERPRETER).pids)


def get_course(arm: Arm, seed: int, out: Path, examiner: Examiner, steps: int = STEPS) -> Course:
    """The run, or what is kept of it in `out`."""
    kept = out / f"{arm.environment.partition(',')[0]}-{steps}-{seed}.json"
    if not kept.exists():
        course = run_course(arm, seed, out / "model", examiner, steps)
        print(f"  {arm.name}, seed {seed}: {100 * fmean(course.registry):.2f} %", flush=True)
        _keep(kept, asdict(course))
    return Course(**json.loads(kept.read_text()))


def _keep(file: Path, what: object) -> None:
    with replace_file(file) as temporary:
        temporary.write_text(json.dumps(what))


# --- figures


def compute_interval(values: Sequence[float], factor: float) -> float:
    """Half of the interval of their mean."""
    return factor * stdev(values) / math.sqrt(len(values))


def compare(name: str, one: Sequence[Course], other: Sequence[Course]) -> list[Figure]:
    """How much higher the success of the first is, in points. Each seed's courses are a pair."""
    gaps = [
        [100 * (a - b) for a, b in zip(x.registry, y.registry, strict=True)]
        for x, y in zip(one, other, strict=True)
    ]
    by_function = [fmean(of_seeds) for of_seeds in zip(*gaps, strict=True)]
    figures = [
        Figure(name, fmean(by_function), "points"),
        Figure(
            f"{name}: half of the 95 % interval over functions",
            compute_interval(by_function, 1.96),
            "points",
        ),
    ]
    if len(gaps) - 1 in _T:
        half = compute_interval(list(map(fmean, gaps)), _T[len(gaps) - 1])
        figures.append(Figure(f"{name}: half of the 95 % interval over seeds", half, "points"))
    return figures


def describe(arm: Arm, before: Course, courses: Sequence[Course]) -> Iterator[Figure]:
    for seed, course in enumerate(courses):
        yield Figure(
            f"{arm.name}, seed {seed}: success on the registries' functions",
            100 * fmean(course.registry),
            "%",
            "before",
            100 * fmean(before.registry),
        )
    yield from compare(f"{arm.name}: gain", courses, [before] * len(courses))
    yield Figure(
        f"{arm.name}: success on the first pool, mean of seeds",
        100 * fmean(course.first for course in courses),
        "%",
        "before",
        100 * before.first,
    )
    yield Figure(
        f"{arm.name}: processor time of a run", fmean(course.seconds for course in courses), "s"
    )


def describe_pools(courses: Sequence[Course]) -> list[Figure]:
    """Of runs with a growing pool, means of seeds."""
    fifth = max(1, STEPS // 5)
    return [
        Figure(
            "valid proposals in the last fifth of the steps",
            100 * fmean(fmean(course.valid[-fifth:]) for course in courses),
            "%",
            "in the first",
            100 * fmean(fmean(course.valid[:fifth]) for course in courses),
        ),
        Figure("proposals in the last pool", fmean(one.proposals for one in courses), ""),
        Figure("shapes in the last pool", fmean(one.shapes for one in courses), ""),
        Figure(
            "proposals of a shape of the registries' functions", sum(c.same for c in courses), ""
        ),
    ]


def main() -> None:
    torch.set_num_threads(1)
    out = OUT or Path(tempfile.mkdtemp(prefix="assay-"))
    out.mkdir(parents=True, exist_ok=True)
    weights, seconds = make_start(out / "model")
    examiner = Examiner()
    print(f"  runs are kept in {out}", flush=True)
    before = get_course(FIXED, 0, out, examiner, 0)
    found: dict[str, list[Course]] = {arm.name: [] for arm in ARMS}
    for seed in SEEDS:
        for arm in ARMS:
            found[arm.name].append(get_course(arm, seed, out, examiner))
    growing, fixed = (found[arm.name] for arm in ARMS)
    figures = [
        Figure("weights of the model", weights, "", bound=12_000_000),
        Figure("pre-training: little programs", PROGRAMS, ""),
        Figure("pre-training: processor time", seconds, "s"),
        *describe(GROWING, before, growing),
        *describe(FIXED, before, fixed),
        *compare("the growing pool over the fixed one", growing, fixed),
        *describe_pools(growing),
    ]
    report(
        f"A network that writes its own problems: {STEPS} steps of {GROUPS} groups, "
        f"{len(SEEDS)} seeds, {len(examiner.pieces)} functions of packages",
        figures,
        torch.get_num_threads(),
        before=asdict(before),
        courses={name: list(map(asdict, courses)) for name, courses in found.items()},
    )


if __name__ == "__main__":
    main()
