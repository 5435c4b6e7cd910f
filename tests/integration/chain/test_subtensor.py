"""The adapter itself, on a node: which chain it is, bad nodes, money, consensus."""

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.network.chain.connection import Connection
from assay.network.chain.errors import (
    ChainError,
    ForgottenError,
    UnknownOutcomeError,
    WrongChainError,
)
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.runtime_features import CommitBy, RegisterBy
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.network.chain.values import LARGEST_WEIGHT as FULL
from tests.integration.chain.nets import TAO, RuntimeNet
from tests.integration.chain.proxy import FaultyNode


def open_chain(connection: Connection, subnet: RuntimeNet, folder: Path) -> SubtensorChain:
    return SubtensorChain(connection, subnet.netuid, folder, poll_s=0)


# --- which chain


def test_another_chains_node_is_refused_before_anything_is_read(
    subnet: RuntimeNet, faulty: FaultyNode
) -> None:
    with pytest.raises(WrongChainError, match=subnet.connection.genesis_hash.hex()):
        Connection(ChainTarget((faulty.endpoint,), genesis_hash=b"\x01" * 32))
    assert not any(method.startswith("state_query") for method in faulty.requests)


def test_a_subnet_that_is_not_there_is_refused(subnet: RuntimeNet, tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="no subnet 4711"):
        SubtensorChain(subnet.connection, 4711, tmp_path)


def test_a_chain_started_anew_is_not_taken_for_the_one_kept(
    subnet: RuntimeNet, faulty: FaultyNode, behind: Connection, tmp_path: Path
) -> None:
    chain = open_chain(behind, subnet, tmp_path)
    known = chain.get_block(chain.get_head() - 1)
    chain.close()

    def give_another_hash(method: str, params: list[Any], result: Any) -> Any:
        astray = method == "chain_getBlockHash" and params == [known.number]
        return "0x" + "ab" * 32 if astray else result

    faulty.rewrite = give_another_hash
    fresh = Connection(ChainTarget((faulty.endpoint,)))
    with pytest.raises(WrongChainError, match="started anew"):
        open_chain(fresh, subnet, tmp_path)
    fresh.close()


def test_a_node_that_takes_over_must_be_of_the_same_chain(
    subnet: RuntimeNet, faulty: FaultyNode, caplog: pytest.LogCaptureFixture
) -> None:
    other = FaultyNode(subnet.endpoint)
    other.rewrite = lambda method, params, result: (
        "0x" + "ab" * 32 if method == "chain_getBlockHash" and params == [0] else result
    )
    target = subnet.make_target(faulty.endpoint, other.endpoint)
    connection = Connection(replace(target, patience_s=5.0))
    faulty.silent = True
    with pytest.raises(ChainError, match="does not answer"):
        connection.read_head()
    assert "genesis hash abab" in caplog.text
    faulty.silent = False
    assert connection.read_head() > 0
    connection.close()
    other.close()


def test_the_node_after_a_cut_must_have_the_same_chain(
    subnet: RuntimeNet, faulty: FaultyNode, behind: Connection, tmp_path: Path
) -> None:
    chain = open_chain(behind, subnet, tmp_path)
    head = chain.get_head()
    faulty.cut()
    assert chain.get_head() >= head  # the same node, asked again who it is
    faulty.rewrite = lambda method, params, result: (
        "0x" + "ab" * 32 if method == "chain_getBlockHash" and params == [0] else result
    )
    faulty.cut()
    with pytest.raises(WrongChainError, match="genesis hash abab"):
        chain.get_head()


