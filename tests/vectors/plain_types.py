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
from assay.protocol.encoding import EncodingError, read_json
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
#: Members at the end of the config's text, and what stands before and behind it.
_TEXTS = (
    *(", ", ', "num_hidden_layers": 2', ', "a": {"b": 1, "c": 2}', ', "a": {"b": 1, "b": 1}'),
    *(f', "a": {sign}{"7" * digits}' for sign in ("", "-") for digits in (64, 65)),
    *(f', "a": {number}' for number in ("NaN", "-Infinity", "1e308", "1e309", "01", "-0", "1.")),
    *(f', "a": {"[" * levels}{"]" * levels}' for levels in (63, 64)),
    *(f', "a": "{text}"' for text in ("\\u00e9", "\\x", "\t", "\\ud83d", "\\u0000" + "7")),
    *(', "__proto__": {"auto_map": 1}', ', "\\u0061uto_map": 1', ', "a": 1 /* */'),
)
_AROUND = (("\ufeff", ""), ("\n", " \r\t"), ("", "{}"), ("", "\u00a0"), ("[", "]"))


def make_plain_types() -> Json:
    """Each case: the bytes of config.json, the tensors, the class or null, and whether it is
    refused. Structure and shapes of the class are digests."""
    cases: list[Json] = [_try({**_CONFIG, **changes}, _SHAPES, names=True) for changes in _CHANGES]
    cases.append(_try(_CONFIG, _SHAPES, names=False))
    text = json.dumps(_CONFIG)
    cases += [_try(f"{text[:-1]}{more}}}", _SHAPES, names=True) for more in _TEXTS]
    cases += [_try(f"{before}{text}{behind}", _SHAPES, names=True) for before, behind in _AROUND]
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


def _write(config: Json) -> str:
    """A config as text, or its text as it is."""
    return config if isinstance(config, str) else json.dumps(config)


def _read(text: str) -> Json:
    """A config that was read; None: it is not JSON as strangers may write it."""
    try:
        return read_json(text.encode())
    except EncodingError:
        return None


def _name(config: Json, shapes: dict[str, tuple[int, ...]]) -> ModelClass:
    files = {CONFIG_FILE: _write(config).encode()}
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
    read = _read(_write(config))
    plain = is_plain(read)
    fault = find_plain_fault(read) if plain else find_config_fault(read)
    fault = fault or find_class_fault(parameters, own.structure, plain, shapes)
    return {
        "config": _write(config),
        "shapes": {name: list(sides) for name, sides in shapes.items()},
        "structure": own.structure.hex(),
        "digest": own.shapes.hex(),
        "model_class": None
        if named is None
        else {"structure": named.structure.hex(), "shapes": named.shapes.hex()},
        "refused": fault is not None,
    }
