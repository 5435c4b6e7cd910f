"""The chat template: turns a problem into the prompt that a model was trained to answer.

A trainer writes the template and all others run it. Its result must be the same for all of them,
and it must not crash a program. Jinja's sandbox keeps it away from files and the interpreter. Here
it also has no clock and no random numbers. Where it cannot make a prompt, the plain text is used.

This module cannot limit a template's run time, nor hide addresses of objects that it prints. A
trainer who wants windows to fail has easier ways.

Specification, section 3. Features are those of Hugging Face's `apply_chat_template`.
"""

import json
import re
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: The date that `strftime_now` always returns: Llama's templates write a date into the prompt.
_NOW = datetime(2024, 7, 26, tzinfo=UTC)
#: The supported directives. Others depend on the machine's zone or its C library, such as `%s`.
_TOLD = re.compile(r"(?:[^%]|%[aAbBdHIjmMpSyY%])*")


class _Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox without sets, whose order differs in each process. `-` of dictionaries' keys makes
    one."""

    intercepted_binops = frozenset({"-"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, Set) or isinstance(right, Set):
            raise TemplateError("there are no sets")
        return super().call_binop(context, operator, left, right)


class ChatTemplate:
    """A compiled template.

    Args:
        source: Jinja 2.
        special_tokens: names such as `bos_token` → their texts.

    Raises:
        ValueError: it does not compile.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        extensions = [loopcontrols, _Generation]
        environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        del environment.filters["random"], environment.globals["lipsum"]
        environment.filters["tojson"] = _write_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = _tell_time
        try:
            self._template = environment.from_string(source)
        except (TemplateError, RecursionError, SyntaxError) as error:
            raise ValueError(f"its chat template does not compile: {error}") from None
        self._names = {**special_tokens, "tools": None, "documents": None}

    def render(self, prompt: str) -> str:
        """Render the prompt as a user's message, and the beginning of the answer. Where the
        template fails, return the prompt itself."""
        message = {"role": "user", "content": prompt}
        try:
            text = self._template.render(
                messages=[message], add_generation_prompt=True, **self._names
            )
            text.encode()  # half a surrogate pair is not text
            return text
        except Exception:  # noqa: BLE001 - foreign code; all that read this fail alike
            return prompt


class _Generation(Extension):
    """`{% generation %}` marks the model's text for trainers, and changes nothing here."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _write_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _tell_time(form: str) -> str:
    if _TOLD.fullmatch(form) is None:
        raise TemplateError(f"{form[:60]!r} is not a time format that templates may use")
    return _NOW.strftime(form)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
