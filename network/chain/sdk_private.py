"""Websockets to nodes: how they are opened, how much they may say, and how they end.

The SDK's own would follow a redirect, inflate what a node has compressed and take answers of four
gigabytes; and when its websocket breaks it opens another one to whatever answers at the address,
which nobody has asked which chain it is of. It has no settings for any of it, hence its private
names.
"""

import asyncio
import json
import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as _Connect
from websockets.exceptions import WebSocketException

from assay.network.chain.node_socket import MESSAGE_BYTES, BoundedSocket, bound_updates

if TYPE_CHECKING:
    from bittensor import RpcSubstrate
    from bittensor._transport.interface import SubstrateConnection
    from bittensor._transport.rpc import RpcSession

logger = logging.getLogger("assay.chain")

#: Longest wait for a websocket's handshake, and for its end.
HANDSHAKE_S, CLOSE_S = 10.0, 15.0


class _NoRedirect(_Connect):
    """A redirect is an answer like any other that is no websocket."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def dial(url: str, most: int = MESSAGE_BYTES) -> ClientConnection:
    """A websocket to a node. Proxies that the environment names are not used: which host a program
    speaks to stands in its settings.

    Raises:
        OSError, WebSocketException: there is none.
    """
    return await _NoRedirect(
        url,
        max_size=most,
        compression=None,
        open_timeout=HANDSHAKE_S,
        proxy=None,
        create_connection=BoundedSocket,
    )


async def open_substrate(
    endpoint: str, archives: tuple[str, ...], answer_s: float
) -> "RpcSubstrate":
    """The SDK's view of one node, connected.

    Args:
        answer_s: longest wait for the first, small answer; the runtime may take longer.

    Raises:
        BittensorError, OSError, TimeoutError: the node cannot be reached.
    """
    from bittensor import RpcSubstrate

    sessions: list[RpcSession] = []

    class Strict(RpcSubstrate):
        """Whose websockets, the archives' too, are opened here, and all closed."""

        def _interface(self, endpoint: str, fallbacks: list[str]) -> "SubstrateConnection":
            interface = super()._interface(endpoint, fallbacks)
            _bound_session(interface._session, answer_s)
            sessions.append(interface._session)
            return interface

        async def close(self) -> None:
            self._substrate = self._archive_substrate = None
            await asyncio.gather(*map(_close_session, sessions))

    # the SDK's own fallback nodes would not be asked which chain they are of
    substrate = Strict(endpoint, fallback_endpoints=[], archive_endpoints=list(archives))
    usable = False
    try:
        await substrate.connect()
        substrate.raw._session._connect = _refuse
        usable = True
    finally:
        if not usable:
            for session in sessions:  # no farewell: whoever gave up on it does not wait for one
                _abort(session)
            await close(substrate)
    return substrate


def _bound_session(session: "RpcSession", answer_s: float) -> None:
    """Has the SDK's session take what was asked for, and end when it stumbles over the rest."""
    request = session.request

    async def hold(method: str, params: list[Any] | None = None) -> Any:
        answer = await request(method, params)
        check_answer(method, params or [], answer)
        return answer

    async def connect(url: str) -> ClientConnection:
        task = asyncio.current_task()
        assert task is not None  # the one that reads whatever comes
        task.add_done_callback(hear)
        return await _dial_living(url, answer_s)

    def hear(task: "asyncio.Task[Any]") -> None:
        """Whoever waits for an answer hears that none comes, also where the SDK's own task has
        stumbled over what the node sent; and asyncio has no word to say about it."""
        error = None if task.cancelled() else task.exception()
        if session._closing:
            return
        if session._fatal_error is None:
            session._give_up(ConnectionError(f"the connection was lost: {error or 'it ended'}"))
        _abort(session)

    session.request = hold  # type: ignore[method-assign]
    session._dispatch = bound_updates(session)  # type: ignore[method-assign]
    session._connect = connect


async def _refuse(_: str) -> Any:
    """In place of the SDK's opening another websocket where one broke."""
    raise ConnectionError("the connection was lost")


def _abort(session: "RpcSession") -> None:
    if session._ws is not None:
        session._ws.transport.abort()  # type: ignore[attr-defined]


async def _close_session(session: "RpcSession") -> None:
    task = session._supervisor
    if task is not None and task.done():
        session._supervisor = None  # the SDK would raise what it has ended by
    await session.close()


async def _dial_living(url: str, answer_s: float) -> ClientConnection:
    """A websocket to a node that answers: half-open ones take connections and say nothing."""
    socket = await dial(url)
    try:
        async with asyncio.timeout(answer_s):
            await ask(socket, "chain_getBlockHash", [0])
    except BaseException:
        socket.transport.abort()
        raise
    return socket


def is_cut(substrate: "RpcSubstrate") -> bool:
    """Whether the SDK has given up on the websocket: whatever it raised, the node said nothing."""
    return substrate._substrate is None or substrate.raw._session._fatal_error is not None


async def close(substrate: "RpcSubstrate") -> None:
    """Closes it; a half-open websocket takes long."""
    from bittensor._transport.errors import SubstrateRequestException

    try:
        async with asyncio.timeout(CLOSE_S):
            await substrate.close()
    except (SubstrateRequestException, WebSocketException, OSError, TimeoutError) as error:
        logger.debug("closing a connection: %s", error, extra={"event": "connection_closed"})


async def ask(socket: ClientConnection, method: str, params: list[Any]) -> Any:
    """A node's answer, past the SDK.

    Raises:
        ValueError: it is none. OSError, WebSocketException: there is none.
    """
    request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    await socket.send(json.dumps(request))
    text = await socket.recv()
    try:
        answer = json.loads(text)
    except RecursionError:
        raise ValueError(f"it nests its answer to {method} beyond all measure") from None
    if not isinstance(answer, dict) or answer.get("id") != method or "result" not in answer:
        raise ValueError(f"it does not answer {method}")
    return answer["result"]


def check_answer(method: str, params: list[Any], answer: Any) -> None:
    """Holds an answer about many keys to the keys that were asked: the SDK takes what it finds, and
    a default for what it does not.

    Raises:
        ValueError: keys are missing, come twice, or were not asked for.
    """
    if method == "state_queryStorageAt":
        asked = sorted({key.lower() for key in params[0]})
        changes = [(group["block"], key) for group in answer or [] for key, _ in group["changes"]]
        if sorted(key.lower() for _, key in changes) != asked:
            raise ValueError(f"{len(asked)} keys were asked for, and it answers for others")
        if len(params) > 1 and params[1] and {block for block, _ in changes} - {params[1]}:
            raise ValueError("it answers for another block")
    elif method == "state_getKeysPaged":
        prefix, count, start = (*params, None)[:3]
        keys = [key.lower() for key in answer or []]
        floor = (start or prefix).lower()
        ordered = all(before < key for before, key in pairwise([floor, *keys]))
        if len(keys) > count or not ordered or any(not k.startswith(prefix) for k in keys):
            raise ValueError(f"it lists keys twice, out of order, or not below {prefix}")
