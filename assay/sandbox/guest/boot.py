"""Runs inside the interpreter, once, when its image is made: what it imports is there in every run.

It never runs outside. The image begins each request in `_serve`.
"""

import abc
import array
import ast
import atexit
import base64
import binascii
import bisect
import builtins
import calendar
import cmath
import codecs
import collections.abc
import contextlib
import copy
import csv
import dataclasses
import datetime
import decimal
import difflib
import enum
import fnmatch
import fractions
import functools
import gc
import graphlib
import hashlib
import heapq
import html
import importlib.util
import inspect
import io
import itertools
import json
import keyword
import linecache
import locale
import marshal
import math
import numbers
import operator
import os
import pprint
import queue
import random
import re
import reprlib
import secrets
import shlex
import statistics
import string
import struct
import sys
import textwrap
import threading
import time
import tokenize
import traceback
import types
import typing
import unicodedata
import uuid
import weakref
import zlib
from _io import _IOBase  # asking its subclass of `io` would be remembered, for each type

#: A descriptor that only exists while the image is made: what is written there are objects'
#: addresses, and their counts of references become those of None.
_IMMORTAL = 3
#: Told apart from all other numbers in memory, so that `image` finds the thread's counters.
_MARK = 54321
_FILE = "program.py"
#: What `_warm_up` runs, and how often.
_PROGRAM = b"""
import sys
from math import gcd
class Node:
    def __init__(self, value):
        self.value = value
def read(text):
    return [int(word) for word in text.split()]
found = {}
for number in read("3 1 4 1 5 9"):
    found[number] = found.get(number, 0) + 1
try:
    line = input()
except EOFError as error:
    print(error, sum(map(int, "1 2".split())), gcd(6, 4), Node(2).value, end="\\n")
print(sorted(found.items()), f"{max(found):3d}", *sys.argv[1:])
"""
_TIMES = 16
#: Objects whose referents are found together.
_AT_ONCE = 1 << 12
#: Sizes of bytes, with which `_fill_gaps` takes all free blocks: the C library keeps such of each
#: power of two, Python up to 512 bytes of each multiple of 8. Beside a size comes an object's head.
_SIZES = (*((1 << n) - 64 for n in range(21, 9, -1)), *range(495, 0, -8))
#: Sizes of free blocks that a run finds, in which Python makes its own blocks, too: some 4 MiB.
_ROOM = [(1 << n) - 64 for n in (20, 19, 19, 19, 19, 18, 18, 17, 17, 16, 16)]
#: The module of a tool's turns, and most characters of the value that one shows.
_turns = types.ModuleType("__main__")
_SHOWN = 1 << 10


