"""The chain connection on real development nodes behind the proxy, with the SDK as it is."""

import json
import logging
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from assay.network.chain import ChainError, Connection, SubtensorChain, Target, WrongChainError
from assay.network.chain.devnet import Devnet, Seal
from assay.network.chain.heads import LAG_BLOCKS
from tests.faults.liar import Liar
from tests.faults.proxy import WEBSOCKET_FAULTS, FaultProxy
from tests.integration.chain.nets import RuntimeNet

Before = Callable[[str], FaultProxy]

#: Clients that give up soon; a node on this machine, busy as it may be, answers before.
SOON = Target((), deadline_s=1.0, patience_s=2.0, head_s=2.0, survey_s=0)
#: Faults under which a node is as good as any other: slower, or its answers out of order.
HARMLESS = ("latency", "reordered")


def open_connection(stack: ExitStack, *endpoints: str, **limits: float) -> Connection:
    target = replace(SOON, endpoints=endpoints, **limits)
    return stack.enter_context(closing(Connection(target, seed=1)))


def read_state(chain: SubtensorChain, number: int) -> Any:
    return chain.get_members(number), chain.get_commitments(number), chain.get_block(number)


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(chain: SubtensorChain) -> bool:
    """Whether the chain can be read, as a neuron tries it: again and again."""
    try:
        return chain.get_head() >= 0
    except ChainError:
        return False


@pytest.mark.parametrize("name", WEBSOCKET_FAULTS)
def test_each_fault_of_a_node(
    name: str, subnet: RuntimeNet, before: Before, stack: ExitStack, tmp_path: Path
) -> None:
    """An answer is right or is not taken; and once the fault is over everything is as ever."""
    proxy, head = before(subnet.endpoint), subnet.chain.get_head()
    truth = read_state(subnet.chain, head)
    connection = open_connection(stack, proxy.url)
    chain = SubtensorChain(connection, subnet.netuid, tmp_path, poll_s=0)
    stack.callback(chain.close)
    proxy.set_fault(name, delay_s=0.002)
    if name in ("redirect", "busy", "bomb"):
        proxy.cut()  # they strike at a handshake
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name in HARMLESS:
        assert chain.get_head() == head
        assert read_state(chain, head) == truth
    else:
        for _ in range(2):
            with suppress(ChainError):
                assert read_state(chain, head) == truth
    assert proxy.hits[name] >= 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 300 * 1024  # KiB
    proxy.clear()
    wait_until(lambda: answers(chain))
    assert chain.get_head() == head
    assert read_state(chain, head) == truth


#: What takes a node away altogether, each in another way.
LOST = ("refuse", "half-open", "cut", "stall", "garbage", "huge length", "endless body", "redirect")


@pytest.mark.parametrize("name", LOST)
def test_the_next_node_takes_over(
    name: str, subnet: RuntimeNet, before: Before, stack: ExitStack
) -> None:
    proxy = before(subnet.endpoint)
    connection = open_connection(stack, proxy.url, subnet.endpoint, head_s=6.0, patience_s=6.0)
    assert connection.endpoint == proxy.url
    proxy.set_fault(name)
    proxy.cut()
    assert connection.read_head() == subnet.chain.get_head()
    assert connection.endpoint == subnet.endpoint


def test_a_node_that_answers_nonsense_is_left_and_not_believed(
    subnet: RuntimeNet, before: Before, stack: ExitStack
) -> None:
    """What the SDK cannot decode is the node's fault, and no defect of ours."""
    connection = open_connection(stack, before(subnet.endpoint).url)

    async def read(_: Any) -> None:
        raise KeyError("changes")

    with pytest.raises(ChainError, match="answers nonsense: KeyError"):
        connection.read(read)
    assert connection.read_head() == subnet.chain.get_head()


# --- what a node's head says of it


def part(twins: tuple[Devnet, Devnet], count: int) -> None:
    """From here on each has a history of its own."""
    request = {"jsonrpc": "2.0", "id": 1, "method": "dev_setTime"}
    later = int(time.time() * 1e3) + 10**7
    with connect(twins[1].endpoint) as node:
        node.send(json.dumps(request | {"params": [later]}))
        assert "result" in json.loads(node.recv(30))
    for devnet in twins:
        devnet.new_blocks(count)


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[tuple[Devnet, Devnet]]:
    """Two nodes of one chain, of one history up to block 6; 5 is final."""
    first, second = tmp_path / "a", tmp_path / "b"
    with Devnet(first, block_time=1.0, seal=Seal.MANUAL) as devnet:
        devnet.new_blocks(6)
    shutil.copytree(first, second)
    with (
        Devnet(first, block_time=1.0, seal=Seal.MANUAL) as one,
        Devnet(second, block_time=1.0, seal=Seal.MANUAL) as other,
    ):
        yield one, other


def test_a_node_that_lags_is_left(
    twins: tuple[Devnet, Devnet], before: Before, stack: ExitStack
) -> None:
    """The one in use falls behind: the other ones are asked now and then, and taken over to."""
    slow, quick = twins
    also = before(quick.endpoint).url  # one alone would not be believed
    connection = open_connection(stack, slow.endpoint, quick.endpoint, also, survey_s=0.05)
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
    twins: tuple[Devnet, Devnet],
    before: Before,
    stack: ExitStack,
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow, quick = twins
    proxy, also = before(quick.endpoint), before(quick.endpoint)
    connection = open_connection(
        stack, proxy.url, slow.endpoint, also.url, head_s=8.0, patience_s=8.0
    )
    quick.new_blocks(LAG_BLOCKS + 1)
    assert connection.read_head() == 5 + LAG_BLOCKS + 1
    proxy.set_fault("refuse", times=1)  # a moment's loss
    assert connection.read_head() == 5 + LAG_BLOCKS + 1
    assert connection.endpoint != slow.endpoint
    proxy.set_fault("refuse")
    also.set_fault("refuse")
    assert connection.read_head() == 5  # nobody else is there
    assert "going on from block 5" in caplog.text


