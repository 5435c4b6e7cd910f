"""One drafting server and its API: vLLM's completions with token ids, or SGLang's."""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

from assay.inference.draft import Request, Rules
from assay.network.bounded_http import (
    HTTP_ERRORS,
    OK,
    AsyncHttpClient,
    HttpFault,
    HttpRequest,
    TooLongFault,
    read_address,
)
from assay.network.text import describe_error, mask_url
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError

logger = logging.getLogger("assay")

_ACCEPT, _JSON = ("Accept", "application/json"), ("Content-Type", "application/json")
#: Seconds to connect, and of silence after which a server counts as gone.
_CONNECT_S, _SILENCE_S = 5.0, 3_600.0
#: Seconds until an answer begins, and for each of its tokens: a busy server is slow.
ANSWER_S, TOKEN_S = 60.0, 0.25
#: Seconds for loading another checkpoint, and for each other command.
LOAD_S, _ORDER_S = 600.0, 60.0
#: Bytes of an answer besides its tokens, and for each token of prompt and completion.
ANSWER_BYTES, TOKEN_BYTES = 64 << 10, 64
#: Statuses of a server that knows no such command.
_UNKNOWN = (404, 405)
#: Statuses of a server that may take the same request later.
_LATER = (408, 425, 429)
#: Prefix of the address of an SGLang server.
_SGLANG = "sglang+"
#: A pickled reference to the class, which SGLang loads. assay-vllm must be installed beside it.
SGLANG_PROCESSOR = json.dumps(
    {"callable": b"\x80\x02cassay_vllm.sglang_processor\nSglangProcessor\n.".hex()}
)


class EngineError(OperatorError):
    """A server that cannot draft. The message says why."""


class RefusedError(EngineError):
    """The server refuses a request, and would refuse it again."""


