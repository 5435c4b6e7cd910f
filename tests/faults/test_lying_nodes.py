"""A node that lies about its head or about keys: the lies that are refused without trusting another
node."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from assay.network.chain.errors import ChainError
from assay.network.chain.subtensor import SubtensorChain
from tests.faults.connections import CALM, Twins, open_connection
from tests.faults.liar import Liar
from tests.faults.proxy import FaultProxy
from tests.integration.chain.nets import RuntimeNet

Before = Callable[[str], FaultProxy]

#: No chain has come so far, or could have.
CLAIMS = (1_000, 2**31, 2**32 - 1, 2**62)


@pytest.fixture
def liar(twins: Twins, stack: ExitStack) -> Liar:
    return stack.enter_context(closing(Liar(twins[0].endpoint)))


def get_now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_header_that_is_not_its_hash_s_is_nonsense(
    twins: Twins, liar: Liar, stack: ExitStack
) -> None:
    for claim in CLAIMS:
        liar.claim_head(claim)
        connection = open_connection(stack, liar.url, twins[1].endpoint, **CALM)
        assert connection.read_head() == 5
        assert connection.heads.newest == 5
        with pytest.raises(ChainError, match="answers nonsense"):
            open_connection(stack, liar.url).read_head()


#: A node's claims that nobody contradicts: block, hours from now, the message about it.
ALONE = (
    (2**32 - 1, 0, "at most since block"),
    (2**32 - 1, 1, "at most since block"),
    (20_000, 0, "at most since block"),
    (20_000, 3, "h ahead of this machine's clock"),
    (200_000_000, 3, "h ahead of this machine's clock"),
)


@pytest.mark.parametrize("greeted", [True, False])
def test_a_lone_node_is_not_believed_to_be_where_no_chain_can_be(
    greeted: bool, liar: Liar, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """Known from an earlier block, or not at all: then only what no chain can have is refused."""
    for claim, hours, said in ALONE:
        connection = open_connection(stack, liar.url, head_s=30)
        if greeted:
            assert connection.read_head() == 5
        elif claim == 20_000 and not hours:
            claim = 500_000_000  # more seconds than since 2020
        caplog.clear()
        liar.claim_block(claim, get_now_ms() + hours * 3_600_000)
        with pytest.raises(ChainError, match=said):
            connection.read_head()
        said_as = [r.event for r in caplog.records if "is not followed" in r.message]
        assert said_as == ["head_denied"]
        liar.lie = None
        assert connection.read_head() == 5


def test_silence_hides_no_lie(liar: Liar, stack: ExitStack) -> None:
    """First the node lies, and then it is silent for longer than anybody waits."""
    connection = open_connection(stack, liar.url, patience_s=5, head_s=60)
    assert connection.read_head() == 5
    liar.claim_block(20_000, get_now_ms() + 3 * 3_600_000)
    claimed, over, asked = liar.lie, Event(), Counter[str]()
    stack.callback(over.set)

    def lie(method: str, params: list[Any], result: Any) -> Any:
        asked[method] += 1
        if method == "chain_getFinalizedHead" and asked[method] > 1:
            over.wait(60)
        return claimed(method, params, result)

    liar.lie = lie
    with pytest.raises(ChainError, match="h ahead of this machine's clock"):
        connection.read_head()
    assert asked["chain_getFinalizedHead"] > 1


def test_a_lone_node_is_believed_within_what_a_clock_may_be_wrong_by(
    liar: Liar, stack: ExitStack
) -> None:
    connection = open_connection(stack, liar.url)
    assert connection.read_head() == 5
    liar.claim_block(3_000, get_now_ms() + 3_600_000)
    assert connection.read_head() == 3_000


def test_a_node_whose_head_was_denied_is_not_asked_again_at_once(
    twins: Twins, liar: Liar, before: Before, stack: ExitStack
) -> None:
    honest = before(twins[1].endpoint)
    liar.claim_block(1_000, get_now_ms() + 3 * 3_600_000)
    connection = open_connection(stack, liar.url, honest.url, **CALM)
    assert connection.read_head() == 5
    asked = liar.asked
    for _ in range(3):
        honest.cut()  # the liar's turn, if it had one
        assert connection.read_head() == 5
        time.sleep(0.1)
    assert liar.asked == asked


def break_time(liar: Liar) -> None:
    """A time with so many bits that no float holds it."""
    liar.lie = lambda method, _, result: (
        "0x" + "ff" * 200 if method.startswith("state_getStorage") else result
    )


def break_json(liar: Liar) -> None:
    """Answers that nest deeper than anybody can read."""
    liar.speak = lambda _: "[" * 500_000


@pytest.mark.parametrize("spoil", [break_time, break_json])
@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_breaks_arithmetic_or_reader_is_nonsense(
    spoil: Callable[[Liar], None], first: bool, twins: Twins, liar: Liar, stack: ExitStack
) -> None:
    """No program ends by it, and a fallback serves."""
    nodes = (liar.url, twins[1].endpoint) if first else (twins[1].endpoint, liar.url)
    spoil(liar)
    connection = open_connection(stack, *nodes, **CALM)
    assert connection.read_head() == 5
    for devnet in twins:
        devnet.new_blocks(1)
    assert connection.read_head() == 6
    with pytest.raises(ChainError):
        open_connection(stack, liar.url).read_head()


# --- keys and state


def lie_with(method: str, change: Callable[[list[Any]], list[Any]], liar: Liar) -> None:
    """Change the node's answer to one method, if there is something to change."""
    liar.lie = lambda asked, _, result: (
        change(result) if asked == method and result and len(result[0]) else result
    )


