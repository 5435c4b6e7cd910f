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
_GROUPS = ast.operator, ast.unaryop, ast.boolop, ast.cmpop
_KNOWN = {getattr(ast, name) for name in NODES.split()}.union(
    *(group.__subclasses__() for group in _GROUPS)
) - {ast.MatMult}
#: Where a node has a name that its author chose.
_NAMED: dict[type, str] = {ast.Name: "id", ast.arg: "arg", ast.FunctionDef: "name"}
_ALLOWED = {name: getattr(builtins, name) for name in BUILTINS.split()}
_METHODS, _KEYWORDS = frozenset(METHODS.split()), frozenset(KEYWORDS.split())
_LETTERS = "abcdeghijklmnopqrstuvwxyz"
#: What reading a text may raise.
_UNREADABLE = SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError
#: Operators whose result may be a set though no operand is ours: of a dict's views.
_OF_SETS = ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub
#: A normal form that has none of these has no set: arguments are none.
_SIGNS_OF_SETS = "{", "set", "keys", "items"
#: The place of a node that we make. Nobody reads it, but the compiler asks for one.
_PLACE: dict[str, Any] = {"lineno": 1, "col_offset": 0}


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
    say("\0".join(found))
    os._exit(0)


def say(text: str) -> None:
    os.write(1, text.encode("ascii"))


# --- what is asked


def check(text: str, *inputs: str) -> list[str]:
    """The normal form, its size, and each input with its output. With one input all of it is said
    before others are tried, which may take for ever; then `constant`, if none changes the output.
    """
    form, size = write_form(text)
    if not SIZE_MIN <= size <= SIZE_MAX:
        raise Fault("size")
    call = load(form)
    pairs = []
    for given in inputs:
        arguments, written = read_input(given, call)
        output = run_once(call, arguments)
        if [*map(write, arguments)] != written:
            raise Fault("changes")
        pairs.append((written, output))
    if len(pairs) > 1 and len({output for _, output in pairs}) == 1:
        raise Fault("constant")
    if all(_is_copy(output, written) for written, output in pairs):
        raise Fault("copy")
    found = [form, str(size), *(text for one, output in pairs for text in (", ".join(one), output))]
    if len(pairs) > 1:
        return found
    say("\0".join(["ok", *found]))
    if not _varies(call, *pairs[0]):
        say("\0constant")
    os._exit(0)


def again(form: str, *inputs: str) -> list[str]:
    """The outputs, where sets are walked from behind, and objects lie at other places."""
    kept: list[Any] = [
        (lambda: 0, (one for one in [0]), [[]], {0}, {0: 0}, object()) for _ in range(33)
    ]
    source, names = form, dict(_ALLOWED)
    if any(sign in form for sign in _SIGNS_OF_SETS):
        source, more = walk_backward(form)
        names |= more
    call = _define(compile(source, "piece.py", "exec", 0, True), names)
    outputs = [run_once(call, ast.literal_eval(f"[{given}]")) for given in inputs]
    del kept
    return outputs


def _varies(call: Any, written: list[str], output: str) -> bool:
    """Whether some change of an argument is one of the output."""
    for place, one in enumerate(map(ast.literal_eval, written)):
        for other in _list_variants(one):
            arguments = [
                other if number == place else ast.literal_eval(text)
                for number, text in enumerate(written)
            ]
            try:
                found = run_once(call, arguments)
            except Fault:
                return True
            if found != output:
                return True
    return False


def run(text: str, *inputs: str) -> list[str]:
    """The outputs of a function that need not be small."""
    call = load(write_form(text)[0])
    return [run_once(call, read_input(given, call)[0]) for given in inputs]


def find(form: str, given: str) -> list[str]:
    """An input as it is written, and the output for it, if there is one."""
    call = load(form)
    arguments, each = read_input(given, call)
    written = ", ".join(each)
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


def _is_copy(output: str, written: list[str]) -> bool:
    """Whether an output is an argument, or a list or tuple of all of them."""
    whole = ", ".join(written)
    return output in (*written, f"[{whole}]", f"({whole})", f"({whole},)")


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


def read_input(text: str, call: Any) -> tuple[list[Any], list[str]]:
    """The arguments of a function, in their written form's order of keys, and that form."""
    try:
        tree = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.keywords:
            raise Fault("input")
        written = [write(ast.literal_eval(one)) for one in tree.args]
        arguments = [*map(ast.literal_eval, written)]
    except (*_UNREADABLE, Fault):
        raise Fault("input") from None
    if len(arguments) != call.__code__.co_argcount or len(", ".join(written)) > VALUE_MAX:
        raise Fault("input")
    return arguments, written


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
    form, size = ast.unparse(nodes[0]), len(nodes)
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
    if any(number > 3 * SIZE_MAX for number, _ in enumerate(_iterate(body[0]))):
        raise Fault("size")  # what is dropped counts here
    return body[0]


def _is_constant(one: ast.AST) -> bool:
    return isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)