def test_a_head_that_does_not_move_costs_a_node_its_place(
    twins: tuple[Devnet, Devnet], stack: ExitStack, caplog: pytest.LogCaptureFixture
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
    twins: tuple[Devnet, Devnet], stack: ExitStack, caplog: pytest.LogCaptureFixture
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
    twins: tuple[Devnet, Devnet], before: Before, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    ours, fork = twins
    part(twins, LAG_BLOCKS + 3)
    proxy = before(ours.endpoint)
    connection = open_connection(stack, proxy.url, fork.endpoint, head_s=8.0, patience_s=8.0)
    head = connection.read_head()
    proxy.cut()
    proxy.set_fault("refuse", times=1)
    assert connection.read_head() == head
    assert connection.endpoint == proxy.url
    assert f"calls another block {head} final" in caplog.text
    alone = open_connection(stack, before(ours.endpoint).url, fork.endpoint, survey_s=0.05)
    assert alone.read_head() == head
    wait_until(lambda: "name different blocks at one height" in caplog.text)
    assert alone.endpoint != fork.endpoint


def test_a_node_that_follows_a_fork_ends_what_has_no_other(
    twins: tuple[Devnet, Devnet], stack: ExitStack
) -> None:
    ours, fork = twins
    connection = open_connection(stack, ours.endpoint)
    part(twins, 2)
    head = connection.read_head()
    hash_ = connection.heads.find_mark(head)
    assert hash_ is not None
    other = open_connection(stack, fork.endpoint)
    other.heads.hear(ours.endpoint, *hash_, 0.0, choice=False)
    with pytest.raises(WrongChainError, match="follows a fork"):
        other.read_head()


# --- one node that lies among honest ones

#: Nobody is left for being slow.
CALM = {"deadline_s": 20.0, "patience_s": 60.0, "head_s": 60.0}
#: No chain has come so far, or could have.
CLAIMS = (1_000, 2**31, 2**62)


@pytest.fixture
def liar(twins: tuple[Devnet, Devnet], stack: ExitStack) -> Liar:
    return stack.enter_context(closing(Liar(twins[0].endpoint)))


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("honest", [1, 2])
def test_a_liar_far_ahead_does_not_displace_honest_nodes(
    claim: int, honest: int, twins: tuple[Devnet, Devnet], liar: Liar, stack: ExitStack
) -> None:
    nodes = [devnet.endpoint for devnet in twins][:honest]
    connection = open_connection(stack, *nodes, liar.url, survey_s=0.05, **CALM)
    assert connection.read_head() == 5
    liar.claim_head(claim)
    for head in (6, 7, 8):
        for devnet in twins:
            devnet.new_blocks(1)
        time.sleep(0.15)
        assert connection.read_head() == head
        assert connection.endpoint != liar.url


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_preferred_node_that_lies_about_its_head_is_left_at_once(
    claim: int, twins: tuple[Devnet, Devnet], liar: Liar, stack: ExitStack
) -> None:
    liar.claim_head(claim)
    connection = open_connection(stack, liar.url, twins[1].endpoint, **CALM)
    assert connection.read_head() == 5
    assert connection.heads.newest == 5


def test_a_liar_that_creeps_ahead_is_left(
    twins: tuple[Devnet, Devnet], liar: Liar, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """Never far at once: what counts is how far it is from what another node has confirmed."""
    connection = open_connection(stack, liar.url, twins[1].endpoint, **CALM)
    assert connection.read_head() == 5
    for claim in range(5 + LAG_BLOCKS - 1, 60, LAG_BLOCKS - 1):
        liar.claim_hash(claim, f"0x{claim:064x}")
        assert connection.read_head() <= 5 + LAG_BLOCKS
    assert connection.endpoint == twins[1].endpoint
    assert "claims to be far ahead alone" in caplog.text


@pytest.mark.parametrize("surveyed", [False, True])
def test_a_false_hash_named_first_turns_on_who_named_it(
    surveyed: bool, twins: tuple[Devnet, Devnet], liar: Liar, before: Before, stack: ExitStack
) -> None:
    honest = twins[0].endpoint, twins[1].endpoint
    survey_s = 0.05 if surveyed else 0.0
    connection = open_connection(stack, liar.url, *honest, survey_s=survey_s, **CALM)
    for devnet in twins:
        devnet.new_blocks(1)
    liar.claim_hash(6, "0x" + "66" * 32)
    assert connection.read_head() == 6
    for devnet in twins:
        devnet.new_blocks(0 if not surveyed else LAG_BLOCKS)
    if surveyed:
        wait_until(lambda: connection.endpoint in honest)
    else:
        liar.hang_up()
    head = connection.read_head()
    assert head == 6 + (LAG_BLOCKS if surveyed else 0)
    assert not connection._is_aside(honest[0])
    assert not connection._is_aside(honest[1])
    assert connection._is_aside(liar.url)


def test_no_head_is_waited_for_longer_than_asked(
    subnet: RuntimeNet, before: Before, stack: ExitStack
) -> None:
    """However patient other calls are, a validator has more to do than to wait for a head."""
    proxy = before(subnet.endpoint)
    connection = open_connection(stack, proxy.url, patience_s=3_600.0, head_s=0.6)
    proxy.set_fault("half-open")
    with pytest.raises(ChainError, match=r"tried for [0-9] s"):
        connection.read_head()
