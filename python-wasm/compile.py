"""Builds the sandbox's interpreter: CPython for WebAssembly, with its library inside.

The module is a function of the sources, of the compiler and of this folder: the same bytes on every
machine and in every folder. Nothing of the machine's own Python gets in, because the new
interpreter compiles the library itself. README.md says how to use it.
"""

import argparse
import hashlib
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from multiprocessing import cpu_count
from pathlib import Path

import wasmtime
from wasmtime import _ffi  # the only way to the stack that a wasm stack must fit into

HERE = Path(__file__).resolve().parent
ZIG = "0.17.1"


class BuildError(Exception):
    """The interpreter cannot be built here. The message says why, and what to do."""


@dataclass(frozen=True)
class Source:
    """A file of Debian, and the folder that it unpacks to."""

    place: str
    sha256: str
    folder: str

    @property
    def name(self) -> str:
        return self.place.rpartition("/")[2]


CPYTHON = Source(
    "p/python3.13/python3.13_3.13.5.orig.tar.xz",
    "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640",
    "Python-3.13.5",
)
ZLIB = Source(
    "z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
    "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
    "zlib-1.3.1",
)
#: The second keeps every file that Debian ever had.
_MIRRORS = (
    "http://deb.debian.org/debian/pool/main/",
    "http://snapshot.debian.org/archive/debian/20250901T000000Z/pool/main/",
)
_SOURCE_MAX = 64 << 20
#: Seconds for a mirror's next bytes, and for one run of the compiler on however slow a machine.
_MIRROR_S, _COMPILE_S = 60, 3_600

#: Bytes of the C stack. It lies below the data: what overflows it traps. The deepest recursion that
#: C_CALLS allows takes some 2 MiB.
STACK = 16 << 20
#: Nested calls of C functions that CPython allows: as many as on Linux.
C_CALLS = 10_000

#: (file, text, its replacement), each text once in its file.
_CHANGES = (
    (
        "Include/cpython/pystate.h",
        "#  define Py_C_RECURSION_LIMIT 5000",
        f"#  define Py_C_RECURSION_LIMIT {C_CALLS}",
    ),
)

#: Without memory.copy and memory.fill: one instruction of those can take as long as thousands of
#: others, so a price for each instruction would fit neither.
_TARGET = ["--target=wasm32-wasi", "-mcpu=baseline-bulk_memory-bulk_memory_opt", "-O3"]
_COMPILE = [
    *_TARGET,
    *("-g0", "-w", "-std=c11", "-DNDEBUG"),
    *("-fno-strict-overflow", "-ffp-contract=off", "-fvisibility=hidden"),
    *("-fno-sanitize=all", "-fno-stack-protector"),
    *(f"-D_WASI_EMULATED_{name}" for name in ("SIGNAL", "GETPID", "PROCESS_CLOCKS")),
    *("-I.", "-IInclude", "-IInclude/internal", "-IInclude/internal/mimalloc"),
]
_LINK = [
    *_TARGET,
    *("-s", f"-Wl,-z,stack-size={STACK}"),
    *(f"-lwasi-emulated-{name}" for name in ("signal", "getpid", "process-clocks")),
]
#: Has functions that the C library has, too: threads that never start. The first that the linker
#: meets are taken.
_FIRST = "objects/Python.thread.c.o"
_CORE, _EXTENSION = "-DPy_BUILD_CORE", "-DPy_BUILD_CORE_BUILTIN"
#: File → its flags beside the others'.
_FLAGS = {
    "Modules/getbuildinfo.c": ['-DDATE="Jan  1 1970"', '-DTIME="00:00:00"'],
    "Modules/getpath.c": [
        *('-DPREFIX="/usr/local"', '-DEXEC_PREFIX="/usr/local"', '-DPLATLIBDIR="lib"'),
        *('-DVERSION="3.13"', '-DVPATH=""', '-DPYTHONPATH=""', '-DPYTHONFRAMEWORK=""'),
    ],
    "Python/getplatform.c": ['-DPLATFORM="wasi"'],
    "Python/sysmodule.c": ['-DABIFLAGS=""', '-DMULTIARCH="wasm32-wasi"'],
}
#: Files of Python/ that another file includes, that this build writes, or of other systems.
_NOT_PYTHON = {
    *("bytecodes", "optimizer_bytecodes", "frozen"),
    *("dup2", "dynload_hpux", "dynload_shlib", "dynload_win"),
    *("emscripten_signal", "emscripten_trampoline"),
}
_ZLIB = [
    *("adler32", "compress", "crc32", "deflate", "inffast"),
    *("inflate", "inftrees", "trees", "uncompr", "zutil"),
]
#: Modules that are part of the core: name → the function that makes it, if there is one.
_CORE_MODULES = {
    "_ast": "PyInit__ast",
    "_imp": "PyInit__imp",
    "_string": "PyInit__string",
    "_tokenize": "PyInit__tokenize",
    "_warnings": "_PyWarnings_Init",
    "builtins": None,
    "gc": "PyInit_gc",
    "marshal": "PyMarshal_Init",
    "sys": None,
}

