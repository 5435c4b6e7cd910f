"""Reads the ledger and the weights' check, and posts to the ledger with a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assay.network.evm.contracts import LEDGER, WEIGHTS_CHECK, EvmError, LedgerEntry, load_artifact
from assay.network.evm.key import EvmKey
from assay.network.evm.node import EvmCall, EvmNode, EvmReceipt, SignedCall

#: Blocks in one request: nodes refuse more than some thousands.
_PAGE_BLOCKS = 1_000
#: Most gas of a post, which takes about 54,000.
_POST_GAS_MAX = 100_000
#: An unbound hotkey's poster.
_NOBODY = "0x" + "0" * 40


@dataclass(frozen=True, slots=True)
class Binding:
    """The poster of a hotkey, None if it is not bound; and the number of bindings so far."""

    poster: str | None
    nonce: int


@dataclass(frozen=True, slots=True)
class PostedSettlement:
    """A settlement's entry as an event has it, and the event's place."""

    entry: LedgerEntry
    block: int
    transaction: bytes


@dataclass(frozen=True, slots=True)
class WeightsFound:
    """The result of `WeightsCheck.check`. `digest` is of the weights on chain."""

    posted: bool
    equal: bool
    digest: bytes


class ScoreLedger:
    """One subnet's part of a ledger. `EvmError` from every method: no node answers, or there is no
    such contract."""

    def __init__(self, node: EvmNode, address: str, netuid: int) -> None:
        self.node = node
        self.address = address
        self.netuid = netuid
        self._contract = node.open_contract(load_artifact(LEDGER), address)

    def get_binding(self, hotkey: bytes) -> Binding:
        """The address that currently posts for a hotkey."""
        with self.node.explain():
            poster, nonce = self._contract.functions.bindings(hotkey).call()
        return Binding(None if poster == _NOBODY else poster, nonce)

    def get_digest(self, hotkey: bytes, epoch: int) -> bytes:
        """The digest of a settlement in the newest block: 32 bytes, zeros where it is missing."""
        with self.node.explain():
            digest = self._contract.functions.digests(self.netuid, hotkey, epoch).call()
        return bytes(digest)

    def is_score_proven(
        self,
        hotkey: bytes,
        epoch: int,
        entry: LedgerEntry,
        miner: bytes,
        score: int,
        proof: Sequence[bytes],
    ) -> bool:
        """Return whether a validator gave a miner this score, as the contract itself checks it."""
        with self.node.explain():
            return bool(
                self._contract.functions.verifyScore(
                    self.netuid, hotkey, epoch, entry.to_abi(), miner, score, list(proof)
                ).call()
            )

    def find_posted(self, hotkey: bytes, epoch: int, pages: int = 20) -> PostedSettlement | None:
        """A settlement's entry, from its event. The search covers `pages` pages of 1,000 blocks
        from its epoch's block on, because the EVM numbers blocks as the chain does."""
        head = self.node.get_head()
        first = epoch if epoch <= head else max(0, head - pages * _PAGE_BLOCKS + 1)
        for start in range(first, min(head + 1, first + pages * _PAGE_BLOCKS), _PAGE_BLOCKS):
            with self.node.explain():
                events = self._contract.events.Posted().get_logs(
                    {"netuid": self.netuid, "hotkey": hotkey, "epoch": epoch},
                    from_block=start,
                    to_block=min(head, start + _PAGE_BLOCKS - 1),
                )
                if events:
                    return _read_posted(events[0])
        return None

    def list_posted(
        self, hotkey: bytes, first: int, last: int
    ) -> list[tuple[int, PostedSettlement]]:
        """A hotkey's entries in some blocks, from their events: the settlement's epoch and the
        entry, in order. A node refuses more than about a thousand blocks."""
        with self.node.explain():
            events = self._contract.events.Posted().get_logs(
                {"netuid": self.netuid, "hotkey": hotkey}, from_block=first, to_block=last
            )
            return [
                (int(event["args"]["epoch"]), _read_posted(event))
                for event in events
                if first <= event["blockNumber"] <= last
            ]

    def check_weights(
        self, check: str, uid: int, hotkey: bytes, epoch: int, entry: LedgerEntry
    ) -> WeightsFound:
        """Check whether a validator's current weights on chain are those that it posted.

        Args:
            check: address of a WeightsCheck.

        Raises:
            EvmError: it belongs to another ledger.
            RevertedError: another hotkey holds the uid, or this is not a subtensor chain.
        """
        contract = self.node.open_contract(load_artifact(WEIGHTS_CHECK), check)
        with self.node.explain():
            ledger = contract.functions.LEDGER().call()
        if ledger.lower() != self.address.lower():
            raise EvmError(f"{check} belongs to another ledger, {ledger}")
        with self.node.explain():
            posted, equal, digest = contract.functions.check(
                self.netuid, uid, hotkey, epoch, entry.to_abi()
            ).call()
        return WeightsFound(posted, equal, bytes(digest))


def _read_posted(event: Any) -> PostedSettlement:
    names = ("scoreRoot", "recordDigest", "checkpoint", "auditRound", "weightsDigest")
    entry = LedgerEntry(*(event["args"]["entry"][name] for name in names))
    return PostedSettlement(entry, int(event["blockNumber"]), bytes(event["transactionHash"]))


class LedgerPoster:
    """One validator's posts to one ledger, in single steps, for a caller that saves their state.
    `EvmError` from every method: no node answers."""

    def __init__(self, ledger: ScoreLedger, key: EvmKey, hotkey: bytes) -> None:
        self._ledger = ledger
        self._node = ledger.node
        self._key = key
        self._hotkey = hotkey
        self._contract = self._node.open_contract(load_artifact(LEDGER), ledger.address)

    def get_head(self) -> int:
        """The number of the newest block. `WrongChainError`: the node is of another chain."""
        return self._node.get_head()

    def get_digest(self, epoch: int) -> bytes:
        """The digest of a settlement in the newest block; zeros where it is missing."""
        return self._ledger.get_digest(self._hotkey, epoch)

    def get_nonce(self, *, pending: bool) -> int:
        """The number of the key's next transaction, with or without pending ones."""
        return self._node.get_nonce(self._key.address, pending=pending)

    def sign(
        self, epoch: int, entry: LedgerEntry, nonce: int, replaces: int | None = None
    ) -> SignedCall:
        """Sign a post that would succeed now; see `EvmNode.sign`."""
        arguments = [self._ledger.netuid, self._hotkey, epoch, entry.to_abi()]
        data = bytes.fromhex(self._contract.encode_abi("post", arguments)[2:])
        call = EvmCall(self._contract.address, data, _POST_GAS_MAX)
        return self._node.sign(self._key, call, nonce, replaces)

    def send(self, signed: SignedCall) -> None:
        """Send a post to the node; see `EvmNode.send`."""
        self._node.send(signed)

    def get_receipt(self, hash_: bytes) -> EvmReceipt | None:
        """The receipt of a post; None while no block holds it."""
        return self._node.get_receipt(hash_)

    def explain_failure(self, signed: SignedCall) -> str:
        """The reason why a post in a block failed."""
        return self._node.explain_failure(signed)
