"""Rows of programs as data sets publish them, read into the form of `code:SHA256`.

APPS and TACO have that form. CodeContests, LiveCodeBench, KodCode, MBPP, HumanEval, verl's and
prime-rl's rows become it: pairs of input and output, or calls of a function with the value of
each. Asserts become calls where each compares a call of one function, on plain values, with a plain
value. Others stay code, which a sandbox runs (`checks`), with the one function that they are about.
Only `assay env look` reads rows so, on their owner's machine. A network reads what it wrote.
"""

import ast
import binascii
import builtins
import json
import pickletools
import sys
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn
from warnings import catch_warnings

from assay.environments.problem_file import ROW_MAX
from assay.environments.problem_formats import QUESTIONS
from assay.environments.problem_table import get_cell, parse_cell, read_problem_cell
from assay.protocol.encoding import EncodingError

#: Most bytes of test cases that a row unpacks to, and test cases of a row.
_UNPACKED_MAX, _CASES_MAX = 16 << 20, 256
#: Most opcodes of a pickle of one text: it has five, and an old one three.
_OPCODES_MAX = 16
#: CodeContests' test cases, those first that the question does not show.
_CASE_LISTS = "private_tests", "generated_tests", "public_tests"
#: Columns of test cases, in the order in which they are read.
_TESTS = (
    *("input_output", *_CASE_LISTS, "private_test_cases", "public_test_cases"),
    *("verification_info.test_cases", "reward_model.ground_truth", "test_list", "test"),
)
#: What of pytest KodCode's tests may use, and code that does the same on numbers and lists of them.
#: An assert is what may fail here while an answer is not known yet (`inside`).
_PYTEST_NAMES = frozenset({"raises", "approx"})
_PYTEST = """
import re as _re, sys as _sys
class pytest:
    class raises:
        def __init__(self, expected_exception, *, match=None):
            self.due, self.match = expected_exception, match
        def __enter__(self):
            return self
        def __exit__(self, kind, error, _):
            assert kind is not None and issubclass(kind, self.due)
            assert self.match is None or _re.search(self.match, str(error))
            self.type, self.value = kind, error
            return True
    class approx:
        size = abs
        def __init__(self, expected, rel=None, abs=None):
            self.due = expected
            self.rel = (1e-6 if abs is None else 0) if rel is None else rel
            self.abs = 1e-12 if abs is None else abs
        def __eq__(self, given):
            return self.agrees(self.due, given)
        def agrees(self, due, given):
            if isinstance(due, dict):
                same = isinstance(given, dict) and due.keys() == given.keys()
                return same and all(self.agrees(due[key], given[key]) for key in due)
            if isinstance(due, (list, tuple)):
                same = isinstance(given, (list, tuple)) and len(due) == len(given)
                return same and all(map(self.agrees, due, given))
            numbers = int, float, complex
            if due == given or not isinstance(due, numbers) or not isinstance(given, numbers):
                return due == given
            far = max(self.rel * self.size(due), self.abs)
            return self.size(due - given) <= far < float("inf")
_sys.modules["pytest"] = pytest
"""
#: The module of a program in KodCode's tests.
_MODULE = "solution"
#: Modules that tests find besides Python's own. They have none inside.
_PROVIDED = frozenset({"pytest", _MODULE})
#: Statements in tests that are no asserts.
_PASSED_OVER = ast.Import | ast.ImportFrom | ast.Pass


class ShapeError(ValueError):
    """A row has no test cases that can be read. The message says why, for a count of rows."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function's arguments and its value, as values of JSON."""

    name: str
    arguments: list[Any]
    value: Any


def convert_row(row: dict[str, Any], difficulty: str | None) -> bytes:
    """The row as a line of JSON that `code:SHA256` reads, with as many test cases as fit.

    Args:
        difficulty: a name of its level, if it has one.

    Raises:
        ShapeError: it has no question, or no test cases that can be read.
    """
    cells = (read_problem_cell(get_cell(row, name)) for name in QUESTIONS)
    question = next((cell for cell in cells if cell), None)
    if question is None:
        raise ShapeError("no question")
    try:
        tests = _read_tests(row)
    except (TypeError, AttributeError, LookupError):  # text for a list, a list for text, …
        raise ShapeError("test cases of an unknown shape") from None
    solution = tests.pop("solution", "")
    fields = {"question": question, "input_output": json.dumps(tests)}
    starter = row.get("starter_code")
    if isinstance(starter, str) and starter:
        fields["starter_code"] = starter
    if solution:
        fields["solution"] = solution
    if difficulty is not None:
        fields["difficulty"] = difficulty
    return _fit(fields, tests)