#: Parts of the library that are tests, or that need what the sandbox lacks: processes, windows, a
#: terminal, libraries in C.
_NOT_LIBRARY = {
    *("__phello__", "idlelib", "test", "tests", "turtledemo", "site-packages", "pydoc_data"),
    *("curses", "ctypes", "dbm", "sqlite3", "tkinter", "turtle"),
    *("ensurepip", "multiprocessing", "venv"),
}
#: Files with the notices of the code in the module: CPython's, and the compiler's.
_NOTICES = ("LICENSE", "Doc/license.rst", "Modules/expat/COPYING", "zlib/LICENSE")
_ZIG_NOTICES = (
    *("LICENSE", "lib/libc/musl/COPYRIGHT", "lib/libc/wasi/libc-bottom-half/cloudlibc/LICENSE"),
    *(f"lib/libc/wasi/LICENSE{name}" for name in ("", "-APACHE", "-APACHE-LLVM", "-MIT")),
)
#: Modules that the core itself imports, under other names.
_BOOTSTRAP = {
    "_frozen_importlib": "importlib._bootstrap",
    "_frozen_importlib_external": "importlib._bootstrap_external",
    "zipimport": "zipimport",
}
#: A module of the library that a build writes: what the library asks about it.
_BUILD_VARIABLES = {
    "_sysconfigdata__wasi_wasm32-wasi.py": 'build_time_vars = {"TZPATH": "", "VERSION": "3.13"}\n'
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds CPython for WebAssembly (README.md).")
    parser.add_argument("--out", type=Path, required=True, help="where the module goes")
    parser.add_argument("--sources", type=Path, help="a folder with Debian's files, or for them")
    parser.add_argument("--work", type=Path, help="a folder for all else; deleted if not named")
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="compilers at once")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error("--jobs: at least 1")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            work = (arguments.work or Path(scratch)).resolve()
            sources = (arguments.sources or work).resolve()
            build = Build(work, sources, arguments.jobs)
            module, notices = build.run(), build.read_notices()
        out = arguments.out
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(out.with_name(f"{out.name}.licences.txt"), notices.encode())
        _show("packing")
        packed = lzma.compress(module, preset=9 | lzma.PRESET_EXTREME)
        _write(out.with_name(f"{out.name}.xz"), packed)
        _write(out, module)
    except (BuildError, OSError) as error:
        sys.exit(f"compile.py: {error}")
    except KeyboardInterrupt:
        sys.exit("compile.py: stopped")
    _show("done")
    print(f"{out}: {len(module):,} bytes, SHA-256 {_digest(module)}")


