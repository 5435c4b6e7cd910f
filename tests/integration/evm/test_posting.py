"""Settlements on their way to the ledger, on a chain that forks, halts and refuses."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eth_account import Account

from assay.artifacts.database import Database
from assay.network.chain.errors import UnknownOutcomeError, WrongChainError
from assay.network.evm import EvmKey, EvmNode, LedgerPoster, ScoreLedger, bind_hotkey
from assay.network.evm import node as evm_node
from assay.neurons.validator.post_outbox import PostOutbox, PostThread, list_posts
from assay.protocol.score_tree import keccak256
from assay.session.chain_delivery import DeliveryState
from tests.integration.evm.anvil import CHAIN_ID, NETUID, SR25519, Anvil, Stage
from tests.integration.evm.posting import (
    DEEP,
    KilledError,
    Validator,
    await_,
    make_entry,
    make_record,
)


@pytest.fixture
def validator(stage: Stage, tmp_path: Path) -> Iterator[Validator]:
    found = Validator(stage, tmp_path / "validator.sqlite")
    yield found
    found.database.close()


def test_posts_and_waits_for_blocks_on_top(validator: Validator) -> None:
    validator.put(10)
    assert validator.get(10).state is DeliveryState.DUE
    validator.step()
    assert validator.get(10).state is DeliveryState.SENT
    for _ in range(DEEP):
        validator.step(blocks=1)
        assert validator.get(10).state is DeliveryState.SENT
    validator.step(blocks=1)
    validator.require_posted_once(10)
    block = validator.get(10).seen_at
    found = validator.stage.ledger.find_posted(validator.stage.hotkey.public, 10)
    assert found is not None
    assert (found.block, found.entry) == (block, make_entry(10))


def test_two_posts_in_one_block(validator: Validator) -> None:
    validator.put(10, 20)
    validator.step()
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10, 20)
    assert validator.get(10).seen_at == validator.get(20).seen_at
    assert validator.count_transactions() == 2


def test_many_due_at_once(validator: Validator) -> None:
    epochs = range(10, 19)  # one more than are sent together
    validator.put(*epochs)
    for _ in range(3):
        validator.step(blocks=1 + DEEP)
    validator.require_posted_once(*epochs)
    assert validator.count_transactions() == len(epochs)


@pytest.mark.parametrize("fate", ["before", "after"])
def test_killed_around_the_sending(validator: Validator, fate: str) -> None:
    validator.put(10)
    validator.poster.fate = fate
    with pytest.raises(KilledError):
        validator.step()
    signed = validator.get(10).post
    assert signed is not None
    validator.restart()
    assert validator.get(10).state is DeliveryState.SENDING
    validator.step()
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)
    assert validator.get(10).post == signed  # the same bytes: it cannot stand twice
    assert validator.count_transactions() == 1


def test_restart_between_sending_and_receipt(validator: Validator) -> None:
    validator.put(10, 20)
    validator.step()
    validator.restart()
    validator.stage.anvil.mine(1 + DEEP)  # nobody was looking
    validator.put(10, 20)  # a run after a kill settles again
    validator.step()
    validator.require_posted_once(10, 20)
    assert validator.count_transactions() == 2


def test_an_answer_that_was_lost(validator: Validator) -> None:
    validator.put(10)
    validator.poster.fate = "unanswered"
    with pytest.raises(UnknownOutcomeError):
        validator.step()
    assert validator.get(10).state is DeliveryState.SENDING
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)
    assert validator.count_transactions() == 1


def test_reorganisation_of_the_posting_block(validator: Validator) -> None:
    validator.put(10)
    validator.step()
    validator.step(blocks=1)
    assert validator.stands(10)
    validator.stage.anvil.rpc("anvil_reorg", 1, [])
    assert not validator.stands(10)
    validator.step()
    assert validator.get(10).state is DeliveryState.SENT
    assert validator.get(10).seen_at is None
    validator.step(blocks=1)
    assert validator.stands(10)
    validator.step(blocks=DEEP)
    validator.require_posted_once(10)


def test_reorganisation_deeper_than_confirmations(validator: Validator) -> None:
    validator.put(10)
    validator.step()
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)
    validator.stage.anvil.rpc("anvil_reorg", 1 + DEEP, [])
    assert not validator.stands(10)
    validator.step()  # sees it
    validator.step()  # sends it
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)


def test_out_of_gas(validator: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evm_node, "_GAS_MARGIN", 90)
    validator.put(10)
    validator.step()
    validator.step(blocks=1)
    row = validator.get(10)
    assert (row.state, row.failures) == (DeliveryState.DUE, 1)
    assert "out of gas" in str(validator.outbox.trouble)
    monkeypatch.undo()
    validator.step(blocks=1)
    assert validator.get(10).state is DeliveryState.DUE  # it pauses
    validator.step(blocks=4)
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)


def test_foreign_poster_until_it_is_bound(validator: Validator) -> None:
    stage, own = validator.stage, validator.key
    stage.anvil.go_on()
    bind_hotkey(stage.ledger, stage.key, stage.hotkey.public, stage.hotkey.sign, 0)
    validator.put(10)
    validator.step()
    assert validator.get(10).state is DeliveryState.DUE
    assert "NotThePoster" in str(validator.outbox.trouble)
    assert "assay ledger bind" in str(validator.outbox.trouble)
    bind_hotkey(stage.ledger, own, stage.hotkey.public, stage.hotkey.sign, 0)
    validator.step(blocks=4)
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)


def test_another_entry_stands_already(validator: Validator, tmp_path: Path) -> None:
    twin = validator.poster
    other = make_entry(99)
    twin.send(twin.sign(10, other, twin.get_nonce(pending=True)))
    validator.stage.anvil.mine()
    validator.put(10)
    validator.step()
    assert validator.get(10).state is DeliveryState.TAKEN
    assert other.digest.hex() in str(validator.outbox.trouble)
    validator.put(20)  # and the next goes on
    validator.step()
    validator.step(blocks=1 + DEEP)
    assert validator.get(20).state is DeliveryState.CONFIRMED


def test_the_same_entry_stands_already(validator: Validator) -> None:
    twin = validator.poster
    twin.send(twin.sign(10, make_entry(10), twin.get_nonce(pending=True)))
    validator.stage.anvil.mine()
    validator.put(10)
    validator.step()
    validator.step(blocks=DEEP)
    validator.require_posted_once(10)
    assert validator.count_transactions() == 1


def test_the_first_entry_of_a_settlement_stays(validator: Validator) -> None:
    validator.put(10)
    validator.outbox.put(10, make_entry(99))
    assert validator.get(10).entry == make_entry(10)


def test_a_number_that_another_transaction_took(validator: Validator) -> None:
    validator.put(10)
    validator.poster.fate = "before"
    with pytest.raises(KilledError):
        validator.step()
    other = validator.poster
    other.send(other.sign(77, make_entry(77), other.get_nonce(pending=True)))
    validator.step(blocks=1)  # finds its number taken, and signs anew
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)
    assert validator.count_transactions() == 2


def test_a_post_that_no_block_takes_is_outbid(validator: Validator) -> None:
    validator.put(10)
    validator.step()
    first = validator.get(10).post
    assert first is not None
    for _ in range(21):  # blocks dearer than it pays
        validator.stage.anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(3 * first.price))
        validator.stage.anvil.mine()
    assert not validator.stands(10)
    validator.step()
    second = validator.get(10).post
    assert second is not None
    assert second.nonce == first.nonce
    assert second.price > first.price
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)
    assert validator.count_transactions() == 1


def test_a_lost_post_that_would_be_too_dear_to_outbid(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator.put(10)
    validator.step()
    first = validator.get(10).post
    assert first is not None
    monkeypatch.setattr(validator.stage.node, "_price_max", first.price)
    validator.stage.anvil.rpc("anvil_dropAllTransactions")
    validator.step(blocks=21)
    assert "max_gas_price" in str(validator.outbox.trouble)
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)
    assert validator.get(10).post == first


def test_numbers_that_a_node_invented(validator: Validator) -> None:
    """No block ever takes a transaction that was signed with them."""
    validator.poster.invented = 3
    validator.put(10, 20)
    validator.step()
    validator.poster.invented = 0
    for _ in range(3):
        validator.step(blocks=21)
    validator.require_posted_once(10, 20)
    assert validator.count_transactions() == 2


def test_a_head_that_a_node_invented(validator: Validator) -> None:
    """A refused post does not wait for a block that never comes."""
    stage, own = validator.stage, validator.key
    stage.anvil.go_on()
    bind_hotkey(stage.ledger, stage.key, stage.hotkey.public, stage.hotkey.sign, 0)
    validator.poster.ahead = 10**9
    validator.put(10)
    validator.step()
    assert validator.get(10).retry_at > 10**9
    validator.poster.ahead = 0
    bind_hotkey(stage.ledger, own, stage.hotkey.public, stage.hotkey.sign, 0)
    stage.anvil.pause()
    validator.step()
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)


def test_key_replaced_while_a_post_is_under_way(validator: Validator) -> None:
    """The old key has no money left, and its numbers are not the new one's."""
    stage, old = validator.stage, validator.key
    validator.put(1, 2, 3)
    validator.step()
    validator.step(blocks=1 + DEEP)
    validator.put(10)
    validator.step()
    stage.anvil.rpc("anvil_dropAllTransactions")
    stage.anvil.rpc("anvil_setBalance", old.address, "0x0")
    stage.anvil.go_on()
    validator.key = stage.make_poor_key()
    bind_hotkey(stage.ledger, validator.key, stage.hotkey.public, stage.hotkey.sign, 0)
    stage.anvil.pause()
    validator.restart()
    validator.step()
    validator.put(20)
    for _ in range(3):
        validator.step(blocks=21)
    validator.require_posted_once(10, 20)
    assert validator.count_transactions() == 2


