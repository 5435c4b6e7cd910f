"""How much memory a program will want for a model.

Rough on purpose: weights, caches and logits are counted, what the allocator adds is not.
"""

from assay.artifacts.checkpoints.checkpoint_folder import OPENED_MAX
from assay.inference.placing.devices import CPU
from assay.inference.placing.memory_plan import MemoryPlan, ModelShape
from assay.inference.placing.placement import Placement
from assay.protocol.parameters import Work
from assay.training import LOGITS_MAX, LearnConfig

#: Interpreter, torch, the SDK and what else a program takes with a tiny model, bytes: measured.
_PROGRAM_BYTES = 600 << 20
#: Bytes of a float, and floats a parameter that training adds: masters, gradient and AdamW's two
#: moments; with LoRA the masters, and the sum with the factors, which are small themselves.
_FLOAT, _TRAINED, _TRAINED_LORA = 4, 4, 2
#: Arrays of a chunk's logits that live at once on the way back.
_LOGIT_ARRAYS = 4
#: Bytes that a weight takes in a checkpoint's files.
_STORED = 2
#: Checkpoints that are open together where memory does not suffice for more: windows overlap.
_OPENED_MIN = 2
#: Prompts are taken to be as long, tokens.
_PROMPT = 256
#: Rows that a drafter decodes together.
_DRAFTED = 256


def estimate_memory(
    role: str,
    shape: ModelShape,
    work: Work,
    groups_per_step: int = 0,
    learning: LearnConfig | None = None,
    placement: Placement | None = None,
    cards: int = 1,
) -> int:
    """Bytes that a program takes at its height where its model runs.

    Args:
        groups_per_step: of a miner, generated together.
        learning: how a trainer learns; None for the others.
        placement: where and how the model runs; None: on the CPU, as the reference is defined.
        cards: of a trainer's team, over which what it trains is sharded, but for the embeddings
            and the head, which each card holds whole during a step: bytes of the first.
    """
    placement, plan = placement or Placement(), MemoryPlan()
    weights = placement.compute_weight_bytes(_STORED * shape.parameters)
    opened = OPENED_MAX if placement.has_room_for(OPENED_MAX * weights) else _OPENED_MIN
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
        floats += _LOGIT_ARRAYS * min(tokens * shape.vocabulary, LOGITS_MAX)
    program = _PROGRAM_BYTES if placement.device == CPU else 0
    return program + opened * weights + _FLOAT * floats


def count_parameters(placement: Placement, free: int) -> int:
    """Parameters of the largest model of which two checkpoints fit into what is free, bytes."""
    a_weight = placement.compute_weight_bytes(_STORED)
    return int(free * placement.memory_share) // (_OPENED_MIN * a_weight)


def count_rollouts(shape: ModelShape, work: Work, placement: Placement, free: int) -> int:
    """Rollouts of full length whose keys and values fit beside two checkpoints, at once."""
    weights = placement.compute_weight_bytes(_STORED * shape.parameters)
    left = int(free * placement.memory_share) - _OPENED_MIN * weights
    return max(0, left) // (_FLOAT * shape.cached * (_PROMPT + work.max_tokens))
