"""Checks which fences around other people's packages this machine's kernel has."""

from assay.cli.preflight.check_results import CheckState, PreflightCheck, attempt
from assay.environments.foreign.fence_report import Fences, probe_fences

_REMEDY = (
    "environments by digest, package: and verifiers:, run with fewer fences here: use Linux 5.13 "
    "or later with seccomp and Landlock, on x86-64 or 64-bit ARM"
)


def check_fences() -> PreflightCheck:
    """Check the fences. A missing one is a warning, because most environments need none."""
    return attempt("fences", _REMEDY, lambda: judge_fences(probe_fences()))


def judge_fences(fences: Fences) -> PreflightCheck:
    calls = "system calls are refused" if fences.calls else "no fence around system calls"
    copies = "a copy answers each request" if fences.copies else "one process answers all requests"
    files = (
        f"files are closed (Landlock {fences.landlock})"
        if fences.landlock
        else "no fence around files: this kernel has no Landlock"
    )
    detail = f"for packages: {calls}, {copies}, {files}"
    if fences.is_whole:
        return PreflightCheck("fences", CheckState.OK, detail)
    return PreflightCheck("fences", CheckState.WARN, detail, _REMEDY)
