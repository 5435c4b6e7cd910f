"""A neuron's session, which judges files and runs models, and its watch over the network."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assay.artifacts.checkpoints.folder import (
    CHECKPOINTS_KEPT,
    OUTLINES_KEPT,
    RETRY_MAX_S,
    CheckpointFolder,
    DownloadSettings,
)
from assay.artifacts.discovery import DiscoveryError
from assay.artifacts.ports import BeaconSource, StoreFinder
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.artifacts.submissions.reader import KnownMirror, know_no_mirrors
from assay.environments.registry import open_environment
from assay.inference.placement import Placement
from assay.inference.workers.pool import WorkerPool, open_workers
from assay.network.chain.acts import measure_stake
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import Chain
from assay.neurons.program.logs import LOG_CONTEXT
from assay.neurons.program.loop import ParametersChangedError, claim_folder
from assay.neurons.program.status import ChainStatus
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Timing
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block, compute_window
from assay.rounds.in_force import find_newest, get_checkpoint_digest
from assay.session.session import Session
from assay.session.window_reader import find_epoch, find_settlement
from assay.settings.loading import ConfigError
from assay.settings.placing import make_worker_settings
from assay.settings.sections import Settings

logger = logging.getLogger("assay")

#: Looks in a window at what the trainer has published. The state is cached briefly.
LOOKS = 6
#: Attempts in a window, at least, to fetch a checkpoint that no source had.
_TRIES = 8


@dataclass(frozen=True, slots=True)
class JudgeSources:
    """The sources that a judging neuron reads from."""

    chain: Chain
    beacons: BeaconSource
    checkpoints: CheckpointFolder
    stores: StoreFinder  # a locator on chain is untrusted: only allowed stores are opened
    mirrors: Callable[[bytes], Sequence[KnownMirror]] = know_no_mirrors  # see `SubmissionSources`
    #: files that were read ahead; None: each is read when it is judged
    ahead: ReadAhead | None = None


class NeuronSession(Session):
    """A session with what a neuron works on besides. See `Session`.

    Attributes:
        placement: where and how its models run.
        pool: workers that judge; None: this process judges. Set before `checkpoints` is used.
        learns: this process runs models beside workers, too, as a trainer does.
    """

    placement = Placement()
    pool: WorkerPool | None = None
    learns = False

    @cached_property
    def checkpoints(self) -> CheckpointFolder:
        """The folder's checkpoints. Missing ones are fetched."""
        return self._open_checkpoints(None if self.learns else self.pool)

    @cached_property
    def judged_checkpoints(self) -> CheckpointFolder:
        """The same checkpoints for judging: workers run their models where there are workers."""
        return self._open_checkpoints(self.pool) if self.learns else self.checkpoints

    def _open_checkpoints(self, pool: WorkerPool | None) -> CheckpointFolder:
        fetching = DownloadSettings(
            self.checkpoint_mirrors,
            longest_s=find_longest_retry(self.parameters.timing),
            in_background=not self._interactive,
        )
        load = None if pool is None else pool.load
        checkpoints = CheckpointFolder(
            self.folder / "models",
            fetching,
            CHECKPOINTS_KEPT,
            self.placement,
            load,
            OUTLINES_KEPT if self.learns else 0,
        )
        self._opened.callback(checkpoints.close)
        return checkpoints

    @cached_property
    def sources(self) -> JudgeSources:
        """The sources that a judging neuron reads from."""
        return JudgeSources(
            self.chain, self.beacons, self.checkpoints, self.stores, self.submission_mirrors
        )


@contextmanager
def join_network(
    settings: Settings, folder: Path, kind: str, placement: Placement, *, observing: bool = False
) -> Iterator[NeuronSession]:
    """Open everything that a neuron needs, in order, from the chain to its own folder.

    Args:
        kind: the program. Its folder serves no other program.
        placement: where and how its models run.
        observing: for a command beside a program that may hold the folder. It waits less long.
    """
    with ExitStack() as stack:
        if not observing:
            stack.enter_context(claim_folder(folder, kind))
        session = NeuronSession(settings, folder, signing=True, interactive=observing)
        session.placement = placement
        stack.callback(session.close)
        session.learns = kind == "trainer"
        judges = kind in ("validator", "trainer")
        if judges and settings.cluster.address and not settings.validator.devices:
            raise ConfigError("which workers on the cluster? name devices under [validator]")
        if judges and settings.validator.devices:
            session.pool = stack.enter_context(open_pool(settings))
        hotkey = encode_ss58(session.account.hotkey)
        LOG_CONTEXT.hotkey = hotkey
        chain, parameters = session.chain, session.parameters
        try:
            open_environment(parameters.environment)
        except ValueError as error:
            raise DiscoveryError(f"cannot join subnet {chain.netuid}: {error}") from None
        _ = session.sources  # all of it, before it is needed
        logger.info(
            "subnet %d, parameters %s…, %s %s",
            chain.netuid,
            parameters.digest.hex()[:16],
            kind,
            hotkey,
            extra={"event": "joined"},
        )
        yield session


def open_pool(settings: Settings) -> AbstractContextManager[WorkerPool]:
    """The workers that the settings name for judging, started. Raises: see `open_workers`."""
    workers = make_worker_settings(settings.compute, settings.validator.devices)
    return open_workers(workers, settings.cluster.address)


