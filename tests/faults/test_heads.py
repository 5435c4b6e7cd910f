"""The final heads of development nodes show the one that lags, stops or follows a fork."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.chain.finalized_heads import AHEAD_MS, LAG_BLOCKS, BlockHead, FinalizedHeads
from assay.network.chain.target import ChainTarget
from subtensor_devnet import Devnet, Seal
from tests.faults.connections import Twins, open_connection, part, set_time
from tests.faults.proxy import FaultProxy

Before = Callable[[str], FaultProxy]


def test_a_node_that_stays_behind_the_clock_is_left(old_twins: Twins, stack: ExitStack) -> None:
    """It still catches up: it moves, and its blocks are of long ago."""
    slow, quick = old_twins
    connection = open_connection(stack, slow.endpoint, quick.endpoint, still_s=0.3)
    assert connection.read_head() == 5
    set_time(quick, int(time.time() * 1e3))
    quick.new_blocks(2 * LAG_BLOCKS)
    for _ in range(4):
        time.sleep(0.1)
        slow.new_blocks(1)
        connection.read_head()
    assert connection.endpoint == quick.endpoint
    assert connection.read_head() == 5 + 2 * LAG_BLOCKS


def test_a_node_alone_is_read_however_far_it_is_behind_the_clock(
    old_twins: Twins, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    connection = open_connection(stack, old_twins[0].endpoint, still_s=0.1)
    for head in range(5, 9):
        assert connection.read_head() == head
        time.sleep(0.15)
        old_twins[0].new_blocks(1)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_node_that_lags_is_not_taken_over_to(
    old_twins: Twins, before: Before, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """Though it moves: by its blocks' time it is further from now than the other one."""
    slow, quick = old_twins
    proxy = before(quick.endpoint)
    caplog.set_level(logging.DEBUG, "assay.chain")
    connection = open_connection(stack, proxy.url, slow.endpoint, head_s=8.0, patience_s=8.0)
    quick.new_blocks(LAG_BLOCKS + 3)
    for behind in (1, 0):  # the slow one catches up, and the other is no less believed
        assert connection.read_head() == 5 + LAG_BLOCKS + 3
        assert connection.endpoint == proxy.url
        slow.new_blocks(behind)
    proxy.set_fault("refuse", times=1)  # a moment's loss
    proxy.cut()
    assert connection.read_head() == 5 + LAG_BLOCKS + 3
    assert connection.endpoint == proxy.url
    assert "is only at block 6" in caplog.text
    proxy.set_fault("refuse")
    proxy.cut()
    assert connection.read_head() == 6  # nobody else is there
    assert "continuing from block 6" in caplog.text


