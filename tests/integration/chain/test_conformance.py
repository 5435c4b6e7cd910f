"""The facts that neurons rely on hold on the simulator, the development network and a real runtime
alike."""

from itertools import pairwise

import pytest

from assay.network.chain.block_bodies import find_signed
from assay.network.chain.errors import ChainError, TooSoonError
from assay.network.chain.runtime_features import EpochsBy
from assay.network.chain.values import LARGEST_WEIGHT as FULL
from tests.integration.chain.nets import TAO, TEMPO, Net


def test_a_uid_is_held_from_the_block_that_registered_it(net: Net) -> None:
    (hotkey,) = net.register(1)
    member = net.chain.get_members(net.chain.get_head())[hotkey]
    assert net.chain.get_members(member.registered_at)[hotkey] == member
    assert hotkey not in net.chain.get_members(member.registered_at - 1)


def test_a_swapped_hotkey_takes_over_uid_and_age(net: Net) -> None:
    (old,) = net.register(1)
    (new,) = net.make_hotkeys(1)
    before = net.chain.get_head()
    member = net.chain.get_members(before)[old]
    net.swap(old, new)
    net.pass_blocks(1)
    members = net.chain.get_members(net.chain.get_head())
    assert members[new] == member
    assert old not in members
    assert new not in net.chain.get_members(before)


def test_a_commitment_overwritten_later_stands_at_the_block(net: Net) -> None:
    (hotkey,) = net.register(1)
    net.chain.set_commitment(hotkey, b"first")
    net.pass_blocks(1)
    block = net.chain.get_head()
    net.chain.set_commitment(hotkey, b"second")
    net.pass_blocks(1)
    assert net.chain.get_commitments(block)[hotkey] == b"first"
    assert net.chain.get_commitments(net.chain.get_head())[hotkey] == b"second"
    first, second = (
        net.chain.get_commitment_blocks(at)[hotkey] for at in (block, net.chain.get_head())
    )
    assert first <= block < second <= net.chain.get_head()


def test_a_commitment_stays_in_the_body_of_its_block(net: Net) -> None:
    """An audit proves old windows by it: hash and time of a block, and its signed content."""
    one, other = net.register(2)
    before = net.chain.get_head()
    net.chain.set_commitment(one, b"first")
    net.pass_blocks(1)
    net.chain.set_commitment(other, b"second")
    net.pass_blocks(1)
    blocks = range(before + 1, net.chain.get_head() + 1)
    bodies = [net.chain.get_body(number) for number in blocks]
    assert find_signed(iter(bodies)) == {one: b"first", other: b"second"}
    assert [body.block for body in bodies] == [net.chain.get_block(number) for number in blocks]
    for body in bodies:
        state = net.chain.get_commitments(body.block.number)
        assert {hotkey: state[hotkey] for hotkey in body.commitments} == body.commitments


def test_a_commitment_counts_from_the_last_block_it_may_stand_in(net: Net) -> None:
    (hotkey,) = net.register(1)
    before = net.chain.get_head()
    net.chain.set_commitment(hotkey, b"\x00" * 128)
    net.pass_blocks(1)
    blocks = range(before, net.chain.get_head() + 1)
    standing = [hotkey in net.chain.get_commitments(block) for block in blocks]
    assert standing == sorted(standing)
    assert not standing[0]
    assert standing[-1]
    assert net.chain.get_commitments(net.chain.get_head())[hotkey] == b"\x00" * 128


def test_a_commitment_of_any_length_comes_back_as_it_went(net: Net) -> None:
    (hotkey,) = net.register(1)
    for length in (0, 1, 48, 127):
        payload = bytes(range(length))
        net.chain.set_commitment(hotkey, payload)
        net.pass_blocks(1)
        assert net.chain.get_commitments(net.chain.get_head())[hotkey] == payload


def test_a_commitment_of_129_bytes_is_refused(net: Net) -> None:
    (hotkey,) = net.register(1)
    with pytest.raises(ChainError, match="at most 128 bytes"):
        net.chain.set_commitment(hotkey, bytes(129))


