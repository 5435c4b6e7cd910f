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

#: Told apart from all other numbers in memory, so that `image` finds the thread's counters.
_MARK = 54321
_FILE = "program.py"
#: The module of a tool's turns.
_turns = types.ModuleType("__main__")


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
        text = _read(size)
        if kind == b"T":
            _take_turn(text)
            status = None
            return
        code = marshal.loads(text) if kind == b"M" else compile(text, _FILE, "exec", 0, True)
        if kind == b"C":
            os.write(1, marshal.dumps(code))
            status = 0
        else:
            random.seed(int.from_bytes(os.urandom(8), "little"))
            status = _run(code)
    finally:
        if status is not None:
            os._exit(status)


def _take_turn(text: bytes) -> None:
    """Run a turn among the names of those before, and say what it raised. Any other error here is
    the interpreter's end."""
    module = sys.modules["__main__"]
    if module is not _turns:
        sys.modules["__main__"] = _turns
        _turns.__builtins__ = builtins
        random.seed(int.from_bytes(os.urandom(8), "little"))
    try:
        exec(compile(text, _FILE, "exec", 0, True), _turns.__dict__)
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
            if issubclass(type(value), io.IOBase):
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


threading._start_joinable_thread = _start_thread
sys.stdin = _open_stream(0, "r", "surrogateescape")
sys.stdout = _open_stream(1, "w", "surrogateescape")
sys.stderr = _open_stream(2, "w", "backslashreplace")
vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
sys.argv = [_FILE]
sys.orig_argv = ["python", _FILE]
os.environ.clear()
gc.collect()
gc.freeze()
os.write(2, b"SERVE %d\n" % id(_serve))
sys.setrecursionlimit(_MARK)
time.time()  # the host's answer to this call is the end: the memory is the image
