"""Every flow of a newcomer's first day with clients that nobody here wrote, and what each says."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.chain.clients.btcli import PATIENCE_S, Btcli

_HERE = Path(__file__).parent
_BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
_MOST_WORDS = 200


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One flow of a client: whether it works, and the client's own words if it does not."""

    client: str
    flow: str
    works: bool
    words: str = ""


def run_btcli_flows(
    btcli: Btcli, wallet: str, netuid: str, is_devnet: bool
) -> Iterator[FlowResult]:
    """btcli's flows, in an order that builds up: a funded wallet registers before it stakes."""
    at = ("--netuid", netuid)
    mine = btcli.name(wallet)
    # spec 293 has no register_limit
    limit = "--safe" if is_devnet else "--unsafe"

    def send(*words: str) -> Callable[[], Any]:
        return lambda: btcli.send(wallet, *words)

    def ask(*words: str) -> Callable[[], Any]:
        return lambda: btcli.ask(*words)

    flows: dict[str, Callable[[], Any]] = {
        "subnets list": ask("subnets", "list"),
        "wallet balance": ask("wallet", "balance", *mine),
        "subnets register": send("subnets", "register", *at, limit),
        "subnets show": ask("subnets", "show", *at, "--no-prompt"),
        "subnets metagraph": lambda: btcli.say("subnets", "metagraph", *at, "--no-prompt"),
        "subnets hyperparameters": ask("subnets", "hyperparameters", *at),
        "stake add": send("stake", "add", *at, "--amount", "5", "--unsafe"),
        "stake list": ask("stake", "list", *mine, "--no-prompt"),
        "wallet overview": ask("wallet", "overview", *mine),
        "wallet transfer": send("wallet", "transfer", "--dest", _BOB, "--amount", "1"),
    }
    for name, run in flows.items():
        words = ""
        try:
            found = run()
            if not found:
                words = "it prints nothing"
            elif isinstance(found, dict) and found.get("success") is False:
                words = str(found)
        except (AssertionError, ValueError, subprocess.TimeoutExpired) as error:
            words = str(error)
        yield FlowResult("btcli", name, not words, shorten(words))


def run_script(*command: str) -> Iterator[FlowResult]:
    """What a client's script prints, a flow a line. A script that breaks off is a failed flow."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found = FlowResult(**json.loads(line))
            yield FlowResult(found.client, found.flow, found.works, shorten(found.words))
    if done.returncode:
        name = Path(command[1]).stem
        yield FlowResult(name, "to the end", False, shorten(done.stderr))


def run_script_flows(clients: Path, endpoint: str) -> Iterator[FlowResult]:
    """The flows of libraries. `clients` is the folder that `make clients` fills."""
    script = str(_HERE / "substrate_flows.py")
    yield from run_script(str(clients / "btcli/bin/python"), script, endpoint)
    yield from run_script(str(clients / "substrate/bin/python"), script, endpoint)
    yield from run_script("node", str(clients / "polkadot/polkadot.mjs"), endpoint)


def shorten(words: str) -> str:
    """The end of what a client says, in one line."""
    line = " ".join(words.split())
    return line if len(line) <= _MOST_WORDS else "…" + line[-_MOST_WORDS:]
