"""A LoRA adapter, merged into its base a part of a matrix at a time.

peft's folders are merged in fp32, as W + factor · B A; a file of Assay's own to the bit, as the
specification says (section 7).
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assay.inference.folder import CheckpointError
from assay.inference.low_rank import Factors, decode_adapter, decode_made, merge
from assay.protocol.encoding import EncodingError, Json
from assay.protocol.manifest import FILES_BYTES_MAX
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.source import (
    ADAPTER,
    ADAPTER_CONFIG,
    StoredTensor,
    open_file,
    read_source_file,
    read_source_json,
)
from assay.subnet.adoption.weights import PlannedTensor

_PREFIX = "base_model.model."
#: Names of the two factors: of matrices, and of embeddings, which are stored transposed.
_FACTORS = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.default)?(?:\.weight)?")
_SAVED = re.compile(r"\.(?:modules_to_save|base_layer)(?:\.default)?\.")
#: Settings that make an adapter something else than W + factor · B A, at the value that does not.
_PLAIN: Mapping[str, tuple[Json, ...]] = {
    "alora_invocation_tokens": (None,),
    "bias": (None, "none"),
    "fan_in_fan_out": (None, False),
    # all others have changed the base before the first step
    "init_lora_weights": (None, True, False, "gaussian", "orthogonal", "eva"),
    "layer_replication": (None,),
    "lora_bias": (None, False),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "use_dora": (None, False),
    "use_qalora": (None, False),
}
#: Settings of training, and those that say which modules have factors: the file has them.
_KNOWN = frozenset(
    {*_PLAIN, "alpha_pattern", "arrow_config", "auto_mapping", "base_model_name_or_path"}
    | {"corda_config", "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode"}
    | {"layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout"}
    | {"megatron_config", "megatron_core", "modules_to_save", "peft_type", "peft_version"}
    | {"qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules"}
    | {"task_type", "use_rslora"}
)


@dataclass(slots=True)
class _Factors:
    """The two factors of one matrix."""

    a: StoredTensor | None = None
    b: StoredTensor | None = None
    embedding: bool = False


def merge_adapter(
    folder: Path, planned: Mapping[str, PlannedTensor], notes: Notes, opened: ExitStack
) -> dict[str, PlannedTensor]:
    """A base's tensors with an adapter in them.

    Args:
        folder: of the adapter, in peft's format.
        planned: the base's tensors.

    Raises:
        CheckpointError: the folder is no LoRA adapter that can be merged exactly, or names modules
            that the base lacks.
    """
    config = read_source_json(folder, ADAPTER_CONFIG)
    if config is None:
        raise CheckpointError(f"{folder} has no {ADAPTER_CONFIG}: --base is for an adapter's base")
    _require_plain(folder, config)
    factors, saved = _sort(folder, open_file(folder / ADAPTER, opened))
    merged = dict(planned)
    for name, tensor in saved.items():
        if name not in planned or planned[name].shape != tensor.shape:
            raise CheckpointError(f"{folder / ADAPTER} has {name}, which the base lacks or differs")
        merged[name] = PlannedTensor(name, tensor.shape, tensor.dtype, tensor.read)
    for name, pair in factors.items():
        if name not in planned:
            raise CheckpointError(
                f"{folder / ADAPTER} is for {name}, which the base lacks: name its own base"
            )
        merged[name] = _add(merged[name], pair, config)
    notes.converted.append(
        f"the adapter is merged into {len(factors)} matrices, in fp32"
        + (f"; in place of the base's: {name_some(sorted(saved))}" if saved else "")
    )
    base_name = config.get("base_model_name_or_path")
    if isinstance(base_name, str):
        notes.guessed.append(f"--base is {base_name[:200]}, for which the adapter was trained")
    return merged


def is_own_adapter(source: Path) -> bool:
    """Return whether a source is one file of tensors: no model, but an adapter of Assay's."""
    return source.is_file() and source.suffix == ".safetensors"


def merge_own_adapter(
    file: Path, planned: Mapping[str, PlannedTensor], notes: Notes
) -> tuple[dict[str, PlannedTensor], bytes | None]:
    """A base's tensors with an adapter of Assay's in them, and the root over the result that the
    file names.

    Args:
        planned: the base's tensors.

    Raises:
        CheckpointError: the file is no such adapter, or is for matrices that the base lacks.
    """
    data = read_source_file(file.parent, file.name, FILES_BYTES_MAX)
    try:
        adapter, made = decode_adapter(data or b""), decode_made(data or b"")
    except EncodingError as error:
        raise CheckpointError(f"{file} is no adapter of Assay's: it {error}") from None
    merged = dict(planned)
    for name, factors in adapter.factors.items():
        if name not in planned or planned[name].shape != factors.shape:
            raise CheckpointError(
                f"{file} is for {name} of the shape {list(factors.shape)}, which the base lacks: "
                "name its own base"
            )
        merged[name] = _add_factors(planned[name], factors)
    notes.converted.append(f"the adapter is merged into {len(adapter.factors)} matrices")
    if made is None:
        notes.guessed.append("--base is the model for which the adapter was trained")
    return merged, made


