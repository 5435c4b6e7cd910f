"""Learning in the full loop, compared with TRL's own trainer and with bare training, with forgers
among the miners, and with the trainer's own rollouts mixed in.

A subnet in memory (the chain's simulator, BLS beacons, files, stores, the judge) runs from the
shipped model, with sums of three terms only. In each window miners mine, and the trainer judges
every group, learns and publishes. TRL's `GRPOTrainer` gets the same problems in the same order, the
same number of updates and the same settings. It generates by itself, so it is never a checkpoint
behind. It is compared with the loop that learns only from the newest checkpoint's rollouts (`sync =
sequential`, every second window). Learning from every window costs staleness, and that difference
is a separate figure. Plots are stored with the figures. Seconds are processor time on one core, so
other work of the machine does not count. `--fast`: one seed, few steps.
"""

import shutil
import statistics
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import matplotlib

matplotlib.use("Agg")
import torch
from figures import FAST, Figure, report, time_cpu
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator
from trl_trainer import TrlCourse, make_trl_trainer

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepChoice
from assay.artifacts.steps.folder import StepFolder, read_step, read_step_groups
from assay.artifacts.steps.learner import make_learner
from assay.environments.levels import Success
from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.draft import Request
from assay.lab.gauntlet.content_attacks import FakingMiner, JunkAppended, ShuffledSketch
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.files import write_json
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import to_json
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import DEMO_TIMING
from assay.settings.learning import make_learning
from assay.subnet.presets import DEMO_WORK, NETUID, make_demo_parameters
from assay.subnet.recipe import read_recipe
from assay.training import GENESIS
from assay.training.genesis_model import make_tokenizer
from assay.training.held_out import evaluate

SEEDS = range(1) if FAST else range(3)
STEPS = 3 if FAST else 18
GROUPS = 8 if FAST else 24  # of a miner in each window
PROBLEMS = 256 if FAST else 1_500
EVERY = 1 if FAST else 3  # checkpoints between two evaluations
LEVELS = (5,)  # sums of three terms
LEARNING = make_learning(read_recipe("genesis-arithmetic").trainer)
LOCATOR = "bench:store"
HONEST = 2
#: One in addition to two honest miners; another one for each seed.
FORGERS = (FakingMiner, ShuffledSketch, JunkAppended)
PLOTS = Path(__file__).with_name("results")

Curve = list[tuple[int, Success]]


@dataclass(frozen=True)
class Course:
    """One run of the loop: its folder, the time of its parts, and its results."""

    folder: Path
    lessons: list[Lesson]
    seconds: float
    curve: Curve
    refused: int


def make_genesis(folder: Path) -> Checkpoint:
    """Write the shipped weights with sums of three terms as their only problems."""
    target = folder / "genesis"
    shutil.copytree(GENESIS, target)
    manifest = replace(load_checkpoint(GENESIS).manifest, levels=start_levels(LEVELS))
    write_json(target / "manifest.json", to_json(manifest))
    return load_checkpoint(target)


