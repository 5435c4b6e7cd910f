"""Makes a trainer's step: learns from the groups of its plan, and writes record and checkpoint.

A step's files are written in an order in which a trainer that is killed anywhere writes the same
bytes again, see `assay.artifacts.steps.folder`.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from torch import Tensor

from assay.artifacts.checkpoints.adapter import make_adapter
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import ConsumedGroup, list_lessons
from assay.artifacts.steps.folder import digest_tensors_of, make_record
from assay.artifacts.steps.plan import StepPlan
from assay.inference.checkpoint import Checkpoint
from assay.neurons.trainer.course import Course
from assay.neurons.trainer.lessons import WindowReading
from assay.neurons.trainer.setup import TrainerConfig
from assay.protocol.gate import NO_COURSE
from assay.protocol.gate import Course as Measured
from assay.protocol.manifest import Manifest
from assay.protocol.step import StepRecord
from assay.training import LearnStats
from assay.training.pace import Activity, TrainerPace


class StepMaker:
    """Makes steps of a course."""

    def __init__(
        self, config: TrainerConfig, checkpoints: CheckpointFolder, pace: TrainerPace
    ) -> None:
        self._config = config
        self._checkpoints = checkpoints
        self._pace = pace

    def make(
        self,
        course: Course,
        reading: WindowReading,
        plan: StepPlan,
        groups: Sequence[ConsumedGroup],
        present: Path | None,
        evidence: Measured = NO_COURSE,
    ) -> tuple[LearnStats, Manifest]:
        """Learn, and make the next checkpoint, which nobody knows of yet.

        Args:
            course: its learner changes, and the digest of the learner's state.
            groups: of the window: the planned ones, then the trainer's own.
            present: a file with the learner's present state.
            evidence: what was measured since the milestone.

        Raises:
            DeviceError, LessonError, NumericalError: the learner cannot learn from these groups.
            OSError, SafetensorError: a file cannot be written.
            CheckpointError: the parent's files are damaged.
        """
        steps, learner = self._config.steps, course.learner
        consumed = [*groups, *plan.earlier]
        before = course.state or digest_tensors_of(learner.export_state())
        if steps is not None:
            steps.keep_before(learner, present)
        # the work before and after takes the same time for few groups and for many
        self._pace.begin(Activity.LEARNING)
        parent = course.parent
        lessons, count = list_lessons(consumed, parent.digest, self._find_ages(parent, consumed))
        stats = learner.learn(lessons, earlier=count)
        self._pace.note_lesson(len(reading.groups), len(lessons), stats.tokens)
        self._pace.begin(Activity.PUBLISHING)
        weights = learner.bf16_state()
        course.state = digest_tensors_of(learner.export_state())
        states = before, course.state
        record = self._make_record(course, reading, plan, consumed, states, weights)
        if steps is not None:
            steps.keep_data(record, reading.context.parameters, consumed, plan.spares)
        adapter = make_adapter(learner.base, learner.export_factors())
        given = course.parent, weights, record.digest, plan.levels, plan.held_out
        made = self._checkpoints.publish(
            *given, adapter=adapter, pool=plan.pool, course=evidence, root=record.tensors
        )
        if steps is not None:
            steps.keep_record(record, made.digest)
        return stats, made

    def _find_ages(self, parent: Checkpoint, groups: Sequence[ConsumedGroup]) -> dict[bytes, int]:
        """How far the checkpoints that drew groups are behind the parent, of those that are known
        here: a trainer on another machine may have none, and one that begins anew from an older
        checkpoint reads groups of newer ones."""
        drawn = {one.checkpoint for one in groups} - {parent.digest}
        numbers = {digest: self._checkpoints.read_number(digest) for digest in drawn}
        number = parent.manifest.number
        behind = {d: number - old for d, old in numbers.items() if old is not None}
        return {digest: age for digest, age in behind.items() if age > 0}

    def _make_record(
        self,
        course: Course,
        reading: WindowReading,
        plan: StepPlan,
        groups: Sequence[ConsumedGroup],
        states: tuple[bytes, bytes],
        weights: dict[str, Tensor],
    ) -> StepRecord:
        learner, context = course.learner, reading.context
        learning = replace(learner.config, step=learner.step - 1)
        return make_record(
            context.parameters,
            context.window,
            groups,
            chain.from_iterable(reading.left_out.values()),
            course.parent.manifest,
            StepConfig(learning, self._config.choice),
            states,
            weights,
            learner.device,
            plan.named,
        )
