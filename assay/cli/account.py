"""An operator's occasional tasks: wallets, registration, stake, a look at the subnet."""

import sys

from rich.console import Console

from assay.cli.console import (
    FIGURES,
    Confirm,
    make_table,
    open_console,
    print_result,
    require_consent,
)
from assay.network.chain import (
    DevWallet,
    SubtensorChain,
    create_wallet,
    get_balance,
    get_coldkey,
    get_hotkey,
    list_wallets,
)
from assay.network.chain.values import format_tao
from assay.protocol import encode_ss58
from assay.session.resources import (
    Account,
    connect,
    measure_stake,
    open_account,
    open_chain,
    parse_tao,
)
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings

#: Columns of a terminal that has room for whole addresses.
_WIDE = 130


def run_register(settings: Settings, max_cost: str | None, confirm: Confirm, as_json: bool) -> None:
    """Buy a uid for the wallet's hotkey, unless it holds one."""
    limit = None if max_cost is None else parse_tao(max_cost)
    account = open_account(settings)
    with open_chain(settings.chain) as chain:
        chain.add_wallet(account.wallet)
        paid, uid = 0, _find_uid(chain, account.hotkey)
        if uid is None:
            paid = _buy(chain, account, limit, confirm)
            uid = _find_uid(chain, account.hotkey)
        left = chain.get_balance(account.coldkey)
        name = encode_ss58(account.hotkey)
        document = {
            "netuid": chain.netuid,
            "hotkey": name,
            "uid": uid,
            "paid_rao": paid,
            "balance_rao": left,
        }
    words = f"paid {format_tao(paid)}" if paid else "already registered, nothing paid"
    text = f"{name} has uid {uid} of subnet {chain.netuid}: {words}, {format_tao(left)} left"
    print_result(document, as_json, text)


def _buy(chain: SubtensorChain, account: Account, limit: int | None, confirm: Confirm) -> int:
    """Buy a uid. Return its cost with the fee, rao, by the coldkey's balance before and after."""
    quote, balance = chain.quote_registration(account.hotkey), chain.get_balance(account.coldkey)
    fee = f" and a fee of about {format_tao(quote.fee)}" if quote.fee else ""
    question = (
        f"Register {encode_ss58(account.hotkey)} on subnet {chain.netuid} for "
        f"{format_tao(quote.cost)}{fee}, out of {format_tao(balance)}?"
    )
    require_consent(confirm, question)
    chain.register(account.hotkey, quote.cost if limit is None else limit)
    return balance - chain.get_balance(account.coldkey)


def run_stake(
    settings: Settings, amount: str, any_price: bool, confirm: Confirm, as_json: bool
) -> None:
    """Stake TAO on the wallet's hotkey."""
    rao = parse_tao(amount)
    account = open_account(settings)
    with open_chain(settings.chain) as chain:
        chain.add_wallet(account.wallet)
        balance = chain.get_balance(account.coldkey)
        name = encode_ss58(account.hotkey)
        if balance < rao:
            raise ConfigError(
                f"{format_tao(rao)} to stake, but the coldkey has only {format_tao(balance)}: "
                "send it more (`assay faucet` on a development chain)"
            )
        require_consent(confirm, f"Stake {format_tao(rao)} of {format_tao(balance)} on {name}?")
        receipt = chain.add_stake(account.hotkey, rao, any_price=any_price)
        held, permitted = measure_stake(chain, account.hotkey)
        document = {
            "netuid": chain.netuid,
            "hotkey": name,
            "staked_rao": rao,
            "block": receipt.block,
            "balance_rao": chain.get_balance(account.coldkey),
            "alpha_rao": held,
            "others_alpha_rao": permitted,
        }
    text = f"{format_tao(rao)} staked on {name} in block {receipt.block}: {held / 1e9:,.1f} α"
    if permitted:
        text += f", and {permitted / 1e9:,.1f} α on all others with a permit"
    if held > permitted:
        text += ". The next epoch gives it a permit if it is among the largest stakes"
    else:
        text += ". Consensus clips its weights until it has more than all others: stake more"
    print_result(document, as_json, text)


def run_faucet(settings: Settings, amount: str, as_json: bool) -> None:
    """Give the wallet's coldkey money from a development key."""
    from assay.lab.localnet.development_calls import send_tao

    rao = parse_tao(amount)
    account = open_account(settings)
    name = encode_ss58(account.coldkey)
    with connect(settings.chain) as connection:
        receipt = send_tao(connection, {account.coldkey: rao})
    document = {"coldkey": name, "received_rao": rao, "block": receipt.block}
    text = f"{name} received {format_tao(rao)} in block {receipt.block}"
    print_result(document, as_json, text)


def run_metagraph(settings: Settings, as_json: bool) -> None:
    """Show all neurons of the subnet at the newest final block."""
    with open_chain(settings.chain) as chain:
        head = chain.get_head()
        rows = chain.get_metagraph(head)
        owner = chain.get_owner(head)
    document = {
        "netuid": chain.netuid,
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
    title = f"subnet {chain.netuid} at block {head}; the last two columns are blocks"
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


def run_wallet_create(settings: Settings, no_password: bool, as_json: bool) -> None:
    """Make the missing keys of a wallet, and show their mnemonics once, on a terminal or on
    standard error: never in the JSON document."""
    chosen = settings.wallet
    if chosen.name.startswith("//"):
        raise ConfigError("development keys need no files: use them as they are")
    coldkey = chosen.path.expanduser() / chosen.name / "coldkey"  # only a new one gets a password
    if not no_password and not coldkey.exists() and not sys.stdin.isatty():
        raise ConfigError(
            "there is no terminal to ask for a password on: run this on one, or leave the coldkey "
            "unencrypted with --no-password"
        )
    errors = Console(stderr=True)

    def show(key: str, mnemonic: str) -> None:
        errors.print(f"[bold]{key}[/bold]: write this down, only it can restore the key:")
        errors.print(f"  {mnemonic}", highlight=False, soft_wrap=True)

    wallet = create_wallet(chosen.name, chosen.hotkey, chosen.path, show, encrypted=not no_password)
    cold, hot = encode_ss58(get_coldkey(wallet)), encode_ss58(get_hotkey(wallet))
    document = {"name": chosen.name, "coldkey": cold, "hotkey_name": chosen.hotkey, "hotkey": hot}
    text = f"wallet {chosen.name}: coldkey {cold}\n  hotkey {chosen.hotkey}: {hot}"
    print_result(document, as_json, text)


def run_wallet_list(settings: Settings, as_json: bool) -> None:
    """List every wallet of the folder, by public addresses."""
    folder = settings.wallet.path.expanduser()
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


def run_wallet_show(settings: Settings, as_json: bool) -> None:
    """Show a wallet's addresses, balance, and its uid if a subnet is named."""
    account, uid = open_account(settings), None
    netuid = settings.chain.netuid
    if netuid is None:
        with connect(settings.chain) as connection:
            balance = get_balance(connection, account.coldkey)
    else:
        with open_chain(settings.chain) as chain:
            balance, uid = chain.get_balance(account.coldkey), _find_uid(chain, account.hotkey)
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


def _find_uid(chain: SubtensorChain, hotkey: bytes) -> int | None:
    member = chain.get_members(chain.get_head()).get(hotkey)
    return None if member is None else member.uid
