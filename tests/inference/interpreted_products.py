"""Triton's kernels of split products, interpreted on a CPU: run by `test_card_kernels.py`, as
`interpreted_kernels.py` is. By hand:

    TRITON_INTERPRET=1 pytest tests/inference/interpreted_products.py
"""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from assay.inference import split_kernels
from assay.inference.grouping import mix_slots
from assay.inference.split_kernels import Groups, Tile

#: Rows, factors and columns: single ones, a piece and its neighbours, none that a tile divides.
ODD = [(1, 1, 1), (17, 513, 3), (3, 512, 17), (1, 511, 33), (5, 64, 16), (2, 1_100, 5), (0, 40, 7)]
EXPERTS = 5
NIGHTLY = pytest.mark.nightly


def draw(seed, *shape, whole=True, most=9):
    """Whole numbers of at most `most`: a sum below 2^24 is exact in any order, which is BLAS's."""
    generator = torch.Generator().manual_seed(seed)
    if whole:
        return torch.randint(-most, most + 1, shape, generator=generator).float()
    return torch.randn(shape, generator=generator)


def multiply(x, weight, bias=None, groups=None, tile=None):
    rows = len(x) if groups is None else len(groups.sources)
    product = torch.full((rows, weight.shape[-2]), torch.nan)
    split_kernels.multiply(
        tuple(split_kernels.split(x)), weight.bfloat16(), bias, product, groups, tile
    )
    return product


def split_on_a_cpu(x):
    """The same three terms as torch rounds them."""
    parts, rest = [], x
    for _ in range(3):
        parts.append(rest.bfloat16())
        rest = rest - parts[-1].float()
    return parts[::-1]


@pytest.mark.parametrize("count", [0, 1, 4_097])
def test_terms_are_torch_s_bit_for_bit(count):
    x = draw(0, count, whole=False) * 2.0 ** torch.linspace(-100, 100, count)
    ties = torch.tensor([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, 0.0, -0.0, 3.4e38])
    x = torch.cat([x, ties])
    found = split_kernels.split(x)
    assert found.dtype == torch.bfloat16
    for term, expected in zip(found, split_on_a_cpu(x), strict=True):
        assert torch.equal(term[: count + 5], expected[: count + 5])
    exact = sum(term.double() for term in found)[:-1]
    assert torch.equal(exact, x.double()[:-1])
    broken = torch.tensor([torch.nan, torch.inf, 0.0])
    broken[2:].view(torch.int32).fill_(0x7FFFFFFF)  # a card's
    assert split_kernels.split(broken).float().sum(0).isnan().all()


@pytest.mark.parametrize(("rows", "inner", "out"), ODD)
def test_products_of_small_integers_are_exact(rows, inner, out):
    x, weight, bias = draw(1, rows, inner), draw(2, out, inner), draw(3, out)
    expected = x @ weight.T
    assert torch.equal(multiply(x, weight), expected)
    assert torch.equal(multiply(x, weight, bias), expected + bias)
    assert torch.equal(multiply(x, weight.T.contiguous().T), expected)


def test_the_error_is_that_of_fp32():
    """With 24 bits of an activation: two terms alone would be a hundred times as far off."""
    x, weight = draw(4, 9, 1_300, whole=False), draw(5, 7, 1_300, whole=False).bfloat16().float()
    exact = x.double() @ weight.double().T
    scale = x.double().abs() @ weight.double().abs().T
    assert float(((multiply(x, weight) - exact).abs() / scale).max()) < 1_300 * 2.0**-23 / 10
    assert float(((x @ weight.T - exact).abs() / scale).max()) < 1_300 * 2.0**-23


def test_each_piece_of_the_largest_terms_is_summed_alone():
    """A unit is lost beside 2^24, seven times in its piece; the sums of other pieces are not."""
    x = torch.zeros(1, 3 * 512)
    x[0, ::64] = 1.0
    x[0, 0] = 2.0**24
    assert multiply(x, torch.ones(1, 3 * 512)).item() == 2.0**24 + 8 + 8


def gate_on_a_cpu(x, gate, up):
    return functional.silu(x @ gate.T) * (x @ up.T)


