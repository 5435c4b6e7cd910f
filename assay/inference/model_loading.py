"""Loads a checkpoint's tensors as a model, one at a time, so that nothing is in memory twice.

This module does not check the tensors against a manifest: `checkpoint` has done so before.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, PreTrainedModel
from transformers.activations import XIELUActivation
from transformers.utils import logging as transformers_logging

from assay.gate.files import UnfitFileError, open_regular
from assay.inference.families import EMBEDDING, FAMILIES, HEAD, find_misfit, is_tied
from assay.inference.folder import (
    CONFIG_FILE,
    CheckpointError,
    UnusableCheckpointError,
    hold_alone,
    read_config,
    read_small_file,
)
from assay.inference.placing.devices import explain_lack, is_out_of_memory
from assay.inference.placing.precision import require_exact_products
from assay.inference.plain.head import UnknownHeadError, find_head
from assay.inference.plain.opening import find_plain_misfit, require_own_functions
from assay.inference.plain_config import is_plain
from assay.inference.recurrent import prepare_recurrent_layers
from assay.sandbox.thrown import NOT_THROWN

#: How safetensors reads. With a memory map, each tensor leaks two Python integers (safetensors
#: 0.8).
_BACKEND = "pread"
#: A part's name in a folder of several, and most parts that are looked for.
_PART_NAME = re.compile(r"(.+)-[0-9]{5}-of-([0-9]{5})\.safetensors")
_PARTS_MAX = 1_024
#: Weights that are checked together. Tuning.
_PART = 1 << 22
#: One thread makes a model at a time. While it does, transformers replaces functions of its own
#: classes and of torch, and puts back what was there when it began: of two threads, one would put
#: back the other's replacement, and no model of this process would have tied weights any more.
_MAKING = threading.Lock()


def load_model(
    folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, router_ramp: int = 0
) -> PreTrainedModel:
    """The model from config.json and the folder's tensors, and from nothing else.

    Index files, adapters and other files that a library would follow in a folder are under no
    digest: they are never read.

    Args:
        device: torch's name of the model's device.
        dtype: of its weights. bfloat16 keeps them as they are stored, in half the memory. A plain
            forward pass with such weights is not the reference.
        router_ramp: of a mixture's routers in models that are made from this one; its own choose.

    Raises:
        UnusableCheckpointError: tensors and config do not fit each other, or contain values that
            are not finite.
        CheckpointError: they cannot be read, or memory does not suffice; or no family describes the
            model, and this machine's class does not read it. Whether that is so for all, the
            parameters decide by bytes.
    """
    transformers_logging.disable_progress_bar()  # our programs show their own progress
    require_exact_products()
    try:
        model: Any = _load(folder, dtype)  # its `to` has an unfitting type
        model.router_ramp = router_ramp
        placed: PreTrainedModel = model.to(device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        message = str(error).partition("\n")[0]
    else:
        return placed
    raise CheckpointError(explain_lack(f"the model in {folder}", device, message))


def outline_config(config: bytes, router_ramp: int = 0) -> PreTrainedModel:
    """The model of a config, with its weights on torch's `meta` device: they have sizes and no
    values, and take gradients. Buffers have their values. `router_ramp`: as in `load_model`."""
    transformers_logging.disable_progress_bar()
    with _MAKING, hold_alone({CONFIG_FILE: config}) as alone:
        model: Any = outline_model(AutoConfig.from_pretrained(alone, trust_remote_code=False))
    model.router_ramp = router_ramp
    outlined: PreTrainedModel = model
    return outlined


class _EmptyOnMeta(TorchFunctionMode):
    """Makes tensors without values on torch's `meta` device. Large weights begin as such tensors,
    and buffers never do."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        device = {"device": "meta"} if func is torch.empty else {}
        return func(*args, **{**(kwargs or {}), **device})


