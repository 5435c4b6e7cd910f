"""The longest context of a model, by its config.json."""

import pytest

from assay.inference.context_length import count_positions, find_context_fault

STRETCHED = {"rope_type": "yarn", "factor": 4.0}
OLDER = {"type": "linear", "factor": 2}


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({}, None),
        ({"max_position_embeddings": 2_048, "rope_parameters": None}, 2_048),
        ({"max_position_embeddings": 2_048, "rope_parameters": {"rope_type": "llama3"}}, 2_048),
        ({"max_position_embeddings": 2_048, "rope_scaling": STRETCHED}, 8_192),
        ({"max_position_embeddings": 2_048, "rope_scaling": OLDER}, 4_096),
        (
            {
                "max_position_embeddings": 131_072,
                "rope_scaling": {"type": "longrope", "original_max_position_embeddings": 4_096},
            },
            4_096,
        ),
        (
            {
                "max_position_embeddings": 8_192,
                "rope_parameters": {**STRETCHED, "original_max_position_embeddings": 2_048},
            },
            8_192,
        ),
        (
            {
                "max_position_embeddings": 2_048,
                "rope_parameters": {
                    "full_attention": {"rope_type": "linear", "factor": 8.0},
                    "sliding_attention": {"rope_type": "default"},
                },
            },
            16_384,
        ),
    ],
)
def test_a_context_is_what_the_config_says(config, positions):
    assert count_positions(config) == positions


def test_what_does_not_fit_is_told_with_the_number_that_would():
    config = {"max_position_embeddings": 2_048}
    assert find_context_fault({}, 10**6, 10**6) is None
    assert find_context_fault(config, 1_024, 1_024) is None
    fault = find_context_fault(config, 1_024, 1_025)
    assert fault is not None
    assert "set max_tokens = 1024 under [parameters.work] or less" in fault
    assert "\n" not in fault
    fault = find_context_fault(config, 2_048, 1)
    assert fault is not None
    assert "set max_tokens" not in fault
