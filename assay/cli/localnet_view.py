"""What `assay localnet` prints: its services, and the next commands."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from assay.lab.localnet.description import MINER_WALLET, VALIDATOR_WALLET, Localnet


def show_localnet(folder: Path, localnet: Localnet, quiet: bool, as_json: bool) -> None:
    """Show a localnet that runs."""
    if as_json:
        print(json.dumps(asdict(localnet)), flush=True)
    elif not quiet:
        Console(highlight=False, soft_wrap=True).print(_describe(folder, localnet))
        sys.stdout.flush()


def _describe(folder: Path, localnet: Localnet) -> str:
    """The services, and the commands for other terminals."""
    at = f"--localnet {folder}"
    miner, validator = ("miner", "validator")
    if localnet.members:
        miner, validator = MINER_WALLET, VALIDATOR_WALLET

    def prepare(name: str, stake: str = "") -> str:
        if localnet.members:
            return ""
        return (
            f"  assay wallet create {at} --wallet {name} --no-password\n"
            f"  assay faucet {at} --wallet {name}\n"
            f"  assay register {at} --wallet {name} --yes\n{stake}"
        )

    staked = f"  assay stake 900 {at} --wallet {validator} --yes --any-price\n"
    return f"""\
chain   {localnet.endpoint}, a block every {localnet.block_time:g} s, subnet {localnet.netuid}
beacon  {localnet.beacon.url}
store   {localnet.store}
all of this is in {folder / "localnet.json"}, and in {folder / "assay.toml"} for --config

A miner, in a terminal of its own:
{prepare(miner)}  assay mine {at} --wallet {miner} --groups {localnet.groups}
A validator, in another:
{prepare(validator, staked)}  assay validate {at} --wallet {validator}
The trainer, whose key is {localnet.trainer.wallet}:
  assay train {at}
To watch it:
  assay explorer {at}
  assay status --dir {folder / "miner"}
  assay metagraph {at}
  assay doctor {at} --wallet {miner}
Ctrl-C stops it; the same command continues. The chain is a simulator: docs/localnet.md says what
is real, and `subtensor-devnet --verbose` lists what it lacks."""
