"""The miner: from the challenge to a committed file, one bounded step at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.mining_history import MeasuredStep, MinedWindow, MiningHistory
from assay.artifacts.ports import BeaconSource
from assay.artifacts.status.miner import DraftingStatus, SpeedStatus
from assay.environments.dealing import make_miner_problem
from assay.inference.checkpoint import Checkpoint
from assay.inference.draws.sampler import NumericalError
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.inference.generate import DraftCount, GroupRequest, generate_groups, make_group_request
from assay.inference.time_limit import TimeLimit
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.chain.ports import Chain
from assay.network.store.base import ObjectStore
from assay.neurons.miner.commitment_delivery import CommitmentDelivery, PendingCommitment
from assay.neurons.miner.engines import MinerEngines
from assay.neurons.miner.measured_speed import MeasuredSpeed, explain_speed, measure_step
from assay.neurons.miner.uploads import Uploads
from assay.neurons.miner.work_database import MinerPersistence, SavedWork, WorkDatabase, WorkStage
from assay.neurons.program.status import describe_drafting
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment, make_object_name
from assay.protocol.errors import Trouble
from assay.protocol.parameters import Parameters
from assay.protocol.seeds import compute_projection_seed, compute_rollout_seed
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import Rollout, encode_submission, get_id_bits
from assay.protocol.window import Phase, compute_block, compute_window
from assay.sandbox import WorkerError
from assay.session.chain_delivery import DeliveryState
from assay.session.window_reader import BeaconError, Challenge, get_challenge
from assay.session.window_time import compute_window_seconds
from assay.verification import Projection, make_projection

Group = list[Rollout]


@dataclass(frozen=True, slots=True)
class MinerConfig:
    """The amount of work of a miner."""

    groups: int  # groups in a window, at most
    groups_per_step: int  # groups that are generated together, at most
    last_window: int | None = None  # the miner stops after it; None: it has no end
    #: a commitment is sent this many blocks before state must hold it. The margin must cover the
    #: lag of finality and the time to inclusion.
    commit_margin: int = 3

    def fit(self, parameters: Parameters) -> "MinerConfig":
        """The part of this configuration that the network allows."""
        groups = min(self.groups, parameters.work.group_cap)
        margin = min(self.commit_margin, parameters.timing.commit_offset // 2)
        return replace(self, groups=groups, commit_margin=margin)


@dataclass(slots=True)
class WindowWork:
    """One window's work as it grows."""

    challenge: Challenge
    checkpoint: Checkpoint
    projection: Projection
    groups: list[Group] = field(default_factory=list)
    opened_at: int = 0  # head at which it was begun
    limit: TimeLimit | None = None  # when the present step must end; None: time stands still in it
    is_cut: bool = False  # time was up before the last step was finished
    page: SavedWork | None = None  # file where the work is saved, if any
    #: the last stage that was reached. Once the work is sealed, no group is added.
    stage: WorkStage = WorkStage.GROUP
    pending: PendingCommitment | None = None  # on its way to the chain, once sealed
    root: bytes | None = None  # of its file, once the file is made


@dataclass(frozen=True, slots=True)
class MinerDependencies:
    """All that a miner reaches: chain, beacons, checkpoints, its store and the store's URL."""

    chain: Chain
    beacons: BeaconSource
    checkpoints: CheckpointFolder
    store: ObjectStore
    locator: str
    #: keeps unfinished work across restarts; None keeps it in memory
    workbook: WorkDatabase | None = None
    #: records the outcome of each window; None records nothing
    history: MiningHistory | None = None
    #: servers that draft; None: this program drafts
    engines: MinerEngines | None = None
    #: seconds, never set back; None: time stands still in a step, as on a simulated chain that
    #: makes its blocks between steps
    clock: Callable[[], float] | None = None


