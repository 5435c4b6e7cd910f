"""btcli's flows of a newcomer's first day. Each compares what btcli shows with what the chain
holds, and raises a `FlowError` where btcli fails or differs."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from bittensor.sp_core import Keypair

from tests.integration.chain.clients.btcli import Btcli
from tests.integration.chain.clients.client_net import ClientNet
from tests.integration.chain.clients.results import FlowError, check_equal
from tests.integration.chain.nets import TAO

MODULE = "SubtensorModule"
#: Hyperparameter as btcli names it → storage item.
_HYPERPARAMETERS = {
    "immunity_period": "ImmunityPeriod",
    "kappa": "Kappa",
    "max_burn": "MaxBurn",
    "max_validators": "MaxAllowedValidators",
    "min_allowed_weights": "MinAllowedWeights",
    "min_burn": "MinBurn",
    "rho": "Rho",
    "serving_rate_limit": "ServingRateLimit",
    "tempo": "Tempo",
    "weights_rate_limit": "WeightsSetRateLimit",
    "weights_version": "WeightsVersionKey",
}
_MNEMONIC = re.compile(r"The mnemonic to the new (coldkey|hotkey) is: ([a-z ]+)")
_SEAT = re.compile(r"^\s*(\d+)\s+│")


def to_rao(tao: float) -> int:
    """A printed amount, which has nine decimals, in rao."""
    return round(tao * TAO)


def read_address(net: ClientNet, wallet: str, file: str) -> str:
    """The SS58 address in a file of a wallet."""
    found: str = json.loads((net.wallets / wallet / file).read_text())["ss58Address"]
    return found


def get_coldkey(net: ClientNet) -> str:
    return read_address(net, net.wallet, "coldkeypub.txt")


def get_hotkey(net: ClientNet) -> str:
    return read_address(net, net.wallet, "hotkeys/default")


def get_alpha(net: ClientNet, hotkey: str, block: int | None = None) -> int:
    """A hotkey's stake on the subnet, rao of alpha."""
    return int(net.query(MODULE, "TotalHotkeyAlpha", hotkey, net.netuid, block=block))


def check_payment(net: ClientNet, coldkey: str, amount: int, extrinsic: str) -> int:
    """Checks that an amount in rao and the fee, and no more, left a coldkey in the block of an
    extrinsic, named as btcli does: block-index. Returns the block."""
    block = int(extrinsic.partition("-")[0])
    spent = net.get_free(coldkey, block - 1) - net.get_free(coldkey, block)
    check_equal(amount + net.get_fee(coldkey, block), spent, "the payment with its fee")
    return block


def wallet_create(net: ClientNet, btcli: Btcli) -> None:
    """The printed mnemonics restore the keys in the files."""
    words = dict(_MNEMONIC.findall(btcli.create_wallet("created")))
    for signer, file in (("coldkey", "coldkeypub.txt"), ("hotkey", "hotkeys/default")):
        key = Keypair.create_from_mnemonic(words[signer].strip())
        check_equal(key.ss58_address, read_address(net, "created", file), signer)


def wallet_balance(net: ClientNet, btcli: Btcli) -> None:
    shown = btcli.ask("wallet", "balance", *btcli.name(net.wallet))["balances"][net.wallet]
    check_equal(shown["coldkey"], get_coldkey(net), "coldkey")
    check_equal(to_rao(shown["free"]), net.get_free(get_coldkey(net)), "free balance")


def wallet_overview(net: ClientNet, btcli: Btcli) -> None:
    before = get_alpha(net, get_hotkey(net))
    shown = btcli.ask("wallet", "overview", *btcli.name(net.wallet))
    check_equal(to_rao(shown["total_balance"]), net.get_free(get_coldkey(net)), "free balance")
    (subnet,) = shown["subnets"]
    check_equal(subnet["netuid"], net.netuid, "netuid")
    check_equal(subnet["tempo"], net.query(MODULE, "Tempo", net.netuid), "tempo")
    (neuron,) = subnet["neurons"]
    check_equal(neuron["hotkey_ss58"], get_hotkey(net), "hotkey")
    check_equal(neuron["uid"], net.query(MODULE, "Uids", net.netuid, get_hotkey(net)), "uid")
    check_stake(net, before, to_rao(neuron["stake"]))


def check_stake(net: ClientNet, before: int, shown: int) -> None:
    """Checks a shown stake, which rewards may raise while btcli runs."""
    after = get_alpha(net, get_hotkey(net))
    if not 0 < before <= shown <= after:
        raise FlowError(f"stake: btcli shows {shown}, the chain holds {before} to {after}")


def wallet_transfer(net: ClientNet, btcli: Btcli) -> None:
    to, amount = Keypair.create_from_mnemonic(Keypair.generate_mnemonic()).ss58_address, TAO // 4
    words = ("wallet", "transfer", "--dest", to, "--amount", "0.25")
    sent = btcli.send(net.wallet, *words)
    block = check_payment(net, get_coldkey(net), amount, sent["extrinsic_identifier"])
    check_equal(amount, net.get_free(to, block), "the receiver's balance")


def stake_list(net: ClientNet, btcli: Btcli) -> None:
    before = get_alpha(net, get_hotkey(net))
    shown = btcli.ask("stake", "list", *btcli.name(net.wallet), "--no-prompt")
    check_equal(to_rao(shown["free_balance"]), net.get_free(get_coldkey(net)), "free balance")
    (stake,) = shown["stake_info"][get_hotkey(net)]
    check_equal(stake["netuid"], net.netuid, "netuid")
    check_equal(stake["registered"], True, "registered")
    check_stake(net, before, to_rao(stake["stake_value"]))


