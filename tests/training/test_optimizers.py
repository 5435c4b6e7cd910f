"""Each optimiser against its library's own, its state as a record binds it, and a restart."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.artifacts.steps.folder import digest_tensors_of
from assay.network.extras import MissingExtraError
from assay.training import Group, LearnConfig, Learner, name_masters, pick_masters
from assay.training import optimizers as optimizers_module
from assay.training.genesis_model import make_model
from assay.training.optimizers import BLOCK, FEWEST, OptimizerError, OptimizerName, make_optimizer
from tests.training.test_learner import make_groups, measure

CONFIG = LearnConfig(learning_rate=1e-3, epochs=2, groups_per_batch=2, seed=3, weight_decay=0.01)
ODD = 5_000  # values: their last block is not full


@pytest.fixture(params=["adamw", "adamw8bit", "muon"])
def config(request: pytest.FixtureRequest) -> LearnConfig:
    return choose(request.param)


def choose(name: OptimizerName) -> LearnConfig:
    if name == "adamw8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is of the extra `adamw8bit`")
    return replace(CONFIG, optimizer=name)


def make_learner(config: LearnConfig) -> Learner:
    """Some of its matrices are large enough for codes of 8 bits."""
    return Learner(make_model(hidden=64, layers=1, heads=2, inner=80, seed=0), config)


def learn_recorded(
    learner: Learner, groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The weights before a lesson, and the gradients of each of its updates."""
    named = dict(learner.model.named_parameters())
    first = {name: weight.detach().clone() for name, weight in named.items()}
    gradients, step = [], learner._weights.optimizer.step  # noqa: SLF001

    def note() -> None:
        grads = {name: weight.grad for name, weight in named.items()}
        gradients.append({name: grad.clone() for name, grad in grads.items() if grad is not None})
        step()

    monkeypatch.setattr(learner._weights.optimizer, "step", note)  # noqa: SLF001
    learner.learn(groups)
    return first, gradients


def make_adamw(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)


def make_8bit(parameters: Any) -> Any:
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)


