"""`assay subnet`: buying a subnet, opening it, publishing its rules, and looking at them."""

import json
from collections.abc import Callable

from rich.console import Console

from assay.network.chain import create_subnet, get_subnet_cost, start_subnet
from assay.network.chain.state import format_tao
from assay.neurons.config import ConfigError, Settings
from assay.neurons.wiring import connect, open_account, require_netuid
from assay.protocol import encode_ss58

Confirm = Callable[[str], bool]


def run_subnet_create(
    settings: Settings, max_cost: int | None, confirm: Confirm, as_json: bool
) -> None:
    """Buys a subnet; the wallet's hotkey holds its uid 0.

    Raises:
        ChainError, ConfigError: dearer, refused, or not agreed to.
    """
    account = open_account(settings)
    with connect(settings.chain) as connection:
        cost = get_subnet_cost(connection)
        name = encode_ss58(account.hotkey)
        if not confirm(f"Buy a subnet for {format_tao(cost)}, {name} holding its uid 0?"):
            raise ConfigError("not agreed to: nothing was sent")
        netuid = create_subnet(connection, account.wallet, cost if max_cost is None else max_cost)
    document = {"netuid": netuid, "owner_hotkey": name, "cost_rao": cost}
    text = (
        f"subnet {netuid} is yours for {format_tao(cost)}. Next: `assay subnet start` once the "
        "chain allows it, which opens it for stake, and `assay subnet publish`"
    )
    _print(document, as_json, text)


def run_subnet_start(settings: Settings, as_json: bool) -> None:
    """Opens the subnet for stake and emission.

    Raises:
        ChainError: not the owner, too early, or started already.
    """
    account, netuid = open_account(settings), require_netuid(settings.chain)
    with connect(settings.chain) as connection:
        receipt = start_subnet(connection, account.wallet, netuid)
    document = {"netuid": netuid, "block": receipt.block}
    _print(document, as_json, f"subnet {netuid} is open since block {receipt.block}")


def _print(document: object, as_json: bool, text: str) -> None:
    if as_json:
        print(json.dumps(document))
    else:
        Console().print(text, highlight=False, soft_wrap=True)
