"""Models that no family describes: their own class reads them, and probes refuse what no judge
could measure."""

import copy
import json
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, GPTNeoXForCausalLM

from assay.inference.calibration import measure_rates
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.inference.generate import GroupRequest, follow_groups, generate_groups
from assay.inference.head import compute_logits, find_finisher
from assay.inference.implementations import find_pair, make_learning_twin, make_model
from assay.inference.measurable import require_measurable
from assay.inference.passages import Passage
from assay.inference.plain import drafting, opening
from assay.inference.plain.head import UnknownHeadError, find_head
from assay.inference.plain.opening import LackingClassError, find_plain_misfit, open_class
from assay.inference.plain.states import read_states
from assay.inference.plain.tracing import trace
from assay.inference.plain_config import find_plain_fault
from assay.inference.plain_probes import list_lengths, probe_plain
from assay.inference.probes import ProbeError
from assay.inference.reading import make_packs, read_alone, read_pack
from assay.inference.reference import Reference
from assay.protocol.parameters import SMALL_MODEL_TESTS, ModelClass
from assay.verification import Projection
from tests.inference.family_models import get_model
from tests.inference.plain_models import COURSE, VOCABULARY, make_plain_config, make_plain_model

DRAWABLE = np.ones(VOCABULARY, bool)
#: Of one kind of layers each: attention, a scan, a convolution, compressed keys.
SOME = ("gpt_neox", "falcon_h1", "lfm2", "minicpm3")
#: All that were seen to open: docs/models.md.
OPENING = dict.fromkeys(
    (*SOME, *COURSE, "bart", "gpt2", "mvp", "olmo_hybrid", "opt", "recurrent_gemma", "youtu")
)


def open_plain(kind: str, **more: Any) -> Any:
    model: Any = make_plain_model(make_plain_config(kind, **more))
    model.plain_head = find_head(model)
    return model


@pytest.mark.parametrize("kind", [kind for kind in OPENING if kind in CONFIG_MAPPING])
def test_a_class_that_is_a_function_of_its_tokens_holds(kind: str) -> None:
    probes = require_measurable(open_plain(kind), 512)
    assert all(probe.holds for probe in probes)
    assert {"again", "prefix", "choices", "memory"} <= {probe.name for probe in probes}


# --- classes that nobody can measure


class _Odd(GPTNeoXForCausalLM):
    """A class that does something to the embedding of its tokens."""

    def forward(self, input_ids: Any = None, **others: Any) -> Any:
        table = self.get_input_embeddings()
        embedded = self.change(table(input_ids), input_ids)
        return super().forward(inputs_embeds=embedded, **others)

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        raise NotImplementedError


