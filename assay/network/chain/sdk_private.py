"""Every use of a private member of the bittensor SDK, which is pinned for that reason.

The SDK's own websocket would follow a redirect, decompress a node's messages and accept answers of
four gigabytes. When it breaks, the SDK opens another one to whatever answers at the address,
without a check of its chain. It has no settings for any of this.
`tests/network/chain/test_sdk_private.py` names the used members with the reasons, and fails when
the SDK changes them.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from assay.network.chain.errors import NONSENSE, UnfitError
from assay.network.chain.node_socket import ask, check_answer, dial
from assay.network.chain.substrate import Substrate

logger = logging.getLogger("assay.chain")

#: Longest wait for a websocket to close.
CLOSE_S = 15.0
#: Most updates that are kept for a subscription that may be about to start, and characters in one.
#: An extrinsic has about six updates, of a hash each.
EARLY, UPDATE_CHARS = 32, 65_536


async def open_substrate(endpoint: str, archives: tuple[str, ...], answer_s: float) -> Substrate:
    """The SDK's view of one node, connected. Waits `answer_s` for the first, small answer."""
    from bittensor import RpcSubstrate

    sessions: list[Any] = []

    class Strict(RpcSubstrate):
        """An SDK client whose websockets, the archives' too, are opened and all closed here."""

        def _interface(self, endpoint: str, fallbacks: list[str]) -> Any:
            interface = super()._interface(endpoint, fallbacks)
            _bound_session(interface._session, answer_s)
            sessions.append(interface._session)
            return interface

        async def close(self) -> None:
            self._substrate = self._archive_substrate = None
            await asyncio.gather(*map(_close_session, sessions))

    # the SDK would not check the chain of its own fallback nodes
    client = Strict(endpoint, fallback_endpoints=[], archive_endpoints=list(archives))
    substrate = cast("Substrate", client)
    usable = False
    try:
        await client.connect()
        client.raw._session._connect = _refuse
        usable = True
    finally:
        if not usable:
            for session in sessions:  # no closing handshake: the peer has not answered
                _abort(session)
            await close(substrate)
    return substrate


def _bound_session(session: Any, answer_s: float) -> None:
    """Make the SDK's session accept only requested answers, and end when it fails on anything
    else."""
    request = session.request

    async def hold(method: str, params: list[Any] | None = None) -> Any:
        answer = await request(method, params)
        check_answer(method, params or [], answer)
        return answer

    async def connect(url: str) -> ClientConnection:
        task = asyncio.current_task()
        assert task is not None  # the task that reads all messages
        task.add_done_callback(hear)
        return await _dial_living(url, answer_s)

    def hear(task: "asyncio.Task[Any]") -> None:
        """Wake all callers with an error when no answer will come, also after the SDK's own task
        failed on the node's bytes. asyncio then logs nothing about it."""
        error = None if task.cancelled() else task.exception()
        if session._closing:
            return
        if session._fatal_error is None:
            session._give_up(ConnectionError(f"the connection was lost: {error or 'it ended'}"))
        _abort(session)

    session.request = hold
    session._dispatch = _bound_updates(session)
    session._connect = connect


def _bound_updates(session: Any) -> Callable[[Any], None]:
    """The dispatch of an SDK's session, limited: the SDK keeps all updates without a
    subscription."""
    dispatch: Callable[[Any], None] = session._dispatch

    def hear(message: Any) -> None:
        is_update = isinstance(message, dict) and message.get("id") is None
        if is_update and len(str(message)) > UPDATE_CHARS:
            raise ConnectionError(f"it sends an update of more than {UPDATE_CHARS} characters")
        dispatch(message)
        if sum(len(early.items) for early in session._early.values()) > EARLY:
            raise ConnectionError("it sends updates that nobody has subscribed to")

    return hear


async def _refuse(_: str) -> Any:
    """Raise an error where the SDK would open another websocket after a break."""
    raise ConnectionError("the connection was lost")


def _abort(session: Any) -> None:
    if session._ws is not None:
        session._ws.transport.abort()


async def _close_session(session: Any) -> None:
    task = session._supervisor
    if task is not None and task.done():
        session._supervisor = None  # the SDK would raise the error that ended it
    await session.close()


async def _dial_living(url: str, answer_s: float) -> ClientConnection:
    """Open a websocket to a node that answers. Half-open ones accept connections and stay
    silent."""
    socket = await dial(url)
    try:
        async with asyncio.timeout(answer_s):
            await ask(socket, "chain_getBlockHash", [0])
    except BaseException:
        socket.transport.abort()
        raise
    return socket


def is_cut(substrate: Substrate) -> bool:
    """Return whether the SDK has given up the websocket: the error did not come from the node."""
    client: Any = substrate
    return client._substrate is None or client.raw._session._fatal_error is not None


async def close(substrate: Substrate) -> None:
    """Close it. A half-open websocket takes long."""
    from bittensor._transport.errors import SubstrateRequestException

    client: Any = substrate
    try:
        async with asyncio.timeout(CLOSE_S):
            await client.close()
    except (SubstrateRequestException, WebSocketException, OSError, TimeoutError) as error:
        logger.debug("closing a connection: %s", error, extra={"event": "connection_closed"})


async def get_codec(substrate: Substrate) -> Any:
    """The codec of the runtime at the head. An old block's codec is in its forgotten state, and
    calls keep their encoding for a long time."""
    return await substrate.raw._runtimes.codec_at(None)


async def ask_head(substrate: Substrate, method: str, params: list[Any]) -> Any:
    """A node's answer about its head, or None if it has forgotten the state. Then it has shown no
    time."""
    try:
        return await substrate.raw.rpc_request(method, params)
    except get_faults() as error:
        if is_forgotten(error):
            return None
        raise


# --- the errors of a call through the SDK: the node's answer, or a local failure


def get_faults() -> tuple[type[Exception], ...]:
    """The SDK's own errors, and those of the layers beneath it. Loads the SDK when called."""
    from bittensor import BittensorError
    from bittensor._transport.errors import SubstrateRequestException

    return (BittensorError, SubstrateRequestException, OSError, TimeoutError)


def is_refusal(error: Exception) -> bool:
    """Return whether a node has understood and refused, so that another would do the same."""
    from bittensor import RpcConnectionError

    broken = (RpcConnectionError, OSError, TimeoutError, UnfitError, *NONSENSE)
    return not isinstance(error, broken)


def is_vague(error: BaseException) -> bool:
    """Return whether a call failed by something other than a refusal.

    The SDK turns every failure after an extrinsic was sent, including a block that cannot be read,
    into the error that it also uses for refusals. Only the cause tells them apart.
    """
    from bittensor import BittensorError
    from bittensor._transport.errors import SubstrateRequestException

    known = BittensorError | SubstrateRequestException
    return error.__cause__ is not None and not isinstance(error.__cause__, known)


def is_forgotten(error: BaseException) -> bool:
    """Return whether a node has said that it no longer has the state. The SDK wraps the node's
    words."""
    from bittensor._transport.errors import StateDiscardedError

    return isinstance(error, StateDiscardedError) or isinstance(
        error.__cause__, StateDiscardedError
    )