def stake_add(net: ClientNet, btcli: Btcli) -> None:
    """With btcli's own limit of the price, which a newcomer does not change."""
    words = ("stake", "add", "--netuid", str(net.netuid), "--amount", "1")
    shown = btcli.send(net.wallet, *words)
    hotkey, at = get_hotkey(net), str(net.netuid)
    check_equal(shown["staking_success"], {at: {hotkey: True}}, "success")
    extrinsic = shown["extrinsic_ids"][at][hotkey]
    block = check_payment(net, get_coldkey(net), TAO, extrinsic)
    if not get_alpha(net, hotkey, block - 1) < get_alpha(net, hotkey, block):
        raise FlowError(f"the hotkey's stake did not grow in block {block}")


def subnets_list(net: ClientNet, btcli: Btcli) -> None:
    shown = btcli.ask("subnets", "list")
    check_equal(shown["total_netuids"], net.query(MODULE, "TotalNetworks"), "number of subnets")
    mine = shown["subnets"][str(net.netuid)]
    check_equal(mine["tempo"]["sn_tempo"], net.query(MODULE, "Tempo", net.netuid), "tempo")


def subnets_register(net: ClientNet, btcli: Btcli) -> None:
    """A paid registration is reported as one, and so is a second one that is not needed."""
    wallet = "newcomer"
    net.make_wallet(wallet)
    coldkey = read_address(net, wallet, "coldkeypub.txt")
    hotkey = read_address(net, wallet, "hotkeys/default")
    # spec 293 has no register_limit
    limit = "--safe" if net.is_devnet else "--unsafe"
    # of itself the client signs for 8 blocks at the least, which a busy machine may let pass
    words = ("subnets", "register", "--netuid", str(net.netuid), limit, "--period", "256")
    first = btcli.send(wallet, *words)
    block = int(first["extrinsic_identifier"].partition("-")[0])
    uid = net.query(MODULE, "Uids", net.netuid, hotkey)
    check_equal(first["msg"], f"Registered on {net.netuid} with UID {uid}", "message")
    price = int(net.query(MODULE, "Burn", net.netuid, block=block - 1))
    check_payment(net, coldkey, price, first["extrinsic_identifier"])
    check_equal(coldkey, net.query(MODULE, "Owner", hotkey), "the hotkey's owner")
    again = btcli.send(wallet, *words)
    known = {"success": True, "msg": "Already registered", "extrinsic_identifier": None}
    check_equal(again, known, "a second registration")


def subnets_show(net: ClientNet, btcli: Btcli) -> None:
    before = get_alpha(net, get_hotkey(net))
    shown = btcli.ask("subnets", "show", "--netuid", str(net.netuid), "--no-prompt")
    check_equal(shown["owner"], net.query(MODULE, "SubnetOwner", net.netuid), "owner")
    check_equal(shown["tempo"]["tempo"], net.query(MODULE, "Tempo", net.netuid), "tempo")
    seats = net.query(MODULE, "SubnetworkN", net.netuid)
    check_equal([seat["uid"] for seat in shown["uids"]], list(range(seats)), "uids")
    (mine,) = (seat for seat in shown["uids"] if seat["hotkey"] == get_hotkey(net))
    check_equal(mine["uid"], net.query(MODULE, "Uids", net.netuid, get_hotkey(net)), "uid")
    check_equal(mine["coldkey"], get_coldkey(net), "coldkey")
    check_stake(net, before, to_rao(mine["alpha_stake"]))


def subnets_metagraph(net: ClientNet, btcli: Btcli) -> None:
    words = ("--netuid", str(net.netuid), "--no-prompt", "--verbose")
    lines = btcli.say("subnets", "metagraph", *words).splitlines()
    rows = {int(found[1]): line for line in lines if (found := _SEAT.match(line))}
    check_equal(len(rows), net.query(MODULE, "SubnetworkN", net.netuid), "number of rows")
    mine = rows[net.query(MODULE, "Uids", net.netuid, get_hotkey(net))]
    for address in (get_hotkey(net), get_coldkey(net)):
        if address not in mine:
            raise FlowError(f"{address} is not in its row: {mine}")


def subnets_hyperparameters(net: ClientNet, btcli: Btcli) -> None:
    listed = btcli.ask("subnets", "hyperparameters", "--netuid", str(net.netuid))
    shown = {entry["hyperparameter"]: entry["value"] for entry in listed}
    for name, item in _HYPERPARAMETERS.items():
        check_equal(shown[name], net.query(MODULE, item, net.netuid), name)


#: Flow → how it is tried. Each can be tried alone, once on each chain.
BTCLI_FLOWS: Mapping[str, Callable[[ClientNet, Btcli], Any]] = {
    "wallet create": wallet_create,
    "wallet balance": wallet_balance,
    "wallet overview": wallet_overview,
    "wallet transfer": wallet_transfer,
    "stake list": stake_list,
    "stake add": stake_add,
    "subnets list": subnets_list,
    "subnets register": subnets_register,
    "subnets show": subnets_show,
    "subnets metagraph": subnets_metagraph,
    "subnets hyperparameters": subnets_hyperparameters,
}
