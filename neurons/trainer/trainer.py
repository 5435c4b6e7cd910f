"""The trainer: judges every group that it learns from, learns, and publishes the next checkpoint.

An audit looks at a few groups of a miner, and would rarely find one junk group in hundreds. So the
trainer judges all groups, takes rewards and log-probabilities from its own pass, and trusts nothing
in a miner's file. Specification, section 11.

With its own folder, a trainer that is killed anywhere resumes as if it had not been: its state is
that before a lesson or after it, and it commits to whatever it has learned. `trouble` reports
failures outside, which are retried.

With workers, the next window's files are judged while the trainer learns from this one. The content
of a lesson does not depend on workers, nor on the order of judging.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

from safetensors import SafetensorError

from assay.artifacts.checkpoints.adapter import make_adapter
from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.steps.delay import Line, Tally, name_choice, read_line
from assay.artifacts.steps.file import DELAY_MAX, WAITING, ConsumedGroup, list_lessons
from assay.artifacts.steps.folder import StepError, digest_tensors_of, make_record, parse_config
from assay.artifacts.steps.groups import mix_groups
from assay.artifacts.steps.pool import DrawnBy, compute_step_pool
from assay.artifacts.steps.replay import EarlierStep, iterate_line, name_replays, read_earlier
from assay.environments import compute_next_levels, get_pool_cap
from assay.inference import (
    Checkpoint,
    CheckpointError,
    DeviceError,
    NumericalError,
    UnusableCheckpointError,
)
from assay.network import StoreError
from assay.network.chain import ChainError, WrongChainError
from assay.network.chain.values import STATE_BLOCKS
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.background_judge import BackgroundJudge
from assay.neurons.trainer.course import NAME, Course, CourseKeeper
from assay.neurons.trainer.folder import TrainerError
from assay.neurons.trainer.lessons import Lesson, Silence, WindowReading, find_waiting
from assay.neurons.trainer.setup import TrainerConfig
from assay.protocol import Parameters, Phase, encode_ss58
from assay.protocol.amendment import ParameterHistory
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.manifest import Manifest
from assay.protocol.window import compute_block, compute_window
from assay.rounds.course import NextThing
from assay.rounds.keeper import RoundKeeper
from assay.sandbox import WorkerError
from assay.session.chain_delivery import Announcement
from assay.session.window_reader import BeaconError, Challenge, get_challenge, get_context
from assay.training import Learner, LearnStats, LessonError
from assay.training.figures import compute_group_figures
from assay.training.held_out import describe_next_levels
from assay.training.pace import Activity, TrainerPace
from assay.training.watch import WatchedWindow


def get_time() -> float:
    """Seconds of the trainer's clock, which is never set."""
    return time.monotonic()


