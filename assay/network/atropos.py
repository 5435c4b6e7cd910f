"""The protocol of Atropos' trajectory server, as far as a sender of groups needs it.

Source: atroposlib 0.4.0, `atroposlib/api/server.py` and `api/README.md`. The server keeps
everything in memory, authenticates nobody, and takes a repeated POST for a second group. So queries
and registrations may be repeated. A group is posted once, over its own connection, and the caller
learns one of three outcomes: the server has it, does not have it, or this is unknown.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assay.network.bounded_http import HttpAnswer, HttpRequest
from assay.network.store.base import ServedError, StoreError
from assay.network.store.http_client import HttpClient, HttpTimeouts
from assay.network.store.locators import WebLocator, read_locator
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError

#: Values in `masks` and `inference_logprobs` of a token that is not learned from (api/README.md).
MASKED, MASKED_LOGPROB = -100, 1.0
#: Most bytes of an answer, and of a failure's text.
_ANSWER, _WORDS = 64 << 10, 500
#: Parsing a large group takes long, and the server answers nobody meanwhile.
PATIENCE = HttpTimeouts(silence_s=60.0, total_s=60.0, tries=1)
_HEADERS = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
#: No connection is reused, not even that of a query just before a group: a server that closes an
#: idle connection leaves the outcome of a request unknown.
_ALONE = ("Connection", "close")


class GroupServerError(OperatorError):
    """The address is not a server of this protocol. This call has delivered no group to it."""


class ServerAwayError(GroupServerError):
    """The server does not answer at present, but may later."""


class GroupRefusedError(GroupServerError):
    """The server refuses this group."""


class UnknownDeliveryError(OperatorError):
    """A group was posted, and it is unknown whether the server has it."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group in the form of `ScoredData`. Lists are by sequence, then by token."""

    tokens: Sequence[Sequence[int]]  # prompt and completion
    masks: Sequence[Sequence[int]]  # the same, MASKED outside the completion
    scores: Sequence[float]
    advantages: Sequence[Sequence[float]]
    inference_logprobs: Sequence[Sequence[float]]  # MASKED_LOGPROB outside the completion
    generation_params: Mapping[str, Any]
    group_overrides: Mapping[str, Any]

    @property
    def longest(self) -> int:
        """The number of tokens of its longest sequence."""
        return max(map(len, self.tokens))


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """A trainer's registered limit, and the number of groups that wait for it."""

    tokens_max: int  # of a sequence; 0 or less: no limit
    queued: int  # groups


class GroupServer:
    """One server.

    Args:
        url: `http://host:port`, or `https://`.

    Raises:
        GroupServerError: the URL is invalid.
    """

    def __init__(self, url: str, patience: HttpTimeouts = PATIENCE) -> None:
        try:
            place = read_locator(url)
        except StoreError:
            place = None
        if not isinstance(place, WebLocator):
            raise GroupServerError("a server's address is http://host:port, with no user or query")
        self.url = place.url
        self._client = HttpClient(True, patience=patience)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get_load(self) -> ServerLoad | None:
        """The server's load; None: no trainer has registered there. Raises GroupServerError."""
        info, status = self._ask("GET", "/info"), self._ask("GET", "/status")
        if _take_int(info, "batch_size", "/info") <= 0:
            return None
        return ServerLoad(
            _take_int(info, "max_token_len", "/info"), _take_int(status, "queue_size", "/status")
        )

    def register(self, name: str, group_size: int, tokens_max: int) -> int | None:
        """Register an environment. Return its number; None: the trainer has not asked for a batch
        yet. Raises GroupServerError.

        Args:
            group_size: sequences in a group. The server holds smaller groups back until several
                together have this many.
        """
        asked = {
            "max_token_length": tokens_max,
            "desired_name": name,
            "weight": 1.0,
            "group_size": group_size,
        }
        answer = self._ask("POST", "/register-env", asked)
        if answer.get("status") != "success":
            return None
        return _take_int(answer, "env_id", "/register-env")

    def leave(self, env: int) -> None:
        """Announce that an environment posts no more. Raises GroupServerError."""
        self._ask("POST", "/disconnect-env", {"env_id": env})

    def post(self, group: ScoredGroup, env: int) -> bool:
        """Post a group.

        Returns:
            False: the server holds it back until others complete it.

        Raises:
            GroupRefusedError: it refuses this group.
            ServerAwayError: it cannot be reached, and nothing was sent.
            UnknownDeliveryError: it is unknown whether it has the group.
        """
        try:
            answer = self._send("POST", "/scored_data", asdict(group) | {"env_id": env})
        except ServedError as error:  # the connection was established
            raise UnknownDeliveryError(str(error)) from None
        except StoreError as error:
            raise ServerAwayError(str(error)) from None
        if 400 <= answer.status < 500:
            raise GroupRefusedError(f"{self.url} refuses the group ({_describe(answer)})")
        document = _read(answer)
        status = document.get("status") if isinstance(document, dict) else None
        if status not in ("received", "buffered"):
            raise UnknownDeliveryError(f"{self.url} answers a group with {_describe(answer)}")
        return bool(status == "received")

    def _ask(
        self, method: str, path: str, value: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._send(method, path, value)
        except StoreError as error:
            raise ServerAwayError(str(error)) from None
        if answer.status >= 500:
            raise ServerAwayError(f"{self.url}{path} answers {_describe(answer)}")
        document = _read(answer)
        if not isinstance(document, dict):
            raise GroupServerError(
                f"{self.url}{path} is not an Atropos server: it answers {_describe(answer)}"
            )
        return document

    def _send(self, method: str, path: str, value: Mapping[str, Any] | None) -> HttpAnswer:
        content = b""
        headers: tuple[tuple[str, str], ...] = (_ALONE,)
        if value is not None:
            content = gzip.compress(json.dumps(value).encode(), compresslevel=6, mtime=0)
            headers += _HEADERS
        headers += (("Content-Length", str(len(content))),) if content else ()
        url = self.url + path
        return self._client.send(HttpRequest(method, url, _ANSWER, headers, content, _WORDS))


def _read(answer: HttpAnswer) -> Any:
    """The JSON of a successful answer; None: it has no JSON, or is not a success."""
    try:
        return read_json(answer.body) if answer.status == 200 else None
    except EncodingError:
        return None


def _take_int(document: Mapping[str, Any], name: str, path: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or not -1 <= value < 1 << 40:
        raise GroupServerError(f"{path} says no {name}: this is not an Atropos server")
    return value


def _describe(answer: HttpAnswer) -> str:
    """Status and the beginning of the answer's text, printable."""
    text = answer.body[:200].decode(errors="replace")
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return f"status {answer.status}: {printable}"
