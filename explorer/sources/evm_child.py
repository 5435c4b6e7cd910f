"""The child that reads the ledger's events: it holds web3."""

import json
from typing import Any

from assay.network.evm import EvmError, EvmNode, PostedSettlement, ScoreLedger
from assay.neurons.validator.ledger_outbox import encode_entry
from assay.protocol.errors import OperatorError


class LedgerReader:
    """Answers requests: JSON in, JSON out."""

    def __init__(self) -> None:
        self._ledger: ScoreLedger | None = None

    def answer(self, request: bytes) -> bytes:
        """`{"head"}`, `{"entries"}` of some blocks, or `{"error": sentence, "refused": bool}`:
        whether another request may be answered."""
        asked = json.loads(request)
        try:
            found = self._answer(asked)
        except OperatorError as error:
            found = {"error": str(error), "refused": isinstance(error, EvmError)}
        return json.dumps(found).encode()

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._ledger is None:
            node = EvmNode(asked["endpoint"], asked["chain_id"])
            ledger = ScoreLedger(node, asked["contract"], asked["netuid"])
            node.require_chain()
            node.require_code(asked["contract"])
            self._ledger = ledger
        ledger = self._ledger
        if asked["do"] == "head":
            return {"head": ledger.node.get_head()}
        found = ledger.list_posted(bytes.fromhex(asked["hotkey"]), asked["first"], asked["last"])
        return {"entries": [_describe(epoch, posted) for epoch, posted in found]}


def _describe(epoch: int, posted: PostedSettlement) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "block": posted.block,
        "transaction": posted.transaction.hex(),
        "entry": encode_entry(posted.entry),
    }
