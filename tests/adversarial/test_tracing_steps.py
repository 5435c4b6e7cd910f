"""Two traces of one step: a machine that errs by the least there is, and traces that lie."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps import trace_files
from assay.artifacts.steps.folder import read_step, read_step_groups
from assay.artifacts.steps.trace_files import (
    OPERATORS,
    RECORD,
    ROOTS,
    TraceError,
    open_trace,
    write_trace_record,
)
from assay.audit.provenance.reexecution import make_learner_before
from assay.audit.tracing import step_trace
from assay.audit.tracing.bisection import bisect_traces
from assay.audit.tracing.step_trace import trace_learning, trace_step
from assay.protocol.encoding import from_json
from assay.protocol.trace import TraceRecord, get_top_height
from tests.adversarial.faulty_operator import FaultyMachine
from tests.adversarial.test_reexecuting_steps import get_steps, train
from tests.commands import run_command, run_program


@pytest.fixture(scope="module")
def taught(world, tmp_path_factory):
    """Steps of few groups: a trace has an entry for each operator of each pass."""
    folder = tmp_path_factory.mktemp("taught")
    train(world, folder, external_groups=2)
    return folder


def open_course(taught, number=1):
    return read_step(get_steps(taught)[number - 1]), CheckpointFolder(taught / "models")


@pytest.fixture(scope="module")
def honest(taught, tmp_path_factory):
    """A trace of the first step."""
    folder = tmp_path_factory.mktemp("honest")
    trace_step(*open_course(taught), folder)
    return folder


def trace_faulty(taught, folder, index, element):
    """The first step's trace of a machine that errs once; where it did."""
    step, checkpoints = open_course(taught)
    learner = make_learner_before(step, checkpoints)
    fault = FaultyMachine(index, element)
    trace_learning(learner, read_step_groups(step), step.record, folder, fault.run)
    assert fault.fell_on is not None
    return fault.fell_on


@pytest.fixture(scope="module")
def faulty(taught, tmp_path_factory):
    """The same with a fault in its middle, and where that fell."""
    folder = tmp_path_factory.mktemp("faulty")
    return folder, trace_faulty(taught, folder, 1_000, 7)


def read_record(folder):
    return from_json(TraceRecord, json.loads((folder / RECORD).read_text())["record"])


def bisect(a, b, *course):
    return bisect_traces(open_trace(str(a)), open_trace(str(b)), *(course or (None, None)))


