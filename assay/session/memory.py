"""Estimates a program's memory for a model.

Rough on purpose: weights, caches and logits are counted, the allocator's overhead is not. Light:
`assay plan` uses it.
"""

from typing import TYPE_CHECKING, Protocol

from assay.inference.placing.model_sizes import LEARNED_LOGITS_MAX, MemoryPlan, ModelShape
from assay.protocol.parameters import Work

if TYPE_CHECKING:  # arithmetic should not load torch, which takes seconds
    from assay.inference.placement import Placement

#: Bytes of interpreter, torch, the SDK and the rest of a program with a tiny model: measured.
PROGRAM_BYTES = 600 << 20
#: Bytes of a child that runs programs, and those that a program can fill for each million of its
#: units: measured.
_CHILD, _FILLED = 48 << 20, 80 << 10
#: Bytes of a float, and floats for each parameter that training adds: masters, gradient and AdamW's
#: two moments; with LoRA the masters alone, since only the factors have the others.
_FLOAT, _TRAINED, _TRAINED_LORA = 4, 4, 1
#: Floats that `adamw8bit` saves for each 128 parameters: its two moments have a byte for each value
#: and a scale for 256.
_SAVED = 191
#: Bytes of a weight when a lesson is over: what is published, in bf16, and the model in fp32 whose
#: centre is measured.
_PUBLISHED = 2 + 4
#: Layers that are on a GPU at once if all weights are offloaded: FSDP2 fetches one ahead.
_LAYERS_GATHERED = 2
#: Arrays of a chunk's logits that exist at once in the backward pass.
_LOGIT_ARRAYS = 4
#: Floats for each token of a context that the mask of a block of attention takes
#: (`assay.inference.attention`, which loads torch): a byte and a float for each of its queries.
MASK_FLOATS = 5 * 512 // 4
#: Bytes of a weight in a checkpoint's files.
STORED = 2
#: Checkpoints that are open together if memory has no room for more: windows overlap.
OPENED_MIN = 2
#: Assumed length of the longest prompt, tokens, where nobody says it.
PROMPT = 256
#: Rows that a drafter decodes together, and states of recurrent layers that each has: a step's old
#: and new one, or what a follower marks.
_DRAFTED, _STATES = 256, 2


def estimate_sandbox(units: int, cores: int) -> int:
    """Most bytes of the children that run programs, one for each core, if all fill their memory.

    Args:
        units: millions that a program may take; 0: none is run.
    """
    return cores * (_CHILD + units * _FILLED) if units else 0


class Learning(Protocol):
    """The settings of a trainer's learning that memory depends on, as in settings and
    `LearnConfig`."""

    @property
    def lora_rank(self) -> int: ...
    @property
    def optimizer(self) -> str: ...
    @property
    def groups_per_batch(self) -> int: ...
    @property
    def tokens_per_pass(self) -> int: ...
    @property
    def recompute(self) -> bool: ...
    @property
    def offload(self) -> bool: ...


def estimate_memory(
    role: str,
    shape: ModelShape,
    work: Work,
    groups_per_step: int = 0,
    learning: Learning | None = None,
    placement: "Placement | None" = None,
    cards: int = 1,
) -> int:
    """Most bytes of a program on this machine.

    Args:
        groups_per_step, learning, cards: see `estimate_height`.
        placement: where and how the model runs; None: on the CPU, as the reference is defined.
    """
    from assay.artifacts.checkpoints.folder import count_opened
    from assay.inference.placement import Placement
    from assay.inference.placing.devices import CPU

    placement = placement or Placement()
    weights = placement.compute_weight_bytes(STORED * shape.parameters)
    opened = count_opened(weights, placement.device)
    if not placement.has_room_for(opened * weights):
        opened = OPENED_MIN
    program = PROGRAM_BYTES if placement.device == CPU else 0
    height = estimate_height(role, shape, work, groups_per_step, learning, cards)
    if learning is not None and placement.device == CPU:
        height += estimate_offloaded(shape, learning)
        if cards == 1:
            height = max(height, _estimate_publishing(shape, learning))
    return program + opened * weights + height


