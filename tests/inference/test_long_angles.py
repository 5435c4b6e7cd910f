"""Rotary angles that a library makes by the longest sequence: here the first hold everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from assay.inference.families import FAMILIES
from assay.inference.families.rotary import Rotation
from assay.inference.implementations import make_packing_twin
from assay.inference.model_loading import load_model
from assay.inference.packing import make_packing
from tests.inference.family_models import get_tensors, make_config, make_model, write_config

#: Positions of the model's first training.
ORIGINAL = 24
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "original_max_position_embeddings": ORIGINAL,
    "short_factor": [1.0, 1.5, 2.0, 3.0],
    "long_factor": [1.0, 4.0, 8.0, 16.0],
}
ALPHA = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 8.0, "alpha": 1_000.0}


def make_phi() -> Any:
    return make_config(
        "phi3",
        rope_parameters=dict(LONG),  # the class changes it
        original_max_position_embeddings=ORIGINAL,
        sliding_window=None,
    )


def make_hunyuan() -> Any:
    return make_config(
        "hunyuan_v1_dense", rope_parameters=dict(ALPHA), max_position_embeddings=ORIGINAL
    )


@pytest.mark.parametrize("make", [make_phi, make_hunyuan])
def test_a_sequence_is_read_alike_beside_longer_ones(
    tmp_path: Path, make: Callable[[], Any]
) -> None:
    """As transformers reads it where no sequence is longer than the original length; its own model
    turns all tokens otherwise as soon as one is."""
    own = make_model(make())
    save_file(get_tensors(own), tmp_path / "model.safetensors")
    write_config(make(), tmp_path)
    loaded = load_model(tmp_path)
    ids = torch.randint(2, 96, (1, 2 * ORIGINAL), generator=torch.Generator().manual_seed(0))
    short, packing = ids[:, :ORIGINAL], make_packing([(ORIGINAL, None), (2 * ORIGINAL, None)])
    with torch.inference_mode():
        wanted = own(short, use_cache=False).logits
        assert torch.allclose(loaded(short, use_cache=False).logits, wanted, atol=1e-5)
        longer = loaded(ids, use_cache=False).logits[:, :ORIGINAL]
        assert torch.allclose(longer, wanted, atol=1e-5)
        assert not torch.allclose(own(ids, use_cache=False).logits[:, :ORIGINAL], wanted, atol=1e-2)
        twin = make_packing_twin(loaded)
        row = torch.cat((short, ids), dim=1)
        positions = packing.make_positions(row.device)
        packed = twin.model(row, position_ids=positions, packing=packing, use_cache=False)
        states = packed.last_hidden_state
        assert torch.allclose(twin.lm_head(states[:, :ORIGINAL]), wanted, atol=1e-5)


def test_heads_whose_base_has_no_value_are_refused() -> None:
    """alpha^(d / (d − 2)): the library divides by zero for heads of 2."""
    rotation = FAMILIES["hunyuan_v1_dense"].rotation
    found = list(rotation.find_faults({"rope_parameters": dict(ALPHA)}, 2))
    assert found == [
        "rope_parameters in config.json has the type dynamic, which turns heads of more than 2, "
        "not of 2"
    ]
    assert not list(rotation.find_faults({"rope_parameters": dict(ALPHA)}, 4))


def test_two_names_of_a_type_that_differ_are_both_named() -> None:
    rope = {"rope_type": "linear", "type": "yarn", "factor": 2.0}
    assert list(Rotation().find_faults({"rope_scaling": rope}, 8)) == [
        "rope_scaling in config.json has rope_type linear and type yarn: leave one of them out"
    ]
