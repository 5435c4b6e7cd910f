"""The chain connection on real development nodes behind the proxy, with the SDK as it is."""

import resource
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from assay.network.chain.errors import ChainError
from assay.network.chain.subtensor import SubtensorChain
from tests.faults.connections import open_connection, wait_until
from tests.faults.proxy import WEBSOCKET_FAULTS, FaultProxy
from tests.integration.chain.nets import RuntimeNet

Before = Callable[[str], FaultProxy]

#: Faults under which a node is as good as any other: slower, or its answers out of order.
HARMLESS = ("latency", "reordered")


def read_state(chain: SubtensorChain, number: int) -> Any:
    return chain.get_members(number), chain.get_commitments(number), chain.get_block(number)


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
    """An answer is right or is not taken. Once the fault is over, everything is as usual."""
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


#: Faults that take a node away altogether, each in another way.
LOST = (
    "refuse",
    "half-open",
    "cut",
    "stall",
    "garbage",
    "huge length",
    "endless body",
    "empty fragments",
    "redirect",
)


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
    """If the SDK cannot decode an answer, this is the node's fault, not a defect of ours."""
    connection = open_connection(stack, before(subnet.endpoint).url)

    async def read(_: Any) -> None:
        raise KeyError("changes")

    with pytest.raises(ChainError, match="answers nonsense: KeyError"):
        connection.read(read)
    assert connection.read_head() == subnet.chain.get_head()


def test_no_head_is_waited_for_longer_than_asked(
    subnet: RuntimeNet, before: Before, stack: ExitStack
) -> None:
    """However patient other calls are, a validator has more to do than to wait for a head."""
    proxy = before(subnet.endpoint)
    connection = open_connection(stack, proxy.url, patience_s=3_600.0, head_s=0.6)
    proxy.set_fault("half-open")
    with pytest.raises(ChainError, match=r"tried for [0-9] s"):
        connection.read_head()
