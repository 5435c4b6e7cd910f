"""`assay ledger`: the contracts, the key, the binding, and what stands there."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from assay.cli.console import FIGURES, Confirm, open_console, print_result, require_consent
from assay.network.chain import ChainError
from assay.network.evm import (
    EvmReceipt,
    LedgerEntry,
    bind_hotkey,
    compute_mirror,
    deploy_contracts,
    make_ledger_entry,
)
from assay.network.evm import deployment as setup
from assay.network.evm.contracts import LEDGER, load_artifact
from assay.network.evm.evm_node import EvmNode, format_wei
from assay.neurons.program.database import VALIDATOR_FILE, Database
from assay.neurons.session.resources import open_account
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings
from assay.neurons.validator.evm_opening import (
    create_key,
    find_key_file,
    open_key,
    open_ledger,
    open_node,
    read_address,
)
from assay.neurons.validator.post_outbox import describe_post, encode_entry, list_posts
from assay.protocol import (
    EncodingError,
    SettlementRecord,
    decode_settlement_record,
    decode_ss58,
    encode_ss58,
    make_score_tree,
)

#: Longest record of a settlement, bytes: 4,096 windows and as many scores and weights.
_RECORD_MAX = 4 << 20
#: Settlements shown.
_SHOWN = 20


def run_key(settings: Settings, as_json: bool) -> None:
    """Makes the key that posts, unless it is there, and says where it gets its money.

    Raises:
        ConfigError, ChainError: it cannot be made or read.
    """
    file, address, created = create_key(settings)
    document: dict[str, Any] = {
        "address": address,
        "account": compute_mirror(address),
        "file": str(file),
        "created": created,
    }
    text = f"{address}, in {file}\nfor gas, send a little TAO to {document['account']}"
    if settings.ledger.endpoint is not None:
        with open_node(settings) as node:
            node.require_chain()
            document["balance_wei"] = node.get_balance(address)
        text += f", which has {format_wei(document['balance_wei'])}"
    print_result(document, as_json, text)


def run_deploy(settings: Settings, confirm: Confirm, as_json: bool) -> None:
    """Deploys both contracts.

    Raises:
        ConfigError, ChainError: not agreed to, not paid for, refused.
    """
    with open_node(settings) as node:
        most = _ask(node, 2 * setup.DEPLOY_GAS_MAX)
        require_consent(confirm, f"Deploy both contracts on chain {node.chain_id}, for {most}?")
        found = deploy_contracts(node, open_key(settings), settings.ledger.confirmations)
    document = {
        "chain_id": node.chain_id,
        "contract": found.ledger,
        "weights_check": found.weights_check,
        "transactions": [_describe(receipt) for receipt in found.receipts],
    }
    text = f"ScoreLedger {found.ledger}\nWeightsCheck {found.weights_check}"
    cost = sum(receipt.cost for receipt in found.receipts)
    print_result(document, as_json, f"{text}\npaid {format_wei(cost)}; name them under [ledger]")


def run_bind(settings: Settings, confirm: Confirm, as_json: bool) -> None:
    """Lets the key post for the wallet's hotkey.

    Raises:
        ConfigError, ChainError: not agreed to, not paid for, refused.
    """
    account = open_account(settings)
    name = encode_ss58(account.hotkey)
    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        address = read_address(find_key_file(settings))
        before = ledger.get_binding(account.hotkey)
        if before.poster == address:
            document = {"hotkey": name, "poster": before.poster, "bound_before": True}
            print_result(
                document, as_json, f"{before.poster} posts for {name} already: nothing was sent"
            )
            return
        instead = "" if before.poster is None else f", instead of {before.poster}"
        question = f"Let {address} post for {name}{instead}, for {_ask(node, setup.BIND_GAS_MAX)}?"
        require_consent(confirm, question)
        key = open_key(settings)

        def sign(message: bytes) -> bytes:
            pair = account.wallet.hotkey
            signature = bytes(pair.sign(message))
            if not pair.verify(message, signature):
                raise ChainError("the wallet's hotkey signs what it does not verify")
            return signature

        receipt = bind_hotkey(ledger, key, account.hotkey, sign, settings.ledger.confirmations)
    document = {"hotkey": name, "poster": key.address, "bound_before": False, **_describe(receipt)}
    text = f"{key.address} posts for {name} since block {receipt.block}"
    print_result(document, as_json, f"{text}; paid {format_wei(receipt.cost)}")


def run_show(
    settings: Settings, validator: str, epoch: int, uid: int | None, as_json: bool
) -> bool:
    """What a validator has posted of a settlement, and with its uid whether its weights on chain
    now are those. Whether something stands there.

    Raises:
        ConfigError, ChainError: it cannot be read.
    """
    hotkey = _read_hotkey(validator)
    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        digest = ledger.get_digest(hotkey, epoch)
        binding = ledger.get_binding(hotkey)
        posted = ledger.find_posted(hotkey, epoch) if any(digest) else None
        weights = None
        if posted is not None and uid is not None:
            check = settings.ledger.weights_check
            if check is None:
                raise ConfigError("which WeightsCheck? name it under [ledger], weights_check")
            found = ledger.check_weights(check, uid, hotkey, epoch, posted.entry)
            weights = {"equal": found.equal, "digest": found.digest.hex()}
    document: dict[str, Any] = {
        "netuid": ledger.netuid,
        "validator": validator,
        "epoch": epoch,
        "digest": digest.hex() if any(digest) else None,
        "poster": binding.poster,
        "entry": None if posted is None else encode_entry(posted.entry),
        "block": None if posted is None else posted.block,
        "transaction": None if posted is None else posted.transaction.hex(),
        "weights": weights,
    }
    print_result(document, as_json, _tell(document))
    return any(digest)


def _tell(document: dict[str, Any]) -> str:
    if document["digest"] is None:
        poster = document["poster"]
        bound = "its hotkey has bound nobody" if poster is None else f"{poster} may"
        return f"nothing is posted of epoch {document['epoch']}; {bound}"
    lines = [f"digest          {document['digest']}"]
    entry = document["entry"] or {}
    lines += [f"{name:<15} {value}" for name, value in entry.items()]
    if document["block"] is not None:
        lines.append(f"block           {document['block']}, 0x{document['transaction']}")
    if document["weights"] is not None:
        same = "the posted" if document["weights"]["equal"] else "other than the posted"
        lines.append(f"weights now     {same}")
    return "\n".join(lines)


def run_verify(
    settings: Settings, file: Path, miner: str, score: int | None, as_json: bool
) -> bool:
    """Whether the contract says that a settlement's record and a score in it were posted.

    Args:
        file: the settlement's record, as its validator publishes it.
        score: None: the record's.

    Raises:
        ConfigError, ChainError: the record is none or lacks the miner, or nobody answers.
    """
    record = _read_record(file)
    scores = {row.hotkey: row.score for row in record.scores}
    hotkey, entry = _read_hotkey(miner), make_ledger_entry(record)
    if entry is None or hotkey not in scores:
        raise ConfigError(f"the record of epoch {record.epoch} has no score of {miner}")
    claimed = scores[hotkey] if score is None else score
    proof = make_score_tree(list(scores.items())).get_proof(hotkey)
    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        proven = ledger.is_score_proven(
            record.validator, record.epoch, entry, hotkey, claimed, proof
        )
        contract = node.open_contract(load_artifact(LEDGER), ledger.address)
        call = contract.encode_abi(
            "verifyScore",
            [
                ledger.netuid,
                record.validator,
                record.epoch,
                entry.to_abi(),
                hotkey,
                claimed,
                list(proof),
            ],
        )
    document = _describe_proof(record, entry, miner, claimed, proof) | {
        "proven": proven,
        "contract": ledger.address,
        "call": call,
    }
    said = "proven" if proven else "NOT proven: another record, score or ledger"
    print_result(document, as_json, f"{miner} has {claimed:,} in epoch {record.epoch}: {said}")
    return proven


def _describe_proof(
    record: SettlementRecord, entry: LedgerEntry, miner: str, score: int, proof: tuple[bytes, ...]
) -> dict[str, Any]:
    return {
        "validator": encode_ss58(record.validator),
        "validator_hex": record.validator.hex(),
        "epoch": record.epoch,
        "entry": encode_entry(entry),
        "miner": miner,
        "miner_hex": decode_ss58(miner).hex(),
        "score": score,
        "proof": [node.hex() for node in proof],
    }


def run_ledger_status(settings: Settings, as_json: bool) -> None:
    """What a validator's folder has posted and has yet to post.

    Raises:
        JournalError: there is none.
    """
    file = settings.validator.dir / VALIDATOR_FILE
    with closing(Database(file, looking=True)) as database:
        rows = [describe_post(row) for row in list_posts(database, _SHOWN)]
    if as_json:
        print(json.dumps({"posts": rows}))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("epoch", "post", "block", "transaction", "trouble"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (row["epoch"], row["state"], row["block"], row["transaction"], row["trouble"])
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    open_console(FIGURES).print(table if rows else "nothing was posted from this folder")


def _read_record(file: Path) -> SettlementRecord:
    with file.open("rb") as opened:
        data = opened.read(_RECORD_MAX + 1)
    try:
        return decode_settlement_record(data)
    except EncodingError as error:
        raise ConfigError(f"{file} is no settlement's record: {error}") from None


def _read_hotkey(text: str) -> bytes:
    try:
        return decode_ss58(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _ask(node: EvmNode, gas: int) -> str:
    """What that much gas costs at most, for people."""
    node.require_chain()
    return f"at most {format_wei(gas * node.get_price())}"


def _describe(receipt: EvmReceipt) -> dict[str, Any]:
    return {
        "transaction": receipt.hash.hex(),
        "block": receipt.block,
        "gas": receipt.gas_used,
        "cost_wei": receipt.cost,
    }