def test_a_trace_is_the_same_twice_and_makes_the_same_tensors(taught, honest, tmp_path):
    step, _ = open_course(taught)
    done = run_command("train", "trace-step", step.path, "--out", tmp_path / "again", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["equal"] is True
    assert said["remarks"] == []
    record = read_record(honest)
    assert record == read_record(tmp_path / "again")
    assert (record.step, record.tensors) == (step.record.digest, step.record.tensors)
    assert said["roots_bytes"] == (honest / ROOTS).stat().st_size <= 2_000_000
    done = run_command("train", "bisect", honest, tmp_path / "again" / RECORD, "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["a"]["status"] == found["b"]["status"] == "right"
    assert [read["nodes"] for read in found["read"]] == [1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_a_fault_of_one_unit_in_the_last_place_is_named(taught, honest, seed, tmp_path):
    drawn = torch.Generator().manual_seed(seed)
    # behind these nothing makes numbers any more
    operators = read_record(honest).operators - 10
    index, element = (int(torch.randint(n, (), generator=drawn)) for n in (operators, 1 << 20))
    fell_on = trace_faulty(taught, tmp_path, index, element)
    assert bisect(honest, tmp_path).index == bisect(tmp_path, honest).index == fell_on


@pytest.mark.slow
def test_little_is_read_and_it_is_said(taught, honest, faulty):
    folder, fell_on = faulty
    step, _ = open_course(taught)
    done = run_command("train", "bisect", honest, f"file://{folder}", "--step", step.path, "--json")
    found = json.loads(done.stdout)
    assert found["index"] == fell_on
    assert found["a"]["status"] == "right"
    # other kernels may come to just this number: then it is no lie
    assert (done.returncode, found["b"]["status"]) in ((1, "wrong"), (0, "right"))
    height = get_top_height(read_record(honest).operators)
    for read in found["read"]:
        assert read["nodes"] <= 1 + 2 * height
        assert read["operators"] <= 2
        assert read["bytes"] < 20_000
    done = run_command("train", "bisect", honest, folder)
    assert done.returncode == 2  # named, and nothing done again
    assert f"operator {fell_on:,}" in done.stdout
    assert "--step" in done.stdout


def test_an_operator_that_rounds_nothing_has_no_excuse(taught, honest, tmp_path):
    """Whatever machine its trainer names: elsewhere an embedding has the same bits, too."""
    course = open_course(taught)
    names = [name.split(".")[1] for name in list_operators(honest)]
    index = names.index("embedding")
    assert trace_faulty(taught, tmp_path, index, 0) == index
    write_trace_record(tmp_path, replace(read_record(tmp_path), processor="another"))
    found = bisect(honest, tmp_path, *course)
    assert found.index == index
    assert (found.a.status, found.b.status) == ("right", "wrong"), found


@pytest.mark.slow
def test_a_machine_that_this_one_cannot_be_is_not_accused(taught, honest, tmp_path):
    course = open_course(taught)
    index = next(
        i
        for i, name in enumerate(list_operators(honest))
        if name.startswith("aten.mm.") or name.startswith("aten.addmm.")
    )
    assert trace_faulty(taught, tmp_path, index, 3) == index
    write_trace_record(tmp_path, replace(read_record(tmp_path), processor="another"))
    found = bisect(honest, tmp_path, *course)
    assert found.a.status == "right"
    assert found.b.status in ("unknown", "right")
    assert not found.accuses


def list_operators(folder):
    trace = open_trace(str(folder))
    for index in range(trace.record.operators):
        data = trace.read_operator(index)
        yield data[4 : 4 + int.from_bytes(data[:4], "big")].decode()


@pytest.mark.slow
def test_another_machines_kernels_are_no_lie(taught, honest, tmp_path):
    """The same processor without its wide instructions rounds otherwise, and is not accused."""
    step, checkpoints = open_course(taught)
    slow = {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
    done = run_program("train", "trace-step", step.path, "--out", tmp_path, "--json", env=slow)
    assert done.returncode in (0, 1), done.stderr
    found = bisect(honest, tmp_path, step, checkpoints)
    assert not found.accuses, found
    assert found.a.status == "right"
    assert found.b.status == "right", found


def spoil_version(folder):
    value = json.loads((folder / RECORD).read_text())
    value["record"]["version"] += 1
    (folder / RECORD).write_text(json.dumps(value))
    return "version"


def spoil_digest(folder):
    value = json.loads((folder / RECORD).read_text())
    value["record"]["software"] += "!"
    (folder / RECORD).write_text(json.dumps(value))
    return "another digest"


def spoil_json(folder):
    (folder / RECORD).write_bytes(b'{"digest": [[[[')
    return RECORD


def claim_many(folder):
    write_trace_record(folder, replace(read_record(folder), operators=2**32 - 1))
    return "4,294,967,295 operators"


def claim_more(folder):
    write_trace_record(folder, replace(read_record(folder), operators=2**24))
    return "uppermost"


def claim_none(folder):
    write_trace_record(folder, replace(read_record(folder), operators=0))
    return "0 operators"


def claim_root(folder):
    write_trace_record(folder, replace(read_record(folder), root=bytes(32)))
    return "uppermost"


def claim_tensors(folder):
    write_trace_record(folder, replace(read_record(folder), tensors=bytes(32)))
    return None


def claim_threads(folder):
    write_trace_record(folder, replace(read_record(folder), threads=2))
    return "2 threads"


def cut_roots(folder):
    data = (folder / ROOTS).read_bytes()
    (folder / ROOTS).write_bytes(data[: 32 + 16])
    return "cut short"


def lose_roots(folder):
    (folder / ROOTS).unlink()
    return "not there"


def forge_roots(folder):
    data = bytearray((folder / ROOTS).read_bytes())
    data[32] ^= 1
    (folder / ROOTS).write_bytes(data)
    return "do not make the node above"


def cut_operators(folder):
    data = (folder / OPERATORS).read_bytes()
    (folder / OPERATORS).write_bytes(data[:-8])
    return None


def lose_operators(folder):
    (folder / OPERATORS).unlink()
    return "too short"


def forge_operators(folder):
    data = bytearray((folder / OPERATORS).read_bytes())
    size = 8 * (read_record(folder).operators + 1)
    for i in range(0, len(data) - size):
        data[i] ^= 1
    (folder / OPERATORS).write_bytes(data)
    return "not the one"


def forge_offsets(folder):
    path = folder / OPERATORS
    data = path.read_bytes()
    size = 8 * (read_record(folder).operators + 1)
    path.write_bytes(data[:-size] + b"\xff" * size)
    return "no records"


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_version,
        spoil_digest,
        spoil_json,
        claim_many,
        claim_more,
        claim_none,
        claim_root,
        claim_threads,
        cut_roots,
        lose_roots,
        forge_roots,
        cut_operators,
        lose_operators,
        forge_operators,
        forge_offsets,
    ],
)
def test_a_trace_that_does_not_fit_together_is_its_owners_fault(
    taught, honest, faulty, spoil, tmp_path
):
    shutil.copytree(faulty[0], tmp_path / "b")
    expected = spoil(tmp_path / "b")
    found = bisect(honest, tmp_path / "b", *open_course(taught))
    assert (found.a.status, found.b.status) == ("unknown", "unfit")
    assert expected is None or expected in found.b.detail
    swapped = bisect(tmp_path / "b", honest, *open_course(taught))
    assert (swapped.a, swapped.b) == (found.b, found.a)
    done = run_command(
        "train", "bisect", honest, tmp_path / "b", "--step", open_course(taught)[0].path
    )
    assert done.returncode == 1
    assert "B  unfit" in done.stdout


def test_an_honest_tree_and_other_tensors(taught, honest, tmp_path):
    shutil.copytree(honest, tmp_path / "b")
    claim_tensors(tmp_path / "b")
    found = bisect(honest, tmp_path / "b", *open_course(taught))
    assert (found.a.status, found.b.status) == ("right", "unfit")
    assert not bisect(honest, tmp_path / "b").is_settled


def test_one_that_is_killed_while_it_traces_again_is_not_accused(
    taught, honest, faulty, tmp_path, monkeypatch
):
    """Its old trace is whole, or it has none: the old record is never next to new files."""
    for place in ("trace", "rewritten"):
        shutil.copytree(faulty[0], tmp_path / place)

    class KilledError(BaseException):
        pass

    def kill(*_):
        raise KilledError

    with pytest.raises(KilledError), trace_files.write_operators(tmp_path / "trace"):
        kill()
    assert bisect(tmp_path / "trace", faulty[0]).is_settled
    monkeypatch.setattr(trace_files, "write_file", kill)  # the first file is there by now
    with pytest.raises(KilledError):
        trace_step(*open_course(taught), tmp_path / "rewritten")
    with pytest.raises(TraceError, match="holds no"):
        open_trace(str(tmp_path / "rewritten"))


def test_traces_of_two_steps_are_not_compared(taught, honest, tmp_path):
    trace_step(*open_course(taught, 2), tmp_path / "second")
    with pytest.raises(TraceError, match="the same step"):
        bisect(honest, tmp_path / "second")
    with pytest.raises(TraceError, match="another step"):
        bisect(honest, honest, *open_course(taught, 2))
    done = run_command("train", "bisect", honest, tmp_path / "second")
    assert done.returncode == 2


def test_a_malformed_trace_is_named(honest, tmp_path):
    for place in (tmp_path, tmp_path / "nothing"):
        done = run_command("train", "bisect", honest, place)
        assert done.returncode == 2
        assert str(place) in done.stderr


def test_one_began_with_other_weights(taught, honest, faulty, tmp_path):
    """If no operator made an operator's input, it came from outside, and the record binds it."""
    course = open_course(taught)

    def make_other(*arguments):
        learner = make_learner_before(*arguments)
        with torch.no_grad():
            next(learner.model.parameters()).mul_(1 + 2**-20)
        return learner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_trace, "make_learner_before", make_other)
        trace_step(*course, tmp_path)
    found = bisect(honest, tmp_path, *course)
    assert (found.a.status, found.b.status) == ("right", "wrong")
    assert "reads something else" in found.b.detail