def change_rows(change: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    return lambda groups: [groups[0] | {"changes": change(groups[0]["changes"])}]


def rename(rows: list[Any]) -> list[Any]:
    """A key of the same kind that nobody asked for."""
    key, value = rows[-1]
    return [*rows[:-1], [key[:-2] + f"{int(key[-2:], 16) ^ 1:02x}", value]]


#: About keys: another one, one missing, one twice; in lists that are paged, likewise.
KEY_LIES = {
    "other": ("state_queryStorageAt", change_rows(rename)),
    "missing": ("state_queryStorageAt", change_rows(lambda rows: rows[:-1])),
    "double": ("state_queryStorageAt", change_rows(lambda rows: [*rows, rows[0]])),
    "listed twice": ("state_getKeysPaged", lambda keys: [*keys, keys[-1]]),
    "listed elsewhere": ("state_getKeysPaged", lambda keys: ["0x" + "00" * 32]),
    "another block": (
        "state_queryStorageAt",
        lambda groups: [groups[0] | {"block": "0x" + "11" * 32}],
    ),
}


@pytest.mark.parametrize("name", KEY_LIES)
def test_an_answer_for_other_keys_than_were_asked_is_nonsense(
    name: str, subnet: RuntimeNet, stack: ExitStack, tmp_path: Path
) -> None:
    head = subnet.chain.get_head()
    liar = stack.enter_context(closing(Liar(subnet.endpoint)))
    alone = SubtensorChain(open_connection(stack, liar.url, **CALM), subnet.netuid, tmp_path / "a")
    stack.callback(alone.close)
    connection = open_connection(stack, liar.url, subnet.endpoint, **CALM)
    chain = SubtensorChain(connection, subnet.netuid, tmp_path / "b")
    stack.callback(chain.close)
    lie_with(*KEY_LIES[name], liar)
    with pytest.raises(ChainError, match="answers nonsense"):
        alone.get_members(head)
    assert chain.get_members(head) == subnet.chain.get_members(head)
    assert chain.get_commitments(head) == subnet.chain.get_commitments(head)
    assert connection.endpoint == subnet.endpoint
