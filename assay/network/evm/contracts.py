"""The two contracts: interface and bytecode as `contracts/` builds them, and their errors."""

import json
from dataclasses import astuple, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from assay.network.chain.errors import ChainError
from assay.network.text import hide
from assay.protocol.encoding import U64, Digest
from assay.protocol.errors import TroubleKind
from assay.protocol.record import SettlementRecord
from assay.protocol.score_tree import keccak256

LEDGER, WEIGHTS_CHECK = "ScoreLedger", "WeightsCheck"
#: The remedy of each refusal.
_REMEDIES = {
    "NotThePoster": "the hotkey has bound another address: `assay ledger bind`",
    "AlreadyPosted": "a settlement is written once",
    "ZeroRoot": "there is no score to post",
    "EpochAhead": "this node has not reached the epoch's block: is it behind?",
    "BindingExpired": "sign again, and check this machine's clock",
    "SignatureRefused": "it is not the hotkey's over these values, or was used before: sign again",
    "PrecompileFailed": "subtensor's precompile is missing (right chain?), or nobody has the uid",
    "AnotherHotkey": "another hotkey has the uid",
    "MalformedWeights": "storage has another layout than expected: has the runtime changed?",
}


class EvmError(ChainError):
    """The EVM's node cannot answer, or nothing can be sent at present. The message is one printable
    line with reason and remedy, whatever text a node or a contract returned."""

    trouble_kind = TroubleKind.LEDGER

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else "?" for c in hide(message)))


class SilentError(EvmError):
    """The node gave no answer, or a meaningless one. It may have executed the request."""


class RevertedError(EvmError):
    """A contract refuses a call: nothing was written. `name` is its error's, such as NotThePoster;
    "" if it gives none that we know."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A validator's entry for one settlement, in the contract's order."""

    score_root: Digest
    record_digest: Digest
    checkpoint: Digest
    audit_round: U64
    weights_digest: Digest

    @property
    def digest(self) -> bytes:
        """The content of the ledger's slot: keccak256 of the ABI's encoding, 32 bytes."""
        head = self.score_root + self.record_digest + self.checkpoint
        return keccak256(head + self.audit_round.to_bytes(32, "big") + self.weights_digest)

    def to_abi(self) -> tuple[Any, ...]:
        """The entry as a call's argument."""
        return astuple(self)


def make_ledger_entry(record: SettlementRecord) -> LedgerEntry | None:
    """The entry to post for a settlement's record; None if it has no score to prove."""
    if not record.scores:
        return None
    return LedgerEntry(
        record.score_root,
        record.digest,
        record.checkpoint,
        record.audit_round,
        record.weights_digest,
    )


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract: its interface, and its bytecode before the constructor's arguments."""

    abi: list[dict[str, Any]]
    bytecode: bytes


@cache
def load_artifact(name: str) -> Artifact:
    """Interface and bytecode of one of the two contracts."""
    text = files("assay.network.evm").joinpath(f"data/{name}.json").read_text()
    value = json.loads(text)
    return Artifact(value["abi"], bytes.fromhex(value["bytecode"]))


@cache
def _list_errors() -> dict[bytes, tuple[str, tuple[str, ...]]]:
    """Selector → name and types of every error of the contracts, and Solidity's own."""
    errors = {
        (entry["name"], tuple(field["type"] for field in entry["inputs"]))
        for name in (LEDGER, WEIGHTS_CHECK)
        for entry in load_artifact(name).abi
        if entry["type"] == "error"
    } | {("Error", ("string",)), ("Panic", ("uint256",))}
    return {
        keccak256(f"{name}({','.join(types)})".encode())[:4]: (name, types)
        for name, types in errors
    }


def explain_revert(data: bytes) -> RevertedError:
    """A refusal in words, from the data that the call returned."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    if not data:
        return RevertedError("the contract refuses the call without a reason")
    known = _list_errors().get(data[:4])
    if known is None:
        return RevertedError(f"the contract refuses the call: 0x{data[:68].hex()}")
    name, types = known
    try:
        values = decode(types, data[4:])
    except (DecodingError, OverflowError, ValueError):
        return RevertedError(f"the contract refuses the call: {name}, garbled", name)
    listed = ", ".join(f"0x{v.hex()}" if isinstance(v, bytes) else str(v)[:200] for v in values)
    remedy = f": {_REMEDIES[name]}" if name in _REMEDIES else ""
    return RevertedError(f"the contract refuses the call, {name}({listed}){remedy}", name)
