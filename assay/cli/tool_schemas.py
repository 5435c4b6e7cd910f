"""Every command as a tool that an agent can call: its name, what it does, a schema of its input.

    assay env vet gsm --problems 8 --json

is the tool `assay_env_vet` with `{"path": "gsm", "problems": 8, "json": true}`: each property says
by `x-flag` which option it is, or by `x-position` which argument. All comes from the declarations
that `--help` shows, so a command cannot be forgotten here.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, TypedDict

import typer
from pydantic import TypeAdapter
from typer.core import TyperArgument

#: JSON Schema, draft 2020-12.
Schema = dict[str, Any]
_CHOICES = re.compile(r"[a-z0-9-]+(\|[a-z0-9-]+)+")


class Tool(TypedDict):
    """One command.

    Attributes:
        name: the command's words with `_` between them.
        command: these words.
        prints_json: whether it has `--json`: one document on stdout, all else on stderr.
        asks: whether it asks for a confirmation, because it sends something to a chain or a store
            that cannot be taken back; `yes` answers.
        example: lines for a shell.
        input_schema: of an object with a property for each argument and option.
    """

    name: str
    command: list[str]
    description: str
    prints_json: bool
    asks: bool
    example: str
    input_schema: Schema


def find_commands(command: Any, path: str = "assay") -> Iterator[tuple[str, Any]]:
    """All that can be typed, in the order of `--help`, with typer's command."""
    below = getattr(command, "commands", {})
    if not below or command.invoke_without_command:
        yield path, command
    for name, each in below.items():
        if not each.hidden:
            yield from find_commands(each, f"{path} {name}")


def list_parameters(path: str, command: Any) -> list[Any]:
    """A command's arguments and options, without `--help` and what is hidden."""
    return [
        parameter
        for parameter in command.get_params(typer.Context(command, info_name=path))
        if parameter.name != "help" and not getattr(parameter, "hidden", False)
    ]


def describe_tools(root: Any) -> list[Tool]:
    """All commands below the root, in the order of `--help`."""
    return [_describe(path, each) for path, each in find_commands(root) if path != "assay"]


def _describe(path: str, command: Any) -> Tool:
    properties: dict[str, Schema] = {}
    required, positions = [], 0
    for parameter in list_parameters(path, command):
        kind = _describe_value(parameter)
        if isinstance(parameter, TyperArgument):
            name, positions = parameter.name, positions + 1
            kind["x-position"] = positions - 1
        else:
            flag = max(parameter.opts, key=len)
            name, kind["x-flag"] = flag.lstrip("-").replace("-", "_"), flag
            if parameter.secondary_opts:
                kind["x-flag-for-false"] = parameter.secondary_opts[0]
        properties[name] = kind
        if parameter.required:
            required.append(name)
    return {
        "name": path.replace(" ", "_").replace("-", "_"),
        "command": path.split(),
        "description": inspect.cleandoc(command.help or "").replace("\b\n", ""),
        "prints_json": "json" in properties,
        "asks": "yes" in properties,
        "example": command.epilog or "",
        "input_schema": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
    }


def _describe_value(parameter: Any) -> Schema:
    schema = TypeAdapter(parameter.type_descriptor.annotation).json_schema()
    schema.pop("format", None)  # a path is a text
    one = schema.get("items", schema)
    one.pop("format", None)
    one |= {
        name: bound
        for name, bound in (("minimum", parameter.min), ("maximum", parameter.max))
        if bound is not None
    }
    if one.get("type") == "string" and _CHOICES.fullmatch(parameter.metavar or ""):
        one["enum"] = parameter.metavar.split("|")
    text = " ".join((parameter.help or "").split())
    return schema | ({"description": text} if text else {})
