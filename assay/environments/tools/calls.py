"""Calls of a tool in a turn, in the forms that models know.

    read_call("Six sevens:\\ncalculator: 6*7", CallForm.LINE, Calculator())  # "6*7"
    read_call("#### 42", CallForm.LINE, Calculator())                        # None: the answer

A turn has one call and nothing behind it. What it says before the last `</think>` is thought, and a
call there is none; but a form's own marks may stand in a string of a call's JSON, so a whole call
at the turn's end is looked for first. Specification: the environments' page.
"""

import json
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

from assay.environments.base import BLANKS, THOUGHT, cut_thought
from assay.environments.tools.json_reader import JsonFault, Value, read_json, read_json_start
from assay.environments.tools.tool import Tool

#: Most characters of a call, and most marks of a turn, the last ones, behind which one is tried.
CALL_MAX, MARKS_MAX = 1 << 14, 8


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


_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_PYTHON = "<|python_tag|>"
_CALLS, _CALL_ID, _ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
#: A function's name and a call's id, as Mistral's models write them.
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_SPACE = re.compile(f"[{BLANKS}]*")
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"


class _Fault(Exception):
    """A call that cannot be read: what the reply says of it."""


class _Call(NamedTuple):
    """A call in JSON: the name, and the arguments, which may be text with JSON again."""

    name: str
    given: Value


def read_call(turn: str, form: CallForm, tool: Tool) -> str | None:
    """The argument with which a turn calls a tool.

    Returns:
        A `CallFault` where the call cannot be read; None where there is none, so that the turn is
        the answer.
    """
    try:
        marked = _MARKED.get(form)
        call = None if marked is None else _find_whole(turn, *marked)
        if call is not None:
            return _take(call, tool)
        return _READERS[form](cut_thought(turn), tool)
    except _Fault as fault:
        return CallFault(f"error: {fault}")


def _find_whole(
    turn: str, mark: re.Pattern[str], closing: str, read: Callable[[str], tuple[_Call, int]]
) -> _Call | None:
    """The call of the first mark behind which a whole one follows, and then nothing: what looks
    like a mark in its JSON is none.

    Raises:
        _Fault: there is a whole call before it that no thought ends behind.
    """
    before = -1
    for found in deque(mark.finditer(turn), MARKS_MAX):
        start = found.end()
        try:
            call, size = read(turn[start : start + CALL_MAX])
        except _Fault:
            continue
        end = _skip(turn, start + size)
        if not turn.startswith(closing, end):
            continue
        end += len(closing)
        if _skip(turn, end) < len(turn):
            before = end
            continue
        if 0 <= before <= found.start() and THOUGHT not in turn[before:start]:
            raise _Fault("a turn has one call")
        return call
    return None


def _skip(text: str, at: int) -> int:
    """The place behind the blanks that stand at a place."""
    found = _SPACE.match(text, at)
    assert found is not None, "it may be empty"
    return found.end()


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
    return _take(_name(_parse(_bound(body)), "arguments"), tool)


def _read_llama(turn: str, tool: Tool) -> str | None:
    turn = turn.strip(BLANKS)
    _, found, body = turn.partition(_PYTHON)
    if turn.startswith("{"):
        body = turn
    elif not found:
        return None
    return _take(_name_llama(_parse(_bound(body))), tool)


def _read_xml(turn: str, tool: Tool) -> str | None:
    """A value has no end of its own in this form: it goes on to the call's last mark of one."""
    _, found, body = turn.partition(_OPENING)
    if not found:
        return None
    if _OPENING in body.partition(_CLOSING)[2]:
        raise _Fault("a turn has one call")
    body, closed, rest = body.rpartition(_CLOSING)
    if not closed:
        raise _Fault("the call has no end")
    if rest.strip(BLANKS):
        raise _Fault("there is something behind the call")
    odd = _Fault(f"the call is not {_FUNCTION}name>, one {_PARAMETER}name>, and their ends")
    opening, named, rest = _bound(body).strip(BLANKS).partition(">")
    name = opening.removeprefix(_FUNCTION)
    if name in ("", opening) or not named or not rest.endswith(_FUNCTION_END):
        raise odd
    inner = rest.removesuffix(_FUNCTION_END).strip(BLANKS)
    opening, named, rest = inner.partition(">")
    argument = opening.removeprefix(_PARAMETER)
    value, closed, behind = rest.rpartition(_PARAMETER_END)
    if argument == opening or not named or not closed or behind:
        raise odd
    value = value.removeprefix("\n").removesuffix("\n")
    return _take(_Call(name, {argument: value}), tool)


