"""`assay tools`."""

import typer

from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson

app = typer.Typer(cls=PagedGroup)


@command(app, "tools", "assay tools --json")
def tools(invocation: Invocation, as_json: AsJson = False) -> None:
    """List all commands with schemas of their input, for an agent.

    With --json each is an object: name, command, description, example, `input_schema` (JSON Schema;
    `x-flag` and `x-position` say how a property is typed), whether it prints JSON, and whether it
    asks before it sends something that cannot be taken back. `assay mcp` serves what only reads.
    """
    from assay.cli.console import make_table, print_result
    from assay.cli.tool_schemas import describe_tools

    described = describe_tools(invocation.find_root().command)
    view = make_table("command", "JSON", "asks", "what it does")
    for tool in described:
        first = " ".join(tool["description"].partition("\n\n")[0].split())
        marks = ("yes" if is_so else "" for is_so in (tool["prints_json"], tool["asks"]))
        view.add_row(" ".join(tool["command"]), *marks, first)
    print_result(described, as_json, view)
