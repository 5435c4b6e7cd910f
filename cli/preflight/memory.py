"""How much memory a program will want for a model, and how much this machine has left.

Rough on purpose: weights, caches and logits are counted, what the allocator adds is not. Programs
run the model on the processor; memory of a GPU is another matter.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.artifacts.checkpoints.checkpoint_folder import OPENED_MAX
from assay.inference import Checkpoint
from assay.inference.reading import BATCH_TOKENS_MAX
from assay.inference.reference import LOGIT_ELEMENTS_MAX
from assay.protocol.parameters import Work
from assay.training import LearnConfig

#: Interpreter, torch, the SDK and what else a program takes with a tiny model, bytes: measured.
_PROGRAM_BYTES = 600 << 20
#: Bytes of a float, and floats a parameter that training adds: masters, gradient and AdamW's two
#: moments, with masters and moments copied for the step's record before it and after; with LoRA the
#: masters, both copies, and the sum with the factors, which are small themselves.
_FLOAT, _TRAINED, _TRAINED_LORA = 4, 10, 4
#: Prompts are taken to be as long, tokens.
_PROMPT = 256
#: Rows that a drafter decodes together.
_DRAFTED = 256


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model's size."""

    parameters: int  # all of them
    cached: int  # floats a token that keys and values take
    wide: int  # floats a token that the widest layer holds at once
    kept: int  # floats a token that all layers keep for gradients
    vocabulary: int  # ids


def measure_shape(checkpoint: Checkpoint) -> ModelShape:
    """The size of a checkpoint's model."""
    config: Any = checkpoint.model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return ModelShape(
        parameters=sum(tensor.numel() for tensor in checkpoint.model.parameters()),
        cached=2 * config.num_hidden_layers * config.num_key_value_heads * head,
        wide=3 * config.intermediate_size + 4 * config.hidden_size,
        kept=config.num_hidden_layers * (4 * config.intermediate_size + 14 * config.hidden_size),
        vocabulary=config.vocab_size,
    )


def estimate_memory(
    role: str,
    shape: ModelShape,
    work: Work,
    groups_per_step: int = 0,
    learning: LearnConfig | None = None,
) -> int:
    """Bytes that a program takes at its height.

    Args:
        groups_per_step: of a miner, generated together.
        learning: how a trainer learns; None for the others.
    """
    models = OPENED_MAX
    if learning is not None:
        models += _TRAINED_LORA if learning.lora_rank else _TRAINED
    length = _PROMPT + work.max_tokens
    prefilled = min(BATCH_TOKENS_MAX, work.group_size * length)
    logits = 2 * min(LOGIT_ELEMENTS_MAX, prefilled * shape.vocabulary)
    floats = models * shape.parameters + prefilled * (shape.cached + shape.wide) + logits
    if role == "miner":
        floats += min(_DRAFTED, groups_per_step * work.group_size) * length * shape.cached
    if learning is not None:
        rows = learning.groups_per_batch * work.group_size
        if learning.rows_per_pass:
            rows = min(rows, learning.rows_per_pass)
        floats += rows * length * (shape.kept + 3 * shape.vocabulary)
    return _PROGRAM_BYTES + _FLOAT * floats


def get_available_memory() -> int | None:
    """Bytes that a new program may take here, by the machine's and the container's word; None where
    neither says."""
    found = [_read_machine(Path("/proc/meminfo")), _read_container(Path("/sys/fs/cgroup"))]
    known = [amount for amount in found if amount is not None]
    return min(known, default=None)


def _read_machine(file: Path) -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in file.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


def _read_container(folder: Path) -> int | None:
    """What a control group (version 2) has left; files in its cache would be given back."""
    try:
        limit = int((folder / "memory.max").read_text())  # "max" is no number: no limit
        fields = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = {name: int(value) for name, value in fields}.get("inactive_file", 0)
        return max(0, limit - int((folder / "memory.current").read_text()) + cached)
    except (OSError, ValueError):
        return None
