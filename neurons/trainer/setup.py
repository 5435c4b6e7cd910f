"""A trainer's configuration of learning and publishing, and its learner."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from assay.artifacts.steps.config import StepChoice, StepConfig
from assay.artifacts.steps.examples import keep_examples
from assay.artifacts.steps.folder import StepFolder
from assay.inference.checkpoint import Checkpoint
from assay.inference.model_loading import read_tensors
from assay.inference.placing.devices import MemoryLackError, explain_lack, is_out_of_memory
from assay.network.store.base import ObjectStore
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import GateRule
from assay.settings.learning import make_choice, make_learning
from assay.settings.sections import TrainerSettings
from assay.training import LearnConfig, Learner
from assay.training.held_out import HeldOut

#: States of steps that are kept where checkpoints are measured: those of the checkpoints that are
#: made, and not in force and measured yet.
GATE_STATES = 4


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """The configuration of a trainer: how it learns, and where it publishes."""

    learning: LearnConfig
    locator: str  # of the store with its checkpoints, as on chain
    #: where checkpoints are uploaded; None: readers share the trainer's model folder
    store: ObjectStore | None = None
    folder: Path | None = None  # for the state that it must not lose; None: it keeps none
    last_window: int | None = None  # the trainer stops after it; None: it has no end
    retry_s: float = 5.0  # seconds from trouble to the next attempt
    staleness: int = 8  # checkpoints that rollouts may be behind the one learned from; 0: none
    #: where step records go; None: nowhere, and consumed groups are not kept
    steps: StepFolder | None = None
    #: tries each checkpoint, which decides the levels of the next; None: levels stay
    held_out: HeldOut | None = None
    publish_states: bool = False  # upload each step's initial state, too
    choice: StepChoice = field(default_factory=StepChoice)  # by what groups are chosen
    #: where a gate's answers are uploaded, if there is no `store`; None: nowhere
    answers: ObjectStore | None = None

    @property
    def step(self) -> StepConfig:
        """All settings of a step."""
        return StepConfig(self.learning, self.choice)


def make_trainer_config(
    settings: TrainerSettings, locator: str, store: ObjectStore, held_out: HeldOut
) -> TrainerConfig:
    """The configuration of a trainer that keeps everything in its folder."""
    return TrainerConfig(
        make_learning(settings),
        locator,
        store,
        settings.dir / "course",
        staleness=settings.staleness if settings.sync == "async" else 0,
        steps=open_step_folder(settings.dir / "steps", settings),
        held_out=held_out,
        publish_states=settings.publish_states,
        choice=make_choice(settings),
    )


def keep_for_returns(config: TrainerConfig, parameters: ParameterHistory) -> TrainerConfig:
    """The configuration with as many states kept as a return needs: a checkpoint becomes the
    milestone some steps after it was made."""
    steps = config.steps
    if steps is None or all(one.gate.rule is GateRule.NONE for one in parameters.all):
        return config
    return replace(config, steps=replace(steps, kept=max(steps.kept, GATE_STATES)))


def open_step_folder(folder: Path, settings: TrainerSettings) -> StepFolder:
    """The folder of a trainer's steps, with the file that they imitate. Spare groups stay as long
    as a step may replay them, or a killed trainer that makes it again. Raises ProblemFileError,
    OSError: the file cannot be read or copied."""
    if settings.sft is not None:
        keep_examples(folder, settings.sft)
    spare = settings.replay_staleness + 1 if settings.replay_share else 0
    return StepFolder(folder, settings.steps_kept, spare)


def resume_learner(learner: Learner, state: Path, parent: Checkpoint) -> bool:
    """Restore the learner from a file of its state. Return whether that worked and the state
    belongs to the checkpoint. Raises OSError, MemoryLackError: it cannot be read at present."""
    try:
        learner.load_state(state)
    except (LookupError, RuntimeError, ValueError, SafetensorError) as error:
        if is_out_of_memory(error):
            what = "the learner's state"
            raise MemoryLackError(explain_lack(what, "cpu", str(error))) from None
        return False
    weights: dict[str, Tensor] = {}
    for file in parent.folder.glob("*.safetensors"):
        weights |= read_tensors(file)
    rounded = learner.bf16_state()
    return all(torch.equal(weight, weights[name]) for name, weight in rounded.items())
