"""Checks the kernel's fences around the sandbox of programs: a second wall behind the sandbox's
own."""

import subprocess
import sys
from dataclasses import dataclass
from json import loads

from assay.neurons.preflight.check_results import CheckState, PreflightCheck, attempt
from assay.sandbox import file_fence, kernel_fence

_REMEDY = (
    "a second wall around programs, packages and tasksets is missing; the first one needs nothing "
    "of the kernel. Use Linux 5.13 or later with seccomp and Landlock, on x86-64 or 64-bit ARM"
)
#: Seconds after which the process that tries them is given up.
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Fences:
    """The fences that were tried.

    Attributes:
        calls: system calls are refused.
        landlock: version of the fence around files; 0 if there is none.
    """

    calls: bool
    landlock: int

    def describe(self) -> str:
        """A line for people: each fence, present or missing."""
        calls = "system calls are refused" if self.calls else "no fence around system calls"
        if not self.landlock:
            return f"{calls}, no fence around files: this kernel has no Landlock"
        return f"{calls}, files are closed (Landlock {self.landlock})"


def check_fences() -> PreflightCheck:
    """Which fences there are. A missing one is a warning: nothing depends on them alone."""
    return attempt("fences", _REMEDY, lambda: judge_fences(probe_fences()))


def judge_fences(fences: Fences) -> PreflightCheck:
    detail = f"around the sandbox: {fences.describe()}"
    if fences.calls and fences.landlock:
        return PreflightCheck("fences", CheckState.OK, detail)
    return PreflightCheck("fences", CheckState.WARN, detail, _REMEDY)


def probe_fences() -> Fences:
    """Tries the fences in a new process. Raises OSError if that process cannot start, or does not
    end."""
    probe = f"""
import json, runpy
files, calls = map(runpy.run_path, {[file_fence.__file__, kernel_fence.__file__]!r})
landlock = files["get_version"]()
try:
    landlock = landlock if files["shut"]() else 0
except OSError:
    landlock = 0
print(json.dumps([calls["shut"](), landlock]))
"""
    command = [sys.executable, "-P", "-S", "-s", "-B", "-c", probe]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True)
        return Fences(*loads(done.stdout))
    except (subprocess.SubprocessError, ValueError, TypeError) as error:
        raise OSError(f"the fences cannot be tried: {error}") from error