class Build:
    """One build.

    The compiler runs in the folder of CPython's sources and gets relative paths, because some of
    them get into the module.
    """

    def __init__(self, work: Path, sources: Path, jobs: int) -> None:
        self._work, self._sources, self._jobs = work, sources, jobs
        self._tree = work / CPYTHON.folder
        self._zig = _find_compiler()

    def run(self) -> bytes:
        """The module.

        Raises:
            BuildError: a source cannot be had, or something does not compile.
        """
        extensions = read_extensions()
        self._unpack(extensions)
        core = self._compile(list_files(self._tree, extensions))
        start = self._compile({name: [_CORE] for name in ("freeze.c", "Modules/getpath_noop.c")})
        self._freeze(self._link([*core, *start], "freeze.wasm"))
        starts = ("frozen.c", "Modules/getpath.c", "Programs/python.c")
        start = self._compile({name: [_CORE, *_FLAGS.get(name, [])] for name in starts})
        return self._link([*core, *start], "python.wasm").read_bytes()

    def read_notices(self) -> str:
        """The licences of all code in the module. `run` comes first."""
        found = {f"{CPYTHON.folder}/{name}": self._tree / name for name in _NOTICES}
        found |= {f"ziglang/{name}": self._zig.parent / name for name in _ZIG_NOTICES}
        return "\n\n".join(f"==== {name}\n\n{p.read_text()}" for name, p in found.items())

    def _unpack(self, extensions: Iterable[str]) -> None:
        shutil.rmtree(self._tree, ignore_errors=True)
        for folder in (self._work, self._sources):
            folder.mkdir(parents=True, exist_ok=True)
        for source, place in ((CPYTHON, self._work), (ZLIB, self._tree)):
            with tarfile.open(obtain(source, self._sources)) as archive:
                archive.extractall(place, filter="data")
        (self._tree / ZLIB.folder).rename(self._tree / "zlib")
        for name in ("pyconfig.h", "absent.c", "freeze.c"):
            shutil.copy(HERE / name, self._tree)
        for name, text, replacement in _CHANGES:
            path = self._tree / name
            old = path.read_text()
            if old.count(text) != 1:
                raise BuildError(f"{name} has this {old.count(text)} times, not once: {text}")
            path.write_text(old.replace(text, replacement))
        for name, text in _BUILD_VARIABLES.items():
            (self._tree / "Lib" / name).write_text(text)
        (self._tree / "Modules/config.c").write_text(_write_inittab(extensions))
        for name in ("Python/frozen_modules", "objects", "frozen"):
            (self._tree / name).mkdir(exist_ok=True)

    def _compile(self, files: Mapping[str, list[str]]) -> list[str]:
        """Compile files. Returns their objects, in the order of the files' names."""
        objects = {name: f"objects/{name.replace('/', '.')}.o" for name in sorted(files)}
        with ThreadPoolExecutor(self._jobs) as pool:
            tasks = [
                pool.submit(self._run, *_COMPILE, *files[name], "-c", name, "-o", out)
                for name, out in objects.items()
            ]
            try:
                for done, task in enumerate(as_completed(tasks), 1):
                    task.result()
                    is_kept = done % 50 == 0 or done == len(tasks)
                    _show(f"compiling: {done} of {len(tasks)} files", is_kept)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return list(objects.values())

    def _link(self, objects: list[str], name: str) -> Path:
        _show(f"linking {name}")
        objects.sort(key=lambda path: (path != _FIRST, path))
        self._run(*objects, *_LINK, "-o", name)
        return self._tree / name

    def _run(self, *arguments: str) -> None:
        """Run the compiler, with nothing of this process's environment."""
        cache = str(self._work / "cache")
        names = "HOME", "ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"
        environment = {**dict.fromkeys(names, cache), "SOURCE_DATE_EPOCH": "0"}
        command = [str(self._zig), "cc", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self._tree,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_COMPILE_S,
            )
        except subprocess.TimeoutExpired as error:
            raise BuildError(str(error)) from None
        if done.returncode:
            text = " ".join(arguments)[-500:]
            raise BuildError(f"the compiler failed: {text}\n{done.stderr[-3_000:]}")

    def _freeze(self, freezer: Path) -> None:
        """Write frozen.c with the code of the library, and the header with that of getpath."""
        modules = list_library(self._tree)
        paths = {"getpath": "Modules/getpath.py", **{n: path for n, (path, _) in modules.items()}}
        _show(f"compiling the {len(paths)} modules of the library")
        sizes = run_freezer(freezer, self._tree, paths)
        size = sizes.pop("getpath")
        data = (self._tree / "frozen/all").read_bytes()
        (self._tree / "frozen/getpath").write_bytes(data[:size])
        (self._tree / "frozen/library").write_bytes(data[size:])
        header = self._tree / "Python/frozen_modules/getpath.h"
        header.write_text(_embed("_Py_M__getpath", "frozen/getpath"))
        packages = {name for name, (_, is_package) in modules.items() if is_package}
        (self._tree / "frozen.c").write_text(_write_frozen(sizes, packages))