def _read(size: int) -> bytes:
    """Exactly so many bytes of standard input, without reading ahead."""
    parts = []
    while size and (part := os.read(0, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _serve() -> None:
    """Answer one request, and end the interpreter, unless the request is a turn.

    Standard input begins with a byte, the length of a text and the text. S: run this source; C:
    write its code to standard output; M: run this code; T: run this source as a turn, and return.
    The rest is the program's input.
    """
    status: int | None = 1
    try:
        kind, size = _read(1), int.from_bytes(_read(4), "little")
        status = _answer(kind, _read(size))
    finally:
        if status is not None:
            os._exit(status)


def _answer(kind: bytes, text: bytes) -> int | None:
    """Returns the interpreter's exit status; None: it goes on."""
    if kind == b"T":
        _take_turn(text)
        return None
    code = marshal.loads(text) if kind == b"M" else compile(text, _FILE, "exec", 0, True)
    if kind == b"C":
        os.write(1, marshal.dumps(code))
        return 0
    random.seed(int.from_bytes(os.urandom(8), "little"))
    return _run(code)


def _take_turn(text: bytes) -> None:
    """Run a turn among the names of those before, and say what its last statement is worth, if that
    is an expression, or what it raised. Any other error here is the interpreter's end."""
    module = sys.modules["__main__"]
    if module is not _turns:
        sys.modules["__main__"] = _turns
        _turns.__builtins__ = builtins
        random.seed(int.from_bytes(os.urandom(8), "little"))
    try:
        tree = compile(text, _FILE, "exec", ast.PyCF_ONLY_AST, True)
        assert isinstance(tree, ast.Module)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        code = compile(tree, _FILE, "exec", 0, True)
        asked = last and compile(ast.Expression(last.value), _FILE, "eval", 0, True)
        exec(code, _turns.__dict__)
        if asked and (value := eval(asked, _turns.__dict__)) is not None:
            shown = repr(value)
            if len(shown) > _SHOWN:
                shown = shown[: _SHOWN - 3] + "..."
            sys.stdout.write(f"{shown}\n")
    except SystemExit:
        pass
    except BaseException as error:
        place = error.__traceback__ and error.__traceback__.tb_next
        traceback.print_exception(type(error), error, place, file=sys.stdout)
    sys.stdout.flush()


def _run(code: types.CodeType) -> int:
    """Run a program to its end, as Python does. Returns its exit status."""
    module = types.ModuleType("__main__")
    module.__builtins__ = builtins
    sys.modules["__main__"] = module
    status = 1
    try:
        exec(code, module.__dict__)
        status = 0
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            status = (error.code or 0) & 255
    except BaseException:
        pass
    atexit._run_exitfuncs()
    try:
        if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
    except BaseException:
        status = 120
    _flush_others(module)
    return status


def _flush_others(module: types.ModuleType) -> None:
    """Write what a program left in files of its own: Python closes them when it ends."""
    for value in list(vars(module).values()):
        try:
            if issubclass(type(value), _IOBase):
                value.flush()
        except BaseException:
            pass


def _start_thread(function: typing.Any, *, handle: object, daemon: bool = True) -> None:
    """A thread runs to its end when it is started: there is one at a time."""
    thread = function.__self__
    ident = threading.get_ident()
    own = threading._active[ident]
    thread._handle = threading._make_thread_handle(ident)
    try:
        function()
    finally:
        thread._handle._set_done()
        threading._active[ident] = own


def _open_stream(descriptor: int, mode: str, errors: str) -> io.TextIOWrapper:
    """A stream as Python opens it at its start."""
    raw = io.FileIO(descriptor, mode, closefd=False)
    buffer = io.BufferedReader(raw, 1 << 16) if mode == "r" else io.BufferedWriter(raw, 1 << 16)
    stream = io.TextIOWrapper(buffer, "utf-8", errors, "\n")
    stream.mode = mode
    return stream


def _open_streams() -> None:
    sys.stdin = _open_stream(0, "r", "surrogateescape")
    sys.stdout = _open_stream(1, "w", "surrogateescape")
    sys.stderr = _open_stream(2, "w", "backslashreplace")
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


# --- the image's memory. A run copies each page that it writes to, so it is to write few.


def _warm_up() -> None:
    """Answer requests, so that what Python remembers of them is there in every run: code adapts
    itself when it runs, and types remember where an attribute was found."""
    main = sys.modules["__main__"]
    code = marshal.dumps(compile(_PROGRAM, _FILE, "exec", 0, True))
    for _ in range(_TIMES):
        for kind, text in (b"S", _PROGRAM), (b"C", _PROGRAM), (b"M", code):
            _read(1)
            _answer(kind, text)
    sys.modules["__main__"] = main


def _make_immortal() -> int:
    """Let nobody count the references to any object that is there: such a count would be written
    whenever a run looks at the object. Returns the highest address of these."""
    never = sys.getrefcount(None)
    left = gc.get_objects()
    highest = max(map(id, left))
    _name_immortal(map(id, left))
    while left:
        some = left[-_AT_ONCE:]
        del left[-_AT_ONCE:]
        referents = (one for each in some for one in _get_referents(each))
        found = {id(one): one for one in referents if sys.getrefcount(one) < never}
        _name_immortal(found)
        highest = max([highest, *found])
        left += found.values()
    return highest


def _name_immortal(places: typing.Iterable[int]) -> None:
    """Have the count of references of None written at objects."""
    os.write(_IMMORTAL, array.array("I", [id(None), *places]))


def _get_referents(one: object) -> list[object]:
    """What an object refers to, with what cannot be part of a cycle and the collector need not
    know."""
    found = gc.get_referents(one)
    if isinstance(one, dict):
        found += one
    elif isinstance(one, types.CodeType):
        found += one.co_consts, one.co_names, one.co_name, one.co_qualname
    return found


def _fill_gaps(below: int) -> tuple[object, ...]:
    """Take the memory that is free below an address, so that what a run allocates lies side by side
    in fresh memory, of which there is some. Returns what holds the gaps: a chain, which leaves no
    others as it grows."""
    gc.collect()  # Python gives back what it keeps of freed objects
    gaps: tuple[object, ...] = ()
    for size in _SIZES:
        while id(one := bytes(size)) < below:
            gaps = one, gaps
    room = [bytes(size) for size in _ROOM]
    del room
    return gaps


threading._start_joinable_thread = _start_thread
_open_streams()
_warm_up()
sys.argv = [_FILE]
sys.orig_argv = ["python", _FILE]
os.environ.clear()
gc.collect()
_gaps = _fill_gaps(below=_make_immortal())
_open_streams()
gc.collect()
gc.freeze()
os.write(2, b"SERVE %d\n" % id(_serve))
sys.setrecursionlimit(_MARK)
time.time()  # the host's answer to this call is the end: the memory is the image
