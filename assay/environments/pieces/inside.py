"""Runs inside the interpreter: reads pieces, writes their normal form and runs them. Nothing of it
runs outside; its limits and lists are read there.

A piece is a function `f` in a part of Python without imports, classes, exceptions, generators,
global names and attributes other than some methods. So it has nothing that it could reach but its
arguments. Values are None, bool, int, str, and list, tuple and dict of them, written in one way.
"""

import ast
import builtins
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

#: Nodes of a normal form, without its contexts; characters of it, of a constant text, of a value.
SIZE_MIN, SIZE_MAX, FORM_MAX, TEXT_MAX, VALUE_MAX = 12, 300, 2_048, 64, 512
#: Levels of a value, bits of an integer, parameters of a function.
DEPTH_MAX, BITS_MAX, PARAMETERS_MAX = 6, 256, 4
BUILTINS = (
    "abs all any bin bool chr dict divmod enumerate filter hex int isinstance len list map max "
    "min oct ord pow range reversed round set sorted str sum tuple zip"
)
METHODS = (
    "add append bit_count bit_length capitalize center clear copy count difference discard "
    "endswith extend find fromkeys get index insert intersection isalnum isalpha isdigit "
    "isdisjoint islower isspace issubset issuperset isupper items join keys ljust lower lstrip "
    "partition pop popitem remove removeprefix removesuffix replace reverse rfind rindex rjust "
    "rpartition rsplit rstrip setdefault sort split splitlines startswith strip swapcase "
    "symmetric_difference title union update upper values zfill"
)
KEYWORDS = "base default key maxsplit reverse start strict"
#: All that a piece may consist of, besides operators.
NODES = (
    "FunctionDef arguments arg Return Assign AugAssign For While If Expr Pass Break Continue "
    "Delete BoolOp NamedExpr BinOp UnaryOp Lambda IfExp Dict Set ListComp SetComp DictComp "
    "GeneratorExp comprehension Compare Call keyword FormattedValue JoinedStr Constant Attribute "
    "Subscript Starred Name List Tuple Slice"
)
_KNOWN = tuple(getattr(ast, name) for name in NODES.split())
_OPERATORS = ast.operator, ast.unaryop, ast.boolop, ast.cmpop
_ALLOWED = {name: getattr(builtins, name) for name in BUILTINS.split()}
_METHODS, _KEYWORDS = frozenset(METHODS.split()), frozenset(KEYWORDS.split())
_LETTERS = "abcdeghijklmnopqrstuvwxyz"
#: What reading a text may raise.
_UNREADABLE = SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError
#: Operators whose result may be a set though no operand is ours: of a dict's views.
_OF_SETS = ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub


class Fault(Exception):
    """Why something is no piece, input, value: a word of `piece.Fault`."""


def serve() -> None:
    """Input: what to do and its arguments, with zeros between them. Output: `ok` or a fault, and
    what was found, likewise."""
    do, *fields = sys.stdin.buffer.read().decode().split("\0")
    try:
        found = ["ok", *_TASKS[do](*fields)]
    except Fault as fault:
        found = [*fault.args]
    os.write(1, "\0".join(found).encode("ascii"))
    os._exit(0)


# --- what is asked


def check(text: str, *inputs: str) -> list[str]:
    """The normal form, its size, and each input with its output."""
    form, size = write_form(text)
    if not SIZE_MIN <= size <= SIZE_MAX:
        raise Fault("size")
    call = load(form)
    found = []
    for given in inputs:
        arguments = read_input(given, call)
        before = write_input(arguments)
        output = run_once(call, arguments)
        if write_input(arguments) != before:
            raise Fault("changes")
        found += [before, output]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    if len(pairs) > 1 and len(set(found[1::2])) == 1:
        raise Fault("constant")
    if all(_is_copy(output, given, call) for given, output in pairs):
        raise Fault("copy")
    return [form, str(size), *found]


def again(form: str, *inputs: str) -> list[str]:
    """The outputs, where sets are walked from behind, and objects lie at other places."""
    kept: list[Any] = [
        (lambda: 0, (one for one in [0]), [[]], {0}, {0: 0}, object()) for _ in range(99)
    ]
    tree = ast.fix_missing_locations(_Backward().visit(ast.parse(form)))
    scope = {**_ALLOWED, "set": _Set, "_set": _turn}
    call = _define(compile(tree, "piece.py", "exec", 0, True), scope)
    outputs = [run_once(call, read_input(given, call)) for given in inputs]
    del kept
    return outputs


def vary(form: str, given: str) -> list[str]:
    """Whether some change of an argument is one of the output; a fault: none is."""
    call = load(form)
    output = run_once(call, read_input(given, call))
    for place, one in enumerate(read_input(given, call)):
        for other in _list_variants(one):
            arguments = read_input(given, call)
            arguments[place] = other
            try:
                found = run_once(call, arguments)
            except Fault:
                return []
            if found != output:
                return []
    raise Fault("constant")


