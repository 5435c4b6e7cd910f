"""What a package's text may not do, what it does not find when it runs, and what it still may."""

from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.foreign import pack_folder
from assay.environments.foreign.package_environment import PackageChild

#: Ways beyond what a package imports. Each led out, or to a name that leads out, by Python alone.
WAYS_OUT = {
    "a module in a module": "import dataclasses\nX = dataclasses.sys",
    "a module from a module": "from dataclasses import sys\nX = sys",
    "a module's own": "from collections import _sys as s\nX = s",
    "what opens files": "import json\nX = json.codecs",
    "builtins by another name": "import enum\nX = enum.bltns",
    "all of a module": "from bisect import *\nX = 1",
    "attributes by name": "import operator\nX = operator.attrgetter('__globals__')",
    "methods by name": "import operator\nX = operator.methodcaller('__subclasses__')",
    "fields by name": "import string\nX = string.Formatter().get_field('0.__class__', (1,), {})",
    "a pattern": "def f(): ...\nmatch f:\n    case object(__globals__=X): ...",
    "a generator's frame": "def g():\n    yield it.gi_frame\nit = g()\nX = list(it)",
    "an error's frame": (
        "class C:\n    def __enter__(self): ...\n    def __exit__(self, kind, error, trace):\n"
        "        self.x = trace.tb_frame\n        return True\nwith C():\n    1 / 0\nX = 1"
    ),
    "text that is a type": "import typing\nclass A:\n    x: '1'\nX = typing.get_type_hints(A)",
    "text that registers": "from functools import singledispatch\nX = singledispatch",
    "functions by another module": "import dataclasses\nX = dataclasses.FunctionType",
    "a register of copies": "import copy\nX = copy.dispatch_table",
    "a format": "def f(): ...\nX = '{0.__code__.co_filename}'.format(f)",
    "code of one's own": "import types\nX = types.CodeType",
    "functions of one's own": "import types\nX = types.FunctionType",
    "attributes passed on": (
        "import functools\ndef f(): ...\nclass W: ...\n"
        "X = functools.wraps(f, assigned=('__globals__',))(W())"
    ),
    "attributes passed on, by the original": (
        "import functools\ndef f(): ...\nclass W: ...\n"
        "X = functools.wraps(f).func(W(), f, ('__globals__',))"
    ),
    "names put elsewhere": (
        "import enum\nX = enum.global_enum(enum.Enum('E', {'loads': 1}, module='json'))"
    ),
    "text among fields": (
        "from dataclasses import dataclass\n"
        "X = dataclass(type('A', (), {'__annotations__': {'a, b=1': int}}))"
    ),
    "builtins of one's own": "import json as __builtins__\nX = 1",
    "builtins as a class": "class __builtins__: ...\nX = 1",
    "builtins from within": "def f():\n    global __builtins__\nX = 1",
    "work when nothing is counted": "class A:\n    def __del__(self): ...\nX = 1",
    "a class of Python's changed": (
        "from fractions import Fraction\nFraction.seen = 1\nX = Fraction.seen"
    ),
    "a loop without a step": "def f():\n    while 1: pass\nX = 1",
}
#: What packages are made of, and what must go on.
WAYS_IN = {
    "modules": (
        "import base64, bisect, collections.abc, hashlib, heapq, itertools, struct, textwrap\n"
        "from json import dumps, JSONDecodeError\nX = collections.abc.Mapping, dumps([1])"
    ),
    "data classes": (
        "from __future__ import annotations\nfrom dataclasses import dataclass, field, replace\n"
        "@dataclass(frozen=True, slots=True, order=True)\nclass P:\n    x: int\n"
        "    y: list = field(default_factory=list)\nX = replace(P(1), x=2) < P(3), repr(P(1))"
    ),
    "named tuples": (
        "from collections import namedtuple\nfrom typing import NamedTuple\n"
        "class P(NamedTuple):\n    x: int = 1\nX = P(), namedtuple('Q', 'a b')(1, 2)"
    ),
    "enumerations": "from enum import Enum\nclass E(Enum):\n    A = 1\nX = E.A",
    "decorators": (
        "import functools\ndef d(f):\n    @functools.wraps(f)\n    def g():\n        return f()\n"
        "    return g\n@d\ndef f():\n    'one'\n    return 1\nX = f(), functools.cache(f)()"
    ),
    "patterns": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
        "match P(1):\n    case P(x=X): ..."
    ),
    "classes": (
        "from abc import ABC, abstractmethod\nclass A(ABC):\n    @abstractmethod\n"
        "    def f(self): ...\nclass B(A):\n    def __init__(self):\n        self._x = 1\n"
        "    def __bool__(self):\n        return True\n    def f(self):\n        return self._x\n"
        "X = bool(B()), B().f()"
    ),
    "generic types": (
        "from typing import Generic, TypedDict, TypeVar\nT = TypeVar('T')\n"
        "class A(Generic[T]): ...\nclass D(TypedDict):\n    x: int\nX = D(x=1), type(A[int]())"
    ),
    "copies": "import copy\nX = copy.deepcopy({'a': [1]})",
    "expressions": (
        "import re\nfrom fractions import Fraction\nX = re.sub('a+', 'b', 'caat'), Fraction(2, 4)"
    ),
}


def open_package(folder: Path, text: str) -> PackageChild:
    """A package whose prompt is what `X` is."""
    package = folder / "pack"
    package.mkdir()
    more = "LEVELS = (1,)\ndef make_problem(draw, level):\n    return ascii(X)[:99], 1\n"
    (package / "__init__.py").write_text(f"{text}\n{more}")
    file = folder / "pack.zip"
    file.write_bytes(pack_folder(package))
    return PackageChild(file, sha256(file.read_bytes()).hexdigest())


def ask(folder: Path, text: str) -> dict[str, object]:
    child = open_package(folder, text)
    try:
        return child.ask("make", 1, 0)
    finally:
        child.close()


@pytest.mark.parametrize("name", WAYS_OUT)
def test_no_way_out(name: str, tmp_path: Path) -> None:
    said = ask(tmp_path, WAYS_OUT[name])
    assert "prompt" not in said
    assert "costly" not in said


@pytest.mark.parametrize("name", WAYS_IN)
def test_what_packages_are_made_of(name: str, tmp_path: Path) -> None:
    said = ask(tmp_path, WAYS_IN[name])
    assert "prompt" in said, said


def test_what_a_package_sets_in_a_module_no_later_request_finds(tmp_path: Path) -> None:
    """Nor its own modules, nor Python's other packages: each request has its own of both."""
    text = "import math\nX = math.pi > 4\nM = math\nM.pi = 5"
    child = open_package(tmp_path, text)
    try:
        assert [child.ask("make", 1, n)["prompt"] for n in range(3)] == ["False"] * 3
    finally:
        child.close()
