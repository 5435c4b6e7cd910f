"""What `assay mcp` serves."""

import sys
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from assay.cli.explorer import make_request
from assay.cli.settings_source import SettingsSource
from assay.cli.status_view import look_at_all, look_at_run
from assay.explorer.mcp_server import run_in_process, serve_tools
from assay.explorer.serving import ExplorerOpening
from assay.explorer.waiting_app import WaitingApp
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings

#: Seconds in which a record of this machine is open: a first question is rarely told to wait.
_OPENING_S = 8.0


def serve_agent(source: SettingsSource, explorer: str | None) -> None:
    """Serve until stdin ends.

    Args:
        explorer: the address of one that is served; None: open what `source` names in this process.

    Raises:
        OperatorError, OSError: there is nothing to show.
    """
    if explorer is not None:
        if not _is_address(explorer):
            raise ConfigError(f"--explorer {explorer}: name an address, as http://127.0.0.1:8400")
        anyio.run(_serve_elsewhere, explorer, partial(_read_status, source.load()))
        return
    request = make_request(source)
    with ExitStack() as stack:
        waiting = WaitingApp(("127.0.0.1",), rate=1_000.0)  # nobody else can ask
        opening = ExplorerOpening(request, stack, waiting, ("127.0.0.1",), _say)
        stack.callback(opening.stop)
        opening.start(lambda: None)
        opening.wait(_OPENING_S)
        anyio.run(_serve_here, waiting, partial(_read_status, request.settings))
        opening.stop()


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False


async def _serve_here(waiting: WaitingApp, read_status: Any) -> None:
    async with run_in_process(waiting) as client:
        await serve_tools(client, read_status, version("assay"))


async def _serve_elsewhere(address: str, read_status: Any) -> None:
    async with httpx2.AsyncClient(base_url=address, timeout=None) as client:
        await serve_tools(client, read_status, version("assay"))


def _read_status(settings: Settings) -> Any:
    """Of the folder that is shown if it is a program's, else of what runs in the usual ones."""
    if settings.explorer.dir is not None:
        return look_at_run(settings.explorer.dir, settings.demo.out)[0]
    return look_at_all(settings)[0]


def _say(line: str) -> None:
    print(f"assay: {line}", file=sys.stderr, flush=True)
