"""Runs inside the interpreter, on both sides of a check: `answer_calls` in the program's copy, and
`run_check` in another one. It never runs outside.

What crosses is plain data: None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset
and dict of them, written as JSON in one way. So nothing of a program but such values reaches the
check, which alone decides.
"""

import ast
import builtins
import io
import json
import marshal
import os
import sys
import types
from typing import Any, NoReturn

#: Most levels of a value, and calls of a check.
DEPTH_MAX, CALLS_MAX = 32, 1_000
#: Larger integers are written to base 16, which takes linear time.
_SMALL = 1 << 53
#: Exceptions that end a loop of the check without a word: `all(map(f, cases))` would be true.
_ENDS = (StopIteration, StopAsyncIteration)
#: The module that KodCode's tests import functions from.
_MODULE = "solution"
#: Does something with an unknown value. None of Python's operations may get past it.
_OPERATIONS = (
    "bool eq ne lt le gt ge hash iter next len length_hint getitem setitem delitem contains call "
    "add radd sub rsub mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod rmod divmod "
    "rdivmod pow rpow lshift rlshift rshift rrshift and rand or ror xor rxor neg pos abs invert "
    "int float complex index round trunc floor ceil bytes str repr format enter exit reversed "
    "getattribute setattr delattr"
)


class NotPlainError(Exception):
    """A value is no plain data."""


class UnknownError(BaseException):
    """A value is needed that is not known yet."""


def encode(value: Any, depth: int = DEPTH_MAX) -> Any:
    """Plain data as values of JSON. An object of a class below one of plain data counts as its
    content. Raises NotPlainError."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if -_SMALL < whole < _SMALL else {"int": hex(whole)}
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes):
        return {"bytes": bytes.hex(value)}
    if depth == 0:
        raise NotPlainError

    def write(items: Any) -> list[Any]:
        return [encode(item, depth - 1) for item in items]

    if isinstance(value, list):
        return write(list.__iter__(value))
    if isinstance(value, tuple):
        return {"tuple": write(tuple.__iter__(value))}
    if isinstance(value, set):
        return {"set": sorted(write(set.__iter__(value)), key=json.dumps)}
    if isinstance(value, frozenset):
        return {"frozenset": sorted(write(frozenset.__iter__(value)), key=json.dumps)}
    if isinstance(value, dict):
        return {"dict": [write(pair) for pair in dict.items(value)]}
    raise NotPlainError


def decode(tree: Any) -> Any:
    """What `encode` wrote, or any error if it did not."""
    if isinstance(tree, list):
        return list(map(decode, tree))
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "int":
        return int(content, 16)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        return complex(*content)
    return {"tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict}[kind](
        map(decode, content)
    )


def write_line(*values: Any) -> bytes:
    return json.dumps([encode(value) for value in values]).encode()


def read_line(line: bytes) -> list[Any]:
    return list(map(decode, json.loads(line)))


def serve() -> None:
    """Input: a line with what to do, the name of the function, and the size of what follows."""
    do, name, size = sys.stdin.buffer.readline().decode().split()
    text = sys.stdin.buffer.read(int(size))
    lines = sys.stdin.buffer.read().split(b"\n")[:-1]
    {"make": make_check, "answer": answer_calls, "check": run_check}[do](name, text, lines)


def make_check(_: str, text: bytes, __: list[bytes]) -> None:
    """Write the code of a check. `text` is JSON of a list: what runs before it, and it."""
    codes = []
    for part in json.loads(text):
        tree = ast.fix_missing_locations(_Lenient().visit(ast.parse(part)))
        codes.append(compile(tree, "check.py", "exec", 0, True, 0))
    os.write(1, marshal.dumps(codes))


class _Lenient(ast.NodeTransformer):
    """Puts each assert into a block that may pass over its failure."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        name = ast.Name("_assay_lenient", ast.Load())
        return ast.With([ast.withitem(name)], [node])


def answer_calls(name: str, code: bytes, lines: list[bytes]) -> NoReturn:
    """Run a program, call its function with each line's arguments, one after the other, and write
    what it gives, a line for each: its value with the arguments as it left them, or the name of the
    exception and its arguments, or null for all that is no plain data."""
    scope = _enter("program")
    exec(marshal.loads(code), scope)
    shown = _hide_output()
    answers = [_answer(scope, name, line) for line in lines]
    shown.flush()
    os.write(1, b"".join(b"\n" + answer for answer in answers))
    os._exit(0)


