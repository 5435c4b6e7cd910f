"""A trainer's configuration of learning and publishing, and its learner."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from assay.artifacts.checkpoints.adapter import ADAPTER_PATH, make_tensors, read_adapter
from assay.artifacts.steps.examples import keep_examples, read_examples
from assay.artifacts.steps.folder import StepFolder
from assay.inference import Checkpoint, CheckpointError, read_tensors
from assay.inference.folder import digest_tensors
from assay.inference.low_rank import Factors
from assay.inference.placing.devices import MemoryLackError, explain_lack, is_out_of_memory
from assay.network import ObjectStore
from assay.neurons.settings.learning import make_learning
from assay.neurons.settings.sections import TrainerSettings
from assay.protocol.encoding import EncodingError
from assay.training import LearnConfig, Learner
from assay.training.held_out import HeldOut
from assay.training.sharding import is_in_team
from assay.training.team import make_shared


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
    )


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


def make_learner(
    parent: Checkpoint,
    learning: LearnConfig,
    get_first: Callable[[], Checkpoint],
    get_base: Callable[[bytes], Checkpoint] | None = None,
    steps: Path | None = None,
) -> Learner:
    """A learner that begins with a checkpoint's weights and no moments, and learns on the device
    where the checkpoint is.

    Args:
        get_first: gives the network's first checkpoint, if the divergence is measured from it.
        get_base: gives a checkpoint. With LoRA the factors of the parent's adapter are continued
            beside its base's weights. None: new factors begin beside the parent's.
        steps: folder of steps, with the file of examples if the settings name one.

    Raises:
        CheckpointError: one of these cannot be had, or the adapter is of another rank.
        StepError: the file of examples is not there, or has nothing to imitate.
    """
    never_drawn = np.flatnonzero(~parent.tokenizer.drawable).tolist()
    # left out as the reference leaves them out
    config = replace(learning, excluded=tuple(never_drawn))
    wanted = config.from_genesis and config.loss.kl_weight
    reference = get_first() if wanted else None
    device = parent.models.placement.device
    base, factors = parent, None
    if config.lora_rank and get_base is not None:
        base, factors = _find_factors(parent, config.lora_rank, get_base)
    if is_in_team():
        first = None if reference is None else reference.folder
        adapter = None if factors is None else parent.folder / ADAPTER_PATH
        learner = make_shared(base.folder, config, first, device, factors=adapter)
    else:
        plain = None if reference is None else reference.load_plain()
        learner = Learner(base.load_trainable(), config, plain, device)
        if factors is not None:
            learner.take_factors(factors)
    learner.base = base.digest
    if config.sft_weight and steps is not None:
        learner.examples = read_examples(steps, config.sft_sha256, parent)
    return learner


def _find_factors(
    parent: Checkpoint, rank: int, get_base: Callable[[bytes], Checkpoint]
) -> tuple[Checkpoint, Mapping[str, Factors] | None]:
    """The base and the factors of a checkpoint's adapter. Without one that makes its tensors: the
    checkpoint itself, and None."""
    try:
        adapter = read_adapter(parent.folder, parent.manifest)
        if adapter is None:
            return parent, None
        base, tensors = get_base(adapter.base), digest_tensors(parent.folder)
        if len(make_tensors(adapter, base.folder, tensors)) != len(tensors):
            return parent, None
    except EncodingError:
        return parent, None
    ranks = {factors.left.shape[-1] for factors in adapter.factors.values()}
    if ranks != {rank}:
        raise CheckpointError(
            f"the factors of checkpoint {parent.manifest.number} have rank {max(ranks)}: set "
            f"lora_rank = {max(ranks)} under [trainer], or 0"
        )
    return base, adapter.factors
