"""The tensor code that draws and sketches, against the vectors made of plain integers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.reference import SketchBuilder
from assay.protocol.parameters import CENTRE_BITS, FRACTION_BITS
from assay.verification import Projection

VECTORS = Path(__file__).parents[1] / "vectors"
DRAWS: Any = json.loads((VECTORS / "draws.json").read_bytes())
SKETCH: Any = json.loads((VECTORS / "sketch.json").read_bytes())
UNIT = 1 << FRACTION_BITS


def draw(seed: str, case: Any, logits: torch.Tensor, barred: list[int]) -> tuple[int, int]:
    drawable = np.ones(logits.shape[1], bool)
    drawable[barred] = False
    sampler = KeyedSampler(drawable, case["temperature"])
    keys, positions = make_keys([bytes.fromhex(seed)]), torch.tensor([case["position"]])
    token, score = sampler.draw(logits, keys, positions)
    return int(token), int(score)


@pytest.mark.parametrize("case", DRAWS["draws"], ids=lambda case: case["about"])
def test_the_sampler_draws_what_the_vectors_say(case: Any) -> None:
    logits = torch.tensor([case["logits"]], dtype=torch.float64) / UNIT
    token = case["token"]
    drawn = draw(DRAWS["seed"], case, logits.clamp(max=2.0**30), case["barred"])
    assert drawn == (token, case["scores"][token])


def test_a_large_vocabulary_is_drawn_from_alike() -> None:
    large = DRAWS["large"]
    logits = torch.zeros(1, large["vocabulary"])
    assert draw(large["seed"], large, logits, []) == (large["token"], large["score"])


def test_logits_become_integers_as_the_vectors_say() -> None:
    """A single id's score is its logit and its noise: the noise is known from a logit of 0."""
    case = {"temperature": 1_024, "position": 0}
    (_, noise) = draw(DRAWS["seed"], case, torch.zeros(1, 1), [])
    for entry in DRAWS["fixed_point"]:
        logit = entry["logit_numerator"] / entry["logit_denominator"]
        logits = torch.tensor([[logit]], dtype=torch.float64)
        assert draw(DRAWS["seed"], case, logits, []) == (0, entry["fixed"] + noise)


@pytest.mark.parametrize("case", SKETCH["sketches"], ids=lambda case: case["about"])
def test_states_become_bytes_as_the_vectors_say(case: Any) -> None:
    hidden = len(case["centre"])
    signs = next(p["columns"] for p in COLUMNS if p["hidden"] >= hidden)
    matrix = [[1.0 if column[i] == "+" else -1.0 for column in signs] for i in range(hidden)]
    unit = 1 << CENTRE_BITS
    centre = np.array(case["centre"], np.float32) / np.float32(unit)
    projection = Projection(np.array(matrix, np.float32), centre, case["scale"] / unit)
    states = torch.tensor(case["states_in_256ths"], dtype=torch.float32) / 256
    assert SketchBuilder(projection).build(states).tolist() == case["sketch"]


#: Columns of R for more rows begin with those for fewer.
COLUMNS: Any = SKETCH["projections"]
