"""Every use of a private member of the bittensor SDK, which is pinned for that reason.

The SDK's own websocket would follow a redirect, inflate what a node has compressed and take answers
of four gigabytes; and when it breaks, the SDK opens another one to whatever answers at the address,
which nobody has asked which chain it is of. It has no settings for any of it. `PRIVATE_MEMBERS`
names what is used and why; `tests/network/chain/test_sdk_private.py` fails where the SDK changed.
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

#: Class → its private members that are used here, each with the reason.
PRIVATE_MEMBERS = {
    "bittensor.RpcSubstrate": {
        "_interface": "overridden: each connection that it makes, the archives' too, is bounded",
        "_substrate": "emptied at the end; None: no connection",
        "_archive_substrate": "emptied at the end",
    },
    "bittensor._transport.interface.SubstrateConnection": {
        "_session": "the websocket's session",
        "_runtimes": "decodes an old block's calls by today's runtime, its own being forgotten",
    },
    "bittensor._transport.rpc.RpcSession": {
        "_connect": "replaced: `dial` opens the websocket, and nothing opens a second one",
        "_dispatch": "wrapped: updates that nobody asked for are bounded",
        "_early": "updates kept for a subscription to come",
        "_give_up": "ends whoever waits, where the SDK's own task has stumbled",
        "_fatal_error": "set: the session is lost",
        "_closing": "set: the session ends because we said so",
        "_supervisor": "the task that reads; the SDK would raise what it ended by",
        "_ws": "the websocket, which is aborted",
    },
    "bittensor._transport.errors": {
        "SubstrateRequestException": "a node's refusal",
        "StateDiscardedError": "a node's word that it has forgotten a block's state",
    },
}

#: Longest wait for a websocket's end.
CLOSE_S = 15.0
#: Most updates that are kept for whoever may be about to subscribe, and characters in one. An
#: extrinsic has six updates or so, of a hash each.
EARLY, UPDATE_CHARS = 32, 65_536


async def open_substrate(endpoint: str, archives: tuple[str, ...], answer_s: float) -> Substrate:
    """The SDK's view of one node, connected; the first, small answer is waited for `answer_s`."""
    from bittensor import RpcSubstrate

    sessions: list[Any] = []

    class Strict(RpcSubstrate):
        """Whose websockets, the archives' too, are opened here, and all closed."""

        def _interface(self, endpoint: str, fallbacks: list[str]) -> Any:
            interface = super()._interface(endpoint, fallbacks)
            _bound_session(interface._session, answer_s)
            sessions.append(interface._session)
            return interface

        async def close(self) -> None:
            self._substrate = self._archive_substrate = None
            await asyncio.gather(*map(_close_session, sessions))

    # the SDK's own fallback nodes would not be asked which chain they are of
    client = Strict(endpoint, fallback_endpoints=[], archive_endpoints=list(archives))
    substrate = cast("Substrate", client)
    usable = False
    try:
        await client.connect()
        client.raw._session._connect = _refuse
        usable = True
    finally:
        if not usable:
            for session in sessions:  # no farewell: whoever gave up on it does not wait for one
                _abort(session)
            await close(substrate)
    return substrate


def _bound_session(session: Any, answer_s: float) -> None:
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
        """Wakes all callers with an error when no answer will come, also where the SDK's own task
        failed on the node's bytes; asyncio logs nothing about it."""
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
    """The dispatch of an SDK's session, which else keeps all updates that nobody has subscribed
    to."""
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
    """In place of the SDK's opening another websocket where one broke."""
    raise ConnectionError("the connection was lost")


def _abort(session: Any) -> None:
    if session._ws is not None:
        session._ws.transport.abort()


async def _close_session(session: Any) -> None:
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


def is_cut(substrate: Substrate) -> bool:
    """Whether the SDK has given up on the websocket: its error did not come from the node."""
    client: Any = substrate
    return client._substrate is None or client.raw._session._fatal_error is not None


async def close(substrate: Substrate) -> None:
    """Closes it; a half-open websocket takes long."""
    from bittensor._transport.errors import SubstrateRequestException

    client: Any = substrate
    try:
        async with asyncio.timeout(CLOSE_S):
            await client.close()
    except (SubstrateRequestException, WebSocketException, OSError, TimeoutError) as error:
        logger.debug("closing a connection: %s", error, extra={"event": "connection_closed"})


async def get_codec(substrate: Substrate) -> Any:
    """The codec of the runtime at the head: an old block's is in its state, forgotten, and calls
    keep their encoding for long."""
    return await substrate.raw._runtimes.codec_at(None)


async def ask_head(substrate: Substrate, method: str, params: list[Any]) -> Any:
    """A node's answer about its head; None where it has forgotten the state: then it has shown no
    time."""
    try:
        return await substrate.raw.rpc_request(method, params)
    except get_faults() as error:
        if is_forgotten(error):
            return None
        raise


# --- the errors of a call through the SDK: the node's answer, or a local failure


def get_faults() -> tuple[type[Exception], ...]:
    """The SDK's own errors, and those of the layers beneath it. The SDK is loaded late."""
    from bittensor import BittensorError
    from bittensor._transport.errors import SubstrateRequestException

    return (BittensorError, SubstrateRequestException, OSError, TimeoutError)


def is_refusal(error: Exception) -> bool:
    """Whether a node has understood and said no, so that another would say the same."""
    from bittensor import RpcConnectionError

    broken = (RpcConnectionError, OSError, TimeoutError, UnfitError, *NONSENSE)
    return not isinstance(error, broken)


def is_vague(error: BaseException) -> bool:
    """Whether a sending failed by something else than a refusal.

    The SDK makes anything that goes wrong after an extrinsic was handed over, a block that cannot
    be read among it, into the error that it also refuses with; only its cause tells them apart.
    """
    from bittensor import BittensorError
    from bittensor._transport.errors import SubstrateRequestException

    known = BittensorError | SubstrateRequestException
    return error.__cause__ is not None and not isinstance(error.__cause__, known)


def is_forgotten(error: BaseException) -> bool:
    """Whether a node has said that it no longer keeps the state; the SDK wraps its own words."""
    from bittensor._transport.errors import StateDiscardedError

    return isinstance(error, StateDiscardedError) or isinstance(
        error.__cause__, StateDiscardedError
    )
