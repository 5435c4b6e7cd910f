"""The table of deliveries holds what its four drivers do, each in every situation, and no more."""

from contextlib import suppress
from itertools import product
from types import SimpleNamespace

import pytest

from assay.artifacts.database import Database
from assay.network.chain.errors import ChainError, TooSoonError, UnknownOutcomeError
from assay.network.evm import EvmError, LedgerEntry, SignedCall
from assay.neurons.miner import commitment_delivery
from assay.neurons.miner.commitment_delivery import CommitmentDelivery, PendingCommitment
from assay.neurons.validator import post_outbox, weights_outbox
from assay.neurons.validator.post_outbox import PostOutbox, PostRow
from assay.neurons.validator.weights_outbox import WeightsOutbox, WeightsRow
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import DEMO_TIMING
from assay.session import chain_delivery
from assay.session.chain_delivery import DELIVERY, Announcement, DeliveryEvent, DeliveryState
from assay.subnet.presets import make_demo_parameters

HOTKEY, PAYLOAD = bytes(32), b"payload"
REFUSALS = (None, ChainError("refused"), UnknownOutcomeError("nobody said"))
FAR = 1_000
PARAMETERS = make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), bytes(32))


@pytest.fixture
def taken(monkeypatch):
    """The entries looked up in the table: state and event."""
    found = set()

    class Row(dict):
        def __getitem__(self, event):
            found.add((self.state, event))
            return super().__getitem__(event)

    table = {}
    for state, row in DELIVERY.items():
        table[state] = Row(row)
        table[state].state = state
    for module in (chain_delivery, commitment_delivery, weights_outbox, post_outbox):
        monkeypatch.setattr(module, "DELIVERY", table)
    return found


def answer(value):
    """A method that gives a value, or raises it."""

    def call(*_, **__):
        if isinstance(value, Exception):
            raise value
        return value

    return call


def drive(step):
    with suppress(ChainError):
        step()


def make_slot_chain(head, stands, refusal):
    return SimpleNamespace(
        get_head=answer(head),
        get_commitments=answer({HOTKEY: PAYLOAD} if stands else {}),
        set_commitment=answer(refusal),
    )


def drive_announcements():
    states = DeliveryState.DUE, DeliveryState.SENT
    for state, head, stands, refusal in product(states, (1, FAR), (False, True), REFUSALS):
        chain = make_slot_chain(head, stands, refusal)
        announcement = Announcement(chain, HOTKEY, PAYLOAD, state)
        drive(announcement.look)
        if announcement.due:
            drive(announcement.send)


def drive_commitments():
    states = DeliveryState.DUE, DeliveryState.SENT
    bounds = None, (HOTKEY, PAYLOAD)
    heads = 1, DEMO_TIMING.commit_offset - 1, FAR
    for state, head, stands, refusal, bound in product(
        states, heads, (False, True), REFUSALS, bounds
    ):
        chain = make_slot_chain(head, stands, refusal)
        delivery = CommitmentDelivery(chain, ParameterHistory(PARAMETERS))
        ignore = answer(None)
        delivery.add(PendingCommitment(0, chain.set_commitment, ignore, ignore, bound, state))
        delivery.step(head)


def drive_weights():
    states = DeliveryState.DUE, DeliveryState.SENDING, DeliveryState.SENT
    sent = 9, *REFUSALS[1:], TooSoonError("too soon", 99)
    for state, marked, at, stands, allowed, outcome, newer in product(
        states, (None, 5), (None, 0, 9), (False, True), (0, FAR), sent, (False, True)
    ):
        database = Database()
        chain = SimpleNamespace(
            get_weights_block=answer(at),
            get_weights=answer({HOTKEY: {1: 1}} if stands else {}),
            get_next_weights_block=answer(allowed),
            get_hyperparameters=answer(SimpleNamespace(commit_reveal=False)),
            set_weights=answer(outcome),
        )
        outbox = WeightsOutbox(database, chain, HOTKEY)
        outbox.save(WeightsRow(1, state, {1: 1}, marked_at=marked, expires=9))
        if newer:
            outbox.put(2, {1: 2})
        drive(lambda: outbox.step(10))  # noqa: B023


def drive_posts():
    entry, other = (LedgerEntry(bytes(32), bytes(32), bytes(32), n, bytes(32)) for n in (1, 2))
    post = SignedCall(b"", bytes(32), 3, 1)
    without_post = DeliveryState.DUE, DeliveryState.CONFIRMED, DeliveryState.TAKEN
    rows = [PostRow(1, state, entry, seen_at=1) for state in without_post]
    rows += [
        PostRow(1, state, entry, post, marked_at=1, seen_at=1)
        for state in (*without_post, DeliveryState.SENDING, DeliveryState.SENT)
    ]
    receipts = (
        None,
        SimpleNamespace(succeeded=True, block=1),
        SimpleNamespace(succeeded=False, block=1),
    )
    for row, digest, receipt, nonce, head, signed, outcome in product(
        rows,
        (bytes(32), entry.digest, other.digest),
        receipts,
        (3, 4),
        (2, 100),
        (post, EvmError("no gas")),
        REFUSALS,
    ):
        ledger = SimpleNamespace(
            get_head=answer(head),
            get_digest=answer(digest),
            get_nonce=answer(nonce),
            sign=answer(signed),
            send=answer(outcome),
            get_receipt=answer(receipt),
            explain_failure=answer("it failed"),
        )
        outbox = PostOutbox(Database(), ledger, 6)
        outbox.save(row)
        drive(outbox.step)


def test_every_entry_is_taken_by_a_driver_and_nothing_else_is(taken):
    drive_announcements()
    drive_commitments()
    drive_weights()
    drive_posts()
    entries = {(state, event) for state, row in DELIVERY.items() for event in row}
    assert taken == entries
    assert {event for _, event in entries} == set(DeliveryEvent)