class LongerBatch(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded * (1 + 0.1 * (len(ids) > 1))


class Counter(_Odd):
    count = 0

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        self.count += 1
        return embedded * (1 + self.count / 100)


class Clock(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded * (1 + time.time() // 1e6)


class Watch(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        time.monotonic()
        return embedded


class Printer(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        print("reading")
        return embedded


class Square(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        table = self.get_input_embeddings().weight
        return embedded + 0 * (table @ table.T).mean()


class Neurons(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        best = embedded.topk(4, dim=-1).indices
        return torch.zeros_like(embedded).scatter(-1, best, embedded.gather(-1, best))


class Threshold(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.where(embedded > 0.5, embedded, -embedded)


class Masked(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded.masked_fill(embedded.abs() > 1, 0.0)


class Rounded(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return (embedded * 8).round() / 8


class Branch(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded if embedded[0, 0].abs().max() > 1 else -embedded


class Chance(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        torch.manual_seed(0)  # the same bits again
        return embedded + torch.randn(embedded.shape[-1])


class Later(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded + embedded[:, -1:]


class Long(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded * (1 + 0.1 * (ids.shape[1] > 200))


class FarAway(_Odd):
    """It sees the future beyond a length that no probe's row has."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded + embedded[:, -1:] * (ids.shape[1] > self.config.attention_window)


class FarChoice(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        if ids.shape[1] <= self.config.attention_window:
            return embedded
        return embedded + torch.nn.functional.one_hot(embedded.argmax(-1), embedded.shape[-1])


class Listed(_Odd):
    """All values go to Python, past torch's operators."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded * 1.5 if max(embedded[0, 0].abs().tolist()) > 1 else embedded


class Converted(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.from_numpy((embedded.numpy() * 8).round() / 8)


class Divided(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.div(embedded, 0.125, rounding_mode="floor") * 0.125


class Shrunk(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.nn.functional.hardshrink(embedded, 0.5)


class Narrow(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded.bfloat16().float()


class Quantised(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(embedded, 0.1, 0, -128, 127)


class InPlace(_Odd):
    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded.clone().remainder_(0.25)


class Indexed(_Odd):
    """Its numbers come from a weight without an embedding's operator."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        found = self.get_input_embeddings().weight[ids]
        return torch.zeros_like(found).scatter(-1, found.topk(4, -1).indices, 1.0)


class FarThreshold(_Odd):
    """No number of the probe's row comes near."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.where(embedded > 50, torch.zeros_like(embedded), embedded)


class Drawn(_Odd):
    """What it draws when it is built is in no file."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        drawn = torch.randn(config.hidden_size)
        self.register_buffer("drawn", drawn, persistent=False)

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded + self.drawn.to(embedded.device)


class Late(_Odd):
    """A length that no config names."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded + embedded[:, -1:] * (ids.shape[1] > 700)


class ByLayer(_Odd):
    """A length for each layer."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded + embedded[:, -1:] * (ids.shape[1] > self.config.layer_windows[1])


class Biased(_Odd):
    """Behind its output matrix is a weight, all zeros until it learns."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.register_buffer("last", torch.zeros(config.vocab_size))

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded

    def forward(self, *args: Any, **others: Any) -> Any:
        out = super().forward(*args, **others)
        out.logits = out.logits + self.last
        return out


ODD = {
    Listed: ("choices", "tolist"),
    Converted: ("choices", "numpy"),
    Divided: ("choices", "div"),
    Shrunk: ("choices", "hardshrink"),
    Narrow: ("choices", "_to_copy"),
    Quantised: ("choices", "fake_quantize"),
    InPlace: ("choices", "remainder"),
    Indexed: ("choices", "topk"),
    FarThreshold: ("choices", "gt"),
    Drawn: ("again", ""),
    Late: ("longest", ""),
    ByLayer: ("length layer_windows", ""),
    Biased: ("head", "with other weights"),
    LongerBatch: ("batch", ""),
    Counter: ("again", ""),
    Clock: ("clock", ""),
    Watch: ("clock", "time.monotonic"),
    Printer: ("silence", "reading"),
    Square: ("memory", "mm"),
    Neurons: ("choices", "topk"),
    Threshold: ("choices", "gt"),
    Masked: ("choices", "gt"),
    Rounded: ("choices", "round"),
    Branch: ("choices", "its code"),
    Chance: ("choices", "random"),
    Later: ("prefix", ""),
    Long: ("prefix", ""),
    FarAway: ("length attention_window", ""),
    FarChoice: ("length attention_window", "argmax"),
}


def make_odd(kind: Any) -> Any:
    config = make_plain_config("gpt_neox", attention_window=100_000, layer_windows=[1, 100_000])
    ordinary = make_plain_model(config)
    model = kind(config).float().eval().requires_grad_(False)
    model.load_state_dict(ordinary.state_dict(), strict=False)
    model.plain_head = find_head(model)
    return model


@pytest.mark.parametrize("kind", ODD, ids=lambda kind: kind.__name__)
def test_a_class_that_is_none_is_refused_by_the_probe_that_it_fails(kind: Any) -> None:
    name, word = ODD[kind]
    with pytest.raises(ProbeError, match=rf"\({name}\)") as refused:
        require_measurable(make_odd(kind), 512)
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


class Kink(_Odd):
    """Continuous, though it compares."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.where(embedded > 0, embedded, 0.1 * embedded).masked_fill(
            ids.eq(3)[..., None], 0
        )


class FarKink(_Odd):
    """Continuous at a threshold that no number comes near."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return torch.where(embedded > 20, embedded, torch.log1p(torch.exp(embedded)))


class Highest(_Odd):
    """Order statistics are continuous, and their places are not asked for."""

    def change(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return embedded - embedded.topk(2, dim=-1).values.mean(-1, keepdim=True)


@pytest.mark.parametrize("kind", [Kink, FarKink, Highest])
def test_a_continuous_function_is_no_choice(kind: Any) -> None:
    model = make_odd(kind)
    assert trace(model, torch.arange(40)[None]).findings == ()


def test_a_choice_that_no_trace_sees_shows_in_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice of one implementation alone: as of a kernel of its own."""
    model = open_plain("gpt_neox")
    from assay.inference import plain_probes as probes

    def make_off(source: Any, name: str) -> Any:
        made = make_model(source, name)
        if name == "fp32-eager":
            made.twin = copy.deepcopy(made.twin)
            weight = made.twin.get_input_embeddings().weight
            made.twin.get_input_embeddings().weight = torch.nn.Parameter(weight.clone())
            made.twin.get_input_embeddings().weight[7] *= 1.1
        return made

    monkeypatch.setattr(probes, "make_model", make_off)
    with pytest.raises(ProbeError, match="fp32-sdpa and fp32-eager"):
        require_measurable(model, 512)


# --- heads


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("falcon_h1", "multiply"), ("granitemoehybrid", "divide"), ("recurrent_gemma", "cap")],
)
def test_what_follows_an_output_matrix_is_found_to_the_bit(kind: str, rule: str) -> None:
    more = {"lm_head_multiplier": 0.3} if kind == "falcon_h1" else {}
    more = {"logits_scaling": 3.0} if kind == "granitemoehybrid" else more
    model = open_plain(kind, **more)
    assert find_finisher(model).rule == rule
    reader = make_model(model, "fp32-sdpa")
    ids = torch.arange(30)[None]
    with torch.inference_mode():
        found = compute_logits(reader, reader.model(ids).last_hidden_state)
        assert torch.allclose(found, model(input_ids=ids, use_cache=False).logits, atol=1e-5)


@pytest.mark.parametrize("changed", ["lm_head.weight", "model.embed_tokens.weight"])
def test_no_weights_have_another_head_found(changed: str) -> None:
    """A trainer may publish any. Rows of zeros would fit every rule, and none is found for sums
    that overflow on one machine."""
    model = open_plain("falcon_h1", lm_head_multiplier=0.3)
    for number in (0.0, 3e38):
        model.get_parameter(changed).data.fill_(number)
        assert find_head(model) == model.plain_head


def test_the_kernels_of_a_class_that_caps_its_scores_are_not_called() -> None:
    model = open_plain("vaultgemma", attn_logit_softcapping=0.01)
    ids = torch.randint(VOCABULARY, (1, 60), generator=torch.Generator().manual_seed(1))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        wanted = read_states(model, ids)
        for name in ("fp32-sdpa", "fp32-eager", "split3"):
            found = make_model(model, name).model(ids).last_hidden_state
            assert float((found - wanted).abs().max()) < 1e-3 * float(wanted.std()), name


class Shifted(GPTNeoXForCausalLM):
    def forward(self, *args: Any, **others: Any) -> Any:
        out = super().forward(*args, **others)
        out.logits = out.logits.log_softmax(-1)
        return out


def test_another_head_is_refused() -> None:
    model = Shifted(make_plain_config("gpt_neox")).eval()
    with pytest.raises(UnknownHeadError, match="differ by"):
        find_head(model)


def test_a_class_that_replaces_modules_at_its_first_short_row_is_refused() -> None:
    """BigBird sees blocks of a long row, and no blocks any more once it has read a short one."""
    with pytest.raises(ProbeError, match=r"\(longest\)"):
        require_measurable(open_plain("big_bird"), 512)


# --- the plain path beside a family's


def make_plain_copy() -> tuple[Any, Any]:
    """A llama as its family reads it, and as its class does."""
    family = get_model("llama")
    plain: Any = copy.deepcopy(family)
    plain.plain_head = find_head(plain)
    return family, plain


def test_a_familys_model_read_plainly_is_the_same() -> None:
    """Rates of the pair of both paths are those of two implementations, within the cap's rule."""
    family, plain = make_plain_copy()
    random = np.random.default_rng(3)
    passages = [
        Passage(
            tuple(random.integers(0, 96, 20).tolist()), tuple(random.integers(0, 96, 40).tolist())
        )
        for _ in range(20)
    ]
    packed, read = (
        Reference(make_model(model, "fp32-sdpa"), DRAWABLE, 1_024) for model in (family, plain)
    )
    tests = SMALL_MODEL_TESTS
    levels = (*tests.margin_levels, tests.margin_cap)
    rates = measure_rates(packed, read, passages, levels, 1_024).rates
    assert rates[-1] <= 10**8  # at most 1e-10 beyond the cap
    assert all(rate <= most for rate, most in zip(rates, tests.rate_limits, strict=False))


def test_two_implementations_of_a_class_differ_by_less_than_the_cap() -> None:
    for kind in SOME:
        model = open_plain(kind)
        ids = torch.randint(VOCABULARY, (1, 200), generator=torch.Generator().manual_seed(1))
        one, other = (make_model(model, name) for name in find_pair(model))
        with torch.inference_mode():
            logits = [
                compute_logits(side, side.model(ids).last_hidden_state) for side in (one, other)
            ]
        assert 0 < float((logits[0] - logits[1]).abs().max()) < 2e-4


def test_one_attention_is_compared_with_split_products() -> None:
    assert find_pair(open_plain("mamba2")) == ("fp32-sdpa", "split3")
    assert find_pair(open_plain("gpt_neox")) == ("fp32-sdpa", "fp32-eager")


# --- reading, drafting, learning


@pytest.mark.parametrize("kind", SOME)
def test_a_pack_is_read_row_by_row(kind: str) -> None:
    model = open_plain(kind)
    random = np.random.default_rng(1)
    prompts = [random.integers(0, 96, 9).tolist()] * 2 + [random.integers(0, 96, 4).tolist()]
    completions = [random.integers(0, 96, count).tolist() for count in (5, 8, 3)]
    (pack,) = make_packs(prompts, completions)
    with torch.inference_mode():
        found = read_pack(make_learning_twin(model), pack)
        alone = {
            i: s for (i,), (s,) in read_alone(make_model(model, "fp32-sdpa"), prompts, completions)
        }
    for place, states in zip(pack.indices, found, strict=True):
        assert torch.allclose(states, alone[place], atol=1e-4)


@pytest.mark.parametrize("kind", [*SOME, "mamba2", "nemotron_h"])
def test_a_draft_by_the_cache_is_a_draft_by_reading_the_whole(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = Rules(1_024, (1,), 24)
    asked = [Request(tuple(range(5, 5 + n)), bytes([i]) * 32) for i, n in enumerate((6, 6, 6, 9))]
    model = open_plain(kind)
    assert drafting.has_cache(model)
    drafts = OwnDrafter(model, DRAWABLE, rules).draft(asked)
    monkeypatch.setattr(drafting, "has_cache", lambda model: False)
    assert OwnDrafter(model, DRAWABLE, rules).draft(asked) == drafts


@pytest.mark.parametrize("kind", ["gpt_neox", "falcon_h1"])
def test_a_follower_draws_what_a_prefill_draws(kind: str) -> None:
    model, rules = open_plain(kind), Rules(1_024, (1,), 14)
    width = model.config.hidden_size
    projection = Projection(np.ones((width, 2), np.int8), np.zeros(width), 1.0)
    reference = Reference(make_model(model, "fp32-sdpa"), DRAWABLE, rules.temperature)
    prompt = tuple(np.random.default_rng(0).integers(2, VOCABULARY, 15).tolist())
    requests = [GroupRequest(prompt, (bytes(32), bytes([0, 1]) * 16))]
    drafter = OwnDrafter(model, DRAWABLE, rules)
    drawn = [
        draw(requests, drafter, reference, rules, projection)
        for draw in (generate_groups, follow_groups)
    ]
    for one, other in zip(*drawn, strict=True):
        for left, right in zip(one, other, strict=True):
            assert left.tokens.tolist() == right.tokens.tolist()
            assert np.abs(left.logprobs.astype(int) - right.logprobs.astype(int)).max() <= 1


@pytest.mark.parametrize("kind", SOME)
def test_every_weight_takes_a_gradient(kind: str) -> None:
    model = make_learning_twin(open_plain(kind)).requires_grad_(True)
    states = read_states(model, torch.arange(20)[None])
    compute_logits(model, states).square().mean().backward()
    assert [
        n for n, w in model.named_parameters() if w.grad is None or not w.grad.isfinite().all()
    ] == []


@pytest.mark.parametrize("kind", ["opt", "mpt"])
def test_a_class_with_so_many_places_reads_a_row_of_all_of_them(kind: str) -> None:
    places = {"opt": "max_position_embeddings", "mpt": "max_seq_len"}[kind]
    model = open_plain(kind, **{places: 100})
    ((_, (states,)),) = read_alone(make_model(model, "fp32-sdpa"), [[5] * 40], [[6] * 60])
    assert states.shape[0] == 60


def test_factors_beside_a_class_that_reads_weights_itself_are_refused() -> None:
    """Jamba's steps are `dt_proj.weight`'s products: LoRA's factors would learn, and do nothing."""
    from assay.training.config import LearnConfig
    from assay.training.learner import Learner
    from assay.training.optimizers import OptimizerError

    with pytest.raises(OptimizerError, match="set lora_rank = 0"):
        Learner(open_plain("jamba"), LearnConfig(lora_rank=4))


# --- opening


def write_fields(kind: str, **changes: Any) -> bytes:
    fields = json.loads(make_plain_config(kind).to_json_string(use_diff=False))
    return json.dumps({**fields, "model_type": kind, **changes}).encode()


def test_a_class_is_built_in_a_child() -> None:
    opened = open_class(write_fields("falcon_h1"))
    wanted = make_plain_model(make_plain_config("falcon_h1")).state_dict()
    assert opened.shapes == {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    assert find_plain_misfit(write_fields("falcon_h1"), opened.shapes) is None
    assert find_plain_misfit(write_fields("falcon_h1"), {}) is not None
    other = write_fields("falcon_h1", architectures=["LlamaForCausalLM"])
    assert "architectures" in str(find_plain_misfit(other, opened.shapes))


def test_a_mixture_is_refused_before_its_tensors_are_read() -> None:
    (choice, *_) = open_class(write_fields("granitemoe")).choices
    assert choice.startswith("topk in ")


def test_a_config_of_no_class_or_a_huge_one_ends_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LackingClassError, match="no causal language model of the type whisperer"):
        open_class(b'{"model_type": "whisperer"}')
    with pytest.raises(CheckpointError, match="refused by its own class") as caught:
        open_class(write_fields("gpt_neox", num_attention_heads=5))
    assert not isinstance(caught.value, UnusableCheckpointError)  # nor is what a class says
    monkeypatch.setattr(opening, "SECONDS", 2)
    with pytest.raises(CheckpointError, match="more than 2 processor seconds") as caught:
        open_class(write_fields("gpt_neox", num_hidden_layers=10**7))
    assert not isinstance(caught.value, UnusableCheckpointError)  # a quicker machine may build it

    def build(*_: Any, **__: Any) -> None:
        raise AssertionError("a child begins again")

    monkeypatch.setattr(opening.subprocess, "run", build)  # programs ask at every block
    with pytest.raises(LackingClassError, match="no causal language model of the type whisperer"):
        open_class(b'{"model_type": "whisperer"}')
    with pytest.raises(CheckpointError, match="refused by its own class"):
        open_class(write_fields("gpt_neox", num_attention_heads=5))
    with pytest.raises(CheckpointError, match="more than 2 processor seconds"):
        open_class(write_fields("gpt_neox", num_hidden_layers=10**7))


def test_a_class_that_changes_its_weights_is_refused_for_that() -> None:
    """RWKV divides those of every sixth layer at its first pass: here none, there two."""
    require_measurable(open_plain("rwkv", num_hidden_layers=2), 64)
    with pytest.raises(ProbeError, match=r"\(weights\).*it changes rwkv\.blocks\.6\."):
        require_measurable(open_plain("rwkv"), 64)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "code.Model"}}, "auto_map"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
        ({"hidden_size": None}, "hidden_size"),
        ({"vocab_size": 1 << 30}, "vocab_size"),
        ({"model_type": "../x"}, "no type"),
        ({"model_type": "bitnet"}, "ternary"),
        ({"model_type": "gemma3"}, "pictures"),
    ],
)
def test_the_gate_refuses(changes: dict[str, Any], word: str) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    config = {"model_type": "gpt_neox", **sizes}
    assert find_plain_fault(config) is None
    assert word in str(find_plain_fault({**config, **changes}))


def test_another_version_of_the_library_abstains(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ModelClass(b"\1" * 32, b"\2" * 32, "5.0.0", "fp32-sdpa", "split3")
    with pytest.raises(LackingClassError, match=r"pip install transformers==5\.0\.0"):
        opening.require_class(wanted)
    monkeypatch.setattr(opening, "get_library_version", lambda: "5.0.0")
    opening.require_class(wanted)
    monkeypatch.setattr(opening, "find_spec", lambda name: name == "fla" or None)
    with pytest.raises(LackingClassError, match="fla"):
        opening.require_class(wanted)


def test_lengths_of_a_config_are_found_wherever_they_are() -> None:
    config = make_plain_config("gpt_neox", attention_window=7)
    config.rope_parameters = {"rope_type": "yarn", "original_max_position_embeddings": 64}
    names = {".".join(place) for place, _ in list_lengths(config)}
    assert {"attention_window", "max_position_embeddings"} <= names
    assert "rope_parameters.original_max_position_embeddings" in names
    assert all(probe.holds for probe in probe_plain(open_plain("gpt_neox"), 256))
