"""`assay subnet`: buying a subnet, opening it, publishing its rules, and looking at them."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from assay.network.beacon import read_chain_info
from assay.network.chain import create_subnet, get_subnet_cost, start_subnet
from assay.network.chain.state import format_tao
from assay.neurons.config import ConfigError, PublishSettings, Settings
from assay.neurons.discovery import find_parameters, make_subnet_parameters, publish_subnet
from assay.neurons.joining import open_own_store, open_stores
from assay.neurons.presets import PRESETS, change_parameters, read_changes
from assay.neurons.programs import log_lines
from assay.neurons.windows import get_checkpoint_digest
from assay.neurons.wiring import connect, open_account, open_chain, require_netuid
from assay.protocol import QUICKNET, BeaconChain, encode_ss58
from assay.protocol.ss58 import decode_ss58
from assay.protocol.window import compute_window
from assay.training import GENESIS

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


def run_subnet_publish(
    settings: Settings, rules: PublishSettings, confirm: Confirm, as_json: bool, quiet: bool
) -> None:
    """Publishes parameters and genesis checkpoint, which makes the subnet a network to join.

    Raises:
        OperatorError: nobody could join it, not agreed to, or it could not be done.
    """
    store, locator = open_own_store(settings)
    account = open_account(settings)
    errors = Console(stderr=True, quiet=quiet)
    if rules.trainer is None:
        raise ConfigError("who publishes checkpoints? name the trainer's hotkey with --trainer")
    genesis = GENESIS if rules.genesis is None else rules.genesis
    with log_lines(as_json, quiet), open_chain(settings.chain) as chain:
        chain.add_wallet(account.wallet)
        parameters = make_subnet_parameters(
            chain, _read_beacon(rules.beacon_info), genesis, _read_hotkey(rules.trainer),
            rules.environment, PRESETS[rules.preset], rules.slot_ms,
        )  # fmt: skip
        if rules.changes is not None:
            parameters = change_parameters(parameters, read_changes(rules.changes))
        question = (
            f"Publish parameters {parameters.digest.hex()[:16]}… for subnet {chain.netuid}? "
            "Whoever works by other ones is on another network from then on."
        )
        if not confirm(question):
            raise ConfigError("not agreed to: nothing was published")
        block = publish_subnet(
            chain, account.hotkey, store, locator, parameters, genesis,
            lambda text: errors.print(f"note: {text}", highlight=False, soft_wrap=True),
        )  # fmt: skip
    digest = parameters.digest.hex()
    document = {
        "netuid": chain.netuid, "parameters": digest, "locator": locator, "block": block,
        "checkpoint": parameters.identity.genesis_checkpoint.hex(),
    }  # fmt: skip
    _print(document, as_json, f"subnet {chain.netuid} has parameters {digest[:16]}… since block "
           f"{block}; `assay subnet show` says what everybody sees")  # fmt: skip


def run_subnet_show(settings: Settings, as_json: bool) -> None:
    """The network as everybody finds it: hyperparameters, parameters, checkpoint in force.

    Raises:
        OperatorError: nothing is published, or it cannot be had.
    """
    stores = open_stores(settings)
    with open_chain(settings.chain) as chain:
        head = chain.get_head()
        rules = chain.get_hyperparameters()
        parameters = find_parameters(chain, stores.open)
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
        ("registration", f"{format_tao(rules.registration_cost)}"
         + ("" if rules.registration_open else ", closed")),
        ("weights", ("timelocked, " if rules.commit_reveal else "in the clear, ")
         + f"every {rules.weights_rate_limit} blocks at most, epochs every {rules.tempo + 1}"),
        ("parameters", parameters.digest.hex()),
        ("window", f"{window} now; {timing.window_blocks} blocks, {seconds:g} s"),
        ("work", f"{work.group_size} rollouts a group, at most {work.group_cap} groups of up to "
         f"{work.max_tokens} tokens; {work.audited_groups} audited"),
        ("environment", parameters.environment.name),
        ("trainer", encode_ss58(parameters.identity.trainer)),
        ("checkpoint", checkpoint.hex()),
    )  # fmt: skip
    for name, value in lines:
        Console().print(f"{name:<13} {value}", highlight=False, soft_wrap=True)


def _read_beacon(file: Path | None) -> BeaconChain:
    """quicknet, or the chain that a drand `info` document describes."""
    if file is None:
        return QUICKNET
    try:
        return read_chain_info(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error.strerror})") from None


def _read_hotkey(text: str) -> bytes:
    try:
        return decode_ss58(text)
    except ValueError as error:
        raise ConfigError(f"--trainer {text}: {error}: write the hotkey's address") from None


def _print(document: object, as_json: bool, text: str) -> None:
    if as_json:
        print(json.dumps(document))
    else:
        Console().print(text, highlight=False, soft_wrap=True)
