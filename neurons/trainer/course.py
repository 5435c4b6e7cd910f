"""A trainer's position, its beginning, and the state in its folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.examples import read_examples
from assay.artifacts.steps.folder import StepError, digest_tensors_of, read_steps_before
from assay.artifacts.steps.learner import make_learner
from assay.artifacts.steps.replay import iterate_line
from assay.artifacts.steps.returns import keep_return, make_return_record
from assay.artifacts.steps.store import fetch_record, publish_step
from assay.inference.checkpoint import Checkpoint, Outline
from assay.inference.draws.sampler import NumericalError
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.network.store.base import ObjectStore
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.folder import TrainerError, TrainerFolder, TrainerState
from assay.neurons.trainer.setup import TrainerConfig, resume_learner
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.context import Context
from assay.protocol.errors import Trouble
from assay.protocol.gate import Course as Measured
from assay.protocol.gate import Outcome
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters
from assay.protocol.step import ReturnRecord
from assay.protocol.window import compute_window
from assay.rounds.config import RoundConfig
from assay.rounds.course import ContinueFrom, NextThing
from assay.rounds.in_force import get_in_force_at
from assay.rounds.keeper import RoundKeeper
from assay.session.chain_delivery import Announcement
from assay.session.window_reader import get_challenge, get_context
from assay.training import Learner, LessonError

NAME = "trainer"


@dataclass(slots=True)
class Course:
    """A trainer's position."""

    window: int
    parent: Checkpoint  # the last checkpoint learned; the learner's weights round to it
    learner: Learner
    learned: bool  # the learner holds more than the parent's weights
    uploaded: bool  # the store has the parent
    announcement: Announcement | None  # of it, while the commitment is in no final block
    state: bytes | None = None  # digest of the learner's state; None: not computed yet
    returned: int = 0  # number of the newest return to a milestone; 0: none is known