def test_an_update_is_the_librarys_own(
    config: LearnConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Muon has the projections of layers, AdamW the embeddings and the norms beside them."""
    learner = make_learner(config)
    first, gradients = learn_recorded(learner, make_groups(learner), monkeypatch)
    weights = {name: nn.Parameter(weight.clone()) for name, weight in first.items()}
    layers = [weight for name, weight in weights.items() if "proj.weight" in name]
    others = [weight for name, weight in weights.items() if "proj.weight" not in name]
    assert len(layers) == 7
    if config.optimizer == "muon":
        settings: Any = {"lr": 1e-3, "weight_decay": 0.01, "adjust_lr_fn": "match_rms_adamw"}
        by_hand = [torch.optim.Muon(layers, **settings), make_adamw(others)]
    else:
        make = make_8bit if config.optimizer == "adamw8bit" else make_adamw
        by_hand = [make(list(weights.values()))]
    for update in gradients:
        for name, weight in weights.items():
            weight.grad = update[name]
        for optimizer in by_hand:
            optimizer.step()
    assert len(gradients) == 4
    for name, weight in learner.model.named_parameters():
        assert torch.equal(weight, weights[name]), name
        assert not torch.equal(weight, first[name]), name


def test_a_restart_in_the_middle_continues_with_the_same_bytes(
    config: LearnConfig, tmp_path: Any
) -> None:
    whole = make_learner(config)
    groups = make_groups(whole)
    whole.learn(groups)
    whole.save_state(tmp_path / "state.safetensors")
    resumed = make_learner(config)
    resumed.load_state(tmp_path / "state.safetensors")
    for learner in (whole, resumed):
        learner.learn(groups)
        learner.learn(groups[:2])
    assert digest_tensors_of(whole.export_state()) == digest_tensors_of(resumed.export_state())
    fresh = make_learner(config)
    masters = name_masters(pick_masters(dict(whole.export_state())))
    fresh.import_state(masters | {"step": torch.ones(1)})
    fresh.learn(groups)
    whole.learn(groups)  # the moments do matter
    assert digest_tensors_of(whole.export_state()) != digest_tensors_of(fresh.export_state())


def test_masters_of_a_merge_keep_the_moments(config: LearnConfig, tmp_path: Any) -> None:
    learner = make_learner(config)
    learner.learn(make_groups(learner))
    before = dict(learner.export_state())
    before = {name: tensor.clone() for name, tensor in before.items()}
    merged = {name: 0.5 * master for name, master in pick_masters(before).items()}
    save_file(before | name_masters(merged), tmp_path / "begin.safetensors")
    learner.load_state(tmp_path / "begin.safetensors")
    after = dict(learner.export_state())
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        kept = merged.get(name.removeprefix("master."), before[name])
        assert torch.equal(tensor, kept), name


def test_it_learns_as_well(config: LearnConfig) -> None:
    """What is rewarded becomes likelier, by at least half as much as with AdamW."""
    gains = []
    for each in (config, replace(CONFIG, optimizer="adamw")):
        learner = make_learner(replace(each, weight_decay=0.0))
        groups = make_groups(learner)
        before = sum(measure(learner, [10, 11], [5, 5, 1]))
        for _ in range(5):
            learner.learn(groups)
        gains.append(sum(measure(learner, [10, 11], [5, 5, 1])) - before)
    assert gains[1] > 1
    assert gains[0] > 0.5 * gains[1]


def test_names_types_and_shapes_of_a_state(config: LearnConfig) -> None:
    learner = make_learner(config)
    learner.learn(make_groups(learner))
    state = {n: t for n, t in learner.export_state() if not n.startswith("master.") and n != "step"}
    expected = {}
    for i, (name, weight) in enumerate(learner.model.named_parameters()):
        shape, count = tuple(weight.shape), weight.numel()
        if config.optimizer == "muon" and "proj.weight" in name:
            expected[f"muon.{i}.momentum_buffer"] = torch.float32, shape
            continue
        kind, names = "adam", ("exp_avg", "exp_avg_sq")
        if config.optimizer == "adamw8bit":
            kind, names = "adam8bit", ("state1", "state2")
        expected[f"{kind}.{i}.step"] = torch.float32, (1,)
        coded = config.optimizer == "adamw8bit" and count >= FEWEST
        for moment in names:
            expected[f"{kind}.{i}.{moment}"] = (torch.uint8 if coded else torch.float32), shape
        if coded:
            blocks = -(-count // BLOCK)
            expected |= {f"{kind}.{i}.absmax{n}": (torch.float32, (blocks,)) for n in (1, 2)}
    assert {name: (t.dtype, tuple(t.shape)) for name, t in state.items()} == expected
    if config.optimizer == "adamw8bit":
        assert {t.dtype for t in state.values()} == {torch.uint8, torch.float32}


def test_codes_are_the_nearest_as_the_specification_says() -> None:
    """A code's value is table[code] times its block's largest size. From the state before, AdamW's
    formula gives the moments, whose nearest values the new codes name, to 2^-15 of that size: the
    library's kernel for CPUs looks them up in as many steps."""
    choose("adamw8bit")
    weight = nn.Parameter(torch.zeros(ODD))
    model = nn.ParameterList([weight])
    optimizer = make_optimizer("adamw8bit", model, (), 1e-3, (0.9, 0.95), 0.0)
    generator = torch.Generator().manual_seed(0)
    read: list[Tensor] = [torch.zeros(ODD), torch.zeros(ODD)]
    for _ in range(3):
        weight.grad = torch.randn(ODD, generator=generator)
        optimizer.step()
        exact = [0.9 * read[0] + 0.1 * weight.grad, 0.95 * read[1] + 0.05 * weight.grad**2]
        state = optimizer.get_state()
        for i, values in enumerate(exact, 1):
            codes, sizes = state[f"adam8bit.0.state{i}"], state[f"adam8bit.0.absmax{i}"]
            assert len(sizes) == 20
            largest = [part.abs().max() for part in values.split(BLOCK)]
            torch.testing.assert_close(sizes, torch.stack(largest), rtol=1e-6, atol=0)
            scale = sizes.repeat_interleave(BLOCK)[:ODD]
            table = make_table(signed=i == 1)
            read[i - 1] = table[codes.int()] * scale
            nearest = (table[None, :] - (values / scale)[:, None]).abs().min(dim=1).values
            off = (read[i - 1] - values).abs() / scale
            assert (off <= nearest + 2.0**-15).all()
            assert (off > 1e-6).any()


def make_table(*, signed: bool) -> Tensor:
    """Float32 [256], as section 11 of the specification defines it."""
    values = [0.0, 1.0]
    for exponent in range(7):
        count = 2**exponent if signed else 2 ** (exponent + 1)
        for k in range(count):
            value = 10.0 ** (exponent - 6) * (0.1 + 0.9 * (k + 0.5) / count)
            values += [value, -value] if signed else [value]
    assert len(values) == 256
    return torch.tensor(sorted(values))


def test_the_tables_are_the_librarys() -> None:
    choose("adamw8bit")
    from bitsandbytes.functional import create_dynamic_map

    for signed in (True, False):
        table = make_table(signed=signed)
        torch.testing.assert_close(create_dynamic_map(signed), table, rtol=3e-7, atol=0)


#: Shapes of SmolLM2-135M's weights: of the embeddings, in 16 parts that have whole blocks, of each
#: of 30 layers, and of the last norm.
LAYER = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)]
SHAPES = [*16 * [(3_072, 576)], *30 * [*LAYER, (576,), (576,)], (576,)]


