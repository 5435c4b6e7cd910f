"""The kernel's fences around packages on this machine, tried in a separate process."""

import json
import subprocess
import sys
from dataclasses import dataclass

from assay.sandbox import file_fence, kernel_fence

#: Seconds after which that process is given up.
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Fences:
    """The fences that were tried.

    Attributes:
        calls: system calls are refused.
        copies: copies can be made behind that fence; without copies no package is opened.
        landlock: version of the fence around files; 0 if there is none.
    """

    calls: bool
    copies: bool
    landlock: int

    @property
    def is_whole(self) -> bool:
        return self.calls and self.copies and self.landlock > 0

    def describe(self) -> str:
        """A line for people: each fence, present or missing."""
        calls = "system calls are refused" if self.calls else "no fence around system calls"
        copies = (
            "a copy answers each request" if self.copies else "no copies: packages are not opened"
        )
        files = (
            f"files are closed (Landlock {self.landlock})"
            if self.landlock
            else "no fence around files: this kernel has no Landlock"
        )
        return f"{calls}, {copies}, {files}"


def probe_fences() -> Fences:
    """Tries the fences in a new process. Raises OSError if that process cannot start, or does not
    end."""
    probe = f"""
import json, os, runpy
files, calls = map(runpy.run_path, {[file_fence.__file__, kernel_fence.__file__]!r})
landlock = files["get_version"]()
try:
    landlock = landlock if files["shut"]([]) else 0
except OSError:
    landlock = 0
try:
    shut, copies = calls["shut_around"](), True
except OSError:
    shut, copies = True, False
print(json.dumps([shut, copies, landlock]))
"""
    command = [sys.executable, "-P", "-S", "-s", "-B", "-c", probe]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True)
        return Fences(*json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError, TypeError) as error:
        raise OSError(f"the fences cannot be tried: {error}") from error
