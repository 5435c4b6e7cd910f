"""Posting a validator's settlements: every step by itself, for a caller that remembers them."""

from assay.network.evm.contracts import LEDGER, LedgerEntry, load_artifact
from assay.network.evm.evm_key import EvmKey
from assay.network.evm.evm_node import EvmCall, EvmReceipt, SignedCall
from assay.network.evm.score_ledger import ScoreLedger

#: Gas that a post may take: it takes about 54,000.
POST_GAS_MAX = 100_000


class LedgerPoster:
    """One validator's posts to one ledger.

    Raises:
        EvmError: from every method: no node answers.
    """

    def __init__(self, ledger: ScoreLedger, key: EvmKey, hotkey: bytes) -> None:
        self._ledger = ledger
        self._node = ledger.node
        self._key = key
        self._hotkey = hotkey
        self._contract = self._node.open_contract(load_artifact(LEDGER), ledger.address)

    def get_head(self) -> int:
        """Number of the newest block.

        Raises:
            WrongChainError: the node speaks for another chain.
        """
        return self._node.get_head()

    def get_digest(self, epoch: int) -> bytes:
        """What stands for a settlement in the newest block; zeros where nothing does."""
        return self._ledger.get_digest(self._hotkey, epoch)

    def get_nonce(self, *, pending: bool) -> int:
        """Number of the key's next transaction, those that wait counted or not."""
        return self._node.get_nonce(self._key.address, pending=pending)

    def sign(
        self, epoch: int, entry: LedgerEntry, nonce: int, replaces: int | None = None
    ) -> SignedCall:
        """Signs a post that would succeed now.

        Raises:
            RevertedError: the contract refuses it. EvmError: too dear, or too little money.
        """
        arguments = [self._ledger.netuid, self._hotkey, epoch, entry.to_abi()]
        data = bytes.fromhex(self._contract.encode_abi("post", arguments)[2:])
        call = EvmCall(self._contract.address, data, POST_GAS_MAX)
        return self._node.sign(self._key, call, nonce, replaces)

    def send(self, signed: SignedCall) -> None:
        """Hands a post to the node.

        Raises:
            EvmError: refused. UnknownOutcomeError: it may have been taken.
        """
        self._node.send(signed)

    def get_receipt(self, hash_: bytes) -> EvmReceipt | None:
        """What became of a post; None while no block holds it."""
        return self._node.get_receipt(hash_)

    def explain_failure(self, signed: SignedCall) -> str:
        """Why a post that a block holds failed."""
        return self._node.explain_failure(signed)