@pytest.mark.parametrize(
    ("rows", "inner", "out"), [(1, 1, 1), (17, 513, 3), (33, 70, 40), (0, 5, 4)]
)
def test_a_gate_writes_the_terms_of_its_result(rows, inner, out):
    """From matrices of two tensors, and of one, in either layout. Of exact products, so that only
    exp and quotients round: the activations have two terms."""
    x, stack = draw(16, rows, inner, most=2_047) / 2**14, draw(17, 2 * out, inner).bfloat16()
    expected = gate_on_a_cpu(x, *stack.float().split(out))
    apart = stack[:out].clone(), draw(18, 7), stack[out:].clone()
    for gate, up in (
        stack.split(out),
        stack.T.contiguous().T.split(out),
        apart[::2],
        apart[::2][::-1],
    ):
        made = split_kernels.multiply_gates(tuple(split_kernels.split(x)), gate, up)
        found = sum(term.float() for term in made)
        other = expected if gate is not apart[2] else gate_on_a_cpu(x, gate.float(), up.float())
        torch.testing.assert_close(found, other, rtol=2e-6, atol=2e-6)
        for term, again in zip(made, split_on_a_cpu(found), strict=True):
            assert torch.equal(term, again)


def test_a_gate_has_all_three_terms():
    """Of four factors, by the error of their sums: without the smallest term it is four times the
    bound."""
    x, stack = draw(21, 40, 4, whole=False), draw(22, 32, 4).bfloat16()
    gate, up = (x.double() @ part.double().T for part in stack.split(16))
    scale = [x.double().abs() @ part.double().abs().T for part in stack.split(16)]
    made = split_kernels.multiply_gates(tuple(split_kernels.split(x)), *stack.split(16))
    expected = functional.silu(gate) * up
    off = (sum(term.double() for term in made) - expected).abs()
    # silu is no steeper than 1.1, and its terms, exp, quotient and product round
    bound = 1.1 * scale[0] * up.abs() + functional.silu(gate).abs() * scale[1] + expected.abs()
    assert float((off / bound).max()) < 16 * 2.0**-24


@pytest.mark.parametrize("tile", [Tile(16, 32, 1, 1), Tile(32, 16, 1, 1)])
def test_another_tile_gives_the_same_bits(tile):
    """In a program's part one factor alone is not 0, so that what BLAS does with a part is exact:
    the sums of parts and pieces round, in an order that must be the same."""
    x, weight = torch.zeros(33, 1_100), draw(7, 33, 1_100)
    x[:, :: split_kernels.FACTORS] = draw(6, 33, 18, whole=False)
    expected = multiply(x, weight)
    assert torch.equal(multiply(x, weight, tile=tile), expected)
    assert not torch.equal(multiply(x.flip(1), weight.flip(1), tile=tile), expected)


@pytest.mark.parametrize(
    "counts", [[3, 0, 20, 1, 0], [0, 0, 0, 0, 17], [16, 16, 0, 1, 15], [0, 0, 0, 0, 0]]
)
@pytest.mark.parametrize("transposed", [False, True])
def test_each_row_has_its_own_matrix(counts, transposed):
    """Of a matrix without rows, with one, with all, and with as many as a tile has."""
    x, stack, biases = draw(8, 9, 70), draw(9, EXPERTS, 24, 70), draw(10, EXPERTS, 24)
    sources = torch.arange(sum(counts)) * 5 % 9
    if transposed:
        stack = stack.mT.contiguous().mT
    numbers = torch.repeat_interleave(torch.arange(EXPERTS), torch.tensor(counts))
    groups = Groups(torch.tensor(counts).cumsum(0), sources)
    expected = torch.einsum("nk,nok->no", x[sources], stack[numbers])
    assert torch.equal(multiply(x, stack, groups=groups), expected)
    assert torch.equal(multiply(x, stack, biases, groups), expected + biases[numbers])


