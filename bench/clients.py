"""Other people's clients of a chain, unmodified, against the simulator and a real runtime: the
flows that work, with values that agree with the chain, and the client's own words if one fails.

`make clients` installs the clients, and CLIENTS_FOLDER names their folder. ASSAY_SUBTENSOR_DIR
names a folder with a real runtime. Without it, or with `--fast`, only the simulator is tried.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from figures import FAST, Figure, report

sys.path.append(str(Path(__file__).parents[1]))
from assay.settings.loading import use_sdk_cache
from tests.integration.chain.clients.client_net import open_client_net
from tests.integration.chain.clients.clients import FLOWS, Clients
from tests.integration.chain.clients.results import FlowError, FlowResult, shorten
from tests.integration.chain.nets import start_node

# the same name as in the Makefile and the tests
CLIENTS = Path(os.environ.get("CLIENTS_FOLDER", ".venv-clients")).absolute()  # noqa: TID251
RUNTIME = os.environ.get("ASSAY_SUBTENSOR_DIR")  # noqa: TID251


def try_flows(kind: str, folder: Path) -> Iterator[FlowResult]:
    """All flows on a fresh chain, in order."""
    folder.mkdir()
    use_sdk_cache(folder / "sdk")
    start = partial(start_node, None, Path(RUNTIME or "")) if kind == "runtime" else None
    with open_client_net(folder, start) as net:
        clients = Clients(net, CLIENTS.joinpath)
        for client, flow in FLOWS:
            words = ""
            try:
                clients.try_flow(client, flow)
            except FlowError as error:
                words = shorten(str(error)) or "it prints nothing"
            print(f"  {kind}: {client} {flow}: {words or 'works'}", flush=True)
            yield FlowResult(client, flow, words)


def main() -> None:
    for file in ("btcli/bin/btcli", "substrate/bin/python", "polkadot/node_modules"):
        if not (CLIENTS / file).exists():
            raise SystemExit(f"{CLIENTS} has no {file}: run `make clients` and set CLIENTS_FOLDER")
    kinds = ["simulator"] if FAST or not RUNTIME else ["simulator", "runtime"]
    with tempfile.TemporaryDirectory(prefix="assay-clients-") as root:
        found = {kind: list(try_flows(kind, Path(root) / kind)) for kind in kinds}
    figures = [
        Figure(
            f"flows that work on the {kind}",
            sum(not result.words for result in results),
            "flows",
            "flows tried",
            len(results),
            least=float(len(results)) if kind == "simulator" else None,
        )
        for kind, results in found.items()
    ]
    flows = {kind: [asdict(result) for result in results] for kind, results in found.items()}
    report("Clients of a chain, unmodified", figures, threads=1, flows=flows)


if __name__ == "__main__":
    main()