@dataclass(slots=True, eq=False)
class Engine:
    """One server.

    Attributes:
        url: of its API, without a slash at its end. model: its name of the served model.
        left_until: the clock's time until which it is not asked.
        failures: times that it was left since its last draft.
        drafted, kept: tokens of its newest steps since its canary, and the reference's own tokens
            among them, as far as they were read.
        lack: why it is left out; None: it is not.
        is_tried: its canary has passed.
        is_starting: this program started it, and it has not answered yet.
        preparing: the checkpoint that it is loading.
        key: that it requires of every request; empty: none.
    """

    _path: ClassVar[str] = "/v1/completions"
    url: str
    model: str
    left_until: float = 0.0
    failures: int = 0
    drafted: int = 0
    kept: int = 0
    lack: str | None = None
    is_tried: bool = False
    is_starting: bool = False
    preparing: "Preparing | None" = None
    key: str = field(default="", repr=False)

    def leave(self, why: str, until: float = 0.0) -> None:
        """Leave it out. It drafts nothing before it is tried again, at the clock's time `until` or
        later."""
        self.lack, self.left_until, self.is_tried = why, until, False
        self.failures += 1

    @property
    def state(self) -> str:
        """new: not tried yet; starting; drafting; left."""
        if self.is_starting or self.preparing is not None:
            return "starting"
        if self.lack is not None:
            return "left"
        return "drafting" if self.is_tried else "new"

    @property
    def is_local(self) -> bool:
        """Return whether it runs on this machine, and so reads the same folders."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    async def draft(
        self,
        client: AsyncHttpClient,
        request: Request,
        rules: Rules,
        ahead: int,
        vocabulary: int,
        patience_s: float,
    ) -> tuple[int, ...]:
        """Continue a turn by at most `ahead` tokens.

        Args:
            patience_s: seconds that it may take, if that is less than a busy server needs.

        Raises:
            EngineError: it does not answer correctly.
        """
        asked = self._make_order(request, rules, ahead)
        most = ANSWER_BYTES + TOKEN_BYTES * (len(request.prompt) + rules.max_tokens)
        seconds = min(ANSWER_S + TOKEN_S * ahead, patience_s)
        body = await self._ask(client, "POST", self._path, asked, most, seconds)
        try:
            ids = self._find_ids(read_json(body))
        except EncodingError as error:
            raise EngineError(f"it answers no JSON: it {error}") from None
        except (LookupError, TypeError):
            ids = None
        if not isinstance(ids, list) or not 0 < len(ids) <= ahead:
            raise EngineError("it answers no token ids, or not as many as were asked for")
        if not all(type(token) is int and 0 <= token < vocabulary for token in ids):
            raise EngineError("it answers ids that the model does not have")
        return (*request.tokens, *ids)

    def _make_order(self, request: Request, rules: Rules, ahead: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "prompt": [*request.prompt, *request.tokens],
            "max_tokens": ahead,
            "temperature": 0,
            "return_token_ids": True,
            "ignore_eos": True,
            "stop_token_ids": list(rules.end_tokens),
            "vllm_xargs": name_rollout(request, rules),
        }

    def _find_ids(self, answer: Any) -> Any:
        return answer["choices"][0]["token_ids"]

    async def load(self, client: AsyncHttpClient, folder: Path) -> bool:
        """Make the server load a checkpoint in place of its present one, and drop its cache. Return
        False if it accepts no such command, like a vLLM that was started without
        `VLLM_SERVER_DEV_MODE=1`.

        Raises:
            EngineError: the loading failed.
        """
        reload = {
            "method": "reload_weights",
            "kwargs": {"weights_path": str(folder.resolve())},
            "timeout": LOAD_S,
        }
        try:
            await self._order(client, "/pause?mode=wait")
            await self._order(client, "/collective_rpc", reload, LOAD_S)
            answer = await self._order(client, "/reset_prefix_cache")
        except _UnknownPathError:
            return False
        finally:  # it may have been paused, whatever it answered
            with suppress(EngineError):
                await self._order(client, "/resume")
        try:
            is_reset = read_json(answer)["success"]
        except (EncodingError, LookupError, TypeError):
            is_reset = False
        if is_reset is not True:
            raise EngineError("it does not clear its cache of the last checkpoint")
        return True

    async def is_ready(self, client: AsyncHttpClient) -> bool:
        """Return whether it serves yet. A starting server does not listen."""
        try:
            await self._ask(client, "GET", "/health", None, ANSWER_BYTES, _ORDER_S)
        except EngineError:
            return False
        return True

    async def _order(
        self, client: AsyncHttpClient, path: str, asked: Any = None, seconds: float | None = None
    ) -> bytes:
        within = _ORDER_S if seconds is None else seconds
        return await self._ask(client, "POST", path, asked, ANSWER_BYTES, within)

    async def _ask(
        self, client: AsyncHttpClient, method: str, path: str, asked: Any, most: int, seconds: float
    ) -> bytes:
        """The body of a successful answer, within these bytes and seconds."""
        content = b"" if asked is None else json.dumps(asked).encode()
        headers = (_ACCEPT, _JSON) if content else (_ACCEPT,)
        if self.key:
            headers = (*headers, ("Authorization", f"Bearer {self.key}"))
        url, head = f"{self.url}{path}", most * 3 // 4
        request = HttpRequest(method, url, most, headers, content, words=300, head=head)
        try:
            async with asyncio.timeout(seconds):
                answer = await client.send(request)
        except TimeoutError:
            raise EngineError("it does not answer in time") from None
        except TooLongFault:
            raise EngineError(f"its answer has more than {most} bytes") from None
        except HttpFault as fault:
            raise EngineError(f"it {fault}") from None
        except (*HTTP_ERRORS, OSError) as error:
            raise EngineError(describe_error(error)) from None
        if answer.status == OK:
            return answer.body
        body = json.dumps(answer.body.decode(errors="replace"))
        kind = EngineError
        if answer.status in _UNKNOWN:
            kind = _UnknownPathError
        elif 400 <= answer.status < 500 and answer.status not in _LATER:
            kind = RefusedError
        raise kind(f"it answers {answer.status}: {body}")


def connect(in_flight: int = 1) -> AsyncHttpClient:
    """A client for servers, with at most this many connections. Each request has its own
    deadline."""
    return AsyncHttpClient(_CONNECT_S, _SILENCE_S, connections=in_flight, idle=in_flight)


def name_rollout(request: Request, rules: Rules) -> dict[str, Any]:
    """The fields of a request that the keyed draw needs: engines/vllm/README.md."""
    return {
        "assay_seed": request.seed.hex(),
        "assay_at": request.at + len(request.tokens),
        "assay_tq": rules.temperature,
    }


class Preparing:
    """A server that loads a checkpoint, in a separate thread.

    Attributes:
        is_over: loading has ended. Then
        is_ready: it serves the checkpoint, as far as that can be told; said: why it failed.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.folder = folder
        self.is_new = True  # nobody has waited for it
        self.is_ready = False
        self.said: str | None = None
        self._engine = engine
        self._thread = Thread(target=lambda: asyncio.run(self._prepare()), daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most this long."""
        self.is_new = False
        self._thread.join(max(0.0, seconds))

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    async def _prepare(self) -> None:
        engine = self._engine
        async with connect() as client:
            if engine.is_starting and not await engine.is_ready(client):
                return
            try:
                if engine.is_local and not await engine.load(client, self.folder):
                    logger.warning(
                        "engine %s cannot load a new checkpoint and drafts with its first one: "
                        "start it with VLLM_SERVER_DEV_MODE=1",
                        engine.url,
                        extra={"event": "engine_unchanged"},
                    )
            except EngineError as error:
                self.said = str(error)
                return
        self.is_ready = True


class _UnknownPathError(RefusedError):
    """The server has no such path."""


@dataclass(slots=True, eq=False)
class SglangEngine(Engine):
    """An SGLang server. Each request names the keyed draw."""

    _path: ClassVar[str] = "/generate"

    def _make_order(self, request: Request, rules: Rules, ahead: int) -> dict[str, Any]:
        sampling = {
            "max_new_tokens": ahead,
            "temperature": 0,
            "stop_token_ids": list(rules.end_tokens),
            "custom_params": name_rollout(request, rules),
        }
        return {
            "input_ids": [*request.prompt, *request.tokens],
            "sampling_params": sampling,
            "custom_logit_processor": SGLANG_PROCESSOR,
        }

    def _find_ids(self, answer: Any) -> Any:
        return answer["output_ids"]

    async def load(self, client: AsyncHttpClient, folder: Path) -> bool:
        """See `Engine.load`."""
        asked = {"model_path": str(folder.resolve()), "flush_cache": True}
        await self._order(client, "/update_weights_from_disk", asked, LOAD_S)
        return True


def read_engine(text: str) -> Engine:
    """A server as an operator names it: its address, and after a # the name of its model if that is
    not `assay`. An SGLang server has the prefix `sglang+`. Raises an EngineError: the text is not a
    server's name."""
    url, _, model = text.removeprefix(_SGLANG).partition("#")
    parts = read_address(url)
    if parts is None or parts.query:
        raise EngineError(
            f"{mask_url(text)!r} is not an engine: write http://host:port, http://host:port#model, "
            f"{_SGLANG}http://host:port, or auto"
        )
    if "@" in parts.netloc:
        raise EngineError("an engine's address takes no user and no password: leave them out")
    kind = SglangEngine if text.startswith(_SGLANG) else Engine
    return kind(url.rstrip("/").removesuffix("/v1"), model or "assay")
