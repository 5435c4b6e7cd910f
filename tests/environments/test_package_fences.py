"""Things that a package's text may not do, that the package does not find when it runs, and that it
still may do."""

import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.foreign import pack_folder
from assay.environments.foreign.package_environment import PackageChild, read_reply
from tests.environments.bare_box import STEPS, BareBox, open_bare_box

#: Ways beyond a package's imports. Each led out, or to a name that leads out, by Python alone.
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
    "a field by another name": (
        "from dataclasses import asdict, dataclass, field\nF = field(default=0)\n"
        "@dataclass\nclass A:\n    x: int = F\n    y: int = 1\n"
        "F.name = '_' + '_class_' + '_'\nX = asdict(A())\nassert 'x' not in X"
    ),
    "a field of a class of classes": (
        "from dataclasses import dataclass\n@dataclass(init=False, repr=False, eq=False)\n"
        "class M(type):\n    x: int = 0\nX = 1"
    ),
    "a class with any names": "X = type('A', (), {'_' + '_match_args_' + '_': ('real',)})",
    "the class of a class": "X = type(int)('A', (), {})",
    "a class of classes by its alias": (
        "import typing\nX = typing.get_origin(typing.Type[int])('A', (), {})"
    ),
    "an abstract class with any names": (
        "import abc\nX = abc.ABCMeta('A', (), {'_' + '_match_args_' + '_': ('real',)})"
    ),
    "an enumeration with any names": (
        "import enum\nX = enum.Enum('A', {'_' + '_match_args_' + '_': ('real',)})"
    ),
    "an enumeration of a module": (
        "import enum\nclass A(enum.Enum):\n    @classmethod\n    def f(cls):\n"
        "        return cls._convert_('B', 'sys', lambda name: name == 'modules')\nX = A.f()"
    ),
    "a pattern by place": "match 1:\n    case int(X): ...",
    "a pattern of a format": "match 'a':\n    case str(format=X): ...",
    "annotations of one's own": (
        "import functools, typing\nfrom dataclasses import dataclass\nclass A: ...\n"
        "D = typing.TypedDict('D', {'_' + '_dict_' + '_': int})\n"
        "X = dataclass(functools.update_wrapper(A, D))"
    ),
    "attributes of one's own": (
        "import functools, types\nclass A: ...\n"
        "W = types.SimpleNamespace(**{'_' + '_getstate_' + '_': lambda: (None, {})})\n"
        "X = functools.update_wrapper(A(), W)"
    ),
    "a class asked for any name": "class A:\n    def __getattr__(self, name): ...\nX = A()",
    "a format of joined text": "X = ('{0._' + '_class_' + '_}').format(1)",
    "a format within a format": "X = ('{0:{1._' + '_class_' + '_}}').format(1, 2)",
    "a format of any text": "X = str.format('{0._' + '_class_' + '_}', 1)",
    "a format of a mapping": "X = ('{a._' + '_class_' + '_}').format_map({'a': 1})",
    "a format of another text": (
        "from collections import UserString\nX = UserString('{0._' + '_class_' + '_}').format(1)"
    ),
    "a format that is one's own": ("class A(str): ...\nX = A('{0._' + '_class_' + '_}').format(1)"),
    "text evaluated as a type": (
        "import typing\nself = typing.get_args(typing.List['getattr'])[0]\n"
        "X = self._evaluate({}, {}, frozenset())"
    ),
    "a pattern of a private name": "match 1:\n    case object(_x=X): ...",
    "a package by another name": (
        "import functools, pack, types\nclass S(str):\n    def startswith(self, *_):\n"
        "        return False\nN = types.SimpleNamespace(**{S('_' + '_package_' + '_'): "
        "'collections'})\nfunctools.update_wrapper(pack, N)\nfrom . import _sys\nX = _sys"
    ),
    "a copy that sets a name": (
        "import copy, pack, types\n"
        "def r(n):\n    return (lambda: pack, (), {'_' + '_package_' + '_': 'collections'})\n"
        "copy.copy(types.SimpleNamespace(**{'_' + '_reduce_ex_' + '_': r}))\n"
        "from . import _sys\nX = _sys"
    ),
    "the class of classes as a base": (
        "import types, typing\nX = types.resolve_bases((typing.Type[int],))[0]('A', (), {})"
    ),
    "the class of classes from an error": (
        "import typing\ntry:\n    typing.Type.foo\nexcept AttributeError as e:\n    T = e.obj\n"
        "X = T('A', (), {})"
    ),
    "a class of classes": "import typing\nclass M(typing.Type[int]): ...\nX = 1",
    "a function of classes": (
        "def m(name, bases, space, **_): ...\nclass A(metaclass=m): ...\nX = 1"
    ),
    "an abstract class with a lying name": (
        "import abc\nclass S(str):\n    def startswith(self, *_):\n        return False\n"
        "X = abc.ABCMeta('A', (), {S('_' + '_getattr_' + '_'): 1})"
    ),
    "the class of fields": "from dataclasses import field\nX = type(field(default=0))",
    "a data class of another module": (
        "from dataclasses import dataclass\n__name__ = 'json'\n@dataclass\nclass A:\n"
        "    x: int = 0\nX = A()"
    ),
    "a default that runs": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n"
        "    x: int = classmethod(property(lambda cls: 1))\nX = A()"
    ),
    "a format that lies": (
        "class A(str):\n    def __str__(self):\n        return 'x'\n"
        "X = A('{0._' + '_class_' + '_}').format(1)"
    ),
    "a format in a pattern": "class A:\n    format = 1\nmatch 1:\n    case A.format: ...\nX = 1",
    "a lock that waits": (
        "import functools\nclass H:\n    def go(self):\n"
        "        self._acquire_restore((1, 1))\n        self.acquire()\n"
        "H.go(functools.cached_property(len).lock)\nX = 1"
    ),
    "an error that cannot be told": (
        "class E(Exception):\n    def __str__(self):\n        raise self\nraise E"
    ),
    "what another machine's Python lacks": "import hashlib\nX = hashlib.new('ripemd160', b'')",
    "the builtin that reads by name": (
        "import enum, types\nX = enum.pickle_by_enum_name(types.SimpleNamespace(_name_='x'), 4)[0]"
    ),
    "the class of a class, by a copy of a list": (
        "from collections import UserList\nX = UserList.copy(int)('A', (), {})"
    ),
    "the class of a class, by another view of a dict": (
        "import typing\nclass A:\n    maps = [(), {}]\nX = typing.ChainMap.new_child(A, 'B')"
    ),
    "the class of a class, by a copy of a count": (
        "from collections import Counter\nX = Counter.copy(int)"
    ),
    "the class of a class, from an error": (
        "import enum\ntry:\n    enum.Flag.__repr__(int)\nexcept AttributeError as e:\n    X = e.obj"
    ),
    "what an error had in hand, by its class": "X = AttributeError.obj",
    "what an error had in hand, by a pattern": (
        "try:\n    (1).x\nexcept AttributeError as e:\n    match e:\n"
        "        case AttributeError(obj=X): ..."
    ),
    "a format in a list": "X = [*map(str.format, ['{0._' + '_class_' + '_}'], [1])]",
}
#: A package's own function becomes what another module asks for names that it lacks, and that
#: module gets another name: then Python looks for `os.path`. `put` has that set by a copy.
_PUT = """
import collections, copy, functools, types
M = collections
M.__name__ = 'os'
G = '_' + '_getattr_' + '_'
def f(name):
    raise AttributeError(name)
def reduce(state, make=lambda: M, *given):
    return types.SimpleNamespace(**{'_' + '_reduce_ex_' + '_': lambda n: (make, given, state)})
def put(state):
    copy.copy(reduce(state))
class L(dict):
    def __iter__(self):
        return iter(())
"""
_SET = {
    "a list of pairs": "put([(G, f)])",
    "a dict that hides its names": "put(L({G: f}))",
    "no dict": (
        "class K:\n    def keys(self):\n        return [G]\n"
        "    def __getitem__(self, key):\n        return f\nput(K())"
    ),
    "slots": "class K:\n    def items(self):\n        return [(G, f)]\nput((None, K()))",
    "what a copy of it is": (
        "copy.deepcopy(reduce(types.SimpleNamespace(**{'_' + '_deepcopy_' + '_': "
        "lambda memo: [(G, f)]})))"
    ),
    "what was copied before": (
        "class K:\n    def get(self, key, other):\n        return self.x or other\n"
        "    def __setitem__(self, key, one):\n        self.x = [(G, f)]\n"
        "    def __getitem__(self, key):\n        raise KeyError\nK.x = 0\n"
        "copy.deepcopy(reduce({}), K())"
    ),
    "what is there while it is handed on": (
        "class W(types.SimpleNamespace):\n    @property\n    def __name__(self):\n"
        "        self.__init__(**{G: f})\n        return 'os'\n"
        "functools.update_wrapper(M, W())"
    ),
    "names of a function that hides them": (
        "P = copy.copy(reduce((len, (), {}, L({G: f})), functools.partial, len))\n"
        "functools.update_wrapper(M, P)\nM.__name__ = 'os'"
    ),
}
#: Work that shows no line, and is still counted.
UNSEEN = {
    "a loop that catches everything": (
        "x = 0\nwhile True:\n    try:\n        x += 1\n    except BaseException: ...\n"
    ),
    "a loop within what catches everything": (
        "class A:\n    def __enter__(self): ...\n    def __exit__(self, *_):\n"
        "        return True\nwhile True:\n    with A():\n        x = 1\n        x = 2\n"
    ),
    "a loop of a declaration": "while True:\n    x: int\n",
    "a loop of nothing": "def f():\n    while True:\n        global z\nf()",
    "an error's text": (
        "class E(Exception):\n    def __str__(self):\n        for i in range(10**8): ...\n"
        "        return 'n'\nraise E"
    ),
    "what ends with an error": (
        "def g():\n    try:\n        yield\n    finally:\n        for i in range(10**8): ...\n"
        "def f():\n    it = g()\n    next(it)\n    1 / 0\nf()"
    ),
}
#: Things that packages are made of, which must work.
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
    "formats": (
        "class A:\n    def format(self, x):\n        return x\n"
        "X = ('{:>{}} {a.real} {b[k]}'.format(1, 3, a=2, b={'k': 3}), str.format('{}', 1),\n"
        "     '{x}'.format_map({'x': 1}), A().format(2), f'{1:>3}', '{{}}'.format())\n"
        "assert X == ('  1 2 3', '1', '1', 2, '  1', '{}')"
    ),
    "hashes of fields": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass P:\n    x: int\n"
        "X = {P(1), P(1), P(2)}\nassert len(X) == 2"
    ),
    "wrapped caches": (
        "import functools\n@functools.cache\ndef f(): ...\n@functools.wraps(f)\n"
        "def g(): ...\nX = g()"
    ),
    "a long text": (
        "def f(n):\n    if n == 0: return 0\n"
        + "".join(f"    elif n == {n}: return {n}\n" for n in range(1, 300))
        + f"X = f(299), {' + '.join(['1'] * 900)}"
    ),
    "named tuples' own": (
        "from collections import namedtuple\nP = namedtuple('P', 'a b')\n"
        "X = P(1, 2)._replace(a=3)._asdict(), P._make([1, 2]), P._fields"
    ),
    "codecs": (
        "X = [('x\u00e9'.encode(n)) for n in ('utf-16-le', 'latin-1', 'utf-8-sig')]\n"
        "X += ['x'.encode('ascii')]"
    ),
    "fields": (
        "from dataclasses import KW_ONLY, InitVar, asdict, astuple, dataclass, field, fields\n"
        "from dataclasses import replace\n"
        "from typing import ClassVar\n@dataclass\nclass Q:\n    z: int = 3\n"
        "@dataclass\nclass P(Q):\n    c: ClassVar[int] = 9\n    _: KW_ONLY\n"
        "    i: InitVar[int] = 0\n"
        "    q: list = field(default_factory=lambda: [Q()])\n"
        "X = asdict(P()), astuple(P()), [f.name for f in fields(P)], replace(P(z=1), z=2)\n"
        "assert X == ({'z': 3, 'q': [{'z': 3}]}, (3, [(3,)]), ['z', 'q'], P(z=2))"
    ),
    "types": (
        "from abc import ABCMeta\nclass A(metaclass=ABCMeta):\n    def f(self): ...\n"
        "class B(A): ...\ndef f(x: type[int] | type): ...\n"
        "X = type(B()) is B, isinstance(B, type), type(1) is int, isinstance(1, type)\n"
        "assert X == (True, True, True, False)"
    ),
    "attributes named obj": (
        "class A:\n    obj = 3\n    def __init__(self):\n        self.obj = A.obj + 1\n"
        "X = A().obj\nassert X == 4"
    ),
    "counts": "from collections import Counter\nX = Counter('aab').copy().most_common(1)",
    "copies": "import copy\nX = copy.deepcopy({'a': [1]})",
    "expressions": (
        "import re\nfrom fractions import Fraction\nX = re.sub('a+', 'b', 'caat'), Fraction(2, 4)"
    ),
}


