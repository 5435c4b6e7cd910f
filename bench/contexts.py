"""Memory and time of long contexts: a judge, a miner's reference that follows a draft, and a step
of the learner, each with two completions behind a prompt as long as they are; a reference that
follows with windows in five layers of six, and with none; and attention alone.

The model is a small Qwen2 of random weights, of whose ids only one can be drawn: every draft is
right. Each runs in a process of its own, whose peak counts above what it held before. `--fast` has
shorter contexts.
"""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, report
from torch.nn import functional
from transformers import Qwen2Config
from work import make_random_model

from assay.inference.attention import attend
from assay.inference.following import FollowedRow, Follower
from assay.inference.implementations import make_model
from assay.inference.placing.memory_plan import MemoryBudget
from assay.inference.placing.model_sizes import MemoryPlan
from assay.inference.reference import Reference
from assay.training import Group, LearnConfig, Learner
from assay.verification import Projection

THREADS = 1
CONTEXTS = (512, 1_024, 2_048) if FAST else (4_096, 16_384, 32_768)
#: Tokens of a prompt and behind it, in attention alone.
AHEAD, BEHIND = (512, 1_536) if FAST else (4_096, 12_288)
#: Tokens that a draft goes ahead.
STRETCH = 512
#: Memory of the longest context, relative to the shortest one's in proportion to their tokens. A
#: part is there at any length.
RATIO_MAX = 1.5
#: A model with windows relative to one without: both keep all of one layer's keys.
WINDOWED_MAX = 0.6
CONFIG = Qwen2Config(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=131_072,
    tie_word_embeddings=False,
)
#: Six layers with many keys. The windowed ones see as many tokens as Gemma 3's.
LAYERS, WINDOW, WINDOWED_CONTEXT = 6, 1_024, CONTEXTS[1]
ONLY, SEEDS = 7, (bytes(32), bytes([1]) * 32)
MIB = 1 << 20


def main() -> None:
    figures = []
    for name, task in (("judge", judge), ("follower", follow), ("learner", learn)):
        memories = []
        for tokens in CONTEXTS:
            memory, seconds = run(task, tokens)
            memories.append(memory)
            first = memories[0] * tokens / CONTEXTS[0]
            baseline = f"in proportion to {CONTEXTS[0]:,} tokens"
            later = len(memories) > 1
            figures += [
                Figure(
                    f"{name}, contexts of {tokens:,} tokens: memory",
                    memory / MIB,
                    "MiB",
                    baseline if later else "",
                    first / MIB if later else None,
                    ratio_bound=RATIO_MAX if later else None,
                ),
                Figure(f"{name}, contexts of {tokens:,} tokens: time", seconds, "processor s"),
            ]
    (memory, seconds), (whole, all_seconds) = (
        run(task, WINDOWED_CONTEXT) for task in (follow_windows, follow_all)
    )
    name = f"follower with windows of {WINDOW:,} in five layers of six"
    name += f", contexts of {WINDOWED_CONTEXT:,} tokens"
    baseline = "without windows"
    figures += [
        Figure(
            f"{name}: memory", memory / MIB, "MiB", baseline, whole / MIB, ratio_bound=WINDOWED_MAX
        ),
        Figure(f"{name}: time", seconds, "processor s", baseline, all_seconds),
    ]
    (memory, seconds), (whole, all_seconds) = (run(task, BEHIND) for task in (attend_new, mask))
    name = f"attention of {BEHIND:,} tokens behind {AHEAD:,}"
    baseline = "a mask for all queries"
    figures += [
        Figure(f"{name}: memory", memory / MIB, "MiB", baseline, whole / MIB, bound=40),
        Figure(f"{name}: time", seconds, "processor s", baseline, all_seconds),
        Figure(
            f"{name}: numbers with other bits than by {baseline}",
            count_other_bits(),
            "numbers",
            bound=0,
        ),
    ]
    report("memory and time of long contexts on a CPU", figures, THREADS)


