"""The options of `assay audit` and `assay audit export`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.ledger_cli import ChainId, Contract, Endpoint
from assay.cli.options import (
    AsJson,
    BeaconEndpoints,
    Config,
    LocalnetFolder,
    Netuid,
    NetworkName,
    Quiet,
    Readable,
    load,
    plain_errors,
    say_what_opens,
)

audit_app = typer.Typer()

Validator = Annotated[
    str | None,
    typer.Option(
        "--validator", metavar="SS58", help="Whose record [default: the only one announced]."
    ),
]
Windows = Annotated[
    str | None,
    typer.Option(
        "--windows", metavar="A..B", help="Which windows [default: the newest settlement's]."
    ),
]
Records = Annotated[
    str | None,
    typer.Option(
        "--records",
        metavar="URL",
        help="Where the record lies, a store or a folder [default: as announced on chain].",
    ),
]

AllowLocalBeacon = Annotated[
    bool,
    typer.Option(
        "--allow-local-beacon", help="Accept a bundle's beacon chain other than quicknet."
    ),
]


@audit_app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    validator: Validator = None,
    windows: Windows = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="A checkpoint, or a folder of them by digest; may repeat: run them again.",
        ),
    ] = None,
    offline: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Work from a bundle, without any network.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="A bundle or store that another reader has kept; may repeat."
        ),
    ] = None,
    records: Records = None,
    allow_local_beacon: AllowLocalBeacon = False,
    network: NetworkName = None,
    netuid: Netuid = None,
    readable: Readable = None,
    beacon: BeaconEndpoints = None,
    evm: Endpoint = None,
    chain_id: ChainId = None,
    contract: Contract = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Derive a validator's record again: beacons, choice of groups, values, scores, weights.

    Reads public data alone: the record, the chain, miners' files. --model also runs the forward
    passes again; without it, what only a model decides is taken at the validator's word and
    counted. --evm and --contract compare with the ledger on the EVM, too. Exit 0 all matched;
    1 something differs; 2 it could not run, or nothing differs and something could not be looked
    at.
    """
    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        opened = offline or load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            store={"readable": readable or None},
            beacon={"endpoints": beacon or None},
            ledger={"endpoint": evm, "chain_id": chain_id, "contract": contract},
        )
        say_what_opens(opened, quiet)
        from assay.cli.audit import Request, run_offline, run_online

        request = Request(
            validator, windows, records, model or (), against or (), allow_local_beacon
        )
        if isinstance(opened, Path):
            raise typer.Exit(run_offline(opened, request, as_json, quiet))
        raise typer.Exit(run_online(opened, request, as_json, quiet))


@audit_app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder to leave it in: a new one.")],
    validator: Validator = None,
    windows: Windows = None,
    records: Records = None,
    network: NetworkName = None,
    netuid: Netuid = None,
    readable: Readable = None,
    beacon: BeaconEndpoints = None,
    evm: Endpoint = None,
    chain_id: ChainId = None,
    contract: Contract = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Audit without a model, and leave all that was read in a sealed folder.

    `assay audit --offline BUNDLE` needs nothing else. Cut off, the same command goes on where it
    was. Exit codes are those of `assay audit`.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            store={"readable": readable or None},
            beacon={"endpoints": beacon or None},
            ledger={"endpoint": evm, "chain_id": chain_id, "contract": contract},
        )
        say_what_opens(settings, quiet)
        from assay.cli.audit import Request, run_export

        request = Request(validator, windows, records)
        raise typer.Exit(run_export(settings, request, out, as_json, quiet))