def write_package(folder: Path, text: str) -> tuple[Path, str]:
    """A package whose prompt is what `X` is: its archive, and the SHA-256 of that."""
    package = folder / "pack"
    package.mkdir()
    more = "LEVELS = (1,)\ndef make_problem(draw, level):\n    return ascii(X)[:99], 1\n"
    (package / "__init__.py").write_text(f"{text}\n{more}")
    file = folder / "pack.zip"
    file.write_bytes(pack_folder(package))
    return file, sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def bare_box() -> Iterator[BareBox]:
    with open_bare_box() as opened:
        yield opened


@pytest.mark.parametrize("name", WAYS_OUT)
def test_no_way_out(name: str, tmp_path: Path, bare_box: BareBox) -> None:
    said = bare_box.make(*write_package(tmp_path, WAYS_OUT[name]))
    assert "prompt" not in said
    assert "costly" not in said


@pytest.mark.parametrize("name", _SET)
def test_no_name_is_made_up(name: str, tmp_path: Path, bare_box: BareBox) -> None:
    said = bare_box.make(*write_package(tmp_path, f"{_PUT}{_SET[name]}\nX = M.found"))
    assert said["error"] != "AttributeError: found"


def test_a_module_that_was_given_names_leads_to_no_other() -> None:
    program = """
from assay.environments.foreign.package_view import PackageView
def refuse(name):
    raise AttributeError(name)
view = PackageView(("collections", "collections.abc"), frozenset())
find = vars(view)["_builtins"]["__import__"]
vars(find("collections")).update(__getattr__=refuse, __name__="os")
del find("collections").abc
for name, parts in (("collections", ("path",)), ("collections.abc", None)):
    try:
        find(name, parts=parts)
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "collections.path is not for a package",
        "collections.abc is not for a package",
    ], done.stderr


@pytest.mark.parametrize("name", UNSEEN)
def test_no_work_is_left_uncounted(name: str, tmp_path: Path, bare_box: BareBox) -> None:
    said = bare_box.make(*write_package(tmp_path, f"{UNSEEN[name]}\nX = 1"))
    assert said == {"error": f"more than {STEPS:,} steps", "costly": True}


@pytest.mark.parametrize("name", WAYS_IN)
def test_the_parts_of_packages(name: str, tmp_path: Path, bare_box: BareBox) -> None:
    said = bare_box.make(*write_package(tmp_path, WAYS_IN[name]))
    assert "prompt" in said, said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WAYS_IN["classes"], {"prompt": "(True, 1)", "steps": 146}),
        (
            WAYS_OUT["a module in a module"],
            {"error": "ImportError: dataclasses.sys is not for a package"},
        ),
        (UNSEEN["a loop of a declaration"], {"error": "more than 5,000,000 steps", "costly": True}),
    ],
)
def test_a_sandbox_says_the_same(text: str, said: dict[str, object], tmp_path: Path) -> None:
    child = PackageChild(*write_package(tmp_path, text))
    try:
        assert child.ask("make", 1, 0) == said
    finally:
        child.close()


def test_no_later_request_finds_what_a_package_sets_in_a_module(tmp_path: Path) -> None:
    """Nor its own modules, nor Python's other packages: each request has its own of both."""
    text = "import math\nX = math.pi > 4\nM = math\nM.pi = 5"
    child = PackageChild(*write_package(tmp_path, text))
    try:
        assert [child.ask("make", 1, n)["prompt"] for n in range(3)] == ["False"] * 3
    finally:
        child.close()


@pytest.mark.parametrize("copies", [True, False])
def test_no_answer_is_written_by_what_a_package_changed(copies: bool, tmp_path: Path) -> None:
    """Python's own writer of JSON has names that a package may set: the box calls none of them."""
    text = "import json\nJ = [json.JSONEncoder][0]\ndef f(self, one):\n    return '[' * 99_999\n"
    text += "J.encode = J.iterencode = f\nX = json.dumps(1)"
    child = PackageChild(*write_package(tmp_path, text), copies=copies)
    try:
        assert child.ask("make", 1, 0)["prompt"] == "'" + "[" * 98
    finally:
        child.close()


@pytest.mark.parametrize(
    "reply", [b"{", b"[]", b"7", b"\xff", b"[" * 99_999, b'{"prompt": 7}', b'{"levels": {}}']
)
def test_a_reply_that_no_box_writes_is_an_error(reply: bytes) -> None:
    assert read_reply(reply).keys() == {"error"}
