"""Forward passes in worker processes: the same numbers, whatever happens to the workers."""

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.inference.placing.devices import DeviceError
from assay.inference.workers.pool import BrokenForwardError, WorkerSettings, open_workers
from assay.inference.workers.seat import Pace, WorkerSeat
from assay.sandbox import WorkerError
from assay.training import GENESIS
from tests.commands import PRELOADED
from tests.hostile_folders import list_changes, write_changed
from tests.inference.workers.faulty_worker import (
    PATIENT,
    HastyPatience,
    list_faults,
    open_faulty,
    put_faults,
)
from tests.inference.workers.pooled import (
    as_bytes,
    get_pids,
    is_alive,
    measure_all,
    measure_here,
    wait_until,
)

CPU = WorkerSettings()


@pytest.fixture(scope="module")
def pool():
    with open_workers([CPU, CPU]) as pool:
        yield pool


def test_a_worker_measures_to_the_bit_what_this_process_does(pool, checkpoint, prefills):
    assert measure_all(pool, checkpoint, prefills) == measure_here(checkpoint, prefills)


def test_an_appeal_is_the_plain_reference(pool, checkpoint, prefills):
    pooled = pool.load(GENESIS, checkpoint.digest)
    found = pooled.get_appeal(1_024).measure(*prefills[0])
    assert as_bytes(found) == as_bytes(checkpoint.get_appeal(1_024).measure(*prefills[0]))


def test_an_appeal_s_weights_are_loaded_before_it_is_waited_for(checkpoint, prefills, monkeypatch):
    """Under `split3` they come from disk when the first rejection is heard: by the deadline of
    loading, not of a pass."""
    loads, honest = [], WorkerSeat.load

    def load(seat, model):
        loads.append(model.appeal)
        return honest(seat, model)

    monkeypatch.setattr(WorkerSeat, "load", load)
    with open_workers([WorkerSettings(implementation="split3")]) as pool:
        loaded = pool.load(GENESIS, checkpoint.digest)
        for _ in range(2):
            loaded.get_appeal(1_024).measure(*prefills[0])
        loaded.get_forward(1_024).measure(*prefills[0])
    assert loads == [False, True]


def test_no_tensor_is_loaded_here(pool, checkpoint):
    pooled = pool.load(GENESIS, checkpoint.digest)
    assert "plain" not in vars(pooled.models)
    assert pooled.manifest == checkpoint.manifest
    assert pooled.calibration == checkpoint.calibration
    assert (pooled.tokenizer.drawable == checkpoint.tokenizer.drawable).all()


def test_a_load_error_is_the_same_as_without_workers(tmp_path, checkpoint):
    """By workers that have not loaded it from elsewhere."""
    broken = tmp_path / "broken"
    shutil.copytree(GENESIS, broken)
    (broken / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with open_workers([CPU]) as pool:
        for folder in (broken, tmp_path / "nowhere"):
            with pytest.raises(CheckpointError) as here:
                load_checkpoint(folder, checkpoint.digest)
            with pytest.raises(CheckpointError) as found:
                pool.load(folder, checkpoint.digest)
            assert str(found.value) == str(here.value)
            assert type(found.value) is type(here.value) is CheckpointError
        refused = [change for change in list_changes() if not change.fine]
        for change in refused[::40]:
            if change.about.startswith("template: "):  # it may fail for an owner's words alone
                continue
            hostile = tmp_path / change.about
            digest = write_changed(hostile, change)
            with pytest.raises(UnusableCheckpointError) as here:
                load_checkpoint(hostile, digest)
            with pytest.raises(UnusableCheckpointError) as found:
                pool.load(hostile, digest)
            assert str(found.value) == str(here.value)
        assert pool.trouble is None


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_killed_between_requests(pool, checkpoint, prefills, times):
    expected = measure_here(checkpoint, prefills)
    for _ in range(times):
        for pid in get_pids(pool):
            with suppress(ProcessLookupError):  # one that is still on its way back
                os.kill(pid, signal.SIGKILL)
        assert measure_all(pool, checkpoint, prefills) == expected
    assert pool.trouble is None


@pytest.mark.parametrize(
    "kind",
    [
        "die within",
        *(
            pytest.param(k, marks=pytest.mark.nightly)
            for k in ("hang", "die before", "die after", "memory", "device")
        ),
    ],
)
def test_lost_within_a_request(tmp_path, checkpoint, prefills, kind):
    with open_faulty(
        tmp_path, patience=HastyPatience(tmp_path) if kind == "hang" else PATIENT
    ) as pool:
        put_faults(tmp_path, kind)
        assert measure_all(pool, checkpoint, prefills) == measure_here(checkpoint, prefills)
        assert list_faults(tmp_path) == []
        assert sum(worker.lost for worker in pool.describe()) >= 1
        assert pool.trouble is None


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("broken", BrokenForwardError),
        pytest.param("die before", BrokenForwardError, marks=pytest.mark.nightly),
        # our own lack, and no fault of the file's
        pytest.param("memory", WorkerError, marks=pytest.mark.nightly),
    ],
)
def test_a_request_that_breaks_whoever_has_it_stops_no_other(
    tmp_path, checkpoint, prefills, kind, error
):
    with open_faulty(tmp_path) as pool:
        forward = pool.load(GENESIS, checkpoint.digest).get_forward(1_024)
        put_faults(tmp_path, kind, kind, kind)
        with pytest.raises(error):
            forward.measure(*prefills[0])
        for path in tmp_path.glob("[0-9]*"):  # raising costs no second worker
            path.unlink()
        assert measure_all(pool, checkpoint, prefills) == measure_here(checkpoint, prefills)
        assert pool.trouble is None


