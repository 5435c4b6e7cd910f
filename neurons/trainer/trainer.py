"""The trainer: judges every group that it learns from, learns, and publishes the next checkpoint.

How it works. A trainer has a course: its next window, and its newest checkpoint with the learner
that made it (`course`). It takes windows in order. For each it goes through the stages of
`TRAINER_STAGES` (`stages`), and `Trainer.step` does a piece of the present one:

    START → OPEN → JUDGE ⇄ AWAIT → LOOK → LEARN → PUBLISH → OPEN …

An audit looks at a few groups of a miner, and would rarely find one junk group in hundreds. So the
trainer judges all groups, takes rewards and log-probabilities from its own pass, and trusts nothing
in a miner's file (`window_judging`). What a step takes of them is a plan that anybody can derive
(`choosing`, `assay.artifacts.steps.plan`); `step_maker` learns from that, and `reports` tells of
it. With workers, the next window's files are judged meanwhile. What is learned does not depend on
workers, nor on the order of judging.

Publishing goes first. While the newest checkpoint is not uploaded, or the commitment to it not
sent, the trainer is at PUBLISH: it tries again every `retry_s` seconds, says why in `trouble`, and
does not learn. Only workers judge meanwhile, the next window's files. Nothing is lost: the step is
in its folder, in force is the checkpoint before, and windows pass, which are read late or are left
out for their rollouts' age. Once sent it goes on to the next window, and looks in each block
whether the commitment is final; where a reorganisation or a full block loses it, it is at PUBLISH
again.

With its own folder, a trainer that is killed anywhere resumes as if it had not been: its state is
that before a step or after it, and it commits to whatever it has learned. A step that cannot be
made or kept is taken back: its window is left out, or the program ends where the disk is to blame.
Specification, section 11.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from safetensors import SafetensorError

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.steps.groups import draw_own
from assay.inference.draws.sampler import NumericalError
from assay.inference.folder import CheckpointError
from assay.inference.placing.devices import DeviceError
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.store.base import StoreError
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.background_judge import BackgroundJudge
from assay.neurons.trainer.choosing import StepChooser
from assay.neurons.trainer.course import NAME, Course, CourseKeeper
from assay.neurons.trainer.folder import TrainerError
from assay.neurons.trainer.gate_keeping import GateKeeper
from assay.neurons.trainer.lessons import Lesson, Silence, WindowReading
from assay.neurons.trainer.reports import Reporter, WindowReport, report_silence, report_step
from assay.neurons.trainer.setup import TrainerConfig, keep_for_returns
from assay.neurons.trainer.stages import AT_ONCE, IDLE, TRAINER_STAGES, Stage, TrainerEvent
from assay.neurons.trainer.step_maker import StepMaker
from assay.neurons.trainer.window_judging import Outcome, Skip, WindowJudging
from assay.protocol.amendment import ParameterHistory
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.gate import Course as Measured
from assay.protocol.gate import Outcome as CourseOutcome
from assay.protocol.gate import find_milestone, must_return
from assay.protocol.ss58 import encode_ss58
from assay.rounds.course import NextThing
from assay.rounds.keeper import RoundKeeper
from assay.sandbox import WorkerError
from assay.session.chain_delivery import Announcement
from assay.session.window_reader import BeaconError
from assay.training import Learner, LessonError
from assay.training.held_out import describe_next_levels
from assay.training.pace import Activity, TrainerPace
from assay.training.watch import WatchedWindow

#: Why a step cannot be made or kept.
_STEP_ERRORS = (
    CheckpointError,
    DeviceError,
    LessonError,
    NumericalError,
    OSError,
    SafetensorError,
    TrainerError,
    WorkerError,
)


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
        stage: what it is at.
        course: its progress; None before the first look at the chain.
        pace: how its time is spent.
        trouble: a failure outside, which is retried; None: there is none.

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
        self._hotkey = hotkey
        self._parameters = parameters
        self._sources = sources
        config = self._config = keep_for_returns(config, parameters)
        self.judge = judge
        self.pace = TrainerPace(get_time, config.choice.local_groups, judge is not None)
        self._keeper = CourseKeeper(hotkey, parameters, sources, config, report)
        self._windows = WindowJudging(
            parameters, sources, config, judge, self.pace, self._find_rounds, self._note_trouble
        )
        self._chooser = StepChooser(config, sources.checkpoints)
        self._maker = StepMaker(config, sources.checkpoints, self.pace)
        self._reporter = Reporter(NAME, report, on_lesson, on_silence, on_window)
        self._gate = GateKeeper(
            parameters, sources, config.folder, lambda line: report(f"{NAME}: {line}")
        )
        self.rounds = self._keeper.open_rounds()
        self.stage = Stage.START
        self.course: Course | None = None
        self._retry_at = float("-inf")

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

    # --- stages

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
        event = self._act(self._look_for_announcement)
        while event is None or event in AT_ONCE:
            event = self._act(self._do_stage)
        return event not in IDLE

    def _act(self, do: Callable[[], TrainerEvent | None]) -> TrainerEvent | None:
        """Do something, and go to the stage behind what has happened, if anything has."""
        stage = self.stage
        try:
            event = do()
        except WrongChainError:
            raise
        except (ChainError, StoreError, BeaconError) as error:
            event = self._pause(Trouble.from_error(error))
        if event is not None:
            self.stage = TRAINER_STAGES[stage][event]
        return event

    def _do_stage(self) -> TrainerEvent:
        """Do a piece of the present stage."""
        match self.stage, self.course, self._windows.reading:
            case Stage.START, _, _:
                return self._start()
            case Stage.PUBLISH, Course(announcement=Announcement() as due) as course, _:
                return self._publish(course, due)
            case Stage.OPEN, Course() as course, None:
                return self._wait_or_prepare(course, self._open(course))
            case Stage.JUDGE, Course() as course, WindowReading() as reading:
                return self._settle(course, self._windows.judge(course, reading))
            case Stage.AWAIT, Course() as course, WindowReading() as reading:
                return self._await(course, reading)
            case Stage.LOOK, Course() as course, WindowReading() as reading:
                return self._wait_or_prepare(course, self._windows.look(reading))
            case Stage.LEARN, Course() as course, WindowReading() as reading:
                return self._finish(course, reading)
        raise RuntimeError(f"a trainer is at {self.stage} without what this needs")

    def _pause(self, trouble: Trouble) -> TrainerEvent:
        """Try the same again later."""
        self.pace.begin(None)
        self._note_trouble(trouble)
        self._retry_at = get_time() + self._config.retry_s
        return TrainerEvent.FAILED

    def _note_trouble(self, trouble: Trouble) -> None:
        self.trouble = trouble

    def _settle(self, course: Course, outcome: Outcome) -> TrainerEvent:
        """Leave a window out, or pause, where a stage says so."""
        if isinstance(outcome, Trouble):
            return self._pause(outcome)
        return self._skip(course, outcome) if isinstance(outcome, Skip) else outcome

    # --- beginning and publishing

    def _start(self) -> TrainerEvent:
        """Resume from the folder, or begin with the checkpoint on chain and the current window."""
        begun = self._keeper.begin()
        if isinstance(begun, Trouble):
            return self._pause(begun)
        try:  # before a window is judged for nothing
            self._chooser.read_line(begun.parent, self._parameters.get(begun.window))
        except WorkerError as error:
            return self._pause(Trouble.from_error(error))
        self.course, self.trouble = begun, None
        return TrainerEvent.BEGUN

    def _look_for_announcement(self) -> TrainerEvent | None:
        """Check whether the commitment to the newest checkpoint is on chain, or due to be sent."""
        course = self.course
        if self.stage is Stage.PUBLISH or course is None or course.announcement is None:
            return None
        if course.announcement.due:
            return TrainerEvent.UNANNOUNCED
        course.announcement.look()
        if course.announcement.is_confirmed:
            course.announcement = None
        return None

    def _publish(self, course: Course, due: Announcement) -> TrainerEvent:
        """Upload first and then commit, so that readers of the commitment find the bytes."""
        is_open = self._windows.reading is not None
        if not is_open:
            self._windows.judge_ahead(course, course.window)
        self.pace.begin(Activity.PUBLISHING)
        answers = self._config.answers if self._config.store is None else self._config.store
        if answers is not None and not course.uploaded:
            self._gate.upload(answers, course.parent.manifest)
        self._keeper.upload(course)
        due.send()
        self.trouble = None
        return TrainerEvent.RESUMED if is_open else TrainerEvent.PUBLISHED

    # --- one window

    def _open(self, course: Course) -> TrainerEvent:
        """Do what rounds and amendments require before the next window, and open that."""
        last, end = self._config.last_window, self._parameters.end
        if last is not None and course.window > last:
            self.pace.begin(None)
            return TrainerEvent.WAITING
        if (event := self._advance_round(course)) is not None:
            return event
        if end is not None and course.window >= end:
            self.pace.begin(None)
            return TrainerEvent.WAITING
        parameters = self._parameters.get(course.window)
        if parameters.start.number > course.parent.manifest.number:
            self.pace.begin(Activity.WAITING)
            trouble = self._keeper.begin_anew(course, parameters)
            return TrainerEvent.MOVED if trouble is None else self._pause(trouble)
        opened = self._windows.open(course, parameters)
        self.trouble = None
        return self._settle(course, opened)

    def _advance_round(self, course: Course) -> TrainerEvent | None:
        """Do what rounds require before the next window. None: nothing."""
        rounds = self.rounds
        if rounds is not None and (begun := rounds.find_begun(course.window)) is not None:
            # the windows before it come too late to teach the rounds' first parent
            course.window = begun
            self._windows.close()
        if rounds is None or rounds.find_rounds(course.window) is None:
            if self._hotkey == self._parameters.first.identity.trainer:
                return None
            text = "the rounds that name this trainer have not begun"
            return self._pause(Trouble(TroubleKind.OTHER, text))
        if self._config.learning.lora_rank:
            text = "rounds merge whole weights: set lora_rank = 0"
            return self._pause(Trouble(TroubleKind.OTHER, text))
        if self._config.learning.sft_weight:
            text = "rounds are repeated from what is in stores: set sft_weight = 0, without sft"
            return self._pause(Trouble(TroubleKind.OTHER, text))
        self.pace.begin(Activity.PUBLISHING)
        what = self._keeper.advance(rounds, course)
        self.trouble = None
        if what is NextThing.WAIT:
            self.pace.begin(Activity.WAITING)
            return TrainerEvent.WAITING
        return TrainerEvent.MOVED if what is NextThing.GO_ON else None

    def _find_rounds(self, window: int) -> RoundKeeper | None:
        """The trainer's part in rounds; None: the window has none."""
        rounds = self.rounds
        return None if rounds is None or rounds.find_rounds(window) is None else rounds

    def _await(self, course: Course, reading: WindowReading) -> TrainerEvent:
        """Prepare the lesson's other inputs while workers judge."""
        if self._prepare(course):
            return TrainerEvent.PREPARED
        outcome = self._windows.wait(reading)
        if isinstance(outcome, Trouble):
            self._pause(outcome)
            return TrainerEvent.ABANDONED
        self.trouble = None
        return outcome

    def _wait_or_prepare(self, course: Course, event: TrainerEvent) -> TrainerEvent:
        """Where there is nothing else to do, evaluate the parent, so that no checkpoint waits for
        it."""
        is_idle = event is TrainerEvent.WAITING
        return TrainerEvent.PREPARED if is_idle and self._prepare(course) else event

    def _prepare(self, course: Course) -> bool:
        """Measure or try a checkpoint whose turn it is. Return whether there was one."""
        end, last = self._parameters.end, self._config.last_window
        if (end is None or course.window < end) and (last is None or course.window <= last):
            with suppress(CheckpointError, WorkerError):  # the step says so
                if self._gate.prepare(course.parent, course.window):
                    return True
        return self._windows.prepare(course)

    def _skip(self, course: Course, skip: Skip) -> TrainerEvent:
        """Go on with the window behind one that is left out."""
        course.window = max(course.window, skip.window or 0)
        self._reporter.say(f"nothing is learned from window {course.window}: {skip.why}")
        self._leave(course, skip.stale)
        self._keeper.save(course)
        return TrainerEvent.SKIPPED

    def _leave(self, course: Course, stale: bool = False) -> None:
        reading = self._windows.reading
        self.pace.end_window(0.0 if reading is None else reading.judged_s, stale)
        course.window += 1
        self._windows.close()

    # --- its lesson

    def _finish(self, course: Course, reading: WindowReading) -> TrainerEvent:
        """Learn from the accepted groups, save the result, and tell of it."""
        stale = self._windows.find_stale(course, reading)
        if stale is not None:  # it was judged before the lesson of the window before
            return self._skip(course, stale)
        window, is_in_round = course.window, reading.is_in_round
        try:
            evidence = self._gate.measure(course.parent, window)
        except (CheckpointError, WorkerError) as error:
            return self._pause(Trouble.from_error(error))
        if evidence.outcome is CourseOutcome.RETURN:
            return self._give_up(course, reading, evidence)
        self._windows.judge_ahead(course, window + 1)
        for hotkey, why in sorted(reading.unjudged.items()):
            self._reporter.say(f"window {window} goes without {encode_ss58(hotkey)}'s file: {why}")
        if not reading.groups and (is_in_round or not self._config.choice.local_groups):
            return self._pass(course, reading)
        try:
            found = self._learn(course, reading, evidence)
        except _STEP_ERRORS as error:
            return self._take_back(window, error)
        self._reporter.tell(found)
        if isinstance(found.result, Silence):
            return TrainerEvent.SILENT
        return TrainerEvent.LEARNED_IN_ROUND if is_in_round else TrainerEvent.LEARNED

    def _pass(self, course: Course, reading: WindowReading) -> TrainerEvent:
        """Leave a window without good groups."""
        event, window = TrainerEvent.SILENT, course.window
        if reading.withheld:
            missing = f"{len(reading.withheld)} of its files cannot be fetched"
            event = self._skip(course, Skip(f"{missing}, and no other is good"))
        else:
            self._leave(course)
            self._keeper.save(course)
        self._reporter.note_window(WatchedWindow(window))
        return event

    def _give_up(self, course: Course, reading: WindowReading, evidence: Measured) -> TrainerEvent:
        """Publish the milestone again: what was learned behind it is given up."""
        window, parameters = course.window, reading.context.parameters
        self.pace.begin(Activity.PUBLISHING)
        try:
            record = self._keeper.give_up(course, evidence, parameters)
        except (CheckpointError, WorkerError) as error:  # the milestone is not here, or not yet
            return self._pause(Trouble.from_error(error))
        except _STEP_ERRORS as error:
            return self._take_back(window, error)
        self._leave(course, stale=True)
        self._keeper.save(course, learner=True)
        why = must_return(evidence.pairs, evidence.attempt, parameters.gate)
        number = self._sources.checkpoints.get_outline(evidence.milestone).manifest.number
        self._reporter.say(
            f"checkpoint {record.number} is milestone {number} again: {why}; what {number + 1} to "
            f"{record.number - 1} have learned is given up, and nothing is learned from window "
            f"{window}"
        )
        return TrainerEvent.LEARNED

    def _learn(self, course: Course, reading: WindowReading, evidence: Measured) -> WindowReport:
        """Learn and make the next checkpoint. There is none where it would be its parent again: no
        group teaches, and levels and pool stay. In a round there is, since others wait for it."""
        parent, is_in_round = course.parent, reading.is_in_round
        parameters = reading.context.parameters
        self.pace.begin(Activity.PUBLISHING)
        plan = self._chooser.choose(parent, reading)
        groups = [*plan.fresh, *draw_own(plan.own, parent, parameters, reading.context.window)]
        teaches = any(one.teaches for one in (*groups, *plan.delayed))
        if not (is_in_round or teaches or plan.changes(parent)):
            self.pace.note_lesson(len(reading.groups), 0, 0)
            self._leave(course)
            self._keeper.save(course)
            return report_silence(reading, parent.manifest, groups)
        present = self._keeper.find_state(parent) if course.learned else None
        is_shown = evidence.outcome is CourseOutcome.MILESTONE
        milestone = find_milestone(evidence, parameters.gate) if is_shown else None
        if milestone is not None:
            self._keeper.keep_milestone(course, milestone)
        made = self._maker.make(course, reading, plan, groups, present, evidence)
        published = made[1]
        # raises here rather than commit to a checkpoint that everyone would refuse
        course.parent = open_checkpoint(self._sources.checkpoints, published.digest, parameters)
        course.learned = True
        course.uploaded = is_in_round
        announced = None if is_in_round else self._keeper.make_announcement(course.parent)
        course.announcement = announced
        self._leave(course)
        self._keeper.save(course, learner=True)
        remarks = describe_next_levels(parameters.environment, published)
        remarks += self._chooser.find_remarks(parent, reading)
        if milestone is not None:
            remarks.append(self._describe_milestone(evidence, milestone))
        return report_step(reading, parent.manifest, plan, groups, made, remarks)

    def _describe_milestone(self, evidence: Measured, milestone: bytes) -> str:
        """A line for a person about a course that has shown that it is better."""
        outlines = self._sources.checkpoints
        named = milestone, evidence.milestone
        new, old = (outlines.get_outline(digest).manifest.number for digest in named)
        won, lost = (sum(getattr(one, n) for one in evidence.counts) for n in ("wins", "losses"))
        return (
            f"checkpoint {new} is the milestone now: since {old}, {won:,} new problems were won "
            f"and {lost:,} lost"
        )

    def _take_back(self, window: int, error: Exception) -> TrainerEvent:
        """See `CourseKeeper.take_back`."""
        if self._config.folder is not None:
            self.rounds = self._keeper.open_rounds()
            self.course, self.stage = None, Stage.START
            self._windows.close()
        self._keeper.take_back(window, error)
        if isinstance(error, LessonError):
            self._reporter.note_window(WatchedWindow(window, fault=str(error)))
        return TrainerEvent.TAKEN_BACK