def test_a_price_that_rose_after_the_quote_is_not_paid(net: Net) -> None:
    (hotkey,) = net.make_hotkeys(1)
    quote = net.chain.quote_registration(hotkey)
    net.set_rules(registration_cost=3 * quote.cost)
    balance = net.chain.get_balance(net.get_coldkey(hotkey))
    with pytest.raises(ChainError, match="more than the"):
        net.chain.register(hotkey, quote.cost)
    net.pass_blocks(1)
    assert hotkey not in net.chain.get_members(net.chain.get_head())
    assert net.chain.get_balance(net.get_coldkey(hotkey)) == balance
    assert net.chain.quote_registration(hotkey).cost > quote.cost
    net.set_rules(registration_cost=quote.cost)


def test_a_registration_costs_what_was_quoted(net: Net) -> None:
    (hotkey,) = net.make_hotkeys(1)
    quote = net.chain.quote_registration(hotkey)
    balance = net.chain.get_balance(net.get_coldkey(hotkey))
    net.chain.register(hotkey, quote.cost)
    net.pass_blocks(1)
    paid = balance - net.chain.get_balance(net.get_coldkey(hotkey))
    assert abs(paid - quote.total) <= quote.fee // 1_000  # a byte more or less


def test_an_exhausted_balance_registers_nobody(net: Net) -> None:
    (hotkey,) = net.make_hotkeys(1, rao=TAO // 100)
    cost = net.chain.quote_registration(hotkey).cost
    with pytest.raises(ChainError, match="the coldkey has"):
        net.chain.register(hotkey, cost)
    net.pass_blocks(1)
    assert hotkey not in net.chain.get_members(net.chain.get_head())


def test_nobody_registers_twice(net: Net) -> None:
    (hotkey,) = net.register(1)
    with pytest.raises(ChainError, match="already"):
        net.chain.register(hotkey, net.chain.quote_registration(hotkey).cost)


def test_a_full_subnet_evicts_and_the_evicted_can_do_nothing(net: Net) -> None:
    net.register(2)
    before = net.chain.get_members(net.chain.get_head())
    net.set_rules(max_uids=len(before) + 1, immunity_period=0)
    newcomers = net.register(2)
    after = net.chain.get_members(net.chain.get_head())
    net.set_rules(max_uids=256)
    (evicted,) = before.keys() - after.keys()
    assert after.keys() == before.keys() - {evicted} | set(newcomers)
    assert after[newcomers[1]].uid == before[evicted].uid
    assert after[newcomers[1]].registered_at > before[evicted].registered_at
    with pytest.raises(ChainError):
        net.chain.set_commitment(evicted, b"too late")
    with pytest.raises(ChainError, match="not registered"):
        net.chain.set_weights(evicted, {0: FULL})


def test_weights_come_back_as_they_were_sent(net: Net) -> None:
    (validator,), miners = net.register(1, stake=10 * TAO), net.register(2)
    net.pass_epoch()
    members = net.chain.get_members(net.chain.get_head())
    first, second = (members[miner].uid for miner in miners)
    before = net.chain.get_head()
    net.chain.set_weights(validator, {0: 0, first: FULL, second: 21_845})
    net.pass_blocks(1)
    weights = net.chain.get_weights(net.chain.get_head())
    assert weights[validator] == {first: FULL, second: 21_845}
    assert validator not in net.chain.get_weights(before)


def test_two_validators_that_disagree_both_stand(net: Net) -> None:
    one, two = net.register(2, stake=10 * TAO)
    net.pass_epoch()
    members = net.chain.get_members(net.chain.get_head())
    net.chain.set_weights(one, {members[one].uid: 1, members[two].uid: FULL})
    net.chain.set_weights(two, {members[one].uid: FULL})
    net.pass_blocks(1)
    weights = net.chain.get_weights(net.chain.get_head())
    assert weights[one] == {members[one].uid: 1, members[two].uid: FULL}
    assert weights[two] == {members[one].uid: FULL}


@pytest.mark.parametrize("row", [{}, {1: 0}, {1: 7}, {1: FULL, 0: -1}, {1: FULL + 1}])
def test_a_row_that_the_chain_would_change_is_not_sent(net: Net, row: dict[int, int]) -> None:
    with pytest.raises(ChainError, match="65,535"):
        net.chain.set_weights(b"\x01" * 32, row)


def test_weights_without_a_permit_are_refused(net: Net) -> None:
    (hotkey,) = net.register(1)
    net.pass_epoch()
    row = next(r for r in net.chain.get_metagraph(net.chain.get_head()) if r.hotkey == hotkey)
    assert not row.permit
    with pytest.raises(ChainError, match="permit"):
        net.chain.set_weights(hotkey, {0: FULL})


def test_stake_brings_a_permit_at_the_next_epoch(net: Net) -> None:
    (hotkey,) = net.register(1, stake=5 * TAO)
    epoch = net.pass_epoch()
    rows = {row.hotkey: row for row in net.chain.get_metagraph(net.chain.get_head())}
    assert rows[hotkey].permit
    assert rows[hotkey].stake > 0
    assert rows[hotkey].uid == net.chain.get_members(epoch)[hotkey].uid
    assert rows[hotkey].registered_at == net.chain.get_members(epoch)[hotkey].registered_at


def test_weights_too_soon_are_not_sent(net: Net) -> None:
    (hotkey,) = net.register(1, stake=5 * TAO)
    net.pass_epoch()
    uid = net.chain.get_members(net.chain.get_head())[hotkey].uid
    net.chain.set_weights(hotkey, {uid: FULL})
    net.pass_blocks(1)
    net.set_rules(weights_rate_limit=8)
    allowed = net.chain.get_next_weights_block(hotkey)
    with pytest.raises(TooSoonError) as caught:
        net.chain.set_weights(hotkey, {0: FULL})
    assert caught.value.allowed_at == allowed
    net.pass_blocks(allowed - 2 - net.chain.get_head())
    with pytest.raises(TooSoonError):
        net.chain.set_weights(hotkey, {0: FULL})
    net.pass_blocks(1)
    net.chain.set_weights(hotkey, {0: FULL})  # stands in the first block that may hold it
    net.pass_blocks(1)
    net.set_rules(weights_rate_limit=0)
    assert net.chain.get_weights(allowed)[hotkey] == {0: FULL}
    assert net.chain.get_weights(allowed - 1)[hotkey] == {uid: FULL}


def test_epochs_come_where_they_were_foretold(net: Net) -> None:
    head = net.chain.get_head()
    blocks = range(head + 1, head + 24)
    foretold = [net.chain.is_epoch(block) for block in blocks]
    epochs = [block for block, is_one in zip(blocks, foretold, strict=True) if is_one]
    apart = {later - sooner for sooner, later in pairwise(epochs)}
    by = getattr(net.chain.runtime, "epochs_by", EpochsBy.TEMPO)  # the simulator has no runtime
    assert apart == {TEMPO + (by is EpochsBy.TEMPO)}
    net.pass_blocks(len(blocks))
    assert [net.chain.is_epoch(block) for block in blocks] == foretold


def test_a_block_to_come_is_not_there(net: Net) -> None:
    with pytest.raises(ChainError, match="head"):
        net.chain.get_block(net.chain.get_head() + 1_000)


def test_time_goes_forward_and_hashes_differ(net: Net) -> None:
    net.pass_blocks(2)
    head = net.chain.get_head()
    first, second = net.chain.get_block(head - 1), net.chain.get_block(head)
    assert (first.number, second.number) == (head - 1, head)
    assert second.timestamp_ms > first.timestamp_ms
    assert second.hash != first.hash
    assert len(net.chain.genesis_hash) == len(second.hash) == 32


def test_the_owner_holds_uid_0_and_its_slot_is_read_like_any_other(net: Net) -> None:
    head = net.chain.get_head()
    owner = net.chain.get_owner(head)
    assert net.chain.get_members(head)[owner].uid == 0
    net.chain.set_commitment(owner, b"parameters")
    net.pass_blocks(1)
    assert net.chain.get_commitments(net.chain.get_head())[owner] == b"parameters"


def test_hyperparameters_are_the_subnets(net: Net) -> None:
    now = net.chain.get_hyperparameters()
    assert now == net.chain.get_hyperparameters(net.chain.get_head())
    assert (now.tempo, now.commit_reveal, now.registration_open) == (10, False, True)
    assert now.registration_cost > 0
