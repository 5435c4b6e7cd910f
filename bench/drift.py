"""The distance of each implementation's logits from float64's, and the cost of each implementation.

Models are random Qwen2 of growing width, with every matrix in bf16 numbers and logits of standard
deviation 3. A CPU multiplies the terms of split products in fp32, three products for one, so their
speed there says nothing about a card. With a CUDA device the same is measured there, and also the
speed of verifying with a random model of 1.5 billion parameters in fp32, split products and bf16.
`card_rows.py` has a layer's products alone.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from time import process_time

import torch
from figures import FAST, Figure, measure, measure_together, report
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from assay.inference.implementations import make_model
from assay.inference.reading import CausalModel

THREADS = 2
LOGIT_STD = 3.0
NAMES = ("bf16", "split2", "split3", "fp32-eager")
#: Largest root mean square difference, in logits, of split products from plain fp32.
DRIFT_MAX = 5e-5


@dataclass(frozen=True)
class Size:
    hidden: int
    inner: int
    layers: int
    heads: int
    vocabulary: int
    rows: int
    tokens: int


TINY = Size(64, 256, 2, 2, 512, 2, 24)
SMALL = (
    Size(64, 256, 4, 2, 512, 2, 96),
    Size(256, 1_024, 4, 4, 2_048, 2, 96),
    Size(768, 3_072, 4, 12, 4_096, 2, 96),
    Size(1_536, 6_144, 4, 12, 4_096, 2, 96),
)
#: About 100 million parameters.
MIDDLE = Size(768, 2_048, 12, 12, 16_384, 8, 192)
#: Three products for one, and the cost of splitting.
SPLIT_COST_MAX = 3.3
#: The shape of Qwen2 1.5B.
LARGE = Size(1_536, 8_960, 28, 12, 151_936, 8, 1_024)
if FAST:
    SMALL, MIDDLE, LARGE = (TINY,), TINY, TINY
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def build(size: Size, device: str) -> tuple[PreTrainedModel, torch.Tensor]:
    """A random model in fp32 whose weights are bf16 numbers, and token ids [rows, tokens]."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=2,
        max_position_embeddings=4_096,
        tie_word_embeddings=False,
    )
    with torch.device(device):
        model = Qwen2ForCausalLM(config).eval().requires_grad_(False)
        ids = torch.randint(0, size.vocabulary, (size.rows, size.tokens))
    with torch.inference_mode():
        model.lm_head.weight.mul_(LOGIT_STD / float(compute_logits(model, ids[:1, :64]).std()))
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).float())
    return model, ids


def compute_logits(model: CausalModel, ids: torch.Tensor) -> torch.Tensor:
    """Logits of every position, [rows, tokens, V]."""
    return model.lm_head(model.model(ids, use_cache=False).last_hidden_state)


def verify(model: CausalModel, ids: torch.Tensor) -> None:
    """Run a prefill and compute its logits in chunks, as the judge's forward pass does."""
    states = model.model(ids, use_cache=False).last_hidden_state.flatten(0, 1)
    for part in states.split(max(1, (1 << 22) // model.config.vocab_size)):
        model.lm_head(part)
    if ids.is_cuda:
        torch.cuda.synchronize()


def compare(size: Size, device: str, drift_ids: slice, repeats: int) -> Iterator[Figure]:
    """Drift and speed of each implementation at one size."""
    model, ids = build(size, device)
    where = f"hidden {size.hidden}, {size.layers} layers"
    with torch.inference_mode():
        few = ids[drift_ids]
        exact = compute_logits(copy.deepcopy(model).double(), few)
        plain = compute_logits(model, few)
        own = float((plain - exact).square().mean().sqrt())
        seconds = measure(lambda: verify(model, ids), repeats)
        for name in NAMES:
            other = make_model(model, name)
            logits = compute_logits(other, few)
            apart = (logits - exact).abs()
            rms, largest = float(apart.square().mean().sqrt()), float(apart.max())
            yield Figure(
                f"{where}: {name}, RMS drift from float64 (largest {largest:.1e})",
                rms,
                "logits",
                "plain fp32's",
                own,
            )
            if name == "split3":
                beside = float((logits - plain).square().mean().sqrt())
                label = f"{where}: {name}, RMS drift from plain fp32"
                yield Figure(label, beside, "logits", bound=DRIFT_MAX)
            taken = measure(lambda other=other: verify(other, ids), repeats)
            tokens = ids.numel()
            yield Figure(
                f"{where}: {name}, verify",
                taken / tokens * 1e6,
                "µs/token",
                "plain fp32",
                seconds / tokens * 1e6,
            )
            del other, logits, apart


def compare_prefills() -> Iterator[Figure]:
    """Processor time of a prefill, split and plain, with weights in fp32 and in bf16."""
    torch.set_num_threads(1)
    model, ids = build(MIDDLE, "cpu")
    narrow = copy.deepcopy(model)
    for parameter in narrow.parameters():  # not the buffers: frequencies stay as they are
        parameter.data = parameter.data.bfloat16()
    models = (model, make_model(model, "split3"), make_model(narrow, "split3"))
    with torch.inference_mode():
        plain, *split = measure_together(
            [lambda m=m: m.model(ids, use_cache=False) for m in models], 3, process_time
        )
    for name, seconds in zip(("fp32", "bf16"), split, strict=True):
        yield Figure(
            f"model of about 100M: split3, prefill, weights in {name}, CPU time",
            seconds / ids.numel() * 1e6,
            "µs/token",
            "plain fp32",
            plain / ids.numel() * 1e6,
            ratio_bound=SPLIT_COST_MAX,
        )
    torch.set_num_threads(THREADS)


def main() -> None:
    torch.set_num_threads(THREADS)
    figures = [figure for size in SMALL for figure in compare(size, "cpu", slice(None), 1)]
    figures += compare_prefills()
    title = "drift of implementations of the reference from float64, and their cost"
    if DEVICE != "cpu" or FAST:
        for size in SMALL:
            figures += compare(size, DEVICE, slice(None), 10)
        figures += compare(LARGE, DEVICE, slice(0, 1), 5)
    if DEVICE != "cpu":
        title += f", on the CPU and then on {torch.cuda.get_device_name()}"
    else:
        title += " (no GPU here: the speed of split products on one was NOT measured)"
    report(title, figures, THREADS)


if __name__ == "__main__":
    main()