def _add_factors(base: PlannedTensor, factors: Factors) -> PlannedTensor:
    def read(start: int, stop: int) -> Tensor:
        right = factors.right if len(base.shape) == 2 else factors.right[start:stop]
        part = Factors(factors.left[start:stop], right)
        return merge(base.read(start, stop).to(torch.bfloat16), part)

    return replace(base, dtype="BF16", read=read)


def _require_plain(folder: Path, config: Mapping[str, Json]) -> None:
    if config.get("peft_type") != "LORA":
        raise CheckpointError(
            f"{folder / ADAPTER_CONFIG}: peft_type is {str(config.get('peft_type'))[:40]}: only "
            "LORA can be merged"
        )
    unfit = [name for name, plain in _PLAIN.items() if config.get(name) not in plain]
    for name in (*unfit, *sorted({*config} - _KNOWN)):
        if config[name] is not None:
            raise CheckpointError(
                f"{folder / ADAPTER_CONFIG}: {name[:60]} is {str(config[name])[:60]}: merge this "
                "adapter with the library that trained it, and adopt the result"
            )


def _sort(
    folder: Path, stored: Mapping[str, StoredTensor]
) -> tuple[dict[str, _Factors], dict[str, StoredTensor]]:
    """The factors by the matrix that they change, and whole tensors."""
    factors: dict[str, _Factors] = {}
    saved: dict[str, StoredTensor] = {}
    for full, tensor in stored.items():
        name = full.removeprefix(_PREFIX)
        found = _FACTORS.fullmatch(name)
        if found is None:
            if "lora_" in name:
                raise CheckpointError(f"{folder / ADAPTER} has {full[:200]}, which is not merged")
            saved[_SAVED.sub(".", name)] = tensor
            continue
        pair = factors.setdefault(f"{_SAVED.sub('.', found[1])}.weight", _Factors())
        pair.embedding = found[2] is not None
        if found[3] == "A":
            pair.a = tensor
        else:
            pair.b = tensor
    return factors, saved


def _add(base: PlannedTensor, pair: _Factors, config: Mapping[str, Json]) -> PlannedTensor:
    a, b = pair.a, pair.b
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2:
        raise CheckpointError(f"the adapter of {base.name} lacks one of its two factors")
    rank = a.shape[0]
    made = (a.shape[1], b.shape[0]) if pair.embedding else (b.shape[0], a.shape[1])
    if not rank or b.shape[1] != rank or made != base.shape:
        raise CheckpointError(
            f"the adapter of {base.name} makes a matrix of {list(made)}, and the base's has "
            f"{list(base.shape)}: name its own base"
        )
    module = base.name.removesuffix(".weight")
    own_rank = _find_number(module, "rank_pattern", "r", config)
    if own_rank is not None and own_rank != rank:
        raise CheckpointError(
            f"{ADAPTER_CONFIG} gives {module} the rank {str(own_rank)[:40]}, and its factors in "
            f"{ADAPTER} have {rank}: name an adapter whose two files belong together"
        )
    factor = _find_factor(module, rank, config)

    def read(start: int, stop: int) -> Tensor:
        if pair.embedding:
            change = a.read(0, rank).float()[:, start:stop].T @ b.read(0, b.shape[0]).float().T
        else:
            change = b.read(start, stop).float() @ a.read(0, rank).float()
        return base.read(start, stop).float() + factor * change

    return replace(base, dtype="F32", read=read)


def _find_factor(module: str, rank: int, config: Mapping[str, Json]) -> float:
    """What B A is multiplied by."""
    alpha = _find_number(module, "alpha_pattern", "lora_alpha", config)
    if type(alpha) not in (int, float) or not 0 < alpha < 1e6:
        raise CheckpointError(f"{ADAPTER_CONFIG}: lora_alpha is {str(alpha)[:40]}")
    return float(alpha) / (sqrt(rank) if config.get("use_rslora") is True else rank)


def _find_number(module: str, by_module: str, for_all: str, config: Mapping[str, Json]) -> Any:
    """A setting of one module: that of the first name which fits, as in peft, or that of all."""
    patterns = config.get(by_module) or {}
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        plain = str(pattern).removeprefix("^").removesuffix("$").replace(r"\.", ".")
        if re.fullmatch(r"[\w.]+", plain) is None:
            raise CheckpointError(f"{ADAPTER_CONFIG}: {by_module} {plain[:60]!r} is not a name")
        if module == plain or module.endswith(f".{plain}"):
            return value
    return config.get(for_all)