class CourseKeeper:
    """Begins and saves a course. It does not know what a trainer does in a window.

    Args:
        report: called with one line about everything that a person should notice.

    Raises:
        TrainerError: the folder cannot be used.
    """

    def __init__(
        self,
        hotkey: bytes,
        parameters: ParameterHistory,
        sources: JudgeSources,
        config: TrainerConfig,
        report: Callable[[str], None],
    ) -> None:
        self._hotkey = hotkey
        self._parameters, self._first = parameters, parameters.first
        self._sources = sources
        self._config = config
        self._report = report
        self._has_told_examples = False  # every checkpoint's learner has the same
        self._folder = TrainerFolder(config.folder) if config.folder is not None else None

    def close(self) -> None:
        """Release the folder."""
        if self._folder is not None:
            self._folder.close()

    def begin(self) -> Course | Trouble:
        """Resume from the folder, or begin with the checkpoint on chain and the current window; or
        return why that is impossible now. Raises UnusableCheckpointError: nobody can use it."""
        sources, genesis = self._sources, self._first.identity.genesis_checkpoint
        head = sources.chain.get_head()
        now = self._parameters.get_at(head)
        has_rounds = now.rounds is not None
        slot = sources.chain.get_commitments(head).get(self._hotkey)
        commitment = None if slot is None else parse_commitment(slot)
        if commitment is not None and commitment.tag is not Tag.CHECKPOINT:
            commitment = None
        if has_rounds:  # the slot may name a child, or another trainer's checkpoint to begin with
            commitment, slot = None, None
        state = self._load(commitment)
        if state is not None:
            digest, window = state.checkpoint, state.window
        else:
            digest = genesis if commitment is None else commitment.digest
            window = compute_window(self._first.timing, head)
        if state is None and has_rounds:
            digest = get_in_force_at(sources.chain, now, head).digest
        parameters = self._parameters.get(window)
        own = state.steps if state is not None else 0 if has_rounds else None  # rounds count anew
        number = (
            state.number if state is not None else 0 if commitment is None else commitment.number
        )
        if number < parameters.start.number and not has_rounds:
            state, digest = None, parameters.start.checkpoint
        try:
            parent = open_checkpoint(sources.checkpoints, digest, parameters)
            steps = self.count_steps(parent, own, self._stores)
            returned = self._find_return(parent, state)
            restores = state is not None and state.learner
            learner = self._restore(parent, steps, returned) if restores else None
            learned = learner is not None
            learner = learner or self._make_learner(parent, steps, returned)
        except UnusableCheckpointError:
            raise
        except CheckpointError as error:
            return Trouble.from_error(error)
        if state is None and (window or slot is not None):
            self._report(
                f"{NAME}: starting with checkpoint {parent.manifest.number} "
                f"({digest.hex()[:16]}…) and window {window}"
            )
        announcement = self.make_announcement(parent)
        # genesis is in force without an announcement, but not where the slot names something else
        silent = has_rounds or slot == announcement.payload or (slot is None and digest == genesis)
        course = Course(
            window,
            parent,
            learner,
            learned,
            uploaded=False,
            announcement=None if silent else announcement,
            returned=returned,
        )
        self.save(course)
        return course

    def begin_anew(self, course: Course, parameters: Parameters) -> Trouble | None:
        """Continue from the checkpoint that an amendment names, which cannot use the ones before;
        or return why that is not possible yet. Raises as `begin` does."""
        digest = parameters.start.checkpoint
        try:
            parent = open_checkpoint(self._sources.checkpoints, digest, parameters)
            learner = self._make_learner(parent, course.learner.step, 0)
        except UnusableCheckpointError:
            raise
        except CheckpointError as error:
            return Trouble.from_error(error)
        self._report(
            f"{NAME}: from window {course.window} on with checkpoint {parent.manifest.number} "
            f"({digest.hex()[:16]}…), which the amended parameters name"
        )
        course.parent, course.learner = parent, learner
        course.learned = course.uploaded = False
        course.state, course.returned = None, 0
        course.announcement = self.make_announcement(parent)
        self.save(course)
        return None

    def give_up(self, course: Course, evidence: Measured, parameters: Parameters) -> ReturnRecord:
        """Give a course up: make the milestone the next checkpoint, with the learner's state behind
        it if that is here, and with new moments if not. Nothing is saved yet.

        Args:
            evidence: the counts that demand it.

        Raises:
            CheckpointError: the milestone is not here, and no store has it.
            OSError, SafetensorError: a file cannot be written.
        """
        checkpoints, parent = self._sources.checkpoints, course.parent
        milestone = open_checkpoint(checkpoints, evidence.milestone, parameters)
        number = parent.manifest.number + 1
        steps = self.count_steps(milestone, None, self._stores)
        restored = self._restore_milestone(milestone, milestone, steps, number)
        course.state = digest_tensors_of(restored.export_state())
        record = make_return_record(
            parameters, course.window, parent.manifest, milestone.manifest, course.state
        )
        made = checkpoints.publish_return(parent, milestone, record.digest, evidence)
        if self._config.steps is not None:
            keep_return(self._config.steps, record, made.digest)
        course.parent = open_checkpoint(checkpoints, made.digest, parameters)
        # factors may be added to the return's own tensors
        course.learner = self._restore_milestone(course.parent, milestone, steps, number)
        course.learned, course.uploaded, course.returned = True, False, number
        course.announcement = self.make_announcement(course.parent)
        return record

    def keep_milestone(self, course: Course, digest: bytes) -> None:
        """Keep the learner's state behind a checkpoint that becomes the milestone, if it is here:
        that of the newest checkpoint, or what a later step began with."""
        if self._folder is None:
            return
        state = self._folder.find_learner(digest) if course.learned else None
        steps = self._config.steps
        if state is None and steps is not None:
            for step in iterate_line(steps, course.parent.manifest):
                if step.record.parent == digest:
                    before = step.path.with_suffix(".before.safetensors")
                    state = before if before.exists() else None
                    break
        if state is None:
            self._report(
                f"{NAME}: the optimiser's state behind the new milestone is not kept: "
                "a return to it would begin with new moments"
            )
        else:
            self._folder.keep_milestone(digest, state)

    def _restore_milestone(
        self, parent: Checkpoint, milestone: Checkpoint, steps: int, returned: int
    ) -> Learner:
        learner = self._make_learner(parent, steps, returned)
        folder = self._folder
        state = None if folder is None else folder.find_milestone(milestone.digest)
        if state is None or not resume_learner(learner, state, parent):
            learner = self._make_learner(parent, steps, returned)
        return learner

    def _find_return(self, parent: Checkpoint, state: TrainerState | None) -> int:
        """The number of the newest return behind a checkpoint, as far as it matters: rollouts from
        before it are not learned from. 0: there is none."""
        if state is not None:
            return state.returned or 0
        manifest = parent.manifest
        for _ in range(self._config.staleness + 1):
            if manifest.course.outcome is Outcome.RETURN:
                return manifest.number
            if manifest.course.attempt <= 1 or manifest.step == ZERO_DIGEST:
                return 0
            manifest = self._sources.checkpoints.get_outline(manifest.parent).manifest
        return 0

    def save(self, course: Course, learner: bool = False) -> None:
        """Save the position, and the learner's state if asked to."""
        if self._folder is None:
            return
        state = TrainerState(
            self._first.digest,
            self._hotkey,
            course.window,
            course.parent.digest,
            course.parent.manifest.number,
            int(course.learned),
            course.learner.step,
            course.returned or None,
        )
        self._folder.save(state, course.learner if learner else None)

    def take_back(self, window: int, error: Exception) -> None:
        """Undo a lesson that cannot be saved: the folder's content is the truth. Raises
        TrainerError, unless the window is to blame, whose lesson nobody could use."""
        if self._folder is None:
            raise error
        state = self._folder.load(self._first.digest, self._hotkey)
        blamed = UnusableCheckpointError | LessonError | NumericalError
        if not isinstance(error, blamed) or state is None:
            raise TrainerError(f"the step of window {window} failed: {error}") from error
        self._report(f"{NAME}: window {window} is left out: {error}")
        self._folder.save(replace(state, window=window + 1))

    def upload(self, course: Course) -> None:
        """Upload the parent, and the step that made it, to the store, if there is one."""
        store, steps, parent = self._config.store, self._config.steps, course.parent
        if store is None or course.uploaded:
            return
        if steps is not None:
            for line in publish_step(store, steps, parent.manifest, self._config.publish_states):
                self._report(f"{NAME}: {line}")
        publish_checkpoint(store, parent.folder, parent.digest)
        course.uploaded = True

    def find_state(self, parent: Checkpoint) -> Path | None:
        """The file of the learner's state after a checkpoint."""
        return None if self._folder is None else self._folder.find_learner(parent.digest)

    def make_announcement(self, checkpoint: Checkpoint) -> Announcement:
        """The commitment to a checkpoint."""
        number, digest = checkpoint.manifest.number, checkpoint.digest
        commitment = Commitment(Tag.CHECKPOINT, number, 0, digest, self._config.locator)
        return self.announce(encode_commitment(commitment))

    def announce(self, payload: bytes) -> Announcement:
        """The announcement of a payload in the trainer's slot."""
        return Announcement(self._sources.chain, self._hotkey, payload)

    def open_rounds(self) -> RoundKeeper | None:
        """The trainer's part in rounds, or None if a requirement is missing."""
        config, sources = self._config, self._sources
        if config.store is None or config.steps is None or config.folder is None:
            return None

        def find_context(parameters: Parameters, window: int) -> Context | None:
            challenge = get_challenge(sources.chain, sources.beacons, parameters, window)
            if challenge is None:
                return None
            return get_context(sources.chain, sources.beacons, parameters, challenge)

        round_config = RoundConfig(
            config.folder / "rounds",
            config.store,
            config.locator,
            config.steps,
            config.publish_states,
            find_context,
            None if config.held_out is None else config.held_out.count,
            self.count_steps,
        )
        return RoundKeeper(
            self._hotkey,
            self._parameters,
            sources.chain,
            sources.checkpoints,
            sources.stores,
            round_config,
            lambda line: self._report(f"{NAME}: {line}"),
        )

    def advance(self, rounds: RoundKeeper, course: Course) -> NextThing:
        """Do what rounds ask for between two windows. Raises as `RoundKeeper.advance`."""
        command = rounds.advance(course)
        if isinstance(command, NextThing):
            return command
        if isinstance(command, ContinueFrom):
            course.learner.load_state(command.learner)
            course.parent, course.window = command.base, command.window
            course.learned = course.uploaded = True
            course.state = None
            self.save(course, learner=True)
        payload, before = command.payload, course.announcement
        if payload is not None and (before is None or before.payload != payload):
            course.announcement = self.announce(payload)
            return NextThing.GO_ON
        return NextThing.GO_ON if isinstance(command, ContinueFrom) else NextThing.WAIT

    def _load(self, commitment: Commitment | None) -> TrainerState | None:
        """The folder's state, unless the chain is ahead of it."""
        if self._folder is None:
            return None
        aside = self._folder.set_aside(self._first.digest, self._hotkey)
        if aside is not None:
            self._report(f"{NAME}: another network, so training starts anew: the old is in {aside}")
        state = self._folder.load(self._first.digest, self._hotkey)
        if state is None or commitment is None or commitment.number <= state.number:
            return state
        self._report(
            f"{NAME}: the chain has checkpoint {commitment.number} and the folder ends with "
            f"{state.number}: another trainer has continued in its place"
        )
        return None

    @property
    def _stores(self) -> list[ObjectStore]:
        return [] if self._config.store is None else [self._config.store]

    def count_steps(self, parent: Outline, own: int | None, stores: Sequence[ObjectStore]) -> int:
        """The steps behind a course that goes on with a checkpoint: as many as its step's record
        names, and no fewer than the trainer's own, if it has a count. With neither it is the
        checkpoint's number, which is no less."""
        number, config = parent.manifest.number, self._config
        made, course = None, parent.manifest.course
        if own is None and course.outcome is Outcome.RETURN:
            milestone = self._sources.checkpoints.get_outline(course.milestone)
            return self.count_steps(milestone, None, stores)
        if config.steps is not None and parent.manifest.step != ZERO_DIGEST:
            try:
                made = fetch_record(stores, parent.manifest, parent.manifest.digest, config.steps)
            except StepError as error:
                self._report(f"{NAME}: {error}")
        before = None if made is None else read_steps_before(made.record)
        if before is not None:
            return max(before + 1, own or 0)
        if own is not None:
            return own
        if number and config.learning.schedule.is_moving:
            self._report(
                f"{NAME}: no step record says how many steps are behind checkpoint {number}, so "
                f"the learning rate goes on as after {number:,}: correct that with schedule_begin"
            )
        return number

    def _make_learner(self, parent: Checkpoint, steps: int, returned: int) -> Learner:
        first = self._first.identity.genesis_checkpoint
        checkpoints, learning = self._sources.checkpoints, self._config.learning
        # behind a return another seed: the same groups would be taken in the same order
        learning = replace(learning, step=steps, seed=learning.seed + returned)
        get = partial(checkpoints.get, parameters=self._parameters.latest)
        kept, choice = self._config.steps, self._config.choice
        examples = [] if kept is None else read_examples(kept.folder, choice, parent, self._tell)
        self._has_told_examples = True
        return make_learner(parent, learning, lambda: get(first), get, examples)

    def _tell(self, line: str) -> None:
        if not self._has_told_examples:
            self._report(f"{NAME}: {line}")

    def _restore(self, parent: Checkpoint, steps: int, returned: int) -> Learner | None:
        """The learner as its last lesson left it, or None where that is lost."""
        learner = self._make_learner(parent, steps, returned)
        state = self.find_state(parent)
        if state is not None and resume_learner(learner, state, parent):
            return learner
        self._report(
            f"{NAME}: the optimiser's state after checkpoint {parent.manifest.number} is "
            "lost: continuing from its weights with fresh moments"
        )
        return None
