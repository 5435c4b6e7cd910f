"""Steps that a stranger fetches from a public store and does again; stores that lie about them."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps import store as step_store
from assay.artifacts.steps.folder import StepError, StepFolder, read_step, read_step_groups
from assay.artifacts.steps.store import fetch_step, publish_step
from assay.artifacts.store_objects import make_step_name
from assay.audit.provenance.reexecution import reexecute
from assay.cli.app import app
from assay.network.files import hold_folder
from assay.network.store.folder import open_folder
from assay.protocol.amendment import ParameterHistory
from assay.protocol.errors import OperatorError
from assay.training.held_out import HeldOut
from tests.adversarial.test_moving_levels import Course, few_groups
from tests.adversarial.test_reexecuting_steps import get_steps

__all__ = ["few_groups"]


@pytest.fixture(scope="module")
def public(world):
    """The store of a trainer that has made two checkpoints."""
    with TemporaryDirectory(prefix="assay-") as folder:  # short: for a locator
        yield _make_public(world, Path(folder))


def _make_public(world, folder):
    store = open_folder(folder / "store")
    course = Course(
        world, folder, HeldOut(ParameterHistory(world.parameters), 8), store=store
    ).run()
    course.trainer.step()  # uploads the second
    assert course.trainer.course.uploaded
    (folder / "owner").mkdir()
    publish_checkpoint(
        open_folder(folder / "owner"), world.checkpoint.folder, world.checkpoint.digest
    )
    return folder


@pytest.fixture
def mine():
    """A stranger's folder, where a copy of the store may lie."""
    with TemporaryDirectory(prefix="assay-") as folder:
        yield Path(folder)


@pytest.fixture
def spoilt(public, mine):
    """A copy of the store, and the first step in it."""
    shutil.copytree(public / "store", mine / "store")
    step = read_step(get_steps(public)[0])
    return mine / "store", step


@pytest.fixture
def verify(public):
    def run(store, step, folder):
        stores = ["--store", f"file://{store}", "--store", f"file://{public / 'owner'}"]
        arguments = ["train", "verify-step", step.child.hex(), *stores, "--dir", str(folder)]
        return CliRunner().invoke(app, [*arguments, "--json"])

    return run


def test_a_stranger_does_the_first_step_again(public, verify, mine):
    step = read_step(get_steps(public)[0])
    result = verify(public / "store", step, mine / "mine")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["equal"] is True
    fetched = read_step(get_steps(mine / "mine")[0])
    assert (fetched.record, fetched.child) == (step.record, step.child)


def test_without_the_optimisers_state_a_later_step_is_no_verdict(public, verify, mine, world):
    step = read_step(get_steps(public)[1])
    shutil.copytree(public / "store", mine / "store")
    result = verify(mine / "store", step, mine / "mine")
    assert result.exit_code == 2
    assert "publish_states" in result.output
    made = Course.load(public, step.child).manifest
    steps, store = StepFolder(public / "steps"), open_folder(mine / "store")
    assert publish_step(store, steps, made, with_state=True) == []
    assert verify(mine / "store", step, mine / "mine").exit_code == 0


def test_files_that_are_too_large_are_left_out_and_named(public, mine, world, monkeypatch):
    step = read_step(get_steps(public)[0])
    monkeypatch.setitem(step_store.OBJECTS, ".parquet", ("step.parquet", 100))
    made = Course.load(public, step.child).manifest
    store = open_folder(mine / "store")
    (line,) = publish_step(store, StepFolder(public / "steps"), made, with_state=False)
    assert "more than 100" in line
    assert {name.rpartition("/")[2] for name in store.list("steps")} == {"step.json"}


def lose_record(folder):
    (folder / "step.json").unlink()
    return "no step record"


def give_another(folder):
    (other,) = (path for path in folder.parent.iterdir() if path != folder)
    shutil.copyfile(other / "step.json", folder / "step.json")
    return "not the one that the checkpoint names"


def name_another_child(folder):
    value = json.loads((folder / "step.json").read_text())
    (folder / "step.json").write_text(json.dumps(value | {"child": "00" * 32}))
    return "not the one that the checkpoint names"


def send_too_much(folder):
    with (folder / "step.parquet").open("ab") as file:
        file.truncate((1 << 30) + 1)
    return "are accepted"


def lose_data(folder):
    (folder / "step.parquet").unlink()
    return "cannot be read"


def cut_data(folder):
    data = (folder / "step.parquet").read_bytes()
    (folder / "step.parquet").write_bytes(data[:-100])
    return "cannot be read"


def give_the_others_data(folder):
    (other,) = (path for path in folder.parent.iterdir() if path != folder)
    shutil.copyfile(other / "step.parquet", folder / "step.parquet")
    return "not what the step"


@pytest.mark.parametrize(
    "spoil",
    [
        lose_record,
        give_another,
        name_another_child,
        send_too_much,
        lose_data,
        cut_data,
        give_the_others_data,
    ],
)
def test_a_store_that_lies_is_no_verdict(spoilt, verify, mine, spoil):
    store, step = spoilt
    expected = spoil(store / make_step_name(step.record.digest, "x").removesuffix("/x"))
    result = verify(store, step, mine / "mine")
    assert result.exit_code == 2, result.output
    assert expected in result.output