def _read_mistral(turn: str, tool: Tool) -> str | None:
    _, found, body = turn.partition(_CALLS)
    if not found:
        return None
    if _CALLS in body:
        raise _Fault("a turn has one call")
    body = _bound(body).strip(BLANKS)
    name, start = _read_head(body)
    if name:
        return _take(_Call(name, _parse(body[start:])), tool)
    return _take(_name_listed(_parse(body)), tool)


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


def _parse(text: str) -> Value:
    try:
        return read_json(text)
    except JsonFault as fault:
        raise _Fault(f"the call {fault}") from None


def _parse_start(text: str) -> tuple[Value, int]:
    try:
        return read_json_start(text)
    except JsonFault as fault:
        raise _Fault(f"the call {fault}") from None


def _start_hermes(text: str) -> tuple[_Call, int]:
    found, end = _parse_start(text)
    return _name(found, "arguments"), end


def _start_llama(text: str) -> tuple[_Call, int]:
    found, end = _parse_start(text)
    return _name_llama(found), end


def _start_mistral(text: str) -> tuple[_Call, int]:
    name, start = _read_head(text)
    found, end = _parse_start(text[start:])
    return _Call(name, found) if name else _name_listed(found), start + end


#: By form: what opens a call, what closes one, and what reads one at the beginning of a text.
_MARKED = {
    CallForm.HERMES: (re.compile(re.escape(_OPENING)), _CLOSING, _start_hermes),
    CallForm.LLAMA: (
        re.compile(rf"(?:\A|{THOUGHT})(?=[{BLANKS}]*\{{)|{re.escape(_PYTHON)}"),
        "",
        _start_llama,
    ),
    CallForm.MISTRAL: (re.compile(re.escape(_CALLS)), "", _start_mistral),
}


def _read_head(text: str) -> tuple[str, int]:
    """The name at the beginning of a call that is no list, and where its arguments begin; no name
    and 0, if there is none."""
    head, found, _ = text.partition("{")
    marked = head.strip(BLANKS).removesuffix(_ARGS)
    name, called, call_id = marked.partition(_CALL_ID)
    name = name.strip(BLANKS)
    is_odd = called and not _WORD.fullmatch(call_id.strip(BLANKS))
    return (name, len(head)) if found and _WORD.fullmatch(name) and not is_odd else ("", 0)


def _name(call: Value, under: str) -> _Call:
    """A call in JSON, whose arguments are under a name."""
    if not isinstance(call, dict) or len(call) != 2 or "name" not in call or under not in call:
        raise _Fault(f'a call has "name" and "{under}"')
    name = call["name"]
    if not isinstance(name, str):
        raise _Fault("the call has a name that is no string")
    return _Call(name, call[under])


def _name_llama(call: Value) -> _Call:
    if isinstance(call, dict) and call.get("type") == "function":
        del call["type"]
    return _name(call, "parameters")


def _name_listed(calls: Value) -> _Call:
    if not isinstance(calls, list):
        raise _Fault("the call is no list of one")
    if len(calls) != 1:
        raise _Fault("a turn has one call")
    call = calls[0]
    if isinstance(call, dict) and isinstance(call.get("id"), str):
        del call["id"]
    return _name(call, "arguments")


def _take(call: _Call, tool: Tool) -> str:
    """The argument of a call."""
    if call.name != tool.name:
        raise _Fault(f"the only tool is {tool.name}")
    given = call.given
    if isinstance(given, str):
        with suppress(JsonFault):
            given = read_json(given)
    argument = given.get(tool.argument) if isinstance(given, dict) and len(given) == 1 else None
    if not isinstance(argument, str):
        raise _Fault(f"{tool.name} takes {tool.argument}, a string")
    return argument