def test_a_head_that_does_not_move_costs_a_node_its_place(
    twins: Twins, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    still, moving = twins
    connection = open_connection(stack, still.endpoint, moving.endpoint, still_s=0.2)
    assert connection.read_head() == 5
    moving.new_blocks(1)
    time.sleep(0.3)
    assert connection.read_head() == 6
    assert connection.endpoint == moving.endpoint
    assert "block 5 has been the newest final one" in caplog.text


def test_a_chain_that_stands_still_is_said_once_and_read_on(
    twins: Twins, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    connection = open_connection(stack, twins[0].endpoint, still_s=0.1)
    caplog.set_level(logging.WARNING, "assay.chain")
    for _ in range(4):
        assert connection.read_head() == 5
        time.sleep(0.12)
    said = [record.getMessage() for record in caplog.records if record.name == "assay.chain"]
    assert len(said) == 1
    assert "block 5 has been the newest final one" in said[0]


def test_a_fallback_on_a_fork_is_reported_and_left(
    twins: Twins, before: Before, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """The final blocks from before count: those of the node that was read from, and of an earlier
    run."""
    ours, fork = twins
    part(twins, LAG_BLOCKS + 3)
    proxy = before(ours.endpoint)
    connection = open_connection(stack, proxy.url, fork.endpoint, head_s=8.0, patience_s=8.0)
    head = connection.read_head()
    kept = connection.heads.last
    assert kept is not None
    proxy.cut()
    proxy.set_fault("refuse", times=1)
    assert connection.read_head() == head
    assert connection.endpoint == proxy.url
    assert f"has another final block {head} than" in caplog.text
    later = open_connection(stack, fork.endpoint, ours.endpoint, head_s=8.0)
    later.keep(kept.number, kept.hash, kept.at_ms)
    assert later.read_head() == head
    assert later.endpoint == ours.endpoint


def test_a_fallback_is_used_when_the_first_node_is_silent_and_not_before(
    twins: Twins, before: Before, stack: ExitStack
) -> None:
    first, second = (before(devnet.endpoint) for devnet in twins)
    connection = open_connection(stack, first.url, second.url, head_s=8.0, patience_s=8.0)
    for _ in range(3):
        assert connection.read_head() == 5
    assert not second.connections
    first.set_fault("half-open")
    first.cut()
    assert connection.read_head() == 5
    assert connection.endpoint == second.url


def test_a_fallback_of_another_chain_is_refused(
    twins: Twins, before: Before, stack: ExitStack, tmp_path: Path
) -> None:
    """Though the pinned node is silent, and the other one answers."""
    first = before(twins[0].endpoint)
    with Devnet(tmp_path / "other", block_time=1.0, seal=Seal.MANUAL, genesis_ms=1) as other:
        connection = open_connection(stack, first.url, other.endpoint)
        assert connection.read_head() == 5
        first.set_fault("refuse")
        first.cut()
        with pytest.raises(ChainError):
            connection.read_head()
        pinned = ChainTarget((other.endpoint,), connection.genesis_hash)
        with pytest.raises(WrongChainError, match="serves the chain with genesis hash"):
            Connection(pinned)


def test_a_node_that_follows_a_fork_ends_what_has_no_other(twins: Twins, stack: ExitStack) -> None:
    ours, fork = twins
    connection = open_connection(stack, ours.endpoint)
    part(twins, 2)
    connection.read_head()
    head = connection.heads.last
    assert head is not None
    other = open_connection(stack, fork.endpoint)
    other.keep(head.number, head.hash, head.at_ms)
    with pytest.raises(WrongChainError, match="follows a fork"):
        other.read_head()


# --- how far a chain can have come

HOUR_MS, SLOT_MS = 3_600_000, 12_000
#: A day's blocks after block 1000, one slot in ten left out, and the day's end.
DAY, END_MS = 6_480, 1_800_000_000_000


def make_heads() -> FinalizedHeads:
    heads = FinalizedHeads(60.0)
    heads.slot_ms = SLOT_MS
    heads.keep(1_000, bytes(32), END_MS - 24 * HOUR_MS)
    return heads


@pytest.mark.parametrize("wrong_ms", [-HOUR_MS, 0, HOUR_MS])
def test_an_honest_head_passes_a_clock_that_is_wrong_by_an_hour(wrong_ms: int) -> None:
    honest = BlockHead(1_000 + DAY, bytes(32), END_MS)
    assert make_heads().find_excess(honest, END_MS + wrong_ms) is None


def test_a_head_is_no_further_than_time_allows() -> None:
    heads, slack = make_heads(), AHEAD_MS // SLOT_MS
    most = 1_000 + 24 * HOUR_MS // SLOT_MS + slack
    assert heads.find_excess(BlockHead(most, bytes(32), END_MS), END_MS) is None
    trouble = heads.find_excess(BlockHead(most + 1, bytes(32), END_MS), END_MS)
    assert f"block {most} at most since block 1000" in str(trouble)
    assert heads.find_excess(BlockHead(most, bytes(32), END_MS + AHEAD_MS), END_MS) is None
    trouble = heads.find_excess(BlockHead(most, bytes(32), END_MS + AHEAD_MS + 1), END_MS)
    assert "2.0 h ahead of this machine's clock" in str(trouble)


def test_a_node_behind_what_was_kept_is_not_taken_for_one_ahead() -> None:
    """A chain that has stopped since: fewer blocks than slots, counted backwards."""
    assert (
        make_heads().find_excess(BlockHead(900, bytes(32), END_MS - 1_000 * HOUR_MS), END_MS)
        is None
    )
