"""Draws completions of an evaluation by an OpenAI-compatible server.

A miner's server draws with the keyed draw, and its draws are checked. These are the server's own,
and nobody checks them: they say how good a model is, and earn nothing.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from assay.evaluation.folder import Completion
from assay.evaluation.request import EvaluationRules
from assay.evaluation.sampling import AskedPrompt
from assay.gate.tokenizer import FolderTokenizer
from assay.network.bounded_http import AsyncHttpClient
from assay.neurons.miner.engines.engine import (
    ANSWER_BYTES,
    ANSWER_S,
    TOKEN_BYTES,
    TOKEN_S,
    Engine,
    EngineError,
    RefusedError,
    connect,
    read_engine,
)
from assay.protocol.encoding import EncodingError, read_json

#: Requests at a time; seconds between two looks at them.
_AT_ONCE, _LOOK_S = 64, 2.0
#: Bytes of a token's text in JSON, at most on average.
_TEXT_BYTES = 64


class SamplingEngine(Engine):
    """A server that draws by itself."""

    #: Seconds to wait before each further try of a request that failed.
    pauses_s: ClassVar[tuple[float, ...]] = (1.0, 4.0, 15.0)

    async def sample(
        self,
        client: AsyncHttpClient,
        asked: AskedPrompt,
        rules: EvaluationRules,
        ends: tuple[int, ...],
    ) -> tuple[str, list[int] | None, int, bool]:
        """The text of an answer to a prompt, its ids if the server tells them, the number of its
        tokens, and whether it has ended by itself.

        Raises:
            EngineError: it does not answer, even after a while, or refuses the request.
        """
        most = rules.max_tokens
        order = {
            "model": self.model,
            "prompt": list(asked.prompt),
            "max_tokens": most,
            "temperature": rules.temperature / 1_024,
            "seed": int.from_bytes(asked.seed[:4], "big") >> 1,
            "stop": list(asked.stops)[:4],
            "stop_token_ids": list(ends),
            "return_token_ids": True,
        }
        size = ANSWER_BYTES + (TOKEN_BYTES + _TEXT_BYTES) * (len(asked.prompt) + most)
        for pause in (*self.pauses_s, None):
            try:
                body = await self._ask(
                    client, "POST", self._path, order, size, ANSWER_S + TOKEN_S * most
                )
                break
            except RefusedError:
                raise
            except EngineError:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        try:
            answer: Any = read_json(body)
            choice = answer["choices"][0]
            text, ended = choice["text"], choice["finish_reason"] == "stop"
            ids = choice.get("token_ids")
            count = answer["usage"]["completion_tokens"] if ids is None else len(ids)
        except (EncodingError, LookupError, TypeError):
            text, count = None, None
        if not isinstance(text, str) or type(count) is not int:
            raise EngineError("it answers no completion: name a server with /v1/completions")
        if not 0 <= count <= most or not isinstance(ids, list | None):
            raise EngineError("it answers more tokens than were asked for")
        return text, ids, count, ended


def read_sampling_engine(text: str) -> SamplingEngine:
    """A server as `read_engine` takes it. Raises an EngineError: it is no such address."""
    engine = read_engine(text)
    if type(engine) is not Engine:
        raise EngineError("--engine: name a server with OpenAI's API, http://host:port#model")
    return SamplingEngine(engine.url, engine.model)


@dataclass(slots=True)
class EngineSampler:
    """Draws by a server, many at once."""

    engine: SamplingEngine
    tokenizer: FolderTokenizer
    end_tokens: tuple[int, ...]
    rules: EvaluationRules
    vocabulary: int

    def complete(self, asked: Iterable[AskedPrompt]) -> Iterator[list[Completion]]:
        """See `Sampler`."""
        waiting = iter(asked)
        with asyncio.Runner() as runner:
            client = connect(_AT_ONCE)
            tasks: set[asyncio.Task[Completion]] = set()
            try:
                while True:
                    new = list(islice(waiting, _AT_ONCE - len(tasks)))
                    if not new and not tasks:
                        return
                    done, tasks = runner.run(
                        _go_on(tasks, [self._complete(client, each) for each in new])
                    )
                    failed = [task.exception() for task in done]
                    pairs = zip(done, failed, strict=True)
                    yield [task.result() for task, failure in pairs if failure is None]
                    for failure in filter(None, failed):
                        raise failure
            except EngineError as error:
                raise EngineError(
                    f"engine {self.engine.url}: {error}; the same command continues"
                ) from None
            finally:
                runner.run(_end(tasks, client))

    async def _complete(self, client: AsyncHttpClient, asked: AskedPrompt) -> Completion:
        drawn = await self.engine.sample(client, asked, self.rules, self.end_tokens)
        text, ids, count, ended = drawn
        if ids is not None:
            if not all(type(token) is int and 0 <= token < self.vocabulary for token in ids):
                raise EngineError("it answers ids that the model in MODEL does not have")
            text = self.tokenizer.decode(ids)
        else:
            text = self.tokenizer.strip(text)
        cut = asked.cut(text)
        if cut is not None:
            return Completion(asked.ask, cut, count, True)
        return Completion(asked.ask, text, count, ended)


async def _go_on(
    tasks: set[asyncio.Task[Completion]], new: Iterable[Coroutine[Any, Any, Completion]]
) -> tuple[set[asyncio.Task[Completion]], set[asyncio.Task[Completion]]]:
    """Start new requests, and wait until any is done, for a while. Returns those done and those
    not."""
    tasks = tasks | {asyncio.create_task(each) for each in new}
    return await asyncio.wait(tasks, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)


async def _end(tasks: Iterable[asyncio.Task[Completion]], client: AsyncHttpClient) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()