def test_a_cut_is_said_in_two_lines_and_in_no_traceback(
    faulty: FaultyNode, behind: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's own task ends with an error that nobody asks for: asyncio would print it."""
    behind.read(lambda s: s.block_number())
    faulty.cut()
    time.sleep(0.5)  # the SDK dials again after a quarter of a second, in vain
    behind.read(lambda s: s.block_number())
    time.sleep(0.05)  # the old connection is closed in the background
    gc.collect()
    said = [r.getMessage() for r in caplog.records if r.name in ("assay.chain", "asyncio")]
    assert ["retrying" in line or "answers, after" in line for line in said] == [True] * 2, said


def test_a_chain_that_is_shorter_than_what_is_kept_was_started_anew(
    subnet: RuntimeNet, faulty: FaultyNode, behind: Connection, tmp_path: Path
) -> None:
    chain = open_chain(behind, subnet, tmp_path)
    head = chain.get_head()
    kept = f'["{"ab" * 32}", 0]'
    chain.archive.put("block", head + 300, chain.archive.get("block", head) or kept)
    faulty.cut()
    with pytest.raises(WrongChainError, match="started anew"):
        chain.get_head()


# --- nodes that fail


def test_a_half_open_websocket_freezes_nobody(
    subnet: RuntimeNet, faulty: FaultyNode, behind: Connection, tmp_path: Path
) -> None:
    chain = open_chain(behind, subnet, tmp_path)
    head = chain.get_head()
    faulty.silent = True
    with pytest.raises(ChainError, match=r"does not answer.*another endpoint"):
        chain.get_head()
    faulty.silent = False
    assert chain.get_head() >= head


def test_the_next_endpoint_takes_over(
    subnet: RuntimeNet, faulty: FaultyNode, tmp_path: Path
) -> None:
    target = subnet.make_target(faulty.endpoint, subnet.endpoint)
    connection = Connection(replace(target, patience_s=10.0))
    chain = open_chain(connection, subnet, tmp_path)
    head = chain.get_head()
    faulty.silent = True
    assert chain.get_head() >= head
    connection.close()


def test_state_that_nodes_forgot_is_still_known_here(
    subnet: RuntimeNet, faulty: FaultyNode, behind: Connection, tmp_path: Path
) -> None:
    (hotkey,) = subnet.register(1)
    subnet.chain.set_commitment(hotkey, b"kept")
    chain = open_chain(behind, subnet, tmp_path)
    head = chain.get_head()
    asked: list[Callable[[SubtensorChain], Any]] = [
        lambda c: c.get_block(head),
        lambda c: c.get_members(head),
        lambda c: c.get_commitments(head),
        lambda c: c.get_weights(head),
        lambda c: [c.is_epoch(block) for block in range(head - 5, head + 1)],
    ]
    answers = [ask(chain) for ask in asked]
    assert answers[2][hotkey] == b"kept"
    chain.close()
    subnet.pass_blocks(1)
    again = open_chain(behind, subnet, tmp_path)  # like a restart
    faulty.forgetful = True
    assert [ask(again) for ask in asked] == answers
    with pytest.raises(ForgottenError, match="discarded"):
        again.get_members(head - 1)


def test_a_broken_wait_is_not_taken_for_a_refusal(subnet: RuntimeNet, faulty: FaultyNode) -> None:
    (hotkey,) = subnet.register(1)
    connection = Connection(subnet.make_target(faulty.endpoint))
    faulty.swallow_notifications = True
    with pytest.raises(UnknownOutcomeError, match="may still happen"):
        ExtrinsicSender(connection).send_call(
            ("System", "remark_with_event", {"remark": b"hello"}),
            subnet.get_wallet(hotkey),
            final=True,
        )
    connection.close()


def test_an_included_extrinsic_is_never_called_refused(
    subnet: RuntimeNet, faulty: FaultyNode
) -> None:
    (hotkey,) = subnet.register(1)
    connection = Connection(ChainTarget((faulty.endpoint,), deadline_s=20, inclusion_s=20))
    sender = ExtrinsicSender(connection)
    # the block that holds it cannot be read: it was retracted, or the node is confused
    faulty.rewrite = lambda method, _, result: None if method == "chain_getBlock" else result
    with pytest.raises(UnknownOutcomeError, match="may have happened"):
        sender.send_call(
            ("System", "remark_with_event", {"remark": b"hello"}),
            subnet.get_wallet(hotkey),
            final=True,
        )
    connection.close()


# --- the runtime changes


def test_an_upgrade_between_two_blocks_is_noticed(
    subnet: RuntimeNet,
    faulty: FaultyNode,
    behind: Connection,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "assay.chain")
    chain = open_chain(behind, subnet, tmp_path)
    spec = subnet.chain.runtime.spec_version
    assert chain.runtime.spec_version == spec
    assert f"spec {spec}" in caplog.text
    faulty.rewrite = upgrade_to(spec + 1)
    forget_the_version(behind)
    head = chain.get_head()
    assert chain.runtime.spec_version == spec + 1
    assert f"upgraded to runtime spec {spec + 1}" in caplog.text
    assert chain.get_members(head) == subnet.chain.get_members(head)


def test_an_upgrade_that_takes_away_what_we_read_stops_us(
    subnet: RuntimeNet, faulty: FaultyNode, behind: Connection, tmp_path: Path
) -> None:
    chain = open_chain(behind, subnet, tmp_path)
    spec = subnet.chain.runtime.spec_version + 2
    faulty.rewrite = upgrade_to(spec, rename=("BlockAtRegistration", "BlockAtRegistratiom"))
    forget_the_version(behind)
    missing = rf"spec {spec} has no SubtensorModule.BlockAtRegistration"
    with pytest.raises(ChainError, match=missing):
        chain.get_head()


def upgrade_to(spec: int, rename: tuple[str, str] | None = None) -> Any:
    def rewrite(method: str, params: list[Any], result: Any) -> Any:
        if method == "state_getRuntimeVersion":
            return result | {"specVersion": spec}
        if rename and method == "state_call" and params[0] == "Metadata_metadata_at_version":
            return result.replace(rename[0].encode().hex(), rename[1].encode().hex())
        return result

    return rewrite


def forget_the_version(connection: Connection) -> None:
    """The SDK looks at the version every twelve seconds; a test does not wait so long."""

    async def forget(substrate: Any) -> None:
        substrate.raw._runtimes._head_checked_at = float("-inf")

    connection.read(forget)


# --- requests, keys, money


def test_state_is_read_in_batches(
    subnet: RuntimeNet, faulty: FaultyNode, behind: Connection, tmp_path: Path
) -> None:
    subnet.register(3)
    chain = open_chain(behind, subnet, tmp_path)
    block = chain.get_block(chain.get_head())
    faulty.requests.clear()
    members = chain.get_members(block.number)
    chain.get_commitments(block.number)
    assert len(members) >= 3
    # the same however many there are
    assert faulty.requests["state_queryStorageAt"] <= 3
    assert faulty.requests.total() <= 8, faulty.requests


def test_two_programs_with_one_coldkey_do_not_trip_over_each_other(subnet: RuntimeNet) -> None:
    (hotkey,) = subnet.make_hotkeys(1)
    wallet = subnet.get_wallet(hotkey)
    other = Connection(ChainTarget((subnet.endpoint,)))
    call = ("System", "remark_with_event", {"remark": b"hello"})
    senders = [
        ExtrinsicSender(subnet.connection),
        ExtrinsicSender(other),
        ExtrinsicSender(subnet.connection),
    ]
    receipts = [sender.send_call(call, wallet, final=True) for sender in senders]
    assert all("System.Remarked" in {e.name for e in receipt.events} for receipt in receipts)
    assert len({receipt.block for receipt in receipts}) == 3
    other.close()


def test_a_fee_is_paid_as_quoted(subnet: RuntimeNet) -> None:
    (hotkey,) = subnet.make_hotkeys(1)
    wallet, sender = subnet.get_wallet(hotkey), ExtrinsicSender(subnet.connection)
    call = ("System", "remark_with_event", {"remark": b"x" * 1_000})
    before = subnet.chain.get_balance(subnet.get_coldkey(hotkey))
    quoted = sender.quote_fee(call, wallet)
    receipt = sender.send_call(call, wallet, final=True)
    paid = before - subnet.chain.get_balance(subnet.get_coldkey(hotkey))
    assert paid == receipt.fee > 0
    assert abs(paid - quoted) <= paid // 1_000  # a byte more or less


def test_more_stake_than_there_is_is_refused(subnet: RuntimeNet) -> None:
    (hotkey,) = subnet.register(1)
    balance = subnet.chain.get_balance(subnet.get_coldkey(hotkey))
    with pytest.raises(ChainError):
        subnet.chain.add_stake(hotkey, 2 * balance, any_price=True)
    lost = balance - subnet.chain.get_balance(subnet.get_coldkey(hotkey))
    assert lost <= TAO // 1_000  # at most a fee


def test_too_little_stake_is_not_taken_for_too_much(subnet: RuntimeNet) -> None:
    """The SDK's advice for both speaks of slippage."""
    (hotkey,) = subnet.register(1)
    for any_price in (False, True):
        with pytest.raises(ChainError, match=r"0\.0001 τ is less than the chain's smallest stake"):
            subnet.chain.add_stake(hotkey, TAO // 10_000, any_price=any_price)
    with pytest.raises(ChainError, match="moves its price by more than 5 %"):
        subnet.chain.add_stake(hotkey, 500 * TAO)


def test_stake_on_a_hotkey_without_a_uid_names_the_command_that_buys_one(
    subnet: RuntimeNet,
) -> None:
    (hotkey,) = subnet.make_hotkeys(1)
    with pytest.raises(ChainError, match="assay register"):
        subnet.chain.add_stake(hotkey, TAO, any_price=True)


def test_a_uid_that_became_dearer_after_it_was_quoted_is_not_bought(
    subnet: RuntimeNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two registrations in one block meets a higher price than its quote."""
    if subnet.chain.runtime.register_by is not RegisterBy.LIMIT:
        pytest.skip("this runtime takes no limit")
    (hotkey,) = subnet.make_hotkeys(1)
    rules = subnet.chain.get_hyperparameters()
    quoted = replace(rules, registration_cost=rules.registration_cost // 2)
    monkeypatch.setattr(subnet.chain, "get_hyperparameters", lambda: quoted)
    with pytest.raises(ChainError, match=r"others registered first.*run the command again"):
        subnet.chain.register(hotkey, quoted.registration_cost)
    assert hotkey not in subnet.chain.get_members(subnet.chain.get_head())


def test_nobody_signs_for_a_hotkey_whose_wallet_is_not_open(subnet: RuntimeNet) -> None:
    with pytest.raises(ChainError, match="no wallet is open"):
        subnet.chain.set_commitment(b"\x07" * 32, b"")


# --- consensus


def test_whoever_got_no_weight_gets_no_incentive(subnet: RuntimeNet) -> None:
    validator, honest, cheat = subnet.register(3, stake=20 * TAO)
    subnet.chain.add_stake(validator, 900 * TAO, any_price=True)  # most of it: Yuma clips the rest
    subnet.pass_epoch()
    members = subnet.chain.get_members(subnet.chain.get_head())
    subnet.chain.set_weights(validator, {members[honest].uid: FULL, members[cheat].uid: 0})
    subnet.pass_epoch()
    subnet.pass_epoch()
    rows = {row.hotkey: row for row in subnet.chain.get_metagraph(subnet.chain.get_head())}
    assert rows[cheat].incentive == 0
    assert rows[honest].incentive > 0


def test_a_subnet_that_wants_more_weights_than_there_are_takes_the_row_as_it_is(
    subnet: RuntimeNet,
) -> None:
    """One uid earned everything, and the owner wants three entries, or more than there are uids."""
    validator, _, winner = subnet.register(3, stake=10 * TAO)
    subnet.pass_epoch()
    members = subnet.chain.get_members(subnet.chain.get_head())
    for wanted, row in ((3, {members[winner].uid: FULL}), (250, {0: FULL, 1: 9})):
        subnet.set_rules(min_weights=wanted)
        try:
            assert subnet.chain.get_hyperparameters().min_weights == wanted
            subnet.chain.set_weights(validator, row)
        finally:
            subnet.set_rules(min_weights=1)
        subnet.pass_blocks(1)
        assert subnet.chain.get_weights(subnet.chain.get_head())[validator] == row


def test_weights_are_sent_shut_where_the_subnet_asks_for_it(subnet: RuntimeNet) -> None:
    (validator,) = subnet.register(1, stake=10 * TAO)
    subnet.pass_epoch()
    subnet.set_rules(commit_reveal=True)
    assert subnet.chain.get_hyperparameters().commit_reveal
    subnet.chain.set_weights(validator, {0: FULL})
    subnet.set_rules(commit_reveal=False)
    assert validator not in subnet.chain.get_weights(subnet.chain.get_head())
    by_intent = subnet.chain.runtime.commit_by is CommitBy.INTENT
    item = "TimelockedWeightCommits" if by_intent else "CRV3WeightCommits"
    commits = subnet.connection.read(
        lambda s: s.query_map("SubtensorModule", item, [subnet.netuid])
    )
    address = subnet.get_wallet(validator).hotkey.ss58_address
    assert address in str(commits)
