"""JSON-RPC 2.0 as a substrate node speaks it: a message to its answer, whatever carries the two.

Limits, codes and words are those of jsonrpsee, the library that nodes serve with, in substrate's
settings: any number of requests in a batch, as long as message and answer are no larger than
`MESSAGE_BYTES`. Source: jsonrpsee, server/src/server.rs and server/src/middleware/rpc.rs.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from subtensor_devnet.errors import RpcError

#: Largest message and largest answer, bytes.
MESSAGE_BYTES = 15 * 1024 * 1024
#: What is to be sent right after an answer.
Start = Callable[[], None]
#: A method and its parameters to its result; what it refuses with is an `RpcError`.
Call = Callable[[str, Sequence[Any]], tuple[Any, Start]]


def answer_message(message: str | bytes, call: Call) -> tuple[str | None, list[Start]]:
    """The answer to one message, None where nobody waits for one, and what follows it."""
    try:
        asked = json.loads(message)
    except (ValueError, RecursionError):
        asked = None
    if isinstance(asked, list):
        return _answer_batch(asked, call)
    if not isinstance(asked, dict):
        return _make_error(None, RpcError(-32700, "Parse error")), []
    text, start = _answer_one(asked, call)
    return text, [start]


def _answer_batch(requests: list[Any], call: Call) -> tuple[str | None, list[Start]]:
    """All answers in one; none at all where all were notifications."""
    texts, starts, size = [], [], 1
    for request in requests:
        text, start = _answer_one(request, call)
        starts.append(start)
        if text is not None:
            texts.append(text)
            size += len(text) + 1
        if size > MESSAGE_BYTES:
            error = _make_limit_error(-32011, "The batch response was too large")
            return _make_error(None, error), starts
    if not requests:
        return _make_error(None, RpcError(-32600, "Invalid request")), []
    return f"[{','.join(texts)}]" if texts else None, starts


def _answer_one(request: Any, call: Call) -> tuple[str | None, Start]:
    identity = request.get("id") if isinstance(request, dict) else None
    if isinstance(identity, bool) or not isinstance(identity, int | str | None):
        request = identity = None
    if not isinstance(request, dict) or not _is_request(request):
        return _make_error(identity, RpcError(-32600, "Invalid request")), nothing_follows
    if "id" not in request:  # a notification, of which nodes serve none
        return None, nothing_follows
    params = request.get("params") or []
    try:
        if not isinstance(params, list):
            raise RpcError(-32602, "Invalid params: they are to be a list")
        result, start = call(request["method"], params)
    except RpcError as error:
        return _make_error(identity, error), nothing_follows
    text = json.dumps({"jsonrpc": "2.0", "id": identity, "result": result})
    if len(text) > MESSAGE_BYTES:
        return _make_error(identity, _make_limit_error(-32008, "Response is too big")), start
    return text, start


def _is_request(request: dict[str, Any]) -> bool:
    return request.get("jsonrpc") == "2.0" and isinstance(request.get("method"), str)


def make_size_error() -> str:
    """The answer to a message that is larger than `MESSAGE_BYTES`."""
    return _make_error(None, _make_limit_error(-32007, "Request is too big"))


def _make_limit_error(code: int, message: str) -> RpcError:
    return RpcError(code, message, f"Exceeded max limit of {MESSAGE_BYTES}")


def _make_error(identity: Any, error: RpcError) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": identity, "error": error.encode()})


def nothing_follows() -> None:
    """For answers that start nothing."""