class Miner:
    """Generates the groups of each window in order and commits them in time.

    A failure outside is retried at each block for as long as success still matters, and `trouble`
    reports it meanwhile. With a workbook, a miner that was killed resumes its work.

    Args:
        report: called with one line about everything that a person should notice.
    """

    def __init__(
        self,
        name: str,
        hotkey: bytes,
        parameters: ParameterHistory,
        dependencies: MinerDependencies,
        config: MinerConfig,
        report: Callable[[str], None],
    ) -> None:
        self.name = name
        self.hotkey = hotkey
        self.count, self.uploads = DraftCount(), Uploads(self._report_line)
        self._parameters = parameters
        self.dependencies = dependencies
        self.config = config
        self._report = report
        self.work: WindowWork | None = None
        self._delivery = CommitmentDelivery(dependencies.chain, parameters)
        self._left: list[int] | None = None
        self._skipped: int | None = None
        self._lacking: tuple[int, int] | None = None
        self._troubles: dict[str, Trouble] = {}
        #: the cost of the newest generating step; None before the first
        self.drafting: DraftingStatus | None = None
        self._persistence = MinerPersistence(
            dependencies.workbook, dependencies.history, self._report_line
        )
        self._measured: MeasuredSpeed | None = None  # before the first step
        self._has_told_speed = False

    @property
    def progress(self) -> tuple[int, int] | None:
        """(window, finished groups) of the current work."""
        work = self.work
        return None if work is None else (work.challenge.window, len(work.groups))

    @property
    def trouble(self) -> Trouble | None:
        """The reason why the miner cannot work right now, and what to do; None if it can."""
        engines = self.dependencies.engines
        troubles = (
            *self._troubles.values(),
            *self._persistence.troubles.values(),
            None if engines is None else engines.trouble,
            self._delivery.trouble,
            self.uploads.trouble,
        )
        present = [trouble for trouble in troubles if trouble is not None]
        if not present:
            return None
        return Trouble(present[0].kind, "; ".join(trouble.text for trouble in present))

    def step(self) -> bool:
        """Open the current window, generate some groups, or commit. Return whether there is more to
        do. Raises WrongChainError: the node is of another chain. Other failures are `trouble`."""
        try:
            more = self._step(self.dependencies.chain.get_head())
        except WrongChainError:
            raise
        except (ChainError, BeaconError) as error:
            self._troubles["chain"] = Trouble.from_error(error)
            return False
        self._troubles.pop("chain", None)
        return more

    def _step(self, head: int) -> bool:
        self._delivery.step(head)
        work = self.work
        if work is not None and work.stage is WorkStage.GROUP:
            return self._advance(work, head)
        window = self._choose_window(head)
        if window == self._skipped or (work is not None and work.challenge.window == window):
            return False
        if self.config.last_window is not None and window > self.config.last_window:
            return False
        if self._parameters.end is not None and window >= self._parameters.end:
            return False
        self.work = self._open(window, head)
        return self.work is not None

    def _choose_window(self, head: int) -> int:
        """The current window; after a restart first one that can still be committed."""
        current = compute_window(self._parameters.first.timing, head)
        if self._left is None:
            self._left = self._persistence.list_windows()
        while self._left and self._left[0] < current:
            if head < self._compute_commit_block(self._left[0]):
                return self._left[0]
            self._left.pop(0)
        return current

    def _compute_commit_block(self, window: int) -> int:
        return compute_block(self._parameters.get(window).timing, window, Phase.COMMIT)

    @property
    def speed(self) -> SpeedStatus | None:
        """The measured speed; None before the first step."""
        work, measured = self.work, self._measured
        if measured is None:
            return None
        parameters = self._parameters.latest if work is None else work.challenge.parameters
        config = self.config.fit(parameters)
        window_s = compute_window_seconds(parameters.timing, config.commit_margin)
        return measured.describe(window_s, config.groups_per_step, parameters.work.group_cap)

    def _choose_step(self, work: WindowWork, config: MinerConfig, blocks: int) -> int:
        """Groups to generate next, with these blocks left; 0: none. The limit of the step is set
        with it."""
        missing = config.groups - len(work.groups)
        if missing <= 0 or blocks <= 0 or work.is_cut:
            return 0
        clock, most = self.dependencies.clock, min(missing, config.groups_per_step)
        if clock is None:
            return most
        if self._measured is None:
            self._measured = self._persistence.read_speed()
        timing = work.challenge.parameters.timing
        window_s = compute_window_seconds(timing, config.commit_margin)
        left_s = blocks * timing.slot_ms / 1_000 - self._measured.keep_for_upload(window_s)
        if left_s <= 0:
            return 0
        work.limit = TimeLimit(clock() + left_s, clock)
        count = self._measured.choose(left_s, most)
        # a window is tried, however slow earlier ones were
        return count if count or work.groups else 1

    def _advance(self, work: WindowWork, head: int) -> bool:
        """Generate the next groups, or commit once all are done or time is up."""
        window = work.challenge.window
        config = self.config.fit(work.challenge.parameters)
        due = self._compute_commit_block(window) - config.commit_margin
        if count := self._choose_step(work, config, due - head):
            clock, first = self.dependencies.clock, len(work.groups)
            began = 0.0 if clock is None else clock()
            try:
                made = self.generate(work, range(first, first + count))
            except NumericalError as error:
                self._leave(work, f"cannot mine window {window}: {error}")
                return False
            except WorkerError as error:  # no sandbox for a world or a problem: again, until due
                self._troubles["sandbox"] = Trouble.from_error(error)
                return False
            self._troubles.pop("sandbox", None)
            work.groups += made
            if clock is not None:
                self._note_step(work, measure_step(window, count, made, clock() - began))
            self._keep(work)
            self._record(work)
            return True
        self._troubles.pop("sandbox", None)
        work.stage = WorkStage.SEALED
        if work.groups:
            self._keep(work, len(work.groups))
            self._post(work)
            self._delivery.step(head)
        else:
            text = f"no group of window {window} was finished in time: begun at block"
            self._note(work, f"{text} {work.opened_at}, and the commitment was due by {due}")
        self._tell_speed(work, config)
        return False

    def _note_step(self, work: WindowWork, step: MeasuredStep) -> None:
        work.is_cut = not step.is_whole
        assert self._measured is not None, "it has chosen the step"
        self._measured.add_step(step)
        self._persistence.record_step(step)

    def _tell_speed(self, work: WindowWork, config: MinerConfig) -> None:
        """Say how many groups fit into a window: once, and whenever a step was cut off. Not after
        the first window, whose first step is slow: it warms up what the others find warm."""
        speed = self.speed
        if speed is None or len(work.groups) == config.groups:
            return
        assert self._measured is not None, "it has a speed"
        is_warm = len({step.window for step in self._measured.steps}) > 1
        if work.is_cut or (is_warm and not self._has_told_speed):
            self._has_told_speed = True
            valued = work.challenge.parameters.work.valued_groups
            self._report_line(f"window {work.challenge.window}: {explain_speed(speed, valued)}")

    def _leave(self, work: WindowWork, reason: str) -> None:
        """Give a window up, with the groups that were made."""
        self._note(work, reason)
        self._skipped, self.work = work.challenge.window, None

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        """Generate the groups of these problems, honestly: all of them, or those before the first
        that is unfinished when time is up."""
        parameters = work.challenge.parameters
        checkpoint, temperature = work.checkpoint, parameters.work.temperature
        near = parameters.tests.margin_cap
        requests = [self.make_request(work, index) for index in indices]
        engines, count, began = self.dependencies.engines, DraftCount(), perf_counter()
        limit = work.limit
        if engines is not None:
            # an engine that hangs does not cost the window
            patience_s = float("inf") if limit is None else limit.left_s / 2
            made = engines.generate(
                requests, checkpoint, temperature, work.projection, count, near, patience_s, limit
            )
        else:
            rules = checkpoint.get_rules(temperature)
            drafter = checkpoint.get_drafter(temperature)
            reference = checkpoint.get_reference(temperature)
            made = generate_groups(
                requests, drafter, reference, rules, work.projection, count, near, limit=limit
            )
        horizon = None if engines is None else engines.horizon
        self.drafting = describe_drafting(count, perf_counter() - began, horizon)
        self.count.add(count)
        return made

    def make_request(self, work: WindowWork, index: int) -> GroupRequest:
        """The request for one problem: its prompt and rollout seeds."""
        parameters = work.challenge.parameters
        environment = work.checkpoint.open_environment(parameters.environment)
        levels = work.checkpoint.manifest.levels
        problem = make_miner_problem(environment, work.challenge.seed, self.hotkey, index, levels)
        seeds = (
            compute_rollout_seed(work.challenge.seed, self.hotkey, index, rollout)
            for rollout in range(parameters.work.group_size)
        )
        return make_group_request(
            environment, problem, tuple(seeds), parameters.work, work.checkpoint
        )

    def _open(self, window: int, head: int) -> WindowWork | None:
        dependencies = self.dependencies
        parameters = self._parameters.get(window)
        challenge = get_challenge(dependencies.chain, dependencies.beacons, parameters, window)
        if challenge is None:
            return None
        checkpoint = self._open_checkpoint(challenge, head)
        if checkpoint is None:
            return None
        work = make_work(challenge, checkpoint, head)
        self._resume(work)
        if self._left and window in self._left:
            self._left.remove(window)
        self._record(work, note="")
        return work

    def _open_checkpoint(self, challenge: Challenge, head: int) -> Checkpoint | None:
        """The checkpoint in force. A missing one is looked for at each block."""
        window = challenge.window
        if self._lacking == (window, head):
            return None
        try:
            checkpoint = open_checkpoint(
                self.dependencies.checkpoints, challenge.checkpoint, challenge.parameters
            )
        except UnusableCheckpointError as error:
            self._skipped = window
            self._troubles.pop("checkpoint", None)
            self._note_idle(challenge, head, f"cannot mine window {window}: {error}")
            return None
        except CheckpointError as error:
            trouble = Trouble.from_error(error, f"cannot mine window {window} yet: {error}")
            if self._lacking is None or self._lacking[0] != window:
                self._note_idle(challenge, head, trouble.text)
            self._lacking = window, head
            self._troubles["checkpoint"] = trouble
            return None
        self._lacking = None
        self._troubles.pop("checkpoint", None)
        return checkpoint

    def _resume(self, work: WindowWork) -> None:
        """Load the saved groups and stages of exactly this work from before a restart."""
        work.page = page = self._persistence.open_page(
            work.challenge, self.hotkey, work.challenge.parameters.work
        )
        if page is None:
            return
        work.groups, page.groups = page.groups, []
        if not work.groups or page.marks.get(WorkStage.SEALED) != len(work.groups):
            return
        work.stage = max(page.marks)
        pending = self._post(work)
        if work.stage is WorkStage.SENT:
            pending.state, pending.sent_at = DeliveryState.SENT, page.marks[WorkStage.SENT]
        if work.stage >= WorkStage.UPLOADED:  # the commitment may have been sent: state shows it
            pending.bound = self.hotkey, encode_commitment(self._make_commitment(work))

    def upload(self, window: int, data: bytes) -> None:
        """Upload a window's file to where its locator points."""
        name, clock = make_object_name(encode_ss58(self.hotkey), window), self.dependencies.clock
        began = 0.0 if clock is None else clock()
        self.uploads.put(self.dependencies.store, window, name, data)
        if clock is not None:
            seconds = clock() - began
            if self._measured is not None:  # None: resumed, and nothing was left to generate
                self._measured.add_upload(seconds)
            self._persistence.record_upload(window, seconds)

    def _post(self, work: WindowWork) -> PendingCommitment:
        """Hand sealed work over for delivery."""

        def note_sent(head: int) -> None:
            self._record(work, sent_at=head)  # before the mark: not repeated after it
            work.stage = WorkStage.SENT
            self._keep(work, head)

        work.pending = PendingCommitment(
            work.challenge.window, partial(self._commit, work), note_sent, partial(self._note, work)
        )
        self._delivery.add(work.pending)
        return work.pending

    def _commit(self, work: WindowWork) -> None:
        """Upload the file, then bind its root on chain."""
        window = work.challenge.window
        if work.stage < WorkStage.UPLOADED:
            data = self.encode(work)
            self.upload(window, data)
            work.stage = WorkStage.UPLOADED
            name = make_object_name(encode_ss58(self.hotkey), window)
            self._record(work, object_name=name, size=len(data))
            self._keep(work, len(data))
        commitment = self._make_commitment(work)
        payload = encode_commitment(commitment)
        if work.pending is not None:
            work.pending.bound = self.hotkey, payload
        self._record(work, root=commitment.digest)
        self.dependencies.chain.set_commitment(self.hotkey, payload)

    def encode(self, work: WindowWork) -> bytes:
        """Encode a window's file. Its root is kept with the work."""
        data, work.root = encode_submission(
            work.groups,
            parameters=work.challenge.parameters.digest,
            window=work.challenge.window,
            hotkey=self.hotkey,
            checkpoint=work.challenge.checkpoint,
            id_bits=get_id_bits(len(work.checkpoint.tokenizer.drawable)),
        )
        return data

    def _make_commitment(self, work: WindowWork) -> Commitment:
        if work.root is None:
            self.encode(work)
        assert work.root is not None
        return Commitment(
            tag=Tag.MINER,
            number=work.challenge.window,
            groups=len(work.groups),
            digest=work.root,
            locator=self.dependencies.locator,
        )

    def _keep(self, work: WindowWork, number: int = 0) -> None:
        self._persistence.keep(work.page, work.groups, work.stage, number)

    def _report_line(self, text: str) -> None:
        self._report(f"{self.name}: {text}")

    def _record(self, work: WindowWork, **more: Any) -> None:
        """Record a window's progress in the history."""
        row = work.challenge.window, work.opened_at, work.challenge.checkpoint
        groups = self.config.fit(work.challenge.parameters).groups
        self._persistence.record(MinedWindow(*row, groups, len(work.groups), **more))

    def _note_idle(self, challenge: Challenge, head: int, text: str) -> None:
        """Record why no work is done in a window."""
        self._report_line(text)
        groups = self.config.fit(challenge.parameters).groups
        row = challenge.window, head, challenge.checkpoint, groups
        self._persistence.record(MinedWindow(*row, note=text))

    def _note(self, work: WindowWork, text: str) -> None:
        """Report something that a person may want to know now, and keep it in the history."""
        self._report_line(text)
        self._record(work, note=text)


def make_work(challenge: Challenge, checkpoint: Checkpoint, head: int = 0) -> WindowWork:
    """The work of a window before its first group."""
    seed = compute_projection_seed(challenge.seed)
    projection = make_projection(seed, checkpoint.manifest)
    return WindowWork(challenge, checkpoint, projection, opened_at=head)
