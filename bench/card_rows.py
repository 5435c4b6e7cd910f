"""What a card owes, row by row: split products by the kernel and by the library's calls, experts of
a mixture in one launch and in a loop, an audit of an 8B, drift, drafting beside the plan, and where
a recurrent model's memory goes.

Without a GPU it prints one line; `--fast` runs tiny models there, with the kernels interpreted, to
show that the script works.
"""

import copy
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from figures import FAST, Figure, measure, measure_together, report

if FAST and not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # noqa: TID251 - Triton's, read when it is imported

import drift
from card_shapes import MINERS, make_subject, measure_prefill
from cards import (
    DEVICE,
    PROMPT,
    ROLLOUTS,
    TOKENS,
    Peak,
    Subject,
    compare_drafting,
    find_card,
    make_group,
    make_reference,
    tell,
)
from triton.errors import TritonError

from assay.inference import routing, split_kernels
from assay.inference.implementations import make_model
from assay.inference.placing.devices import CPU
from assay.inference.placing.model_sizes import measure_shape
from assay.inference.placing.precision import SUMMED
from assay.inference.split import Splitter, load_split_kernels, split_terms
from assay.inference.split_kernels import Tile
from assay.subnet.recipe import Lengths, read_recipe
from assay.subnet.window_costs import Card, compute_read_seconds

#: Rows, and the two shapes of factors and columns, those of Qwen2 1.5B.
ROWS, SHAPES = (24, ((520, 40), (640, 24))) if FAST else (8_192, ((1_536, 8_960), (8_960, 1_536)))
#: Relative to three products of bf16, of these shapes.
PRODUCTS_MAX = (1.3, 1.5)
#: Tiles to try, beside the one that is kept.
TILES = (
    Tile(128, 128, 8, 3),
    Tile(128, 128, 4, 4),
    Tile(128, 64, 4, 4),
    Tile(64, 128, 4, 4),
    Tile(256, 64, 8, 3),
    Tile(64, 256, 8, 3),
)
PREFILL_MAX, AUDIT_MAX, MIXTURE_MAX = 3.3, 300.0, 1.5
DRAFTED_LEAST = {"an 8B": 0.8, "a mixture": 0.5}
MIXTURE, MIXTURE_LAYERS = "qwen3-30b-a3b-math", 12
HYBRID, HYBRID_LAYERS = "qwen3.5-4b-math", 4
REPEATS = 1 if FAST else 5
SMALL = drift.Size(64, 128, 2, 2, 128, 1, 24)
#: Numbers of a mixture that is tiny.
_FEW_EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def wait(run: Callable[[], object]) -> Callable[[], None]:
    def waiting() -> None:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return waiting


@contextmanager
def multiplying(by_kernel: bool) -> Iterator[None]:
    """Split products by the kernel, which must run, or by the library."""
    kernels = None
    if by_kernel:
        device = torch.device(DEVICE)
        kernels = split_kernels if DEVICE == CPU else load_split_kernels(device)
        assert kernels is not None, "Triton does not run here"
    kept = Splitter.load_kernels
    Splitter.load_kernels = lambda *_: kernels  # type: ignore[method-assign]
    try:
        yield
    finally:
        Splitter.load_kernels = kept  # type: ignore[method-assign]


def multiply_whole(terms: torch.Tensor, tripled: torch.Tensor) -> torch.Tensor:
    """[h₃ h₂ h₁]·[W W W]: one product, all of the largest terms summed in the matrix units."""
    return _multiply(torch.cat(terms.unbind(), dim=1), tripled)


