"""What the ledger and the weights' check say to whoever asks. Needs no key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assay.network.evm.contracts import LEDGER, WEIGHTS_CHECK, LedgerEntry, load_artifact
from assay.network.evm.evm_errors import EvmError
from assay.network.evm.evm_node import EvmNode

#: Blocks asked for at once: nodes refuse more than some thousands.
_PAGE_BLOCKS = 1_000
#: An unbound hotkey's poster.
_NOBODY = "0x" + "0" * 40


@dataclass(frozen=True, slots=True)
class Binding:
    """Who posts for a hotkey: None where nobody was bound; and how often one was."""

    poster: str | None
    nonce: int


@dataclass(frozen=True, slots=True)
class PostedSettlement:
    """A settlement's entry as an event holds it, and where."""

    entry: LedgerEntry
    block: int
    transaction: bytes


@dataclass(frozen=True, slots=True)
class WeightsFound:
    """See WeightsCheck.check; `digest` is of the weights on chain."""

    posted: bool
    equal: bool
    digest: bytes


class ScoreLedger:
    """One subnet's part of a ledger.

    Raises:
        EvmError: from every method: no node answers, or there is no such contract.
    """

    def __init__(self, node: EvmNode, address: str, netuid: int) -> None:
        self.node = node
        self.address = address
        self.netuid = netuid
        self._contract = node.open_contract(load_artifact(LEDGER), address)

    def get_binding(self, hotkey: bytes) -> Binding:
        """Who posts for a hotkey now."""
        with self.node.explain():
            poster, nonce = self._contract.functions.bindings(hotkey).call()
        return Binding(None if poster == _NOBODY else poster, nonce)

    def get_digest(self, hotkey: bytes, epoch: int) -> bytes:
        """What stands for a settlement in the newest block: 32 bytes, zeros where nothing does."""
        with self.node.explain():
            found = self._contract.functions.digests(self.netuid, hotkey, epoch).call()
        return bytes(found)

    def is_score_proven(
        self,
        hotkey: bytes,
        epoch: int,
        entry: LedgerEntry,
        miner: bytes,
        score: int,
        proof: Sequence[bytes],
    ) -> bool:
        """Whether a validator gave a miner this score, by the contract's own word."""
        with self.node.explain():
            return bool(
                self._contract.functions.verifyScore(
                    self.netuid, hotkey, epoch, entry.to_abi(), miner, score, list(proof)
                ).call()
            )

    def find_posted(self, hotkey: bytes, epoch: int, pages: int = 20) -> PostedSettlement | None:
        """A settlement's entry, from its event.

        It is posted soon after its epoch, and the EVM numbers blocks as the chain does: looked for
        from there on, in as many pages of 1,000 blocks.
        """
        head = self.node.get_head()
        first = epoch if epoch <= head else max(0, head - pages * _PAGE_BLOCKS + 1)
        for start in range(first, min(head + 1, first + pages * _PAGE_BLOCKS), _PAGE_BLOCKS):
            with self.node.explain():
                found = self._contract.events.Posted().get_logs(
                    {"netuid": self.netuid, "hotkey": hotkey, "epoch": epoch},
                    from_block=start,
                    to_block=min(head, start + _PAGE_BLOCKS - 1),
                )
                for event in found:
                    entry = _read_entry(event["args"]["entry"])
                    return PostedSettlement(
                        entry, int(event["blockNumber"]), bytes(event["transactionHash"])
                    )
        return None

    def list_posted(
        self, hotkey: bytes, first: int, last: int
    ) -> list[tuple[int, PostedSettlement]]:
        """Entries of a hotkey's in some blocks, from their events: settlement's epoch and entry, as
        they came. A node refuses more blocks than a thousand or so."""
        with self.node.explain():
            found = self._contract.events.Posted().get_logs(
                {"netuid": self.netuid, "hotkey": hotkey}, from_block=first, to_block=last
            )
            return [
                (
                    int(event["args"]["epoch"]),
                    PostedSettlement(
                        _read_entry(event["args"]["entry"]),
                        int(event["blockNumber"]),
                        bytes(event["transactionHash"]),
                    ),
                )
                for event in found
                if first <= event["blockNumber"] <= last
            ]

    def check_weights(
        self, check: str, uid: int, hotkey: bytes, epoch: int, entry: LedgerEntry
    ) -> WeightsFound:
        """Whether a validator's weights on chain now are those it posted.

        Args:
            check: address of a WeightsCheck.

        Raises:
            EvmError: it belongs to another ledger.
            RevertedError: another hotkey holds the uid, or this is no chain of subtensor's.
        """
        contract = self.node.open_contract(load_artifact(WEIGHTS_CHECK), check)
        with self.node.explain():
            ledger = contract.functions.LEDGER().call()
        if ledger.lower() != self.address.lower():
            raise EvmError(f"{check} checks against another ledger, {ledger}")
        with self.node.explain():
            posted, equal, digest = contract.functions.check(
                self.netuid, uid, hotkey, epoch, entry.to_abi()
            ).call()
        return WeightsFound(posted, equal, bytes(digest))


def _read_entry(entry: dict[str, Any]) -> LedgerEntry:
    """An event's struct."""
    return LedgerEntry(
        score_root=entry["scoreRoot"],
        record_digest=entry["recordDigest"],
        checkpoint=entry["checkpoint"],
        audit_round=entry["auditRound"],
        weights_digest=entry["weightsDigest"],
    )
