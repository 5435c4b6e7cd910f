"""The cost of verifying, compared with generating: one group of 16 rollouts of 128 tokens, the
demo's model and a random-weights Qwen2 of 100M parameters."""

import torch
from figures import Figure, report
from transformers import Qwen2Config
from work import (
    GroupTimes,
    GroupWork,
    load_genesis,
    make_any_projection,
    make_random_work,
    make_requests,
)

from assay.subnet.presets import DEMO_WORK

ROLLOUTS, TOKENS, THREADS = 16, 128, 2
#: Rollouts that the larger model decodes alone; their time is scaled.
ALONE = 1
LARGE = Qwen2Config(
    vocab_size=16_384,
    hidden_size=768,
    intermediate_size=2_048,
    num_hidden_layers=12,
    num_attention_heads=12,
    num_key_value_heads=4,
    tie_word_embeddings=False,
)


def main() -> None:
    torch.set_num_threads(THREADS)
    checkpoint = load_genesis()
    temperature = DEMO_WORK.temperature
    (group,) = make_requests(checkpoint, 1, ROLLOUTS)
    demo = GroupWork(
        drafter=checkpoint.model,
        reference=checkpoint.get_reference(temperature),
        group=group,
        drawable=checkpoint.tokenizer.drawable,
        projection=make_any_projection(checkpoint),
        calibration=checkpoint.calibration,
        temperature=temperature,
        tokens=TOKENS,
        alone=ROLLOUTS,
    )
    figures = compare("demo model", demo.measure(repeats=9))
    large = make_random_work(LARGE, checkpoint.calibration, ROLLOUTS, TOKENS, ALONE)
    parameters = sum(p.numel() for p in large.drafter.parameters())
    times = large.measure(repeats=2)
    figures += compare(f"random Qwen2, {parameters / 1e6:.0f}M", times, f", scaled from {ALONE}")
    report(f"verify / generate, {ROLLOUTS} × {TOKENS} tokens, fp32", figures, THREADS)


def compare(name: str, times: GroupTimes, scaled: str = "") -> list[Figure]:
    """Figures of verifying, compared with generating in one batch and one by one, ms."""
    verified, apart, batched, one_by_one = (seconds * 1e3 for seconds in times)
    group, each = f"{name}: verify a group", f"{name}: verify a group, no prompt shared"
    together, alone = "generate in one batch", f"generate one by one{scaled}"
    return [
        Figure(group, verified, "ms", together, batched, ratio_bound=0.30),
        Figure(each, apart, "ms", together, batched, ratio_bound=0.30),
        Figure(group, verified, "ms", alone, one_by_one, ratio_bound=0.06),
    ]


if __name__ == "__main__":
    main()
