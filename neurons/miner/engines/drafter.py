"""Several servers behind one `Drafter`, and our own drafter if none of them is left."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from assay.inference.draft import Drafter, Request, Rules
from assay.inference.following import FollowedRow, Follower
from assay.inference.time_limit import TimeLimit
from assay.neurons.miner.engines.engine import Engine, EngineError, Preparing, connect
from assay.protocol.errors import Trouble, TroubleKind

logger = logging.getLogger("assay")

#: Concurrent requests to one server.
IN_FLIGHT = 256
#: Seconds until a server that failed is asked again; they double after each further failure.
RETRY_S, RETRY_MAX_S = 60.0, 3_600.0
_DOUBLINGS_MAX = 16
#: Seconds that a step waits for servers to load a checkpoint, and that the next steps wait for
#: those still loading.
PATIENCE_S, LOOK_S = 5.0, 0.5
#: Tokens of each row of a canary, rows, and the share that must be the reference's own. A server
#: whose draws are not keyed keeps less than half, however certain its model is.
CANARY_TOKENS, CANARY_ROWS, CANARY_SHARE = 16, 16, 0.6
#: A working server gets another canary if less than this share of its last tokens was kept. Drafts
#: are only as long as they pay, so an honest server keeps more, however low its precision is.
DOUBT_TOKENS, DOUBT_SHARE = 512, 0.5


@dataclass(slots=True)
class EngineDrafter:
    """A `Drafter` over several servers.

    Args:
        engines: a rollout's rows go to the same server as long as it works, since it has their
            keys.
        rules: of the checkpoint in force. vocabulary: ids of its model.
        make_own: makes our own drafter when it is needed.
        patience_s: seconds that a request may take.

    Attributes:
        trouble: a problem that a person should fix; None while all servers work.
    """

    engines: Sequence[Engine]
    rules: Rules
    vocabulary: int
    make_own: Callable[[], Drafter]
    patience_s: float = float("inf")
    clock: Callable[[], float] = time.monotonic
    _own: Drafter | None = field(default=None, repr=False)
    #: seed of a rollout → the server that drafted its last turn, where in the sequence that turn
    #: begins, and all its tokens then
    _last: dict[bytes, tuple[Engine, int, tuple[int, ...]]] = field(
        default_factory=dict, repr=False
    )

    @property
    def trouble(self) -> Trouble | None:
        left = [engine for engine in self.engines if engine.state == "left"]
        if not left:
            return None
        first = f"{left[0].url}: {left[0].lack}"
        rest = "the others draft" if len(left) < len(self.engines) else "this program drafts"
        return Trouble(
            TroubleKind.OTHER,
            f"{len(left)} of {len(self.engines)} engines are left out, {first}; {rest}",
        )

    def draft(
        self, requests: Sequence[Request], ahead: int | None = None, limit: TimeLimit | None = None
    ) -> list[tuple[int, ...]]:
        """See `Drafter`. A server that is not done when time is up is not blamed for it."""
        if not requests:
            return []
        drafted: dict[int, tuple[int, ...]] = {}
        waiting = list(range(len(requests)))
        self._count_lost(requests)
        engines = [engine for engine in self.engines if engine.is_tried and engine.lack is None]
        while waiting and engines:
            shares: dict[int, list[int]] = {}
            for i in waiting:
                shares.setdefault(requests[i].seed[0] % len(engines), []).append(i)
            answers = asyncio.run(
                self._ask({engines[e]: rows for e, rows in shares.items()}, requests, ahead, limit)
            )
            drafted |= answers
            waiting = [i for i in waiting if i not in answers]
            if limit is not None and limit.is_over:
                return [drafted.get(i, request.tokens) for i, request in enumerate(requests)]
            engines = [engine for engine in engines if engine.lack is None]
        if waiting:
            self._own = self._own or self.make_own()
            rest = self._own.draft([requests[i] for i in waiting], ahead, limit)
            drafted |= zip(waiting, rest, strict=True)
        return [drafted[i] for i in range(len(requests))]

    def _count_lost(self, requests: Sequence[Request]) -> None:
        """Count the last drafts' tokens that the reference rejected, in rollouts that continue."""
        for request in requests:
            engine, begin, tokens = self._last.pop(request.seed, (None, 0, ()))
            if engine is not None:
                right = (request.prompt + request.tokens)[begin:]  # and the reply and a next turn
                pairs = zip(tokens, right, strict=False)
                matching = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
                engine.kept -= len(tokens) - matching

    def doubt(self) -> None:
        """Check the servers after a step, when the fate of all drafts is known. A server with too
        few kept tokens draws differently than before, and is tried again."""
        self._last.clear()
        for engine in self.engines:
            if engine.drafted < DOUBT_TOKENS:
                continue
            share = engine.kept / engine.drafted
            if engine.is_tried and share < DOUBT_SHARE:
                engine.is_tried = False
                logger.warning(
                    "engine %s is tried again: %.0f %% of its last tokens were kept",
                    engine.url,
                    100 * share,
                    extra={"event": "engine_doubted"},
                )
            engine.drafted, engine.kept = engine.drafted // 2, engine.kept // 2

    def try_out(self, requests: Sequence[Request], follower: Follower, checkpoint: Path) -> None:
        """Let each server that was not tried, or was left long enough, load the checkpoint and
        draft a few tokens. From then on, the servers whose draws are the reference's draft.

        Args:
            requests: prompts of the checkpoint's own, with nothing drafted yet.
            checkpoint: folder; operators supply it to servers on other machines.
        """
        few = requests[:CANARY_ROWS]
        due = [
            engine
            for engine in self.engines
            if not engine.is_tried and (engine.lack is None or self.clock() >= engine.left_until)
        ]
        for engine in due:  # all at once
            engine.preparing = engine.preparing or Preparing(engine, checkpoint)
        deadline = self.clock() + PATIENCE_S
        ready = [engine for engine in due if self._prepare(engine, checkpoint, deadline)]
        if not ready:
            return
        shares = {e: list(range(n * len(few), (n + 1) * len(few))) for n, e in enumerate(ready)}
        drafts = asyncio.run(self._ask(shares, list(few) * len(ready), CANARY_TOKENS))
        self._last.clear()  # no server continues from them
        for engine, places in shares.items():
            if not all(i in drafts for i in places):  # it failed meanwhile
                continue
            rows = [
                FollowedRow(request.prompt, request.seed, list(drafts[i]))
                for request, i in zip(few, places, strict=True)
            ]
            drafted = sum(len(row.tokens) for row in rows)
            accepted = drafted - follower.follow(rows)
            for row in rows:
                follower.forget(row)
            if accepted < CANARY_SHARE * drafted:
                self._leave(
                    engine,
                    f"only {accepted / drafted:.0%} of its tokens are the model's own draws: it "
                    "serves without assay-vllm, or another model (docs/engines.md)",
                )
            else:
                engine.is_tried, engine.failures = True, 0
                engine.drafted = engine.kept = 0
                logger.info(
                    "engine %s drafts: %.0f %% of its first tokens were kept",
                    engine.url,
                    100 * accepted / drafted,
                    extra={"event": "engine_drafts"},
                )

    def _prepare(self, engine: Engine, checkpoint: Path, deadline: float) -> bool:
        """Let a server load the checkpoint. Return whether it serves it. Loading may last longer
        than a window, and continues beside the next steps, which wait no more for it."""
        preparing = engine.preparing
        assert preparing is not None, "it has just begun, or before"
        left = deadline - self.clock()
        preparing.wait(left if preparing.is_new else min(left, LOOK_S))
        if not preparing.is_over:
            engine.lack = "it is still loading the checkpoint"
            return False
        engine.preparing = None
        ready, failure = preparing.is_ready and preparing.folder == checkpoint, preparing.said
        if failure is not None:
            self._leave(engine, f"it cannot load the checkpoint: {failure}")
        elif ready:
            engine.is_starting, engine.lack = False, None
        return ready

    def _leave(self, engine: Engine, why: str) -> None:
        if engine.lack is None:
            logger.warning("engine %s is left: %s", engine.url, why, extra={"event": "engine_left"})
        pause = RETRY_S * 2 ** min(engine.failures, _DOUBLINGS_MAX)
        engine.leave(why, self.clock() + min(RETRY_MAX_S, pause))

    async def _ask(
        self,
        shares: dict[Engine, list[int]],
        requests: Sequence[Request],
        ahead: int | None,
        limit: TimeLimit | None = None,
    ) -> dict[int, tuple[int, ...]]:
        """The servers' drafts of their rows; none of a failing server, nor of one that needs longer
        than the limit."""
        drafted: dict[int, tuple[int, ...]] = {}
        async with connect(IN_FLIGHT * len(shares)) as client:

            async def ask(engine: Engine, i: int, gate: asyncio.Semaphore) -> None:
                async with gate:
                    patience = self.patience_s
                    if limit is not None:
                        patience = min(patience, limit.left_s)
                    if engine.lack is not None or patience <= 0:
                        return
                    request = requests[i]
                    left = self.rules.max_tokens - request.at - len(request.tokens)
                    most = left if ahead is None else min(left, ahead)
                    try:
                        drafted[i] = await engine.draft(
                            client, request, self.rules, most, self.vocabulary, patience
                        )
                    except EngineError as error:
                        if limit is not None and limit.is_over:
                            return
                        if engine.lack is None:  # once, however many of its requests fail
                            self._leave(engine, str(error))
                    else:
                        new = len(drafted[i]) - len(request.tokens)
                        engine.drafted, engine.kept = engine.drafted + new, engine.kept + new
                        self._last[request.seed] = engine, len(request.prompt), drafted[i]

            async with asyncio.TaskGroup() as tasks:
                for engine, rows in shares.items():
                    gate = asyncio.Semaphore(IN_FLIGHT)
                    for i in rows:
                        tasks.create_task(ask(engine, i, gate))
        return drafted
