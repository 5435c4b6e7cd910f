"""Writes commands.md: every command with its arguments and options, as `--help` has them.

python docs/commands.py          # rewrites it
python docs/commands.py --check  # exit 1 if it differs
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import typer
from page_parts import fill, write_or_check

from assay.cli.app import app
from assay.cli.help_pages import name_value
from assay.cli.tool_schemas import find_commands, list_parameters

PAGE = Path(__file__).with_name("commands.md")


def show_parameter(parameter: Any, context: typer.Context) -> str:
    word, help_text = parameter.get_help_record(context) or (parameter.name, "")
    word = name_value(word)
    word, help_text = (" ".join(text.split()).replace("|", "\\|") for text in (word, help_text))
    help_text = re.sub(r"<(?=[a-z])", "&lt;", help_text)  # else it would be a tag
    return f"| `{word}` | {help_text} |"


def make_section(path: str, command: Any) -> str:
    context = typer.Context(command, info_name=path)
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    shown = list_parameters(path, command)
    lines = [f"## {path}", "", text]
    if shown:
        lines += ["", "| argument or option | what it says |", "|---|---|"]
        lines += [show_parameter(parameter, context) for parameter in shown]
    if command.epilog:
        lines += ["", *(f"    {line}" for line in command.epilog.splitlines())]
    return "\n".join(lines)


def main() -> int:
    command = typer.main.get_command(app)
    sections = [make_section(*found) for found in find_commands(command) if found[0] != "assay"]
    return write_or_check(
        {PAGE: fill(PAGE.read_text(), {"commands": "\n\n".join(sections)}, PAGE.name)}
    )


if __name__ == "__main__":
    sys.exit(main())
