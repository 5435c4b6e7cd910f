"""The pool that a step makes, and trainers that leave out, add or move what was proposed."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from assay.artifacts.checkpoints.folder import (
    CheckpointFolder,
    find_checkpoint_fault,
    open_checkpoint,
)
from assay.artifacts.checkpoints.pool_file import POOL_PATH, name_pool
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import (
    Step,
    StepFolder,
    digest_tensors_of,
    make_record,
    read_step,
    read_taken,
)
from assay.artifacts.steps.pool import DrawnBy, compute_step_pool
from assay.artifacts.steps.store import fetch_step, publish_step
from assay.audit.provenance.proposals import read_pool_history
from assay.audit.provenance.reexecution import reexecute
from assay.audit.provenance.step_export import make_rows
from assay.cli.app import app
from assay.environments import ask, compute_reward
from assay.environments.mixture import PartProblem
from assay.environments.pieces.growth import read_pool, write_pool
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.piece_environment import PieceTask
from assay.environments.pieces.propose import Kind, write_proposal
from assay.inference import Checkpoint, CheckpointError
from assay.inference.folder import MANIFEST_FILE, list_small_files
from assay.network import ObjectStore, open_folder
from assay.network.files import write_json
from assay.neurons.trainer.program import describe_pool
from assay.neurons.trainer.setup import make_learner
from assay.protocol import StepReplay
from assay.protocol.beacon import QUICKNET
from assay.protocol.encoding import to_json
from assay.protocol.manifest import Manifest, start_levels
from assay.protocol.seeds import compute_problem_seed
from assay.subnet.presets import make_demo_parameters, parse_environment
from assay.training import Group, LearnConfig
from tests.absent import has_sandbox
from tests.small_genesis import make_small_genesis

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

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


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("pools")
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
    config = replace(learner.config, step=learner.step - 1)
    device = torch.device("cpu")
    given = network.parameters, 3, taken, [], parent.manifest, config, states, weights, device
    record = make_record(*given, replayed)
    steps.keep_data(record, network.parameters, taken)
    if pool is None:
        pool = compute_step_pool(taken, 3, network.parameters, parent, models)
    made = models.publish(parent, weights, record.digest, pool=pool)
    steps.keep_record(record, made.digest)
    return read_step(steps.get_path(record.number, record.digest)), models


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def list_bodies(pool: bytes) -> list[str]:
    return [piece.function.partition("\n    ")[2] for piece in read_pool(pool)]


@pytest.fixture(scope="module")
def taught(network: SimpleNamespace) -> SimpleNamespace:
    """A step from proposals of two miners."""
    genesis, folder = network.genesis, network.folder / "taught"
    taken = [
        propose(network, genesis, ALICE, 4, [write(SWAP), "nothing", write(TRIPLE)]),
        propose(network, genesis, BOB, 0, [write(TRIPLE), write(("return a", "1")), write(SUM)]),
    ]
    step, models = teach(network, folder, genesis, taken)
    child = open_checkpoint(models, step.child, network.parameters)
    return SimpleNamespace(step=step, models=models, child=child, taken=taken, folder=folder)


def test_the_pool_has_valid_proposals_in_order(taught: SimpleNamespace) -> None:
    pool = taught.child.piece_pool
    assert list_bodies(pool) == [body for body, _ in (SWAP, TRIPLE, SUM)]
    assert taught.child.manifest.files == name_pool((), pool)
    assert (taught.child.folder / POOL_PATH).read_bytes() == pool
    found = reexecute(taught.step, taught.models)
    assert (found.equal, found.tensor) == (True, None), found.detail


def test_what_does_not_count(network: SimpleNamespace, taught: SimpleNamespace) -> None:
    """The trainer's own groups do not, and other parts' problems have no proposals."""
    genesis, parameters = network.genesis, network.parameters
    trainer = parameters.identity.trainer
    own = [replace(one, hotkey=trainer) for one in taught.taken]
    given = genesis, taught.models
    assert compute_step_pool(own, 3, parameters, *given) == b""
    mixed = [*own, taught.taken[1]]
    pool = compute_step_pool(mixed, 3, parameters, *given)
    assert list_bodies(pool) == [TRIPLE[0], SUM[0]]
    again = compute_step_pool(taught.taken[::-1], 3, parameters, *given)
    assert again == taught.child.piece_pool
    other = replace(parameters, environment=parse_environment("mix,deduce=1,sat=1"))
    assert compute_step_pool(taught.taken, 3, other, taught.child, taught.models) == again


def test_a_replayed_group_counts_in_the_step_of_its_window_alone(
    network: SimpleNamespace, taught: SimpleNamespace
) -> None:
    """Neither one whose proposals are in the pool, nor one that its own step had left over, nor one
    whose proposals have left the pool again."""
    genesis, given = network.genesis, (taught.child, taught.models)
    known, other = taught.taken
    over = propose(
        network, genesis, ALICE, 5, [write(("return [b * 7 - 9 for b in a]", "[1]")), "no", "no"]
    )
    fresh = replace(other, window=4)
    compute = partial(compute_step_pool, window=4, parameters=network.parameters)
    for replays in ([known], [over], [known, over]):
        taken = [fresh, *replays]
        assert compute(taken, parent=given[0], checkpoints=given[1]) == taught.child.piece_pool
    emptied = replace(taught.child, piece_pool=b"")
    pool = compute([fresh, known, over], parent=emptied, checkpoints=given[1])
    assert list_bodies(pool) == [TRIPLE[0], SUM[0]]
    assert len(list_bodies(compute_step_pool([over], 3, network.parameters, *given))) == 4


def lie(taught: SimpleNamespace, folder: Path, pool: bytes) -> Any:
    """What the repetition finds where the made checkpoint has this pool."""
    shutil.copytree(taught.folder, folder)
    honest: Manifest = taught.child.manifest
    manifest = replace(honest, files=name_pool((), pool))
    models, target = folder / "models", folder / "models" / manifest.digest.hex()
    (models / honest.digest.hex()).rename(target)
    (target / POOL_PATH).unlink()
    if pool:
        (target / POOL_PATH).write_bytes(pool)
    write_json(target / MANIFEST_FILE, to_json(manifest))
    step = read_step(folder / "steps" / taught.step.path.name)
    return reexecute(replace(step, child=manifest.digest), CheckpointFolder(models))


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("leaves out", "leaves out"),
        ("leaves out the last", "leaves out"),
        ("leaves out all", "leaves out"),
        ("adds", "its row 4"),
        ("adds a favourite", "its row 2"),
        ("reorders", "is due there"),
        ("changes an output", "its row 1 has other inputs or outputs"),
    ],
)
def test_a_trainer_with_a_false_pool_is_named(
    taught: SimpleNamespace, tmp_path: Path, attack: str, said: str
) -> None:
    first, second, third = read_pool(taught.child.piece_pool)
    added = Piece("def f(a):\n    return a - 77", ("5",), ("-72",), 12)
    false = {
        "leaves out": [first, third],
        "leaves out the last": [first, second],
        "leaves out all": [],
        "adds": [first, second, third, added],
        "adds a favourite": [first, added, second, third],
        "reorders": [second, first, third],
        "changes an output": [replace(first, outputs=("[9]",)), second, third],
    }[attack]
    found = lie(taught, tmp_path / "lie", write_pool(false))
    assert not found.equal
    assert "the made checkpoint's pool is another" in found.detail
    assert said in found.detail


def test_a_pool_that_is_none_makes_a_checkpoint_unusable(
    network: SimpleNamespace, taught: SimpleNamespace
) -> None:
    assert find_checkpoint_fault(taught.child, network.parameters) is None
    damaged = replace(taught.child, piece_pool=taught.child.piece_pool * 2)
    fault = find_checkpoint_fault(damaged, network.parameters)
    assert fault == "the pool has a function twice"


def test_the_pool_in_a_trainers_status(network: SimpleNamespace, taught: SimpleNamespace) -> None:
    choice = network.parameters.environment
    told = describe_pool(taught.child, choice)
    assert told is not None
    numbers = told["proposals"], told["shapes"], told["largest"], told["inputs"]
    assert numbers == (3, 3, 1, 1.0)
    assert told["size"] == sum(p.size for p in read_pool(taught.child.piece_pool)) / 3
    assert describe_pool(None, choice) is None
    assert describe_pool(taught.child, parse_environment("mix,deduce=1,sat=1")) is None
    genesis = describe_pool(network.genesis, choice)
    assert genesis is not None
    assert (genesis["proposals"], genesis["size"]) == (0, 0.0)


def test_the_next_steps_problems_and_pool(
    network: SimpleNamespace, taught: SimpleNamespace, tmp_path: Path
) -> None:
    child = taught.child
    known = propose(network, child, ALICE, 2, [write(TRIPLE), "no", "nothing"])
    assert known.group.rewards[0] < taught.taken[0].group.rewards[2]
    wider = ["#### [5, 5]", "#### [1, 2, 3]", "#### [5, 5]"]
    given = network, child, BOB, 0, wider, Kind.INPUT, "[b * 3 + 1"
    right, wrong = "", "#### no"
    asked = [
        propose(network, child, ALICE, 3, [right, wrong, right], None, "[b * 3 + 1"),
        propose(network, child, BOB, 1, [wrong, wrong, right], None, "[b * 3 + 1"),
        propose(network, child, ALICE, 6, [wrong, wrong, wrong], None, SUM[0]),
    ]
    taken = [known, propose(*given), *asked]
    shutil.copytree(taught.folder, tmp_path / "next")
    step, models = teach(network, tmp_path / "next", child, taken)
    made = open_checkpoint(models, step.child, network.parameters)
    assert list_bodies(made.piece_pool) == list_bodies(child.piece_pool)
    inputs = [piece.inputs for piece in read_pool(made.piece_pool)]
    assert inputs[1] == (TRIPLE[1], "[5, 5]", "[1, 2, 3]")
    found = reexecute(step, models)
    assert (found.equal, found.tensor) == (True, None), found.detail
    history = read_pool_history(tmp_path / "next", 8)
    assert (history.number, history.steps, history.figures.proposals) == (2, 2, 3)
    places = [(row.number, row.hotkey, row.index, row.rollout) for row in history.rows]
    assert places == [(1, BOB, 0, 2), (1, ALICE, 4, 2), (1, ALICE, 4, 0)]
    tried = [(row.tries, row.solves, row.solvers) for row in history.rows]
    assert tried == [(3, 0, []), (6, 3, [ALICE, BOB]), (0, 0, [])]
    newest = read_pool_history(tmp_path / "next", 1)
    assert [(row.number, row.tries) for row in newest.rows] == [(None, 3), (None, 6), (None, 0)]
    result = invoke("train", "proposals", "--dir", tmp_path / "next", "--rows", "2", "--json")
    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["checkpoint"], len(shown["rows"])) == (0, 2, 2)
    assert shown["pool"]["proposals"] == 3
    assert [row["tries"] for row in shown["rows"]] == [3, 6]
    spoken = invoke("train", "proposals", "--dir", tmp_path / "next").stdout
    assert "3 proposals of 3 shapes" in spoken
    assert "return sum(a) * 5 - 3" in spoken


def publish(network: SimpleNamespace, step: Step, store: ObjectStore) -> None:
    """Upload the first checkpoint, a step, its parent and what it made."""
    models = CheckpointFolder(step.path.parent.parent / "models")
    made = models.get(step.child)
    assert publish_step(store, StepFolder(step.path.parent), made.manifest, with_state=True) == []
    for digest in (network.genesis.digest, step.record.parent, step.child):
        publish_checkpoint(store, models.get(digest).folder, digest)


def test_a_stranger_fetches_the_pool_with_the_checkpoint(
    network: SimpleNamespace, taught: SimpleNamespace, tmp_path: Path
) -> None:
    store = open_folder(tmp_path / "store")
    publish(network, taught.step, store)
    assert f"checkpoints/{taught.child.digest.hex()}/{POOL_PATH}" in list(store.list())
    path = fetch_step([store], taught.child.digest, tmp_path / "stranger")
    models = CheckpointFolder(tmp_path / "stranger" / "models")
    assert models.get_outline(taught.child.digest).piece_pool == taught.child.piece_pool
    assert reexecute(read_step(path), models).equal


def test_of_the_checkpoint_that_drew_a_step_no_tensors_are_fetched(
    network: SimpleNamespace, taught: SimpleNamespace, tmp_path: Path
) -> None:
    """Of rollouts under the checkpoint before the parent: for that one a function is new which the
    pool has by now."""
    genesis, parent = network.genesis, taught.child
    shutil.copytree(taught.folder, tmp_path / "late")
    taken = [propose(network, genesis, ALICE, 1, [write(TRIPLE), "no", write(("return 0", "1"))])]
    assert taken[0].group.rewards[0] > taken[0].group.rewards[1]
    step, models = teach(network, tmp_path / "late", parent, taken)
    assert models.get_outline(step.child).piece_pool == parent.piece_pool
    store, stranger = open_folder(tmp_path / "store"), tmp_path / "stranger" / "models"
    publish(network, step, store)
    outline = stranger / f"{genesis.digest.hex()}.outline"
    for _ in range(2):  # the second finds all of it here
        path = fetch_step([store], step.child, tmp_path / "stranger")
        whole = {stranger / digest.hex() for digest in (parent.digest, step.child)}
        assert set(stranger.iterdir()) == {*whole, outline}
    files = {str(path.relative_to(outline)) for path in outline.rglob("*") if path.is_file()}
    assert files == {MANIFEST_FILE, *list_small_files(genesis.manifest)}
    found = reexecute(read_step(path), CheckpointFolder(stranger))
    assert (found.equal, found.tensor) == (True, None), found.detail


def test_a_step_after_an_amendment_that_drops_proposals(
    network: SimpleNamespace, taught: SimpleNamespace, tmp_path: Path
) -> None:
    """The pool stays, and the window's problems are of an older one than the parent's."""
    genesis, parent = network.genesis, taught.child
    choice = parse_environment("mix,deduce=1,sat=1")
    changed = {"parameters": replace(network.parameters, environment=choice)}
    later = SimpleNamespace(**(vars(network) | changed))
    environments = genesis.open_environment(choice), parent.open_environment(choice)

    def is_other(one: ConsumedGroup) -> bool:
        before, after = (each.make_problem(one.problem_seed, one.levels) for each in environments)
        return before != after

    drawn = (propose(later, genesis, ALICE, i, ["", "#### no", ""], None) for i in range(30))
    taken = [next(filter(is_other, drawn))]
    shutil.copytree(taught.folder, tmp_path / "later")
    step, _ = teach(later, tmp_path / "later", parent, taken)
    store = open_folder(tmp_path / "store")
    publish(later, step, store)
    fetched = read_step(fetch_step([store], step.child, tmp_path / "stranger"))
    models = CheckpointFolder(tmp_path / "stranger" / "models")
    found = reexecute(fetched, models)
    assert (found.equal, found.tensor) == (True, None), found.detail
    assert len(list(make_rows(fetched, read_taken(fetched), models))) == 3
    shutil.rmtree(tmp_path / "stranger" / "models" / f"{genesis.digest.hex()}.outline")
    with pytest.raises(CheckpointError):
        reexecute(fetched, models)
    with pytest.raises(CheckpointError):
        list(make_rows(fetched, read_taken(fetched), models))
    empty = CheckpointFolder(tmp_path / "empty")
    gone = replace(taken[0], checkpoint=bytes(32))
    assert DrawnBy(later.parameters, genesis, empty).find(gone) is genesis  # no pool: all alike


class Asked:
    """A store that notes what it is asked for."""

    def __init__(self, store: ObjectStore) -> None:
        self.names: list[str] = []
        self._store = store

    def open(self, name: str) -> Any:
        self.names.append(name)
        return self._store.open(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("windows of one step", "replayed from a second window of step 1"),
        ("a window of many", "of another checkpoint than those before it of its window"),
        ("own", "the trainer's own, of another checkpoint than the step's parent"),
    ],
)
def test_a_step_of_any_number_of_checkpoints_is_named_and_none_is_fetched(
    network: SimpleNamespace, taught: SimpleNamespace, tmp_path: Path, attack: str, said: str
) -> None:
    parent, trainer = taught.child, network.parameters.identity.trainer
    honest = propose(network, parent, ALICE, 2, [write(TRIPLE), "no", "nothing"])
    named = [sha256(bytes([i])).digest() for i in range(3)]
    false = {
        "windows of one step": [
            replace(honest, window=i, checkpoint=digest) for i, digest in enumerate(named)
        ],
        "a window of many": [
            replace(honest, index=7 + i, checkpoint=digest) for i, digest in enumerate(named)
        ],
        "own": [
            replace(honest, hotkey=trainer, index=i, checkpoint=digest, proof=bytes(32))
            for i, digest in enumerate(named)
        ],
    }[attack]
    replayed = tuple(
        StepReplay(bytes(32), 1, one.window, one.hotkey, one.proof, 1)
        for one in false
        if one.window != honest.window
    )
    shutil.copytree(taught.folder, tmp_path / "false")
    given = parent, [honest, *false], replayed or None, parent.piece_pool
    step, _ = teach(network, tmp_path / "false", *given)
    store = open_folder(tmp_path / "store")
    publish(network, step, store)
    asked: Any = Asked(store)
    fetched = read_step(fetch_step([asked], step.child, tmp_path / "stranger"))
    assert asked.names
    assert not [name for name in asked.names if any(one.hex() in name for one in named)]
    found = reexecute(fetched, CheckpointFolder(tmp_path / "stranger" / "models"))
    assert not found.equal
    assert found.detail.endswith(said)
