"""Many packages in one bare Python: what the box does with each, without the fences around it.

A start costs a hundred times what a package's text does. So a process that has loaded the box as a
sandboxed child does forks one for each package.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from assay.environments.foreign import package_box, package_text, package_view, python_fence
from assay.sandbox import request_copy

#: Steps that a package has here, so that work without end ends soon.
STEPS = 50_000
_SERVER = f"""
import importlib, json, os, signal, sys
from importlib.machinery import SourceFileLoader
def load(file):
    module = type(sys)("assay_" + file.rpartition("/")[2].removesuffix(".py"))
    SourceFileLoader(module.__name__, file).exec_module(module)
    return module
text = sys.modules[{package_text.__name__!r}] = load({package_text.__file__!r})
view, box, copies = map(load, {[m.__file__ for m in (package_view, package_box, request_copy)]!r})
box.PackageBox._count.__defaults__ = ({STEPS},)
for name in text.ALLOWED:
    importlib.import_module(name)
# as defaults: what has a name here the box takes away
def serve(answer, write=os.write, end=os._exit):
    write(1, answer(b'["make", 1, 0]') + b"\\n")
    end(0)
def open_box(line, end=os._exit):
    signal.alarm(60)
    try:
        fence, ours = load({python_fence.__file__!r}), (serve, text, view)
        box.serve_package(*ours, fence, *json.loads(line), None, copies.answer_in_copy)
    finally:
        end(1)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        open_box(line)
    if status := os.waitpid(child, 0)[1]:
        print(json.dumps({{"died": status}}), flush=True)
"""


class BareBox:
    """The first problem of a package, or the reason why there is none, as a sandbox says it."""

    def __init__(self, requests: IO[str], replies: IO[str]) -> None:
        self._requests, self._replies = requests, replies

    def make(self, file: Path, digest: str) -> dict[str, object]:
        print(json.dumps([str(file), digest]), file=self._requests, flush=True)
        said = json.loads(self._replies.readline())
        assert isinstance(said, dict)
        assert "died" not in said, said
        return said


@contextmanager
def open_bare_box() -> Iterator[BareBox]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-P", "-S", "-s", "-B", "-c", _SERVER]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield BareBox(server.stdin, server.stdout)
