"""Faults that keep weights from the chain, send them twice, or hide their fate."""

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest

from assay.artifacts.database import Database, JournalError
from assay.lab.simulator import SimulatedChain, SimulatedRules
from assay.network.chain.errors import (
    ChainError,
    TooSoonError,
    UnknownOutcomeError,
    WrongChainError,
)
from assay.network.chain.extrinsic_sender import EXTRINSIC_BLOCKS
from assay.neurons.validator.weights_outbox import DOUBT_BLOCKS, WeightsOutbox, list_rows
from assay.session.chain_delivery import DeliveryState

FULL = 65_535
ONE, TWO, THREE = {1: FULL}, {0: 7, 2: FULL}, {0: FULL, 1: 1}


class Chain:
    """The simulator, and whatever goes wrong with sending to it.

    Attributes:
        sent: (block that holds them, weights) of every sending that the chain accepted.
        before, after: called round each; may raise.
        shut: the subnet opens weights later: they cannot be read.
    """

    def __init__(self, **rules):
        self.hotkeys = [sha256(bytes([n])).digest() for n in range(3)]
        self.real = SimulatedChain(b"weights", 3, 0, 1_000, 10, self.hotkeys)
        self.real.rules = SimulatedRules(**rules)
        self.sent, self.tries, self.shut = [], 0, False
        self.before = self.after = lambda: None
        self.mint()

    def __getattr__(self, name):
        return getattr(self.real, name)

    def mint(self, blocks=1):
        for _ in range(blocks):
            self.real.mint()

    def get_hyperparameters(self, number=None):
        return replace(self.real.get_hyperparameters(number), commit_reveal=self.shut)

    def get_weights(self, number):
        return {} if self.shut else self.real.get_weights(number)

    def set_weights(self, hotkey, weights):
        self.tries += 1
        self.before()
        block = self.real.set_weights(hotkey, weights)
        self.sent.append((block, weights))
        self.after()
        return block


class Box:
    """An outbox over a file, driven block by block."""

    def __init__(self, chain, folder):
        self.chain, self.file = chain, folder / "validator.sqlite"
        self.database = None
        self.restart()

    def restart(self):
        if self.database is not None:
            self.database.close()
        self.database = Database(self.file)
        self.box = WeightsOutbox(self.database, self.chain, self.chain.hotkeys[2])

    def put(self, epoch, weights):
        self.box.put(epoch, weights)

    def work(self):
        while self.box.step(self.chain.get_head()):
            pass

    def run(self, blocks=1):
        for _ in range(blocks):
            self.work()
            self.chain.mint()
        self.work()

    @property
    def states(self):
        return {row.epoch: row.state for row in list_rows(self.database, 99)}

    def get(self, epoch):
        (row,) = (row for row in list_rows(self.database, 99) if row.epoch == epoch)
        return row


@pytest.fixture
def chain():
    return Chain()


@pytest.fixture
def box(chain, tmp_path):
    return Box(chain, tmp_path)


def raise_once(chain, when, error):
    def fail():
        setattr(chain, when, lambda: None)
        raise error

    setattr(chain, when, fail)


def test_weights_are_sent_once_and_confirmed_in_final_state(chain, box):
    box.put(5, {2: 0} | ONE)
    assert box.states == {5: DeliveryState.DUE}
    box.run(20)
    row = box.get(5)
    assert (row.state, row.sent_at, row.confirmed_at, row.weights) == (
        DeliveryState.CONFIRMED,
        2,
        2,
        ONE,
    )
    assert chain.sent == [(2, ONE)]
    assert box.box.trouble is None


def test_the_same_settlement_again_changes_nothing(chain, box):
    box.put(5, ONE)
    box.run(3)
    box.restart()
    box.put(5, ONE)
    box.run(20)
    assert chain.sent == [(2, ONE)]


def test_other_weights_for_the_same_epoch_are_our_own_fault(box):
    box.put(5, ONE)
    with pytest.raises(JournalError, match="other weights of epoch 5"):
        box.put(5, TWO)
    assert box.get(5).weights == ONE


# --- how often


def test_rate_limits_are_met_and_never_run_into(tmp_path):
    """Settlements come faster than the chain takes weights: each interval has the newest."""
    chain = Chain(weights_rate_limit=25)
    box = Box(chain, tmp_path)
    for number in range(12):
        box.put(10 * number, {0: FULL, 1: number + 1})
        box.run(10)
    box.run(30)
    assert chain.tries == len(chain.sent)
    blocks = [block for block, _ in chain.sent]
    assert min(b - a for a, b in pairwise(blocks)) == 25
    assert len({weights[1] for _, weights in chain.sent}) == len(chain.sent)
    assert set(box.states.values()) == {DeliveryState.CONFIRMED, DeliveryState.SUPERSEDED}
    assert box.get(110).state is DeliveryState.CONFIRMED


