"""Checks whether this machine can run programs in the sandbox."""

from functools import partial

from assay.environments.gym.image import GYM
from assay.neurons.preflight.check_results import CheckState, PreflightCheck, attempt
from assay.protocol.parameters import EnvironmentChoice
from assay.sandbox.guest import INTERPRETER, Interpreter, SandboxError, is_prepared
from assay.sandbox.guest.engine import FIRST, LAST, EngineError, require_engine
from assay.sandbox.guest.preparing import fits_processor

#: Families of environments → the image in which they run.
_IMAGES = {**dict.fromkeys(("code", "package", "verifiers"), INTERPRETER), GYM.name: GYM}


def check_sandbox(environment: EnvironmentChoice | None) -> PreflightCheck:
    """Whether the sandbox is prepared for an engine that was tried. A missing one is a warning,
    because most environments need none; a failure if the network's does.

    Args:
        environment: the network's; None: it is not known.
    """
    names = [environment.name, *(one.name for one in environment.settings)] if environment else []
    families = dict.fromkeys(name.partition(":")[0] for name in names if ":" in name)
    needed = [_IMAGES[family] for family in families if family in _IMAGES]
    absent = CheckState.FAIL if needed else CheckState.WARN
    for image in needed or [INTERPRETER]:
        found = attempt("sandbox", image.remedy, partial(_look, image, absent))
        if found.state is not CheckState.OK:
            break
    return found


def _look(image: Interpreter, absent: CheckState) -> PreflightCheck:
    remedy = f"environments of Python run in it: {image.remedy}"
    try:
        engine = require_engine()
        if not is_prepared(image):
            raise SandboxError("it is not prepared")
        if not fits_processor(image):
            raise SandboxError("it was compiled for another processor")
    except (EngineError, SandboxError) as error:
        return PreflightCheck("sandbox", absent, f"no programs run here: {error}", remedy)
    detail = f"Python {image.python} in wasmtime {engine} ({FIRST} to {LAST} were tried)"
    return PreflightCheck("sandbox", CheckState.OK, detail)
