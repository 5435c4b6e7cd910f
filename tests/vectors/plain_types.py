"""Vectors of checkpoints whose type no family describes: which the parameters' class takes."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))
from assay.inference.families import REFUSED, find_config_fault
from assay.inference.families.refused import SEEING
from assay.inference.folder import CONFIG_FILE
from assay.inference.plain.opening import digest_shapes, find_class_fault
from assay.inference.plain_config import find_plain_fault, is_plain
from assay.protocol.hashing import Domain
from assay.protocol.manifest import compute_files_digest
from assay.protocol.parameters import ModelClass, Parameters
from tests.inference.family_models import make_fields
from tests.vectors.subjects import PARAMETERS

Json = Any
_CONFIG: dict[str, Json] = {
    "model_type": "gpt_neox",
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
}
_SHAPES: dict[str, tuple[int, ...]] = {
    "gpt_neox.embed_in.weight": (96, 32),
    "embed_out.weight": (96, 32),
    "gpt_neox.final_layer_norm.bias": (32,),
    "scale": (),
}
#: What is changed in the config, with the class that then names its bytes.
_CHANGES: tuple[dict[str, Json], ...] = (
    {},
    {"model_type": "gpt-neox"},
    {"model_type": "_neox"},
    {"model_type": "Neox"},
    {"model_type": ""},
    {"model_type": "a" * 64},
    {"model_type": "a" * 65},
    {"model_type": 7},
    {"model_type": None},
    {"model_type": "gemma3n"},
    {"model_type": "gemma3n_text"},
    {"model_type": "llama4"},
    {"model_type": "llama4_text"},
    {"auto_map": {}},
    {"custom_pipelines": None},
    {"quantization_config": None},
    {"quantization_config": {}},
    {"text_config": {"auto_map": {}}},
    *({name: value} for name in list(_CONFIG)[1:] for value in (None, 0, 1, 1.0, True, 1 << 41)),
    {"vocab_size": 1 << 20},
    {"vocab_size": (1 << 20) + 1},
    {"anything": [{"else": 1.5}]},
)


def make_plain_types() -> Json:
    """Each case: the bytes of config.json, the tensors, the class or null, and whether it is
    refused. Structure and shapes of the class are digests."""
    cases: list[Json] = [_try({**_CONFIG, **changes}, _SHAPES, names=True) for changes in _CHANGES]
    cases.append(_try(_CONFIG, _SHAPES, names=False))
    llama = make_fields("llama")
    cases += [_try(llama, _SHAPES, names=names) for names in (False, True)]
    own = _name(_CONFIG, _SHAPES)
    for wrong in (replace(own, structure=bytes(32)), replace(own, shapes=bytes(32))):
        cases.append(_try(_CONFIG, _SHAPES, names=True, wanted=wrong))
    for shapes in (
        {**_SHAPES, "scale": (1,)},
        {**_SHAPES, "more": ()},
        {name: sides for name, sides in _SHAPES.items() if name != "scale"},
        {**_SHAPES, "embed_out.weight": (32, 96)},
        dict(reversed(_SHAPES.items())),
    ):
        cases.append(_try(_CONFIG, shapes, names=True, wanted=own))
    return {"alone": sorted(SEEING), "refused_types": sorted(REFUSED), "cases": cases}


def _name(config: Json, shapes: dict[str, tuple[int, ...]]) -> ModelClass:
    files = {CONFIG_FILE: json.dumps(config).encode()}
    structure = compute_files_digest(Domain.STRUCTURE, files)
    return ModelClass(structure, digest_shapes(shapes), "5.19.0", "fp32-sdpa", "split3")


def _try(
    config: Json,
    shapes: dict[str, tuple[int, ...]],
    *,
    names: bool,
    wanted: ModelClass | None = None,
) -> Json:
    own = _name(config, shapes)
    named = (wanted or own) if names else None
    parameters: Parameters = replace(PARAMETERS, model_class=named)
    plain = is_plain(config)
    fault = find_plain_fault(config) if plain else find_config_fault(config)
    fault = fault or find_class_fault(parameters, own.structure, plain, shapes)
    return {
        "config": json.dumps(config),
        "shapes": {name: list(sides) for name, sides in shapes.items()},
        "structure": own.structure.hex(),
        "digest": own.shapes.hex(),
        "model_class": None
        if named is None
        else {"structure": named.structure.hex(), "shapes": named.shapes.hex()},
        "refused": fault is not None,
    }