def test_a_node_that_claims_another_entry(validator: Validator) -> None:
    """Or one that a reorganisation took out: nothing is given up for a node's word."""
    validator.put(10)
    validator.poster.claimed = b"\7" * 32
    validator.step()
    assert validator.get(10).state is DeliveryState.TAKEN
    validator.step(blocks=1)
    assert validator.get(10).state is DeliveryState.TAKEN
    validator.poster.claimed = b""
    validator.step(blocks=1)
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)


def test_precompile_gone_after_binding_changes_nothing(validator: Validator) -> None:
    validator.stage.anvil.etch(SR25519, "")
    validator.put(10)
    validator.step()
    validator.step(blocks=1 + DEEP)
    validator.require_posted_once(10)


def test_wrong_chain(validator: Validator) -> None:
    stage = validator.stage
    with closing(EvmNode(stage.anvil.endpoint, 964)) as wrong:
        ledger = ScoreLedger(wrong, stage.ledger.address, NETUID)
        poster = LedgerPoster(ledger, validator.key, stage.hotkey.public)
        outbox = PostOutbox(validator.database, poster, DEEP)
        validator.put(10)
        with pytest.raises(WrongChainError):
            outbox.step()
    assert validator.get(10).state is DeliveryState.DUE


# --- beside a validator


