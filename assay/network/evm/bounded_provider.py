"""JSON-RPC over HTTP for web3, with answers of bounded size within a deadline, and no redirects.

web3's own provider reads answers of any length and follows redirects.
"""

import asyncio
from base64 import b64encode
from typing import Any, cast
from urllib.parse import SplitResult, unquote

from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from assay.network.bounded_http import (
    HTTP_ERRORS,
    OK,
    AsyncHttpClient,
    HttpFault,
    HttpRequest,
    TooLongFault,
    read_address,
)
from assay.network.evm.contracts import EvmError, SilentError
from assay.network.text import keep_secret
from assay.network.threads import LookupLoop
from assay.protocol.encoding import EncodingError, read_json

#: Longest answer, bytes. The events of one contract in a thousand blocks take far less.
ANSWER_MAX = 4 << 20
#: Bytes of an answer on the wire before its body, including interim answers.
_HEAD_MAX = 64 << 10
#: Seconds for a connection, and for one answer.
CONNECT_S, ANSWER_S = 5.0, 20.0


class BoundedProvider(JSONBaseProvider):
    """One node. Raises `EvmError` if its address is not http(s). A request without an answer raises
    a `SilentError`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = read_address(url)
        if parts is None:
            raise EvmError("the EVM's endpoint is not an http:// or https:// address: correct it")
        keep_secret(url)
        #: Host and port, for people: the rest of an address may hold a key.
        self.name = parts.netloc.rpartition("@")[2]
        self._url = url
        self._headers = [("Content-Type", "application/json"), *_authorize(parts)]
        #: Runs during a request, in the requesting thread.
        self._loop = LookupLoop()
        self._client = AsyncHttpClient(CONNECT_S, ANSWER_S)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """See the class."""
        try:
            body = self.encode_rpc_request(method, params)
            answer = read_json(self._loop.run_until_complete(self._post(body)))
        except TimeoutError:
            raise SilentError(
                f"EVM node {self.name} does not answer within {ANSWER_S:g} s"
            ) from None
        except HTTP_ERRORS as error:
            why = str(error) or type(error).__name__
            raise SilentError(f"EVM node {self.name} does not answer: {why}") from error
        except TooLongFault:
            raise SilentError(f"EVM node {self.name} sent more than {ANSWER_MAX:,} bytes") from None
        except HttpFault as fault:
            raise SilentError(f"EVM node {self.name} {fault}") from None
        except EncodingError as error:
            raise SilentError(f"EVM node {self.name} sent no JSON: {error}") from None
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise SilentError(f"EVM node {self.name} sent no JSON-RPC answer to {method}")
        return cast(RPCResponse, answer)

    async def _post(self, body: bytes) -> bytes:
        request = HttpRequest("POST", self._url, ANSWER_MAX, self._headers, body, head=_HEAD_MAX)
        async with asyncio.timeout(ANSWER_S):  # for headers as well, which may come byte by byte
            answer = await self._client.send(request)
        if answer.status != OK:
            raise SilentError(f"EVM node {self.name} answers with status {answer.status}")
        return answer.body

    def close(self) -> None:
        """Close the connection. One that a thread still waits for ends with the program."""
        if not self._loop.is_running():
            self._loop.run_until_complete(self._client.aclose())
            self._loop.close()


def _authorize(parts: SplitResult) -> list[tuple[bytes | str, bytes | str]]:
    """The header that an address with user and password stands for."""
    if parts.username is None:
        return []
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return [("Authorization", b"Basic " + b64encode(pair.encode()))]
