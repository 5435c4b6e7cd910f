"""Runs operators as other machines would: with other instructions, and other libraries' kernels.

torch, MKL and oneDNN choose kernels when a process starts, so each kind of machine is a separate
process. It emulates arithmetic, and only downwards: no processor runs instructions that it lacks.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._pytree import tree_map, tree_map_only

from assay.audit.tracing.operator_calls import TensorDigests, call_operator
from assay.audit.tracing.operator_modes import Call
from assay.protocol.errors import OperatorError

#: Most seconds for a process's operators, including torch's import.
RERUN_SECONDS = 600.0
#: An operator's result, `OperatorRecord.answer`; None: it does not run there.
Answer = tuple[str, tuple[bytes, ...]] | None
#: Instructions → the settings of MKL and oneDNN; torch has the same names.
_LIBRARIES: Mapping[str, Mapping[str, str]] = {
    "default": {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"MKL_CBWR": "AVX512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}
_BOOT = f"import sys; from {__name__} import run_calls; run_calls(*sys.argv[1:])"


class RerunError(OperatorError):
    """A process that runs operators again failed. The message says how."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine that this one can emulate."""

    name: str
    variables: tuple[str, ...]  # NAME=VALUE
    onednn: bool = True


def list_machines() -> list[Machine]:
    """The machines that this processor can emulate, the likeliest first."""
    names = list(_LIBRARIES)
    here = torch.backends.cpu.get_cpu_capability().lower()
    possible = names[: names.index(here) + 1] if here in names else names[:1]
    machines = []
    for name in reversed(possible):
        variables = (f"ATEN_CPU_CAPABILITY={name}",)
        settings = tuple(f"{key}={value}" for key, value in _LIBRARIES[name].items())
        if name != here:  # unchanged
            machines.append(Machine(f"torch's kernels for {name}", variables))
        machines.append(Machine(f"all libraries' kernels for {name}", variables + settings))
    machines.append(Machine("no oneDNN", (), onednn=False))
    return machines


@dataclass(frozen=True, slots=True)
class _MemoryFormat:
    """One of torch's memory formats, by name, because the formats cannot be pickled."""

    name: str


def _to_plain(value: object) -> object:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, torch.memory_format):
        return _MemoryFormat(str(value).removeprefix("torch."))
    return value


def save_calls(calls: Sequence[Call], file: Path) -> None:
    """Write calls with all their inputs: tensors that share storage still do, at the same offsets.
    Raises OSError, RuntimeError: they cannot be written."""
    plain = [
        (str(operator), *tree_map(_to_plain, (args, kwargs))) for operator, args, kwargs in calls
    ]
    torch.save(plain, file)


def load_calls(file: Path) -> Iterator[Call]:
    """The calls that `save_calls` wrote, in this program's own folder."""
    for name, *given in torch.load(file, weights_only=False):
        space, packet, overload = name.split(".")
        args, kwargs = tree_map_only(_MemoryFormat, lambda one: getattr(torch, one.name), given)
        yield getattr(getattr(getattr(torch.ops, space), packet), overload), args, kwargs


def rerun_on(machine: Machine, file: Path, threads: int) -> list[Answer]:
    """The answers of saved calls on such a machine. Raises RerunError: its process failed."""
    arguments = [str(file), str(threads), str(int(machine.onednn))]
    command = [sys.executable, "-P", "-c", _BOOT, *arguments]
    try:
        done = subprocess.run(
            ["env", *machine.variables, *command],
            capture_output=True,
            timeout=RERUN_SECONDS,
            check=True,
        )
        answers = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        last_lines = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        why = last_lines[0] if last_lines else f"exit code {error.returncode}"
        raise RerunError(f"operators cannot be run again with {machine.name}: {why}") from None
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise RerunError(f"operators cannot be run again with {machine.name}: {error}") from None
    return [None if one is None else (one[0], tuple(map(bytes.fromhex, one[1]))) for one in answers]


def _rerun_here(file: Path) -> Iterator[tuple[str, list[str]] | None]:
    for operator, args, kwargs in load_calls(file):
        try:
            _, record = call_operator(operator, args, kwargs, TensorDigests())
        except RuntimeError:  # no kernel without that library
            yield None
            continue
        yield record.results, [digest.hex() for digest in record.outputs]


def run_calls(file: str, threads: str, onednn: str) -> None:
    """Run saved calls in this process and print each result, as JSON."""
    torch.set_num_threads(int(threads))
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=bool(int(onednn))):
        print(json.dumps(list(_rerun_here(Path(file)))))
