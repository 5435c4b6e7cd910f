"""A learner of a checkpoint: what a trainer learns with, and whoever repeats its step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from assay.artifacts.checkpoints.adapter import ADAPTER_PATH, make_tensors, read_adapter
from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import CheckpointError, digest_tensors
from assay.inference.low_rank import Factors
from assay.protocol.encoding import EncodingError
from assay.training import LearnConfig, Learner
from assay.training.imitation import Example
from assay.training.sharding import is_in_team
from assay.training.team import make_shared


def make_learner(
    parent: Checkpoint,
    learning: LearnConfig,
    get_first: Callable[[], Checkpoint],
    get_base: Callable[[bytes], Checkpoint] | None = None,
    examples: Sequence[Example] = (),
) -> Learner:
    """A learner that begins with a checkpoint's weights and no moments, and learns on the device
    where the checkpoint is.

    Args:
        get_first: gives the network's first checkpoint, if the divergence is measured from it.
        get_base: gives a checkpoint. With LoRA the factors of the parent's adapter are continued
            beside its base's weights. None: new factors begin beside the parent's.
        examples: to imitate beside groups, all that there are.

    Raises:
        CheckpointError: one of these cannot be had, or the adapter is of another rank.
    """
    never_drawn = np.flatnonzero(~parent.tokenizer.drawable).tolist()
    # left out as the reference leaves them out
    config = replace(learning, excluded=tuple(never_drawn))
    reference = get_first() if config.wants_reference else None
    device = parent.models.placement.device
    base, factors = parent, None
    if config.lora_rank and get_base is not None:
        base, factors = _find_factors(parent, config.lora_rank, get_base)
    if is_in_team():
        first = None if reference is None else reference.folder
        adapter = None if factors is None else parent.folder / ADAPTER_PATH
        learner = make_shared(
            base.folder, config, first, device, factors=adapter, examples=examples, base=base.digest
        )
    else:
        plain = None if reference is None else reference.load_plain()
        learner = Learner(base.load_trainable(), config, plain, device, examples, base.digest)
        if factors is not None:
            learner.take_factors(factors)
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
