"""The time between a command's checks and its work: what is loaded and opened, and who agrees."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from assay.cli.checks import require_problem_files
from assay.cli.hub_names import open_data
from assay.cli.interrupts import importing

if TYPE_CHECKING:
    from assay.network.consent import Consent
    from assay.settings.sections import Settings

TORCH, WEB3 = "PyTorch", "web3"


@contextmanager
def starting(
    settings: "Settings",
    *,
    loads: str | None = None,
    opens: "Path | bool" = False,
    quiet: bool = False,
    as_json: bool = False,
    problem_files: bool = True,
) -> Iterator[None]:
    """Say what a command waits for, and add the settings' files of problems. The block has the
    command's imports, at whose end Ctrl-C is raised.

    Args:
        loads: a library that takes seconds to load.
        opens: the settings' chain is opened, or this folder.
        as_json: see `announce`.
    """
    if opens is True:
        from assay.network.chain.target import ChainTarget

        chain = settings.chain
        ChainTarget.require_named(chain.network, *chain.fallbacks, *chain.archives)
    doing = [] if loads is None else [f"loading {loads}"]
    if opens is not False:
        doing.append(f"opening {_name_place(settings if opens is True else opens)}")
    if doing and not quiet:
        announce(", then ".join(doing), as_json)
    if problem_files:
        add_problem_files(settings, quiet)
    with importing():
        yield


def add_problem_files(settings: "Settings", quiet: bool = False) -> None:
    """Add the settings' files of problems to the environments. Data sets on the Hub are
    downloaded."""
    named = settings.environments
    if named.files:
        from assay.environments.problem_file import add_problem_files

        named.files = tuple(open_data(settings, file, quiet) for file in named.files)
        require_problem_files(*named.files)
        add_problem_files(named.files)


def announce(doing: str, as_json: bool = False) -> None:
    """Print one line on standard error, at once. `as_json`: a program's lines are JSON, and so is
    this one (docs/metrics.md). The log's library would take a while to load."""
    line = f"assay: {doing} …"
    if as_json:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        document = {"at": at, "event": "loading", "message": f"{doing} …", "level": "info"}
        line = json.dumps(document | {"window": None, "phase": None, "hotkey": None})
    print(line, file=sys.stderr, flush=True)


def has_json_lines(settings: "Settings", as_json: bool) -> bool:
    """Return whether a program's lines are JSON. Its `logs` know it, but would take a while to
    load."""
    return as_json or settings.log.format == "json"


def _name_place(place: "Path | Settings") -> str:
    """The place that is opened, without an address's secrets."""
    if isinstance(place, Path):
        return str(place)
    from assay.network.text import name_host

    network = place.chain.network
    subnet = "" if place.chain.netuid is None else f"subnet {place.chain.netuid} of "
    return f"{subnet}{name_host(network) if '://' in network else network}"


def confirm(yes: bool, as_json: bool, unchanged: str = "nothing was sent") -> "Consent":
    """Consent that is asked for on the terminal. Without a terminal, only --yes agrees."""

    def ask(question: str) -> None:
        from assay.settings.loading import ConfigError

        if not yes and not sys.stdin.isatty():
            raise ConfigError(f"{question} There is no terminal to ask on: add --yes to agree")
        if not yes and not typer.confirm(question, err=as_json):
            raise ConfigError(f"not confirmed: {unchanged}")

    return ask