def test_a_settlement_superseded_before_it_was_sent_stays_visible(tmp_path):
    chain = Chain(weights_rate_limit=25)
    box = Box(chain, tmp_path)
    for epoch, weights in ((1, ONE), (2, TWO), (3, THREE)):
        box.put(epoch, weights)
        box.run(3)
    assert box.states == {
        1: DeliveryState.CONFIRMED,
        2: DeliveryState.SUPERSEDED,
        3: DeliveryState.DUE,
    }
    box.run(25)
    assert box.states[3] is DeliveryState.CONFIRMED
    assert [weights for _, weights in chain.sent] == [ONE, THREE]


def test_a_settlement_older_than_the_newest_is_never_sent(chain, box):
    box.put(7, ONE)
    box.put(5, TWO)
    box.run(5)
    assert box.states == {5: DeliveryState.SUPERSEDED, 7: DeliveryState.CONFIRMED}
    assert [weights for _, weights in chain.sent] == [ONE]


def test_too_soon_after_all_is_waited_for(chain, box):
    """Another program with this hotkey was quicker, between our question and our call."""
    raise_once(chain, "before", TooSoonError("from block 9 on", 9))
    box.put(5, ONE)
    box.run(20)
    assert chain.sent == [(9, ONE)]
    assert chain.tries == 2
    assert box.get(5).failures == 0


# --- nobody says what became of it


def test_an_unknown_outcome_that_did_happen_is_not_sent_again(chain, box):
    raise_once(chain, "after", UnknownOutcomeError("the connection broke"))
    box.put(5, ONE)
    box.work()
    assert box.states == {5: DeliveryState.SENDING}
    box.run(DOUBT_BLOCKS + 5)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert len(chain.sent) == 1
    assert box.box.trouble is None


def test_an_unknown_outcome_that_did_not_is_sent_again_once_it_cannot_come(chain, box):
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(5, ONE)
    box.run(2)
    assert "no node reported the outcome" in box.box.trouble.text
    box.run(EXTRINSIC_BLOCKS - 2)
    assert chain.sent == []
    box.run(DOUBT_BLOCKS - EXTRINSIC_BLOCKS + 3)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert chain.sent[0][0] > EXTRINSIC_BLOCKS + 1
    assert len(chain.sent) == 1


def test_an_extrinsic_signed_by_a_node_ahead_of_our_head_is_waited_for(chain, box):
    """Its lifetime began 16 blocks after the head that we saw; it lands in its last block."""
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(5, ONE)
    box.work()
    marked = box.get(5).marked_at
    box.run(marked + 16 + EXTRINSIC_BLOCKS - 1 - chain.get_head())
    assert chain.sent == []
    chain.real.set_weights(chain.hotkeys[2], ONE)
    box.run(3)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert chain.sent == []


def test_weights_of_the_very_block_at_which_they_are_sent_again_are_not_these(chain, box):
    """The same weights were on chain before the head that was seen before sending: they are
    older."""
    box.put(5, ONE)
    box.work()
    chain.mint()
    box.work()
    assert box.get(5).sent_at == chain.get_head()
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(6, ONE)
    box.run(10)
    assert box.get(6).marked_at == box.get(5).sent_at
    assert box.states[6] is DeliveryState.SENDING


def test_a_newer_settlement_waits_for_what_may_still_come(chain, box):
    """Sent at once, the older weights might be included after it and replace it."""
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(5, ONE)
    box.run(3)
    box.put(6, TWO)
    box.run(20)
    assert chain.sent == []
    chain.real.set_weights(chain.hotkeys[2], ONE)  # here it comes
    box.run(3)
    assert box.states == {5: DeliveryState.CONFIRMED, 6: DeliveryState.CONFIRMED}
    assert [weights for _, weights in chain.sent] == [TWO]


def test_a_newer_settlement_replaces_what_never_came(chain, box):
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(5, ONE)
    box.run(3)
    box.put(6, TWO)
    box.run(DOUBT_BLOCKS + 2)
    assert box.states == {5: DeliveryState.SUPERSEDED, 6: DeliveryState.CONFIRMED}
    assert [weights for _, weights in chain.sent] == [TWO]


def test_the_same_weights_as_last_time_are_not_taken_for_these(chain, box):
    """The chain has them already, from the settlement before: that confirms nothing."""
    box.put(5, ONE)
    box.run(3)
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(6, ONE)
    box.run(10)
    assert box.states[6] is DeliveryState.SENDING
    box.run(DOUBT_BLOCKS)
    assert box.states[6] is DeliveryState.CONFIRMED
    assert len(chain.sent) == 2


def test_a_block_that_said_it_holds_them_and_fell_out_of_the_chain(chain, box):
    box.put(5, ONE)
    box.work()
    chain.real.pending.weights.clear()
    assert box.states == {5: DeliveryState.SENT}
    box.run(20)
    assert box.states == {5: DeliveryState.SENT}
    box.run(DOUBT_BLOCKS)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert len(chain.sent) == 2


