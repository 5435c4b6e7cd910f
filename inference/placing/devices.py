"""Devices that models run on: which there are, what they are, how much memory they have left.

What this does not know: how fast anything is there.
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
#: What PyTorch says where memory lacks, without a type of its own: the processor's allocator, and
#: libraries on a card that allocate for themselves.
_LACKS_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


#: What libraries on a card say where it has failed, besides `torch.AcceleratorError`.
_FAILED = ("CUDA error", "CUDA driver error", "CUBLAS_STATUS_", "CUDNN_STATUS_", "Triton Error")


class DeviceError(OperatorError):
    """A device that is not there, or that this PyTorch cannot use."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device's present state. total, free: bytes of memory; None: unknown."""

    device: str
    name: str
    total: int | None
    free: int | None
    driver: str | None = None  # of a card; None: not known here

    def describe(self) -> str:
        """In one line, for people."""
        parts = [f"{self.device}: {self.name}"]
        if self.free is not None:
            of = "" if self.total is None else f" of {self.total / 2**30:,.1f}"
            parts.append(f"{self.free / 2**30:,.1f}{of} GiB free")
        if self.driver is not None:
            parts.append(f"driver {self.driver}")
        return ", ".join(parts)


def find_device(name: str) -> str:
    """The device that an operator means: `auto` is the first card where there is one.

    Raises:
        DeviceError: it is not there, or this PyTorch cannot use it.
    """
    if name == "auto":
        if torch.cuda.is_available():
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
    return f"cuda:{index}"


@cache
def warn_of_unused_card() -> None:
    """Says once why a card that has a driver here is not used."""
    if not _DRIVER_FILE.exists():
        return
    try:
        _count_cards("auto")
    except DeviceError as error:
        logger.warning("no card is used: %s", error, extra={"event": "card_unused"})


def _count_cards(name: str) -> int:
    """Raises a DeviceError: this PyTorch sees none; why."""
    if not torch.backends.cuda.is_built():
        raise DeviceError(
            f"device {name} cannot be used: this PyTorch, {torch.__version__}, is built without "
            "CUDA; install one that is built with it, or name cpu"
        )
    try:
        torch.cuda.init()
    except RuntimeError as error:  # no driver, or one that is too old: torch says which
        why = str(error).splitlines()[0]
        raise DeviceError(f"device {name} cannot be used: {why}") from None
    return torch.cuda.device_count()


def examine_device(device: str) -> DeviceFacts:
    """The facts of a device. device: as `find_device` gives it."""
    if device == CPU:
        return DeviceFacts(CPU, _name_processor(), *_measure_machine())
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    # what our own allocator keeps and does not use is free to us
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return DeviceFacts(device, properties.name, total, free, _read_driver())


def get_free_memory(device: str) -> int | None:
    """Bytes that may be taken on a device; None: nobody says."""
    return examine_device(device).free


def free_memory(device: str) -> None:
    """Gives back what an allocator keeps of what is no longer used."""
    gc.collect()
    if device != CPU:
        torch.cuda.empty_cache()


def explain_lack(what: str, device: str, said: str) -> str:
    """The message that memory does not suffice, for people.

    Args:
        what: is computed or loaded.
        said: by PyTorch.
    """
    free = get_free_memory(device)
    left = "unknown" if free is None else f"{free / 2**20:,.0f} MiB"
    return (
        f"{device} has not enough memory for {what}: {left} are free ({said}); end other programs "
        "there, or name a larger device"
    )


class MemoryLackError(DeviceError):
    """A device works and has not enough memory free: later it may."""


def find_failure(error: BaseException) -> str | None:
    """The error text of a card that has failed and answers no more calls; None: it works."""
    said = str(error).partition("\n")[0]
    if isinstance(error, torch.AcceleratorError):
        return said
    failed = isinstance(error, RuntimeError) and any(word in said for word in _FAILED)
    return said if failed and not is_out_of_memory(error) else None


def explain_failure(device: str, said: str) -> str:
    """The message that a device has failed, for people. said: by PyTorch."""
    return f"{device} has failed ({said}): start this program again, or name another device"


def require_lack(error: BaseException, device: str) -> str:
    """The text of an error that a computation has raised for lack of memory.

    Raises:
        DeviceError: the device has failed.
        BaseException: it is neither: the error itself.
    """
    failure = find_failure(error)
    if failure is not None:
        raise DeviceError(explain_failure(device, failure)) from None
    if not is_out_of_memory(error):
        raise error
    return str(error).partition("\n")[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether what was raised says that memory lacks, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _LACKS_MEMORY)


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, platform.machine())}, {torch.get_num_threads()} threads"


def _read_driver() -> str | None:
    """Version of NVIDIA's kernel module, as Linux says it."""
    try:
        words = _DRIVER_FILE.read_text().split()
    except OSError:
        return None
    return next((word for word in words if word[0].isdigit() and "." in word), None)


def _measure_machine() -> tuple[int | None, int | None]:
    """Bytes in all and bytes that a program may take, by the machine's and the container's word."""
    found = [
        read_machine_memory(Path("/proc/meminfo")),
        read_container_memory(Path("/sys/fs/cgroup")),
    ]
    total, free = ([n for n in column if n is not None] for column in zip(*found, strict=True))
    return min(total, default=None), min(free, default=None)


def read_machine_memory(file: Path) -> tuple[int | None, int | None]:
    """Bytes in all and bytes that are free by such a file as /proc/meminfo; None, None: it says
    nothing."""
    try:
        fields = dict(line.split(":", 1) for line in file.read_text().splitlines())
        total, free = (int(fields[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return None, None
    return total, free


def read_container_memory(folder: Path) -> tuple[int | None, int | None]:
    """The same of a control group's folder (version 2); its file cache counts as free."""
    try:
        limit = int((folder / "memory.max").read_text())  # "max" is no number: no limit
        fields = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = {name: int(value) for name, value in fields}.get("inactive_file", 0)
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None, None
    return limit, max(0, limit - used + cached)
