"""What the sandbox is made of: named by digests, made alike, and trusted only where it was made."""

import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("wasmtime") is None:
    pytest.skip("needs the extra `envs`", allow_module_level=True)

import wasmtime
from wasmtime import wat2wasm

from assay.environments.gym import GYM
from assay.sandbox import guest
from assay.sandbox.guest import engine, preparing, running, store
from assay.sandbox.guest.enclosing import InnerHost, enclose
from assay.sandbox.guest.image import _require_stack_below, make_host
from assay.sandbox.guest.metering import FUEL, SHORT, Limits, meter
from assay.sandbox.guest.wasm import DATA, IMPORT, ModuleError, read_sections

INTERPRETER = guest.INTERPRETER
PACKED = Path(__file__).parents[2] / "python-wasm" / "assay_python_wasm" / "python.wasm.xz"
#: SHA-256 of the two texts that are in every image. Who changes one, even a comment of `boot`,
#: makes another image: prepare it, write both digests, those that the tests beside this one keep,
#: and tests/vectors/code.json.
SOURCES = "40191c63f3b8f3c75df185d0c5c5b9a50dbcea1952b7cd58b8fdff42b93a79ed"
NO_HOST = InnerHost({}, "", lambda _: 58)


def test_the_image_is_that_of_these_sources() -> None:
    texts = (files(guest).joinpath(name).read_bytes() for name in ("boot.py", "stubs.wat"))
    assert sha256(b"".join(texts)).hexdigest() == SOURCES


def test_a_prepared_image_imports_nothing() -> None:
    if not guest.is_prepared():
        pytest.skip("not prepared: assay sandbox prepare")
    image = store.name_image(store.find_folder(), INTERPRETER).read_bytes()
    assert sha256(image).hexdigest() == INTERPRETER.image_digest
    assert IMPORT not in dict(read_sections(image))


