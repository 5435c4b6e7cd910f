"""A small network that writes its own problems, and steps from what its miners proposed."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import Step, StepFolder, digest_tensors_of, make_record, read_step
from assay.artifacts.steps.learner import make_learner
from assay.artifacts.steps.pool import DrawnBy, compute_step_pool
from assay.environments.base import ask
from assay.environments.mixture import PartProblem
from assay.environments.pieces.piece_environment import PieceTask
from assay.environments.pieces.propose import Kind, write_proposal
from assay.environments.rewards import compute_reward
from assay.inference.checkpoint import Checkpoint
from assay.protocol.beacon import QUICKNET
from assay.protocol.manifest import start_levels
from assay.protocol.seeds import compute_problem_seed
from assay.protocol.step import StepReplay
from assay.subnet.presets import make_demo_parameters, parse_environment
from assay.training import Group, LearnConfig
from tests.small_genesis import make_small_genesis

LEARNING = LearnConfig(epochs=1, groups_per_batch=8, learning_rate=1e-3, seed=5)
LEVELS, LONGEST, ALICE, BOB = (1_001, 2_001), 120, b"a" * 32, b"b" * 32
#: Bodies of functions that no pool has, an input for each.
TRIPLE, SWAP, SUM = (
    ("return [b * 3 + 1 for b in a]", "[1, 2]"),
    ("return a[1:] + [7] + a[:1]", "[1, 2, 3]"),
    ("return sum(a) * 5 - 3", "[4]"),
)


def write(proposal: tuple[str, str]) -> str:
    body, given = proposal
    return write_proposal(f"def f(a):\n    {body}", given)


def make_network(folder: Path) -> SimpleNamespace:
    """A network that writes its own problems: its `folder`, `parameters` and `genesis`."""
    levels = start_levels(LEVELS)
    digest = make_small_genesis(folder / "new", max_tokens=LONGEST, levels=levels)
    (folder / "models").mkdir()
    (folder / "new").rename(folder / "models" / digest.hex())
    made = make_demo_parameters(bytes(32), QUICKNET, 0, b"t" * 32, digest)
    environment = parse_environment("mix,deduce=1,propose=1,propose.units=90")
    work = replace(made.work, group_size=3, max_tokens=LONGEST)
    parameters = replace(made, work=work, environment=environment)
    models = CheckpointFolder(folder / "models")
    genesis = open_checkpoint(models, digest, parameters)
    return SimpleNamespace(folder=folder, parameters=parameters, genesis=genesis)


def propose(
    network: SimpleNamespace,
    drawn: Checkpoint,
    hotkey: bytes,
    index: int,
    texts: Sequence[str],
    kind: Kind | None = Kind.FUNCTION,
    about: str = "",
) -> ConsumedGroup:
    """A group whose completions are these texts.

    Args:
        kind: of a proposal; None: an output is asked, and an empty text is the right one.
        about: text of the function that its problem is about.
    """
    parameters, tokenizer = network.parameters, drawn.tokenizer
    environment = drawn.open_environment(parameters.environment)
    for place in range(2_000):
        seed = compute_problem_seed(bytes([place % 256]) * 32, hotkey, index + 1_000 * place)
        problem = environment.make_problem(seed, [LEVELS[kind is not None]])
        asked = problem.answer
        assert isinstance(asked, PartProblem)
        task = asked.problem.answer
        assert isinstance(task, PieceTask)
        fits = getattr(task, "kind", None) is kind and about in task.piece.function
        if fits and len(problem.prompt) < 1_200:
            break
    else:
        raise AssertionError("no seed asks for this")
    rewards, rows = [], []
    for text in texts:
        text = text or environment.solve(problem)[0]
        rows.append([*tokenizer.encode(ask(text)), drawn.manifest.end_tokens[0]])
        parts = environment.score(problem, text)
        longest = parameters.work.max_tokens
        rewards.append(compute_reward(parts, len(rows[-1]), parameters.rewards, longest))
    prompt = tokenizer.encode(problem.conversation)
    logprobs, replies = [[-1.0] * len(row) for row in rows], [[] for _ in rows]
    group = Group(prompt, rows, rewards, logprobs, replies)
    proof = hotkey[::-1]
    place = (drawn.digest, proof, seed, (problem.level,))
    return ConsumedGroup(group, 3, hotkey, index, *place)


def teach(
    network: SimpleNamespace,
    folder: Path,
    parent: Checkpoint,
    taken: Sequence[ConsumedGroup],
    replayed: tuple[StepReplay, ...] | None = None,
    pool: bytes | None = None,
) -> tuple[Step, CheckpointFolder]:
    """A trainer's step from these groups, with its checkpoint, in a folder of its own.

    Args:
        pool: the checkpoint's; None: the one that is due.
    """
    shutil.copytree(network.folder / "models", folder / "models", dirs_exist_ok=True)
    models, steps = CheckpointFolder(folder / "models"), StepFolder(folder / "steps")
    learner = make_learner(parent, LEARNING, lambda: parent)
    before = digest_tensors_of(learner.export_state())
    steps.keep_before(learner, None)
    learner.learn([one.group for one in taken])
    weights = learner.bf16_state()
    states = before, digest_tensors_of(learner.export_state())
    config = StepConfig(replace(learner.config, step=learner.step - 1))
    device = torch.device("cpu")
    given = network.parameters, 3, taken, [], parent.manifest, config, states, weights, device
    record = make_record(*given, replayed)
    steps.keep_data(record, network.parameters, taken)
    if pool is None:
        pool = compute_step_pool(taken, 3, DrawnBy(network.parameters, parent, models))
    made = models.publish(parent, weights, record.digest, pool=pool)
    steps.keep_record(record, made.digest)
    return read_step(steps.get_path(record.number, record.digest)), models