def count_bytes(name: OptimizerName) -> int:
    """Bytes of the moments and counters of all these weights, after an update of each shape."""
    each = {}
    for shape in set(SHAPES):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.zeros(shape)
        optimizer = make_optimizer(name, nn.ParameterList([weight]), (), 1e-3, (0.9, 0.95), 0.0)
        optimizer.step()
        each[shape] = sum(t.numel() * t.element_size() for t in optimizer.get_state().values())
    return sum(each[shape] for shape in SHAPES)


def test_memory_of_the_moments_of_135_million_weights() -> None:
    choose("adamw8bit")
    assert sum(torch.Size(shape).numel() for shape in SHAPES) == 134_515_008
    whole = count_bytes("adamw")
    assert whole == 8 * 134_515_008 + 4 * len(SHAPES)
    assert 0.25 < count_bytes("adamw8bit") / whole < 0.26


def spoil_kind(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """A tensor as only the other optimisers have it."""
    foreign = "adam8bit.0.state1" if any(n.startswith("adam.") for n in state) else "adam.0.exp_avg"
    return state | {foreign: state[name]}


def spoil_shape(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return state | {name: state[name][:-1]}


def spoil_type(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return state | {name: state[name].double()}


def spoil_presence(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {n: tensor for n, tensor in state.items() if n != name}


def spoil_place(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    kind, _, moment = name.split(".")
    return state | {f"{kind}.99.{moment}": state[name]}


@pytest.mark.parametrize(
    "spoil", [spoil_kind, spoil_shape, spoil_type, spoil_presence, spoil_place]
)
def test_a_state_that_does_not_fit_is_refused(
    config: LearnConfig, spoil: Callable[[dict[str, Tensor], str], dict[str, Tensor]]
) -> None:
    """A stranger made the state that a repetition of a step begins with."""
    learner = make_learner(config)
    learner.learn(make_groups(learner))
    state = dict(learner.export_state())
    names = [
        n for n, t in state.items() if n.split(".")[0] not in ("master", "step") and len(t) > 1
    ]
    with pytest.raises((ValueError, IndexError), match=r"weight|optimiser"):
        make_learner(config).import_state(spoil(state, names[-1]))


def test_another_version_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers_module, "BITSANDBYTES", "0.1.0")
    with pytest.raises(MissingExtraError, match=r"needs bitsandbytes 0\.1\.0, .*\[adamw8bit\]"):
        make_learner(replace(CONFIG, optimizer="adamw8bit"))


def test_muon_does_not_learn_factors() -> None:
    with pytest.raises(OptimizerError, match="set lora_rank = 0"):
        make_learner(replace(CONFIG, optimizer="muon", lora_rank=2))


def test_factors_learn_at_8_bits() -> None:
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    learner = make_learner(replace(choose("adamw8bit"), lora_rank=64, learning_rate=1e-2))
    before = learner.bf16_state()
    learner.learn(make_groups(learner))
    state = dict(learner.export_state())
    assert any(t.dtype == torch.uint8 for t in state.values())
    again = make_learner(learner.config)
    again.import_state(state)
    after = again.bf16_state()
    assert any(not torch.equal(after[name], before[name]) for name in after)
    assert all(torch.equal(after[name], weight) for name, weight in learner.bf16_state().items())
