"""What a chat template may be made of: a closed list, nested no deeper than counted bounds.

A parser and a compiler recurse with the text that they read, so how deep a text may be nested would
depend on the stack of the process that reads it. The bounds here are counted in the text, before
any of them runs, and need a small part of the smallest stack.

This module knows nothing of a template's values: `chat_template` bounds what they cost.
"""

import re
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, TemplateError, nodes
from jinja2.visitor import NodeTransformer

#: Most characters of a template.
SOURCE_MAX = 64 << 10
#: Levels of brackets in one tag; prefixes and conditions in one; tags around another; levels of the
#: parsed template.
BRACKETS_MAX, PREFIXES_MAX, TAGS_MAX, LEVELS_MAX = 12, 32, 16, 64
#: Branches of one `if`: the compiler takes each as one within the other.
BRANCHES_MAX = 64
#: Integers that a template may have are below this, and above its negative.
INTEGER_END = 1 << 63
STATEMENTS = (
    *(nodes.Output, nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock),
    *(nodes.Assign, nodes.AssignBlock, nodes.Break, nodes.Continue),
)
EXPRESSIONS = (
    *(nodes.Name, nodes.NSRef, nodes.Const, nodes.TemplateData, nodes.Tuple, nodes.List),
    *(nodes.Dict, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem),
    *(nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Add, nodes.Sub, nodes.Mul),
    *(nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
)
_PARTS = (nodes.Template, nodes.Pair, nodes.Keyword, nodes.Operand)
_ALLOWED = frozenset({*STATEMENTS, *EXPRESSIONS, *_PARTS})
#: Names that stand for a template itself.
_SELF = ("self", "super")
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
#: An escape in a text that names a character: which names there are depends on Python's Unicode.
_NAMED = re.compile(r"(?<!\\)(?:\\\\)*\\N")


class TemplateSyntaxFault(ValueError):
    """A template that may not be used. The message says why."""


def parse_template(environment: Environment, source: str) -> nodes.Template:
    """The parsed template.

    Raises:
        TemplateSyntaxFault: it is not Jinja, or beyond the bounds of this module.
    """
    if len(source) > SOURCE_MAX:
        raise TemplateSyntaxFault(f"it has more than {SOURCE_MAX} characters")
    try:
        _require_shallow(environment, source)
        parsed = environment.parse(source)
    except TemplateSyntaxFault:
        raise
    except (TemplateError, SyntaxError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise TemplateSyntaxFault(f"it does not compile: {text}") from None
    _require_known(environment, parsed)
    return parsed


def _require_shallow(environment: Environment, source: str) -> None:
    """Raises a TemplateSyntaxFault unless parsing needs few levels. Only counts words."""
    open_tags = 0
    for opens, words in _list_tags(environment, source):
        brackets = deepest = prefixes = 0
        before = ""
        for word in words:
            if word in _OPENING:
                brackets += 1
                deepest = max(deepest, brackets)
            elif word in _CLOSING:
                brackets -= 1
            prefixes += word in ("not", "if", "else") or (word in "+-" and before in _BEFORE_SIGN)
            before = word
        if deepest > BRACKETS_MAX or prefixes > PREFIXES_MAX:
            raise TemplateSyntaxFault("a tag of it is nested too deeply")
        if opens and words:
            open_tags += _count_opened(words)
            if open_tags > TAGS_MAX:
                raise TemplateSyntaxFault(f"its tags are nested deeper than {TAGS_MAX} levels")


#: Words after which a sign is a number's, and not an operation.
_BEFORE_SIGN = frozenset(
    {
        *("", "(", "[", "{", ",", ":", "=", "+", "-", "*", "/", "//", "%", "~", "|", "**"),
        *("<", ">", "<=", ">=", "==", "!=", "in", "not", "and", "or", "if", "else", "is"),
    }
)


def _list_tags(environment: Environment, source: str) -> Iterator[tuple[bool, list[str]]]:
    """For each tag whether it is a statement, and its words."""
    words: list[str] | None = None
    opens = False
    for _, kind, text in environment.lex(source):
        if kind in ("block_begin", "variable_begin"):
            words, opens = [], kind == "block_begin"
        elif kind in ("block_end", "variable_end") and words is not None:
            yield opens, words
            words = None
        elif words is not None and kind != "whitespace":
            if kind == "string" and _NAMED.search(text):
                raise TemplateSyntaxFault("a text of it names a character: write it as \\u")
            if kind != "string" and not text.isascii():
                raise TemplateSyntaxFault("a word of it is not ASCII")
            words.append(text if kind in ("name", "operator") else "a literal")
    if words:  # the text ends within a tag
        yield opens, words


def _count_opened(words: list[str]) -> int:
    """The number of levels that a statement opens: 1, 0 or -1."""
    first = words[0]
    if first.startswith("end"):
        return -1
    if first == "set":  # without a value it opens a block, which a filter may follow
        return int(next((word for word in words if word in ("=", "|", "(")), "") != "=")
    return int(first not in ("else", "elif", "break", "continue"))


def _require_known(environment: Environment, parsed: nodes.Template) -> None:
    level: list[nodes.Node] = [parsed]
    for _ in range(LEVELS_MAX):
        for node in level:
            if type(node) not in _ALLOWED:
                raise TemplateSyntaxFault(f"it has a part {type(node).__name__}")
            fault = _find_fault(environment, node)
            if fault is not None:
                raise TemplateSyntaxFault(fault)
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise TemplateSyntaxFault(f"it is nested deeper than {LEVELS_MAX} levels")


def _find_fault(environment: Environment, node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Filter | nodes.Test):
        known = environment.filters if isinstance(node, nodes.Filter) else environment.tests
        if node.name not in known:
            return f"it has the filter or test {node.name[:60]!r}, which is not known here"
    if isinstance(node, nodes.Filter | nodes.Test | nodes.Call) and (
        node.dyn_args or node.dyn_kwargs
    ):
        return "it calls something with a list of arguments"
    if isinstance(node, nodes.If) and len(node.elif_) >= BRANCHES_MAX:
        return f"an if of it has more than {BRANCHES_MAX} branches"
    if isinstance(node, nodes.Name) and node.name in _SELF:
        return f"it names {node.name}"
    if isinstance(node, nodes.Const) and type(node.value) is int and node.value >= INTEGER_END:
        return "it has an integer that is too large"
    return None


class _Meter(NodeTransformer):
    """Leads what costs something through functions of the environment that count it."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:
        """A fixed text is put out as any value is."""
        return nodes.Const(node.data, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        iterated: Any = node.iter  # a visitor returns any node
        node.iter = self._lead("count_items", iterated)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._lead("join_texts", *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = self._lead("weigh", node.expr)
        for operand in node.ops:
            operand.expr = self._lead("weigh", operand.expr)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return self._lead("weigh", node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return self._lead("weigh", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return self._lead("weigh", node) if node.ctx == "load" else node

    def _lead(self, function: str, *values: nodes.Expr) -> nodes.Expr:
        name = nodes.EnvironmentAttribute(function, lineno=values[0].lineno if values else 1)
        return nodes.Call(name, list(values), [], None, None, lineno=name.lineno)


def add_meter(environment: Environment, parsed: nodes.Template) -> nodes.Template:
    """The template, with everything that costs something counted by the environment's
    `count_items`, `join_texts` and `weigh`."""
    metered: nodes.Template = _Meter(environment).visit(parsed)
    metered.set_environment(environment)
    return metered