def run_loop(
    seed: int,
    forgers: Sequence[type[Miner]] = (),
    groups: int = GROUPS,
    staleness: int = 8,
    **mixing: Any,
) -> Course:
    """Run STEPS steps. The course has the held-out accuracy of every EVERY-th checkpoint."""
    windows = STEPS if staleness else 2 * STEPS  # every other window is too old
    folder = Path(tempfile.mkdtemp(prefix="assay-"))
    names = [*(f"honest {i}" for i in range(HONEST)), *(f"forger {i}" for i in range(len(forgers)))]
    hotkeys = {n: sha256(f"{seed} {n}".encode()).digest() for n in ("owner", "trainer", *names)}
    name = f"learning {seed}".encode()
    chain = SimulatedChain(
        name,
        NETUID,
        1_700_000_000_000,
        DEMO_TIMING.slot_ms,
        DEMO_TIMING.tempo,
        tuple(hotkeys.values()),
    )
    beacons = LocalBeacon(
        name, 1_700_000_000_000, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    genesis = make_genesis(folder)
    checkpoints = CheckpointFolder(folder / "models")
    checkpoints.add(genesis.folder, genesis.digest)
    parameters = make_demo_parameters(
        chain.genesis_hash, beacons.chain, 0, hotkeys["trainer"], genesis.digest
    )
    history = ParameterHistory(parameters)
    store = open_folder(folder / "store")
    outside = MinerDependencies(chain, beacons, checkpoints, store, LOCATOR)
    config = MinerConfig(groups, groups, last_window=windows - 1)  # nobody learns from later ones
    kinds = [*[Miner] * HONEST, *forgers]
    miners = [
        kind(n, hotkeys[n], history, outside, config, lambda line: None)
        for n, kind in zip(names, kinds, strict=True)
    ]
    lessons: list[Lesson] = []
    trainer = Trainer(
        hotkeys["trainer"],
        history,
        JudgeSources(chain, beacons, checkpoints, {LOCATOR: store}),
        TrainerConfig(
            replace(LEARNING, seed=seed),
            LOCATOR,
            steps=StepFolder(folder / "steps", STEPS),
            last_window=windows - 1,
            staleness=staleness,
            choice=StepChoice(**mixing),
        ),
        lessons.append,
        lambda line: print(f"  {line}"),
    )

    def play() -> None:
        while len(lessons) < STEPS and (trainer.window or 0) < windows:
            chain.mint()
            for miner in miners:
                while miner.step():
                    pass
            while trainer.step():
                pass

    _, seconds = time_cpu(play)
    environment = open_environment(parameters.environment)
    digests = [genesis.digest, *(lesson.published.digest for lesson in lessons)]
    curve = [
        (i, evaluate(checkpoints.get(digest), environment, parameters.work, PROBLEMS))
        for i, digest in enumerate(digests)
        if i % EVERY == 0 or i == len(digests) - 1
    ]
    expected = len(miners) * groups
    taken = sum(len(lesson.rewards) for lesson in lessons)
    return Course(folder, lessons, seconds, curve, len(lessons) * expected - taken)


def get_taken(course: Course) -> list[list[Any]]:
    """The groups that each step consumed."""
    return [
        read_step_groups(read_step(p))
        for p in sorted((course.folder / "steps").glob("step-*.json"))
    ]


def run_bare(course: Course) -> float:
    """Seconds of the same rollouts and updates without a subnet: draw, compute log-probabilities
    once, learn."""
    checkpoints = CheckpointFolder(course.folder / "models")
    first = checkpoints.get(course.lessons[0].published.parent)
    learner = make_learner(first, LEARNING, lambda: first)
    model = first.load_trainable()

    def learn(taken: list[Any]) -> None:
        model.load_state_dict({n: w.float() for n, w in learner.bf16_state().items()})
        drafter = first.get_drafter(1_024, model)
        requests = [
            Request(tuple(one.group.prompt), sha256(bytes([r]) + one.problem_seed).digest())
            for one in taken
            for r in range(len(one.group.rewards))
        ]
        drafter.draft(requests)
        with torch.no_grad():
            for one in taken:
                longest = max(map(len, one.group.completions))
                rows = [
                    one.group.prompt + c + [0] * (longest - len(c)) for c in one.group.completions
                ]
                model(input_ids=torch.tensor(rows), use_cache=False).logits.log_softmax(-1)
        learner.learn([one.group for one in taken])

    return time_cpu(lambda: [learn(taken) for taken in get_taken(course)])[1]


def run_trl(course: Course, seed: int) -> Curve:
    """Run TRL's own trainer on the same problems. Returns its held-out accuracy at the same
    steps."""
    checkpoints = CheckpointFolder(course.folder / "models")
    genesis = checkpoints.get(course.lessons[0].published.parent)
    steps = get_taken(course)
    environment = open_environment(read_parameters(course).environment)
    model = genesis.load_trainable()
    states: list[dict[str, torch.Tensor]] = []
    trainer = make_trl_trainer(
        TrlCourse(
            environment,
            [
                [environment.make_problem(one.problem_seed, LEVELS) for one in taken]
                for taken in steps
            ],
            replace(LEARNING, seed=seed),
            len(steps[0][0].group.rewards),
            genesis.manifest.max_tokens,
            course.folder / "trl",
        ),
        model,
        make_tokenizer(),
        lambda step: states.append(
            {n: w.detach().to(torch.bfloat16).clone() for n, w in model.state_dict().items()}
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    wanted = {i for i, _ in course.curve}
    curve = [course.curve[0]]
    for i, state in enumerate(states, start=1):
        if i in wanted:
            manifest = checkpoints.publish(
                genesis, state, sha256(f"trl {seed} {i}".encode()).digest()
            )
            made = checkpoints.get(manifest.digest)
            curve.append((i, evaluate(made, environment, DEMO_WORK, PROBLEMS)))
    return curve


def read_parameters(course: Course) -> Any:
    from assay.artifacts.discovery import fetch_parameters

    step = read_step(next((course.folder / "steps").glob("step-*.json")))
    return fetch_parameters(open_folder(course.folder / "steps" / "rules"), step.record.parameters)


def plot(name: str, title: str, curves: dict[str, list[Curve]]) -> None:
    """Plot the mean over seeds, and the range of the 95 % intervals."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    for label, runs in curves.items():
        steps = [i for i, _ in runs[0]]
        means = [statistics.mean(run[k][1].value for run in runs) for k in range(len(steps))]
        lows = [min(run[k][1].interval[0] for run in runs) for k in range(len(steps))]
        highs = [max(run[k][1].interval[1] for run in runs) for k in range(len(steps))]
        axes.plot(steps, means, "o-", label=f"{label} ({len(runs)} seeds)")
        axes.fill_between(steps, lows, highs, alpha=0.15)
    axes.set(xlabel="steps", ylabel="held-out accuracy", ylim=(0, 1), title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / f"learning_{name}.png")
    pyplot.close(figure)


def compute_gain(curve: Curve) -> float:
    """Percentage points from the first trial to the last."""
    return 100 * (curve[-1][1].value - curve[0][1].value)


def compute_noise(runs: Sequence[Curve], others: Sequence[Curve]) -> float:
    """1.96 standard errors of a difference of mean gains over seeds and problems, in percentage
    points."""
    total = 0.0
    for group in (runs, others):
        ends = [curve[-1][1] for curve in group]
        binomial = sum(e.value * (1 - e.value) / e.asked for e in ends) / len(ends) ** 2
        seeds = statistics.variance([e.value for e in ends]) / len(ends) if len(ends) > 1 else 0.0
        total += binomial + seeds
    return 196 * total**0.5


def warm_up() -> None:
    """Compile everything that is compiled at first use, so that no figure includes it."""
    load_checkpoint(GENESIS).get_drafter(1_024).draft([Request((10, 11), bytes(32))])


def repeat(what: str, run: Callable[[int], Any]) -> list[Any]:
    """One run for each seed."""
    results = []
    for seed in SEEDS:
        started = perf_counter()
        results.append(run(seed))
        print(f"{what}, seed {seed}: {perf_counter() - started:.0f} s")
    return results


def main() -> None:
    torch.set_num_threads(1)
    warm_up()
    courses = repeat("loop", lambda seed: run_loop(seed))
    clean = [course.curve for course in courses]
    bare = [run_bare(course) for course in courses]
    in_step = repeat("loop, sequential", lambda seed: run_loop(seed, staleness=0))
    newest = [course.curve for course in in_step]
    theirs = repeat("TRL", lambda seed: run_trl(in_step[seed], seed))
    poisoned = repeat("with a forger among three", lambda seed: run_loop(seed, [FORGERS[seed]]))
    local = repeat("8 local", lambda s: run_loop(s, groups=4, local_groups=8, external_groups=0))
    mixed = repeat("4 + 4", lambda s: run_loop(s, groups=4, local_groups=4, external_groups=4))
    plot(
        "loop",
        "the loop beside TRL's own trainer",
        {"Assay, async": clean, "Assay, sequential": newest, "TRL": theirs},
    )
    dirty = [course.curve for course in poisoned]
    plot("poisoned", "forgers among the miners", {"honest alone": clean, "with forgers": dirty})
    alone, both = [c.curve for c in local], [c.curve for c in mixed]
    plot("mixed", "whose rollouts", {"8 local": alone, "4 local + 4 external": both})
    mean = statistics.mean
    gain = mean(map(compute_gain, clean))
    better = mean(map(compute_gain, theirs)) - mean(map(compute_gain, newest))
    seconds = mean(course.seconds for course in courses)
    report(
        f"Learning: {STEPS} steps of {HONEST * GROUPS} groups of 8, {len(SEEDS)} seeds, "
        f"{PROBLEMS} held-out problems",
        [
            Figure("gain of the loop, sums of three terms", gain, "points"),
            Figure("CPU time of the loop", seconds, "s", bound=600),
            Figure(
                "TRL's gain minus the sequential loop's",
                better,
                "points",
                bound=compute_noise(newest, theirs),
            ),
            Figure(
                "cost of staleness: sequential gain minus async gain",
                mean(map(compute_gain, newest)) - gain,
                "points",
            ),
            Figure(
                "CPU time of the loop", seconds, "s", "bare training", mean(bare), ratio_bound=1.4
            ),
            Figure(
                "gain without forgers minus gain with forgers",
                abs(gain - mean(map(compute_gain, dirty))),
                "points",
                bound=compute_noise(clean, dirty),
            ),
            Figure("forgers' groups refused", sum(c.refused for c in poisoned), "groups"),
            Figure(
                "gain with 8 groups, all the trainer's own",
                mean(map(compute_gain, alone)),
                "points",
            ),
            Figure(
                "gain with 8 groups, half of them the trainer's own",
                mean(map(compute_gain, both)),
                "points",
            ),
        ],
        torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