def run(task: Callable[[int], Callable[[], object]], tokens: int) -> tuple[float, float]:
    """Bytes and processor seconds of what a task returns, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=answer, args=(queue, task, tokens))
    process.start()
    found: tuple[float, float] = queue.get(timeout=3_600)
    process.join(60)
    return found


def answer(queue: Any, task: Callable[[int], Callable[[], object]], tokens: int) -> None:
    torch.set_num_threads(THREADS)
    prepared = task(tokens)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    held, begun = read_status("VmRSS"), process_time()
    prepared()
    queue.put((read_status("VmHWM") - held, process_time() - begun))


def read_status(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) << 10


def make_reference(tokens: int, config: Any = CONFIG) -> tuple[Reference, Projection]:
    drawable = np.zeros(CONFIG.vocab_size, bool)
    drawable[ONLY] = True
    model = make_model(make_random_model(config), "fp32-sdpa")
    # one completion a pass, and logits of as many rows at any length
    budget = MemoryBudget(MemoryPlan(tokens, 1 << 18), "cpu", CONFIG.vocab_size)
    hidden = config.hidden_size
    projection = Projection(
        np.ones((hidden, 2), np.float32), np.zeros(hidden, np.float32), hidden**0.5
    )
    return Reference(model, drawable, 1_024, budget), projection


def make_prompt(tokens: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(0).integers(0, CONFIG.vocab_size, tokens).tolist())


def judge(tokens: int) -> Callable[[], object]:
    reference, projection = make_reference(tokens)

    def read(size: int) -> object:
        rows = [np.full(size // 2, ONLY, np.uint32)] * 2
        prompts = [make_prompt(size // 2)] * 2
        return reference.measure(prompts, rows, list(SEEDS), projection)

    read(64)
    return lambda: read(tokens)


def follow(tokens: int, config: Any = CONFIG) -> Callable[[], object]:
    reference, projection = make_reference(tokens, config)

    def read(size: int) -> object:
        follower = Follower(reference, projection, size // 2)
        rows = [FollowedRow(make_prompt(size // 2), seed) for seed in SEEDS]
        while len(rows[0].tokens) < size // 2:
            for row in rows:
                row.tokens += [ONLY] * min(STRETCH, size // 2 - len(row.tokens))
            assert follower.follow(rows) == 0
        return rows

    read(64)
    return lambda: read(tokens)


def follow_windows(tokens: int) -> Callable[[], object]:
    return follow(tokens, make_layered("sliding_attention"))


def follow_all(tokens: int) -> Callable[[], object]:
    return follow(tokens, make_layered("full_attention"))


def make_layered(kind: str) -> Any:
    """A configuration of layers of a kind, but for the last."""
    return Qwen2Config(
        **CONFIG.to_dict()
        | {
            "num_hidden_layers": LAYERS,
            "num_key_value_heads": CONFIG.num_attention_heads,
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "layer_types": [kind] * (LAYERS - 1) + ["full_attention"],
        }
    )


def learn(tokens: int) -> Callable[[], object]:
    settings = LearnConfig(epochs=1, tokens_per_pass=1, recompute=True)
    learner = Learner(make_random_model(CONFIG).requires_grad_(True), settings)

    def teach(size: int) -> object:
        completions = [[ONLY] * (size // 2)] * 2
        logprobs = [[-6.0] * (size // 2)] * 2
        group = Group(list(make_prompt(size // 2)), completions, [0, 1_000_000], logprobs)
        return learner.learn([group])

    teach(64)
    return lambda: teach(tokens)


def make_row() -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = (2, BEHIND), (1, AHEAD + BEHIND), (1, AHEAD + BEHIND)
    return [torch.randn(1, *shape, 64, generator=random) for shape in shapes]


def attend_new(tokens: int) -> Callable[[], object]:
    row = make_row()
    attend(*(part[:, :, :64] for part in row))
    return lambda: attend(*row)


def mask(tokens: int) -> Callable[[], object]:
    row = make_row()
    attend(*(part[:, :, :64] for part in row))
    return lambda: attend_masked(row)


def attend_masked(row: list[torch.Tensor]) -> torch.Tensor:
    seen = torch.ones(BEHIND, AHEAD + BEHIND, dtype=torch.bool).tril_(AHEAD)
    return functional.scaled_dot_product_attention(*row, attn_mask=seen, enable_gqa=True)


def count_other_bits() -> int:
    torch.set_num_threads(THREADS)
    row = make_row()
    return int((attend(*row) != attend_masked(row)).sum())


if __name__ == "__main__":
    main()
