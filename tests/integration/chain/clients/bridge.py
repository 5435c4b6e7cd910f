"""A bridge before the executor of the real runtime, with the methods that only a whole node has.

The executor runs the runtime and serves some of a node's methods. The bridge adds `state_getKeys`,
read in pages from the executor itself, and passes everything else on as it is.
"""

import asyncio
import json
import threading
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

_PAGE = 1_000
#: Without pings: a client with one thread answers none while it decodes metadata.
_OPTIONS: dict[str, Any] = {"max_size": None, "close_timeout": 0.1, "ping_interval": None}


class NodeBridge:
    """A websocket before an executor's."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(60)

    def close(self) -> None:
        """Ends it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with serve(self._handle, "127.0.0.1", 0, **_OPTIONS) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.endpoint = f"ws://127.0.0.1:{port}"
            self._ready.set()
            await self._stop.wait()

    async def _handle(self, client: ServerConnection) -> None:
        async with connect(self._upstream, **_OPTIONS) as node:

            async def down() -> None:
                async for text in node:
                    await client.send(text)

            async def up() -> None:
                async for text in client:
                    request = json.loads(text)
                    if request["method"] == "state_getKeys":
                        keys = await self._list_keys(*request["params"])
                        answer = {"jsonrpc": "2.0", "id": request["id"], "result": keys}
                        await client.send(json.dumps(answer))
                    else:
                        await node.send(text)

            tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _list_keys(self, prefix: str, block: str | None = None) -> list[str]:
        keys: list[str] = []
        async with connect(self._upstream, **_OPTIONS) as node:
            while True:
                after = keys[-1] if keys else prefix
                page = await _ask(node, "state_getKeysPaged", [prefix, _PAGE, after, block])
                keys += page
                if len(page) < _PAGE:
                    return keys


async def _ask(node: ClientConnection, method: str, params: list[Any]) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    await node.send(json.dumps(request))
    return json.loads(await node.recv())["result"]
