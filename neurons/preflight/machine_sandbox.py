"""Checks whether this machine can run programs in the sandbox."""

from assay.neurons.preflight.check_results import CheckState, PreflightCheck, attempt
from assay.protocol.parameters import EnvironmentChoice
from assay.sandbox.guest import INTERPRETER, SandboxError, is_prepared
from assay.sandbox.guest.engine import FIRST, LAST, EngineError, require_engine

_REMEDY = "code:…, package:… and verifiers:… run in it: assay sandbox prepare"
_FAMILIES = "code:", "package:", "verifiers:"


def check_sandbox(environment: EnvironmentChoice | None) -> PreflightCheck:
    """Whether the sandbox is prepared for an engine that was tried. A missing one is a warning,
    because most environments need none; a failure if the network's does.

    Args:
        environment: the network's; None: it is not known.
    """
    names = [environment.name, *(one.name for one in environment.settings)] if environment else []
    needs = any(name.startswith(_FAMILIES) for name in names)
    return attempt("sandbox", _REMEDY, lambda: _look(needs))


def _look(needs: bool) -> PreflightCheck:
    missing = CheckState.FAIL if needs else CheckState.WARN
    try:
        engine = require_engine()
        if not is_prepared():
            raise SandboxError("it is not prepared")
    except (EngineError, SandboxError) as error:
        return PreflightCheck("sandbox", missing, f"no programs run here: {error}", _REMEDY)
    detail = f"Python {INTERPRETER.python} in wasmtime {engine} ({FIRST} to {LAST} were tried)"
    return PreflightCheck("sandbox", CheckState.OK, detail)
