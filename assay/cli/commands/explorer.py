"""`assay explorer`."""

import typer

from assay.cli import start
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Quiet, ledger, network
from assay.cli.saying import choose_say

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "explorer",
    "assay explorer --dir assay-demo",
    lambda s: (s.explorer, *ledger(s), *network(s), s.store.readable),
)
def explorer(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Serve web pages of a validator's public record, and of its live state if there is any.

    `assay explorer --dir assay-demo` shows a run of `assay demo`, even while it runs. Without --dir
    it looks in assay-demo, then in assay-localnet. The pages are read only and load nothing from
    elsewhere. Each number has the command that recomputes it. Exit codes: 0 stopped by request, 2
    nothing to show, or no port to serve it on.
    """
    if not quiet:
        start.announce("opening the explorer")
    from assay.cli.explorer import make_request, show_explorer
    from assay.explorer.serving import serve_explorer

    say = choose_say(quiet)
    request = make_request(invocation.source)
    serve_explorer(request, lambda address: show_explorer(address, as_json, say), say)
