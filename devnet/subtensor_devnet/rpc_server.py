"""The chain's server: requests to methods, and over websockets blocks to their subscribers.

What is sent to a client waits in a queue of its own, an answer before the notifications that it
starts. A slow client delays no other, and one that lets too much wait is disconnected.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from subtensor_devnet.chain import DevnetChain, MadeBlock
from subtensor_devnet.errors import RpcError
from subtensor_devnet.json_rpc import Start, answer_message, nothing_follows
from subtensor_devnet.pool import PendingExtrinsic
from subtensor_devnet.rpc import RUNTIME_VERSION, SUBSCRIPTIONS, RpcMethods

logger = logging.getLogger("subtensor_devnet")
#: The library's own log of its connections. A client that sends no websocket's opening, or leaves
#: in the middle of one, is not the server's fault: it gets no traceback.
connections_logger = logging.getLogger("subtensor_devnet.connections")
connections_logger.setLevel(logging.ERROR)
connections_logger.addFilter(lambda record: not _is_clients_fault(record))

#: Characters that may wait for one client: ten thousand blocks' heads, or a hundred metadata.
_MOST_WAITING = 64 * 1024 * 1024
#: Subscriptions of one client.
_MOST_SUBSCRIPTIONS = 1_000

#: Method that subscribes → name of its notifications.
_HEADS = {
    "chain_subscribeNewHeads": "chain_newHead",
    "chain_subscribeNewHead": "chain_newHead",
    "chain_subscribeAllHeads": "chain_allHead",
    "chain_subscribeFinalizedHeads": "chain_finalizedHead",
    "chain_subscribeFinalisedHeads": "chain_finalizedHead",
}
_UNSUBSCRIBE = set(SUBSCRIPTIONS.values())


def _is_clients_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, WebSocketException | OSError)


@dataclass(slots=True, eq=False)
class _Client:
    """One connection, which gets new blocks and answers."""

    leave: Callable[[], None]
    waiting: int = 0
    subscriptions: dict[str, str] = field(default_factory=dict)
    keys: dict[str, dict[str, str | None]] = field(default_factory=dict)
    _queue: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def say(self, text: str) -> None:
        """Queues a message. A client that lets too much wait is disconnected: a gap is worse."""
        if self.waiting > _MOST_WAITING:
            logger.warning(
                "a client does not read what it is sent: left", extra={"event": "client_left"}
            )
            self.leave()
            return
        self.waiting += len(text)
        self._queue.put_nowait(text)

    async def take(self) -> str:
        """The next message to send."""
        text = await self._queue.get()
        self.waiting -= len(text)
        return text


class RpcServer:
    """Speaks for a chain; `seal` is called when a message was dealt with: makes a block if one is
    due."""

    def __init__(self, chain: DevnetChain, methods: RpcMethods, seal: Callable[[], None]) -> None:
        self._chain = chain
        self._methods = methods
        self._seal = seal
        self._clients: set[_Client] = set()
        self._watchers: dict[str, _Client] = {}
        self._awaiting: dict[int, list[str]] = {}
        self._final = chain.final_number
        self._ids = itertools.count(1)

    async def handle(self, connection: ServerConnection) -> None:
        """Serves one client until it goes."""
        client = _Client(connection.transport.abort)
        self._clients.add(client)
        sending = asyncio.create_task(_send(connection, client))
        try:
            with suppress(ConnectionClosed):
                async for message in connection:
                    self.answer(client, message)
                    self._seal()
                    await asyncio.sleep(0)  # many requests at once do not keep others waiting
        finally:
            sending.cancel()
            self._clients.discard(client)
            for watcher in client.subscriptions:
                self._watchers.pop(watcher, None)

    def publish(self, made: MadeBlock) -> None:
        """Notifies all subscribers of a block, and of the blocks that it made final."""
        block = "0x" + made.header.hash.hex()
        for waiting in made.included:
            self._notify_watcher(waiting, {"inBlock": block})
        for waiting in made.dropped:
            self._notify_watcher(waiting, "invalid")
            self._end_watch(waiting.watcher)
        watched = [waiting.watcher for waiting in made.included if waiting.watcher]
        self._awaiting[made.header.number] = watched
        header = made.header.to_json()
        for client in list(self._clients):
            for identity, name in list(client.subscriptions.items()):
                if name in ("chain_newHead", "chain_allHead"):
                    _notify(client, name, identity, header)
                elif name == "state_storage":
                    self._notify_storage(client, identity, block)
        self._publish_final()

    def _publish_final(self) -> None:
        while self._final < self._chain.final_number:
            self._final += 1
            block_hash = self._chain.get_hash(self._final)
            assert block_hash is not None  # it was made before it became final
            block = self._chain.find_block(block_hash)
            assert block is not None
            for watcher in self._awaiting.pop(self._final, []):
                client = self._end_watch(watcher)
                if client is not None:
                    finalized = {"finalized": "0x" + block_hash.hex()}
                    _notify(client, "author_extrinsicUpdate", watcher, finalized)
            header = block.header.to_json()
            for client in list(self._clients):
                for identity, name in list(client.subscriptions.items()):
                    if name == "chain_finalizedHead":
                        _notify(client, name, identity, header)

    # --- requests

    def answer(self, client: _Client, message: str | bytes) -> None:
        """Answers what came over a websocket."""
        text, starts = answer_message(message, partial(self._call, client))
        if text is not None:
            client.say(text)
        for start in starts:
            start()

    def answer_once(self, message: bytes) -> str | None:
        """Answers what came over HTTP, where nothing can follow the answer."""
        text, _ = answer_message(message, self._call_once)
        self._seal()
        return text

    def _call_once(self, method: str, params: Sequence[Any]) -> tuple[Any, Start]:
        if method in SUBSCRIPTIONS or method in _UNSUBSCRIBE:
            raise RpcError(-32603, "Internal error")  # as nodes have it
        if method not in self._methods.table:
            raise RpcError(-32601, "Method not found")
        return self._methods.table[method](params), nothing_follows

    def _call(self, client: _Client, method: str, params: Sequence[Any]) -> tuple[Any, Start]:
        if method in _UNSUBSCRIBE:
            return self._unsubscribe(client, params), nothing_follows
        if method not in SUBSCRIPTIONS:
            return self._call_once(method, params)
        if len(client.subscriptions) >= _MOST_SUBSCRIPTIONS:
            raise RpcError(-32006, "Too many subscriptions on the connection")
        identity = f"devnet-{next(self._ids)}"
        if method in _HEADS:
            client.subscriptions[identity] = _HEADS[method]
            return identity, lambda: self._tell_head(client, identity)
        if method == "author_submitAndWatchExtrinsic":
            return self._watch(client, identity, params)
        if method == "state_subscribeStorage":
            keys = params[0] if params and isinstance(params[0], list) else []
            client.subscriptions[identity] = "state_storage"
            client.keys[identity] = {str(key): "" for key in keys}
            head = "0x" + self._chain.head.hash.hex()
            return identity, lambda: self._notify_storage(client, identity, head)
        client.subscriptions[identity] = "state_runtimeVersion"  # the one that is left
        return identity, lambda: _notify(client, "state_runtimeVersion", identity, RUNTIME_VERSION)

    def _watch(self, client: _Client, identity: str, params: Sequence[Any]) -> tuple[str, Start]:
        try:
            raw = bytes.fromhex(str(params[0]).removeprefix("0x"))
        except (IndexError, ValueError) as error:
            raise RpcError(-32602, "Invalid params: an extrinsic in hex") from error
        self._chain.submit(raw, identity)
        client.subscriptions[identity] = "author_extrinsicUpdate"
        self._watchers[identity] = client
        return identity, lambda: _notify(client, "author_extrinsicUpdate", identity, "ready")

    def _unsubscribe(self, client: _Client, params: Sequence[Any]) -> bool:
        identity = str(params[0]) if params else ""
        self._watchers.pop(identity, None)
        client.keys.pop(identity, None)
        return client.subscriptions.pop(identity, None) is not None

    # --- notifications

    def _tell_head(self, client: _Client, identity: str) -> None:
        """Sends the head to a new subscriber at once."""
        name = client.subscriptions.get(identity, "")
        number = self._final if name == "chain_finalizedHead" else self._chain.head.number
        block = self._chain.find_block(self._chain.get_hash(number))
        if name and block is not None:
            _notify(client, name, identity, block.header.to_json())

    def _notify_watcher(self, waiting: PendingExtrinsic, status: Any) -> None:
        client = self._watchers.get(waiting.watcher or "")
        if client is not None and waiting.watcher is not None:
            _notify(client, "author_extrinsicUpdate", waiting.watcher, status)

    def _end_watch(self, watcher: str | None) -> _Client | None:
        """Ends the notifications of an extrinsic, and returns the client that got them."""
        client = self._watchers.pop(watcher or "", None)
        if client is not None:
            client.subscriptions.pop(watcher or "", None)
        return client

    def _notify_storage(self, client: _Client, identity: str, block: str) -> None:
        known = client.keys.get(identity, {})
        changes = []
        for key, before in list(known.items()):
            try:
                value = self._chain.state.read(bytes.fromhex(key.removeprefix("0x")))
            except ValueError:
                continue  # no key
            text = None if value is None else "0x" + value.hex()
            if text != before:
                known[key] = text
                changes.append([key, text])
        if changes:
            _notify(client, "state_storage", identity, {"block": block, "changes": changes})


async def _send(connection: ServerConnection, client: _Client) -> None:
    with suppress(ConnectionClosed):
        while True:
            await connection.send(await client.take())


def _notify(client: _Client, name: str, identity: str, result: Any) -> None:
    params = {"subscription": identity, "result": result}
    client.say(json.dumps({"jsonrpc": "2.0", "method": name, "params": params}))
