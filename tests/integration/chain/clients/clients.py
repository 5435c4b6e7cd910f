"""Every client and every flow of it, tried on one chain."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.integration.chain.clients.btcli import Btcli
from tests.integration.chain.clients.btcli_flows import BTCLI_FLOWS
from tests.integration.chain.clients.client_net import ClientNet
from tests.integration.chain.clients.library_flows import (
    ASYNC_FLOWS,
    HTTP_FLOWS,
    POLKADOT_FLOWS,
    SUBSTRATE_SCRIPT,
    SYNC_FLOWS,
    Check,
    ScriptRun,
    run_script,
)

BTCLI = "btcli"
#: A path in the folder of clients → the file.
Find = Callable[[str], Path]
_LACKS = Path(__file__).with_name("spec_293.toml")


@dataclass(frozen=True, slots=True)
class _Library:
    """A client that is a library: a function from the finder of its files to its script's command,
    and its flows."""

    command: Callable[[Find], list[str]]
    flows: Mapping[str, Check]
    over_http: bool = False


def _run_substrate(python: str) -> Callable[[Find], list[str]]:
    return lambda find: [str(find(python)), SUBSTRATE_SCRIPT]


_LIBRARIES = {
    "@polkadot/api": _Library(
        lambda find: ["node", str(find("polkadot/polkadot.mjs"))], POLKADOT_FLOWS
    ),
    "async-substrate-interface": _Library(_run_substrate("btcli/bin/python"), ASYNC_FLOWS),
    "substrate-interface": _Library(_run_substrate("substrate/bin/python"), SYNC_FLOWS),
    "substrate-interface over HTTP": _Library(
        _run_substrate("substrate/bin/python"), HTTP_FLOWS, over_http=True
    ),
}
#: Client and flow, all of them.
FLOWS = [(BTCLI, flow) for flow in BTCLI_FLOWS] + [
    (name, flow) for name, library in _LIBRARIES.items() for flow in library.flows
]


def read_lacks() -> dict[tuple[str, str], str]:
    """Client and flow → the client's words, for what the real runtime's spec 293 lacks."""
    rows = tomllib.loads(_LACKS.read_text())["lacks"]
    return {(row["client"], row["flow"]): row["words"] for row in rows}


class Clients:
    """The clients of one chain. A library's script runs once, when its first flow is asked for.

    Args:
        find: gives a file in the folder of clients.
    """

    def __init__(self, net: ClientNet, find: Find) -> None:
        self._net = net
        self._find = find
        self._runs: dict[str, ScriptRun] = {}
        #: Flows that are known not to work here.
        self.lacks = {} if net.is_devnet else read_lacks()

    def try_flow(self, client: str, flow: str) -> None:
        """Returns if a flow works, and if what the client shows is what the chain holds; else
        raises a `FlowError`."""
        if client == BTCLI:
            program = self._find("btcli/bin/btcli")
            btcli = Btcli(program, self._net.endpoint, self._net.folder, self._net.wallets)
            is_known = (client, flow) in self.lacks
            BTCLI_FLOWS[flow](self._net, replace(btcli, speaks_json=not is_known))
            return
        library = _LIBRARIES[client]
        if client not in self._runs:
            endpoint = self._net.http if library.over_http else self._net.endpoint
            name = client.replace("/", "-").replace(" ", "-")
            self._runs[client] = run_script(self._net, name, library.command(self._find), endpoint)
        run = self._runs[client]
        library.flows[flow](run, run.get(flow))