def test_each_row_has_the_gate_of_its_expert():
    counts, x = [3, 0, 20, 1, 0], draw(19, 9, 70, most=2_047) / 2**14
    stack = draw(20, EXPERTS, 24, 70).bfloat16()
    sources = torch.arange(24) * 5 % 9
    groups = Groups(torch.tensor(counts).cumsum(0), sources)
    made = split_kernels.multiply_gates(split_kernels.split(x).unbind(), *stack.chunk(2, 1), groups)
    numbers = torch.repeat_interleave(torch.arange(EXPERTS), torch.tensor(counts)).tolist()
    expected = torch.stack(
        [
            gate_on_a_cpu(x[source], *stack[number].float().chunk(2))
            for source, number in zip(sources.tolist(), numbers, strict=True)
        ]
    )
    torch.testing.assert_close(made.float().sum(0), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("most", [1, 3])
def test_a_mixture_in_one_launch_is_the_loop_over_experts(most):
    """Of small integers, bit for bit. Some tokens have fewer experts, or none."""
    experts = SimpleNamespace(
        num_experts=EXPERTS,
        gate_up_proj=draw(11, EXPERTS, 24, 20).bfloat16(),
        down_proj=draw(12, EXPERTS, 20, 12).bfloat16(),
        has_bias=False,
        is_transposed=False,
        _apply_gate=lambda wide: wide[:, :12].relu() * wide[:, 12:].sign(),
    )
    numbers = torch.rand(14, EXPERTS, generator=torch.Generator().manual_seed(13)).topk(most)[1]
    numbers[:, 0] = 2  # which all tokens have
    numbers[numbers == 4] = EXPERTS  # which none has
    numbers[3] = EXPERTS
    weights = draw(14, 14, most).abs().masked_fill(numbers == EXPERTS, 0)
    x = draw(15, 14, 20)

    def multiply_groups(rows, sources, slots, stack, biases):
        return multiply(rows, stack, biases, Groups(slots.ends, sources))

    expected = torch.zeros_like(x)
    for token, slot in (numbers < EXPERTS).nonzero().tolist():
        number = numbers[token, slot]
        inner = experts._apply_gate(  # noqa: SLF001
            functional.linear(x[token : token + 1], experts.gate_up_proj[number].float())
        )
        outer = functional.linear(inner, experts.down_proj[number].float())
        expected[token] += outer[0] * weights[token, slot]
    assert torch.equal(mix_slots(experts, x, numbers, weights, multiply_groups), expected)
    assert expected.abs().max() > 1_000


MODELS = {"qwen2": ("GatedQwen2MLP", []), "qwen3_moe": ("GatedQwen3MoeMLP", [True])}
MODELS |= {"gpt_oss": (None, [False] * 2), "gemma3_text": (None, [])}


@pytest.mark.parametrize(
    "kind", [kind if kind == "qwen2" else pytest.param(kind, marks=NIGHTLY) for kind in MODELS]
)
def test_a_model_s_products_go_through_them(kind, monkeypatch):
    """As on a card: the splitter's terms, one after the other and kept, biases, gates where silu is
    between their products, and experts."""
    from assay.inference import split, split_model
    from assay.inference.split import Splitter
    from assay.inference.split_model import SplitExperts, SplitModel
    from tests.inference.family_models import get_model

    model = copy.deepcopy(get_model(kind))
    ids = torch.arange(2, 20)[None]

    def read():
        made = SplitModel(model)
        calls.clear()
        with torch.no_grad():
            return made, made.lm_head(made.model(ids).last_hidden_state[0])

    def note(name, run):
        def noting(*given):
            calls.append(name)
            return run(*given)

        monkeypatch.setattr(split_kernels, name, noting)

    calls = []
    _, expected = read()
    for name in ("multiply", "multiply_gates"):
        note(name, getattr(split_kernels, name))
    monkeypatch.setattr(split, "_CPU_ELEMENTS", 300)
    monkeypatch.setattr(split, "_CARD_ELEMENTS", 300)
    monkeypatch.setattr(split_model, "_SLOT_ELEMENTS", 500)
    monkeypatch.setattr(Splitter, "load_kernels", lambda *_: split_kernels)
    monkeypatch.setattr(split_model, "_as_factor", lambda weight: weight.detach().bfloat16())
    found, logits = read()
    torch.testing.assert_close(logits, expected, rtol=0, atol=5e-5)
    modules = list(found.twin.modules())
    gated, mixed = MODELS[kind]
    assert (gated in {type(module).__name__ for module in modules}) == (gated is not None)
    assert [m._is_gated for m in modules if isinstance(m, SplitExperts)] == mixed  # noqa: SLF001
    assert ("multiply_gates" in calls) == (gated is not None)
    assert calls.count("multiply") > 10
    split.try_out(split_kernels, torch.device("cpu"))