def _find_compiler() -> Path:
    remedy = "`locks/install.sh PYTHON zig` installs it for this Python"
    try:
        found = distribution("ziglang")
    except PackageNotFoundError:
        raise BuildError(f"there is no compiler: {remedy}") from None
    if found.version != ZIG:
        raise BuildError(f"the compiler is ziglang {found.version}, not {ZIG}: {remedy}")
    return Path(str(found.locate_file("ziglang/zig"))).resolve()


def obtain(source: Source, folder: Path) -> Path:
    """A source's file in the folder, from a mirror if it is not there.

    Raises:
        BuildError: it is another file, or no mirror has it.
    """
    path = folder / source.name
    if path.exists():
        if _digest(path.read_bytes()) != source.sha256:
            raise BuildError(f"{path} has another SHA-256 than {source.sha256}: delete it")
        return path
    reasons = []
    for mirror in _MIRRORS:
        _show(f"{source.name} from {mirror}")
        try:
            with urllib.request.urlopen(mirror + source.place, timeout=_MIRROR_S) as answer:
                data = answer.read(_SOURCE_MAX)
        except OSError as error:
            reasons.append(f"{mirror}: {error}")
            continue
        if _digest(data) == source.sha256:
            _write(path, data)
            return path
        reasons.append(f"{mirror}: its SHA-256 is not {source.sha256}")
    listed = "\n".join(reasons)
    raise BuildError(f"no {source.name}; get it and name its folder by --sources\n{listed}")


def read_extensions() -> dict[str, tuple[list[str], list[str]]]:
    """Name of an extension module → its files, and their flags (modules.txt)."""
    extensions = {}
    for line in (HERE / "modules.txt").read_text().splitlines():
        name, *words = line.split()
        if name != "#":
            files = [f"Modules/{word}" for word in words if word[0] != "-"]
            flags = [word for word in words if word[0] == "-"]
            extensions[name] = files or [f"Modules/{name}module.c"], flags
    return extensions


def list_files(
    tree: Path, extensions: Mapping[str, tuple[list[str], list[str]]]
) -> dict[str, list[str]]:
    """All files of the interpreter but its library and its start → their flags."""
    core = [
        *_glob(tree, "Parser/*.c", "Parser/lexer/*.c", "Parser/tokenizer/*.c", "Objects/*.c"),
        *(name for name in _glob(tree, "Python/*.c") if Path(name).stem not in _NOT_PYTHON),
        *(f"Modules/{name}.c" for name in ("config", "gcmodule", "getbuildinfo", "main")),
    ]
    return {
        "absent.c": [],
        **{name: [_CORE, *_FLAGS.get(name, [])] for name in core},
        **{f: [_EXTENSION, *flags] for files, flags in extensions.values() for f in files},
        **{f"zlib/{name}.c": ["-Izlib"] for name in _ZLIB},
    }


def _glob(tree: Path, *patterns: str) -> Iterator[str]:
    for pattern in patterns:
        yield from sorted(path.relative_to(tree).as_posix() for path in tree.glob(pattern))


def list_library(tree: Path) -> dict[str, tuple[str, bool]]:
    """Name of a module of the library → path of its text, and whether it is a package."""
    modules = {}
    for path in _glob(tree / "Lib", "**/*.py"):
        parts = path.removesuffix(".py").split("/")
        if _NOT_LIBRARY.isdisjoint(parts):
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            modules[name] = f"Lib/{path}", is_package
    return modules


