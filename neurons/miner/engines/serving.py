"""The engines of one miner, from checkpoint to checkpoint."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from assay.artifacts.status.miner import EngineStatus
from assay.inference.checkpoint import Checkpoint
from assay.inference.draft import Request
from assay.inference.folder import UnusableCheckpointError, read_passages
from assay.inference.following import NEAR, Follower
from assay.inference.generate import (
    DraftCount,
    GroupRequest,
    Horizon,
    follow_groups,
    generate_groups,
)
from assay.inference.time_limit import TimeLimit
from assay.neurons.miner.engines.drafter import CANARY_ROWS, EngineDrafter
from assay.neurons.miner.engines.engine import Engine, EngineError, read_engine
from assay.neurons.miner.engines.process import START_S, EngineCommand, EngineProcess, start_engines
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.submission import Rollout
from assay.verification import Projection

#: Replaces addresses: the miner starts servers on this machine.
AUTO = "auto"


class MinerEngines:
    """The servers that a miner drafts with, and their known quality.

    Args:
        engines: running servers. processes: servers that this program starts and ends.
        exact: see `follow_groups`.

    Attributes:
        engines: all of them.
        trouble: a problem that a person should fix; None while all of them work.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        processes: Sequence[EngineProcess] = (),
        *,
        exact: bool = False,
    ) -> None:
        self.trouble: Trouble | None = None
        self.engines = [*engines, *(process.engine for process in processes)]
        self._own = processes
        self._exact = exact
        self._horizon = Horizon()
        self._served: bytes | None = None  # the checkpoint that they were tried with

    @property
    def horizon(self) -> int:
        """The number of tokens that a draft goes ahead of the reference."""
        return self._horizon.ahead

    def generate(
        self,
        requests: Sequence[GroupRequest],
        checkpoint: Checkpoint,
        temperature: int,
        projection: Projection,
        count: DraftCount,
        near: int = NEAR,
        patience_s: float = float("inf"),
        limit: TimeLimit | None = None,
    ) -> list[list[Rollout]]:
        """The groups of some requests; see `follow_groups`.

        Args:
            patience_s: seconds that a request to a server may take.
            limit: see `generate_groups`.
        """
        reference, rules = checkpoint.get_reference(temperature), checkpoint.get_rules(temperature)
        vocabulary = len(checkpoint.tokenizer.drawable)
        drafter = EngineDrafter(
            self.engines, rules, vocabulary, lambda: checkpoint.get_drafter(temperature), patience_s
        )
        given = drafter, reference, rules, projection, count
        if not getattr(reference.model, "packs", False):  # it can neither follow nor try a server
            name = checkpoint.models.placement.implementation
            text = f"engines are not asked: {name} cannot follow a draft; name another"
            self.trouble = Trouble(TroubleKind.OTHER, text)
            return generate_groups(requests, *given, near=near, limit=limit)
        if self._served != checkpoint.digest:
            self._served, self._horizon = checkpoint.digest, Horizon()
            for engine in self.engines:
                engine.is_tried = False
        for process in self._own:
            process.keep_running(checkpoint.folder)
        follower = Follower(reference, projection, rules.max_tokens, near)
        drafter.try_out(make_canary(checkpoint), follower, checkpoint.folder)
        made = follow_groups(
            requests, *given, horizon=self._horizon, near=near, exact=self._exact, limit=limit
        )
        drafter.doubt()
        self.trouble = drafter.trouble
        return made

    def wait_until_started(self, checkpoint: Checkpoint) -> None:
        """Wait until the servers that this program started serve, or have ended; for a limited
        time."""
        deadline = time.monotonic() + START_S
        for process in self._own:
            process.keep_running(checkpoint.folder)
            process.wait_until_ready(deadline)

    @property
    def is_settled(self) -> bool:
        """Return whether each of them drafts, or is left out."""
        return all(engine.state in ("drafting", "left") for engine in self.engines)

    def look(self) -> None:
        """Note which servers that this program started have ended."""
        for process in self._own:
            process.look()

    def describe(self) -> list[EngineStatus]:
        """What status.json says of each server."""
        self.look()
        return [
            EngineStatus(
                url=e.url,
                state=e.state,
                lack=e.lack,
                kept=e.kept / e.drafted if e.drafted else None,
            )
            for e in self.engines
        ]

    def stop(self) -> None:
        """End the servers that this program has started."""
        for process in self._own:
            process.stop()


def require_engines(names: Sequence[str], command: EngineCommand) -> None:
    """Raise the EngineError that `open_engines` would."""
    if AUTO in names:
        if len(names) > 1:
            raise EngineError("name servers, or auto alone: it starts one on each GPU")
        command.require_usable()
    for name in names:
        if name != AUTO:
            read_engine(name)


@contextmanager
def open_engines(
    names: Sequence[str], command: EngineCommand, *, exact: bool = False
) -> Iterator[MinerEngines | None]:
    """The servers that an operator names; None if there are none.

    Args:
        names: see `read_engine`; or `auto` alone.
        command: starts servers for `auto`.

    Raises:
        EngineError: a name is invalid, or none can be started.
    """
    require_engines(names, command)
    if not names:
        yield None
        return
    processes = start_engines(command) if AUTO in names else []
    engines = MinerEngines(
        [read_engine(name) for name in names if name != AUTO], processes, exact=exact
    )
    try:
        yield engines
    finally:
        engines.stop()


def make_canary(checkpoint: Checkpoint) -> list[Request]:
    """Prompts of the calibration set under seeds of no window. Of a set that a trainer has made
    unreadable, which no judge reads: an end token."""
    try:
        prompts = [one.prompt for one in read_passages(checkpoint.folder)[:CANARY_ROWS]]
    except UnusableCheckpointError:
        prompts = [checkpoint.manifest.end_tokens[:1]]
    return [
        Request(prompt, hash_fields(Domain.CALIBRATION_PROBLEM, b"engine", bytes([i])))
        for i, prompt in enumerate(prompts)
    ]
