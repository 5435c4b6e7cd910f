"""Downloads that end before they are whole: by a kill, by Ctrl-C, by a disk that fills."""

import shutil
import signal
import subprocess
import threading

import pytest

from assay.artifacts.checkpoints import download as checkpoint_download
from assay.artifacts.checkpoints.download import fetch_checkpoint
from assay.inference.folder import MODEL_FILE, CheckpointError
from assay.network.files import hold_folder
from tests.adversarial.mirrors.lab import (
    DIGEST,
    LAST,
    MODEL_BYTES,
    NAMES,
    SIZES,
    Mirror,
    require_nothing,
    require_whole,
)
from tests.commands import start_code


def test_a_cut_download_goes_on_where_it_ended(mirror, store, tmp_path, one_worker):
    """At another mirror, too; no tensor that came is asked for again."""
    mirror.lies[LAST] = lambda data, start: b""
    with pytest.raises(CheckpointError):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    require_nothing(tmp_path)
    second = Mirror(store)
    fetch_checkpoint([second], DIGEST, tmp_path)
    assert {name for name, _ in second.reads} == {LAST}
    require_whole(tmp_path)


def test_tensors_damaged_meanwhile_are_fetched_again(mirror, store, tmp_path, one_worker):
    mirror.lies[LAST] = lambda data, start: b""
    with pytest.raises(CheckpointError):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    file = tmp_path / f".fetch-{DIGEST.hex()}" / MODEL_FILE
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    second = Mirror(store)
    fetch_checkpoint([second], DIGEST, tmp_path)
    assert len(second.reads) == 2
    require_whole(tmp_path)


#: Fetches from a store in which every read takes its time.
SLOW_FETCH = """
import sys, time
from pathlib import Path
from assay.network.store.folder import open_folder
from assay.artifacts.checkpoints import tensor_download
from assay.artifacts.checkpoints.download import fetch_checkpoint

class Slow:
    def __init__(self, inner): self.inner = inner
    def open(self, name): return Slow(self.inner.open(name))
    def size(self): return self.inner.size()
    def read(self, start, end):
        time.sleep(0.05)
        return self.inner.read(start, end)

tensor_download.WORKERS = 2
fetch_checkpoint([Slow(open_folder(Path(sys.argv[1])))], bytes.fromhex(sys.argv[2]),
                 Path(sys.argv[3]), progress=lambda done, due: print(done, flush=True))
"""


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_kill_9_at_any_time(store, tmp_path, share):
    arguments = store.root, DIGEST.hex(), tmp_path
    with start_code(SLOW_FETCH, *arguments, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= share * MODEL_BYTES:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / DIGEST.hex()).exists()
    second = Mirror(store)
    fetch_checkpoint([second], DIGEST, tmp_path)
    require_whole(tmp_path)
    assert sum(SIZES[name] for name in set(second.tensors_read)) < MODEL_BYTES * (1 - share) + 1
    assert {name for name, _ in second.reads} <= set(NAMES)


def test_ctrl_c(mirror, store, tmp_path):
    """The bytes received so far are kept; no thread continues."""

    def interrupt(done, due):
        if done > MODEL_BYTES // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_checkpoint([mirror], DIGEST, tmp_path, progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name in ("fetch", "read")]
    require_nothing(tmp_path)
    fetch_checkpoint([store], DIGEST, tmp_path)
    require_whole(tmp_path)


def test_two_programs_never_write_one_download(store, tmp_path):
    partial = tmp_path / f".fetch-{DIGEST.hex()}"
    partial.mkdir()
    with hold_folder(partial) as held:
        assert held
        with pytest.raises(CheckpointError, match="another program"):
            fetch_checkpoint([store], DIGEST, tmp_path)
    fetch_checkpoint([store], DIGEST, tmp_path)


# --- a disk that fills


def test_a_disk_without_room_is_ours_and_no_mirrors_fault(mirror, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(checkpoint_download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match="are free") as caught:
        fetch_checkpoint([mirror, mirror], DIGEST, tmp_path)
    assert "mirror" not in str(caught.value)
    assert not mirror.tensors_read
    assert list(tmp_path.iterdir()) == []


#: Fetches under a limit on the size of files, which fails here like a system's refusal.
LIMITED_FETCH = """
import resource, sys
from pathlib import Path
from assay.inference.folder import CheckpointError
from assay.network.store.folder import open_folder
from assay.artifacts.checkpoints.download import fetch_checkpoint

limit = int(sys.argv[4])
store = open_folder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    fetch_checkpoint([store], bytes.fromhex(sys.argv[2]), Path(sys.argv[3]))
except CheckpointError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 20_000, MODEL_BYTES - 1, MODEL_BYTES])
def test_a_disk_that_fills(store, tmp_path, limit):
    root = tmp_path / "models"
    arguments = store.root, DIGEST.hex(), root, limit
    with start_code(LIMITED_FETCH, *arguments, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    if limit == MODEL_BYTES:
        require_whole(root)
        return
    assert "cannot keep checkpoint" in output
    assert "disk is not full" in output
    assert list(root.iterdir()) == []
    fetch_checkpoint([store], DIGEST, root)
    require_whole(root)
