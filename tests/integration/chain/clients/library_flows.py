"""The flows of clients that are libraries: a script of each runs once a chain and tells what it
found, and each flow's finding is compared with what the chain holds."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.network.chain.wallets import DevWallet
from tests.integration.chain.clients.btcli_flows import MODULE
from tests.integration.chain.clients.client_net import ClientNet
from tests.integration.chain.clients.results import FlowError, check_equal
from tests.integration.chain.nets import TAO, ask

_HERE = Path(__file__).parent
#: Longest wait for a script, seconds.
_PATIENCE_S = 400
#: The amount that a script sends, rao.
_PAYMENT = 200_000_000
#: Subscriptions that clients look for in the list of methods.
_SUBSCRIPTIONS = {
    "author_submitAndWatchExtrinsic",
    "chain_subscribeFinalizedHeads",
    "chain_subscribeNewHeads",
    "state_subscribeRuntimeVersion",
    "state_subscribeStorage",
}


@dataclass(slots=True)
class ScriptRun:
    """One run of a client's script: what it was given, and what it found.

    Attributes:
        payer, hotkey: addresses of a wallet of its own, which has money, a uid and stake.
        receiver: an address that gets money from nobody else.
        replies: flow → {"found", "words"}.
        end: how the script ended, if not well.
    """

    net: ClientNet
    payer: str
    hotkey: str
    receiver: str
    replies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    end: str = ""

    def get(self, flow: str) -> Any:
        """The result of a flow. A flow without an answer raises a `FlowError` with the client's
        words."""
        reply = self.replies.get(flow)
        if reply is None:
            raise FlowError(f"the script ended before: {self.end}")
        if reply["words"]:
            raise FlowError(reply["words"])
        return reply["found"]

    def query(self, item: str, *keys: Any) -> Any:
        """A value of the chain's main pallet."""
        return self.net.query(MODULE, item, *keys)


def run_script(net: ClientNet, name: str, command: Sequence[str], endpoint: str) -> ScriptRun:
    """Runs a client's script with a wallet of its own; `name` is used once a chain."""
    uri = f"//Alice//{name}"
    wallet, receiver = DevWallet(uri, f"{uri}//hot"), DevWallet(f"{uri}//to", f"{uri}//to")
    net.net.fund(wallet.coldkey.ss58_address, rao=1_000 * TAO)
    net.enrol(wallet)
    addresses = [key.ss58_address for key in (wallet.coldkey, wallet.hotkey, receiver.coldkey)]
    run = ScriptRun(net, *addresses)
    words = [*command, endpoint, str(net.netuid), run.hotkey, uri, run.receiver]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        run.end = f"no end in {_PATIENCE_S} s: {error.stdout!r}"
        return run
    replies = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    run.replies = {reply["flow"]: reply for reply in replies}
    run.end = done.stderr
    return run


# --- what is compared


def check_connection(run: ScriptRun, found: Any) -> None:
    check_equal(found["genesis"], run.net.get_block_hash(0), "genesis hash")
    name = ask(run.net.net.endpoint, "system_chain", [])["result"]
    check_equal(found["chain"], name, "name")


def check_methods(run: ScriptRun, found: Any) -> None:
    if missing := _SUBSCRIPTIONS - set(found):
        raise FlowError(f"rpc_methods lists no {', '.join(sorted(missing))}")


def check_description(run: ScriptRun, found: Any) -> None:
    check_equal(found["version"], 15, "version of the metadata")
    description, netuid = found["description"], run.net.netuid
    check_equal(description["netuid"], netuid, "netuid")
    check_equal(description["ownerColdkey"], run.query("SubnetOwner", netuid), "owner")
    check_equal(description["tempo"], run.query("Tempo", netuid), "tempo")


def check_uid(run: ScriptRun, found: Any) -> None:
    check_equal(found, run.query("Uids", run.net.netuid, run.hotkey), "uid")


def check_subnets(run: ScriptRun, found: Any) -> None:
    check_equal(len(found), run.query("TotalNetworks"), "number of subnets")
    for netuid, is_there in found:
        check_equal(is_there, run.query("NetworksAdded", netuid), f"subnet {netuid}")


def check_derived(run: ScriptRun, found: Any) -> None:
    free = run.net.get_free(run.payer, found["best"])
    check_equal(int(found["free"]), free, f"free balance in block {found['best']}")