def describe_wait(seconds: float) -> str:
    """Seconds in words, with minutes once there are two of them."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def find_longest_retry(timing: Timing) -> float:
    """The longest pause before a checkpoint that no source had is asked for again, seconds. Even a
    short window has several attempts."""
    return min(RETRY_MAX_S, timing.window_blocks * timing.slot_ms / 1_000 / _TRIES)


class NetworkMonitor:
    """Checks once a window whether it makes sense to continue, and more often for a new checkpoint.

    Args:
        needs_permit: for a validator, whose weights do not count without one.

    Attributes:
        seen: the latest view of the chain.
    """

    def __init__(self, session: NeuronSession, *, needs_permit: bool = False) -> None:
        self.seen = ChainStatus()
        LOG_CONTEXT.seen, LOG_CONTEXT.timing = self.seen, session.parameters.timing
        self._session = session
        self._needs_permit = needs_permit
        self._looked: int | None = None
        self._fetched = -1
        self._missing: Trouble | None = None

    def require_seat(self) -> None:
        """Report a missing seat at the start instead of after a window, and how long the first
        verdicts take. Raises ConfigError: the hotkey holds no uid."""
        chain, hotkey = self._session.chain, self._session.account.hotkey
        head = chain.get_head()
        member = chain.get_members(head).get(hotkey)
        if member is None:
            raise ConfigError(
                f"{encode_ss58(hotkey)} has no uid of subnet {chain.netuid}: `assay register`"
            )
        timing = self._session.parameters.timing
        window = compute_window(timing, head) + 1
        begins, ends = (
            describe_wait((compute_block(timing, window, phase) - head) * timing.slot_ms / 1_000)
            for phase in (Phase.CHALLENGE, Phase.VERDICT_END)
        )
        logger.info(
            "uid %d at block %d: window %d begins in about %s, its verdicts are final in about %s",
            member.uid,
            head,
            window,
            begins,
            ends,
            extra={"event": "seat_found"},
        )
        if self._needs_permit:
            own_stake, others = measure_stake(chain, hotkey)
            logger.info(
                "%.1f α on this hotkey, %.1f α on others with a permit: consensus clips weights "
                "that less than half of all stake supports",
                own_stake / 1e9,
                others / 1e9,
                extra={"event": "stake_weighed"},
            )

    def check(self) -> Trouble | None:
        """The problem that the operator should fix, or None if the hotkey is in order. Raises
        ParametersChangedError: the network is gone. ChainError: the chain cannot be read."""
        session, chain, seen = self._session, self._session.chain, self.seen
        head = chain.get_head()
        if seen.head is None or head != seen.head.number:
            seen.head, seen.best = chain.get_block(head), chain.get_best()
        parameters = session.parameters
        timing = LOG_CONTEXT.timing = parameters.timing
        window = compute_window(timing, head)
        if window != self._looked:
            try:
                session.followed.look()
            except DiscoveryError as error:
                raise ParametersChangedError(str(error)) from None
            self._require_known(head)
            # the state at this block is read and cached in any case
            block = compute_block(timing, window, Phase.CHALLENGE)
            self._missing = self._find_missing(block, head)
            with suppress(ForgottenError):  # an old block: the next window's is still known
                seen.in_force = get_checkpoint_digest(chain, parameters, window)
            self._looked = window
        if head >= self._fetched + max(1, timing.window_blocks // LOOKS):
            self.fetch_ahead(head)
            self._fetched = head
        note = session.followed.note
        return self._missing or (note and Trouble(TroubleKind.PARAMETERS, note)) or None

    def _require_known(self, head: int) -> None:
        """Require that there is work left under the known parameters. It ends an epoch after their
        last settlement. Raises ParametersChangedError: no more work is to come."""
        history, chain = self._session.history, self._session.chain
        if history.end is None:
            return
        settled = find_settlement(chain, history.latest, history.end - 1)
        if head > find_epoch(chain, history.latest, settled + 1):
            raise ParametersChangedError(
                f"all windows before {history.end} are finished; {history.problem}"
            )

    def fetch_ahead(self, head: int) -> None:
        """Begin to fetch what the trainer has published, before a window begins with it."""
        session = self._session
        parameters = session.parameters
        window = compute_window(parameters.timing, head)
        newest = find_newest(session.chain, parameters, head)
        if newest is not None:
            if self.seen.published != (newest.digest, newest.number):
                self.seen.published = newest.digest, newest.number
                self.seen.published_since = time.time()
            session.sources.checkpoints.prefetch(newest.digest, parameters)
        amended = session.followed.pending or session.history.latest
        if amended.start.checkpoint != ZERO_DIGEST and amended.start.window > window:
            session.sources.checkpoints.prefetch(amended.start.checkpoint, amended)

    def _find_missing(self, block: int, head: int) -> Trouble | None:
        chain, hotkey = self._session.chain, self._session.account.hotkey
        name = encode_ss58(hotkey)
        if hotkey not in chain.get_members(block):
            return Trouble(
                TroubleKind.WEIGHTS,
                f"{name} had no uid of subnet {chain.netuid} when this window began: `assay "
                "register`, or wait a window if you have just registered",
            )
        if self._needs_permit and not any(
            row.permit for row in chain.get_metagraph(head) if row.hotkey == hotkey
        ):
            return Trouble(
                TroubleKind.WEIGHTS,
                f"{name} has no validator permit: `assay stake`, then wait for an epoch",
            )
        return None
