"""What `assay register`, `stake`, `faucet`, `metagraph` and `wallet` print."""

from collections.abc import Sequence

from rich.console import Console

from assay.cli.console import FIGURES, make_table, open_console, print_result
from assay.network.chain.acts import Registered, Staked
from assay.network.chain.values import MetagraphRow, format_tao
from assay.network.chain.wallets import (
    ChainWallet,
    DevWallet,
    get_coldkey,
    get_hotkey,
    list_wallets,
)
from assay.protocol.ss58 import encode_ss58
from assay.session.resources import Account
from assay.settings.sections import WalletSettings

#: Columns of a terminal that has room for whole addresses.
_WIDE = 130


def show_registered(netuid: int, done: Registered, as_json: bool) -> None:
    """Show a hotkey's uid."""
    name = encode_ss58(done.hotkey)
    document = {
        "netuid": netuid,
        "hotkey": name,
        "uid": done.uid,
        "paid_rao": done.paid,
        "balance_rao": done.balance,
    }
    words = f"paid {format_tao(done.paid)}" if done.paid else "already registered, nothing paid"
    text = f"{name} has uid {done.uid} of subnet {netuid}: {words}, {format_tao(done.balance)} left"
    print_result(document, as_json, text)


def show_staked(netuid: int, done: Staked, as_json: bool) -> None:
    """Show a hotkey's stake, and what it lacks for a vote."""
    name = encode_ss58(done.hotkey)
    document = {
        "netuid": netuid,
        "hotkey": name,
        "staked_rao": done.amount,
        "block": done.block,
        "balance_rao": done.balance,
        "alpha_rao": done.alpha,
        "others_alpha_rao": done.others,
    }
    text = f"{format_tao(done.amount)} staked on {name} in block {done.block}: "
    text += f"{done.alpha / 1e9:,.1f} α"
    if done.others:
        text += f", and {done.others / 1e9:,.1f} α on all others with a permit"
    if done.alpha > done.others:
        text += ". The next epoch gives it a permit if it is among the largest stakes"
    else:
        text += ". Consensus clips its weights until it has more than all others: stake more"
    print_result(document, as_json, text)


def show_received(coldkey: bytes, amount: int, block: int, as_json: bool) -> None:
    """Show that a coldkey received `amount` rao."""
    name = encode_ss58(coldkey)
    document = {"coldkey": name, "received_rao": amount, "block": block}
    print_result(document, as_json, f"{name} received {format_tao(amount)} in block {block}")


def show_metagraph(
    netuid: int, head: int, owner: bytes, rows: Sequence[MetagraphRow], as_json: bool
) -> None:
    """Show all neurons of a subnet at a block."""
    document = {
        "netuid": netuid,
        "block": head,
        "neurons": [
            {
                "uid": row.uid,
                "hotkey": encode_ss58(row.hotkey),
                "coldkey": encode_ss58(row.coldkey),
                "registered_at": row.registered_at,
                "stake_rao": row.stake,
                "permit": row.permit,
                "incentive": row.incentive,
                "dividends": row.dividends,
                "emission_rao": row.emission,
                "last_update": row.last_update,
            }
            for row in rows
        ],
    }
    console = open_console(FIGURES)
    title = f"subnet {netuid} at block {head}; the last two columns are blocks"
    figures = "stake α", "permit", "incentive", "dividends", "registered", "set weights"
    names = "uid", "hotkey", *figures
    table = make_table(*names, left=("hotkey", "permit"), title=title, title_justify="left")
    table.columns[1].no_wrap = False  # the owner's mark wraps before any figure is cut
    for row in rows:
        address = encode_ss58(row.hotkey)
        if console.is_terminal and console.width < _WIDE:
            address = f"{address[:6]}…{address[-4:]}"
        table.add_row(
            str(row.uid),
            address + (" owner" if row.hotkey == owner else ""),
            f"{row.stake / 1e9:,.3f}",
            "yes" if row.permit else "",
            f"{row.incentive / 65_535:.4f}",
            f"{row.dividends / 65_535:.4f}",
            f"{row.registered_at:,}",
            f"{row.last_update:,}",
        )
    print_result(document, as_json, table, FIGURES)


def show_mnemonic(key: str, mnemonic: str) -> None:
    """Show a new key's mnemonic once, on standard error: never in the JSON document."""
    errors = Console(stderr=True)
    errors.print(f"[bold]{key}[/bold]: write this down, only it can restore the key:")
    errors.print(f"  {mnemonic}", highlight=False, soft_wrap=True)


def show_wallet(chosen: WalletSettings, wallet: ChainWallet, as_json: bool) -> None:
    """Show a new wallet's addresses."""
    cold, hot = encode_ss58(get_coldkey(wallet)), encode_ss58(get_hotkey(wallet))
    document = {"name": chosen.name, "coldkey": cold, "hotkey_name": chosen.hotkey, "hotkey": hot}
    text = f"wallet {chosen.name}: coldkey {cold}\n  hotkey {chosen.hotkey}: {hot}"
    print_result(document, as_json, text)


def show_wallets(chosen: WalletSettings, as_json: bool) -> None:
    """List every wallet of the folder, by public addresses."""
    folder = chosen.path.expanduser()
    wallets = list_wallets(folder)
    document = [
        {
            "name": wallet.coldkey.name,
            "coldkey": wallet.coldkey.address,
            "hotkeys": [{"name": key.name, "hotkey": key.address} for key in wallet.hotkeys],
        }
        for wallet in wallets
    ]
    lines = []
    for wallet in wallets:
        lines.append(f"{wallet.coldkey.name}  {wallet.coldkey.address or '(unreadable)'}")
        lines += [f"  {key.name}  {key.address or '(unreadable)'}" for key in wallet.hotkeys]
    text = "\n".join(lines) or f"{folder} has no wallet: assay wallet create"
    print_result(document, as_json, text)


def show_account(
    account: Account, balance: int, netuid: int | None, uid: int | None, as_json: bool
) -> None:
    """Show a wallet's addresses, balance in rao, and its uid if a subnet is named."""
    cold, hot = encode_ss58(account.coldkey), encode_ss58(account.hotkey)
    document = {
        "coldkey": cold,
        "hotkey": hot,
        "development": isinstance(account.wallet, DevWallet),
        "balance_rao": balance,
        "netuid": netuid,
        "uid": uid,
    }
    lines = [f"coldkey {cold}: {format_tao(balance)}", f"hotkey  {hot}"]
    if netuid is not None:
        seat = "has no uid" if uid is None else f"has uid {uid}"
        lines[1] += f": {seat} of subnet {netuid}"
    print_result(document, as_json, "\n".join(lines))
