"""A step traced operator by operator: its time compared with the step's own, the bytes of its
roots, and faults of one unit in the last place at random operators, each of which must be named.

The time is that of a step of 27 million parameters, as in `step.py`, and of the demo's first model,
whose operators take some ten microseconds each, less than any record of them does. The faults are
in a step of that model on its own groups. A fixed seed draws the operator that errs and the place.
The faulty trace is compared with the other, and for every fifth pair the operator is run again
here. `--fast` has fewer faults.
"""

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter, process_time

import torch
from figures import FAST, Figure, measure_together, report
from step import LEARNING, LENGTHS, PROMPTS, SMALL, make_groups, make_model

sys.path.append(str(Path(__file__).parents[1]))
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.folder import (
    Step,
    StepFolder,
    digest_tensors_of,
    make_record,
    read_step,
    read_step_groups,
)
from assay.artifacts.steps.groups import generate_own
from assay.artifacts.steps.learner import make_learner
from assay.artifacts.steps.trace_files import ROOTS, StoredTrace, open_trace, write_operators
from assay.audit.provenance.reexecution import learn_again, make_learner_before
from assay.audit.tracing.bisection import bisect_traces
from assay.audit.tracing.operator_calls import TensorDigests
from assay.audit.tracing.operator_modes import TraceMode
from assay.audit.tracing.step_trace import trace_learning, trace_step
from assay.inference.checkpoint import load_checkpoint
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.protocol.parameters import DEMO_TIMING
from assay.subnet.presets import NETUID, make_demo_parameters
from assay.training import GENESIS, Group, LearnConfig, Learner
from tests.adversarial.faulty_operator import FaultyMachine

THREADS = 1
GROUPS, FAULTS, REPEATS = 6, 4 if FAST else 50, 2 if FAST else 5
SEED = 27
#: One in this many faults is also judged.
JUDGED = 5
TRAINER = bytes(31) + b"t"
#: Most time of a traced step, in steps, and most bytes of its roots.
TIMES_MAX, ROOTS_MAX = 4.0, 2e6


def make_step(folder: Path) -> tuple[Step, CheckpointFolder]:
    """A step of the demo's first model on a trainer's own groups, stored like a trainer's."""
    chain = SimulatedChain(b"bench", NETUID, 0, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, (TRAINER,))
    beacons = LocalBeacon(b"bench", 0, 1_000, lambda: 0)
    parent = load_checkpoint(GENESIS)
    parameters = make_demo_parameters(chain.genesis_hash, beacons.chain, 0, TRAINER, parent.digest)
    taken = generate_own(parent, parameters, GROUPS, 0)
    config = LearnConfig(epochs=1, groups_per_batch=3, learning_rate=1e-4)
    learner = make_learner(parent, config, lambda: parent)
    steps = StepFolder(folder / "steps")
    steps.keep_before(learner, None)
    before = digest_tensors_of(learner.export_state())
    weights = learn_again(learner, taken, parent.digest)
    states = before, digest_tensors_of(learner.export_state())
    record = make_record(
        parameters,
        0,
        taken,
        (),
        parent.manifest,
        StepConfig(learner.config),
        states,
        weights,
        learner.device,
    )
    steps.keep_data(record, parameters, taken)
    steps.keep_record(record, bytes(32))
    checkpoints = CheckpointFolder(folder / "models")
    checkpoints.add(parent.folder, parent.digest)
    return read_step(steps.get_path(record.number, record.digest)), checkpoints


def time_demo(step: Step, checkpoints: CheckpointFolder, folder: Path) -> list[Figure]:
    """Times of the demo's step with and without its trace, in turn."""
    taken = read_step_groups(step)
    groups = [one.group for one in taken]
    learners = [make_learner_before(step, checkpoints) for _ in range(2)]
    plain, traced = measure_together(
        [lambda: learners[0].learn(groups), lambda: trace(learners[1], groups, folder)],
        REPEATS,
        process_time,
    )
    return describe("the demo's model", learners[0], plain, traced, folder, None)