class Trainer:
    """Learns from each window in order and publishes after each that has taught something.

    Args:
        on_lesson: called after each lesson, once it is saved.
        report: called with one line about everything that a person should notice.
        on_silence: called after each window whose groups teach nothing.
        on_window: called after each window that was read, whether or not it taught something.
        judge: judges with workers; None: this process judges, on the device that it learns on.

    Attributes:
        course: its progress; None before the first look at the chain.
        pace: how its time is spent.

    Raises:
        TrainerError: its folder cannot be used.
    """

    def __init__(
        self,
        hotkey: bytes,
        parameters: ParameterHistory,
        sources: JudgeSources,
        config: TrainerConfig,
        on_lesson: Callable[[Lesson], None],
        report: Callable[[str], None],
        judge: BackgroundJudge | None = None,
        on_silence: Callable[[Silence], None] = lambda silence: None,
        on_window: Callable[[WatchedWindow], None] = lambda window: None,
    ) -> None:
        self.name = NAME
        self.trouble: Trouble | None = None
        self._parameters = parameters
        self._sources = sources
        self._config = config
        self._on_lesson = on_lesson
        self._on_silence = on_silence
        self._on_window = on_window
        self._report = report
        self.judge = judge
        self.pace = TrainerPace(get_time, config.learning.local_groups, judge is not None)
        self._keeper = CourseKeeper(hotkey, parameters, sources, config, report)
        self._hotkey = hotkey
        self.rounds = self._keeper.open_rounds()
        self.course: Course | None = None
        self._challenge: Challenge | None = None
        self._reading: WindowReading | None = None
        self._retry_at = float("-inf")
        self._said: set[str] = set()  # with the last lesson
        self._tally: Tally | None = None

    @property
    def window(self) -> int | None:
        """The current window, None before the first look at the chain."""
        return None if self.course is None else self.course.window

    @property
    def learner(self) -> Learner | None:
        """What the next lesson changes, None before the first look at the chain."""
        return None if self.course is None else self.course.learner

    @property
    def workers_trouble(self) -> Trouble | None:
        """The problem of the workers that a person should fix, or None."""
        return None if self.judge is None else self.judge.pool.trouble

    def close(self) -> None:
        """Release the folder, and start to judge no more files."""
        if self.judge is not None:
            self.judge.close()
        self._keeper.close()

    def step(self) -> bool:
        """Open a window, judge a submission, learn, or publish. Return whether more is due.

        Raises:
            WrongChainError: the node speaks for another chain.
            TrainerError: its folder is another trainer's, or what was learned cannot be saved.
            UnusableCheckpointError: the checkpoint to begin with is unusable.
            CheckpointError: the checkpoint to publish is damaged.
        """
        if get_time() < self._retry_at:
            return False
        try:
            return self._step()
        except WrongChainError:
            raise
        except (ChainError, StoreError, BeaconError) as error:
            return self._wait(Trouble.from_error(error))

    def _wait(self, trouble: Trouble) -> bool:
        self.pace.begin(None)
        self.trouble = trouble
        self._retry_at = get_time() + self._config.retry_s
        return False

    def _step(self) -> bool:
        if self.course is None:
            return self._start()
        course = self.course
        if course.unsaid is not None and self._announce(course, course.unsaid):
            return True
        last = self._config.last_window
        if last is not None and course.window > last:
            self.pace.begin(None)
            return False
        reading = self._reading
        if reading is None:
            done = self._advance_round(course)
            return self._open(course) if done is None else done
        if self.judge is not None and self.judge.holds(reading):
            return self._await(course, reading, self.judge)
        if reading.waiting:
            return self._read(course, reading)
        if reading.looks_again(self._sources.chain.get_head()):
            self.pace.begin(Activity.WAITING)
            return bool(reading.waiting) or self._prepare(course)
        self._finish(course, reading)
        return True

    def _start(self) -> bool:
        """Resume from the folder, or begin with the checkpoint on chain and the current window."""
        begun = self._keeper.begin()
        if isinstance(begun, Trouble):
            return self._wait(begun)
        try:  # before a window is judged for nothing
            self._read_line(begun.parent, self._parameters.get(begun.window))
        except WorkerError as error:
            return self._wait(Trouble.from_error(error))
        self.course, self.trouble = begun, None
        return True

    def _advance_round(self, course: Course) -> bool | None:
        """Do what rounds require before the next window. None: nothing; else whether it was
        done."""
        rounds = self.rounds
        if rounds is not None and (begun := rounds.find_begun(course.window)) is not None:
            # the windows before it come too late to teach the rounds' first parent
            course.window, self._challenge = begun, None
        if rounds is None or rounds.find_rounds(course.window) is None:
            if self._hotkey == self._parameters.first.identity.trainer:
                return None
            text = "the rounds that name this trainer have not begun"
            return self._wait(Trouble(TroubleKind.OTHER, text))
        if self._config.learning.lora_rank:
            text = "rounds merge whole weights: set lora_rank = 0"
            return self._wait(Trouble(TroubleKind.OTHER, text))
        if self._config.learning.sft_weight:
            text = "rounds are repeated from what is in stores: set sft_weight = 0, without sft"
            return self._wait(Trouble(TroubleKind.OTHER, text))
        self.pace.begin(Activity.PUBLISHING)
        what = self._keeper.advance(rounds, course)
        self.trouble = None
        if what is NextThing.WAIT:
            self.pace.begin(Activity.WAITING)
        return None if what is NextThing.LEARN else what is NextThing.GO_ON

    def _in_round(self, window: int) -> RoundKeeper | None:
        rounds = self.rounds
        return None if rounds is None or rounds.find_rounds(window) is None else rounds

    # --- one window

    def _open(self, course: Course) -> bool:
        """Look for the window's context. State that every node has forgotten is skipped."""
        sources, end = self._sources, self._parameters.end
        if end is not None and course.window >= end:
            self.pace.begin(None)
            return False
        self.pace.begin(Activity.WAITING)
        parameters = self._parameters.get(course.window)
        if parameters.start.number > course.parent.manifest.number:
            trouble = self._keeper.begin_anew(course, parameters)
            return True if trouble is None else self._wait(trouble)
        if self.judge is not None:
            self._reading = self.judge.take_ahead(parameters, course.window)
            if self._reading is not None:
                self.trouble = None
                return True
        head = sources.chain.get_head()
        try:
            if self._challenge is None:
                self._challenge = get_challenge(
                    sources.chain, sources.beacons, parameters, course.window
                )
            if self._challenge is None:
                self.trouble = None
                return self._prepare(course)
            context = get_context(sources.chain, sources.beacons, parameters, self._challenge)
        except WrongChainError:
            raise
        except ChainError as error:
            gone, timing = head - STATE_BLOCKS, parameters.timing
            if compute_block(timing, course.window, Phase.CHECKPOINT) > gone:
                raise
            course.window = max(course.window, compute_window(timing, gone))
            return self._skip(course, str(error))
        self.trouble = None
        if context is None:
            return self._prepare(course)
        self._reading = WindowReading(context, find_waiting(context))
        rounds = self._in_round(course.window)
        if rounds is not None:
            self._reading.is_own = rounds.is_own
            if (fault := rounds.find_unfit(context)) is not None:
                return self._skip(course, fault, stale=True)
        return True

    def _judge_ahead(self, course: Course, window: int) -> None:
        """Start to judge a window's files ahead, where they may be read already. When the trainer
        learns in step, no window is judged before the one before it has been learned from."""
        last, end = self._config.last_window, self._parameters.end
        if self.judge is None or not self._config.staleness or self._in_round(window) is not None:
            return
        if (last is not None and window > last) or (end is not None and window >= end):
            return
        parameters = self._parameters.get(window)
        if parameters.start.number <= course.parent.manifest.number:
            self.judge.begin_ahead(parameters, window)

    def _prepare(self, course: Course) -> bool:
        """Evaluate the parent while there is nothing else to do, so that no checkpoint waits for
        it. Return whether there was something to do."""
        held_out = self._config.held_out
        if (
            held_out is None
            or held_out.knows(course.parent.digest)
            or self._in_round(course.window)
        ):
            return False
        self.pace.begin(Activity.PUBLISHING)
        held_out.count(course.parent, course.window)
        return True

    def _skip(self, course: Course, why: str, stale: bool = False) -> bool:
        self._report(f"{self.name}: window {course.window} teaches nothing: {why}")
        self._leave(course, stale)
        self._keeper.save(course)
        return True

    def _leave(self, course: Course, stale: bool = False) -> None:
        judged_s = 0.0 if self._reading is None else self._reading.judged_s
        self.pace.end_window(judged_s, stale)
        course.window += 1
        self._reading = self._challenge = None

    def _read(self, course: Course, reading: WindowReading) -> bool:
        """Judge one file, or let workers judge all. A window without a checkpoint is waited for
        until it is over."""
        context, sources = reading.context, self._sources
        self.pace.begin(Activity.JUDGING)
        checkpoints = sources.checkpoints if self.judge is None else self.judge.checkpoints
        try:
            checkpoint = open_checkpoint(checkpoints, context.checkpoint, context.parameters)
        except UnusableCheckpointError as error:
            return self._skip(course, str(error))
        except CheckpointError as error:
            end = compute_block(context.parameters.timing, context.window, Phase.VERDICT_END)
            over = sources.chain.get_head() > end
            return self._skip(course, str(error)) if over else self._wait(Trouble.from_error(error))
        except WorkerError as error:
            return self._wait(Trouble.from_error(error))
        reading.number = checkpoint.manifest.number
        reading.levels = checkpoint.manifest.level_numbers
        if self._is_stale(course, reading):
            return True
        if self.judge is not None:
            self.judge.begin(reading)
            return True
        began = get_time()
        hotkey = reading.waiting.pop(0)
        try:
            reading.judge(hotkey, checkpoint, sources)
        except WorkerError as error:  # something is missing here: try again
            self.trouble = Trouble.from_error(error)
            reading.withheld.append(hotkey)
        reading.judged_s += get_time() - began
        return True

    def _await(self, course: Course, reading: WindowReading, judge: BackgroundJudge) -> bool:
        """Prepare the lesson's other inputs while workers judge."""
        self.pace.begin(Activity.JUDGING)
        if self._prepare(course):
            return True
        try:
            judge.wait(reading)
        except WorkerError as error:
            return self._wait(Trouble.from_error(error))
        self.trouble = None
        return True

    def _is_stale(self, course: Course, reading: WindowReading) -> bool:
        """Skip a window whose rollouts are too old to learn from. Return whether it was skipped."""
        if reading.number is None or reading.is_own is not None:
            return False
        behind = course.parent.manifest.number - reading.number
        return behind > self._config.staleness and self._skip(
            course, f"its rollouts are {behind} checkpoints behind", stale=True
        )

    def _finish(self, course: Course, reading: WindowReading) -> None:
        """Learn from the accepted groups, and save the result."""
        if self._is_stale(course, reading):  # it was judged before the lesson of the window before
            return
        self._judge_ahead(course, course.window + 1)
        for hotkey, why in sorted(reading.unjudged.items()):
            name = encode_ss58(hotkey)
            self._report(f"{self.name}: window {course.window} goes without {name}'s file: {why}")
        if reading.groups or (self._config.learning.local_groups and reading.is_own is None):
            window = course.window
            try:
                lesson = self._learn(course, reading)
            except (
                CheckpointError,
                DeviceError,
                LessonError,
                NumericalError,
                OSError,
                SafetensorError,
                TrainerError,
                WorkerError,
            ) as error:
                self._take_back(window, error)
                return
            if isinstance(lesson, Silence):
                self._report(f"{self.name}: {lesson}")
                self._on_silence(lesson)
            else:
                self._on_lesson(lesson)
            return
        taught_nothing = WatchedWindow(course.window)
        if reading.withheld:
            missing = f"{len(reading.withheld)} of its files cannot be fetched"
            self._skip(course, f"{missing}, and no other is good")
        else:
            self._leave(course)
            self._keeper.save(course)
        self._on_window(taught_nothing)

    def _learn(self, course: Course, reading: WindowReading) -> Lesson | Silence:
        """Learn and make the next checkpoint. There is none where it would be its parent again: no
        group teaches, and levels and pool stay. In a round there is, since others wait for it."""
        learner, parent, steps = course.learner, course.parent, self._config.steps
        number = parent.manifest.number
        parameters = reading.context.parameters
        held_out, checkpoints = self._config.held_out, self._sources.checkpoints
        alone = reading.is_own is None  # in a round nothing is left to choose, and levels stay
        self.pace.begin(Activity.PUBLISHING)
        counts = held_out.count(parent, course.window) if held_out and alone else ()
        levels = compute_next_levels(parameters, parent.manifest.levels, counts)
        tally = self._get_tally(parameters, parent)
        came, earlier, delayed = reading.sort_groups(), list[EarlierStep](), list[EarlierStep]()
        expired = 0
        if alone:
            came = self._mark_waiting(came, tally)
            earlier = self._read_earlier(parent, tally)
            delayed, expired = self._find_delayed(parent, tally)
        late = [one for step in delayed for one in step.groups]
        reading.groups, replays = mix_groups(
            came,
            parent,
            reading.context,
            learner.config.local_groups if alone else 0,
            learner.config.external_groups if alone else None,
            learner.config.groups_per_batch if learner.config.refill else None,
            earlier,
            learner.config.replay_share,
            late,
        )
        taken = reading.groups + replays
        # before anything is written: where the pool grows, the checkpoint is not its parent again
        pool = compute_step_pool(reading.groups, course.window, parameters, parent, checkpoints)
        stays = levels == parent.manifest.levels and pool == parent.piece_pool
        if alone and stays and not any(one.teaches for one in (*reading.groups, *late)):
            self.pace.note_lesson(len(came), 0, 0)
            self._leave(course)
            self._keeper.save(course)
            self._on_window(_watch(reading, parent.manifest))
            rewards, tokens = reading.rewards, reading.count_tokens()
            waiting = len(reading.groups) - len(rewards)
            return Silence(reading.context.window, rewards, *tokens, number, waiting)
        before = course.state or digest_tensors_of(learner.export_state())
        if steps is not None:
            steps.keep_before(learner, self._keeper.find_state(parent) if course.learned else None)
        # the work before and after takes the same time for few groups and for many
        self.pace.begin(Activity.LEARNING)
        lessons, count = list_lessons(taken)
        stats = learner.learn(lessons, earlier=count)
        self.pace.note_lesson(len(came), len(lessons), stats.tokens)
        self.pace.begin(Activity.PUBLISHING)
        weights = learner.bf16_state()
        course.state = digest_tensors_of(learner.export_state())
        record = make_record(
            parameters,
            reading.context.window,
            taken,
            chain.from_iterable(reading.left_out.values()),
            parent.manifest,
            replace(learner.config, step=learner.step - 1),
            (before, course.state),
            weights,
            learner.device,
            name_replays(replays, [*earlier, *delayed]),
        )
        if steps is not None:
            chosen = {(one.hotkey, one.index) for one in reading.groups}
            spare = [one for one in came if (one.hotkey, one.index) not in chosen]
            steps.keep_data(record, parameters, taken, [s for s in spare if s.teaches])
        adapter = make_adapter(learner.base, learner.export_factors())
        manifest = checkpoints.publish(
            parent, weights, record.digest, levels, counts, adapter=adapter, pool=pool
        )
        if steps is not None:
            steps.keep_record(record, manifest.digest)
        # raises here rather than commit to a checkpoint that everyone would refuse
        course.parent = open_checkpoint(checkpoints, manifest.digest, parameters)
        course.learned = True
        course.uploaded = not alone
        course.unsaid = self._keeper.make_announcement(course.parent) if alone else None
        self._leave(course)
        self._keeper.save(course, learner=True)
        lines = describe_next_levels(parameters.environment, manifest)
        lines += self._find_lateness(tally, number, reading) + self._find_given_up(tally, parent)
        for line in [line for line in lines if line not in self._said]:
            self._report(f"{self.name}: {line}")
        self._said = set(lines)
        self._on_window(_watch(reading, parent.manifest, stats))
        return Lesson(
            reading.context.window,
            reading.rewards,
            stats,
            manifest,
            reading.levels,
            *reading.count_tokens(),
            len(replays) - len(late),
            sum(one.delay == WAITING for one in reading.groups),
            len(late),
            expired,
            max((number - tally.drawn.find(one).manifest.number for one in late), default=None),
        )

    def _get_tally(self, parameters: Parameters, parent: Checkpoint) -> Tally:
        """The counts of the steps before, for the step that begins with this checkpoint."""
        drawn = DrawnBy(parameters, parent, self._sources.checkpoints)
        if self._tally is None or self._tally.parameters != parameters:
            self._tally = Tally(parameters, drawn)
        self._tally.drawn = drawn
        return self._tally

    def _mark_waiting(self, came: Sequence[ConsumedGroup], tally: Tally) -> list[ConsumedGroup]:
        """A window's groups, with those marked that wait for their reward."""
        if not self._config.learning.proposal_tries:
            return list(came)
        return [replace(one, delay=WAITING) if tally.waits(one) else one for one in came]

    def _read_earlier(self, parent: Checkpoint, tally: Tally) -> list[EarlierStep]:
        """The steps whose groups this one may replay."""
        learning, steps = self._config.learning, self._config.steps
        if not learning.replay_share or steps is None:
            return []
        parameters, count = tally.parameters, learning.replay_staleness
        given = parent.manifest, parameters.digest, count, parameters.identity.trainer

        def is_kept(one: ConsumedGroup) -> bool:
            return not learning.proposal_tries or not tally.waits(one)

        try:
            return read_earlier(steps, *given, is_kept)
        except WorkerError as error:
            raise TrainerError(f"groups to replay cannot be read: {error}") from None

    def _find_delayed(self, parent: Checkpoint, tally: Tally) -> tuple[list[EarlierStep], int]:
        """The steps whose proposals this one learns from, with these groups, and the number of
        others that no later one can learn from."""
        line = self._read_line(parent, tally.parameters)
        if line is None:
            return [], 0
        number, tries = parent.manifest.number, self._config.learning.proposal_tries
        due = tally.find_due(line, number, tries)
        late = {(one.window, one.hotkey, one.index) for step in due for one in step.groups}
        return due, len(line.find_expiring(number) - late)

    def _find_lateness(self, tally: Tally, parent: int, reading: WindowReading) -> list[str]:
        """A line where rollouts are so late that no proposal can be due in time: it is consumed so
        many checkpoints after it was drawn, and what it asks as many after that."""
        if not self._config.learning.proposal_tries or reading.number is None:
            return []
        if get_pool_cap(tally.parameters.environment) is None:
            return []
        behind, most = parent - reading.number, (DELAY_MAX - 2) // 2
        if behind <= most:
            return []
        return [
            f"rollouts are {behind} checkpoints behind, and with more than {most} no proposal is "
            "tried in time to be learned from (proposal_tries)"
        ]

    def _find_given_up(self, tally: Tally, parent: Checkpoint) -> list[str]:
        """A line where proposals waited up to now, and wait no more by other settings."""
        if get_pool_cap(tally.parameters.environment) is None:
            return []
        steps, learning = self._config.steps, self._config.learning
        newest = None if steps is None else next(iterate_line(steps, parent.manifest), None)
        if newest is None:
            return []
        try:
            before = parse_config(newest.record)
        except StepError:  # of another version
            return []
        if not before.proposal_tries or name_choice(before) == name_choice(learning):
            return []
        return [
            "proposals that waited for their tries are given up by other settings: proposal_tries "
            f"was {before.proposal_tries} and is {learning.proposal_tries}, external_groups was "
            f"{before.external_groups} and is {learning.external_groups}"
        ]

    def _read_line(self, parent: Checkpoint, parameters: Parameters) -> Line | None:
        """The steps whose proposals the step behind this checkpoint may learn from; None: it learns
        from none late. Raises TrainerError: one is missing."""
        learning, steps = self._config.learning, self._config.steps
        if not learning.proposal_tries or steps is None:
            return None
        line = read_line(steps, parent.manifest, parameters, learning)
        if line.missing is not None:
            reason = line.reason or f"step {line.missing} is not in {steps.folder}"
            raise TrainerError(
                f"{reason}; proposals that it consumed may be due now. Copy the records and "
                f"Parquet files of the last {DELAY_MAX} steps into {steps.folder}, or make one "
                "step with proposal_tries = 0, which gives up what waits"
            )
        return line

    def _take_back(self, window: int, error: Exception) -> None:
        """See `CourseKeeper.take_back`."""
        if self._config.folder is not None:
            self.rounds = self._keeper.open_rounds()
            self.course = self._reading = self._challenge = None
        self._keeper.take_back(window, error)
        if isinstance(error, LessonError):
            self._on_window(WatchedWindow(window, fault=str(error)))

    def _announce(self, course: Course, unsaid: Announcement) -> bool:
        """Upload first and then commit where that is due, so that readers of the commitment find
        the bytes. Otherwise check whether the commitment is on chain."""
        if not unsaid.due:
            unsaid.look()
            if unsaid.stands:
                course.unsaid = None
            return False
        if self._reading is None:
            self._judge_ahead(course, course.window)
        self.pace.begin(Activity.PUBLISHING)
        self._keeper.upload(course)
        unsaid.send()
        self.trouble = None
        return True


def _watch(
    reading: WindowReading, parent: Manifest, stats: LearnStats | None = None
) -> WatchedWindow:
    """The figures of a window whose groups were chosen, and of the step after it, if there is
    one. Groups that wait for their reward are in none."""
    groups = [taken.group for taken in reading.rated]
    drawn_by = parent.number if reading.number is None else reading.number
    return WatchedWindow(
        reading.context.window,
        None if stats is None else parent.number + 1,
        parent.number - drawn_by,
        compute_group_figures(groups, parent.max_tokens) if groups else None,
        stats,
        waiting=len(reading.groups) - len(groups),
    )