def test_few_bytes_that_unpack_to_many(spoilt, verify, mine, monkeypatch):
    """Four thousand bytes took six gigabytes before they could be compared with the root."""
    monkeypatch.setattr("assay.artifacts.steps.file.VALUES_MAX", 1 << 20)
    store, step = spoilt
    path = store / make_step_name(step.record.digest, "step.parquet")
    table, count = pq.read_table(path).slice(0, 1), (1 << 20) + 1
    zeros = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), np.zeros(count, np.uint32))
    at = table.schema.get_field_index("tokens")
    field = table.schema.field(at)
    pq.write_table(table.set_column(at, field, zeros.cast(field.type)), path, compression="zstd")
    assert path.stat().st_size < 1 << 14
    result = verify(store, step, mine / "mine")
    assert result.exit_code == 2
    assert "unpacks to more than" in result.output


@pytest.mark.parametrize(
    "spoil", [lose_record, name_another_child, send_too_much, cut_data, give_the_others_data]
)
def test_a_lying_store_does_not_hide_an_honest_one(spoilt, public, mine, spoil):
    """It is named first, and its earlier files are in the folder."""
    store, step = spoilt
    spoil(store / make_step_name(step.record.digest, "x").removesuffix("/x"))
    stores = [open_folder(path) for path in (store, public / "owner", public / "store")]
    with suppress(StepError):
        fetch_step(stores[:2], step.child, mine / "mine")
    fetched = read_step(fetch_step(stores, step.child, mine / "mine"))
    assert fetched.record == step.record
    assert read_step_groups(fetched) == read_step_groups(step)


def test_a_lying_optimisers_state_is_not_kept(public, mine, world):
    step = read_step(get_steps(public)[1])
    shutil.copytree(public / "store", mine / "store")
    folder = mine / "store" / make_step_name(step.record.digest, "x").removesuffix("/x")
    state = load_file(step.path.with_suffix(".before.safetensors"))
    save_file({n: w.double() for n, w in state.items()}, folder / "before.safetensors")
    stores = [open_folder(path) for path in (mine / "store", public / "owner")]
    path = fetch_step(stores, step.child, mine / "mine")
    with pytest.raises(StepError, match="not kept here"):
        reexecute(read_step(path), CheckpointFolder(mine / "mine" / "models"))


def test_a_digest_that_is_none(public, mine):
    result = CliRunner().invoke(
        app, ["train", "verify-step", "12", "--store", f"file://{public / 'store'}"]
    )
    assert result.exit_code == 2
    assert "64 hex digits" in result.output
    genesis = read_step(get_steps(public)[0]).record.parent
    with pytest.raises(StepError, match="no step record"):
        fetch_step([open_folder(public / "owner")], genesis, mine)


class Hanging:
    """A store that never answers, nor for ever keeps a test from ending."""

    def __init__(self):
        self.released = Event()

    def open(self, name):
        return self

    def size(self):
        self.released.wait(60)

    def get(self, name, limit):
        self.released.wait(60)


def test_stores_that_never_answer_end_with_the_time_for_all_of_it(public, mine):
    step, store = read_step(get_steps(public)[0]), Hanging()
    try:
        with pytest.raises(OperatorError, match="too slow"):
            fetch_step([store], step.child, mine / "mine", seconds=0.5)
    finally:
        store.released.set()
    with pytest.raises(StepError, match="in time"):
        fetch_step([open_folder(public / "store")], step.child, mine / "mine", seconds=0.0)


def test_the_remains_of_a_killed_fetch_go_with_the_next(public, mine):
    step = read_step(get_steps(public)[0])
    folder = mine / "mine"
    left = [
        folder / "steps" / ".step-00000001-aa.parquet.x1y2z3.tmp",
        folder / "models" / f".fetch-{'00' * 32}" / "model.safetensors",
        folder / "models" / ".new-abcdef" / "model.safetensors",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half of it")
    stores = [open_folder(public / name) for name in ("store", "owner")]
    fetch_step(stores, step.child, folder)
    assert not any(path.exists() for path in left)
    assert not list(folder.rglob(".*"))


def test_two_fetches_into_one_folder(public, mine):
    step = read_step(get_steps(public)[0])
    folder = mine / "mine"
    (folder / "steps").mkdir(parents=True)
    with hold_folder(folder / "steps"), pytest.raises(StepError, match="another program"):
        fetch_step([open_folder(public / "store")], step.child, folder)


def test_the_record_before_comes_with_a_step(public, mine):
    first, second = map(read_step, get_steps(public))
    stores = [open_folder(public / name) for name in ("store", "owner")]
    fetch_step(stores, second.child, mine / "mine")
    assert [read_step(path).record for path in get_steps(mine / "mine")] == [
        first.record,
        second.record,
    ]
