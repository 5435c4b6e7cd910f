"""A window's turn up to its lesson: it is opened, its files are judged, missing ones looked for.

Each method is one stage of `stages`, and returns what has happened. It changes no course: whether a
window is left out, `Trainer` decides by what is returned here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.chain.values import STATE_BLOCKS
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.background_judge import BackgroundJudge
from assay.neurons.trainer.course import Course
from assay.neurons.trainer.lessons import WindowReading, find_waiting
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.stages import TrainerEvent
from assay.protocol.amendment import ParameterHistory
from assay.protocol.context import Context
from assay.protocol.errors import Trouble
from assay.protocol.parameters import Parameters
from assay.protocol.window import Phase, compute_block, compute_window
from assay.rounds.keeper import RoundKeeper
from assay.sandbox import WorkerError
from assay.session.window_reader import Challenge, get_challenge, get_context
from assay.training.pace import Activity, TrainerPace


@dataclass(frozen=True, slots=True)
class Skip:
    """A window is left out.

    Attributes:
        why: for a person.
        stale: its rollouts are too old, or another round's.
        window: from which the trainer goes on, if it is not the next one.
    """

    why: str
    stale: bool = False
    window: int | None = None


#: What came of a stage. Trouble: the same is tried again after a pause.
Outcome = TrainerEvent | Skip | Trouble


class WindowJudging:
    """One window after the other, up to the lesson.

    Args:
        judge: judges with workers; None: this process judges.
        find_rounds: the trainer's part in the rounds of a window, if this has them.
        note_trouble: called with trouble that holds up one file, and not the window.

    Attributes:
        reading: the window whose turn it is; None: none is open.
    """

    def __init__(
        self,
        parameters: ParameterHistory,
        sources: JudgeSources,
        config: TrainerConfig,
        judge: BackgroundJudge | None,
        pace: TrainerPace,
        find_rounds: Callable[[int], RoundKeeper | None],
        note_trouble: Callable[[Trouble], None],
    ) -> None:
        self._parameters = parameters
        self._sources = sources
        self._config = config
        self._judge = judge
        self._pace = pace
        self._find_rounds = find_rounds
        self._note_trouble = note_trouble
        self._challenge: Challenge | None = None
        self.reading: WindowReading | None = None

    def close(self) -> None:
        """End the window's turn."""
        self.reading = self._challenge = None

    def open(self, course: Course, parameters: Parameters) -> TrainerEvent | Skip:
        """Look for the window's context. State that every node has forgotten is skipped.

        Args:
            parameters: of the window.

        Raises:
            ChainError, BeaconError: they cannot be read.
        """
        self._pace.begin(Activity.WAITING)
        if self._judge is not None:
            self.reading = self._judge.take_ahead(parameters, course.window)
            if self.reading is not None:
                return TrainerEvent.OPENED
        head = self._sources.chain.get_head()
        try:
            context = self._find_context(parameters, course.window)
        except WrongChainError:
            raise
        except ChainError as error:
            gone, timing = head - STATE_BLOCKS, parameters.timing
            if compute_block(timing, course.window, Phase.CHECKPOINT) > gone:
                raise
            return Skip(str(error), window=compute_window(timing, gone))
        if context is None:
            return TrainerEvent.WAITING
        reading = WindowReading(context, find_waiting(context))
        if (rounds := self._find_rounds(course.window)) is not None:
            reading.is_own = rounds.is_own
            if (fault := rounds.find_unfit(context)) is not None:
                return Skip(fault, stale=True)
        self.reading = reading
        return TrainerEvent.OPENED

    def _find_context(self, parameters: Parameters, window: int) -> Context | None:
        given = self._sources.chain, self._sources.beacons, parameters
        if self._challenge is None:
            self._challenge = get_challenge(*given, window)
        return None if self._challenge is None else get_context(*given, self._challenge)

    def judge(self, course: Course, reading: WindowReading) -> Outcome:
        """Judge one file, or let workers judge all. A window without a checkpoint is waited for
        until it is over."""
        if self._judge is not None and self._judge.holds(reading):
            return TrainerEvent.HANDED_OVER
        if not reading.waiting:
            return TrainerEvent.ALL_JUDGED
        self._pace.begin(Activity.JUDGING)
        checkpoint = self._open_checkpoint(reading.context)
        if not isinstance(checkpoint, Checkpoint):
            return checkpoint
        reading.number = checkpoint.manifest.number
        reading.levels = checkpoint.manifest.level_numbers
        if (stale := self.find_stale(course, reading)) is not None:
            return stale
        if self._judge is not None:
            self._judge.begin(reading)
            return TrainerEvent.HANDED_OVER
        began = self._pace.get_time()
        hotkey = reading.waiting.pop(0)
        try:
            reading.judge(hotkey, checkpoint, self._sources)
        except WorkerError as error:  # something is missing here: try again
            self._note_trouble(Trouble.from_error(error))
            reading.withheld.append(hotkey)
        reading.judged_s += self._pace.get_time() - began
        return TrainerEvent.JUDGED

    def _open_checkpoint(self, context: Context) -> Checkpoint | Skip | Trouble:
        """The checkpoint that judges a window."""
        own = self._sources.checkpoints
        checkpoints = own if self._judge is None else self._judge.checkpoints
        try:
            return open_checkpoint(checkpoints, context.checkpoint, context.parameters)
        except UnusableCheckpointError as error:
            return Skip(str(error))
        except CheckpointError as error:
            end = compute_block(context.parameters.timing, context.window, Phase.VERDICT_END)
            is_over = self._sources.chain.get_head() > end
            return Skip(str(error)) if is_over else Trouble.from_error(error)
        except WorkerError as error:
            return Trouble.from_error(error)

    def wait(self, reading: WindowReading) -> TrainerEvent | Trouble:
        """Take what workers have judged, if it is ready within a moment."""
        assert self._judge is not None  # nobody else has the files
        self._pace.begin(Activity.JUDGING)
        try:
            self._judge.wait(reading)
        except WorkerError as error:
            return Trouble.from_error(error)
        is_held = self._judge.holds(reading)
        return TrainerEvent.BUSY if is_held else TrainerEvent.HANDED_BACK

    def look(self, reading: WindowReading) -> TrainerEvent:
        """Look for missing files again, if that is due."""
        if not reading.looks_again(self._sources.chain.get_head()):
            return TrainerEvent.SETTLED
        self._pace.begin(Activity.WAITING)
        return TrainerEvent.LOOKED if reading.waiting else TrainerEvent.WAITING

    def find_stale(self, course: Course, reading: WindowReading) -> Skip | None:
        """Why a window's rollouts are too old to learn from, or None."""
        if reading.number is None or reading.is_in_round:
            return None
        if reading.number < course.returned:
            why = f"its rollouts are of checkpoint {reading.number}, which was given up"
            return Skip(why, stale=True)
        behind = course.parent.manifest.number - reading.number
        if behind <= self._config.staleness:
            return None
        return Skip(f"its rollouts are {behind} checkpoints behind", stale=True)

    def prepare(self, course: Course) -> bool:
        """Evaluate the newest checkpoint, so that no lesson waits for it. Return whether there was
        something to do."""
        held_out = self._config.held_out
        if held_out is None or held_out.knows(course.parent.digest):
            return False
        if self._find_rounds(course.window) is not None:
            return False
        self._pace.begin(Activity.PUBLISHING)
        held_out.count(course.parent, course.window)
        return True

    def judge_ahead(self, course: Course, window: int) -> None:
        """Start to judge a window's files ahead, where they may be read already. When the trainer
        learns in step, no window is judged before the one before it has been learned from."""
        last, end = self._config.last_window, self._parameters.end
        if self._judge is None or not self._config.staleness:
            return
        if self._find_rounds(window) is not None:
            return
        if (last is not None and window > last) or (end is not None and window >= end):
            return
        parameters = self._parameters.get(window)
        if parameters.start.number <= course.parent.manifest.number:
            self._judge.begin_ahead(parameters, window)
