"""Options that several commands have, and groups of settings that they offer as options.

Each group is a function of the settings, for the argument `offers` of `command`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.help_pages import GENERAL

if TYPE_CHECKING:
    from assay.settings.sections import Settings

AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        rich_help_panel=GENERAL,
        help="Print one JSON document on stdout, everything else on stderr.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", rich_help_panel=GENERAL, help="Show no progress.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="PART=COLUMN",
        help="Column of the problem, answer, solution or level; may repeat.",
    ),
]
Family = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        help="Read a file of problems as NAME:SHA256 does, such as text [default: as it shows].",
    ),
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="Your own words: changes of parameters or a recipe, with [environment.prompts].",
    ),
]
Price = Annotated[
    str | None,
    typer.Option(
        "--price", metavar="DOLLARS/h", help="Price of one machine, as in 2.0/h: show dollars."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]

Validator = Annotated[
    str | None,
    typer.Option(
        "--validator",
        metavar="SS58",
        help="The record's validator [default: the only announced one].",
    ),
]
Records = Annotated[
    str | None,
    typer.Option(
        "--records",
        metavar="URL",
        help="Store or folder of the record [default: as announced on chain].",
    ),
]
AllowLocalBeacon = Annotated[
    bool,
    typer.Option(
        "--allow-local-beacon", help="Accept a bundle with a beacon chain other than quicknet."
    ),
]
StepStores = Annotated[
    list[str] | None,
    typer.Option(
        "--store", metavar="URL", help="Fetch a checkpoint's step from this store; may repeat."
    ),
]
StepFetched = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder for downloads.")]


def network(s: "Settings") -> tuple[object, ...]:
    """The chain and the subnet."""
    return s.chain.network, s.chain.netuid


def reading(s: "Settings") -> tuple[object, ...]:
    """Where others' files and beacons are read."""
    return s.store.readable, s.beacon.endpoints


def ledger(s: "Settings") -> tuple[object, ...]:
    """The contract on the EVM."""
    return s.ledger.endpoint, s.ledger.chain_id, s.ledger.contract


def program(s: "Settings") -> tuple[object, ...]:
    """Everything that miner, validator and trainer share."""
    ours = s.compute, s.metrics.listen, s.log.format
    return (*network(s), s.wallet, s.store.locator, *reading(s), *ours)


def read_price(text: str | None) -> int | None:
    """Micro-dollars an hour of a machine, as --price names them. Raises ConfigError."""
    from assay.settings.money import parse_hour_price

    return None if text is None else parse_hour_price(text)


def read_columns(columns: Sequence[str] | None) -> dict[str, str]:
    """Part of a row → its column, as --column names them. Raises ConfigError."""
    from assay.settings.loading import ConfigError

    chosen: dict[str, str] = {}
    for text in columns or ():
        part, sign, column = text.partition("=")
        if not sign or not column or part in chosen:
            raise ConfigError(f"--column {text[:80]!r}: write each part once, problem=question")
        chosen[part] = column
    return chosen
