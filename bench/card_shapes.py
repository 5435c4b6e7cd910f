"""Random weights in Qwen3's shapes on a card: reading, drafting and learning beside the plan, an
audit of 256 miners, and plain prefill in bf16 by transformers.

Without a GPU it prints one line; `--fast` runs tiny models there, to show that the script works.
"""

import sys
from collections.abc import Iterator

import torch
from cards import (
    DEVICE,
    PROMPT,
    ROLLOUTS,
    TOKENS,
    Subject,
    compare_drafting,
    compare_learning,
    compare_reading,
    find_card,
    tell,
)
from figures import FAST, Figure, measure, report

RECIPE = "qwen3-4b-boxed-math"
#: hidden, intermediate, layers, heads, key-value heads, tied; heads are of 128 each.
SHAPES = {
    "Qwen3-0.6B": (1_024, 3_072, 28, 16, 8, True),
    "Qwen3-1.7B": (2_048, 6_144, 28, 16, 8, True),
    "Qwen3-4B": (2_560, 9_728, 36, 32, 8, True),
    "Qwen3-8B": (4_096, 12_288, 36, 32, 8, False),
}
#: Those whose weights, gradients and moments fit a card together.
LEARNING = ("Qwen3-0.6B", "Qwen3-1.7B")
MINERS = 256
#: Prefill that another subnet states for an H100, and the weights of its model.
_STATED_US, _STATED = 250.0, 27e9


def make_subject(name: str) -> Subject:
    hidden, inner, layers, heads, groups, is_tied = SHAPES[name]
    sizes = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "head_dim": 128,
        "tie_word_embeddings": is_tied,
    }
    return Subject.make(RECIPE, sizes=sizes)


def measure_prefill(subject: Subject) -> Iterator[Figure]:
    """Logits of all completions by transformers alone, in bf16."""
    tokens = PROMPT + TOKENS
    ids = torch.randint(0, subject.numbers.vocab_size, (ROLLOUTS, tokens), device=DEVICE)

    def prefill() -> None:
        with torch.inference_mode():
            subject.model(ids, use_cache=False, logits_to_keep=TOKENS)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    seconds = measure(prefill, 3)
    yield Figure(
        f"{subject.title}: prefill by transformers in bf16, each row with its prompt",
        seconds / (ROLLOUTS * tokens) * 1e6,
        "µs/token",
        "0.25 ms for 27B, by weights",
        _STATED_US * subject.numbers.parameters / _STATED,
    )


def combine(subject: Subject, read: Figure, drafted: Figure) -> Iterator[Figure]:
    """What follows of the rates of reading and drafting."""
    yield Figure(
        f"{subject.title}: a token read by split3 over one drafted", read.value / drafted.value, "x"
    )
    work = subject.recipe.make_rules().work
    tokens = MINERS * work.audited_rollouts * (PROMPT + TOKENS)
    yield Figure(
        f"{subject.title}: an audit of {MINERS} miners, {work.audited_rollouts} rollouts of "
        f"{TOKENS} tokens each, at this rate",
        tokens * read.value / 1e6,
        "s",
    )


def main() -> None:
    if DEVICE == "cpu" and not FAST:
        print("no GPU here: Qwen3's shapes are not measured")
        sys.exit()
    card, figures = find_card(), list[Figure]()
    for name in SHAPES:
        subject = make_subject(name)
        prefill = [*tell([measure_prefill(subject)])]
        read = [*tell([compare_reading(subject, card)])]
        drafted = [*tell([compare_drafting(subject, card)])]
        figures += [*prefill, *read, *drafted, *tell([combine(subject, read[0], drafted[0])])]
        if name in LEARNING:
            figures += tell([compare_learning(subject, card)])
        del subject
    where = "a CPU" if DEVICE == "cpu" else torch.cuda.get_device_name()
    title = f"random weights in Qwen3's shapes on {where}, beside the plan"
    report(title, figures, torch.get_num_threads())


if __name__ == "__main__":
    main()
