"""A worker's half: checkpoints on one device, and the requested forward passes.

It answers bytes with bytes, in a child process of ours (`serve_worker`) or in an actor of a cluster
(`Worker.answer`). A request that fails gets an answer, too.
"""

import os
import socket
import threading
import time
from collections import OrderedDict
from functools import cache
from importlib.metadata import version
from typing import NoReturn

import torch

from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.inference.implementations import ImplementationError
from assay.inference.placement import Placement, make_placement
from assay.inference.placing.devices import DeviceError, MemoryLackError
from assay.inference.workers.messages import (
    ModelRequest,
    Prefill,
    WorkerFault,
    WorkerReply,
    WorkerSettings,
    WorkerTask,
    decode_request,
    encode_reply,
)
from assay.sandbox.child import clean, serve
from assay.verification import Forward, Measurement

#: Checkpoints that a worker keeps: those of the current window and of the one before.
KEPT = 2
#: Seconds between two checks that the parent lives.
_LOOK_S = 1.0
#: Exceptions of broken models and libraries.
_OUR_FAULTS = (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, OSError)


class Worker:
    """One device and the checkpoints that were last opened on it."""

    def __init__(self) -> None:
        self._placement = Placement()
        self._kept: OrderedDict[bytes, Checkpoint] = OrderedDict()

    def answer(self, request: bytes) -> bytes:
        """A `WorkerReply` to a `WorkerRequest`."""
        began = time.perf_counter()
        fault, detail = WorkerFault.BROKEN, ""
        try:
            return encode_reply(self._answer(request, began))
        except MemoryLackError as error:
            fault, detail = WorkerFault.MEMORY, str(error)
        except DeviceError as error:
            fault, detail = WorkerFault.DEVICE, str(error)
        except UnusableCheckpointError as error:
            fault, detail = WorkerFault.UNUSABLE, str(error)
        except (CheckpointError, ImplementationError) as error:
            fault, detail = WorkerFault.CHECKPOINT, str(error)
        except (torch.OutOfMemoryError, MemoryError) as error:
            fault, detail = WorkerFault.MEMORY, clean(str(error))
        except torch.AcceleratorError as error:  # the device failed: no call works any more
            fault, detail = WorkerFault.DEVICE, clean(str(error))
        except _OUR_FAULTS as error:
            fault, detail = WorkerFault.BROKEN, f"{type(error).__name__}: {clean(str(error))}"
        return encode_reply(WorkerReply(fault, detail))

    def _answer(self, data: bytes, began: float) -> WorkerReply:
        request = decode_request(data)
        if request.settings is not None:
            return WorkerReply(description=self._start(request.settings))
        assert request.model is not None
        checkpoint = self._open(request.model)
        if request.model.appeal:
            checkpoint.get_appeal(request.model.temperature)  # its weights come from disk, too
        measured: list[Measurement] = []
        if request.task is WorkerTask.MEASURE:
            assert request.prefill is not None
            began = time.perf_counter()  # loading does not count in the pace of a pass
            measured = _measure(checkpoint, request.model, request.prefill)
        return WorkerReply(seconds=time.perf_counter() - began, measured=measured)

    def _start(self, settings: WorkerSettings) -> dict[str, str | int]:
        torch.set_num_threads(settings.threads)
        self._placement = make_placement(
            settings.device, settings.implementation, settings.memory_share
        )
        torch.zeros(1, device=self._placement.device)  # a GPU that is listed may not work
        return {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "device": self._placement.device,
            "software": get_worker_software(),
        }

    def _open(self, model: ModelRequest) -> Checkpoint:
        if model.digest not in self._kept:
            while len(self._kept) >= KEPT:  # before another takes its memory
                self._kept.popitem(last=False)
            try:
                checkpoint = load_checkpoint(model.folder, model.digest, self._placement)
            except (torch.OutOfMemoryError, MemoryError) as error:
                raise CheckpointError(
                    f"cannot load {model.folder} on {self._placement.device}: {clean(str(error))}"
                ) from None
            self._kept[model.digest] = checkpoint
        self._kept.move_to_end(model.digest)
        return self._kept[model.digest]


def _measure(checkpoint: Checkpoint, model: ModelRequest, prefill: Prefill) -> list[Measurement]:
    forward: Forward = checkpoint.get_forward(model.temperature)
    if model.appeal:
        forward = checkpoint.get_appeal(model.temperature)
    return forward.measure(
        prefill.prompts, prefill.completions, prefill.seeds, prefill.projection, prefill.replies
    )


@cache
def get_worker_software() -> str:
    """The versions that must agree wherever a network is judged in one record. The library's
    classes read models of no family."""
    names = "assay", "torch", "transformers"
    return ", ".join(f"{name} {version(name).partition('+')[0]}" for name in names)


def serve_worker() -> NoReturn:
    """Run as a child process of ours. It ends with its parent, even while it computes."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    serve(Worker().answer, memory=None)
