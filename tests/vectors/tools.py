"""Vectors of tools: calls of each form, what the tools reply, environments that have them."""

from random import Random
from typing import Any

from assay.environments.base import Environment
from assay.environments.registry import make_environment
from assay.environments.tools import PROOFS, TOOLS, CallForm
from assay.environments.tools.calls import CALL_MAX, CallFault, read_call, write_call
from assay.environments.tools.proofs import FAULTY_TURNS
from assay.environments.tools.tool import Tool, describe_tool

Json = Any

#: What expressions are made of.
_PIECES = (
    *(
        "0",
        "1",
        "2",
        "7",
        "12",
        "3.5",
        ".25",
        "1000000007",
        "+",
        "-",
        "*",
        "/",
        "**",
        "^",
        "(",
        ")",
    ),
    *(" ", "(2+1)", "-3", "/0", "**2", "1.", ","),
)
#: What drawn turns are made of.
_BARE = '{"name": "calculator", "arguments": {"expression": "6*7"}}'
_MARKS = (
    *(_BARE, _BARE, _BARE.replace("arguments", "parameters"), f"[{_BARE}]"),
    _BARE.replace("6*7", "</think><tool_call></tool_call>[TOOL_CALLS]<|python_tag|>"),
    _BARE.replace("arguments", "parameters").replace("6*7", "</think><|python_tag|>"),
    *("<tool_call>", "<tool_call>", "</tool_call>", "</tool_call>", "</think>", "<|python_tag|>"),
    *("[TOOL_CALLS]", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "calculator", '{"expression": "1"}'),
    *("so", " ", "\r\n", "<function=calculator>", "<parameter=expression>", "</parameter>"),
    *("</function>", "{", '"', "x", "calculator: 1"),
)
_EXPRESSIONS, _MUTANTS, _DRAWN = 300, 40, 150


def make_tools() -> Json:
    random = Random(53)
    return {
        "tools": [
            {
                "name": tool.name,
                "described": describe_tool(tool),
                "proofs": [PROOFS[tool.name, form] for form in CallForm],
            }
            for tool in TOOLS.values()
            if tool.proof_arguments and not tool.identity  # of others, whoever has what they need
        ],
        "calls": [
            _read(turn, form, TOOLS["calculator"])
            for form in CallForm
            for turn in _list_turns(random, form)
        ],
        "expressions": [
            [text, TOOLS["calculator"].call(text, None)[0]]
            for text in (
                *TOOLS["calculator"].proof_arguments,
                *(
                    "".join(random.choices(_PIECES, k=random.randint(1, 9)))
                    for _ in range(_EXPRESSIONS)
                ),
            )
        ],
        "digests": [
            {
                "settings": {"answer_form": 0, "largest": 20, "tool": 1, "call_form": int(form)},
                "digest": _make(int(form)).digest.hex(),
            }
            for form in CallForm
        ],
    }


def _make(form: int) -> Environment:
    return make_environment("gsm", {"tool": 1, "call_form": form})


def _list_turns(random: Random, form: CallForm) -> list[str]:
    """The proof episodes' turns, and calls with characters left out, doubled or exchanged."""
    tool = TOOLS["calculator"]
    turns = [
        turn.replace("$tool", tool.name).replace("$argument", tool.argument)
        for turn in FAULTY_TURNS
    ]
    turns += [write_call(text, form, tool) for text in ("1+1", 'say "\\" \n\u00e9\U0001f600')]
    if form is CallForm.HERMES:  # at its limit of characters, which are not bytes, and above
        around = len(write_call("", form, tool)) - len("<tool_call></tool_call>")
        turns += [write_call("\U0001f600" * (CALL_MAX - around + i), form, tool) for i in range(2)]
    turns += ["".join(random.choices(_MARKS, k=random.randint(1, 9))) for _ in range(_DRAWN)]
    for _ in range(_MUTANTS):
        written = write_call("6*7", form, tool)
        for _ in range(random.randint(1, 3)):
            at, length = random.randrange(len(written)), random.randint(1, 6)
            piece = written[at : at + length]
            written = (
                written[:at] + random.choice(("", piece * 2, piece[::-1])) + written[at + length :]
            )
        turns.append(written)
    return turns


def _read(turn: str, form: CallForm, tool: Tool) -> Json:
    call = read_call(turn, form, tool)
    is_fault = isinstance(call, CallFault)
    return {"form": int(form), "turn": turn, "call": call, "fault": is_fault}
