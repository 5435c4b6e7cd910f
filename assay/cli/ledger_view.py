"""What `assay ledger` prints."""

from contextlib import closing
from pathlib import Path
from typing import Any

from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.artifacts.records.reader import RECORD_BYTES
from assay.cli.console import FIGURES, make_table, print_result
from assay.network.evm import EvmReceipt, compute_mirror
from assay.network.evm.acts import Bound, PostFound, PostRequest, ProofAnswer, ScoreClaim
from assay.network.evm.deployment import Deployed
from assay.network.evm.node import format_wei
from assay.neurons.validator.post_outbox import describe_post, list_posts
from assay.protocol.encoding import EncodingError, to_json
from assay.protocol.record import SettlementRecord, decode_settlement_record
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import ConfigError

#: Settlements that are shown.
_SHOWN = 20


def show_key(file: Path, address: str, created: bool, balance: int | None, as_json: bool) -> None:
    """Show the key that posts, and say how it gets its money. `balance`: wei."""
    document: dict[str, Any] = {
        "address": address,
        "account": compute_mirror(address),
        "file": str(file),
        "created": created,
    }
    text = f"{address}, in {file}\nfor gas, send a little TAO to {document['account']}"
    if balance is not None:
        document["balance_wei"] = balance
        text += f", which has {format_wei(balance)}"
    print_result(document, as_json, text)


def show_deployed(chain_id: int, deployed: Deployed, as_json: bool) -> None:
    """Show both contracts."""
    document = {
        "chain_id": chain_id,
        "contract": deployed.ledger,
        "weights_check": deployed.weights_check,
        "transactions": [_describe(receipt) for receipt in deployed.receipts],
    }
    text = f"ScoreLedger {deployed.ledger}\nWeightsCheck {deployed.weights_check}"
    cost = sum(receipt.cost for receipt in deployed.receipts)
    print_result(document, as_json, f"{text}\npaid {format_wei(cost)}; name them under [ledger]")


def show_bound(bound: Bound, as_json: bool) -> None:
    """Show who posts for a hotkey."""
    name, receipt = encode_ss58(bound.hotkey), bound.receipt
    document = {"hotkey": name, "poster": bound.poster, "bound_before": receipt is None}
    if receipt is None:
        text = f"{bound.poster} posts for {name} already: nothing was sent"
    else:
        document |= _describe(receipt)
        text = f"{bound.poster} posts for {name} since block {receipt.block}"
        text += f"; paid {format_wei(receipt.cost)}"
    print_result(document, as_json, text)


def show_post(request: PostRequest, found: PostFound, as_json: bool) -> None:
    """Show a validator's post of a settlement."""
    posted, weights = found.posted, found.weights
    compared = None
    if weights is not None:
        compared = {"equal": weights.equal, "digest": weights.digest.hex()}
    document: dict[str, Any] = {
        "netuid": found.netuid,
        "validator": encode_ss58(request.hotkey),
        "epoch": request.epoch,
        "digest": None if found.digest is None else found.digest.hex(),
        "poster": found.binding.poster,
        "entry": None if posted is None else to_json(posted.entry),
        "block": None if posted is None else posted.block,
        "transaction": None if posted is None else posted.transaction.hex(),
        "weights": compared,
    }
    print_result(document, as_json, _render_entry(document))


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


def show_proof(claim: ScoreClaim, answer: ProofAnswer, contract: str, as_json: bool) -> None:
    """Show whether a score was posted, and the values for whoever asks again."""
    miner = encode_ss58(claim.miner)
    document = {
        "validator": encode_ss58(claim.validator),
        "validator_hex": claim.validator.hex(),
        "epoch": claim.epoch,
        "entry": to_json(claim.entry),
        "miner": miner,
        "miner_hex": claim.miner.hex(),
        "score": claim.score,
        "proof": [node.hex() for node in claim.proof],
        "proven": answer.is_proven,
        "contract": contract,
        "call": answer.call,
    }
    proven = "proven" if answer.is_proven else "NOT proven: another record, score or ledger"
    print_result(document, as_json, f"{miner} has {claim.score:,} in epoch {claim.epoch}: {proven}")


def show_posts(folder: Path, as_json: bool) -> None:
    """Show what a validator's folder has posted and has yet to post."""
    with closing(Database(folder / VALIDATOR_FILE, read_only=True)) as database:
        rows = [describe_post(row) for row in list_posts(database, _SHOWN)]
    table = make_table("epoch", "post", "block", "transaction", "trouble")
    for row in rows:
        cells = (row["epoch"], row["state"], row["block"], row["transaction"], row["trouble"])
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    view = table if rows else "nothing was posted from this folder"
    print_result({"posts": rows}, as_json, view, FIGURES)


def read_settlement_record(file: Path) -> SettlementRecord:
    """A settlement's record from its file. Raises ConfigError, OSError."""
    with file.open("rb") as opened:
        data = opened.read(RECORD_BYTES + 1)
    try:
        return decode_settlement_record(data)
    except EncodingError as error:
        raise ConfigError(f"{file} is not a settlement's record: {error}") from None


def _describe(receipt: EvmReceipt) -> dict[str, Any]:
    return {
        "transaction": receipt.hash.hex(),
        "block": receipt.block,
        "gas": receipt.gas_used,
        "cost_wei": receipt.cost,
    }
