"""The pool that a step makes, and trainers that leave out, add or move what was proposed."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from assay.artifacts.checkpoints.folder import (
    CheckpointFolder,
    find_checkpoint_fault,
    open_checkpoint,
)
from assay.artifacts.checkpoints.pool_file import POOL_PATH, name_pool
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.file import ConsumedGroup, open_step_parser
from assay.artifacts.steps.folder import Step, StepFolder, read_step, read_step_groups
from assay.artifacts.steps.pool import DrawnBy, compute_step_pool
from assay.artifacts.steps.store import fetch_step, publish_step
from assay.audit.provenance.proposals import (
    StepFindings,
    make_mark,
    make_pool_history,
    open_place,
    read_pool_history,
    read_step_findings,
)
from assay.audit.provenance.reexecution import reexecute
from assay.audit.provenance.step_export import make_rows
from assay.cli.app import app
from assay.environments.pieces.growth import read_pool, write_pool
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.propose import Kind
from assay.inference.folder import MANIFEST_FILE, CheckpointError, list_small_files
from assay.network.files import write_json
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.neurons.trainer.status import describe_pool
from assay.protocol.encoding import to_json
from assay.protocol.manifest import Manifest
from assay.protocol.step import StepReplay
from assay.subnet.presets import parse_environment
from tests.absent import has_sandbox
from tests.audit.provenance.proposing import (
    ALICE,
    BOB,
    SUM,
    SWAP,
    TRIPLE,
    make_network,
    propose,
    teach,
    write,
)

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return make_network(tmp_path_factory.mktemp("pools"))


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
    drawn = DrawnBy(parameters, genesis, taught.models)
    assert compute_step_pool(own, 3, drawn) == b""
    mixed = [*own, taught.taken[1]]
    pool = compute_step_pool(mixed, 3, drawn)
    assert list_bodies(pool) == [TRIPLE[0], SUM[0]]
    again = compute_step_pool(taught.taken[::-1], 3, drawn)
    assert again == taught.child.piece_pool
    other = replace(parameters, environment=parse_environment("mix,deduce=1,sat=1"))
    later = DrawnBy(other, taught.child, taught.models)
    assert compute_step_pool(taught.taken, 3, later) == again


def test_a_replayed_group_counts_in_the_step_of_its_window_alone(
    network: SimpleNamespace, taught: SimpleNamespace
) -> None:
    """Neither one whose proposals are in the pool, nor one that its own step had left over, nor one
    whose proposals have left the pool again."""
    genesis, parameters = network.genesis, network.parameters
    drawn = DrawnBy(parameters, taught.child, taught.models)
    known, other = taught.taken
    over = propose(
        network, genesis, ALICE, 5, [write(("return [b * 7 - 9 for b in a]", "[1]")), "no", "no"]
    )
    fresh = replace(other, window=4)
    for replays in ([known], [over], [known, over]):
        taken = [fresh, *replays]
        assert compute_step_pool(taken, 4, drawn) == taught.child.piece_pool
    emptied = replace(taught.child, piece_pool=b"")
    pool = compute_step_pool([fresh, known, over], 4, DrawnBy(parameters, emptied, taught.models))
    assert list_bodies(pool) == [TRIPLE[0], SUM[0]]
    assert len(list_bodies(compute_step_pool([over], 3, drawn))) == 4


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
    taken = sorted([known, propose(*given), *asked], key=lambda one: (one.hotkey, one.index))
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
    shutil.rmtree(tmp_path / "next" / "models" / network.genesis.digest.hex())
    assert read_pool_history(tmp_path / "next", 8) == newest  # what the first step began with


def test_an_author_is_the_first_whose_input_the_pool_has(taught: SimpleNamespace) -> None:
    """Of another, whose input was too dear for an answer, the step left out the piece."""
    place = open_place(taught.folder)
    with open_step_parser() as parser:
        found = read_step_findings(taught.step, parser, place)
    digest = read_pool(taught.child.piece_pool)[1].digest.hex()
    (mark,) = found.authors[digest]
    assert mark == make_mark(TRIPLE[1])
    found.authors[digest] = {make_mark("[9]"): (BOB.hex(), 7, 1)} | found.authors[digest]
    again = StepFindings.from_json(json.loads(json.dumps(found.to_json())))
    rows = make_pool_history(taught.step, place, [again]).rows
    assert [row.hotkey for row in rows] == [BOB, ALICE, ALICE]


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
        # the child's outline came first: it names the parameters that the rest is opened by
        first = stranger / f"{step.child.hex()}.outline"
        assert set(stranger.iterdir()) == {*whole, outline, first}
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
    assert len(list(make_rows(fetched, read_step_groups(fetched), models))) == 3
    shutil.rmtree(tmp_path / "stranger" / "models" / f"{genesis.digest.hex()}.outline")
    with pytest.raises(CheckpointError):
        reexecute(fetched, models)
    with pytest.raises(CheckpointError):
        list(make_rows(fetched, read_step_groups(fetched), models))
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
