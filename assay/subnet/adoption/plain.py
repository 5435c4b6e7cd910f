"""Adopts a model of a type that no family describes: its tensors are those of its class, by name
and shape, and its config.json has every field of the class."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from assay.inference.folder import CONFIG_FILE, CheckpointError, hold_alone
from assay.inference.model_loading import load_class
from assay.inference.plain.opening import BOOKS, OpenedClass, find_plain_misfit, open_class
from assay.inference.plain_config import find_plain_type_fault
from assay.protocol.encoding import Json
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.subnet.adoption.config import MEANINGLESS, find_other_head
from assay.subnet.adoption.notes import Notes, name_some
from assay.subnet.adoption.source import dump
from assay.subnet.adoption.weights import PlannedTensor, is_same


def open_plain(config: Mapping[str, Json], notes: Notes) -> OpenedClass:
    """The class of a config, built in a child without values. Code that the folder names is never
    looked at.

    Raises:
        CheckpointError: no such model is read here: says why.
    """
    fault = find_plain_type_fault(config.get("model_type")) or find_other_head(config)
    if fault is not None:
        raise CheckpointError(fault)
    told = {name: value for name, value in config.items() if name not in MEANINGLESS}
    if dropped := sorted({*config} & MEANINGLESS):
        notes.dropped.append(f"config.json: {', '.join(dropped)}: no part of the model")
    if told.get("quantization_config") is not None:
        raise CheckpointError(
            "config.json is of quantised weights, which are read for families alone: adopt the "
            "model in bf16 that it was made from"
        )
    opened = open_class(dump({name: told[name] for name in sorted(told)}))
    if opened.choices:  # nobody reads its tensors for nothing
        raise CheckpointError(f"{opened.name} is no continuous function: {opened.choices[0]}")
    return opened


def plan_plain_tensors(
    opened: OpenedClass, stored: Mapping[str, PlannedTensor], notes: Notes
) -> dict[str, PlannedTensor]:
    """The tensors that the class has, by its own names. Where a file has others, as older files and
    those of merged matrices do, the library reads them as it would for anybody.

    Raises:
        CheckpointError: they are not the class's.
    """
    planned, dropped = dict(stored), []
    for name in sorted(stored.keys() - opened.shapes.keys()):
        if name in opened.tied:
            same = (one for one in opened.shapes if one in stored)
            if not any(is_same(stored[name], stored[one]) for one in same):
                raise CheckpointError(
                    f"config.json ties {name} to another tensor, and none has its numbers"
                )
        elif not any(re.search(pattern, name) for pattern in opened.ignored):
            continue
        dropped.append(name)
        del planned[name]
    if dropped:
        notes.dropped.append(f"{name_some(dropped)}: there once more, or not read by the class")
    if planned.keys() == opened.shapes.keys():
        return planned
    return _read_by_class(opened, stored, notes)


def _read_by_class(
    opened: OpenedClass, stored: Mapping[str, PlannedTensor], notes: Notes
) -> dict[str, PlannedTensor]:
    """The same after the library has put tensors of other names into their places, in memory."""
    config = {CONFIG_FILE: dump(dict(opened.fields))}
    tensors = {name: one.read_all().reshape(one.shape) for name, one in stored.items()}
    try:
        with hold_alone(config) as alone, catch_thrown():
            model, loaded = load_class(alone, tensors)
    except LibraryError as error:
        raise CheckpointError(f"its class does not read these tensors: {error}") from None
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, loaded.get(what, ()))):
            said = what.removesuffix("_keys")
            raise CheckpointError(
                f"tensor {names[0][:100]} is {said}: a {opened.name} of this config.json has others"
            )
    kinds = {one.dtype for one in stored.values()}
    dtype = "BF16" if kinds == {"BF16"} else "F32"
    made = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    notes.converted.append(f"names of tensors, by {opened.name} of the installed transformers")
    return {
        name: PlannedTensor(name, shape, dtype, _make_reader(made[name]))
        for name, shape in opened.shapes.items()
    }


def _make_reader(tensor: Tensor) -> Callable[[int, int], Tensor]:
    return lambda start, stop: tensor[start:stop] if tensor.dim() else tensor


def complete_plain(
    opened: OpenedClass, planned: Mapping[str, PlannedTensor], notes: Notes
) -> dict[str, Any]:
    """config.json with every field of the class. Raises a CheckpointError where the tensors are not
    the class's."""
    fields = {
        name: value
        for name, value in opened.fields.items()
        if name not in {*MEANINGLESS, *BOOKS} and not name.startswith("_")
    }
    complete = {**fields, "architectures": [opened.name], "dtype": "bfloat16"}
    complete = {name: complete[name] for name in sorted(complete)}
    fault = find_plain_misfit(
        dump(complete), {name: tensor.shape for name, tensor in planned.items()}
    )
    if fault is not None:
        raise CheckpointError(fault)
    notes.kept.append(
        f"the model by its own class, {opened.name}: no family describes it, so rows are read one "
        "at a time, each with its prompt"
    )
    return complete
