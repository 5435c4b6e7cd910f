"""JSON-RPC over HTTP for web3, with answers of bounded size within a deadline, and no redirects.

web3's own provider reads answers of any length and follows redirects.
"""

import asyncio
from typing import Any, cast

import httpx
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from assay.network.bounded_http import make_client, read_body, reading_at_most
from assay.network.evm.contracts import EvmError, SilentError
from assay.network.text import keep_secret
from assay.network.threads import LookupLoop
from assay.protocol.encoding import EncodingError, read_json

#: Longest answer, bytes. The events of one contract in a thousand blocks take far less.
ANSWER_MAX = 4 << 20
#: Bytes of an answer's head on the wire, including interim answers, and of the rest.
_HEAD_MAX, _REST_MAX = 64 << 10, ANSWER_MAX + ANSWER_MAX // 4
#: Seconds for a connection, and for one answer.
CONNECT_S, ANSWER_S = 5.0, 20.0
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class BoundedProvider(JSONBaseProvider):
    """One node. Raises `EvmError` if its address is not http(s). A request without an answer raises
    a `SilentError`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = _read_url(url)
        keep_secret(url)
        #: Host and port, for people: the rest of an address may hold a key.
        self.name = self._url.netloc.decode()
        #: Runs during a request, in the requesting thread.
        self._loop = LookupLoop()
        self._client = make_client(_HEADERS, CONNECT_S, ANSWER_S)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """See the class."""
        try:
            body = self.encode_rpc_request(method, params)
            answer = read_json(self._loop.run_until_complete(self._post(body)))
        except TimeoutError:
            raise SilentError(
                f"EVM node {self.name} does not answer within {ANSWER_S:g} s"
            ) from None
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise SilentError(f"EVM node {self.name} does not answer: {why}") from error
        except EncodingError as error:
            raise SilentError(f"EVM node {self.name} sent no JSON: {error}") from None
        if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
            raise SilentError(f"EVM node {self.name} sent no JSON-RPC answer to {method}")
        return cast(RPCResponse, answer)

    async def _post(self, body: bytes) -> bytes:
        with reading_at_most(_HEAD_MAX) as wire:
            async with (
                asyncio.timeout(ANSWER_S),  # for headers as well, which may come byte by byte
                self._client.stream("POST", self._url, content=body) as response,
            ):
                wire.size += _REST_MAX
                if response.status_code != httpx.codes.OK:
                    raise SilentError(
                        f"EVM node {self.name} answers with status {response.status_code}"
                    )
                too_long = SilentError(f"EVM node {self.name} sent more than {ANSWER_MAX:,} bytes")
                return await read_body(response, ANSWER_MAX, too_long)

    def close(self) -> None:
        """Close the connection. One that a thread still waits for ends with the program."""
        if not self._loop.is_running():
            self._loop.run_until_complete(self._client.aclose())
            self._loop.close()


def _read_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise EvmError("the EVM's endpoint is not an http:// or https:// address: correct it")
    return url
