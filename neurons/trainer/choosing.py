"""What a trainer's step takes: the plan of its groups, from its folder of steps and a window.

`assay.artifacts.steps.plan` derives it, for the trainer and for whoever repeats the step. Here its
inputs are read, and a person is told where proposals are learned from too late or never.
"""

from dataclasses import replace

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepChoice
from assay.artifacts.steps.delay import Line, Tally, name_choice, read_line
from assay.artifacts.steps.file import DELAY_MAX
from assay.artifacts.steps.folder import StepError, parse_config
from assay.artifacts.steps.plan import StepInputs, StepPlan, plan_step
from assay.artifacts.steps.pool import DrawnBy
from assay.artifacts.steps.replay import EarlierStep, iterate_line, read_earlier
from assay.environments.registry import get_pool_cap
from assay.inference.checkpoint import Checkpoint
from assay.neurons.trainer.folder import TrainerError
from assay.neurons.trainer.lessons import WindowReading
from assay.neurons.trainer.setup import TrainerConfig
from assay.protocol.parameters import Parameters
from assay.sandbox import WorkerError


class StepChooser:
    """Plans a trainer's steps. It keeps the tries of proposals that it has counted."""

    def __init__(self, config: TrainerConfig, checkpoints: CheckpointFolder) -> None:
        self._config = config
        self._checkpoints = checkpoints
        self._tally: Tally | None = None

    def choose(self, parent: Checkpoint, reading: WindowReading) -> StepPlan:
        """What the step behind a checkpoint takes of a window whose files are judged. In a round
        nothing is left to choose, and levels stay.

        Raises:
            TrainerError: an earlier step is missing, or cannot be read.
            CheckpointError, WorkerError: as `plan_step`.
        """
        config, context, parameters = self._config, reading.context, reading.context.parameters
        given = parent, context.window, context.audit_seed
        if reading.is_in_round:
            step = replace(config.step, choice=StepChoice())
            return plan_step(
                StepInputs(*given, step, reading.groups), self._get_tally(parameters, parent)
            )
        held_out = config.held_out
        counts = () if held_out is None else held_out.count(parent, context.window)
        inputs = StepInputs(
            *given,
            config.step,
            reading.groups,
            self._read_earlier(parent, parameters),
            self.read_line(parent, parameters),
            counts,
        )
        return plan_step(inputs, self._get_tally(parameters, parent))

    def _get_tally(self, parameters: Parameters, parent: Checkpoint) -> Tally:
        """The counts of the steps before, for the step that begins with this checkpoint."""
        drawn = DrawnBy(parameters, parent, self._checkpoints)
        if self._tally is None or self._tally.parameters != parameters:
            self._tally = Tally(parameters, drawn)
        self._tally.drawn = drawn
        return self._tally

    def _read_earlier(self, parent: Checkpoint, parameters: Parameters) -> list[EarlierStep]:
        """The steps whose groups this one may replay."""
        choice, steps = self._config.choice, self._config.steps
        if not choice.replay_share or steps is None:
            return []
        count, trainer = choice.replay_staleness, parameters.identity.trainer
        try:
            return read_earlier(steps, parent.manifest, parameters.digest, count, trainer)
        except WorkerError as error:
            raise TrainerError(f"groups to replay cannot be read: {error}") from None

    def read_line(self, parent: Checkpoint, parameters: Parameters) -> Line | None:
        """The steps whose proposals the step behind this checkpoint may learn from; None: it learns
        from none late. Raises TrainerError: one is missing."""
        config, steps = self._config.step, self._config.steps
        if not config.choice.proposal_tries or steps is None:
            return None
        line = read_line(steps, parent.manifest, parameters, config)
        if line.missing is not None:
            reason = line.reason or f"step {line.missing} is not in {steps.folder}"
            raise TrainerError(
                f"{reason}; proposals that it consumed may be due now. Copy the records and "
                f"Parquet files of the last {DELAY_MAX} steps into {steps.folder}, or make one "
                "step with proposal_tries = 0, which gives up what waits"
            )
        return line

    def find_remarks(self, parent: Checkpoint, reading: WindowReading) -> list[str]:
        """Lines about proposals, for a person."""
        if get_pool_cap(reading.context.parameters.environment) is None:
            return []
        return [*self._find_lateness(parent, reading), *self._find_given_up(parent)]

    def _find_lateness(self, parent: Checkpoint, reading: WindowReading) -> list[str]:
        """A line where rollouts are so late that no proposal can be due in time: it is consumed so
        many checkpoints after it was drawn, and what it asks as many after that."""
        if not self._config.choice.proposal_tries or reading.number is None:
            return []
        behind, most = parent.manifest.number - reading.number, (DELAY_MAX - 2) // 2
        if behind <= most:
            return []
        return [
            f"rollouts are {behind} checkpoints behind, and with more than {most} no proposal is "
            "sampled in time to be learned from (proposal_tries)"
        ]

    def _find_given_up(self, parent: Checkpoint) -> list[str]:
        """A line where proposals waited up to now, and wait no more by other settings."""
        steps, config = self._config.steps, self._config.step
        newest = None if steps is None else next(iterate_line(steps, parent.manifest), None)
        if newest is None:
            return []
        try:
            before = parse_config(newest.record)
        except StepError:  # of another version
            return []
        was, now = before.choice, config.choice
        if not was.proposal_tries or name_choice(before) == name_choice(config):
            return []
        return [
            "proposals that waited for samples are given up by other settings: proposal_tries "
            f"was {was.proposal_tries} and is {now.proposal_tries}, external_groups was "
            f"{was.external_groups} and is {now.external_groups}"
        ]