def test_a_failing_evm_delays_nothing_and_is_tried_again(stage: Stage, tmp_path: Path) -> None:
    """An endpoint that answers nobody, then one that does."""
    other = Anvil()
    other.close()
    with closing(Database(tmp_path / "validator.sqlite")) as database:
        dead = EvmNode(other.endpoint, CHAIN_ID)
        ledger = ScoreLedger(dead, stage.ledger.address, NETUID)
        poster = LedgerPoster(ledger, stage.key, stage.hotkey.public)
        thread = PostThread(PostOutbox(database, poster, 0), look_s=0.05)
        thread.start()
        thread.put_record(make_record(10))
        await_(lambda: thread.trouble is not None)
        assert "does not answer" in str(thread.trouble)
        thread.close()
        dead.close()
        poster = LedgerPoster(stage.ledger, stage.key, stage.hotkey.public)
        thread = PostThread(PostOutbox(database, poster, 0), look_s=0.05)
        thread.start()
        await_(lambda: list_posts(database, 1)[0].state is DeliveryState.CONFIRMED)
        await_(lambda: thread.trouble is None)
        thread.close()


def test_a_defect_ends_neither_thread_nor_program(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Defective(LedgerPoster):
        broken = True

        def get_digest(self, epoch: int) -> bytes:
            if self.broken:
                raise RuntimeError("a defect")
            return super().get_digest(epoch)

    with closing(Database(tmp_path / "validator.sqlite")) as database:
        poster = Defective(stage.ledger, stage.key, stage.hotkey.public)
        thread = PostThread(PostOutbox(database, poster, 0), look_s=0.02)
        thread.start()
        thread.put_record(make_record(10))
        await_(lambda: thread.trouble is not None)
        assert "a defect" in caplog.text
        poster.broken = False
        await_(lambda: list_posts(database, 1)[0].state is DeliveryState.CONFIRMED)
        thread.close()


def test_the_key_is_nowhere_on_disk(validator: Validator, tmp_path: Path) -> None:
    secret = keccak256(b"a secret of this test")
    key = EvmKey(Account.from_key(secret))
    validator.stage.anvil.rpc("anvil_setBalance", key.address, hex(10**18))
    validator.stage.anvil.go_on()
    stage = validator.stage
    bind_hotkey(stage.ledger, key, stage.hotkey.public, stage.hotkey.sign, 0)
    with closing(Database(tmp_path / "other.sqlite")) as database:
        outbox = PostOutbox(database, LedgerPoster(stage.ledger, key, stage.hotkey.public), DEEP)
        outbox.put(10, make_entry(10))
        outbox.step()
        assert list_posts(database, 1)[0].state is DeliveryState.SENT
        found = b"".join(file.read_bytes() for file in tmp_path.glob("other.sqlite*"))
    assert secret not in found
    assert secret.hex().encode() not in found