def time_larger(folder: Path) -> list[Figure]:
    """Times of the same with 27 million parameters, once each: they are long enough."""
    groups = make_groups(1 if FAST else 2, SMALL.vocab_size, PROMPTS, LENGTHS)
    learner = Learner(make_model(SMALL), LEARNING)
    learner.learn(groups)
    times = []
    for run in (lambda: learner.learn(groups), lambda: trace(learner, groups, folder)):
        began = process_time()
        run()
        times.append(process_time() - began)
    return describe("a larger model", learner, *times, folder, TIMES_MAX)


def trace(learner: Learner, groups: list[Group], folder: Path) -> None:
    """Learn and write the trace."""
    with write_operators(folder) as writer, TraceMode(writer.append, TensorDigests(THREADS)):
        learner.learn(groups)
    print(f"  {len(writer.leaves):,} operators", flush=True)


def describe(
    name: str,
    learner: Learner,
    plain: float,
    traced: float,
    folder: Path,
    ratio_bound: float | None,
) -> list[Figure]:
    weights = sum(weight.numel() for weight in learner.model.parameters())
    step = f"a step of {name}, {weights / 1e6:.1f} M"
    roots = (folder / ROOTS).stat().st_size
    return [
        Figure(f"{step}: traced", traced, "s", "not traced", plain, ratio_bound=ratio_bound),
        Figure(f"{step}: bytes of roots", roots, "", bound=ROOTS_MAX),
    ]


def trace_faulty(
    step: Step, checkpoints: CheckpointFolder, folder: Path, operators: int, drawn: random.Random
) -> FaultyMachine:
    """Write the trace of a machine that errs once. Returns the machine, which knows the place."""
    while True:
        fault = FaultyMachine(drawn.randrange(operators), drawn.randrange(1 << 30))
        learner, taken = make_learner_before(step, checkpoints), read_step_groups(step)
        trace_learning(learner, taken, step.record, folder, fault.run)
        if fault.fell_on is not None:  # an operator that makes numbers was left
            return fault


def find_faults(step: Step, checkpoints: CheckpointFolder, folder: Path) -> list[Figure]:
    """Figures of one fault after another, each compared with a trace without a fault."""
    honest, _ = trace_step(step, checkpoints, folder / "honest")
    drawn = random.Random(SEED)
    named, standings, nodes, seconds = 0, Counter(), [], []
    for number in range(FAULTS):
        fault = trace_faulty(step, checkpoints, folder / "faulty", honest.operators, drawn)
        a, b = open_trace(str(folder / "honest")), open_trace(str(folder / "faulty"))
        began = perf_counter()
        found = bisect_traces(a, b, *((None, None) if number % JUDGED else (step, checkpoints)))
        if not number % JUDGED:
            seconds.append(perf_counter() - began)
            standings[found.a.status, found.b.status] += 1
        assert isinstance(b, StoredTrace)
        nodes.append(b.nodes)
        named += found.index == fault.fell_on
        print(f"  {found.detail}; A {found.a.status}, B {found.b.status}", flush=True)
    print(f"  A's and B's standings: {dict(standings)}")
    return [
        Figure(
            f"faults not named, of {FAULTS} of one unit in the last place",
            FAULTS - named,
            "",
            bound=0,
        ),
        Figure(
            "traces without a fault that were called wrong",
            sum(n for (a, _), n in standings.items() if a != "right"),
            "",
            bound=0,
        ),
        Figure(
            f"most nodes read, of a tree of {honest.operators:,} operators",
            max(nodes),
            "",
            bound=2 * honest.operators.bit_length() + 1,
        ),
        Figure("mean time of a bisection that repeats the step", sum(seconds) / len(seconds), "s"),
    ]


def main() -> None:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        folder = Path(name)
        step, checkpoints = make_step(folder)
        figures = time_demo(step, checkpoints, folder / "timed")
        figures += time_larger(folder / "larger")
        figures += find_faults(step, checkpoints, folder)
    report("a step operator by operator", figures, THREADS)


if __name__ == "__main__":
    main()
