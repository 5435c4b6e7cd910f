"""Runs programs, on all cores: as many children as cores, each started when all others are busy."""

from functools import cache

from assay.sandbox.guest.copies import Budget, Reply, Request
from assay.sandbox.guest.image import INPUT_MAX, OUTPUT_MAX
from assay.sandbox.guest.preparing import is_prepared
from assay.sandbox.guest.store import SandboxError
from assay.sandbox.guest.wire import REPLY_MORE, read_reply, write_request
from assay.sandbox.parent import Budget as ProcessorBudget
from assay.sandbox.parent import Lost, WorkerError
from assay.sandbox.pool import SandboxPool, count_cores
from assay.sandbox.preloaded import share_preloaded

#: Wall-clock seconds of a run, on however slow a machine. Tuning.
_PATIENCE = 600.0
_LOADED = "assay.sandbox.guest.loaded"
_BOOT = f"from {_LOADED} import serve_programs; serve_programs()"
NAME = "sandbox of programs"


def run(request: Request, budget: Budget) -> Reply:
    """Run one program in a fresh copy of the interpreter. The reply is a function of the arguments.

    Safe to share between threads.

    Raises:
        ValueError: program and input have more bytes than there is room for, or the budget has.
        SandboxError: the sandbox is not prepared.
        EngineError: the engine is not installed.
        WorkerError: no child runs, or it gets no processor time or no memory. This is not the
            program's fault, because its cost is counted.
    """
    if len(request.data) > INPUT_MAX:
        raise ValueError(f"a program and its input have at most {INPUT_MAX - 5} bytes")
    if not 0 <= budget.output <= OUTPUT_MAX:
        raise ValueError(f"there is room for {OUTPUT_MAX} bytes of output")
    if not 0 <= budget.instructions < 1 << 63:
        raise ValueError("instructions are counted in 63 bits")
    require_prepared()
    data = write_request(request, budget)
    most = budget.output + REPLY_MORE
    reply = _get_children().ask(data, most, ProcessorBudget(_PATIENCE), _PATIENCE)
    if isinstance(reply, Lost):
        raise WorkerError(f"the {NAME} got no CPU time or no memory: {reply.cause}")
    return read_reply(reply)


@cache
def require_prepared() -> None:
    """Raises SandboxError or EngineError if no program can run here."""
    if not is_prepared():
        raise SandboxError("no sandbox for programs here: `assay sandbox prepare` makes it, once")


@cache
def _get_children() -> SandboxPool:
    """This process's children. Their replies depend on the request alone."""
    return SandboxPool(NAME, _BOOT, _PATIENCE, count_cores(), share_preloaded(_LOADED))
