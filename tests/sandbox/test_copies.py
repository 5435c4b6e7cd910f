"""Copies of an image: few pages of each are written, and a used one is made as a fresh one."""

import ctypes
import mmap

import pytest

from assay.sandbox.guest import INTERPRETER, Budget, Request
from tests.absent import has_sandbox
from tests.sandbox.forked import read_in_fork
from tests.sandbox.programs import HOSTILE, THIRTY

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

from assay.sandbox.guest import pages
from assay.sandbox.guest.copies import STATE, Copy, Image, Reply
from assay.sandbox.guest.engine import run_deep
from assay.sandbox.guest.loading import load
from assay.sandbox.guest.pages import WrittenPages
from assay.sandbox.guest.store import find_folder, name_image
from assay.sandbox.guest.wasm import EXPORT as EXPORT_SECTION
from assay.sandbox.guest.wasm import GLOBAL, GLOBAL_KIND, ModuleReader, read_exports, read_sections

PAGE = 1 << 12
#: Pages that a short program leaves with other content, some of them for its input, its output and
#: the C stack. One that counted references to the image's objects would change 110.
CHANGED_MAX = 60
SHORT = Request(b"print(sum(map(int, input().split())))", b"3 1 4\n")


@pytest.fixture(scope="module")
def image() -> Image:
    return load(INTERPRETER)


def read_state(copy: Copy) -> tuple[bytes, list[int]]:
    instance = copy._instance  # noqa: SLF001
    return copy.read(0, copy.size), [instance.get(name) for name in STATE]


def ask(copy: Copy, request: Request, instructions: int = 10**8) -> Reply:
    copy.seed, copy.clock = request.seed, request.clock
    return copy.ask(request.data, Budget(instructions))


def test_a_copy_is_its_memory_and_its_exported_globals() -> None:
    """Nothing else of it changes: no table, no other global. So it can be made fresh."""
    sections = dict(read_sections(name_image(find_folder(), INTERPRETER).read_bytes()))
    exports = read_exports(sections[EXPORT_SECTION])
    exported = {index: name for name, (kind, index) in exports.items() if kind == GLOBAL_KIND}
    assert sorted(exported) == list(range(ModuleReader(sections[GLOBAL]).unsigned()))
    assert sorted(exported.values()) == sorted(STATE)


def test_a_run_writes_few_pages(image: Image) -> None:
    def count() -> int:
        copy = image.open()
        before, _ = read_state(copy)
        ask(copy, SHORT)
        after, _ = read_state(copy)
        copy.close()
        places = range(0, len(before), PAGE)
        return sum(before[at : at + PAGE] != after[at : at + PAGE] for at in places)

    assert run_deep(count) <= CHANGED_MAX


def test_objects_of_the_image_are_immortal(image: Image) -> None:
    """Those that the collector of garbage knows, and what they refer to; none of the program's."""
    program = (
        "import json, sys\nnever = sys.getrefcount(None)\ncode = json.dumps.__code__\n"
        "old = json, vars(json), json.dumps, code, code.co_consts, code.co_names[-1], dict, len\n"
        "print([sys.getrefcount(one) == never for one in old], sys.getrefcount(object()) == never)"
    )
    reply = run_deep(lambda: image.run(Request(program.encode()), Budget(10**8)))
    assert reply.output.decode() == f"{[True] * 8} False\n"


@pytest.mark.parametrize(
    "program",
    [
        SHORT.program.decode(),
        *(text for text, _ in THIRTY[:2]),
        "import os\nos._exit(3)",
        "import os\nos.abort()",
        "while True: pass",
        "def f(): f()\nf()",
        "while True: print('x' * 10**4)",
        "import gc, sys\ngc.unfreeze()\ngc.collect()\nsys.modules.clear()",
    ],
)
def test_a_used_copy_is_made_as_a_fresh_one(image: Image, program: str) -> None:
    """Whatever it ran, but where its memory has grown."""
    request, written = Request(program.encode(), b"1 2 3\n", seed=7, clock=9), _watch()

    def use() -> None:
        fresh, used = image.open(), image.open()
        first = ask(used, request, 3 * 10**7)
        assert used.renew(fresh, written)
        assert read_state(used) == read_state(fresh)
        assert ask(used, request, 3 * 10**7) == first
        used.close()
        fresh.close()

    run_deep(use)


def test_a_copy_whose_memory_has_grown_is_not_made_fresh(image: Image) -> None:
    written = _watch()

    def use() -> None:
        fresh, used = image.open(), image.open()
        ask(used, Request(b"x = bytearray(9 << 20)"))
        assert used.size > fresh.size
        assert not used.renew(fresh, written)
        used.close()
        fresh.close()

    run_deep(use)


def test_the_page_of_zeros_is_as_a_written_one() -> None:
    """A kernel that merges pages may put it where a program wrote zeros over the image's data."""
    written, size = _watch(), mmap.PAGESIZE
    with mmap.mmap(-1, 4 * size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert written.find(start, start + 4 * size) == []
        assert memory[size] == 0  # read only
        assert written.find(start, start + 4 * size) == [(start + size, start + 2 * size)]


def test_runs_are_alike_in_copies_that_are_made_fresh(image: Image) -> None:
    """A program after each hostile one, in one process."""

    def run_all() -> list[Reply]:
        requests = [Request(text.encode(), b"right answer\n") for text in HOSTILE.values()]
        return [
            image.run(one, Budget(2 * 10**7)) for request in requests for one in (request, SHORT)
        ]

    _watch()
    plain = run_deep(run_all)
    image.renew_copies()
    assert run_deep(run_all) == plain


def test_a_fork_is_not_told_its_parents_pages() -> None:
    written = _watch()
    assert read_in_fork(lambda: repr(written.find(0, PAGE)).encode()) == b"None"


@pytest.mark.parametrize(
    ("name", "value"),
    [("_PAGEMAP", "/nowhere"), ("_SCAN", 0), ("_RANGES_MAX", 3), ("_PRESENT", 0)],
    ids=["no record", "refused", "in part", "untrue"],
)
def test_what_the_kernel_does_not_tell_costs_another_copy(
    name: str, value: object, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, name, value)

    def run_both() -> list[Reply]:
        other = load(INTERPRETER)
        other.renew_copies()
        replies = [other.run(SHORT, Budget(10**8)) for _ in range(2)]
        assert other._spare is None  # noqa: SLF001
        return [*replies, image.run(SHORT, Budget(10**8))]

    first, second, plain = run_deep(run_both)
    assert first == second == plain


def _watch() -> WrittenPages:
    """What tells the written pages here, or no test."""
    written = WrittenPages()
    if written.find(0, PAGE) is None:
        pytest.skip("this kernel does not tell which pages were written: Linux 6.7 does")
    return written