def check_heads(run: ScriptRun, found: Any) -> None:
    first, second = found
    check_equal(second["number"], first["number"] + 1, "number of the next block")
    for head in found:
        number = head["number"]
        check_equal(head["hash"], run.net.get_block_hash(number), f"hash of block {number}")


def check_next_head(run: ScriptRun, found: Any) -> None:
    """Checks two heads by their parents, because the client gives no hash of their own."""
    first, second = (head["number"] for head in found)
    check_equal(second, first + 1, "number of the next block")
    for head in found:
        parent = run.net.get_block_hash(head["number"] - 1)
        check_equal(head["parent"], parent, f"parent of block {head['number']}")


def check_moments(run: ScriptRun, found: Any) -> None:
    """Checks the times of two blocks."""
    first, second = found
    if not first["now"] < second["now"]:
        raise FlowError(f"time goes from {first['now']} to {second['now']}")
    for moment in found:
        held = run.net.query("Timestamp", "Now", block=find_number(run, moment["block"]))
        check_equal(moment["now"], held, f"time of block {moment['block']}")


def check_settings(run: ScriptRun, found: Any) -> None:
    netuid = run.net.netuid
    for name, item in {"tempo": "Tempo", "rho": "Rho", "kappa": "Kappa"}.items():
        check_equal(found[name], run.query(item, netuid), name)


def check_fee(run: ScriptRun, found: Any) -> None:
    """Compares the quote with the fee of the transfer, which came later."""
    block = find_number(run, run.get(_find_transfer(run))["block"])
    check_equal(int(found), run.net.get_fee(run.payer, block), "fee")


def check_transfer(run: ScriptRun, found: Any) -> None:
    block = find_number(run, found["block"])
    check_equal(_PAYMENT, run.net.get_free(run.receiver, block), "the receiver's balance")
    fee = run.net.get_fee(run.payer, block)
    if "fee" in found:
        check_equal(found["fee"], fee, "fee")
    spent = run.net.get_free(run.payer, block - 1) - run.net.get_free(run.payer, block)
    check_equal(_PAYMENT + fee, spent, "the payment with its fee")


def check_watched_transfer(run: ScriptRun, found: Any) -> None:
    ends = found["states"] if run.net.is_devnet else [found["states"][0], found["states"][-1]]
    between = ["InBlock"] if run.net.is_devnet else []  # the executor says Broadcast instead
    check_equal(ends, ["Ready", *between, "Finalized"], "states")
    check_transfer(run, found)


def check_quote(run: ScriptRun, found: Any) -> None:
    """Checks a quote for a transfer that is not sent."""
    if not int(found) > 0:
        raise FlowError(f"the fee is {found}")


def _find_transfer(run: ScriptRun) -> str:
    return next(flow for flow in ("transfer", "submitAndWatchExtrinsic") if flow in run.replies)


def find_number(run: ScriptRun, block: str) -> int:
    """A block's number."""
    header = ask(run.net.net.endpoint, "chain_getHeader", [block])["result"]
    return int(header["number"], 16)


Check = Callable[[ScriptRun, Any], None]
_COMMON: Mapping[str, Check] = {
    "connect": check_connection,
    "storage": check_uid,
    "storage map": check_subnets,
}
POLKADOT_FLOWS: Mapping[str, Check] = _COMMON | {
    "rpc_methods": check_methods,
    "metadata V15": check_description,
    "derive": check_derived,
    "subscribeNewHeads": check_heads,
    "subscribeFinalizedHeads": check_heads,
    "subscribeStorage": check_moments,
    "paymentInfo": check_fee,
    "submitAndWatchExtrinsic": check_watched_transfer,
}
ASYNC_FLOWS: Mapping[str, Check] = _COMMON | {
    "runtime call": check_settings,
    "fee": check_fee,
    "transfer": check_transfer,
}
SYNC_FLOWS: Mapping[str, Check] = _COMMON | {
    "fee": check_fee,
    "subscribe to heads": check_next_head,
    "transfer": check_transfer,
}
HTTP_FLOWS: Mapping[str, Check] = _COMMON | {"fee": check_quote}
SUBSTRATE_SCRIPT = str(_HERE / "substrate_flows.py")
