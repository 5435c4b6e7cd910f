"""Programs in the sandbox: real Python, alike on every machine, with nothing outside to reach."""

import json
import subprocess
import sys
from hashlib import sha256

import pytest

from assay.sandbox.guest import (
    COMPILE,
    COMPILED,
    Budget,
    EngineError,
    Reply,
    Request,
    is_prepared,
    run,
)
from assay.sandbox.guest.image import INPUT_MAX
from tests.sandbox import drawn
from tests.sandbox.busy import keep_busy
from tests.sandbox.drawn import FEW_COUNT, digest_replies, draw_programs
from tests.sandbox.programs import ENDS, HOSTILE, THIRTY
from tests.sandbox.v8 import ask_v8, needs_v8, read_reply

try:
    _reason = "" if is_prepared() else "not prepared: assay sandbox prepare"
except EngineError as error:
    _reason = str(error)
if _reason:
    pytest.skip(_reason, allow_module_level=True)

BILLION = 10**9
#: SHA-256 of the outputs, ends and counts of all hostile programs with 10^8 and 2·10^9
#: instructions each: whatever the machine, its processor, its load and its engine.
FEW = "5177bba624df7feac4f451eb1160b65f83c1fbde2612d356b4e22e0a406a2950"
MANY = "053a86c881f2f0a1ab9823088b6f83edf6e870c1dd828d67661b5254b2a5ecc4"


def ask(program: str, given: str = "", instructions: int = BILLION, **more: int) -> Reply:
    return run(Request(program.encode(), given.encode(), **more), Budget(instructions))


def digest(instructions: int) -> str:
    replies = {
        name: (sha256(reply.output).hexdigest(), reply.end, reply.instructions)
        for name, program in HOSTILE.items()
        for reply in [ask(program, "right answer\n", instructions)]
    }
    return sha256(json.dumps(replies).encode()).hexdigest()


def test_programs_print_what_native_python_prints() -> None:
    command = [sys.executable, "-I", "-S", "-c"]
    for program, given in THIRTY:
        native = subprocess.run([*command, program], input=given.encode(), capture_output=True)
        reply = ask(program, given, 5 * BILLION)
        assert (reply.output, reply.end) == (native.stdout, "exit 0"), program


@pytest.mark.parametrize("name", ENDS)
def test_programs_start_and_end_as_in_native_python(name: str) -> None:
    program, given = ENDS[name], "41\r\n"
    command = [sys.executable, "-I", "-c", program]
    native = subprocess.run(command, input=given.encode(), capture_output=True)
    reply = ask(program, given)
    assert (reply.output, reply.end) == (native.stdout, f"exit {native.returncode}")