def estimate_height(
    role: str,
    shape: ModelShape,
    work: Work,
    groups_per_step: int = 0,
    learning: Learning | None = None,
    cards: int = 1,
    prompt: int = PROMPT,
) -> int:
    """Most bytes of a program on its device, besides interpreter and open checkpoints.

    A trainer has 16 bytes a weight there: masters, gradient and two moments; with `adamw8bit`
    10.03; `muon` has fewer moments, which is not counted; with LoRA 4, the masters, 4 more for a
    mixture's experts, whose sum with the factors stays for the gradients, and 16 bytes for each
    float of the factors beside experts: those beside other matrices are few. A team divides these
    by its GPUs. With `offload` none of them
    are there (`estimate_offloaded`). A team and `offload` alike hold embeddings and head whole from
    the forward pass to their gradients: 8 bytes for each of their weights, 4 with LoRA. `offload`
    adds as much for the weights of two layers, the one at its turn and the next, which is fetched
    meanwhile. Without it, a team's gathered layers are not counted.

    Args:
        groups_per_step: of a miner, generated together.
        learning: how a trainer learns; None for the others.
        cards: GPUs of a trainer's team, over which its weights are sharded, except for the
            embeddings and the head, which each GPU holds whole during a step. The result is for the
            first.
        prompt: tokens of the longest prompt.
    """
    plan = MemoryPlan()
    length = count_longest(work, prompt)
    prefilled = max(length, min(plan.tokens, work.group_size * length))  # a longer row goes alone
    floats = prefilled * shape.wide + MASK_FLOATS * length
    floats += 2 * min(plan.elements, prefilled * shape.vocabulary)
    if role == "miner":  # only what follows a draft keeps keys
        rows = min(_DRAFTED, groups_per_step * work.group_size)
        floats += prefilled * shape.cached
        floats += rows * (shape.count_kept(length) + _STATES * shape.state)
    if learning is not None:
        gathered = 0
        if learning.offload:
            gathered = shape.tables + _LAYERS_GATHERED * shape.block
        else:
            floats += _count_trained(shape, learning) // cards
            if cards > 1:  # FSDP2's root group stays whole from its forward pass to its gradients
                gathered = shape.tables
        floats += (1 if learning.lora_rank else 2) * gathered
        floats += _TRAINED * learning.lora_rank * shape.factors // cards
        batch = learning.groups_per_batch * work.group_size * length
        tokens = min(batch, max(learning.tokens_per_pass, length))
        floats += tokens * (shape.recomputed if learning.recompute else shape.kept)
        floats += _LOGIT_ARRAYS * min(tokens * shape.vocabulary, LEARNED_LOGITS_MAX)
    return _FLOAT * floats


def estimate_offloaded(shape: ModelShape, learning: Learning) -> int:
    """Bytes of host memory that `offload` takes, in all processes of a team together: 16 a weight,
    with LoRA 4, and 4 more for a mixture's experts, which would be on the GPUs otherwise; 0 without
    it."""
    return _FLOAT * _count_trained(shape, learning) if learning.offload else 0


def _estimate_publishing(shape: ModelShape, learning: Learning) -> int:
    """Bytes when a lesson is over: masters and moments, and what is published. Gradients and the
    lesson's states are gone."""
    kept = _TRAINED_LORA if learning.lora_rank else _TRAINED - 1
    saved = _count_saved(shape, learning)
    return (_FLOAT * kept + _PUBLISHED) * shape.parameters - _FLOAT * saved


def _count_trained(shape: ModelShape, learning: Learning) -> int:
    """Floats of all weights together."""
    if learning.lora_rank:
        return _TRAINED_LORA * shape.parameters + shape.stacked
    return _TRAINED * shape.parameters - _count_saved(shape, learning)


def _count_saved(shape: ModelShape, learning: Learning) -> int:
    """Floats of moments of all weights that 8 bits save."""
    is_coded = learning.optimizer == "adamw8bit" and not learning.lora_rank
    return _SAVED * shape.parameters // 128 if is_coded else 0


def count_parameters(placement: "Placement", free: int) -> int:
    """Parameters of the largest model of which two checkpoints fit into `free` bytes."""
    a_weight = placement.compute_weight_bytes(STORED)
    return int(free * placement.memory_share) // (OPENED_MIN * a_weight)


def count_rollouts(shape: ModelShape, work: Work, placement: "Placement", free: int) -> int:
    """Rollouts of full length whose keys and values fit at once beside two checkpoints."""
    weights = placement.compute_weight_bytes(STORED * shape.parameters)
    left = int(free * placement.memory_share) - OPENED_MIN * weights
    return max(0, left) // (_FLOAT * shape.count_kept(count_longest(work, PROMPT)))


def count_longest(work: Work, prompt: int) -> int:
    """Tokens of the longest rollout with its prompt, and with the replies between its turns."""
    return max(work.context, prompt + work.max_tokens)
