"""The causes of differences in a step's last bits: the machine, and the code that computes."""

import platform
from importlib.util import find_spec
from pathlib import Path

import torch

from assay.protocol.hashing import Domain
from assay.protocol.manifest import compute_files_digest
from assay.training.sharding import get_team

#: The modules that compute a step. A test names all others that a learner loads, with the reason.
CODE = (
    "assay.inference.attention",
    "assay.inference.block_attention",
    "assay.inference.expert_stacks",
    "assay.inference.fixed_order",
    "assay.inference.grouping",
    "assay.inference.head",
    "assay.inference.implementations",
    "assay.inference.low_rank",
    "assay.inference.packing",
    "assay.inference.plain.states",
    "assay.inference.reading",
    "assay.inference.recurrent",
    "assay.inference.routing",
    "assay.inference.twins",
    "assay.protocol.episode",
    "assay.training.balance",
    "assay.training.components",
    "assay.training.config",
    "assay.training.device_turns",
    "assay.training.grpo",
    "assay.training.imitation",
    "assay.training.learner",
    "assay.training.lesson",
    "assay.training.lora",
    "assay.training.objectives",
    "assay.training.optimizers",
    "assay.training.passes",
    "assay.training.policy",
    "assay.training.preferences",
    "assay.training.schedule",
    "assay.training.sharding",
    "assay.training.stale",
    "assay.training.updates",
    "assay.training.weights",
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
    """Digest of the modules that compute a step, by their paths in the package, 32 bytes."""
    files = {f"{name.replace('.', '/')}.py": _find_file(name).read_bytes() for name in CODE}
    return compute_files_digest(Domain.STRUCTURE, files)


def _find_file(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None, f"{module} is a module"
    assert spec.origin is not None, f"{module} is a file"
    return Path(spec.origin)