def _enter(name: str) -> dict[str, Any]:
    """The names of a new module."""
    module = sys.modules[name] = types.ModuleType(name)
    return vars(module)


def _hide_output() -> Any:
    """Nothing that is printed from now on is written. Returns what wrote it before."""
    before, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO())
    return before


def _answer(scope: dict[str, Any], name: str, line: bytes) -> bytes:
    arguments, named = read_line(line)
    try:
        call = scope[name] if name in scope else getattr(scope["Solution"](), name)
        value = call(*arguments, **named)
        return write_line("value", value, arguments, named)
    except NotPlainError:
        return b"null"
    except Exception as error:  # noqa: BLE001 - whatever the program raises is its answer
        classes = (one for one in type(error).__mro__ if one.__module__ == "builtins")
        kind = next(classes).__name__
        try:
            return write_line("error", kind, error.args)
        except NotPlainError:
            return write_line("error", kind, ())


def run_check(name: str, text: bytes, lines: list[bytes]) -> NoReturn:
    """Run a check. `lines` are pairs: a call's arguments, and what the program gave.

    While calls are the same as these, they are answered so. From the first other one on no answer
    is known: the check goes on only to find further calls, asserts decide nothing, and an unknown
    value ends it where it is needed outside of them. Then the output is a line `asked N`, where N
    calls were answered, and the arguments of all calls. It is `passed` if all were answered, and
    there is one.
    """
    known = list(zip(lines[::2], lines[1::2], strict=True))
    asked: list[bytes] = []
    leniency, unknown = Leniency(), _make_unknown()
    _hide_output()

    def call(*arguments: Any, **named: Any) -> Any:
        try:
            line = write_line(list(arguments), named)
        except NotPlainError:
            end(False)
        place = len(asked)
        if place == CALLS_MAX:
            os._exit(1)
        asked.append(line)
        if leniency.answered is None and place < len(known) and known[place][0] == line:
            return _give(known[place][1], arguments, named)
        if leniency.answered is None:
            leniency.answered = place
        if len(asked) == CALLS_MAX:
            end(False)  # only to ask for these
        return unknown

    def end(passed: bool) -> NoReturn:
        if leniency.answered is not None:
            os.write(1, b"asked %d" % leniency.answered + b"".join(b"\n" + one for one in asked))
        elif passed and asked:
            os.write(1, b"passed")
        os._exit(0)

    _enter(_MODULE)[name] = call
    scope = _enter("check")
    called = {name: call, "candidate": call, "_assay_lenient": leniency}
    try:
        for code in marshal.loads(text):
            scope.update(called)  # the first may define the function without a body
            exec(code, scope)
    except BaseException:  # noqa: BLE001 - whatever ends the check
        end(False)
    end(True)


class Leniency:
    """A block whose failure counts only as long as all calls were answered.

    Attributes:
        answered: calls before the first one without an answer; None: there is none.
    """

    answered: int | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> bool:
        return self.answered is not None


def _make_unknown() -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise UnknownError

    return type("Unknown", (), {f"__{name}__": refuse for name in _OPERATIONS.split()})()


def _give(line: bytes, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Do in the check what the program did in its own copy. What it cannot have done is a failure
    that no check may catch."""
    try:
        kind, *given = read_line(line)
        if kind == "error":
            name, content = given
            error_class = vars(builtins)[name]
            if not issubclass(error_class, Exception) or issubclass(error_class, _ENDS):
                raise TypeError  # before anything is called
            error = error_class(*content)
        else:
            value, after, after_named = given
            _leave(arguments, after)
            _leave(list(named.values()), list(after_named.values()))
    except Exception:  # noqa: BLE001 - whatever a false answer leads to
        os._exit(1)
    if kind == "error":
        raise error
    return value


def _leave(before: Any, after: list[Any]) -> None:
    """Give lists, sets and dicts the content that the program left in them."""
    for one, other in zip(before, after, strict=True):
        if not isinstance(one, list | set | dict) or json.dumps(encode(one)) == json.dumps(
            encode(other)
        ):
            continue
        if isinstance(one, list):
            one[:] = list.copy(other)
        elif isinstance(one, set):
            set.__init__(one, set.copy(other))
        else:
            one.clear()
            one.update(dict.copy(other))
