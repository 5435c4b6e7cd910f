"""Commands about the ledger on the EVM."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import (
    FINDING,
    OK,
    AsJson,
    Config,
    HotkeyName,
    LocalnetFolder,
    Netuid,
    NetworkName,
    WalletName,
    WalletPath,
    Yes,
    confirm,
    load,
    plain_errors,
)

app = typer.Typer(no_args_is_help=True, help="The ledger of scores on the EVM.")

Endpoint = Annotated[
    str | None, typer.Option("--evm", metavar="URL", help="An EVM node: https://host.")
]
ChainId = Annotated[
    int | None, typer.Option("--chain-id", help="Of the EVM [default: the network's].")
]
Contract = Annotated[
    str | None, typer.Option("--contract", metavar="0x…", help="The ScoreLedger's address.")
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Keystore of the key that posts [default: in the wallet]."
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="The keystore's password [default: ask]."),
]


@app.command("key")
def ledger_key(
    network: NetworkName = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    endpoint: Endpoint = None,
    chain_id: ChainId = None,
    key: Key = None,
    password_file: PasswordFile = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make the key that posts, unless it is there, and say where to send its gas money.

    It holds a little money and nothing else of worth: the hotkey can replace it at any time.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            ledger={
                "endpoint": endpoint,
                "chain_id": chain_id,
                "key": key,
                "password_file": password_file,
            },
        )
        from assay.cli.ledger import run_key

        run_key(settings, as_json)


@app.command("deploy")
def ledger_deploy(
    network: NetworkName = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    endpoint: Endpoint = None,
    chain_id: ChainId = None,
    key: Key = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a ledger and a weights' check over it. Whoever does so has no power over them."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            ledger={
                "endpoint": endpoint,
                "chain_id": chain_id,
                "key": key,
                "password_file": password_file,
            },
        )
        from assay.cli.ledger import run_deploy

        run_deploy(settings, confirm(yes, as_json), as_json)


@app.command("bind")
def ledger_bind(
    network: NetworkName = None,
    netuid: Netuid = None,
    wallet: WalletName = None,
    hotkey: HotkeyName = None,
    wallet_path: WalletPath = None,
    endpoint: Endpoint = None,
    chain_id: ChainId = None,
    contract: Contract = None,
    key: Key = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let the key post for the wallet's hotkey, in place of whichever did before."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            wallet={"name": wallet, "hotkey": hotkey, "path": wallet_path},
            ledger={
                "endpoint": endpoint,
                "chain_id": chain_id,
                "contract": contract,
                "key": key,
                "password_file": password_file,
            },
        )
        from assay.cli.ledger import run_bind

        run_bind(settings, confirm(yes, as_json), as_json)


@app.command("show")
def ledger_show(
    validator: Annotated[str, typer.Argument(metavar="SS58", help="Hotkey of a validator.")],
    epoch: Annotated[int, typer.Argument(min=0, help="Block of the epoch that settled.")],
    uid: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Its uid: also compare its weights on chain now."),
    ] = None,
    network: NetworkName = None,
    netuid: Netuid = None,
    endpoint: Endpoint = None,
    chain_id: ChainId = None,
    contract: Contract = None,
    weights_check: Annotated[
        str | None, typer.Option(metavar="0x…", help="The WeightsCheck's address.")
    ] = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what a validator has posted of a settlement. Exit 1 where nothing stands."""
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            ledger={
                "endpoint": endpoint,
                "chain_id": chain_id,
                "contract": contract,
                "weights_check": weights_check,
            },
        )
        from assay.cli.ledger import run_show

        raise typer.Exit(OK if run_show(settings, validator, epoch, uid, as_json) else FINDING)


@app.command("verify-score")
def ledger_verify_score(
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="settlement-<epoch>.record of a validator.")
    ],
    miner: Annotated[str, typer.Option(metavar="SS58", help="Hotkey of the miner.")],
    score: Annotated[
        int | None, typer.Option(min=0, help="Try another score [default: the record's].")
    ] = None,
    network: NetworkName = None,
    netuid: Netuid = None,
    endpoint: Endpoint = None,
    chain_id: ChainId = None,
    contract: Contract = None,
    localnet: LocalnetFolder = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Ask the contract whether a miner's score in a published record is the one posted.

    --json also gives the values for an explorer's form, and the call for any JSON-RPC client.
    Exit 0 proven, 1 not.
    """
    with plain_errors():
        settings = load(
            config,
            localnet,
            chain={"network": network, "netuid": netuid},
            ledger={"endpoint": endpoint, "chain_id": chain_id, "contract": contract},
        )
        from assay.cli.ledger import run_verify

        proven = run_verify(settings, record, miner, score, as_json)
        raise typer.Exit(OK if proven else FINDING)


@app.command("status")
def ledger_status(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="The validator's own folder [default: assay-validate]."
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what a validator has posted, and what keeps the rest."""
    with plain_errors():
        settings = load(config, None, validator={"dir": directory})
        from assay.cli.ledger import run_ledger_status

        run_ledger_status(settings, as_json)
