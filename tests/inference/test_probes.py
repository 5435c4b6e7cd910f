"""What packed measuring would measure wrongly is refused by the property that fails."""

from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING

from assay.inference import head, probes
from assay.inference.head import Finisher
from assay.inference.measurable import require_measurable
from assay.inference.probes import ProbeError, probe
from assay.inference.reading import read
from tests.inference.family_models import VOCABULARY, get_model, make_config, make_model


def list_failing(model: Any) -> set[str]:
    return {found.name for found in probe(model) if not found.holds}


def test_a_head_that_does_more_than_its_matrix_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = get_model("granite")
    assert list_failing(model) == set()
    monkeypatch.setattr(head, "find_finisher", lambda model: Finisher(None))
    assert list_failing(model) == {"head"}
    with pytest.raises(ProbeError, match=r"\(head\): its logits .* differ by .* is allowed"):
        require_measurable(model)


def test_attention_of_a_class_of_its_own_reads_no_packs() -> None:
    config = CONFIG_MAPPING["nemotron"](
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        pad_token_id=None,
    )
    assert "packing" in list_failing(make_model(config))


def test_a_model_that_sees_the_future_is_told() -> None:
    config = make_config("gemma3_text", use_bidirectional_attention=True)
    failing = {found.name: found for found in probe(make_model(config)) if not found.holds}
    assert {"causality", "length", "packing", "blocks"} <= failing.keys()
    assert failing["packing"].fault == (
        "ValueError: attention is causal here, and this model's is not"
    )


def test_a_row_that_changes_another_is_told() -> None:
    model = make_model(make_config("llama"))

    def mix(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output - output.mean(0, keepdim=True) if len(output) > 1 else output

    model.model.norm.register_forward_hook(mix)
    assert list_failing(model) == {"batch"}


def test_states_that_are_no_numbers_are_told_wherever_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoil(*args: Any) -> Any:
        for chosen, states in read(*args):
            yield (
                chosen,
                [s if i == 0 else s * torch.nan for i, s in zip(chosen, states, strict=True)],
            )

    monkeypatch.setattr(probes, "read", spoil)
    with pytest.raises(ProbeError, match=r"\(packing\): .* not a finite number"):
        require_measurable(get_model("llama"))