def _normalize(tree: ast.FunctionDef) -> list[ast.AST]:
    """The nodes of its normal form, itself first."""
    nodes = []
    for node in _iterate(tree):  # it looks below a node afterwards
        _bare(node)
        nodes.append(node)
    bound = {_get_name(node) for node in nodes if not _is_read(node)}
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
    read = {_get_name(node) for node in nodes if _is_read(node)}
    if not 1 <= count <= PARAMETERS_MAX or any(one.arg not in read for one in tree.args.args):
        raise Fault("unused")
    for node in nodes:
        name = _get_name(node)
        if name in names:
            setattr(node, _NAMED[type(node)], names[name])
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


def _is_read(node: ast.AST) -> bool:
    return type(node) is ast.Name and type(node.ctx) is ast.Load


def _bare(node: Any) -> None:
    """Leaves out of a node what changes nothing: texts, annotations, `pass`."""
    kind = type(node)
    if kind is ast.arg:
        node.annotation = None
    elif kind is ast.FunctionDef:
        node.returns = None
    for part in ("body", "orelse"):
        block = getattr(node, part, None)
        if type(block) is list:
            setattr(node, part, [_bare_statement(one) for one in block if not _is_nothing(one)])
            if not node.body:
                node.body = [ast.Pass()]


def _is_nothing(one: ast.AST) -> bool:
    kind = type(one)
    return kind is ast.Pass or _is_constant(one) or (kind is ast.AnnAssign and one.value is None)  # type: ignore[attr-defined]


def _bare_statement(one: Any) -> Any:
    kind: Any = type(one)
    return ast.Assign([one.target], one.value, **_PLACE) if kind is ast.AnnAssign else one


def _iterate(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what it has, in the order of the text where fields are. No contexts."""
    left = [node]
    while left:
        one = left.pop()
        yield one
        below: list[ast.AST] = []
        for name in one._fields:
            value = getattr(one, name, None)
            if type(value) is list:
                below += [each for each in value if isinstance(each, ast.AST)]
            elif name != "ctx" and isinstance(value, ast.AST):
                below.append(value)
        left += reversed(below)


def _get_name(node: ast.AST) -> str | None:
    field = _NAMED.get(type(node))
    return None if field is None else getattr(node, field)


def _require(node: ast.AST) -> None:
    """Raises Fault for what no piece has."""
    kind: Any = type(node)
    one: Any = node
    if kind not in _KNOWN:
        raise Fault("syntax")
    if kind is ast.Attribute:
        if one.attr not in _METHODS or type(one.ctx) is not ast.Load:
            raise Fault("attribute")
    elif kind is ast.Constant:
        value = one.value
        known = value is None or type(value) in (bool, int, str)
        if not known or (type(value) is str and len(value) > TEXT_MAX):
            raise Fault("literal")
        if type(value) is int and value.bit_length() > BITS_MAX:
            raise Fault("literal")
    elif (
        (kind is ast.FunctionDef and (one.decorator_list or one.type_params))
        or (kind is ast.comprehension and one.is_async)
        or (kind is ast.keyword and one.arg not in _KEYWORDS)
        or (
            kind is ast.arguments
            and (one.posonlyargs or one.kwonlyargs or one.vararg or one.kwarg or one.defaults)
        )
    ):
        raise Fault("syntax")


# --- the second run


def walk_backward(form: str) -> tuple[Any, dict[str, Any]]:
    """The tree of a function whose sets are walked from behind, and the names that it needs: whose
    order shows, shows that it has one.

    Classes that only some functions need are made here: a class costs each run as much as a short
    function.
    """

    class Backward(set):  # type: ignore[type-arg]
        def __init__(self, given: Any = ()) -> None:
            walked = given if type(given) is set else set(given)
            super().__init__(walked)
            self.order = list(walked)  # a copy may have another

        def __iter__(self) -> Iterator[Any]:
            if len(self.order) != len(self) or not self.issuperset(self.order):
                self.order = list(set.__iter__(self))
            return iter(self.order[::-1])

        def pop(self) -> Any:
            for one in self:
                self.discard(one)
                return one
            return set.pop(self)

    class Turning(ast.NodeTransformer):
        """Has all sets be such."""

        def visit(self, node: Any) -> Any:
            node = super().visit(node)
            whole = isinstance(node, ast.Set | ast.SetComp | ast.Call)
            if whole or (isinstance(node, ast.BinOp) and isinstance(node.op, _OF_SETS)):
                return _make_turn(node)
            return node

        def visit_AugAssign(self, node: ast.AugAssign) -> Any:
            self.generic_visit(node)
            if not isinstance(node.target, ast.Name) or not isinstance(node.op, _OF_SETS):
                return node
            name = node.target.id
            turned = _make_turn(ast.Name(name, ast.Load(), **_PLACE))
            return [node, ast.Assign([ast.Name(name, ast.Store(), **_PLACE)], turned, **_PLACE)]

    def turn(value: Any) -> Any:
        return Backward(value) if type(value) is set else value

    return Turning().visit(ast.parse(form)), {"set": Backward, "_set": turn}


def _make_turn(node: Any) -> Any:
    return ast.Call(ast.Name("_set", ast.Load(), **_PLACE), [node], [], **_PLACE)