@pytest.mark.nightly
@pytest.mark.parametrize("image", [INTERPRETER, GYM], ids=["plain", GYM.name])
def test_an_image_is_made_alike_in_an_empty_home(
    image: guest.Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the module and the releases on: the digest that this machine gets is compared within."""
    monkeypatch.setenv("HOME", str(tmp_path))
    said: list[str] = []
    ready = guest.prepare(tell=said.append, interpreter=image)
    assert (ready.made, len(said)) == (("image", "artifact"), 2)
    assert guest.prepare(tell=said.append, interpreter=image).made == ()
    assert len(said) == 2
    with open(ready.artifact, "r+b") as opened:  # a bit of the compiled code
        opened.seek(1 << 20)
        byte = opened.read(1)[0]
        opened.seek(1 << 20)
        opened.write(bytes([byte ^ 1]))
    assert guest.prepare(interpreter=image).made == ("artifact",)


def test_the_distribution_carries_the_interpreter(tmp_path: Path) -> None:
    """Packed; who has unpacked it names it in the same way."""
    module = preparing.read_module(PACKED, INTERPRETER)
    assert len(module) == INTERPRETER.module_bytes
    unpacked = tmp_path / "python.wasm"
    unpacked.write_bytes(module)
    assert preparing.read_module(unpacked, INTERPRETER) == module


@pytest.mark.parametrize(
    "make_data",
    [
        lambda: b"\0asm\1\0\0\0",
        lambda: lzma.compress(b"\0asm\1\0\0\0"),
        lambda: lzma.compress(bytes(INTERPRETER.module_bytes + 1)),
        lambda: PACKED.read_bytes()[:-500_000],
        lambda: lzma.compress(b"")[:6] + bytes(99),
    ],
    ids=["another", "another, packed", "too large", "cut off", "damaged"],
)
def test_a_file_that_is_not_the_interpreter_is_refused(
    tmp_path: Path, make_data: Callable[[], bytes]
) -> None:
    other = tmp_path / "other.wasm"
    other.write_bytes(make_data())
    with pytest.raises(guest.SandboxError, match="is not the interpreter's module"):
        preparing.read_module(other, INTERPRETER)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(guest.SandboxError, match="is no file"):
        guest.prepare(tmp_path / "pipe")


def test_without_the_distribution_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparing, "_PACKAGE", "assay_python_absent")
    with pytest.raises(guest.SandboxError, match="is not installed: the extra `envs`"):
        preparing._find_module()  # noqa: SLF001


def test_an_image_with_another_digest_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_work", lambda *_: b"another")
    image = tmp_path / "image"
    with pytest.raises(guest.SandboxError, match="nothing is run here"):
        preparing._make_image(b"", image, INTERPRETER, lambda _: None)  # noqa: SLF001
    assert not image.exists()


@pytest.mark.parametrize("fault", ["others may write", "a link", "an open folder"])
def test_an_artifact_that_others_could_have_written_is_not_trusted(
    tmp_path: Path, fault: str
) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    artifact = folder / "artifact"
    store.write(artifact, b"native code")
    assert store.is_trusted(artifact)
    if fault == "others may write":
        artifact.chmod(0o620)
    elif fault == "a link":
        artifact.rename(folder / "elsewhere")
        artifact.symlink_to(folder / "elsewhere")
    else:
        folder.chmod(0o777)
    assert not store.is_trusted(artifact)


def test_a_full_disk_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where Python's output is unbuffered, and is cut without an error."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    monkeypatch.setattr(
        preparing,
        "_MAKE",
        "import resource\nfrom assay.sandbox.guest import making\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))\nmaking._write(bytes({0}))",
    )
    assert preparing._work("9999", tmp_path / "image", b"") == bytes(9999)  # noqa: SLF001
    with pytest.raises(guest.SandboxError, match="File too large"):
        preparing._work("10000", tmp_path / "image", b"")  # noqa: SLF001


def test_a_damaged_artifact_is_found(tmp_path: Path) -> None:
    """The engine itself would run it."""
    artifact = tmp_path / "artifact"
    assert not store.is_intact(artifact)
    store.write_artifact(artifact, b"native code")
    assert store.is_intact(artifact)
    artifact.write_bytes(b"native coda")
    assert not store.is_intact(artifact)


def test_what_nothing_uses_any_longer_is_removed(tmp_path: Path) -> None:
    """But nothing that a version of this program still starts with, nor anything of somebody."""
    artifacts = [tmp_path / f"{digit * 16}-wasmtime-50.0.1-x86_64.native" for digit in "abc"]
    images = [tmp_path / f"{digit * 16}.wasm" for digit in "abc"]
    for path in artifacts:
        store.write_artifact(path, b"native code")
    others = [tmp_path / name for name in (".lock", "notes.wasm", "a" * 16)]
    for path in (*images, *others):
        path.touch()
    (tmp_path / f"{'d' * 16}.wasm").mkdir()
    long_ago = time.time() - 91 * 86_400
    for path in tmp_path.iterdir():
        os.utime(path, (long_ago, long_ago))
    store.mark_used(artifacts[0], images[0])
    recently = time.time() - 89 * 86_400
    os.utime(artifacts[1], (recently, recently))
    gone = {images[1], images[2], artifacts[2]}
    gone |= {path.with_name(f"{path.name}.crc32") for path in artifacts[1:]}
    before = set(tmp_path.iterdir())
    assert store.remove_unused(tmp_path) == sorted(path.name for path in gone)
    assert before - set(tmp_path.iterdir()) == gone


def test_what_a_killed_preparation_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / f".{'a' * 16}.wasm.x7.tmp"
    left.touch()
    with store.hold(tmp_path, lambda _: None):
        assert not left.exists()


def test_the_folder_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a link, but not in a circle of them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / ".cache" / "assay" / "sandbox"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "disk")
    assert store.find_folder() == (tmp_path / "disk").resolve()
    place.unlink()
    place.symlink_to(place)
    with pytest.raises(guest.SandboxError, match="no folder for the sandbox"):
        store.find_folder()


def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would trust what was made there."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with (
        pytest.raises(guest.SandboxError, match="another user's"),
        store.hold(tmp_path, lambda _: None),
    ):
        pass


def test_who_waits_for_another_preparation_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(1) as executor:

        def prepare() -> None:
            with store.hold(tmp_path, said.append):
                pass

        with store.hold(tmp_path, said.append):
            waiting = executor.submit(prepare)
            while not said:
                time.sleep(0.01)
        waiting.result(60)
    assert len(said) == 1
    assert "another process" in said[0]


def test_without_a_preparation_one_line_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(guest.SandboxError, match="`assay sandbox prepare` makes it"):
        running.require_prepared.__wrapped__()


@pytest.mark.parametrize("found", ["44.0.1", "51.0.0", None])
def test_an_engine_that_was_not_tried_is_refused(
    found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_version(name: str) -> str:
        if name == "wasmtime" and found is None:
            raise PackageNotFoundError
        return str(found) if name == "wasmtime" else version(name)

    monkeypatch.setattr(engine, "version", find_version)
    with pytest.raises(guest.EngineError, match=f"{found or 'none'} is here: install the extra"):
        engine.require_engine()


def test_a_preparation_that_is_stopped_leaves_no_child(tmp_path: Path) -> None:
    """Ctrl-C ends the work at once, however long it takes."""
    pid = tmp_path / "pid"
    work = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    code = (
        "import sys\nfrom pathlib import Path\nfrom assay.sandbox.guest import preparing\n"
        f"preparing._MAKE = {work!r}\npreparing._work('any', Path(sys.argv[1]), b'')"
    )
    command = [sys.executable, "-c", code, str(pid)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert list(tmp_path.iterdir()) == [pid]


@pytest.mark.parametrize(
    "module",
    [
        '(module (import "a" "memory" (memory 1)))',
        '(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32))) (memory 1))',
        '(module (import "a" "b" (func (result i64))) (memory 1))',
        "(module (memory 1 2))",
    ],
)
def test_modules_that_cannot_have_their_host_inside(module: str) -> None:
    text = module.removesuffix(")") + ' (global i32 (i32.const 0)) (func (export "_start")))'
    with pytest.raises(ModuleError):
        enclose(bytes(wat2wasm(text)), 1, make_host())


@pytest.mark.parametrize(
    ("module", "message"),
    [(b"", "not a WebAssembly module"), (b"\0asm\1\0\0\0", "lacks the sections")],
)
def test_modules_that_cannot_be_metered(module: bytes, message: str) -> None:
    with pytest.raises(ModuleError, match=message):
        meter(module, Limits(512, 1 << 15))


@pytest.mark.parametrize(
    ("asked", "pages", "grown"),
    [(3, 99, 1), (4, 99, -1), (-1, 99, -1), (2, 2, None), (4, 2, -1), (0, 1, 1)],
)
def test_memory_is_refused_alike_or_the_run_is_void(
    asked: int, pages: int, grown: int | None
) -> None:
    """A module may have 4 pages. Where the machine has fewer, no program learns it."""
    module = bytes(
        wat2wasm(
            '(module (memory (export "memory") 1) (global (mut i32) (i32.const 0))'
            ' (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))'
        )
    )
    machine = wasmtime.Engine()
    held = wasmtime.Store(machine)
    held.set_limits(memory_size=pages << 16)
    metered = wasmtime.Module(machine, meter(module, Limits(4, 1 << 15)))
    exports = wasmtime.Instance(held, metered, []).exports(held)
    exports[FUEL].set_value(held, 100_000)
    if grown is None:
        with pytest.raises(wasmtime.Trap):
            exports["grow"](held, asked)
    else:
        assert exports["grow"](held, asked) == grown
    assert exports[SHORT].value(held) == (grown is None)


@pytest.mark.parametrize("data", ["", '(data (i32.const 1023) "a")', '(data "a")'])
def test_a_module_whose_stack_could_reach_its_data_is_refused(data: str) -> None:
    sections = dict(read_sections(bytes(wat2wasm(f"(module (memory 1) {data})"))))
    with pytest.raises(ModuleError, match="does not lie below its data"):
        _require_stack_below(sections.get(DATA, b"\0"), 1024)


def test_data_may_begin_where_the_stack_ends() -> None:
    module = bytes(wat2wasm('(module (memory 1) (data (i32.const 1024) "a"))'))
    _require_stack_below(dict(read_sections(module))[DATA], 1024)
