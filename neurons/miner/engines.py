"""Servers that draft: OpenAI's completions with token ids, and assay-vllm's draw behind them.

A server is believed in nothing: what it says is a draft. One that does not answer, or answers
nonsense, is left for a while, and its rows go to another, or to the drafter of our own.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from assay.inference import (
    Checkpoint,
    DraftCount,
    Drafter,
    GroupRequest,
    Request,
    Rules,
    follow_groups,
    generate_groups,
)
from assay.inference.folder import read_passages
from assay.inference.following import FollowedRow, Follower
from assay.inference.generate import Horizon
from assay.network.bounded_http import make_client, read_body, reading_at_most
from assay.network.text import describe_error
from assay.protocol import Domain, EncodingError, Rollout, hash_fields
from assay.protocol.encoding import read_json
from assay.protocol.errors import OperatorError
from assay.verification import Projection

logger = logging.getLogger("assay")

#: Seconds to connect; until an answer begins, and for each token of it: a busy server is slow.
_CONNECT_S, _ANSWER_S, _TOKEN_S = 5.0, 60.0, 2.0
#: Bytes of an answer beside its tokens, and for each token of prompt and completion.
_ANSWER_BYTES, _TOKEN_BYTES = 64 << 10, 64
#: Requests on their way to one server.
IN_FLIGHT = 256
#: Seconds until a server that failed is asked again.
RETRY_S = 60.0
#: Tokens of each row of a canary, rows, and the share that must be the reference's own. A server
#: whose draws are not keyed keeps less than half, however certain its model is.
CANARY_TOKENS, CANARY_ROWS, CANARY_SHARE = 16, 16, 0.6
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "assay"}


class EngineError(OperatorError):
    """A server that cannot draft; says why."""


@dataclass(slots=True, eq=False)
class Engine:
    """One server.

    Attributes:
        url: of its API, without a slash at its end. model: as it names what it serves.
        left_until: the clock's time until which it is not asked.
        lack: why it is left; None: it is not.
        is_tried: its canary has passed.
    """

    url: str
    model: str
    left_until: float = 0.0
    lack: str | None = None
    is_tried: bool = False

    async def draft(
        self, client: httpx.AsyncClient, request: Request, rules: Rules, ahead: int, vocabulary: int
    ) -> tuple[int, ...]:
        """A completion continued by at most so many tokens.

        Raises:
            EngineError: it does not answer as it should.
        """
        prompt = [*request.prompt, *request.tokens]
        asked = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": ahead,
            "temperature": 0,
            "return_token_ids": True,
            "ignore_eos": True,
            "stop_token_ids": list(rules.end_tokens),
            "vllm_xargs": {
                "assay_seed": request.seed.hex(),
                "assay_at": len(request.tokens),
                "assay_tq": rules.temperature,
            },
        }
        answer = await self._post(client, asked, len(prompt) + ahead)
        try:
            ids = answer["choices"][0]["token_ids"]
        except (LookupError, TypeError):
            ids = None
        if not isinstance(ids, list) or not 0 < len(ids) <= ahead:
            raise EngineError("it answers no token ids, or not as many as were asked for")
        if not all(type(token) is int and 0 <= token < vocabulary for token in ids):
            raise EngineError("it answers ids that the model does not have")
        return (*request.tokens, *ids)

    async def _post(self, client: httpx.AsyncClient, asked: dict[str, Any], tokens: int) -> Any:
        most = _ANSWER_BYTES + _TOKEN_BYTES * tokens
        try:
            with reading_at_most(2 * most):
                async with (
                    asyncio.timeout(_ANSWER_S + _TOKEN_S * asked["max_tokens"]),
                    client.stream("POST", f"{self.url}/v1/completions", json=asked) as answer,
                ):
                    too_long = EngineError(f"its answer has more than {most} bytes")
                    body = await read_body(answer, most, too_long)
        except TimeoutError:
            raise EngineError("it does not answer in time") from None
        except httpx.HTTPError as error:
            raise EngineError(describe_error(error)) from None
        if answer.status_code != httpx.codes.OK:
            said = body[:300].decode(errors="replace")
            raise EngineError(f"it answers {answer.status_code}: {json.dumps(said)}")
        try:
            return read_json(body)
        except EncodingError as error:
            raise EngineError(f"it answers no JSON: it {error}") from None


def read_engine(text: str) -> Engine:
    """A server as an operator names it: its address, and behind a # the name of its model where
    that is not `assay`. Raises an EngineError: it is none."""
    url, _, model = text.partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise EngineError(
            f"{text!r} is no engine: write http://host:port, or http://host:port#model"
        )
    return Engine(url.rstrip("/").removesuffix("/v1"), model or "assay")


@dataclass(slots=True)
class EngineDrafter:
    """A `Drafter` over several servers and, where none is left, a drafter of our own.

    Args:
        engines: rows of a rollout go to the same one for as long as it works: it has their keys.
        rules: of the checkpoint in force. vocabulary: ids of its model.
        make_own: the drafter of our own; made when it is needed.

    Attributes:
        trouble: what a person should mend; None while all servers work.
    """

    engines: Sequence[Engine]
    rules: Rules
    vocabulary: int
    make_own: Callable[[], Drafter]
    clock: Callable[[], float] = time.monotonic
    _own: Drafter | None = field(default=None, repr=False)

    @property
    def trouble(self) -> str | None:
        lacks = [f"{engine.url}: {engine.lack}" for engine in self.engines if engine.lack]
        if not lacks:
            return None
        rest = "the others draft" if len(lacks) < len(self.engines) else "this program drafts"
        return f"{len(lacks)} of {len(self.engines)} engines are left, {lacks[0]}; {rest}"

    def draft(self, requests: Sequence[Request], ahead: int | None = None) -> list[tuple[int, ...]]:
        """See `Drafter`."""
        if not requests:
            return []
        drafted: dict[int, tuple[int, ...]] = {}
        waiting = list(range(len(requests)))
        engines = [engine for engine in self.engines if engine.is_tried and engine.lack is None]
        while waiting and engines:
            shares: dict[int, list[int]] = {}
            for i in waiting:
                shares.setdefault(requests[i].seed[0] % len(engines), []).append(i)
            found = asyncio.run(
                self._ask({engines[e]: rows for e, rows in shares.items()}, requests, ahead)
            )
            drafted |= found
            waiting = [i for i in waiting if i not in found]
            engines = [engine for engine in engines if engine.lack is None]
        if waiting:
            self._own = self._own or self.make_own()
            rest = self._own.draft([requests[i] for i in waiting], ahead)
            drafted |= zip(waiting, rest, strict=True)
        return [drafted[i] for i in range(len(requests))]

    def try_out(self, requests: Sequence[Request], follower: Follower) -> None:
        """Has each server that was not tried, or was left long enough, draft a few tokens: one
        whose draws are the reference's drafts from then on.

        Args:
            requests: prompts of the checkpoint's own, nothing drafted yet.
        """
        for engine in self.engines:
            if engine.lack is not None and self.clock() >= engine.left_until:
                engine.lack = None
            if engine.is_tried or engine.lack is not None:
                continue
            few = requests[:CANARY_ROWS]
            found = asyncio.run(self._ask({engine: list(range(len(few)))}, few, CANARY_TOKENS))
            if len(found) < len(few):  # it failed meanwhile
                continue
            rows = [FollowedRow(few[i].prompt, few[i].seed, list(found[i])) for i in found]
            drafted = sum(len(row.tokens) for row in rows)
            kept = drafted - follower.follow(rows)
            for row in rows:
                follower.forget(row)
            if kept < CANARY_SHARE * drafted:
                self._leave(
                    engine,
                    f"only {kept / drafted:.0%} of its tokens are the model's own draws: it serves "
                    "without assay-vllm, or another model (docs/engines.md)",
                )
            else:
                engine.is_tried = True

    def _leave(self, engine: Engine, why: str) -> None:
        if engine.lack is None:
            logger.warning("engine %s is left: %s", engine.url, why, extra={"event": "engine_left"})
        engine.lack, engine.left_until = why, self.clock() + RETRY_S
        engine.is_tried = False

    async def _ask(
        self, shares: dict[Engine, list[int]], requests: Sequence[Request], ahead: int | None
    ) -> dict[int, tuple[int, ...]]:
        """What servers draft of their rows; of one that fails, nothing more."""
        drafted: dict[int, tuple[int, ...]] = {}
        limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
        longest = _ANSWER_S + _TOKEN_S * self.rules.max_tokens  # each request has a deadline itself
        async with make_client(_HEADERS, _CONNECT_S, longest, limits) as client:

            async def ask(engine: Engine, i: int, gate: asyncio.Semaphore) -> None:
                async with gate:
                    if engine.lack is not None:
                        return
                    left = self.rules.max_tokens - len(requests[i].tokens)
                    most = left if ahead is None else min(left, ahead)
                    try:
                        drafted[i] = await engine.draft(
                            client, requests[i], self.rules, most, self.vocabulary
                        )
                    except EngineError as error:
                        self._leave(engine, str(error))

            async with asyncio.TaskGroup() as tasks:
                for engine, rows in shares.items():
                    gate = asyncio.Semaphore(IN_FLIGHT)
                    for i in rows:
                        tasks.create_task(ask(engine, i, gate))
        return drafted


class MinerEngines:
    """The servers that a miner drafts with, and what it has learnt of them.

    Args:
        names: see `read_engine`.
        exact: see `follow_groups`.

    Attributes:
        trouble: see `EngineDrafter`.
    """

    def __init__(self, names: Iterable[str], *, exact: bool = False) -> None:
        self.trouble: str | None = None
        self._engines = [read_engine(name) for name in names]
        self._exact = exact
        self._horizon = Horizon()
        self._served: bytes | None = None  # the checkpoint that they were tried with

    def generate(
        self,
        requests: Sequence[GroupRequest],
        checkpoint: Checkpoint,
        temperature: int,
        projection: Projection,
        count: DraftCount,
    ) -> list[list[Rollout]]:
        """The groups of some requests; see `follow_groups`."""
        reference, rules = checkpoint.get_reference(temperature), checkpoint.get_rules(temperature)
        vocabulary = len(checkpoint.tokenizer.drawable)
        drafter = EngineDrafter(
            self._engines, rules, vocabulary, lambda: checkpoint.get_drafter(temperature)
        )
        if self._served != checkpoint.digest:
            self._served, self._horizon = checkpoint.digest, Horizon()
            for engine in self._engines:
                engine.is_tried = False
        given = drafter, reference, rules, projection, count
        if not getattr(reference.model, "packs", False):  # it cannot follow, nor try anybody out
            name = checkpoint.models.placement.implementation
            self.trouble = f"engines are not asked: {name} cannot follow a draft; name another"
            return generate_groups(requests, *given)
        drafter.try_out(_make_canary(checkpoint), Follower(reference, projection, rules.max_tokens))
        made = follow_groups(requests, *given, horizon=self._horizon, exact=self._exact)
        self.trouble = drafter.trouble
        return made


def _make_canary(checkpoint: Checkpoint) -> list[Request]:
    """Prompts of the calibration set under seeds of no window."""
    passages = read_passages(checkpoint.folder)[:CANARY_ROWS]
    return [
        Request(passage.prompt, hash_fields(Domain.CALIBRATION_PROBLEM, b"engine", bytes([i])))
        for i, passage in enumerate(passages)
    ]