def run(text: str, *inputs: str) -> list[str]:
    """The outputs of a function that need not be small."""
    call = load(write_form(text)[0])
    return [run_once(call, read_input(given, call)) for given in inputs]


def find(form: str, given: str) -> list[str]:
    """An input as it is written, and the output for it, if there is one."""
    call = load(form)
    arguments = read_input(given, call)
    written = write_input(arguments)
    try:
        return [written, run_once(call, arguments)]
    except Fault:
        return [written]


def read(text: str) -> list[str]:
    """A value as it is written."""
    try:
        value = ast.literal_eval(text.strip())
    except _UNREADABLE:
        raise Fault("value") from None
    return [write(value)]


_TASKS: dict[str, Callable[..., list[str]]] = {
    "check": check,
    "again": again,
    "vary": vary,
    "run": run,
    "find": find,
    "read": read,
}


def load(form: str) -> Any:
    """The function of a normal form."""
    return _define(compile(form, "piece.py", "exec", 0, True), dict(_ALLOWED))


def _define(code: Any, names: dict[str, Any]) -> Any:
    scope: dict[str, Any] = {"__builtins__": names}
    exec(code, scope)
    return scope["f"]


def run_once(call: Any, arguments: list[Any]) -> str:
    try:
        value = call(*arguments)
    except Exception:  # noqa: BLE001 - whatever it raises
        raise Fault("raises") from None
    return write(value)


def _is_copy(output: str, given: str, call: Any) -> bool:
    """Whether an output is an argument, or all of them."""
    arguments = read_input(given, call)
    return output in (*map(write, arguments), write(arguments), write(tuple(arguments)))


# --- values


def write(value: Any, depth: int = DEPTH_MAX) -> str:
    parts: list[str] = []
    left = VALUE_MAX
    for part in _write(value, depth):
        left -= len(part)
        if left < 0:
            raise Fault("value")
        parts.append(part)
    return "".join(parts)


def _write(value: Any, depth: int) -> Iterator[str]:
    kind = type(value)
    if value is None or kind is bool or (kind is int and value.bit_length() <= BITS_MAX):
        yield repr(value)
    elif kind is str and len(value) <= VALUE_MAX:
        yield ascii(value)
    elif kind in (list, tuple, dict) and depth:
        marks = "()" if kind is tuple else "[]" if kind is list else "{}"
        yield marks[0]
        for number, item in enumerate(_sort(value) if kind is dict else value):
            if number:
                yield ", "
            yield from _write(item, depth - 1)
            if kind is dict:
                yield ": "
                yield from _write(value[item], depth - 1)
        yield ",)" if kind is tuple and len(value) == 1 else marks[1]
    else:
        raise Fault("value")


def _sort(value: dict[Any, Any]) -> list[Any]:
    """Keys in one order: equal dicts are one value."""
    if len(value) > VALUE_MAX or not all(type(key) in (int, str) for key in value):
        raise Fault("value")
    return sorted(value, key=lambda key: (type(key) is str, key))


def read_input(text: str, call: Any) -> list[Any]:
    """The arguments of a function, in their written form's order of keys."""
    try:
        tree = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.keywords:
            raise Fault("input")
        read = [ast.literal_eval(one) for one in tree.args]
        arguments = [ast.literal_eval(write(one)) for one in read]
    except (*_UNREADABLE, Fault):
        raise Fault("input") from None
    if len(arguments) != call.__code__.co_argcount or len(write_input(arguments)) > VALUE_MAX:
        raise Fault("input")
    return arguments


def write_input(arguments: list[Any]) -> str:
    return ", ".join(map(write, arguments))


def _list_variants(given: Any) -> list[Any]:
    """Values that differ from one, of its type where that has others."""
    value: Any = given
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, -value, 0, 2 * value + 3]
    if type(value) in (str, list, tuple):
        more = "z" if type(value) is str else type(value)([0])
        return [value[1:], value + value[:1], value[::-1], value + more, value[:0]]
    if isinstance(value, dict):
        first = dict(list(value.items())[1:])
        return [first, {**value, "z": 0}, dict.fromkeys(value, 0)]
    return [0, "", []]


# --- normal form


def write_form(text: str) -> tuple[str, int]:
    """The normal form of a function, and its size."""
    nodes = _normalize(_read_function(text))
    form, size = ast.unparse(ast.fix_missing_locations(nodes[0])), len(nodes)
    if len(form) > FORM_MAX or not form.isascii():
        raise Fault("size" if form.isascii() else "text")
    written = list(_iterate(_read_function(form)))
    if len(written) != size or not all(map(_is_same, nodes, written)):
        raise Fault("form")
    return form, size


def _read_function(text: str) -> ast.FunctionDef:
    try:
        body = ast.parse(text).body
    except _UNREADABLE:
        raise Fault("syntax") from None
    body = [one for one in body if not _is_constant(one)]
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise Fault("syntax")
    if sum(1 for _ in ast.walk(body[0])) > 3 * SIZE_MAX:  # what is dropped counts here
        raise Fault("size")
    return body[0]


def _is_constant(one: ast.AST) -> bool:
    return isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)


