"""Clients of a chain that nobody here wrote, unmodified, against the simulator and a real runtime:
which flows work, and the client's own words where one does not.

`make clients` installs the clients, and CLIENTS_FOLDER names their folder. ASSAY_SUBTENSOR_DIR
names a folder with a real runtime; without it the simulator alone is tried. `--fast` tries the
simulator alone too.
"""

import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from figures import FAST, Figure, report

sys.path.append(str(Path(__file__).parents[1]))
from assay.devnet import Devnet
from assay.neurons.settings.loading import use_sdk_cache
from tests.integration.chain.clients.bridge import NodeBridge
from tests.integration.chain.clients.btcli import Btcli
from tests.integration.chain.clients.flows import FlowResult, run_btcli_flows, run_script_flows
from tests.integration.chain.nets import TAO, open_net, start_node

BLOCK_S = 1.0
# as the Makefile and the tests name them
CLIENTS = Path(os.environ.get("CLIENTS_FOLDER", ".venv-clients")).absolute()  # noqa: TID251
RUNTIME = os.environ.get("ASSAY_SUBTENSOR_DIR")  # noqa: TID251


def run_on(kind: str, folder: Path) -> list[FlowResult]:
    """All flows on a fresh chain with one subnet, printed as they end."""
    is_devnet = kind == "simulator"
    folder.mkdir()
    use_sdk_cache(folder / "sdk")
    with ExitStack() as stack:
        if is_devnet:
            inner = stack.enter_context(Devnet(folder / "chain", block_time=BLOCK_S)).endpoint
            endpoint = inner
        else:
            inner = stack.enter_context(start_node(None, Path(RUNTIME or ""), round(BLOCK_S * 1e3)))
            bridge = NodeBridge(inner)
            stack.callback(bridge.close)
            endpoint = bridge.endpoint
        (folder / "state").mkdir()
        net = open_net(inner, folder / "state")
        stack.callback(net.connection.close)
        btcli = Btcli(CLIENTS / "btcli/bin/btcli", endpoint, folder)
        btcli.create_wallet("rich", "alice")
        net.fund(btcli.create_wallet("mine"), rao=1_000 * TAO)
        results = []
        flows = chain(
            run_btcli_flows(btcli, "mine", str(net.netuid), is_devnet),
            run_script_flows(CLIENTS, endpoint),
        )
        for result in flows:
            mark = "works" if result.works else result.words
            print(f"  {kind}: {result.client} {result.flow}: {mark}", flush=True)
            results.append(result)
        return results


def main() -> None:
    if not (CLIENTS / "btcli/bin/btcli").exists():
        raise SystemExit(f"{CLIENTS} has no btcli: run `make clients` and set CLIENTS_FOLDER")
    kinds = ["simulator"] if FAST or not RUNTIME else ["simulator", "runtime"]
    flows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="assay-clients-") as root:
        for kind in kinds:
            flows[kind] = [asdict(result) for result in run_on(kind, Path(root) / kind)]
    figures = [
        Figure(
            f"flows that work on the {kind}",
            sum(row["works"] for row in rows),
            "flows",
            f"of {len(rows)} tried",
            **({"least": float(len(rows))} if kind == "simulator" else {}),
        )
        for kind, rows in flows.items()
    ]
    report("Clients of a chain, unmodified", figures, threads=1, flows=flows)


if __name__ == "__main__":
    main()
