"""The build of the sandbox's interpreter."""

import lzma
import runpy
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest

from assay.sandbox.guest import INTERPRETER
from tests.tree import ROOT

FOLDER = ROOT / "python-wasm"
PACKAGE = FOLDER / "assay_python_wasm"
PROGRAM = """
import array, asyncio, dataclasses, decimal, hashlib, json, random, re, statistics, sys, zlib
print(sys.version_info[:3], json.dumps([1, {"a": None}]), decimal.Decimal(1) / 7)
print(len(zlib.decompress(zlib.compress(b"x" * 99))), sum(range(10**5)), random.Random(1).random())
print(hashlib.sha3_256(b"").hexdigest()[:8], re.sub("b+", "c", "abba"), sys.int_info.bits_per_digit)
"""


@pytest.fixture(scope="module")
def build():
    pytest.importorskip("wasmtime", reason="the extra `envs`")
    return runpy.run_path(str(FOLDER / "compile.py"))


@pytest.mark.skipif(find_spec("ziglang") is None, reason="needs PyPI's ziglang: `make python-wasm`")
def test_a_build_in_another_folder_gives_the_same_bytes(build, tmp_path):
    """The module that the distribution carries was built elsewhere. It starts without a file."""
    sources = tmp_path / "sources"
    sources.mkdir()
    for source in (build["CPYTHON"], build["ZLIB"]):
        try:
            build["obtain"](source, sources)
        except build["BuildError"] as error:
            pytest.skip(f"no source: {error}")
    out = tmp_path / "a folder" / "python.wasm"
    command = [sys.executable, FOLDER / "compile.py", "--out", out, "--sources", sources]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3_000)
    assert done.returncode == 0, done.stderr
    assert sha256(out.read_bytes()).hexdigest() == INTERPRETER.module_digest
    packed = out.with_name("python.wasm.xz")
    assert lzma.decompress(packed.read_bytes()) == out.read_bytes()
    notices = out.with_name("python.wasm.licences.txt").read_bytes()
    assert b"wasi-libc" in notices
    assert notices == (PACKAGE / "python.wasm.licences.txt").read_bytes()
    ran = _run(out, tmp_path)
    assert ran.splitlines() == [
        '(3, 13, 5) [1, {"a": null}] 0.1428571428571428571428571429',
        "99 4999950000 0.13436424411240122",
        "a7ffc6f8 aca 30",
    ]


def _run(module: Path, folder: Path) -> str:
    """What a program writes in the module, which gets no folder."""
    import wasmtime

    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    wasi = wasmtime.WasiConfig()
    wasi.argv = [
        "python",
        "-X",
        "utf8",
        "-B",
        "-c",
        PROGRAM + "import os\nsys.stdout.flush()\nos._exit(0)",
    ]
    wasi.env = [("PYTHONHOME", "/usr/local"), ("PYTHONHASHSEED", "0")]
    wasi.stdout_file = str(folder / "written")
    wasi.stderr_file = str(folder / "errors")
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, str(module)))
    with pytest.raises(wasmtime.ExitTrap) as end:
        instance.exports(store)["_start"](store)
    assert end.value.code == 0, (folder / "errors").read_text()
    return (folder / "written").read_text()


def test_a_source_of_another_digest_is_refused(build, tmp_path):
    path = tmp_path / build["ZLIB"].name
    path.write_bytes(b"other")
    with pytest.raises(build["BuildError"], match=r"has another SHA-256 than .*: delete it"):
        build["obtain"](build["ZLIB"], tmp_path)


def test_every_extension_module_has_its_files_once(build):
    extensions = build["read_extensions"]()
    files = [file for files, _ in extensions.values() for file in files]
    assert len(files) == len(set(files))
    assert all(files for files, _ in extensions.values())
    assert {"_decimal", "math", "zlib"} <= extensions.keys()