def run_freezer(freezer: Path, tree: Path, paths: Mapping[str, str]) -> dict[str, int]:
    """Compile modules by the new interpreter, which sees nothing of this machine but the sources.

    Returns:
        name → bytes of its code; they follow each other in the file frozen/all.

    Raises:
        BuildError: it ended before it was done.
    """
    config = wasmtime.Config()
    config.max_wasm_stack = 16 << 20
    _ffi.wasmtime_config_async_stack_size_set(config.ptr(), 32 << 20)
    engine = wasmtime.Engine(config)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    names, sizes, errors = (tree / "frozen" / name for name in ("names", "sizes", "errors"))
    names.write_text("".join(f"{name}\t/src/{path}\n" for name, path in paths.items()))
    wasi = wasmtime.WasiConfig()
    wasi.stdin_file, wasi.stdout_file, wasi.stderr_file = str(names), str(sizes), str(errors)
    wasi.preopen_dir(str(tree), "/src")
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    module = wasmtime.Module.from_file(engine, str(freezer))
    try:
        linker.instantiate(store, module).exports(store)["_start"](store)  # type: ignore[operator]
    except wasmtime.ExitTrap as end:
        if end.code:
            raise BuildError(f"the freezer ended with {end.code}: {errors.read_text()}") from None
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        raise BuildError(f"the freezer failed: {error}") from None
    found = [line.split("\t") for line in sizes.read_text().splitlines()]
    if [name for name, _ in found] != list(paths):
        raise BuildError(f"the freezer stopped after {len(found)} of {len(paths)} modules")
    return {name: int(size) for name, size in found}


def _write_inittab(extensions: Iterable[str]) -> str:
    """The table of built-in modules."""
    made = {**_CORE_MODULES, **{name: f"PyInit_{name}" for name in extensions}}
    return "\n".join(
        [
            '#include "Python.h"',
            *(f"extern PyObject *{function}(void);" for function in made.values() if function),
            "struct _inittab _PyImport_Inittab[] = {",
            *(f'    {{"{name}", {function or 0}}},' for name, function in made.items()),
            "    {0, 0}};\n",
        ]
    )


def _write_frozen(sizes: Mapping[str, int], packages: set[str]) -> str:
    """The library's code and its tables."""
    rows, place = {}, 0
    for name, size in sizes.items():
        rows[name] = f"library + {place}, {size}, {int(name in packages)}"
        place += size
    own_names = {name: name for name in rows if name not in _BOOTSTRAP}
    aliases = {
        **{name: of for name, of in _BOOTSTRAP.items() if name != of},
        "os.path": "posixpath",
    }
    tables = {
        "Bootstrap": _BOOTSTRAP,
        "Stdlib": {**own_names, "os.path": "posixpath"},
        "Test": dict[str, str](),
    }
    parts = ['#include "Python.h"\n#include "pycore_import.h"\n']
    parts.append(_embed("library", "frozen/library"))
    for title, table in tables.items():
        lines = "".join(f'    {{"{name}", {rows[of]}}},\n' for name, of in table.items())
        parts.append(f"static const struct _frozen in_{title}[] = {{\n{lines}    {{0, 0, 0}}}};\n")
        parts.append(f"const struct _frozen *_PyImport_Frozen{title} = in_{title};\n")
    lines = "".join(f'    {{"{name}", "{of}"}},\n' for name, of in aliases.items())
    parts.append(f"static const struct _module_alias aliases[] = {{\n{lines}    {{0, 0}}}};\n")
    parts.append("const struct _module_alias *_PyImport_FrozenAliases = aliases;\n")
    parts.append("const struct _frozen *PyImport_FrozenModules = NULL;\n")
    return "".join(parts)


def _embed(name: str, path: str) -> str:
    return f'static const unsigned char {name}[] = {{\n#embed "{path}"\n}};\n'


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _show(text: str, is_kept: bool = True) -> None:
    """Tell a person what is being done: on one line of a terminal, elsewhere what is kept."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="\r", file=sys.stderr, flush=True)
    elif is_kept:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
