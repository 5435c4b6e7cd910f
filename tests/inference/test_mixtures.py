"""Every family with routers, beyond what all families are tried for: its ramp, split products, and
a lesson in files' names."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from assay.inference.families import FAMILIES, find_misfit, get_expert_bounds
from assay.inference.implementations import make_packing_twin, make_twin
from assay.inference.low_rank import merge
from assay.inference.reading import read
from assay.inference.routing import RampedRouter, count_experts
from assay.inference.split_model import SplitModel
from assay.training import Group, LearnConfig, Learner
from assay.training.lora import get_factors, list_stacks
from assay.training.sharding import load_tensors
from tests.inference.family_models import CHOSEN, EXPERTS, get_model, get_tensors, write_config

pytestmark = pytest.mark.parametrize(
    "kind", [kind for kind, family in FAMILIES.items() if family.experts is not None]
)

PROMPT = tuple(range(2, 22))
COMPLETIONS = [list(range(30, 47)), list(range(40, 70)), list(range(9, 18))]


@pytest.fixture(name="model")
def copy_model(kind: str) -> Any:
    return copy.deepcopy(get_model(kind))


def read_logits(model: Any) -> list[torch.Tensor]:
    states: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for chosen, parts in read(model, [PROMPT] * 3, COMPLETIONS):
            states |= zip(chosen, parts, strict=True)
        return [model.lm_head(states[i]) for i in range(3)]


def test_split_products_are_its_own_under_the_ramp(model: Any) -> None:
    twin = make_packing_twin(model)
    with count_experts(twin) as count:
        packed = read_logits(twin)
    assert CHOSEN << 10 < count.needed <= EXPERTS << 10
    for one, other in zip(packed, read_logits(SplitModel(model)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-5)


def test_a_ramp_changes_it_and_a_steep_one_does_not(model: Any) -> None:
    ids = torch.tensor([[*PROMPT, *COMPLETIONS[1]]])
    with torch.inference_mode():
        own = make_own(model)(ids, use_cache=False).logits
        ramped = make_twin(model, "eager")(ids, use_cache=False).logits
        model.router_ramp = 1
        steep = make_twin(model, "eager")(ids, use_cache=False).logits
    assert float((ramped - own).abs().max()) > 1e-3
    torch.testing.assert_close(steep, own, rtol=0, atol=5e-5)
    model.router_ramp = 0
    with pytest.raises(ValueError, match="router_ramp"):
        make_packing_twin(model)


def make_own(model: Any) -> Any:
    """The class's own model, routers included."""
    own = copy.deepcopy(model)
    own.set_attn_implementation("eager")
    return own


def test_more_chosen_experts_than_there_are_fit_no_router(model: Any, tmp_path: Path) -> None:
    config = write_config(model.config, tmp_path)
    shapes = {name: tuple(tensor.shape) for name, tensor in get_tensors(model).items()}
    assert get_expert_bounds(config) == (CHOSEN, EXPERTS)
    family = FAMILIES[config["model_type"]].experts
    assert family is not None
    (counted,) = (name for name in family.counts if name in config)
    for change in (
        {counted: EXPERTS + 1},
        {counted: EXPERTS - 1},
        {counted: 1, "num_experts_per_tok": 1},
        {"num_experts_per_tok": EXPERTS},
    ):
        assert find_misfit(config | change, shapes) is not None, change


def test_a_router_of_no_number_gives_no_number(model: Any) -> None:
    """It does not fall silent: the judge takes it for its own fault."""
    twin = make_packing_twin(model)
    router = next(m for m in twin.modules() if isinstance(m, RampedRouter))
    router.weight = torch.nn.Parameter(torch.full_like(router.weight, torch.nan), False)
    assert all(bool(logits.isnan().any()) for logits in read_logits(twin))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_lesson_moves_routers_and_experts(model: Any, precision: Any) -> None:
    before = copy.deepcopy(model)
    learner = Learner(model.requires_grad_(True), LearnConfig(epochs=1, precision=precision))
    behaviour = [[-3.0] * len(completion) for completion in COMPLETIONS]
    group = Group(list(PROMPT), COMPLETIONS, [0, 1_000_000, 0], behaviour)
    assert learner.learn([group]).updates == 1
    whole = before.state_dict()
    moved = {n for n, w in learner.model.state_dict().items() if not torch.equal(w, whole[n])}
    routers = [n for n, m in learner.model.named_modules() if isinstance(m, RampedRouter)]
    assert routers
    assert {f"{name}.weight" for name in routers} <= moved
    assert any("experts" in name for name in moved)
    assert learner.bf16_state().keys() == get_tensors(before).keys()
    again = Learner(before.requires_grad_(True), LearnConfig(epochs=1))
    again.import_state(dict(learner.export_state()))
    for name, weight in learner.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight), name


def test_a_team_reads_its_stacks_from_files(model: Any, tmp_path: Path) -> None:
    save_file(get_tensors(model), tmp_path / "model.safetensors", {"format": "pt"})
    (empty := copy.deepcopy(model)).load_state_dict(
        {name: torch.zeros_like(weight) for name, weight in model.state_dict().items()}
    )
    load_tensors(empty.state_dict(), tmp_path, model.config.model_type)
    for name, weight in model.state_dict().items():
        assert torch.equal(empty.state_dict()[name], weight), name


def test_factors_learn_beside_each_expert_and_are_published_with_it(model: Any) -> None:
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    before = get_tensors(model)
    config = LearnConfig(epochs=1, lora_rank=2, learning_rate=1e-2)
    learner = Learner(copy.deepcopy(model).requires_grad_(True), config)
    assert all(torch.equal(w, before[n]) for n, w in learner.bf16_state().items())
    behaviour = [[-3.0] * len(completion) for completion in COMPLETIONS]
    learner.learn([Group(list(PROMPT), COMPLETIONS, [0, 1_000_000, 0], behaviour)])
    merged = copy.deepcopy(model)
    for name, (left, right) in get_factors(learner.model).items():
        merged.state_dict()[name] += left @ right
    moved = {n for n, w in merged.state_dict().items() if not torch.equal(w, model.state_dict()[n])}
    assert {n for n in model.state_dict() if n in list_stacks(model)} <= moved
    inner = learner.model.get_base_model()
    for one, other in zip(read_logits(inner), read_logits(make_packing_twin(merged)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    factors, published, whole = learner.export_factors(), learner.bf16_state(), get_tensors(merged)
    assert published.keys() == whole.keys() > factors.keys()
    for name, weight in before.items():
        made = merge(weight, factors[name]) if name in factors else weight
        assert torch.equal(published[name], made), name
        torch.testing.assert_close(
            published[name].float(), whole[name].float(), rtol=0.02, atol=1e-3
        )
    again = Learner(copy.deepcopy(model).requires_grad_(True), replace(config, seed=9))
    again.take_factors(factors)
    assert all(torch.equal(w, published[n]) for n, w in again.bf16_state().items())
