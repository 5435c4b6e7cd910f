"""How much memory a program will want for a model.

Rough on purpose: weights, caches and logits are counted, what the allocator adds is not. Light:
`assay plan` reads it.
"""

from typing import TYPE_CHECKING, Protocol

from assay.inference.placing.model_sizes import LEARNED_LOGITS_MAX, MemoryPlan, ModelShape
from assay.protocol.parameters import Work

if TYPE_CHECKING:  # torch, which takes seconds, is not loaded for arithmetic
    from assay.inference.placing.placement import Placement

#: Interpreter, torch, the SDK and what else a program takes with a tiny model, bytes: measured.
PROGRAM_BYTES = 600 << 20
#: Bytes of a float, and floats a parameter that training adds: masters, gradient and AdamW's two
#: moments; with LoRA the masters, and the sum with the factors, which are small themselves.
_FLOAT, _TRAINED, _TRAINED_LORA = 4, 4, 2
#: Arrays of a chunk's logits that live at once on the way back.
_LOGIT_ARRAYS = 4
#: Bytes that a weight takes in a checkpoint's files.
STORED = 2
#: Checkpoints that are open together where memory does not suffice for more: windows overlap.
OPENED_MIN = 2
#: Prompts are taken to be as long, tokens.
_PROMPT = 256
#: Rows that a drafter decodes together.
_DRAFTED = 256


class Learning(Protocol):
    """What memory depends on of how a trainer learns, as settings and `LearnConfig` say it."""

    @property
    def lora_rank(self) -> int: ...
    @property
    def groups_per_batch(self) -> int: ...
    @property
    def tokens_per_pass(self) -> int: ...
    @property
    def recompute(self) -> bool: ...


def estimate_memory(
    role: str,
    shape: ModelShape,
    work: Work,
    groups_per_step: int = 0,
    learning: Learning | None = None,
    placement: "Placement | None" = None,
    cards: int = 1,
) -> int:
    """Bytes that a program takes at its height on this machine.

    Args:
        groups_per_step, learning, cards: see `estimate_height`.
        placement: where and how the model runs; None: on the CPU, as the reference is defined.
    """
    from assay.artifacts.checkpoints.checkpoint_folder import OPENED_MAX
    from assay.inference.placing.devices import CPU
    from assay.inference.placing.placement import Placement

    placement = placement or Placement()
    weights = placement.compute_weight_bytes(STORED * shape.parameters)
    opened = OPENED_MAX if placement.has_room_for(OPENED_MAX * weights) else OPENED_MIN
    program = PROGRAM_BYTES if placement.device == CPU else 0
    height = estimate_height(role, shape, work, groups_per_step, learning, cards)
    return program + opened * weights + height


def estimate_height(
    role: str,
    shape: ModelShape,
    work: Work,
    groups_per_step: int = 0,
    learning: Learning | None = None,
    cards: int = 1,
) -> int:
    """Bytes that a program takes at its height beside interpreter and open checkpoints.

    Args:
        groups_per_step: of a miner, generated together.
        learning: how a trainer learns; None for the others.
        cards: of a trainer's team, over which what it trains is sharded, but for the embeddings
            and the head, which each card holds whole during a step: bytes of the first.
    """
    plan = MemoryPlan()
    length = _PROMPT + work.max_tokens
    prefilled = min(plan.tokens, work.group_size * length)
    floats = prefilled * (shape.cached + shape.wide)
    floats += 2 * min(plan.elements, prefilled * shape.vocabulary)
    if role == "miner":
        floats += min(_DRAFTED, groups_per_step * work.group_size) * length * shape.cached
    if learning is not None:
        trained = _TRAINED_LORA if learning.lora_rank else _TRAINED
        floats += trained * shape.parameters // cards
        if cards > 1:  # FSDP2's root group stays whole from the way there to its gradients
            floats += (1 if learning.lora_rank else 2) * shape.tables
        batch = learning.groups_per_batch * work.group_size * length
        tokens = min(batch, max(learning.tokens_per_pass, length))
        floats += tokens * (shape.recomputed if learning.recompute else shape.kept)
        floats += _LOGIT_ARRAYS * min(tokens * shape.vocabulary, LEARNED_LOGITS_MAX)
    return _FLOAT * floats


def count_parameters(placement: "Placement", free: int) -> int:
    """Parameters of the largest model of which two checkpoints fit into what is free, bytes."""
    a_weight = placement.compute_weight_bytes(STORED)
    return int(free * placement.memory_share) // (OPENED_MIN * a_weight)


def count_rollouts(shape: ModelShape, work: Work, placement: "Placement", free: int) -> int:
    """Rollouts of full length whose keys and values fit beside two checkpoints, at once."""
    weights = placement.compute_weight_bytes(STORED * shape.parameters)
    left = int(free * placement.memory_share) - OPENED_MIN * weights
    return max(0, left) // (_FLOAT * shape.cached * (_PROMPT + work.max_tokens))