def outline_model(config: Any, kind: Any = None) -> PreTrainedModel:
    """A model without values, as `outline_config`, from its configuration.

    Args:
        kind: its class; None: the library's for this configuration.
    """
    kind = kind or MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    functions = _name_functions(kind)
    with _EmptyOnMeta():
        model: PreTrainedModel = kind._from_config(  # noqa: SLF001 - as `from_config` does
            config, dtype=torch.float32, **functions
        )
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if not weight.is_meta:  # a norm's: ones
                setattr(module, name, nn.Parameter(weight.detach().to("meta")))
    prepare_recurrent_layers(model)
    _compute_by_torch(model)
    _keep_angles(model)
    return model.eval()


def _name_functions(kind: Any) -> dict[str, str]:
    """Which of the library's functions a class of models calls. Left to itself, the library would
    choose by the machine."""
    has_kernels = kind._supports_sdpa  # noqa: SLF001 - classes declare it by this name
    return {
        "attn_implementation": "sdpa" if has_kernels else "eager",
        "experts_implementation": "eager",
    }


def _compute_by_torch(model: nn.Module) -> None:
    """Leave nothing to a package that may be installed: xIELU takes a kernel of its own on a GPU
    where it finds one."""
    for module in model.modules():
        if isinstance(module, XIELUActivation):
            module._xielu_cuda_obj = None  # noqa: SLF001 - there is no other way


def _keep_angles(model: nn.Module) -> None:
    """Let rotary angles be those with which they were made: where a pass has a position behind the
    original length, the library would turn all of its tokens otherwise."""
    modules: list[Any] = [*model.modules()]
    for module in modules:
        if getattr(module, "rope_type", None) in ("dynamic", "longrope"):
            module.rope_type = "default"  # what was made stays


def _restore_constants(model: PreTrainedModel) -> None:
    """Compute the buffers that no file stores once more, in fp32: the library rounds some to the
    type of the weights."""
    stored = model.state_dict().keys()
    for name, constant in outline_model(model.config).named_buffers():
        if name not in stored:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, constant)


def _load(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Load it on the CPU. An error for lack of memory is PyTorch's own."""
    model: PreTrainedModel
    loaded: dict[str, Any]
    config_file = {CONFIG_FILE: read_small_file(folder, CONFIG_FILE)}
    # of a type without a family: by this machine's class alone, so it is this machine's trouble
    refused = CheckpointError if is_plain(read_config(folder)) else UnusableCheckpointError
    with hold_alone(config_file) as alone, ExitStack() as opened:
        try:
            stored = _list_tensors(folder, opened)
            _require_fit(folder, stored)
            model, loaded = load_class(alone, stored, dtype)
            if dtype != torch.float32:
                with _MAKING:
                    _restore_constants(model)
        except CheckpointError:
            raise
        except (OSError, UnfitFileError) as error:  # our machine's fault, not the checkpoint's
            raise CheckpointError(f"cannot load the model in {folder}: {error}") from error
        except NOT_THROWN:
            raise
        except BaseException as error:  # libraries throw anything on hostile content, panics too
            if is_out_of_memory(error):
                raise  # our machine's fault, too
            raise refused(f"{folder} holds no model that loads: {error}") from error
    # a missing tensor would be filled with random numbers, different on every machine
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, loaded.get(what, ()))):
            raise refused(f"{folder}: {what.replace('_', ' ')}: {names[0]}")
    if not all(_is_finite(weights) for weights in model.state_dict().values()):
        raise UnusableCheckpointError(f"{folder}: a weight is not a finite number")
    prepare_recurrent_layers(model)
    _compute_by_torch(model)
    _keep_angles(model)
    model.eval().requires_grad_(False)
    if model.config.model_type not in FAMILIES:
        whole: Any = model
        try:
            whole.plain_head = find_head(model)
        except UnknownHeadError as error:
            raise CheckpointError(f"{folder}: {error}") from None
    return model


