"""`assay ledger`: the contracts, the key, the binding, and the posted entries."""

from contextlib import closing
from pathlib import Path
from typing import Any

from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.artifacts.records.reader import RECORD_BYTES
from assay.cli.console import FIGURES, Confirm, make_table, print_result, require_consent
from assay.cli.exits import FINDING, OK
from assay.network.chain import ChainError
from assay.network.evm import (
    EvmReceipt,
    bind_hotkey,
    compute_mirror,
    deploy_contracts,
    make_ledger_entry,
)
from assay.network.evm import deployment as setup
from assay.network.evm.contracts import LEDGER, load_artifact
from assay.network.evm.node import EvmNode, format_wei
from assay.neurons.validator.post_outbox import describe_post, list_posts
from assay.protocol import (
    EncodingError,
    SettlementRecord,
    decode_settlement_record,
    encode_ss58,
    make_score_tree,
)
from assay.protocol.encoding import to_json
from assay.session.evm_opening import (
    create_key,
    find_key_file,
    open_key,
    open_ledger,
    open_node,
    read_address,
)
from assay.session.resources import open_account
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.sections import Settings

#: Settlements that are shown.
_SHOWN = 20


def run_ledger_key(settings: Settings, as_json: bool) -> None:
    """Make the key that posts, unless it exists, and say how it gets its money."""
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


def run_ledger_deploy(settings: Settings, confirm: Confirm, as_json: bool) -> None:
    """Deploy both contracts."""
    with open_node(settings) as node:
        most = _ask(node, 2 * setup.DEPLOY_GAS_MAX)
        require_consent(confirm, f"Deploy both contracts on chain {node.chain_id}, for {most}?")
        deployed = deploy_contracts(node, open_key(settings), settings.ledger.confirmations)
    document = {
        "chain_id": node.chain_id,
        "contract": deployed.ledger,
        "weights_check": deployed.weights_check,
        "transactions": [_describe(receipt) for receipt in deployed.receipts],
    }
    text = f"ScoreLedger {deployed.ledger}\nWeightsCheck {deployed.weights_check}"
    cost = sum(receipt.cost for receipt in deployed.receipts)
    print_result(document, as_json, f"{text}\npaid {format_wei(cost)}; name them under [ledger]")


def run_ledger_bind(settings: Settings, confirm: Confirm, as_json: bool) -> None:
    """Let the key post for the wallet's hotkey."""
    account = open_account(settings)
    name = encode_ss58(account.hotkey)
    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        address = read_address(find_key_file(settings))
        before = ledger.get_binding(account.hotkey)
        if before.poster == address:
            document = {"hotkey": name, "poster": before.poster, "bound_before": True}
            text = f"{before.poster} posts for {name} already: nothing was sent"
            print_result(document, as_json, text)
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


def run_ledger_show(
    settings: Settings, validator: str, epoch: int, uid: int | None, as_json: bool
) -> int:
    """Show a validator's post of a settlement, and with its uid whether its current weights on
    chain match."""
    hotkey = parse_hotkey(validator, "SS58")
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
            comparison = ledger.check_weights(check, uid, hotkey, epoch, posted.entry)
            weights = {"equal": comparison.equal, "digest": comparison.digest.hex()}
    document: dict[str, Any] = {
        "netuid": ledger.netuid,
        "validator": validator,
        "epoch": epoch,
        "digest": digest.hex() if any(digest) else None,
        "poster": binding.poster,
        "entry": None if posted is None else to_json(posted.entry),
        "block": None if posted is None else posted.block,
        "transaction": None if posted is None else posted.transaction.hex(),
        "weights": weights,
    }
    print_result(document, as_json, _render_entry(document))
    return OK if any(digest) else FINDING


def _render_entry(document: dict[str, Any]) -> str:
    if document["digest"] is None:
        poster = document["poster"]
        bound = "its hotkey has bound no address" if poster is None else f"{poster} may"
        return f"nothing is posted for epoch {document['epoch']}; {bound}"
    lines = [f"digest          {document['digest']}"]
    entry = document["entry"] or {}
    lines += [f"{name:<15} {value}" for name, value in entry.items()]
    if document["block"] is not None:
        lines.append(f"block           {document['block']}, 0x{document['transaction']}")
    if document["weights"] is not None:
        same = "as posted" if document["weights"]["equal"] else "other than posted"
        lines.append(f"weights now     {same}")
    return "\n".join(lines)


def run_ledger_verify_score(
    settings: Settings, record: Path, miner: str, score: int | None, as_json: bool
) -> int:
    """Ask the contract whether a settlement's record and a score in it were posted."""
    settled = _read_record(record)
    scores = {row.hotkey: row.score for row in settled.scores}
    hotkey, entry = parse_hotkey(miner, "--miner"), make_ledger_entry(settled)
    if entry is None or hotkey not in scores:
        raise ConfigError(f"the record of epoch {settled.epoch} has no score of {miner}")
    claimed = scores[hotkey] if score is None else score
    proof = make_score_tree(list(scores.items())).get_proof(hotkey)
    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        whose = (settled.validator, settled.epoch)
        proven = ledger.is_score_proven(*whose, entry, hotkey, claimed, proof)
        contract = node.open_contract(load_artifact(LEDGER), ledger.address)
        call = contract.encode_abi(
            "verifyScore", [ledger.netuid, *whose, entry.to_abi(), hotkey, claimed, list(proof)]
        )
    document = {
        "validator": encode_ss58(settled.validator),
        "validator_hex": settled.validator.hex(),
        "epoch": settled.epoch,
        "entry": to_json(entry),
        "miner": miner,
        "miner_hex": hotkey.hex(),
        "score": claimed,
        "proof": [node.hex() for node in proof],
        "proven": proven,
        "contract": ledger.address,
        "call": call,
    }
    sentence = "proven" if proven else "NOT proven: another record, score or ledger"
    print_result(document, as_json, f"{miner} has {claimed:,} in epoch {settled.epoch}: {sentence}")
    return OK if proven else FINDING


def run_ledger_status(settings: Settings, as_json: bool) -> None:
    """Show what a validator's folder has posted and has yet to post."""
    file = settings.validator.dir / VALIDATOR_FILE
    with closing(Database(file, read_only=True)) as database:
        rows = [describe_post(row) for row in list_posts(database, _SHOWN)]
    table = make_table("epoch", "post", "block", "transaction", "trouble")
    for row in rows:
        cells = (row["epoch"], row["state"], row["block"], row["transaction"], row["trouble"])
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    view = table if rows else "nothing was posted from this folder"
    print_result({"posts": rows}, as_json, view, FIGURES)


def _read_record(file: Path) -> SettlementRecord:
    with file.open("rb") as opened:
        data = opened.read(RECORD_BYTES + 1)
    try:
        return decode_settlement_record(data)
    except EncodingError as error:
        raise ConfigError(f"{file} is not a settlement's record: {error}") from None


def _ask(node: EvmNode, gas: int) -> str:
    """The highest cost of this much gas, for people."""
    node.require_chain()
    return f"at most {format_wei(gas * node.get_price())}"


def _describe(receipt: EvmReceipt) -> dict[str, Any]:
    return {
        "transaction": receipt.hash.hex(),
        "block": receipt.block,
        "gas": receipt.gas_used,
        "cost_wei": receipt.cost,
    }
