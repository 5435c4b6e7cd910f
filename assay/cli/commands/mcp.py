"""`assay mcp`."""

from typing import Annotated

import typer

from assay.cli import start
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import ledger, network

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "mcp",
    "assay mcp --dir assay-demo",
    lambda s: (
        s.explorer.dir,
        s.explorer.record,
        s.explorer.hotkey,
        s.explorer.trainer,
        *ledger(s),
        *network(s),
        s.store.readable,
    ),
)
def mcp(
    invocation: Invocation,
    explorer: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Ask an explorer that is served already, here or elsewhere."
        ),
    ] = None,
) -> None:
    """Serve explorer and status to an agent, as tools of the Model Context Protocol, read only.

    It speaks on stdin and stdout, so an agent's program starts it: name this command in its list of
    MCP servers. What it shows is chosen as for `assay explorer`; no port is opened. It needs the
    extra `mcp`. Exit codes: 0 the agent has closed it, 2 nothing to show.
    """
    start.announce("opening the explorer")
    from assay.network.extras import require_package

    require_package("assay mcp", "mcp", "mcp")
    from assay.cli.mcp_session import serve_agent

    serve_agent(invocation.source, explorer)
