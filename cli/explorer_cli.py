"""The command `explorer`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.ledger_cli import ChainId, Contract, Endpoint
from assay.cli.options import (
    AsJson,
    Config,
    LocalnetFolder,
    Netuid,
    NetworkName,
    Quiet,
    Readable,
    load,
    plain_errors,
)

if TYPE_CHECKING:
    from assay.neurons.settings.sections import Settings

app = typer.Typer()


@app.command()
def explorer(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="What a demo, a validator or a localnet has left, or leaves now [default: "
            "assay-demo, else assay-localnet].",
        ),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="The store a record lies in, a URL or a folder."),
    ] = None,
    hotkey: Annotated[
        str | None, typer.Option(metavar="SS58", help="Whose record [default: the only one there].")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A checkpoint, or a folder of them by digest: rollouts are run again.",
        ),
    ] = None,
    trainer: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The trainer's folder, for its steps.")
    ] = None,
    gauntlet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A gauntlet.json to show.")
    ] = None,
    evm_explorer: Annotated[
        str | None, typer.Option(metavar="URL", help="An EVM explorer that ledger entries link to.")
    ] = None,
    evm: Endpoint = None,
    chain_id: ChainId = None,
    contract: Contract = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where to listen [default: 127.0.0.1].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; 0 takes any that is free [default: 8400].")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name this page is served under; may repeat."),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the index [default: assay-explorer]."),
    ] = None,
    network: NetworkName = None,
    netuid: Netuid = None,
    readable: Readable = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Serve a web page over a validator's public record, and its live state where it is at hand.

    `assay explorer --dir assay-demo` shows what `assay demo` has left, also while it runs. The page
    is read only, loads nothing from elsewhere, and names for every number the command that derives
    it again. Exit 0 stopped by request; 2 there is nothing to show, or nowhere to.
    """
    with plain_errors():
        from assay.demo.localnet.description import find_localnet

        own_localnet = directory is not None and directory.is_dir() and find_localnet(directory)
        if localnet is None and own_localnet:
            localnet, directory = directory, None  # a localnet's folder is a localnet

        def read(folder: Path | None) -> "Settings":
            return load(
                config,
                folder,
                chain={"network": network, "netuid": netuid},
                store={"readable": readable or None},
                ledger={"endpoint": evm, "chain_id": chain_id, "contract": contract},
                explorer={
                    "dir": directory,
                    "record": record,
                    "hotkey": hotkey,
                    "model": model,
                    "trainer": trainer,
                    "gauntlet": gauntlet,
                    "evm_explorer": evm_explorer,
                    "host": host,
                    "port": port,
                    "hosts": allow_host or None,
                    "index": index,
                },
            )

        from assay.cli.explorer import run_explorer
        from assay.explorer.sources.record_sources import ExplorerRequest

        if localnet is None and netuid is None:
            settings = read(None)
            own, usual = settings.explorer, settings.localnet.dir
            named = own.dir or own.record or settings.chain.netuid
            if not named and not settings.demo.out.is_dir() and find_localnet(usual) is not None:
                localnet = usual  # nothing else is here
        online: tuple[str, ...] | None = None
        later: Callable[[], Settings] | None = None
        begun = localnet
        if localnet is not None:
            online = ("--localnet", str(localnet))
            if find_localnet(localnet) is None:  # it may be about to begin
                begun, later = None, lambda: read(localnet)
        elif netuid is not None:
            from assay.explorer.sources.shell_commands import show_address

            node = None if network is None else show_address(network, "wss://CHAIN-NODE")
            chain = () if node is None else ("--network", node)
            online = (*chain, "--netuid", str(netuid))
        if online is not None:  # what lets others' files be read lets an audit read them
            online += () if config is None else ("--config", str(config))
            online += tuple(word for place in readable or () for word in ("--readable", place))
        asked = ExplorerRequest(read(begun), online, localnet, later)
        raise typer.Exit(run_explorer(asked, as_json, quiet))