@pytest.mark.parametrize(("when", "sent"), [("before", 2), ("after", 1)])
def test_killed_between_sending_and_noting_it(chain, box, when, sent):
    class Killed(BaseException):
        pass

    raise_once(chain, when, Killed())
    box.put(5, ONE)
    with pytest.raises(Killed):
        box.work()
    chain.mint(2)
    box.restart()
    assert box.states == {5: DeliveryState.SENDING}
    box.run(DOUBT_BLOCKS + 3)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert (chain.tries, len(chain.sent)) == (sent, 1)


# --- the chain refuses


def test_without_a_permit_they_are_kept_until_there_is_one(tmp_path):
    chain = Chain(permits=True)
    box = Box(chain, tmp_path)
    box.put(5, ONE)
    box.run(40)
    assert box.states == {5: DeliveryState.DUE}
    assert "no permit" in box.get(5).trouble
    assert "no permit" in box.box.trouble.text
    assert chain.tries == 4  # with growing pauses: at once, after 4, 8 and 16 blocks
    chain.fund(chain.hotkeys[2], 9)
    chain.add_stake(chain.hotkeys[2], 9)
    box.run(40)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert box.box.trouble is None


def test_a_hotkey_that_lost_its_uid_sends_when_it_has_one_again(tmp_path):
    chain = Chain(max_uids=3)
    box = Box(chain, tmp_path)
    box.put(4, ONE)
    box.run(3)
    evict(chain, chain.hotkeys[2])
    box.run(8)
    assert "no longer has a uid" in box.box.trouble.text  # a look at what stands says so too
    box.put(5, TWO)
    box.run(10)
    assert box.states[5] is DeliveryState.DUE
    assert "has no uid" in box.get(5).trouble
    assert chain.tries == 1
    chain.real.rules = replace(chain.rules, max_uids=9)
    chain.register(chain.hotkeys[2])
    box.run(20)
    assert box.states[5] is DeliveryState.CONFIRMED
    assert box.box.trouble is None


def test_a_hotkey_evicted_while_its_weights_were_under_way(tmp_path):
    chain = Chain(max_uids=3)
    box = Box(chain, tmp_path)
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(5, ONE)
    box.work()
    evict(chain, chain.hotkeys[2])
    chain.real.rules = replace(chain.rules, max_uids=9)
    chain.register(chain.hotkeys[2])  # which counts as an update, and is none
    box.run(20)
    assert box.states == {5: DeliveryState.SENDING}
    box.run(DOUBT_BLOCKS)
    assert box.states == {5: DeliveryState.CONFIRMED}


def evict(chain, hotkey):
    """New hotkeys until a full subnet has none left for this one."""
    number = 0
    while hotkey in chain.get_members(chain.get_head()):
        number += 1
        chain.register(sha256(b"newcomer" + bytes([number])).digest())
        chain.mint()


def test_a_refusal_that_was_none_is_found_on_chain(chain, box):
    """The node took the extrinsic, and then refuses to show the block."""
    raise_once(chain, "after", ChainError("cannot decode the events"))
    box.put(5, ONE)
    box.run(12)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert len(chain.sent) == 1


# --- others


def test_somebody_else_with_the_hotkey_is_reported_and_not_fought(chain, box):
    box.put(5, ONE)
    box.run(3)
    chain.real.set_weights(chain.hotkeys[2], TWO)
    box.run(20)
    assert "this program has not sent" in box.box.trouble.text
    assert "this program has not sent" in box.get(5).trouble
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert len(chain.sent) == 1
    box.put(6, THREE)
    box.run(3)
    assert box.box.trouble is None


def test_whoever_has_nothing_to_send_asks_the_chain_seldom(chain, box, monkeypatch):
    box.put(5, ONE)
    box.run(5)
    asked, real = [], chain.real.get_weights_block
    monkeypatch.setattr(
        chain.real, "get_weights_block", lambda *a: (asked.append(chain.get_head()), real(*a))[1]
    )
    box.run(80)
    assert 8 <= len(asked) <= 11


def test_weights_that_are_opened_later_are_confirmed_by_being_taken(chain, box):
    chain.shut = True
    box.put(5, ONE)
    box.run(3)
    row = box.get(5)
    assert (row.state, row.sent_at) == (DeliveryState.CONFIRMED, 2)
    raise_once(chain, "before", UnknownOutcomeError("the connection broke"))
    box.put(6, TWO)
    box.run(5)
    assert box.states[6] is DeliveryState.SENDING
    box.run(DOUBT_BLOCKS)
    assert box.states[6] is DeliveryState.CONFIRMED
    assert len(chain.sent) == 2


def test_a_node_that_is_away_is_waited_for(chain, box, monkeypatch):
    box.put(5, ONE)

    def fail(hotkey):
        raise ChainError("the node does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(chain.real, "get_next_weights_block", fail)
        box.run(3)
    assert box.box.trouble.text == "the node does not answer"
    assert box.states == {5: DeliveryState.DUE}
    box.run(3)
    assert box.states == {5: DeliveryState.CONFIRMED}
    assert box.box.trouble is None


def test_a_node_of_another_chain_is_not_waited_for(chain, box):
    raise_once(chain, "before", WrongChainError("another chain's"))
    box.put(5, ONE)
    with pytest.raises(WrongChainError):
        box.work()
