"""Python's fence in a package's process, for code that gets past the look at its text."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.foreign import pack_folder, package_box, python_fence
from assay.environments.foreign.package_environment import PackageChild, write_boot
from assay.sandbox import request_copy

#: Things that a copy no longer has, even for code that finds all of Python's modules.
MACHINE = {
    "a clock": "M['time'].time()",
    "a clock by another": "M['random']._urandom(8)",
    "chance": "M['posix'].urandom(8)",
    "the machine's name": "M['posix'].uname()",
    "a process's number": "M['os'].getpid()",
    "a file's age": "M['posix'].stat('/')",
    "a link": "M['posix'].readlink('/proc/self/exe')",
    "a module made anew": "M['_imp'].create_builtin(M['_frozen_importlib'].BuiltinImporter)",
    "where Python is": "S.executable",
    "a frame": "S._getframe()",
    "the end of counting": "S.settrace(None)",
    "who counts": "S.gettrace()",
    "a signal's handler": "M['signal'].signal(2, 1)",
}


@pytest.mark.parametrize("name", MACHINE)
def test_a_copy_has_neither_clock_nor_chance(name: str, tmp_path: Path) -> None:
    """In a bare process, with a look at the text that finds nothing."""
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text(
        "S = type(__loader__).exec_module.__globals__['sys']\nM = S.modules\n"
        f"def make_problem(draw, level):\n    return str({MACHINE[name]}), 1\n"
    )
    program = f"""
import json, random
from importlib.util import module_from_spec, spec_from_file_location
def load(file):
    spec = spec_from_file_location("one", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
files = {[one.__file__ for one in (package_box, request_copy, python_fence)]!r}
box, copies, fence = map(load, files)
data = bytes.fromhex({pack_folder(package).hex()!r})
one = box.PackageBox(data, lambda text, top: None, fence, in_copy=copies.answer_in_copy)
for _ in range(2):
    print(one.answer(json.dumps(["make", 1, 1]).encode()).decode())
"""
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.splitlines()
    assert "has no attribute" in first, done.stdout
    assert second == first  # each copy anew, of a process that has all of it


#: A search for the fence by a package that has frames, functions, cells and modules. It visits
#: everything but Python's own modules.
LEFT = """
S = type(__loader__).exec_module.__globals__['sys']
NAMES = (
    *('f_back', 'f_globals', 'f_locals', 'tb_frame', 'tb_next', '__traceback__', '__context__'),
    *('__globals__', '__closure__', 'cell_contents', '__self__', '__func__', '__loader__', 'func'),
)

def read(one, name):
    try:
        return getattr(one, name, None)
    except PermissionError:  # a frame of an error, say
        return None

def list_held(errors):
    found = [*errors, type(__loader__).exec_module, S.modules['__main__'].__dict__]
    held = {id(S.modules), id(found), *map(id, found)}
    for one in found:
        if getattr(one, '__name__', '') in S.stdlib_module_names:
            continue
        parts = [read(one, name) for name in ('__dict__', *NAMES)]
        if type(one) in (list, tuple):
            parts += one
        if type(one) is dict:
            parts += one.values()
        for part in parts:
            if part is not None and id(part) not in held:
                held.add(id(part))
                found.append(part)
    return found

def list_left():
    errors = []
    for reach in (lambda: S.modules['_io'].FileIO('/'), lambda: S.modules['gc'].get_objects()):
        try:
            reach()
        except PermissionError as error:
            errors.append(error)
    found = list_held(errors)
    names = [one for one in found if type(one) is dict and 'make_hook' in one]
    functions = [one for one in found if getattr(one, '__name__', '') in ('make_hook', 'refuse')]
    kinds = [type(one).__name__ for one in found]
    boxed = sum('make_hook' in dir(one) for one in found if type(one) is type(S))
    return len(names), len(functions), boxed, 'traceback' in kinds, 'frame' in kinds
"""


@pytest.mark.parametrize("copies", [True, False])
def test_nothing_of_pythons_fence_is_found_once_it_is_shut(copies: bool, tmp_path: Path) -> None:
    """By frames, errors, functions and modules, with a look at the text that finds nothing."""
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"{LEFT}\ndef make_problem(draw, level):\n    return str(list_left()), 1\n"
    )
    file = tmp_path / "pack.zip"
    file.write_bytes(pack_folder(package))
    boot = write_boot(
        file,
        sha256(file.read_bytes()).hexdigest(),
        0,
        work="vars(one := box.PackageWork()).update(find_fault=lambda *_: None) or one",
        copies=copies,
    )
    child = PackageChild(file, "", boot=boot)
    try:
        assert child.ask("make", 1, 0).get("prompt") == "(0, 0, 0, True, False)"
    finally:
        child.close()
