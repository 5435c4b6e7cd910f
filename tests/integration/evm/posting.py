"""A validator that posts, and may be killed around the sending."""

import time
from pathlib import Path

from assay.artifacts.database import Database
from assay.network.chain.errors import UnknownOutcomeError
from assay.network.evm import LedgerEntry, LedgerPoster, SignedCall, bind_hotkey
from assay.neurons.validator.post_outbox import PostOutbox, PostRow, list_posts
from assay.protocol.record import RECORD_VERSION, SeatScore, SettlementRecord
from assay.protocol.score_tree import compute_weights_digest, keccak256, make_score_tree
from assay.session.chain_delivery import DeliveryState
from tests.integration.evm.anvil import Stage

DEEP = 3


def make_entry(epoch: int) -> LedgerEntry:
    root, record, model, weights = (keccak256(f"{n} {epoch}".encode()) for n in range(4))
    return LedgerEntry(root, record, model, epoch + 1, weights)


def make_record(epoch: int) -> SettlementRecord:
    """A settlement with one score."""
    scores = (SeatScore(keccak256(b"miner"), 3, 5, 1_000),)
    root = make_score_tree([(score.hotkey, score.score) for score in scores]).root
    nothing = bytes(32)
    return SettlementRecord(
        RECORD_VERSION,
        "assay test",
        nothing,
        nothing,
        epoch,
        0,
        nothing,
        (),
        nothing,
        0,
        scores,
        root,
        0,
        (),
        compute_weights_digest([]),
    )


def await_(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


class KilledError(BaseException):
    """The program ends here, as by kill -9."""


class MortalPoster(LedgerPoster):
    """Dies before or after the next post leaves, or loses the node's answer to it. Its node may
    falsely claim that an entry exists, or count transactions or blocks that do not exist."""

    fate = ""
    claimed = b""
    invented = 0
    ahead = 0

    def get_head(self) -> int:
        return super().get_head() + self.ahead

    def get_digest(self, epoch: int) -> bytes:
        return self.claimed or super().get_digest(epoch)

    def get_nonce(self, *, pending: bool) -> int:
        return super().get_nonce(pending=pending) + (self.invented if pending else 0)

    def send(self, signed: SignedCall) -> None:
        fate, self.fate = self.fate, ""
        if fate == "before":
            raise KilledError
        super().send(signed)
        if fate == "after":
            raise KilledError
        if fate == "unanswered":
            raise UnknownOutcomeError("no answer")


class Validator:
    """An outbox on a file, with a key that nobody else uses, on a chain that mines on demand."""

    def __init__(self, stage: Stage, file: Path) -> None:
        self.stage = stage
        self.key = stage.make_poor_key()
        bind_hotkey(stage.ledger, self.key, stage.hotkey.public, stage.hotkey.sign, 0)
        stage.anvil.pause()
        self._file = file
        self.start()

    def start(self) -> None:
        """Also again, after a kill."""
        self.poster = MortalPoster(self.stage.ledger, self.key, self.stage.hotkey.public)
        self.database = Database(self._file)
        self.outbox = PostOutbox(self.database, self.poster, DEEP)

    def restart(self) -> None:
        self.database.close()
        self.start()

    def put(self, *epochs: int) -> None:
        for epoch in epochs:
            self.outbox.put(epoch, make_entry(epoch))

    def step(self, blocks: int = 0) -> None:
        """A step, after as many blocks."""
        if blocks:
            self.stage.anvil.mine(blocks)
        self.outbox.step()

    def get(self, epoch: int) -> PostRow:
        return next(row for row in list_posts(self.database, 99) if row.epoch == epoch)

    def stands(self, epoch: int) -> bool:
        return self.poster.get_digest(epoch) == make_entry(epoch).digest

    def count_transactions(self) -> int:
        """The number of its key's transactions in blocks; one of them bound the key."""
        return self.poster.get_nonce(pending=False) - 1

    def require_posted_once(self, *epochs: int) -> None:
        assert all(self.stands(epoch) for epoch in epochs)
        assert {self.get(epoch).state for epoch in epochs} == {DeliveryState.CONFIRMED}
        assert self.outbox.trouble is None