def load_class(
    alone: Path, tensors: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The class of the config.json in a folder without anything else, with these tensors, and what
    the library says of their names. Raises what the library throws.

    Args:
        tensors: each is read when it is put into its place, if it is still on disk.
    """
    config = AutoConfig.from_pretrained(alone, trust_remote_code=False)
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with _MAKING:
        made: tuple[PreTrainedModel, dict[str, Any]] = kind.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=dtype,
            output_loading_info=True,
            **_name_functions(kind),
        )
    return made


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, by name, in their own memory.

    Raises:
        OSError, SafetensorError: it cannot be read, or is not safetensors.
    """
    return load_file(file, backend=_BACKEND)


def _is_finite(weights: torch.Tensor) -> bool:
    """Return whether all weights are finite, as the least and the largest are then. Checks a part
    at a time: the library may copy it."""
    parts = (part for part in weights.flatten().split(_PART) if len(part))
    return all(bool(torch.isfinite(bound)) for part in parts for bound in torch.aminmax(part))


def _list_tensors(folder: Path, opened: ExitStack) -> dict[str, Any]:
    """The folder's tensors by name, still on disk.

    Raises:
        CheckpointError: files are missing. UnusableCheckpointError: one is not safetensors, or has
            a tensor of another one.
    """
    stored: dict[str, Any] = {}
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise CheckpointError(f"{folder} holds no *.safetensors file")
    _require_all_parts(paths)
    for path in paths:
        file = opened.enter_context(_open_tensors(path))
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            if name in stored:
                raise UnusableCheckpointError(f"{path} has tensor {name} once more: remove it")
            stored[name] = file.get_slice(name)
    return stored


def _require_all_parts(paths: Sequence[Path]) -> None:
    """Raises a CheckpointError unless all parts are there that the files' names count."""
    for path in paths:
        counted = _PART_NAME.fullmatch(path.name)
        if counted is None:
            continue
        for number in range(1, min(int(counted[2]), _PARTS_MAX) + 1):
            name = f"{counted[1]}-{number:05d}-of-{counted[2]}.safetensors"
            if not path.with_name(name).exists():
                raise CheckpointError(f"{path.with_name(name)} is missing: fetch it")


def _open_tensors(path: Path) -> Any:
    with open_regular(path):  # the library would wait for a pipe
        try:
            return safe_open(path, framework="pt", device="cpu", backend=_BACKEND)
        except SafetensorError as error:
            raise UnusableCheckpointError(
                f"{path} is not safetensors ({error}): if it is a pointer of Git LFS, fetch the "
                "file itself"
            ) from None


def _require_fit(folder: Path, stored: Mapping[str, Any]) -> None:
    config = read_config(folder)
    for name, part in stored.items():
        if part.get_dtype() != "BF16":
            raise UnusableCheckpointError(
                f"{folder} stores tensor {name} in {part.get_dtype()}: convert all tensors to bf16"
            )
    shapes = {name: tuple(part.get_shape()) for name, part in stored.items()}
    if is_plain(config):
        require_own_functions()
        fault = find_plain_misfit(read_small_file(folder, CONFIG_FILE), shapes)
        if fault is not None:
            raise CheckpointError(f"{folder}: {fault}")
    else:
        fault = find_misfit(config, shapes)
    own_head = fault is None and not is_plain(config) and HEAD in stored and is_tied(config)
    if own_head and not _is_same(stored[HEAD], stored[EMBEDDING]):
        fault = f"config.json ties the head to the embedding, and {HEAD} differs from it"
    if fault is not None:
        raise UnusableCheckpointError(f"{folder}: {fault}")


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two stored tensors of one shape have the same bytes. Reads a part at a
    time."""
    rows, columns = one.get_shape()
    step = max(1, _PART // columns)
    return all(
        torch.equal(*(part[at : min(rows, at + step)].view(torch.int16) for part in (one, other)))
        for at in range(0, rows, step)
    )
