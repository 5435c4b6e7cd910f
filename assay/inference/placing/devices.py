"""The devices that models run on: their names, their facts, and their free memory.

This module does not know how fast a device is.
"""

import gc
import logging
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from assay.protocol.errors import OperatorError

logger = logging.getLogger("assay")

CPU = "cpu"
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
#: Texts of PyTorch's errors for lack of memory that have no type of their own: from the CPU's
#: allocator, and from GPU libraries that allocate by themselves.
_LACKS_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


#: Texts of GPU libraries' errors when the GPU has failed, besides `torch.AcceleratorError`.
_FAILED = ("CUDA error", "CUDA driver error", "CUBLAS_STATUS_", "CUDNN_STATUS_", "Triton Error")


class DeviceError(OperatorError):
    """A device that does not exist, or that this PyTorch cannot use."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device's present state. total, free: bytes of memory; None: unknown."""

    device: str
    name: str
    total: int | None
    free: int | None
    driver: str | None = None  # of a card; None: not known here

    def describe(self) -> str:
        """One line for people."""
        parts = [f"{self.device}: {self.name}"]
        if self.free is not None:
            of = "" if self.total is None else f" of {self.total / 2**30:,.1f}"
            parts.append(f"{self.free / 2**30:,.1f}{of} GiB free")
        if self.driver is not None:
            parts.append(f"driver {self.driver}")
        return ", ".join(parts)


def find_device(name: str) -> str:
    """The device that an operator names. `auto` is the first GPU if there is one.

    Raises:
        DeviceError: it does not exist, or this PyTorch cannot use it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            _leave_out_cudnn()
            return "cuda:0"
        warn_of_unused_card()
        return CPU
    kind, _, number = name.partition(":")
    if name == CPU:
        return name
    if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
        raise DeviceError(f"device {name!r} is none of auto, cpu, cuda:0, cuda:1, …")
    index, count = int(number or 0), _count_cards(name)
    if index >= count:
        cards = "one card, cuda:0" if count == 1 else f"{count} cards, up to cuda:{count - 1}"
        raise DeviceError(f"device {name} is not here: this machine has {cards}")
    _leave_out_cudnn()
    return f"cuda:{index}"


def _leave_out_cudnn() -> None:
    """Let PyTorch's own kernels compute attention in bf16. cuDNN's plan anew for each length of
    rows, some 0.1 s on an H100: a draft has another length at each step."""
    torch.backends.cuda.enable_cudnn_sdp(False)


@cache
def warn_of_unused_card() -> None:
    """Warn once why a GPU that has a driver here is not used."""
    if not _DRIVER_FILE.exists():
        return
    try:
        _count_cards("auto")
    except DeviceError as error:
        logger.warning("no card is used: %s", error, extra={"event": "card_unused"})


def _count_cards(name: str) -> int:
    """The number of GPUs. Raises a DeviceError: this PyTorch sees none, and why."""
    if not torch.backends.cuda.is_built():
        raise DeviceError(
            f"device {name} cannot be used: this PyTorch, {torch.__version__}, is built without "
            "CUDA; install one that is built with it, or name cpu"
        )
    try:
        torch.cuda.init()
    except RuntimeError as error:  # no driver, or an old one: torch says which
        why = str(error).splitlines()[0]
        raise DeviceError(f"device {name} cannot be used: {why}") from None
    return torch.cuda.device_count()


def examine_device(device: str) -> DeviceFacts:
    """The facts of a device. `device` is as `find_device` returns it."""
    if device == CPU:
        return DeviceFacts(CPU, _name_processor(), *_measure_machine())
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    # memory that our own allocator keeps unused is free to us
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return DeviceFacts(device, properties.name, total, free, _read_driver())


def get_free_memory(device: str) -> int | None:
    """Bytes that may be allocated on a device; None: unknown."""
    return examine_device(device).free


def free_memory(device: str) -> None:
    """Release memory that an allocator keeps and no longer uses."""
    gc.collect()
    if device != CPU:
        torch.cuda.empty_cache()


def explain_lack(what: str, device: str, message: str) -> str:
    """The message that memory does not suffice, for people.

    Args:
        what: the thing that is computed or loaded.
        message: PyTorch's error text.
    """
    free = get_free_memory(device)
    left = "unknown" if free is None else f"{free / 2**20:,.0f} MiB"
    return (
        f"{device} has not enough memory for {what}: {left} are free ({message}); end other "
        "programs there, or name a larger device"
    )


class MemoryLackError(DeviceError):
    """A working device with too little free memory at the moment."""


def find_failure(error: BaseException) -> str | None:
    """The error text of a GPU that has failed and answers no more calls; None: it works."""
    message = str(error).partition("\n")[0]
    if isinstance(error, torch.AcceleratorError):
        return message
    failed = isinstance(error, RuntimeError) and any(word in message for word in _FAILED)
    return message if failed and not is_out_of_memory(error) else None


def explain_failure(device: str, message: str) -> str:
    """The message that a device has failed, for people. `message` is PyTorch's error text."""
    return f"{device} has failed ({message}): start this program again, or name another device"


def require_lack(error: BaseException, device: str) -> str:
    """The text of an error that a computation raised for lack of memory.

    Raises:
        DeviceError: the device has failed.
        BaseException: the error itself, if it is neither.
    """
    failure = find_failure(error)
    if failure is not None:
        raise DeviceError(explain_failure(device, failure)) from None
    if not is_out_of_memory(error):
        raise error
    return str(error).partition("\n")[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception reports a lack of memory, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _LACKS_MEMORY)


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, platform.machine())}, {torch.get_num_threads()} threads"


def _read_driver() -> str | None:
    """Version of NVIDIA's kernel module, as Linux reports it."""
    try:
        words = _DRIVER_FILE.read_text().split()
    except OSError:
        return None
    return next((word for word in words if word[0].isdigit() and "." in word), None)


def _measure_machine() -> tuple[int | None, int | None]:
    """Total and available bytes of memory, by the machine's and the container's figures."""
    measured = [
        read_machine_memory(Path("/proc/meminfo")),
        read_container_memory(Path("/sys/fs/cgroup")),
    ]
    total, free = ([n for n in column if n is not None] for column in zip(*measured, strict=True))
    return min(total, default=None), min(free, default=None)


def read_machine_memory(file: Path) -> tuple[int | None, int | None]:
    """Total and available bytes from a file such as /proc/meminfo; None, None: the file lacks
    them."""
    try:
        fields = dict(line.split(":", 1) for line in file.read_text().splitlines())
        total, free = (int(fields[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return None, None
    return total, free


def read_container_memory(folder: Path) -> tuple[int | None, int | None]:
    """The same from a control group's folder (version 2). Its file cache counts as available."""
    try:
        limit = int((folder / "memory.max").read_text())  # "max" is not a number: no limit
        fields = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = {name: int(value) for name, value in fields}.get("inactive_file", 0)
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None, None
    return limit, max(0, limit - used + cached)
