"""Tensors, from a source's names and types to one safetensors file in bf16, a part at a time.

Memory never holds more than a part of one tensor, so that a folder larger than memory is adopted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from assay.inference.folder import CheckpointError, make_header
from assay.subnet.adoption.notes import Notes, name_some

#: Weights that are read together.
PART = 1 << 20
#: Types that are converted to bf16 by rounding; bf16 stays.
ROUNDED = ("F16", "F32", "F64")
#: Wrappers of trainers in names of tensors, and prefixes that stand before all names.
_WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
_PREFIXES = ("module.", "base_model.model.", "pretrained_model.")
#: Tensors of other parts of a model that also sees or hears, and of its heads for training.
_OTHER_PARTS = (
    *("vision_tower.", "vision_model.", "visual.", "vision_embed", "multi_modal_projector."),
    *("audio_tower.", "embed_audio.", "embed_vision.", "patch_merger."),
)
_PREDICTING = ("mtp.", "v_head.")
_LAYERS = "model.layers."
#: Buffers that older libraries stored: they are computed from the config.
_BUFFERS = ("rotary_emb.inv_freq", "attn.masked_bias")


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor that will be written.

    Attributes:
        dtype: its source's, in safetensors' spelling.
        read: its rows [start, stop), in any type of numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[int, int], Tensor]

    @property
    def numbers(self) -> int:
        return prod(self.shape)

    def read_all(self) -> Tensor:
        """All of it, for a small one."""
        return self.read(0, self.shape[0] if self.shape else 1)

    def iterate(self) -> Iterator[Tensor]:
        """Its rows in order, a part at a time."""
        rows = self.shape[0] if self.shape else 1
        step = max(1, PART // max(1, prod(self.shape[1:])))
        for start in range(0, rows, step):
            yield self.read(start, min(rows, start + step))


@dataclass(slots=True)
class _Change:
    """How much rounding to bf16 has changed so far."""

    largest: float = 0.0
    where: str = ""


def plan_tensors(
    stored: Mapping[str, PlannedTensor], sees: bool, drafting: range, notes: Notes
) -> dict[str, PlannedTensor]:
    """The tensors of the language model under the names that its family has.

    Args:
        sees: whether the model has other parts, which are left.
        drafting: the numbers of layers that only draft further tokens, and are left.

    Raises:
        CheckpointError: two tensors would have one name.
    """
    planned: dict[str, PlannedTensor] = {}
    buffers, predicting, renamed = [], [], []
    for old, tensor in stored.items():
        name = _rename(old, sees)
        if name.endswith(_BUFFERS):
            buffers.append(old)
        elif name.startswith(_PREDICTING) or _find_layer(name) in drafting:
            predicting.append(old)
        elif not (sees and name.removeprefix("model.").startswith(_OTHER_PARTS)):
            if name in planned:
                raise CheckpointError(f"{old} is a second {name}: remove the one too many")
            if name != old:
                renamed.append(old)
            planned[name] = replace(tensor, name=name)
    if planned and not any(name.startswith(("model.", "lm_head.")) for name in planned):
        renamed = list(planned)
        planned = {
            f"model.{name}": replace(one, name=f"model.{name}") for name, one in planned.items()
        }
    if buffers:
        notes.dropped.append(f"{name_some(buffers)}: computed from config.json")
    if predicting:
        notes.dropped.append(f"{name_some(predicting)}: draft further tokens, or value an answer")
    if renamed:
        notes.converted.append(f"names of {len(renamed)} tensors, such as {renamed[0]}")
    return planned


def _find_layer(name: str) -> int | None:
    """The number of a tensor's layer."""
    number = name.removeprefix(_LAYERS).partition(".")[0]
    return int(number) if name.startswith(_LAYERS) and number.isdecimal() else None


def _rename(name: str, sees: bool) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if sees:
        if name.startswith("language_model."):
            name = name.removeprefix("language_model.")
        elif name.startswith("model.language_model."):
            name = "model." + name.removeprefix("model.language_model.")
    return name


def require_numbers(planned: Mapping[str, PlannedTensor]) -> None:
    """Raise a CheckpointError where a tensor has a type that is no number of a model."""
    for name, tensor in planned.items():
        if tensor.dtype not in (*ROUNDED, "BF16"):
            raise CheckpointError(
                f"{name} is stored in {tensor.dtype}, and config.json does not say how to read it: "
                "adopt the model in bf16 that it was made from"
            )


def is_same(one: PlannedTensor, other: PlannedTensor) -> bool:
    """Return whether two tensors have the same numbers."""
    if one.shape != other.shape:
        return False
    return all(
        torch.equal(a.to(torch.bfloat16), b.to(torch.bfloat16))
        for a, b in zip(one.iterate(), other.iterate(), strict=True)
    )


def count_bytes(planned: Sequence[PlannedTensor]) -> int:
    """Bytes of the tensors in bf16."""
    return 2 * sum(tensor.numbers for tensor in planned)


def write_tensors(
    path: Path, planned: Sequence[PlannedTensor], notes: Notes, progress: Callable[[int, int], None]
) -> None:
    """Write all tensors in bf16.

    Args:
        progress: called with the bytes done so far, and all.

    Raises:
        CheckpointError: a weight is not finite, or has no finite bf16.
        OSError: the disk.
    """
    done, total, change = 0, count_bytes(planned), _Change()
    with path.open("wb") as file:
        file.write(_make_header(planned))
        for tensor in planned:
            end = done + 2 * tensor.numbers
            for part in tensor.iterate():
                rounded = _round(tensor, part, change)
                file.write(rounded.contiguous().view(torch.int16).numpy().data)
                done += 2 * rounded.numel()
                progress(done, total)
            if done != end:
                raise CheckpointError(f"{tensor.name} has not the {tensor.numbers} numbers it says")
    kinds = sorted({tensor.dtype for tensor in planned} - {"BF16"})
    if kinds:
        count = sum(tensor.dtype in kinds for tensor in planned)
        notes.converted.append(
            f"{count} tensors from {' and '.join(kinds)} to BF16: largest relative change "
            f"{change.largest:.2g}" + (f", in {change.where}" if change.where else "")
        )


def _make_header(planned: Sequence[PlannedTensor]) -> bytes:
    return make_header((t.name, "BF16", t.shape, 2 * t.numbers) for t in planned)


def _round(tensor: PlannedTensor, part: Tensor, change: _Change) -> Tensor:
    """A part in bf16."""
    rounded = part.to(torch.bfloat16)
    if not bool(torch.isfinite(rounded).all()):
        lost = bool(torch.isfinite(part.float()).all())
        raise CheckpointError(
            f"{tensor.name} has a weight that "
            + ("is too large for bf16" if lost else "is not a finite number")
            + ": this model cannot be used"
        )
    if tensor.dtype == "BF16":
        return rounded
    exact = part.double()
    relative = ((rounded.double() - exact) / exact).abs()
    largest = float(relative.where(exact != 0, 0.0).max()) if part.numel() else 0.0
    if largest > change.largest:
        change.largest, change.where = largest, tensor.name
    return rounded
