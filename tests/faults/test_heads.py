"""What the final heads of development nodes tell: who lags, stands still, follows a fork."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from assay.network.chain import DisputedError, WrongChainError
from assay.network.chain.finalized_heads import AHEAD_MS, LAG_BLOCKS, Heads
from assay.network.chain.node_head import Head
from tests.faults.connections import Twins, open_connection, part, wait_until
from tests.faults.proxy import FaultProxy

Before = Callable[[str], FaultProxy]


@pytest.mark.parametrize("others", [1, 2])
def test_a_node_that_lags_is_left(
    others: int, old_twins: Twins, before: Before, stack: ExitStack
) -> None:
    """The one in use falls behind: the other ones are asked now and then, and taken over to."""
    slow, quick = old_twins
    also = [before(quick.endpoint).url][: others - 1]
    connection = open_connection(stack, slow.endpoint, quick.endpoint, *also, survey_s=0.05)
    assert connection.read_head() == 5
    slow.new_blocks(1)
    quick.new_blocks(1 + LAG_BLOCKS)
    assert connection.read_head() == 6
    time.sleep(0.2)
    assert connection.endpoint == slow.endpoint  # behind as nodes are
    quick.new_blocks(1)
    wait_until(lambda: connection.endpoint != slow.endpoint)
    assert connection.read_head() == 6 + LAG_BLOCKS + 1


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
    assert "has come to block 6 only" in caplog.text
    proxy.set_fault("refuse")
    proxy.cut()
    assert connection.read_head() == 6  # nobody else is there
    assert "going on from block 6" in caplog.text


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


def test_a_node_on_a_fork_is_reported_and_left(
    twins: Twins, before: Before, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """By the word of a third node."""
    ours, fork = twins
    part(twins, LAG_BLOCKS + 3)
    proxy, also = before(ours.endpoint), before(ours.endpoint)
    connection = open_connection(
        stack, proxy.url, fork.endpoint, also.url, head_s=8.0, patience_s=8.0
    )
    head = connection.read_head()
    proxy.cut()
    proxy.set_fault("refuse", times=1)
    assert connection.read_head() == head
    assert connection.endpoint in (proxy.url, also.url)
    assert connection._nodes.is_aside(fork.endpoint)
    assert f"calls another block {head} final" in caplog.text


@pytest.mark.parametrize("survey_s", [0.0, 0.05])
def test_of_two_nodes_that_contradict_each_other_none_is_followed(
    survey_s: float, twins: Twins, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever was heard first, and from whichever block on."""
    connection = open_connection(
        stack, *(devnet.endpoint for devnet in twins), survey_s=survey_s, head_s=8.0
    )
    assert connection.read_head() == 5
    part(twins, 2 if survey_s else LAG_BLOCKS + 3)
    if survey_s:
        wait_until(lambda: "name different blocks 7 as final" in caplog.text)
    for _ in range(2):
        with pytest.raises(DisputedError, match="no third node decides"):
            connection.read_head()
    assert caplog.text.count("no third node decides") == 1
    assert not any(connection._nodes.is_aside(devnet.endpoint) for devnet in twins)


def test_what_an_earlier_run_has_kept_decides_between_two_nodes(
    twins: Twins, stack: ExitStack
) -> None:
    ours, fork = twins
    part(twins, LAG_BLOCKS + 3)
    alone = open_connection(stack, ours.endpoint)
    head = alone.read_head()
    kept = alone.heads.last
    assert kept is not None
    for order in ((ours, fork), (fork, ours)):
        connection = open_connection(stack, *(devnet.endpoint for devnet in order), head_s=8.0)
        connection.keep(kept.number, kept.hash, kept.at_ms)
        assert connection.read_head() == head
        assert connection.endpoint == ours.endpoint
        assert connection._nodes.is_aside(fork.endpoint)


def test_a_node_that_follows_a_fork_ends_what_has_no_other(twins: Twins, stack: ExitStack) -> None:
    ours, fork = twins
    connection = open_connection(stack, ours.endpoint)
    part(twins, 2)
    connection.read_head()
    head = connection.heads.last
    assert head is not None
    other = open_connection(stack, fork.endpoint)
    other.heads.hear(ours.endpoint, head, 0.0, choice=False)
    with pytest.raises(WrongChainError, match="follows a fork"):
        other.read_head()


# --- how far a chain can have come

HOUR_MS, SLOT_MS = 3_600_000, 12_000
#: A day's blocks after block 1000, one slot in ten left out, and the day's end.
DAY, END_MS = 6_480, 1_800_000_000_000


def make_heads() -> Heads:
    heads = Heads(60.0)
    heads.slot_ms = SLOT_MS
    heads.keep(1_000, bytes(32), END_MS - 24 * HOUR_MS)
    return heads


@pytest.mark.parametrize("wrong_ms", [-HOUR_MS, 0, HOUR_MS])
def test_an_honest_head_passes_a_clock_that_is_wrong_by_an_hour(wrong_ms: int) -> None:
    honest = Head(1_000 + DAY, bytes(32), END_MS)
    assert make_heads().find_excess(honest, END_MS + wrong_ms) is None


def test_a_head_is_no_further_than_time_allows() -> None:
    heads, slack = make_heads(), AHEAD_MS // SLOT_MS
    most = 1_000 + 24 * HOUR_MS // SLOT_MS + slack
    assert heads.find_excess(Head(most, bytes(32), END_MS), END_MS) is None
    trouble = heads.find_excess(Head(most + 1, bytes(32), END_MS), END_MS)
    assert f"block {most} at most since block 1000" in str(trouble)
    assert heads.find_excess(Head(most, bytes(32), END_MS + AHEAD_MS), END_MS) is None
    trouble = heads.find_excess(Head(most, bytes(32), END_MS + AHEAD_MS + 1), END_MS)
    assert "2.0 h ahead of this machine's clock" in str(trouble)


def test_a_node_behind_what_was_kept_is_not_taken_for_one_ahead() -> None:
    """A chain that has stood still since: fewer blocks than slots, counted backwards."""
    assert make_heads().find_excess(Head(900, bytes(32), END_MS - 1_000 * HOUR_MS), END_MS) is None


def test_a_word_that_comes_after_its_block_was_given_up_counts_for_no_other() -> None:
    """A node was asked about a hash, and by its answer most others have named another one."""
    named, other = b"\1" * 32, b"\2" * 32
    heads = Heads(60.0)
    heads.hear("ws://a", Head(5, named, 0), 1.0, choice=True)
    heads.correct(5, other)
    heads.second("ws://b", 5, named, 2.0)
    assert heads.find_agreed() is None
    assert "ws://b" not in heads.find_words(5)
    heads.hear("ws://a", Head(5, other, 0), 3.0, choice=True)
    heads.second("ws://b", 5, named, 4.0)
    assert heads.find_agreed() is None
    heads.second("ws://c", 5, other, 5.0)
    assert heads.find_agreed() == (5, other)
