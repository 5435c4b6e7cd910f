"""The chat template: turns messages into the prompt that a model was trained to answer.

A trainer writes the template and all others run it. Its result must be the same for all of them,
and it must not crash a program. Jinja's sandbox keeps it away from files and the interpreter. Here
it also has no clock, no random numbers, no sets and no addresses of objects. Beyond ASCII it has
none of Unicode's tables but that of blanks: others differ between versions of Python. What it may
call is a closed list, and rendering has budgets: steps, characters that are read or made, and calls
within calls. They are counted, so that no result depends on a machine's speed, memory or stack.

Specification, section 3. Features are those of Hugging Face's `apply_chat_template`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from types import BuiltinMethodType, FunctionType, GeneratorType, MethodType
from typing import Any, NoReturn

from jinja2 import TemplateError, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from assay.environments.base import Arguments, Message, ask
from assay.gate.template_syntax import INTEGER_END, TemplateSyntaxFault, add_meter, parse_template

#: Budgets of one rendering: steps, and more of them for each message after the first; characters
#: that are read or made, and more of them for each character of the messages; calls within calls.
#: An item of a list counts as `ITEM_SIZE` characters.
STEPS_MAX, STEPS_EACH, SIZE_MAX, SIZE_EACH, CALLS_MAX = 4_000, 250, 1 << 20, 64, 16
ITEM_SIZE = 16
#: Levels of lists and tables in one another.
VALUE_LEVELS = 16
#: The question with which a template is tried, as each part of the environment puts it.
PROBE = "7+15=?\n"
#: An answer, behind which a template writes what closes it.
_ANSWER = "7+15=22"
#: The template, in messages.
_CALLED = "the chat template in tokenizer_config.json"
#: The date that `strftime_now` always returns: Llama's templates write a date into the prompt.
_NOW = datetime(2024, 7, 26, tzinfo=UTC)
#: The supported directives. Others depend on the machine's zone or its C library, such as `%s`.
_TOLD = re.compile(r"(?:[^%]|%[aAbBdHIjmMpSyY%])*")
#: Filters and tests of Jinja that a template may have.
FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "indent", "int"),
    *("items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "replace", "reverse", "safe", "select", "selectattr", "sort", "string"),
    *("title", "tojson", "trim", "unique", "upper"),
)
TESTS = (
    *("boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt"),
    *("in", "integer", "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd"),
    *("sequence", "string", "true", "undefined", "upper"),
    *("==", "!=", ">", ">=", "<", "<=", "greaterthan", "lessthan"),
)
#: What a template may call besides macros.
FUNCTIONS = ("namespace", "raise_exception", "range", "strftime_now")
#: Attributes of values by their type. A table's own members come besides.
ATTRIBUTES: Mapping[type, frozenset[str]] = {
    str: frozenset(
        {
            *("capitalize", "count", "endswith", "find", "isalnum", "isalpha", "isdigit"),
            *("islower", "isspace", "isupper", "join", "lower", "lstrip", "removeprefix"),
            *("removesuffix", "replace", "rfind", "rsplit", "rstrip", "split", "splitlines"),
            *("startswith", "strip", "title", "upper"),
        }
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    LoopContext: frozenset(
        {
            *("changed", "cycle", "depth", "depth0", "first", "index", "index0", "last", "length"),
            *("nextitem", "previtem", "revindex", "revindex0"),
        }
    ),
}
#: Filters whose result has each value in full: only values that everybody writes alike.
_WRITING = frozenset(
    {"capitalize", "indent", "join", "lower", "replace", "safe", "string", "title", "tojson"}
    | {"trim", "upper"}
)
#: Methods, filters and tests that read Unicode's tables: of cases, letters and digits.
UNICODE_READERS = frozenset(
    {"capitalize", "dictsort", "float", "int", "isalnum", "isalpha", "isdigit", "islower"}
    | {"isspace", "isupper", "lower", "max", "min", "sort", "title", "unique", "upper"}
)
#: Methods and filters that compare a text with their argument anew at each character.
_SLOW = frozenset({"lstrip", "rfind", "rsplit", "rstrip", "strip", "trim"})
_VIEWS: tuple[type[Any], ...] = (type({}.keys()), type({}.values()), type({}.items()))
_SIZED = frozenset({str, list, tuple, dict, range, *_VIEWS})
_PLAIN = (float, bool, type(None))
#: Values that have no text that is the same in each process.
_HIDDEN = (
    *(Macro, LoopContext, Namespace, GeneratorType),
    *(BuiltinMethodType, FunctionType, MethodType, type),
)


class TemplateFault(ValueError):
    """A template that failed, or that is beyond a budget, for one prompt."""


@dataclass(slots=True)
class _Budget:
    """What is left for one rendering."""

    size: int = SIZE_MAX
    steps: int = STEPS_MAX
    calls: int = CALLS_MAX

    def spend(self, size: int = 0, steps: int = 1) -> None:
        """Count steps, and characters or items. Raises a TemplateFault where none are left."""
        self.steps -= steps
        self.size -= size
        if self.steps < 0 or self.size < 0:
            raise TemplateFault("it takes more than its budget")


class _Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox in which everything that takes time or memory is counted first."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _Generation],
            finalize=_finalize,
            optimized=False,  # a constant would be computed uncounted
        )
        known = self.filters | {"safe": str, "tojson": _write_json}
        self.filters = {name: _bound_filter(self, name, known[name]) for name in FILTERS}
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {name: _bound_test(self, name, tests[name]) for name in TESTS}
        functions = {"raise_exception": _raise, "strftime_now": _tell_time}
        self.globals = {name: (self.globals | functions)[name] for name in FUNCTIONS}
        self.budget = _Budget()

    # --- what the compiled template calls, see `template_syntax.add_meter`

    def weigh(self, value: Any, *, written: bool = False, free: int | None = None) -> Any:
        """Count a value with all that is in it, and return it.

        Args:
            written: it will be text, so it must have one that is the same for everybody.
            free: levels of it whose texts need not be ASCII. None: all, or the first one if it is
                written: within a list, Python escapes what its own Unicode cannot print.

        Raises:
            TemplateFault: it is beyond the budget, nested too deeply, or has no such text.
        """
        level, free = [value], (1 if written else VALUE_LEVELS) if free is None else free
        for depth in range(VALUE_LEVELS):
            inner: list[Any] = []
            for part in level:
                kind = type(part)
                if kind is str:
                    self.budget.spend(len(part), 0)
                    if depth >= free and not part.isascii():
                        raise TemplateFault("it needs a table of Unicode for a text beyond ASCII")
                elif kind is int:
                    if not -INTEGER_END < part < INTEGER_END:
                        raise TemplateFault("it makes an integer that is too large")
                elif kind in (list, tuple, dict, *_VIEWS):
                    self.budget.spend(ITEM_SIZE * len(part), 0)
                    inner += part
                    if kind is dict:
                        inner += part.values()
                elif kind is range:
                    self.budget.spend(ITEM_SIZE * len(part), 0)
                elif not (
                    kind in _PLAIN
                    or isinstance(part, Undefined)
                    or (isinstance(part, _HIDDEN) and not written and depth < free)
                ):
                    raise TemplateFault(f"it uses a {kind.__name__} as a value")
            if not inner:
                return value
            level = inner
        raise TemplateFault(f"it makes a value nested deeper than {VALUE_LEVELS} levels")

    def count_items(self, items: Any) -> Any:
        """Items that a loop goes through; each is a step."""
        if isinstance(items, GeneratorType):
            return self.count_lazily(items)
        if type(items) in _SIZED:
            self.budget.spend(ITEM_SIZE * len(items), len(items))
        return items

    def count_lazily(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.budget.spend(ITEM_SIZE)
            yield item

    def join_texts(self, *values: Any) -> str:
        """The operator `~`."""
        self.budget.spend()
        for value in values:
            self.weigh(value, written=True)
        return str_join(values)

    # --- what Jinja's sandbox asks

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.budget.spend()
        for value in (left, right):
            if isinstance(value, Set):  # their order differs in each process
                raise TemplateFault("there are no sets")
            self.weigh(value)
        if operator == "%" and isinstance(left, str):
            raise TemplateFault("% formats no text here")
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(times, int):
                    each = 1 if isinstance(one, str) else ITEM_SIZE
                    self.budget.spend(each * len(one) * max(0, times), 0)
        return self.weigh(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(__obj, "__self__", None) is __self:  # our own, which count for themselves
            return __obj(*args)  # without the variables that Jinja adds for functions of a context
        __self.budget.spend()
        for value in (*args, *kwargs.values()):
            __self.weigh(value)
        if isinstance(__obj, LoopContext) and args:
            args = (__self.count_items(args[0]), *args[1:])
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", None)
        if isinstance(owner, str | list | tuple):
            __self.weigh(owner)
        if isinstance(owner, str):
            __self.count_comparisons(name, owner, *args, *kwargs.values())
            args = __self.bound_text(name, owner, args)
        with __self._deeper():
            return __self.weigh(super().call(__context, __obj, *args, **kwargs))

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """One call within another."""
        self.budget.calls -= 1
        if self.budget.calls < 0:
            raise TemplateFault(f"it calls more than {CALLS_MAX} times within a call")
        yield
        self.budget.calls += 1

    def count_comparisons(self, name: str | None, text: str, *args: Any) -> None:
        """Count what a text's method or filter will compare."""
        if name in _SLOW:
            self.budget.spend(sum(len(text) * len(part) for part in args if type(part) is str), 0)

    def bound_text(self, name: str | None, text: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Count what a text's method or filter will make, before it makes it. Returns the arguments
        to use."""
        if name in UNICODE_READERS:
            self.weigh(text, free=0)
        if name == "replace" and len(args) >= 2:
            old, new = str(args[0]), str(args[1])
            times = text.count(old) if old else len(text) + 1
            self.budget.spend(times * len(new), 0)
        elif name == "join" and args:
            parts = list(self.count_items(args[0]))
            self.weigh(parts, written=True, free=2)
            self.budget.spend(len(parts) * len(text), 0)
            return (parts, *args[1:])
        return args

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        return attr in ATTRIBUTES.get(type(obj), ())

    def wrap_str_format(self, value: Any) -> None:
        """A text's `format` is no attribute that a template may use."""
        return

    def getitem(self, obj: Any, argument: Any) -> Any:
        found = super().getitem(obj, argument)
        return self.weigh(found) if isinstance(argument, slice) else found


class ChatTemplate:
    """A compiled template. Safe to share between threads.

    Args:
        source: Jinja 2.
        special_tokens: names such as `bos_token` → their texts.

    Raises:
        ValueError: it does not compile, or has parts that are not known here.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        self._sandbox = _Sandbox()
        self._lock = Lock()
        try:
            parsed = add_meter(self._sandbox, parse_template(self._sandbox, source))
            self._template = self._sandbox.from_string(parsed)
        except (TemplateSyntaxFault, TemplateError, SyntaxError) as error:
            raise ValueError(f"{_CALLED}: {error}") from None
        self._names = {**special_tokens, "tools": None, "documents": None}

    def find_closing(self, added: Iterable[str]) -> str | None:
        """Which of a tokenizer's added tokens stands right behind an answer, the longest that does.
        None: none, or the template fails."""
        said = (*ask(PROBE).messages, Message("assistant", _ANSWER))
        text = ""
        for first in ((), (Message("system", "x"),)):  # some templates need one, some allow none
            with suppress(ValueError):  # whoever asks a problem is told
                text = self.render((*first, *said))
                break
        _, found, behind = text.rpartition(_ANSWER)
        behind = behind.lstrip()
        closing = (token for token in added if found and token and behind.startswith(token))
        return max(closing, key=len, default=None)

    def render(
        self, messages: Sequence[Message], arguments: Arguments = (), tools: str = ""
    ) -> str:
        """Render messages, and behind a user's the beginning of the answer.

        Args:
            arguments: by which the template sees further names.
            tools: that the template is told of, in JSON; no text: none.

        Raises:
            TemplateFault: the template fails for these messages, for everybody.
        """
        written = [{"role": one.role, "content": one.content} for one in messages]
        begins = messages[-1].role == "user"
        names: dict[str, Any] = {**self._names, **dict(arguments)}
        names["tools"] = json.loads(tools) if tools else None
        size = len(tools) + sum(len(one.content) for one in messages)
        return self._render(names, written, size, begins)

    def render_probe(
        self,
        messages: Sequence[Mapping[str, Any]],
        begins: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
        arguments: Arguments = (),
    ) -> str:
        """Render a conversation that no model is asked, to see how the template writes one.

        Args:
            messages: of any role and with any fields, as Hugging Face's `apply_chat_template` takes
                them: plain values of JSON.
            begins: whether the beginning of an answer comes behind them.
            tools: that the template is told of.

        Raises:
            TemplateFault: as of `render`.
        """
        names: dict[str, Any] = {**self._names, **dict(arguments), "tools": tools}
        return self._render(names, messages, len(json.dumps([*messages, tools])), begins)

    def _render(
        self, names: dict[str, Any], messages: Sequence[Mapping[str, Any]], size: int, begins: bool
    ) -> str:
        names |= {"messages": [*messages], "add_generation_prompt": begins}
        with self._lock:
            self._sandbox.budget = _Budget(
                SIZE_MAX + SIZE_EACH * size, STEPS_MAX + STEPS_EACH * (len(messages) - 1)
            )
            try:
                text = self._template.render(names)
                text.encode()  # half a surrogate pair is not text
            except (MemoryError, RecursionError):
                raise  # our own lack: the budgets leave no template any way to cause it
            except Exception as error:  # noqa: BLE001 - foreign code, which fails alike for all
                reason = " ".join(str(error).split())[:200]
                roles = ", ".join(dict.fromkeys(one["role"] for one in messages))
                raise TemplateFault(
                    f"{_CALLED} fails for messages of {roles}: {type(error).__name__}: {reason}"
                ) from None
        return text


@pass_context
def _finalize(context: Context, value: Any) -> Any:
    """A value that is put out."""
    sandbox: Any = context.environment
    sandbox.budget.spend()
    return sandbox.weigh(value, written=True)


def _bound_filter(sandbox: _Sandbox, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose cost is counted."""
    passed = _find_passed(function)
    free = {"join": 2, "tojson": VALUE_LEVELS}.get(name, 0 if name in UNICODE_READERS else None)

    @pass_context
    def bounded(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        sandbox.budget.spend()
        if isinstance(value, GeneratorType):
            value = sandbox.count_items(value)
            value = [*value] if name in _WRITING | UNICODE_READERS else value
        for part in (value, *args, *kwargs.values()):
            sandbox.weigh(part, written=name in _WRITING, free=free)
        if name == "join":
            glue = str(args[0] if args else kwargs.get("d", ""))
            value = [*sandbox.count_items(value)]
            sandbox.budget.spend(len(value) * len(glue), 0)
        elif name == "replace":
            sandbox.bound_text(name, str(value), args)
        elif name == "trim":
            sandbox.count_comparisons(name, str(value), *args, *kwargs.values())
        elif name == "indent":
            width = args[0] if args else kwargs.get("width", 4)
            each = len(width) if isinstance(width, str) else int(width)
            sandbox.budget.spend(each * (str(value).count("\n") + 1), 0)
        elif name in ("int", "float") and isinstance(value, str) and len(value) > _DIGITS_MAX:
            raise TemplateFault("it reads a number of too many digits")
        elif name == "list" and isinstance(value, range):
            sandbox.count_items(value)
        found = function(*passed(context), value, *args, **kwargs)
        return sandbox.count_lazily(found) if isinstance(found, Iterator) else sandbox.weigh(found)

    return bounded


def _bound_test(sandbox: _Sandbox, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    passed = _find_passed(function)
    free = 0 if name in UNICODE_READERS - {"float"} else None  # the test asks for a type

    @pass_context
    def bounded(context: Context, value: Any, *args: Any) -> bool:
        sandbox.budget.spend()
        for part in (value, *args):
            sandbox.weigh(part, free=free)
        return bool(function(*passed(context), value, *args))

    return bounded


def _find_passed(function: Callable[..., Any]) -> Callable[[Context], tuple[Any, ...]]:
    """What Jinja passes to a function before its value, by how the function is marked."""
    mark = getattr(function, "jinja_pass_arg", None)
    ways: dict[str | None, Callable[[Context], tuple[Any, ...]]] = {
        None: lambda context: (),
        "context": lambda context: (context,),
        "eval_context": lambda context: (context.eval_ctx,),
        "environment": lambda context: (context.environment,),
    }
    return ways[None if mark is None else mark.name]


class _Generation(Extension):
    """`{% generation %}` marks the model's text for trainers, and changes nothing here."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


#: Digits that a filter reads as a number; characters of white space that JSON is indented by.
_DIGITS_MAX, _INDENT_MAX = 64, 16


def _write_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= _INDENT_MAX):
        raise TemplateFault(f"it indents JSON by more than {_INDENT_MAX}")
    if separators is not None and max(map(len, separators)) > _INDENT_MAX:
        raise TemplateFault(f"it separates JSON by more than {_INDENT_MAX} characters")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _tell_time(form: str) -> str:
    if _TOLD.fullmatch(form) is None:
        raise TemplateError(f"{form[:60]!r} is not a time format that templates may use")
    return _NOW.strftime(form)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
