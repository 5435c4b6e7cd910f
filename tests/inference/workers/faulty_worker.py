"""A worker that fails on demand: it runs as a separate child, and files in a folder tell it what to
do.

Each file of the folder is one fault for one forward pass, named `<number>-<kind>`. The worker that
removes the file has the fault. While a file `gone-<device>` exists, that device is unavailable.
"""

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from assay.inference.placing.devices import DeviceError
from assay.inference.workers.messages import WorkerSettings, WorkerTask, decode_request
from assay.inference.workers.pool import WORKER, WorkerPool
from assay.inference.workers.seat import Patience
from assay.inference.workers.worker import Worker
from assay.sandbox import Sandbox, share_preloaded
from assay.sandbox.child import serve

PATIENT = Patience()
#: A temperature that kills each worker that is asked for it.
POISON = 7_777
KINDS = ("die before", "die within", "die after", "hang", "memory", "device", "broken")


def make_boot(folder, name):
    here = str(Path(__file__).parent)
    return (
        f"import sys; sys.path.insert(0, {here!r}); import faulty_worker; "
        f"faulty_worker.serve_faulty({str(folder)!r}, {name!r})"
    )


class HastyPatience:
    """Little patience with a pass while its fault is still to come, and as much as ever with later
    ones: a slow machine is no fault."""

    tokens_s = 1e4

    def __init__(self, folder):
        self._folder = folder

    def __getattr__(self, name):
        return getattr(PATIENT, name)

    @property
    def pass_s(self):
        return 2.0 if list_faults(self._folder) else PATIENT.pass_s


@contextmanager
def open_faulty(folder, count=2, retry_s=60.0, patience=PATIENT):
    """Workers that fail as the folder says."""

    def make_sandbox(name, settings, seconds):
        return Sandbox(name, make_boot(folder, name), seconds, preloaded=share_preloaded(WORKER))

    folder.mkdir(exist_ok=True)
    pool = WorkerPool([WorkerSettings()] * count, make_sandbox, patience, retry_s)
    try:
        pool.start()
        yield pool
    finally:
        pool.close()


def put_faults(folder, *kinds):
    for number, kind in enumerate(kinds):
        assert kind in KINDS
        (folder / f"{number:03}-{kind}").touch()


def list_faults(folder):
    return sorted(path.name for path in folder.glob("[0-9]*"))


class FaultyWorker(Worker):
    def __init__(self, folder, name):
        super().__init__()
        self._folder, self._gone = Path(folder), Path(folder) / f"gone-{name}"

    def answer(self, request):
        asked = decode_request(request)
        if asked.task is not WorkerTask.MEASURE:
            return super().answer(request)
        kind = self._take_fault()
        if asked.model.temperature == POISON:
            self._die()
        if kind == "die within":
            threading.Thread(target=lambda: self._die(0.002)).start()
        elif kind == "die before":
            self._die()
        elif kind == "hang":
            time.sleep(3_600)
        self._fault = kind
        answer = super().answer(request)
        self._fault = None
        if kind is not None and kind.startswith("die"):
            self._die()
        return answer

    def _answer(self, data, began):
        asked = decode_request(data)
        if self._gone.exists() and asked.task is WorkerTask.START:
            raise DeviceError("device cuda:7 is not here: this machine has one card, cuda:0")
        if asked.task is WorkerTask.MEASURE:
            if self._gone.exists():
                raise torch.AcceleratorError("CUDA error: unspecified launch failure\nmore")
            if self._fault == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if self._fault == "device":
                raise torch.AcceleratorError("CUDA error: device-side assert triggered")
            if self._fault == "broken":
                raise RuntimeError("a shape that does not fit")
        return super()._answer(data, began)

    def _take_fault(self):
        for path in sorted(self._folder.glob("[0-9]*")):
            try:
                path.unlink()
            except FileNotFoundError:  # another worker has it
                continue
            return path.name.partition("-")[2]
        return None

    def _die(self, after=0.0):
        time.sleep(after)
        os.kill(os.getpid(), signal.SIGKILL)


def serve_faulty(folder, name):
    serve(FaultyWorker(folder, name).answer, memory=None)