def name_columns(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Part of a row → the column that the first rows have for it."""
    found = {
        "problem": (name for name in QUESTIONS if _has(rows, name, read_problem_cell)),
        "test cases": (name for name in _TESTS if _has(rows, name)),
    }
    return {part: name for part, names in found.items() if (name := next(names, None))}


def _has(rows: Sequence[dict[str, Any]], name: str, read: Callable[[Any], Any] = bool) -> bool:
    return any(read(get_cell(row, name)) for row in rows)


def _fit(fields: dict[str, Any], tests: dict[str, Any]) -> bytes:
    """The line, without the last test cases if it has too many bytes with them."""
    names = [name for name in ("inputs", "outputs", "asserts") if name in tests]
    cases = len(tests[names[0]])
    while len(line := json.dumps(fields, ensure_ascii=False).encode()) > ROW_MAX and cases > 1:
        cases //= 2
        kept = {name: tests[name][:cases] for name in names}
        fields["input_output"] = json.dumps(tests | kept)
    return line


def _read_tests(row: dict[str, Any]) -> dict[str, Any]:
    """A row's test cases: `inputs` and `outputs`, or `asserts` with `setup`; perhaps `fn_name` and
    its author's `solution`."""
    if (tests := row.get("input_output")) is not None:
        return _read_pairs(tests)
    if any(row.get(name) for name in _CASE_LISTS):
        return _make_pairs(pair for name in _CASE_LISTS for pair in _iterate_lists(row.get(name)))
    if row.get("public_test_cases") or row.get("private_test_cases"):
        return _read_contest(row)
    if (cases := get_cell(row, "verification_info.test_cases")) is not None:
        return _read_typed(cases)
    if (tests := get_cell(row, "reward_model.ground_truth")) is not None:
        return _read_pairs(tests)
    return _read_asserts(row) | {"solution": _find_solution(row)}


def _parse(value: Any) -> Any:
    """A value, or what a text holds as JSON."""
    try:
        return parse_cell(value)
    except EncodingError:
        raise ShapeError("test cases that are no JSON") from None


def _read_pairs(value: Any) -> dict[str, Any]:
    tests = _parse(value) if value else None
    tests = tests if isinstance(tests, dict) else {}
    if not all(isinstance(tests.get(name), list) and tests[name] for name in ("inputs", "outputs")):
        raise ShapeError("no test cases")
    return {name: tests[name] for name in ("inputs", "outputs", "fn_name") if tests.get(name)}


def _make_pairs(pairs: Iterable[tuple[Any, Any]], function: str | None = None) -> dict[str, Any]:
    pairs = list(pairs)[:_CASES_MAX]
    if not pairs:
        raise ShapeError("no test cases")
    tests = {"inputs": [given for given, _ in pairs], "outputs": [due for _, due in pairs]}
    return tests if function is None else tests | {"fn_name": function}


def _iterate_lists(cases: Any) -> Iterator[tuple[Any, Any]]:
    """CodeContests' pairs: an object of two lists, or a list of objects."""
    if isinstance(cases, dict):
        given, due = cases.get("input"), cases.get("output")
        if isinstance(given, list) and isinstance(due, list) and len(given) == len(due):
            yield from zip(given, due, strict=True)
    elif isinstance(cases, list):
        yield from ((one.get("input"), one.get("output")) for one in cases if isinstance(one, dict))


def _read_contest(row: dict[str, Any]) -> dict[str, Any]:
    """LiveCodeBench's test cases. A row without private ones shows all that it has."""
    private, public = (row.get(f"{kind}_test_cases") for kind in ("private", "public"))
    if not private:
        raise ShapeError("only test cases that its question shows")
    cases = [*_unpack(private), *_parse(public or "[]")]
    function = get_cell(row, "metadata.func_name")
    return _read_typed(cases, function if isinstance(function, str) else None)


def _unpack(value: Any) -> list[Any]:
    """Private test cases: a list as JSON, or that text pickled, packed and written in base 64."""
    if isinstance(value, str) and value[:1] not in ("[", ""):
        try:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(b64decode(value, validate=True), _UNPACKED_MAX)
            value = data.decode() if data[:1] == b"[" else _read_pickled_text(data)
        except (binascii.Error, zlib.error, ValueError):
            raise ShapeError("packed test cases that cannot be read") from None
    cases = _parse(value)
    if not isinstance(cases, list):
        raise ShapeError("test cases that are no list")
    return cases


def _read_pickled_text(data: bytes) -> str:
    """The text that a pickle of one text holds. No pickle is ever loaded: it may run code."""
    opcodes = list(islice(pickletools.genops(data), _OPCODES_MAX + 1))
    if len(opcodes) > _OPCODES_MAX:
        _refuse("many opcodes")
    texts = [
        argument
        for opcode, argument, _ in opcodes
        if opcode.name not in ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "STOP")
        and (isinstance(argument, str) or _refuse(opcode.name))
    ]
    if len(texts) != 1:
        _refuse("several texts")
    return str(texts[0])


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"a pickle with {what}")


