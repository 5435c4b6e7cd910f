"""Checks which fences around other people's packages this machine's kernel has."""

from assay.environments.foreign.fence_report import Fences, probe_fences
from assay.neurons.preflight.check_results import CheckState, PreflightCheck, attempt
from assay.protocol.parameters import EnvironmentChoice

_REMEDY = (
    "environments by digest, package: and verifiers:, lack a fence here: use Linux 5.13 or later "
    "with seccomp and Landlock, on x86-64 or 64-bit ARM, where no other program watches the system "
    "calls of this container"
)


def check_fences(environment: EnvironmentChoice | None) -> PreflightCheck:
    """Which fences there are. A missing one is a warning, because most environments need none; a
    failure if the network's environment cannot be opened without it.

    Args:
        environment: the network's; None: it is not known.
    """
    names = [environment.name, *(one.name for one in environment.settings)] if environment else []
    needs = any(name.startswith(("package:", "verifiers:")) for name in names)
    return attempt("fences", _REMEDY, lambda: judge_fences(probe_fences(), needs))


def judge_fences(fences: Fences, needs: bool) -> PreflightCheck:
    detail = f"for packages: {fences.describe()}"
    if fences.is_whole:
        return PreflightCheck("fences", CheckState.OK, detail)
    state = CheckState.FAIL if needs and not fences.copies else CheckState.WARN
    return PreflightCheck("fences", state, detail, _REMEDY)