def multiply_pieces(terms: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """The largest terms' pieces as a batch, the smaller terms whole."""
    *smaller, largest = terms
    whole = largest.shape[1] // SUMMED * SUMMED
    total = sum((_multiply(term, factor) for term in smaller), torch.zeros(()))
    pieces = largest[:, :whole].view(len(largest), -1, SUMMED).transpose(0, 1)
    batch = factor[:whole].view(-1, SUMMED, factor.shape[1])
    if whole < largest.shape[1]:
        total = total + _multiply(largest[:, whole:], factor[whole:])
    return total + _multiply(pieces, batch).sum(0)


def _multiply(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """bf16 into fp32."""
    if not x.is_cuda:
        return x.float() @ factor.float()
    product = torch.bmm if x.dim() == 3 else torch.mm
    made: torch.Tensor = product(x, factor, out_dtype=torch.float32)  # type: ignore[call-overload]
    return made


def compare_products() -> Iterator[Figure]:
    """Time and error of every way to multiply, and of the kernel in other tiles."""
    random = torch.Generator(DEVICE).manual_seed(0)
    for (inner, out), most in zip(SHAPES, PRODUCTS_MAX, strict=True):
        x = torch.randn(ROWS, inner, device=DEVICE, generator=random)
        weight = torch.randn(out, inner, device=DEVICE, generator=random).bfloat16()
        narrow, factor, wide = x.bfloat16(), weight.t(), weight.float()
        tripled, terms = factor.repeat(3, 1), split_kernels.split(x)
        product = x.new_empty(ROWS, out)

        def multiply(by_kernel: bool, x: Any = x, weight: Any = weight) -> torch.Tensor:
            with multiplying(by_kernel):
                return Splitter(3).multiply(x, weight)

        ways: dict[str, Callable[[], object]] = {
            "three bf16 products": lambda n=narrow, f=factor: [n @ f for _ in range(3)],
            "by the kernel": lambda m=multiply: m(True),
            "by the library's calls": lambda m=multiply: m(False),
            "one product of all terms": lambda x=x, w=tripled: multiply_whole(
                split_kernels.split(x), w
            ),
            "pieces as a batch": lambda x=x, f=factor: multiply_pieces(split_kernels.split(x), f),
            "the kernel alone, of terms": lambda t=terms, w=weight, p=product: (
                split_kernels.multiply(tuple(t), w, None, p)
            ),
            "terms by the kernel": lambda x=x: split_kernels.split(x),
            "terms by tensors": lambda x=x: split_terms(x, 3),
            "a plain fp32 product": lambda x=x, w=wide: x @ w.t(),
        }
        times = measure_together([wait(run) for run in ways.values()], 1 if FAST else 21)
        taken = dict(zip(ways, times, strict=True))
        three = taken.pop("three bf16 products")
        name = f"{ROWS} × {inner} by {inner} × {out}"
        exact = x.double() @ weight.double().t()
        size = float(exact.square().mean().sqrt())
        for way, seconds in taken.items():
            bound = most if way == "by the kernel" and DEVICE != CPU else None
            yield Figure(
                f"{name}: {way}", seconds * 1e3, "ms", "three bf16 products", three * 1e3,
                ratio_bound=bound,
            )  # fmt: skip
            found = ways[way]()
            if torch.is_tensor(found) and found.shape == exact.shape:
                error = float((found.double() - exact).square().mean().sqrt()) / size
                yield Figure(f"{name}: {way}, RMS error of a result's RMS", error, "")
        rate = 6 * ROWS * inner * out / taken["the kernel alone, of terms"] / 1e12
        yield Figure(f"{name}: the kernel alone", rate, "TFLOPS of bf16")
        yield from try_tiles(name, terms, weight, product)


def try_tiles(
    name: str, terms: torch.Tensor, weight: torch.Tensor, product: torch.Tensor
) -> Iterator[Figure]:
    """Other tiles than the one that is kept. Those that a card has no room for are left out."""
    tiles = [Tile(16, 16, 1, 1)] if DEVICE == CPU else list(TILES)
    for tile in tiles:
        try:
            run = wait(
                lambda t=tile: split_kernels.multiply(tuple(terms), weight, None, product, None, t)
            )
            seconds = measure(run, REPEATS)
        except (RuntimeError, TritonError) as error:
            print(f"{tile}: {error}", file=sys.stderr)
            continue
        shape = f"{tile.rows} × {tile.columns}, {tile.warps} warps, {tile.stages} stages"
        yield Figure(f"{name}: the kernel alone, tiles of {shape}", seconds * 1e3, "ms")


def time_reading(subject: Subject, by_kernel: bool) -> tuple[float, float]:
    """Seconds of a token, and GiB beside the weights."""
    group = make_group(subject, PROMPT, TOKENS, ROLLOUTS)
    with multiplying(by_kernel):
        reference = make_reference(subject, "split3")
        peak = Peak()
        seconds = measure(wait(lambda: reference.measure(**group)), REPEATS, 0 if FAST else 1)
    return seconds / (PROMPT + ROLLOUTS * TOKENS), peak.measure() / (1 << 30)


def compare_dense(card: Card | None) -> Iterator[Figure]:
    """An 8B: reading beside prefill, an audit, and drafting."""
    subject = make_subject("Qwen3-8B")
    (prefill,) = measure_prefill(subject)
    yield prefill
    work = subject.recipe.make_rules().work
    audited = MINERS * work.audited_rollouts * (PROMPT + TOKENS)
    for way, by_kernel in (("by the kernel", True), ("by the library's calls", False)):
        seconds, memory = time_reading(subject, by_kernel)
        name = f"{subject.title}: split3 {way}"
        is_bound = by_kernel and DEVICE != CPU
        yield Figure(
            name, seconds * 1e6, "µs/token", "prefill in bf16", prefill.value,
            ratio_bound=PREFILL_MAX if is_bound else None,
        )  # fmt: skip
        yield Figure(
            f"{name}: an audit of {MINERS} miners, {work.audited_rollouts} rollouts of {TOKENS} "
            "tokens each, at this rate",
            audited * seconds, "s", bound=AUDIT_MAX if is_bound else None,
        )  # fmt: skip
        yield Figure(f"{name}: memory beside the weights", memory, "GiB")
    yield from compare_drafts("an 8B", subject, card)


def make_mixture() -> Subject:
    if not FAST:
        return Subject.make(MIXTURE, MIXTURE_LAYERS)
    config = dict(read_recipe(MIXTURE).model.config) | _FEW_EXPERTS
    return Subject.make(MIXTURE, sizes={"config": config})


def compare_mixture(card: Card | None) -> Iterator[Figure]:
    """A mixture's layers, in one launch and in a loop over experts."""
    subject = make_mixture()
    planned = None
    if card is not None:
        tokens = PROMPT + ROLLOUTS * TOKENS
        lengths = Lengths(PROMPT, TOKENS)
        planned = compute_read_seconds(subject.numbers, card, "split3", lengths, tokens)
        planned *= 1e6 / tokens
    for way, by_kernel in (("in one launch", True), ("by a loop over experts", False)):
        seconds, memory = time_reading(subject, by_kernel)
        name = f"{subject.title}: split3, experts {way}"
        yield Figure(
            name, seconds * 1e6, "µs/token", "its active weights, by the plan's arithmetic",
            planned, ratio_bound=MIXTURE_MAX if by_kernel else None,
        )  # fmt: skip
        yield Figure(f"{name}: memory beside the weights", memory, "GiB")
    yield from compare_learning(subject)
    yield from compare_drafts("a mixture", subject, card)


def compare_learning(subject: Subject) -> Iterator[Figure]:
    """Forward and backward of one layer's experts in bf16, as a learner runs them."""
    experts = next(m for m in subject.model.modules() if hasattr(m, "_apply_gate"))
    hidden, count = subject.numbers.hidden_size, experts.num_experts
    tokens = 40 if FAST else 8_192
    chosen = min(count, subject.model.config.num_experts_per_tok)
    random = torch.Generator(DEVICE).manual_seed(0)
    x = torch.randn(tokens, hidden, device=DEVICE, generator=random).requires_grad_()
    numbers = torch.rand(tokens, count, device=DEVICE, generator=random).topk(chosen).indices
    weights = torch.rand(tokens, chosen, device=DEVICE, generator=random)
    for parameter in experts.parameters():
        parameter.requires_grad_(True)
    kept, taken = routing.has_grouped_products, {}
    try:
        for is_grouped in (True, False):
            routing.has_grouped_products = lambda *_, on=is_grouped: on  # type: ignore[assignment]

            def learn() -> None:
                with torch.autocast(torch.device(DEVICE).type, torch.bfloat16):
                    mixed = routing.mix_experts(experts, x, numbers, weights)
                mixed.sum().backward()

            taken[is_grouped] = measure(wait(learn), REPEATS)
    finally:
        routing.has_grouped_products = kept
        for parameter in experts.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
    yield Figure(
        f"{subject.title}: one layer's experts, forward and backward in bf16, {tokens:,} tokens, "
        "in one launch",
        taken[True] * 1e3, "ms", "by a loop over experts", taken[False] * 1e3,
    )  # fmt: skip


def compare_drafts(what: str, subject: Subject, card: Card | None) -> Iterator[Figure]:
    """The built-in loop beside the plan."""
    (drafted,) = compare_drafting(subject, card)
    yield drafted
    if drafted.baseline_value is not None:
        share = drafted.baseline_value / drafted.value
        yield Figure(
            f"{subject.title}: drafting, of the plan's speed", share, "x", least=DRAFTED_LEAST[what]
        )


def compare_drift() -> Iterator[Figure]:
    """Of a deep model, from float64."""
    size = SMALL if FAST else drift.LARGE
    model, ids = drift.build(size, DEVICE)
    ids = ids[:1]
    with torch.inference_mode():
        plain = drift.compute_logits(model, ids)
        found = {}
        for way, by_kernel in (("by the kernel", True), ("by the library's calls", False)):
            with multiplying(by_kernel):
                narrow = make_narrow(model)
                found[way] = drift.compute_logits(make_model(narrow, "split3"), ids)
        del narrow
        exact = drift.compute_logits(model.double(), ids)
    for way, logits in found.items():
        yield Figure(
            f"hidden {size.hidden}, {size.layers} layers: split3 {way}, RMS drift from float64",
            float((logits - exact).square().mean().sqrt()),
            "logits", "plain fp32's", float((plain - exact).square().mean().sqrt()),
        )  # fmt: skip
        yield Figure(
            f"hidden {size.hidden}, {size.layers} layers: split3 {way}, RMS drift from plain fp32",
            float((logits - plain).square().mean().sqrt()), "logits", bound=drift.DRIFT_MAX,
        )  # fmt: skip


def make_narrow(model: Any) -> Any:
    """The model with weights in bf16, as a program loads it."""
    narrow = copy.deepcopy(model)
    for parameter in narrow.parameters():  # not the buffers: frequencies stay as they are
        parameter.data = parameter.data.bfloat16()
    return narrow


def compare_memory() -> Iterator[Figure]:
    """The most memory that each part of a hybrid model's layers takes, beside the plan's of a layer
    at its widest."""
    subject = Subject.make(HYBRID, HYBRID_LAYERS)
    reference = make_reference(subject, "split3")
    tokens = PROMPT + ROLLOUTS * TOKENS
    peaks: dict[str, int] = {}
    held: list[Peak] = []

    def begin(*_: object) -> None:
        held.append(Peak())

    for layer in reference.model.twin.model.layers:
        for kind in ("linear_attn", "self_attn", "mlp"):
            part = getattr(layer, kind, None)
            if part is None:
                continue

            def end(*_: object, kind: str = kind) -> None:
                peaks[kind] = max(peaks.get(kind, 0), held.pop().measure())

            part.register_forward_pre_hook(begin)
            part.register_forward_hook(end)
    reference.measure(**make_group(subject, PROMPT, TOKENS, ROLLOUTS))
    wide = measure_shape(subject.model.config, subject.numbers.parameters).wide
    for kind, most in peaks.items():
        yield Figure(
            f"{subject.title}: memory of {kind}, beside its input", most / 4 / tokens,
            "floats/token", "the plan's of the widest layer", float(wide),
        )  # fmt: skip


def main() -> None:
    if DEVICE == CPU and not FAST:
        print("no GPU here: what a card owes is not measured")
        sys.exit()
    card = find_card()
    parts = [compare_products(), compare_dense(card), compare_mixture(card), compare_drift()]
    figures = list(tell([*parts, compare_memory()]))
    where = "a CPU" if DEVICE == CPU else torch.cuda.get_device_name()
    report(f"what a card owes, on {where}", figures, torch.get_num_threads())


if __name__ == "__main__":
    main()