def _read_typed(cases: Any, function: str | None = None) -> dict[str, Any]:
    """Test cases that say whether they are input and output of a program or of a function."""
    cases = _parse(cases)
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise ShapeError("test cases that are no list")
    kinds = {case.get("testtype") or case.get("type") or "stdin" for case in cases}
    if kinds <= {"stdin", "stdin_stdout"}:
        return _make_pairs((case.get("input"), case.get("output")) for case in cases)
    function = function or next((case["fn_name"] for case in cases if case.get("fn_name")), None)
    if kinds - {"functional", "function_call"} or function is None:
        raise ShapeError("test cases of several kinds")
    return _make_pairs(map(_read_call_case, cases), function)


def _read_call_case(case: dict[str, Any]) -> tuple[list[Any], Any]:
    """Arguments, one a line as JSON or a list, and the value."""
    given, due = case.get("input"), case.get("output")
    arguments = [_parse(line) for line in given.split("\n")] if isinstance(given, str) else given
    return arguments if isinstance(arguments, list) else [arguments], _parse(due)


def _find_solution(row: dict[str, Any]) -> str:
    """The program of a row's author, or nothing: MBPP's, KodCode's, HumanEval's behind its start of
    a function."""
    if isinstance(body := row.get("canonical_solution"), str) and body:
        return f"{row.get('prompt') or ''}{body}"
    found = (row.get(name) for name in ("code", "solution"))
    return next((text for text in found if isinstance(text, str) and text), "")


def _read_asserts(row: dict[str, Any]) -> dict[str, Any]:
    """Asserts of MBPP, HumanEval and KodCode: as calls, or else as code."""
    given = row.get("test_list") or row.get("test")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise ShapeError("no test cases")
    setup = row.get("test_setup_code") or row.get("test_imports") or ""
    setup = "\n".join(map(str, setup)) if isinstance(setup, list) else str(setup)
    entry = row.get("entry_point")
    calls = None if setup.strip() else reduce_asserts("\n".join(texts), entry)
    if calls is not None:
        return _make_pairs(((call.arguments, call.value) for call in calls), calls[0].name)
    tree = _require_code("\n".join([setup, *texts]))
    if isinstance(entry, str) and entry and "check" in _list_functions(tree):
        start = row.get("prompt")
        known = start if isinstance(start, str) and _parse_code(start) is not None else ""
        return {"asserts": [f"check({entry})"], "setup": f"{known}\n{texts[0]}", "fn_name": entry}
    _require_modules(tree)
    bound = _list_bound(tree)
    setup = _import_modules(tree, bound) + (_PYTEST if _needs_pytest(tree, bound) else "") + setup
    if len(texts) == 1 and (names := _list_tests(tree)):
        setup, texts = f"{setup}\n{texts[0]}", [f"{name}()" for name in names]
    return {"asserts": texts[:_CASES_MAX], "setup": setup, "fn_name": _find_function(tree, bound)}


def _parse_code(text: str) -> ast.Module | None:
    try:
        with catch_warnings(action="ignore"):  # a stranger's escapes are no matter of ours
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _require_code(text: str) -> ast.Module:
    tree = _parse_code(text)
    if tree is None:
        raise ShapeError("asserts that are no Python")
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        raise ShapeError("tests without asserts")
    return tree


