"""`assay localnet`: runs the services, and prints the next commands."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from assay.cli import start
from assay.lab.localnet.description import Localnet
from assay.lab.localnet.services import Subnet, run_services
from assay.neurons.program.logs import log_lines, wants_json
from assay.neurons.program.loop import catch_signals
from assay.settings.sections import Settings

#: Seconds between two checks that the chain still runs.
_LOOK_S = 0.5


def run_localnet(every: Settings, as_json: bool, quiet: bool) -> int:
    """Serve until asked to stop, or until the chain has stopped."""
    settings = every.localnet
    files = tuple(str(file.resolve()) for file in every.environments.files)
    recipe = settings.recipe
    if recipe is not None:
        from assay.subnet.recipe import list_recipes  # loads numpy, which others do not need

        recipe = recipe if recipe in list_recipes() else str(Path(recipe).resolve())
    subnet = Subnet(recipe, settings.model, files)
    if not quiet:
        begun = f"starting chain, beacon and store in {settings.dir}"
        start.announce(begun, wants_json(every, as_json))
    with (
        log_lines(wants_json(every, as_json), quiet, "subtensor_devnet"),
        catch_signals(lambda: None) as stop,
        run_services(settings.dir, settings.block_time, settings.port, subnet) as services,
    ):
        if as_json:
            print(json.dumps(asdict(services.localnet)), flush=True)
        elif not quiet:
            console = Console(highlight=False, soft_wrap=True)
            console.print(describe(settings.dir, services.localnet))
            sys.stdout.flush()
        while not stop.wait(_LOOK_S):
            services.require_running()
    return 0


def describe(folder: Path, localnet: Localnet) -> str:
    """The services, and the commands for other terminals."""
    at = f"--localnet {folder}"

    def prepare(name: str) -> str:
        return (
            f"  assay wallet create {at} --wallet {name} --no-password\n"
            f"  assay faucet {at} --wallet {name}\n"
            f"  assay register {at} --wallet {name} --yes\n"
        )

    return f"""\
chain   {localnet.endpoint}, a block every {localnet.block_time:g} s, subnet {localnet.netuid}
beacon  {localnet.beacon.url}
store   {localnet.store}
all of this is in {folder / "localnet.json"}, and in {folder / "assay.toml"} for --config

A miner, in a terminal of its own:
{prepare("miner")}  assay mine {at} --wallet miner --groups 8
A validator, in another:
{prepare("validator")}  assay stake 900 {at} --wallet validator --yes --any-price
  assay validate {at} --wallet validator
The trainer, whose key is {localnet.trainer.wallet}:
  assay train {at}
To watch it:
  assay explorer {at}
  assay status --dir {folder / "miner"}
  assay metagraph {at}
  assay doctor {at} --wallet miner
Ctrl-C stops it; the same command continues."""