def test_hostile_programs_end_alike_everywhere() -> None:
    assert digest(BILLION // 10) == FEW


@pytest.mark.nightly
def test_hostile_programs_with_many_instructions_end_alike_everywhere() -> None:
    assert digest(2 * BILLION) == MANY


def test_a_budget_is_kept_to_the_instruction() -> None:
    need = ask("print(42)").instructions
    assert ask("print(42)", instructions=need) == Reply(b"42\n", "exit 0", need)
    assert ask("print(42)", instructions=need - 1).end == "instructions"


def test_what_waits_for_memory_counts_for_it() -> None:
    """An instruction counts more once memory is large, and a round that follows a pointer more than
    its instructions."""
    spin = "t = perf_counter_ns()\nfor _ in range(9999): pass\nprint(perf_counter_ns() - t)\n"
    output = ask(f"from time import perf_counter_ns\n{spin}x = bytes(20 << 20)\n{spin}").output
    before, after = map(int, output.split())
    assert after / before == pytest.approx(5, rel=0.01)
    chain = "import weakref\nclass A: pass\na = A()\nx = [weakref.ref(a, print) for _ in '{}']\n"
    walk = chain.format("x" * 1_000) + "weakref.getweakrefcount(a)\n" * 10
    cost = (
        ask(walk).instructions - ask(walk.replace("getweakrefcount", "ReferenceType")).instructions
    )
    assert cost > 64 * 10 * 1_000


def test_a_budget_has_63_bits() -> None:
    assert ask("print(42)", instructions=0) == Reply(b"", "instructions", 0)
    assert ask("print(42)", instructions=(1 << 63) - 1).end == "exit 0"
    for beyond in 1 << 63, -1:
        with pytest.raises(ValueError, match="63 bits"):
            ask("print(42)", instructions=beyond)


def test_a_run_depends_on_its_request_alone() -> None:
    program = (
        "import time, os, random, uuid, secrets\n"
        "print(time.time(), time.perf_counter(), os.urandom(4), random.random(), uuid.uuid4(),"
        " secrets.token_hex(4), hash('a'), id(object()), {'a', 'b'}, dict(os.environ))"
    )
    first = ask(program)
    assert ask(program) == first
    assert ask(program, seed=1).output != first.output
    assert b" {}" in first.output, "no variable of any environment is seen"


def test_time_passes_with_instructions_and_sleep() -> None:
    program = "import time\nt = time.time()\n{}\nprint(time.time() - t)"
    assert float(ask(program.format("time.sleep(3)")).output) == pytest.approx(3, abs=0.1)
    loop = ask(program.format("while time.time() - t < 0.05: pass"))
    assert 5e7 < loop.instructions < 1.2e8
    since = ask("import time\nprint(int(time.time()))", clock=1_700_000_000 * BILLION)
    assert since.output == b"1700000000\n"


@pytest.mark.parametrize(
    ("program", "end"),
    [
        ("import os\nos._exit(256)", "exit 0"),
        ("import os\nos._exit(3)", "exit 3"),
        ("raise SystemExit('no')", "exit 1"),
        ("raise SystemExit(-1)", "exit 255"),
        ("1 +", "exit 1"),
        ("import os\nos.abort()", "trap"),
        # the request's function itself is made to return: no end that anybody called for
        (
            "import os, sys\nos._exit = lambda n: None\nf = sys._getframe(1)\n"
            "f.f_globals['os'] = type(sys)('os')\nf.f_globals['os']._exit = lambda n: None",
            "trap",
        ),
        ("import sys\nsys.stdout.write('x' * (3 << 20))", "output"),
    ],
)
def test_only_a_call_for_its_end_is_an_end(program: str, end: str) -> None:
    assert ask(program).end == end


def test_output_has_the_room_of_its_budget() -> None:
    request = Request(b"print('x' * 99)")
    assert run(request, Budget(BILLION, 100)).end == "exit 0"
    assert run(request, Budget(BILLION, 99)) == run(request, Budget(BILLION, 99))
    assert run(request, Budget(BILLION, 99)).end == "output"
    with pytest.raises(ValueError, match="bytes of output"):
        run(request, Budget(BILLION, 3 << 20))


def test_a_program_and_its_input_have_a_largest_size() -> None:
    program = "import sys\nprint(len(sys.stdin.buffer.read()))"
    most = INPUT_MAX - 5 - len(program)
    assert ask(program, "x" * most).output == f"{most}\n".encode()
    with pytest.raises(ValueError, match="at most"):
        ask(program, "x" * (most + 1))


def test_code_that_was_compiled_once_runs_alike() -> None:
    program, given = THIRTY[5]
    code = run(Request(program.encode(), kind=COMPILE), Budget(BILLION))
    plain = ask(program, given)
    reply = run(Request(code.output, given.encode(), COMPILED), Budget(BILLION))
    assert (code.end, reply.output, reply.end) == ("exit 0", plain.output, "exit 0")
    assert reply.instructions < plain.instructions
    assert run(Request(b"1 +", kind=COMPILE), Budget(BILLION)).end == "exit 1"


@pytest.mark.parametrize(
    "program",
    [
        "from functools import lru_cache\nimport sys\nsys.setrecursionlimit(10**6)\n"
        "@lru_cache(None)\ndef f(n): return n and f(n - 1)\nprint(f(3000))",
        "def f(n): return n and f(n - 1)\nprint(f(980))",
        "import sys\nsys.setrecursionlimit(10**6)\n"
        "def f(n): return n and f(n - 1)\nprint(f(10**5))",
    ],
)
def test_programs_may_nest_as_deep_as_in_python(program: str) -> None:
    assert ask(program).output == b"0\n"


def test_a_deep_recursion_of_c_ends_in_a_trap() -> None:
    """CPython does not count this one."""
    program = "t = 1\nfor i in range({}): t = (t,)\nprint(hash(t))"
    assert ask(program.format(20_000)).end == "exit 0"
    assert ask(program.format(40_000)) == Reply(
        b"", "trap", ask(program.format(40_000)).instructions
    )


def test_drawn_programs_end_as_on_every_machine() -> None:
    assert digest_replies(map(ask_drawn, draw_programs(FEW_COUNT))) == drawn.FEW


@pytest.mark.nightly
@pytest.mark.parametrize("beside", [0, 12])
def test_all_drawn_programs_end_as_on_every_machine(beside: int) -> None:
    """Alone, and beside busy processes."""
    with keep_busy(beside):
        assert digest_replies(map(ask_drawn, draw_programs())) == drawn.DIGEST


def ask_drawn(one: tuple[str, str]) -> Reply:
    return ask(*one, drawn.INSTRUCTIONS)


@pytest.mark.nightly
@needs_v8
def test_another_engine_says_the_same() -> None:
    """Output, end and instructions, here and in V8."""
    cases = [(*case, 5 * BILLION) for case in THIRTY]
    cases += [(program, "right answer\n", BILLION // 10) for program in HOSTILE.values()]
    for case, said in zip(cases, ask_v8(cases), strict=True):
        assert read_reply(said) == ask(*case), case[0]
    said = ask_v8((*one, drawn.INSTRUCTIONS) for one in draw_programs())
    assert digest_replies(map(read_reply, said)) == drawn.DIGEST