def _normalize(tree: ast.FunctionDef) -> list[ast.AST]:
    """The nodes of its normal form, itself first."""
    tree = _Bare().visit(tree)
    nodes = list(_iterate(tree))
    bound = {name for node in nodes for name in _list_bound(node)}
    names = {tree.name: "f"}
    for node in nodes:
        _require(node)
        name = _get_name(node)
        if name is None:
            continue
        if name not in bound:
            if name not in _ALLOWED:
                raise Fault("name")
        elif name in _ALLOWED:
            raise Fault("name")
        elif name not in names:
            place = len(names) - 1
            turn = place // len(_LETTERS)
            names[name] = _LETTERS[place % len(_LETTERS)] + (str(turn) if turn else "")
    count = len(tree.args.args)
    read = {node.id for node in nodes if isinstance(node, ast.Name) and _loads(node)}
    if not 1 <= count <= PARAMETERS_MAX or any(one.arg not in read for one in tree.args.args):
        raise Fault("unused")
    for node in nodes:
        name = _get_name(node)
        if name in names:
            _set_name(node, names[name])
    return nodes


def _is_same(one: Any, other: Any) -> bool:
    """Whether two nodes are alike, apart from what they have below."""
    if type(one) is not type(other) or _get_name(one) != _get_name(other):
        return False
    if isinstance(one, ast.Constant):
        return type(one.value) is type(other.value) and bool(one.value == other.value)
    if isinstance(one, ast.Attribute):
        return bool(one.attr == other.attr)
    if isinstance(one, ast.FormattedValue):
        return bool(one.conversion == other.conversion)
    return bool(one.arg == other.arg) if isinstance(one, ast.keyword) else True


def _loads(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


class _Bare(ast.NodeTransformer):
    """Leaves out what changes nothing: texts, annotations, `pass`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.stmt) and getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_constant(node) else self.generic_visit(node)

    def visit_Pass(self, _: ast.Pass) -> None:
        return None

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _iterate(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what it has, in the order of the text where fields are. No contexts."""
    left = [node]
    while left:
        one = left.pop()
        yield one
        below = [
            each for each in ast.iter_child_nodes(one) if not isinstance(each, ast.expr_context)
        ]
        left += reversed(below)


def _list_bound(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name) and _loads(node):
        return []
    name = _get_name(node)
    return [] if name is None else [name]


def _get_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.arg):
        return node.arg
    return node.name if isinstance(node, ast.FunctionDef) else None


def _set_name(node: Any, name: str) -> None:
    field = {ast.Name: "id", ast.arg: "arg", ast.FunctionDef: "name"}[type(node)]
    setattr(node, field, name)


def _require(node: ast.AST) -> None:
    """Raises Fault for what no piece has."""
    if isinstance(node, ast.MatMult) or not isinstance(node, (*_KNOWN, *_OPERATORS)):
        raise Fault("syntax")
    if isinstance(node, ast.FunctionDef) and (node.decorator_list or node.type_params):  # type: ignore[attr-defined]
        raise Fault("syntax")
    if isinstance(node, ast.arguments) and (
        node.posonlyargs or node.kwonlyargs or node.vararg or node.kwarg or node.defaults
    ):
        raise Fault("syntax")
    if isinstance(node, ast.comprehension) and node.is_async:
        raise Fault("syntax")
    if isinstance(node, ast.Attribute) and not (
        node.attr in _METHODS and isinstance(node.ctx, ast.Load)
    ):
        raise Fault("attribute")
    if isinstance(node, ast.keyword) and node.arg not in _KEYWORDS:
        raise Fault("syntax")
    if isinstance(node, ast.Constant):
        value = node.value
        known = value is None or type(value) in (bool, int, str)
        if not known or (type(value) is str and len(value) > TEXT_MAX):
            raise Fault("literal")
        if type(value) is int and value.bit_length() > BITS_MAX:
            raise Fault("literal")


# --- the second run


class _Set(set):  # type: ignore[type-arg]
    """A set that is walked from behind: whose order shows, shows that it has one."""

    def __iter__(self) -> Iterator[Any]:
        return iter(list(set.__iter__(self))[::-1])

    def pop(self) -> Any:
        for one in self:
            self.discard(one)
            return one
        return set.pop(self)


def _turn(value: Any) -> Any:
    return _Set(value) if type(value) is set else value


class _Backward(ast.NodeTransformer):
    """Has all sets be such."""

    def visit(self, node: Any) -> Any:
        node = super().visit(node)
        whole = isinstance(node, ast.Set | ast.SetComp | ast.Call)
        if whole or (isinstance(node, ast.BinOp) and isinstance(node.op, _OF_SETS)):
            return ast.Call(ast.Name("_set", ast.Load()), [node], [])
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name) or not isinstance(node.op, _OF_SETS):
            return node
        name = node.target.id
        turned = ast.Call(ast.Name("_set", ast.Load()), [ast.Name(name, ast.Load())], [])
        return [node, ast.Assign([ast.Name(name, ast.Store())], turned)]
