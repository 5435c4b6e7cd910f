"""Keeps a server for the program that started it: vLLM's developer mode loads whatever it is told
to, and its own `--api-key` covers the paths below /v1 alone.

    ENGINE_KEY=… vllm serve … --middleware assay_vllm.key.RequireKey
"""

import hmac
import os
from collections.abc import Awaitable, Callable
from typing import Any

#: The environment variable with the key that each request has to name as its bearer.
VARIABLE = "ENGINE_KEY"

_App = Callable[[Any, Any, Any], Awaitable[None]]


class RequireKey:
    """An ASGI middleware that answers 401 to a request without the key. Raises KeyError without the
    variable: a server that is meant to have a key never starts without one."""

    def __init__(self, app: _App) -> None:
        self._app = app
        key = os.environ[VARIABLE]  # noqa: TID251 - of a server, which reads no settings of ours
        self._bearer = f"Bearer {key}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "lifespan" or hmac.compare_digest(_get_bearer(scope), self._bearer):
            await self._app(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def _get_bearer(scope: Any) -> bytes:
    found: bytes = dict(scope["headers"]).get(b"authorization", b"")
    return found
