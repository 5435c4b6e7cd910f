"""`assay subnet`: buying a subnet, opening it, and looking at it as everybody sees it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.console import Console

from assay.network.chain import create_subnet, get_subnet_cost, start_subnet
from assay.network.chain.chain_values import format_tao
from assay.neurons.session.resources import connect, open_account, require_netuid
from assay.neurons.session.session import open_session
from assay.neurons.session.window_reader import get_checkpoint_digest
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings
from assay.protocol import QUICKNET, BeaconChain, encode_ss58
from assay.protocol.window import compute_window

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
    print_result(document, as_json, text)


def run_subnet_start(settings: Settings, as_json: bool) -> None:
    """Opens the subnet for stake and emission.

    Raises:
        ChainError: not the owner, too early, or started already.
    """
    account, netuid = open_account(settings), require_netuid(settings.chain)
    with connect(settings.chain) as connection:
        receipt = start_subnet(connection, account.wallet, netuid)
    block = None if receipt is None else receipt.block
    since = "was open before" if block is None else f"is open since block {block}"
    print_result({"netuid": netuid, "block": block}, as_json, f"subnet {netuid} {since}")


def run_subnet_show(settings: Settings, as_json: bool) -> None:
    """The network as everybody finds it: hyperparameters, parameters, checkpoint in force.

    Raises:
        OperatorError: nothing is published, or it cannot be had.
    """
    with open_session(settings) as session:
        chain = session.chain
        head = chain.get_head()
        rules = chain.get_hyperparameters()
        parameters = session.parameters
        window = compute_window(parameters.timing, head)
        checkpoint = get_checkpoint_digest(chain, parameters, window)
        owner, members = chain.get_owner(head), chain.get_members(head)
    document: dict[str, Any] = {
        "netuid": chain.netuid,
        "block": head,
        "window": window,
        "owner": encode_ss58(owner),
        "neurons": len(members),
        "hyperparameters": asdict(rules),
        "checkpoint": checkpoint.hex(),
        "digest": parameters.digest.hex(),
        "parameters": parameters.to_json(),
    }
    if as_json:
        print(json.dumps(document))
        return
    timing, work = parameters.timing, parameters.work
    seconds = timing.window_blocks * timing.slot_ms / 1_000
    lines = (
        ("subnet", f"{chain.netuid}, {len(members)} of {rules.max_uids} uids held, block {head}"),
        ("owner", encode_ss58(owner)),
        (
            "registration",
            f"{format_tao(rules.registration_cost)}"
            + ("" if rules.registration_open else ", closed"),
        ),
        (
            "weights",
            ("timelocked, " if rules.commit_reveal else "in the clear, ")
            + (
                f"{rules.weights_rate_limit} blocks apart"
                if rules.weights_rate_limit
                else "any time"
            )
            + f"; tempo {rules.tempo} blocks",
        ),
        ("parameters", parameters.digest.hex()),
        ("window", f"{window} now; {timing.window_blocks} blocks, {seconds:g} s"),
        (
            "work",
            f"{work.group_size} rollouts a group, at most {work.group_cap} groups of up to "
            f"{work.max_tokens} tokens; {work.audited_groups} audited",
        ),
        ("environment", parameters.environment.name),
        ("beacon", name_beacon(parameters.beacon)),
        ("trainer", encode_ss58(parameters.identity.trainer)),
        ("checkpoint", checkpoint.hex()),
    )
    for name, value in lines:
        Console().print(f"{name:<13} {value}", highlight=False, soft_wrap=True)


def name_beacon(chain: BeaconChain) -> str:
    """For people: whether relays must be named."""
    if chain == QUICKNET:
        return "drand's quicknet"
    return f"{chain.chain_hash.hex()}: not a public one, name relays of it with --beacon"


def print_result(document: object, as_json: bool, text: str) -> None:
    """One JSON document, or a sentence for people."""
    if as_json:
        print(json.dumps(document))
    else:
        Console().print(text, highlight=False, soft_wrap=True)
