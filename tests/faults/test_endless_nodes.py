"""A node that never ends, or makes much out of little: frames, pings, values, updates."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from assay.network.chain import sdk_private
from assay.network.chain.node_socket import FRAMES, MESSAGE_BYTES, ask, dial
from assay.network.chain.sdk_private import EARLY, UPDATE_CHARS, open_substrate
from tests.faults.connections import Twins
from tests.faults.wire import TEXT, write_frame

Play = Callable[[ServerConnection], Awaitable[object]]

CONTINUED, PING = 0, 9


@asynccontextmanager
async def open_node(play: Play) -> AsyncIterator[str]:
    """A node that does this with every client; its address."""

    async def meet(client: ServerConnection) -> None:
        with suppress(ConnectionClosed, OSError):
            await play(client)

    async with serve(meet, "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def begin(client: ServerConnection) -> None:
    client.transport.write(write_frame(b"{", TEXT, final=False))


async def pour(client: ServerConnection, frame: bytes) -> None:
    while not client.transport.is_closing():
        client.transport.write(frame * 100)
        await asyncio.sleep(0)


def test_a_question_given_up_between_two_fragments_ends_as_any_other() -> None:
    """Also where a further fragment arrives in the same moment: by no error of websockets' own."""

    begun = asyncio.Event()

    async def play(client: ServerConnection) -> None:
        await client.recv()
        begin(client)
        begun.set()
        await client.wait_closed()

    async def run() -> None:
        async with open_node(play) as url:
            socket = await dial(url)
            question = asyncio.create_task(ask(socket, "chain_getHeader", []))
            await begun.wait()
            await asyncio.sleep(0.05)  # the first fragment is read
            socket.recv_messages.put(Frame(Opcode.CONT, b"", fin=False))
            question.cancel()
            with pytest.raises(asyncio.CancelledError):
                await question
            socket.transport.abort()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("begun", "frame"),
    [
        (True, write_frame(b"", CONTINUED, final=False)),
        (True, write_frame(b" ", CONTINUED, final=False)),
        (False, write_frame(b"?", PING)),
        (False, write_frame(b"{}")),
    ],
)
def test_frames_without_end_end_the_connection(begun: bool, frame: bytes) -> None:
    async def play(client: ServerConnection) -> None:
        await client.recv()
        if begun:
            begin(client)
        await pour(client, frame)

    async def hear(socket: ClientConnection) -> None:
        async with asyncio.timeout(60):  # for ever, where nothing is counted
            for _ in range(FRAMES + 1):
                await socket.recv()

    async def run() -> None:
        async with open_node(play) as url:
            socket = await dial(url)
            await socket.send("?")
            with pytest.raises(ConnectionError, match="endlessly"):
                await hear(socket)

    asyncio.run(run())


@pytest.mark.parametrize("value", ["[],", "{},", "[", '{"":'])
def test_an_answer_of_too_many_values_is_not_parsed(value: str) -> None:
    async def play(client: ServerConnection) -> None:
        await client.recv()
        await client.send(value * (MESSAGE_BYTES // 2 // len(value)))

    async def run() -> None:
        async with open_node(play) as url:
            socket = await dial(url)
            with pytest.raises(ValueError, match="values"):
                await ask(socket, "chain_getHeader", [])
            socket.transport.abort()

    asyncio.run(run())


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does an impossible one stop a program: the settings name the address to dial."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "socks_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")

    async def play(client: ServerConnection) -> None:
        question = json.loads(await client.recv())
        await client.send(json.dumps({"id": question["id"], "result": 1}))

    async def run() -> Any:
        async with open_node(play) as url:
            socket = await dial(url)
            answer = await ask(socket, "chain_getHeader", [])
            await socket.close()
            return answer

    assert asyncio.run(run()) == 1


# --- the SDK's session


def make_update(subscription: str, size: int = 1) -> str:
    return json.dumps({"params": {"subscription": subscription, "result": "x" * size}})


class Relay:
    """Passes on a node's answers, and more.

    Attributes:
        at: method → change of its answer; other answers are passed on unchanged.
    """

    def __init__(self, upstream: str) -> None:
        self.at: dict[str, Callable[[ServerConnection, str], Awaitable[object]]] = {}
        self.clients: list[ServerConnection] = []
        self._upstream = upstream

    async def play(self, client: ServerConnection) -> None:
        self.clients.append(client)
        async with connect(self._upstream, compression=None, max_size=None) as node:
            async for question in client:
                await node.send(question)
                answer = str(await node.recv())
                spoil = self.at.get(json.loads(question)["method"], ServerConnection.send)
                await spoil(client, answer)


def list_sessions() -> list[str]:
    return [t.get_name() for t in asyncio.all_tasks() if t.get_name() == "rpc-session"]


@pytest.mark.parametrize(
    ("count", "size", "cut"), [(EARLY, 1, False), (EARLY + 1, 1, True), (1, UPDATE_CHARS, True)]
)
def test_updates_that_nobody_asked_for(count: int, size: int, cut: bool, twins: Twins) -> None:
    """Some are kept for a subscriber to come; more of them end the connection."""
    relay = Relay(twins[0].endpoint)

    async def run() -> None:
        async with open_node(relay.play) as url:
            substrate = await open_substrate(url, (), 20.0)
            for number in range(count):
                await relay.clients[-1].send(make_update(str(number), size))
            if cut:
                with pytest.raises(ConnectionError, match="it sends"):
                    await substrate.block_hash(0)
            else:
                assert await substrate.block_hash(0)
            assert sdk_private.is_cut(substrate) == cut
            await sdk_private.close(substrate)
            assert not list_sessions()

    asyncio.run(run())


def test_updates_that_overtake_the_subscription_arrive(twins: Twins) -> None:
    relay = Relay(twins[0].endpoint)

    async def overtake(client: ServerConnection, answer: str) -> None:
        subscription = json.loads(answer)["result"]
        for size in (1, 2, 3):
            await client.send(make_update(subscription, size))
        await client.send(answer)

    relay.at["chain_subscribeNewHeads"] = overtake

    async def run() -> None:
        async with open_node(relay.play) as url:
            substrate = await open_substrate(url, (), 20.0)
            session = substrate.raw._session
            heads = await session.subscribe("chain_subscribeNewHeads", [], "chain_unsubscribe")
            heard = [(await anext(heads))["result"] for _ in range(3)]
            assert heard == ["x", "xx", "xxx"]
            await sdk_private.close(substrate)

    asyncio.run(run())


@pytest.mark.parametrize("stalls", [True, False])
def test_nothing_is_left_of_a_node_that_was_given_up(stalls: bool, twins: Twins) -> None:
    """One that stalls, or sends nonsense, where the SDK first asks about the runtime."""
    relay = Relay(twins[0].endpoint)

    async def spoil(client: ServerConnection, _: str) -> None:
        if stalls:
            await client.wait_closed()
        await client.send("[[[]]]")

    async def run() -> None:
        from bittensor import RpcConnectionError

        async with open_node(relay.play) as url:
            relay.at = dict.fromkeys(("state_getRuntimeVersion", "chain_getHeader"), spoil)
            with pytest.raises(TimeoutError if stalls else RpcConnectionError):
                async with asyncio.timeout(1.0 if stalls else 60.0):
                    await open_substrate(url, (), 20.0)
            assert not list_sessions()
            for client in relay.clients:
                await client.wait_closed()

    asyncio.run(run())
