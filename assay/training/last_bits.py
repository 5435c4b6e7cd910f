"""The causes of differences in a step's last bits: the machine, and the code that computes."""

import platform
from pathlib import Path

import torch

import assay.inference.attention
import assay.inference.head
import assay.inference.low_rank
import assay.inference.packing
import assay.inference.reading
import assay.inference.recurrent
import assay.inference.routing
import assay.protocol.episode
import assay.training.balance
import assay.training.grpo
import assay.training.imitation
import assay.training.learner
import assay.training.lora
import assay.training.optimizers
import assay.training.policy
import assay.training.schedule
import assay.training.sharding
from assay.protocol import Domain
from assay.protocol.manifest import compute_files_digest
from assay.training.sharding import get_team

_MODULES = (
    assay.training.balance,
    assay.training.grpo,
    assay.training.imitation,
    assay.training.learner,
    assay.training.lora,
    assay.training.optimizers,
    assay.training.policy,
    assay.training.schedule,
    assay.training.sharding,
    assay.inference.attention,
    assay.inference.head,
    assay.inference.low_rank,
    assay.inference.packing,
    assay.inference.reading,
    assay.inference.recurrent,
    assay.inference.routing,
    assay.protocol.episode,
)


def describe_engine(device: torch.device) -> str:
    """Version of torch, architecture, the GPU if there is one, and the number of processes of a
    team."""
    card = f" {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    _, size = get_team()
    team = f" {size} processes" if size > 1 else ""
    return f"torch {torch.__version__} {platform.machine()}{card}{team}"


def describe_processor() -> str:
    """The facts by which torch and the libraries under it choose kernels for a CPU: the
    instructions that torch uses, and the CPU's make."""
    makes = []
    info = Path("/proc/cpuinfo")
    if info.exists():
        first = info.read_text().partition("\n\n")[0]
        lines = (line.partition(":") for line in first.splitlines())
        fields = {name.strip(): value.strip() for name, _, value in lines}
        names = ("vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU part")
        makes = [f"{name} {fields[name]}" for name in names if name in fields]
    capability = torch.backends.cpu.get_cpu_capability()
    return ", ".join([capability, *(makes or [platform.machine()])])[:128]


def compute_code_digest() -> bytes:
    """Digest of the modules that compute a step, 32 bytes."""
    paths = [Path(str(module.__file__)) for module in _MODULES]
    return compute_files_digest(Domain.STRUCTURE, {path.name: path.read_bytes() for path in paths})
