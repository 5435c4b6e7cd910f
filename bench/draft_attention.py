"""What a submitted token of a recipe's groups takes by the built-in drafter, where the query heads
that share a key head are queries of it in a step, beside the library's attention, which repeats
keys and values for each: processor seconds of all mining, verification included, in turn. For the
real model name a folder that has it, as a warm start left it:

    python bench/draft_attention.py --out DIR  # with smollm2-135m-gsm/
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from audit import mine, open_window
from figures import OUT, Figure, report, time_cpu
from quotes import write_checkpoint
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from assay.inference import draft
from assay.inference.checkpoint import Checkpoint
from assay.inference.generate import DraftCount
from assay.protocol.context import Context
from assay.subnet.recipe import read_recipe

RECIPE, THREADS, REACH = "smollm2-135m-gsm", 1, 1 / 1.3
#: Groups that are made together, and how often by each attention.
RUNS = ((4, 2), (8, 1))


def main() -> None:
    torch.set_num_threads(THREADS)
    assert OUT is not None, "name a folder with a warm model"
    recipe = read_recipe(RECIPE)
    rules = recipe.make_rules()
    with TemporaryDirectory() as temporary:
        checkpoint = write_checkpoint(OUT / RECIPE, Path(temporary), recipe)
        context = open_window(
            checkpoint, lambda demo: replace(demo, environment=rules.environment, work=rules.work)
        )
        mine(checkpoint, context, 1)  # compiles, too
        figures = list(compare(checkpoint, context))
    report("A submitted token of SmolLM2-135M on a CPU, by attention of steps", figures, THREADS)


def compare(checkpoint: Checkpoint, context: Context) -> Iterator[Figure]:
    for groups, times in RUNS:
        least: dict[bool, float] = {}
        files: set[bytes] = set()
        for shared in (False, True) * times:
            count = DraftCount()

            def run(
                groups: int = groups, count: DraftCount = count, files: set[bytes] = files
            ) -> None:
                files.add(mine(checkpoint, context, groups, count)[0])

            with attending(shared):
                _, took = time_cpu(run)
            token = 1_000 * took / count.submitted
            least[shared] = min(token, least.get(shared, token))
        assert len(files) == 1, "no bit of a file depends on the drafter"
        yield Figure(
            f"{groups} groups of 8 together: a submitted token",
            least[True],
            "ms",
            "the library's attention",
            least[False],
            ratio_bound=REACH,
        )


@contextmanager
def attending(shared: bool) -> Iterator[None]:
    """Steps share keys, or not."""
    register = draft.share_keys_in_steps
    if not shared:
        draft.share_keys_in_steps = lambda: None
        AttentionInterface.register("sdpa", sdpa_attention_forward)
    try:
        yield
    finally:
        draft.share_keys_in_steps = register
        register()


if __name__ == "__main__":
    main()
