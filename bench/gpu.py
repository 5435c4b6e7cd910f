"""The cost of verifying on a GPU, compared with generating: one group of 16 rollouts of 128 tokens
of a random-weights Qwen2 of 1.5B parameters, drafted in fp32 and in bf16. Without a GPU it prints
one line; `--fast` runs a tiny model there, to show that the script works."""

import sys

import torch
from figures import FAST, report
from transformers import Qwen2Config
from verify import compare
from work import load_genesis, make_random_work

from assay.inference.placing.precision import require_exact_products

ROLLOUTS, TOKENS, ALONE = (4, 8, 1) if FAST else (16, 128, 2)
#: The shape of Qwen2-1.5B.
LARGE = Qwen2Config(
    vocab_size=151_936,
    hidden_size=1_536,
    intermediate_size=8_960,
    num_hidden_layers=28,
    num_attention_heads=12,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)
TINY = {"vocab_size": 512, "hidden_size": 96, "intermediate_size": 128, "num_hidden_layers": 2}
if FAST:
    LARGE.update(TINY)


def main() -> None:
    on_card = torch.cuda.is_available()
    if not on_card and not FAST:
        print("no GPU here: verify / generate of a 1.5B model is not measured")
        sys.exit()
    require_exact_products()
    calibration = load_genesis().calibration
    figures, device = [], "cuda" if on_card else "cpu"
    for dtype in (torch.float32, torch.bfloat16):
        work = make_random_work(LARGE, calibration, ROLLOUTS, TOKENS, ALONE, device, dtype)
        name = f"random Qwen2, 1.5B, drafted in {str(dtype).removeprefix('torch.')}"
        figures += compare(name, work.measure(repeats=3), f", scaled from {ALONE}")
    where = torch.cuda.get_device_name() if on_card else "a CPU"
    report(f"verify / generate on {where}, {ROLLOUTS} × {TOKENS} tokens", figures, 1)


if __name__ == "__main__":
    main()
