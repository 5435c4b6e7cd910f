"""A node's bad days: a proxy before a real node that goes silent, forgets, lies or upgrades."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

Rewrite = Callable[[str, list[Any], Any], Any]


class FaultyNode:
    """Passes JSON-RPC on to `endpoint`, and counts it.

    Attributes:
        silent: requests are swallowed and the websocket stays open.
        forgetful: state is answered for as pruned nodes answer.
        swallow_notifications: subscriptions never hear anything.
        rewrite: (method, params, result) → the result that the client sees.
    """

    def __init__(self, endpoint: str) -> None:
        self.silent = False
        self.forgetful = False
        self.swallow_notifications = False
        self.rewrite: Rewrite = lambda method, params, result: result
        self.requests: Counter[str] = Counter()
        self._upstream = endpoint
        self._clients: set[ServerConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(60)

    def cut(self) -> None:
        """Ends every connection at once; new ones are welcome."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(10)

    async def _cut(self) -> None:
        for client in list(self._clients):
            client.transport.abort()
        while self._clients:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with serve(self._handle, "127.0.0.1", 0, max_size=None, close_timeout=0.1) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.endpoint = f"ws://127.0.0.1:{port}"
            self._ready.set()
            await self._stop.wait()

    async def _handle(self, client: ServerConnection) -> None:
        self._clients.add(client)
        try:
            await self._pass_on(client)
        finally:
            self._clients.discard(client)

    async def _pass_on(self, client: ServerConnection) -> None:
        asked: dict[int, tuple[str, list[Any]]] = {}
        async with connect(self._upstream, max_size=None, close_timeout=0.1) as node:

            async def up() -> None:
                async for text in client:
                    request = json.loads(text)
                    method, params = request["method"], request.get("params") or []
                    self.requests[method] += 1
                    if self.silent:
                        continue
                    if self.forgetful and method.startswith("state_") and "Runtime" not in method:
                        error = {"code": 4003, "message": "State already discarded for 0xab"}
                        answer = {"jsonrpc": "2.0", "id": request["id"], "error": error}
                        await client.send(json.dumps(answer))
                        continue
                    asked[request["id"]] = (method, params)
                    await node.send(text)

            async def down() -> None:
                async for text in node:
                    message = json.loads(text)
                    if self.silent or ("method" in message and self.swallow_notifications):
                        continue
                    if "result" in message:
                        method, params = asked.pop(message["id"])
                        message["result"] = self.rewrite(method, params, message["result"])
                    await client.send(json.dumps(message))

            tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