def _list_functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}


def _list_tests(tree: ast.Module) -> list[str]:
    """The test functions, which have neither arguments nor decorators."""
    tests = {name: one for name, one in _list_functions(tree).items() if name.startswith("test")}
    if any(one.args.args or one.decorator_list for one in tests.values()):
        raise ShapeError("tests with fixtures of pytest")
    return list(tests)


def _require_modules(tree: ast.Module) -> None:
    """Raises ShapeError for a text that imports what the sandbox has not, and so always fails."""
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            top, _, inner = name.partition(".")
            known = not inner if top in _PROVIDED else top in sys.stdlib_module_names
            if not known:
                raise ShapeError(f"tests that need {name[:40]}")


def _needs_pytest(tree: ast.Module, bound: set[str]) -> bool:
    """Whether a text uses or just imports `_PYTEST`. Raises ShapeError, with its name, if it uses
    more."""
    used = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pytest":
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            used |= {"as" for alias in node.names if alias.name == "pytest" and alias.asname}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used |= {node.attr} if node.value.id == "pytest" else set()
    if more := sorted(used - _PYTEST_NAMES):
        raise ShapeError(f"tests that need pytest.{more[0][:40]}")
    return bool(used) or "pytest" in bound


def _list_bound(tree: ast.Module) -> set[str]:
    """The names that a text defines or imports, of the program's module too, and Python's own."""
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return bound


def _find_function(tree: ast.Module, bound: set[str]) -> str:
    """The one function that is imported of the program, or else called and nowhere defined."""
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == _MODULE
        for alias in node.names
        if alias.name != "*"
    ]
    called = (
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    names = set(imported) or {name for name in called if name not in bound}
    if len(names) != 1:
        raise ShapeError(f"asserts that call {'several functions' if names else 'no function'}")
    return names.pop()


def _import_modules(tree: ast.Module, bound: set[str]) -> str:
    """Imports of Python's modules that the text uses: some rows leave them to the program."""
    used = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return "".join(f"import {name}\n" for name in sorted(used & sys.stdlib_module_names - bound))


def reduce_asserts(text: str, entry: str | None = None) -> list[Call] | None:
    """The calls that asserts compare with a value. None if any part of the text is something else,
    or several functions are called.

    Args:
        entry: the function that HumanEval's `candidate` is.
    """
    tree = _parse_code(text)
    if tree is None:
        return None
    calls = [_read_assert(one, entry) for one in _iterate_statements(tree.body)]
    found = [call for call in calls if call is not None]
    same = len({call.name for call in found}) == 1
    return found if same and len(found) == len(calls) else None


def _iterate_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of tests, those of test functions in place of their definitions. Imports,
    descriptions and names in capitals have no part in a test."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and not statement.decorator_list:
            yield from _iterate_statements(statement.body)
        elif not (
            isinstance(statement, _PASSED_OVER)
            or _is_description(statement)
            or _calls_check(statement)
            or _names_constant(statement)
        ):
            yield statement


def _is_description(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _calls_check(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    return isinstance(function, ast.Name) and function.id == "check"


def _names_constant(statement: ast.stmt) -> bool:
    """Whether a statement names data in capitals, as HumanEval's METADATA."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return bool(targets) and all(isinstance(one, ast.Name) and one.id.isupper() for one in targets)


def _read_assert(statement: ast.stmt, entry: str | None) -> Call | None:
    """`assert f(1, [2]) == 3` as a call."""
    test = statement.test if isinstance(statement, ast.Assert) else None
    if (
        not isinstance(test, ast.Compare)
        or len(test.ops) != 1
        or not isinstance(test.ops[0], ast.Eq)
    ):
        return None
    call, due = test.left, test.comparators[0]
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        return None
    try:
        arguments = [_read_plain(argument) for argument in call.args]
        value = _read_plain(due)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    name = entry if call.func.id == "candidate" and entry else call.func.id
    return Call(name, arguments, value)


def _read_plain(node: ast.expr) -> Any:
    """A value that JSON has, and that is the same in Python: no tuple, no set, no other key."""
    value = ast.literal_eval(node)
    if not _is_plain(value):
        raise ValueError("no plain value")
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    if isinstance(value, float):
        return value - value == 0  # neither infinite nor NaN
    return value is None or isinstance(value, bool | int | str)
