"""Calls of a tool in a turn, in the forms that models know.

    read_call("Six sevens:\\ncalculator: 6*7", CallForm.LINE, Calculator())  # "6*7"
    read_call("#### 42", CallForm.LINE, Calculator())                        # None: the answer

A turn has one call and nothing behind it. What it says before the last `</think>` is thought, and a
call there is none. Specification: the environments' page.
"""

import json
from collections.abc import Callable
from enum import IntEnum

from assay.environments.base import BLANKS
from assay.environments.tools.json_reader import JsonFault, Value, read_json
from assay.environments.tools.tool import Tool

#: Most characters of a call.
CALL_MAX = 1 << 14


class CallForm(IntEnum):
    """The value of the setting `call_form`."""

    LINE = 0
    HERMES = 1
    LLAMA = 2
    XML = 3
    MISTRAL = 4

    @property
    def word(self) -> str:
        """How people write it."""
        return ("line", "hermes", "llama", "xml", "mistral")[self]


class CallFault(str):
    """The reply to a call that cannot be read."""

    __slots__ = ()


_THOUGHT = "</think>"
_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_PYTHON = "<|python_tag|>"
_CALLS, _ARGS = "[TOOL_CALLS]", "[ARGS]"
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"


class _Fault(Exception):
    """A call that cannot be read: what the reply says of it."""


def read_call(turn: str, form: CallForm, tool: Tool) -> str | None:
    """The argument with which a turn calls a tool.

    Returns:
        A `CallFault` where the call cannot be read; None where there is none, so that the turn is
        the answer.
    """
    answer = turn.rpartition(_THOUGHT)[2]
    try:
        return _READERS[form](answer, tool)
    except _Fault as fault:
        return CallFault(f"error: {fault}")


def write_call(argument: str, form: CallForm, tool: Tool) -> str:
    """A turn that calls a tool, as `read_call` reads it. In `LINE` and `XML` an argument may have
    no such text as the form's own."""
    given = {tool.argument: argument}
    return {
        CallForm.LINE: f"{tool.name}: {argument}",
        CallForm.HERMES: f"{_OPENING}\n{_write(tool, 'arguments', given)}\n{_CLOSING}",
        CallForm.LLAMA: _write(tool, "parameters", given),
        CallForm.XML: (
            f"{_OPENING}\n{_FUNCTION}{tool.name}>\n{_PARAMETER}{tool.argument}>\n{argument}\n"
            f"{_PARAMETER_END}\n{_FUNCTION_END}\n{_CLOSING}"
        ),
        CallForm.MISTRAL: f"{_CALLS}[{_write(tool, 'arguments', given)}]",
    }[form]


def _write(tool: Tool, name: str, given: dict[str, str]) -> str:
    return json.dumps({"name": tool.name, name: given}, ensure_ascii=False)


def _read_line(turn: str, tool: Tool) -> str | None:
    """The rest of the last line, if it begins with the tool's name and a colon."""
    turn = turn.strip(BLANKS)
    last = turn[max(turn.rfind(end) for end in "\r\n") + 1 :]
    name, colon, argument = last.partition(":")
    if name != tool.name or not colon:
        return None
    return _bound(argument).strip(BLANKS)


def _read_hermes(turn: str, tool: Tool) -> str | None:
    body = _cut_tagged(turn)
    return None if body is None else _read_named(_parse(body), tool, "arguments")


def _read_llama(turn: str, tool: Tool) -> str | None:
    turn = turn.strip(BLANKS)
    body = turn.removeprefix(_PYTHON)
    if body == turn and not turn.startswith("{"):
        return None
    call = _parse(_bound(body))
    if isinstance(call, dict) and call.get("type") == "function":
        del call["type"]
    return _read_named(call, tool, "parameters")


def _read_xml(turn: str, tool: Tool) -> str | None:
    body = _cut_tagged(turn)
    if body is None:
        return None
    odd = _Fault(f"the call is not {_FUNCTION}name>, one {_PARAMETER}name>, and their ends")
    opening, named, rest = body.strip(BLANKS).partition(">")
    name = opening.removeprefix(_FUNCTION)
    if name == opening or not named or not rest.endswith(_FUNCTION_END):
        raise odd
    inner = rest.removesuffix(_FUNCTION_END).strip(BLANKS)
    opening, named, rest = inner.partition(">")
    argument = opening.removeprefix(_PARAMETER)
    value, closed, behind = rest.partition(_PARAMETER_END)
    if argument == opening or not named or not closed or behind:
        raise odd
    value = value.removeprefix("\n").removesuffix("\n")
    return _take(name, {argument: value}, tool)


def _read_mistral(turn: str, tool: Tool) -> str | None:
    _, found, body = turn.partition(_CALLS)
    if not found:
        return None
    if _CALLS in body:
        raise _Fault("a turn has one call")
    body = _bound(body).strip(BLANKS)
    name, found, given = body.partition(_ARGS)
    if found and not body.startswith("["):
        return _take(name.strip(BLANKS), _parse(given), tool)
    calls = _parse(body)
    if not isinstance(calls, list):
        raise _Fault("the call is no list of one")
    if len(calls) != 1:
        raise _Fault("a turn has one call")
    call = calls[0]
    if isinstance(call, dict) and isinstance(call.get("id"), str):
        del call["id"]
    return _read_named(call, tool, "arguments")


_READERS: dict[CallForm, Callable[[str, Tool], str | None]] = {
    CallForm.LINE: _read_line,
    CallForm.HERMES: _read_hermes,
    CallForm.LLAMA: _read_llama,
    CallForm.XML: _read_xml,
    CallForm.MISTRAL: _read_mistral,
}


def _bound(call: str) -> str:
    if len(call) > CALL_MAX:
        raise _Fault("the call is too long")
    return call


def _cut_tagged(turn: str) -> str | None:
    """What stands between the tags of a call; None without one."""
    _, found, body = turn.partition(_OPENING)
    if not found:
        return None
    if _OPENING in body:
        raise _Fault("a turn has one call")
    body, closed, rest = body.partition(_CLOSING)
    if not closed:
        raise _Fault("the call has no end")
    if rest.strip(BLANKS):
        raise _Fault("there is something behind the call")
    return _bound(body)


def _parse(text: str) -> Value:
    try:
        return read_json(text)
    except JsonFault as fault:
        raise _Fault(f"the call {fault}") from None


def _read_named(call: Value, tool: Tool, name: str) -> str:
    """The argument of a call in JSON, whose arguments are under `name`."""
    if not isinstance(call, dict) or len(call) != 2 or "name" not in call or name not in call:
        raise _Fault(f'a call has "name" and "{name}"')
    return _take(call["name"], call[name], tool)


def _take(name: Value, given: Value, tool: Tool) -> str:
    if name != tool.name:
        raise _Fault(f"the only tool is {tool.name}")
    argument = given.get(tool.argument) if isinstance(given, dict) and len(given) == 1 else None
    if not isinstance(argument, str):
        raise _Fault(f"{tool.name} takes {tool.argument}, a string")
    return argument
