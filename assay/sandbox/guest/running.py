"""Runs programs, on all cores: as many children as cores, each started when all others are busy."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256

from assay.sandbox.guest.copies import Budget, Reply, Request
from assay.sandbox.guest.descriptor import INTERPRETER, Interpreter
from assay.sandbox.guest.image import INPUT_MAX, OUTPUT_MAX
from assay.sandbox.guest.preparing import is_prepared
from assay.sandbox.guest.store import SandboxError
from assay.sandbox.guest.turns import TURNS_MAX, State, TurnsBudget
from assay.sandbox.guest.wire import (
    REPLY_MORE,
    STATE_MAX,
    read_outcome,
    read_reply,
    write_request,
    write_turns,
)
from assay.sandbox.parent import Budget as ProcessorBudget
from assay.sandbox.parent import Lost, WorkerError
from assay.sandbox.pool import SandboxPool, count_cores
from assay.sandbox.preloaded import share_preloaded
from assay.sandbox.usage import using

#: Wall-clock seconds of a run, on however slow a machine. Tuning.
_PATIENCE = 600.0
_BOOT = "from assay.sandbox.guest.loading import serve; from {0} import IMAGE; serve(IMAGE)"
NAME = "sandbox of programs"
_START = State()
#: Instructions of a program that only shows whether children answer.
_PROBED = 50_000_000
#: Bytes at the beginning of kept pages that say of which image they are, and that all are there.
_SEAL_BYTES = 32


def run(request: Request, budget: Budget, interpreter: Interpreter = INTERPRETER) -> Reply:
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
    _require_possible(budget)
    data = write_request(request, budget)
    return read_reply(_ask(interpreter, data, budget.output + REPLY_MORE))


def run_turns(
    texts: Sequence[bytes], budget: TurnsBudget, state: State = _START, keep: bool = False
) -> tuple[list[Reply], State]:
    """Run turns of a tool in one live copy of the interpreter. See `turns`.

    Args:
        state: where they begin: seed and clock alone at the start, or what a call before gave.
        keep: whether the state behind them is to have what it takes to go on from it.

    Returns:
        Each turn's outcome, and the state behind the last. They are a function of the seed, the
        clock and the texts of all turns so far.

    Raises:
        ValueError: there are too many turns, or one has too many bytes; the budget is more than
            there is room for; the state is not one that `can_go_on`.
        SandboxError, EngineError, WorkerError: see `run`.
    """
    if len(texts) > TURNS_MAX or any(len(text) > INPUT_MAX - 5 for text in texts):
        raise ValueError(f"at most {TURNS_MAX} turns of at most {INPUT_MAX - 5} bytes")
    if not can_go_on(state):
        raise ValueError("these turns cannot be gone on from: replay them from the start")
    _require_possible(budget.turn)
    _require_possible(Budget(budget.instructions))
    state = replace(state, pages=(state.pages or b"")[_SEAL_BYTES:])
    most = STATE_MAX + len(texts) * (budget.turn.output + 2 * REPLY_MORE)
    data = write_turns(texts, budget, state, keep)
    replies, after = read_outcome(_ask(INTERPRETER, data, most))
    if after.pages:
        after = replace(after, pages=_seal(after.pages) + after.pages)
    return replies, after


def can_go_on(state: State) -> bool:
    """Whether the next turns may begin in a state: what it kept is whole, and of today's image. If
    not, or if nothing was kept, all turns are replayed from the start."""
    if not state.pages:
        return state.pages is not None
    return state.pages[:_SEAL_BYTES] == _seal(state.pages[_SEAL_BYTES:])


def _seal(pages: bytes) -> bytes:
    return sha256(INTERPRETER.image_digest.encode() + pages).digest()


def _require_possible(budget: Budget) -> None:
    if not 0 <= budget.output <= OUTPUT_MAX:
        raise ValueError(f"there is room for {OUTPUT_MAX} bytes of output")
    if not 0 <= budget.instructions < 1 << 63:
        raise ValueError("instructions are counted in 63 bits")


def _ask(interpreter: Interpreter, data: bytes, most: int) -> bytes:
    """A child's answer of at most so many bytes."""
    require_prepared(interpreter)
    with using(f"{NAME}, {interpreter.image_digest[:16]}", partial(_probe, interpreter)):
        reply = _get_children(interpreter).ask(data, most, ProcessorBudget(_PATIENCE), _PATIENCE)
        if isinstance(reply, Lost):
            raise WorkerError(f"the {NAME} got no CPU time or no memory: {reply.cause}")
        return reply


def _probe(interpreter: Interpreter) -> None:
    """Ask a child something small. Raises as `run`."""
    run(Request(b"1"), Budget(_PROBED), interpreter)


@cache
def require_prepared(interpreter: Interpreter = INTERPRETER) -> None:
    """Raises SandboxError or EngineError if no program can run here."""
    if not is_prepared(interpreter):
        raise SandboxError(f"no sandbox for programs here: `{interpreter.remedy}` makes it, once")


@cache
def _get_children(interpreter: Interpreter) -> SandboxPool:
    """This process's children. Their replies depend on the request alone."""
    boot, preloaded = _BOOT.format(interpreter.loader), share_preloaded(interpreter.loader)
    return SandboxPool(NAME, boot, _PATIENCE, count_cores(), preloaded)