@pytest.mark.nightly
def test_a_device_that_vanishes_is_left_out_and_comes_back(tmp_path, checkpoint, prefills):
    expected = measure_here(checkpoint, prefills)
    with open_faulty(tmp_path, retry_s=0.2) as pool:
        assert measure_all(pool, checkpoint, prefills) == expected
        gone = tmp_path / "gone-worker 1 on cpu"
        gone.touch()
        for _ in range(3):
            assert measure_all(pool, checkpoint, prefills) == expected
        wait_until(lambda: pool.trouble is not None)
        assert pool.trouble.text == (
            "1 of 2 workers are left out until they are back: worker 1 on cpu: device cuda:7 is "
            "not here: this machine has one card, cuda:0; the others continue"
        )
        assert [worker.fault is None for worker in pool.describe()] == [True, False]
        gone.unlink()
        wait_until(lambda: pool.trouble is None)
        assert measure_all(pool, checkpoint, prefills) == expected


@pytest.mark.nightly
def test_none_left_is_our_own_lack(tmp_path, checkpoint, prefills):
    with open_faulty(tmp_path, retry_s=0.2) as pool:
        forward = pool.load(GENESIS, checkpoint.digest).get_forward(1_024)
        for number in range(2):
            (tmp_path / f"gone-worker {number} on cpu").touch()
        said = r"no worker is left to judge: worker . on cpu: device cuda:7 is not here"
        with pytest.raises(WorkerError, match=said):
            forward.measure(*prefills[0])
        for path in tmp_path.glob("gone*"):
            path.unlink()
        wait_until(lambda: pool.trouble is None)
        assert measure_all(pool, checkpoint, prefills) == measure_here(checkpoint, prefills)


def test_a_device_that_is_named_and_not_there():
    named = [CPU, WorkerSettings(device="cuda:99")]
    said = r"device cuda:99 (is not here|cannot be used)"
    with pytest.raises(DeviceError, match=said), open_workers(named):
        pass


def test_closing_waits_for_no_request(tmp_path, checkpoint, prefills):
    with open_faulty(tmp_path, count=1) as pool, ThreadPoolExecutor(1) as beside:
        forward = pool.load(GENESIS, checkpoint.digest).get_forward(1_024)
        put_faults(tmp_path, "hang")
        asked = beside.submit(forward.measure, *prefills[0])
        wait_until(lambda: not list_faults(tmp_path))
        (pid,) = get_pids(pool)
        pool.close()
        with pytest.raises(WorkerError, match="closed"):
            asked.result(PATIENT.pass_s / 2)  # not by the pass's own deadline
        assert not is_alive(pid)


_PARENT = """
import time
from assay.inference.workers.pool import WorkerSettings, open_workers
with open_workers([WorkerSettings()] * 2) as pool:
    print(*(worker.pid for worker in pool.describe()), flush=True)
    time.sleep(3_600)
"""


def test_workers_end_with_their_parent():
    with PRELOADED.popen(_PARENT, stdout=subprocess.PIPE) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
        parent.kill()
    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_short_pass_says_nothing_of_the_pace():
    """Most of its time is not its tokens'."""
    pace = Pace()
    pace.note(20, 1.0)
    assert pace.slowest is None
    pace.note(20_000, 2.0)
    pace.note(30_000, 2.0)
    assert pace.slowest == 10_000
