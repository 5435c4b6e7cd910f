"""A real inference engine as a drafter: the share of its drafts that is kept, and the cost of its
draws.

vLLM runs in its own environment, which `make engine` installs; ENGINE_PYTHON names its Python.
Drafts are of the shipped model, which ends its completions at 48 tokens. Here it also has to
continue to 400, with text that it never learned. The cost of the draw is measured on random weights
of V = 151,936, in turn with the server's plain sampling of the same requests. `--fast` leaves that
out and drafts fewer rollouts.
"""

import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, measure_together, report
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from work import judge_groups, load_genesis, make_any_projection, make_requests

from assay.inference.draft import Request, Rules
from assay.inference.generate import DraftCount, follow_groups
from assay.neurons.miner.engines import EngineCommand, MinerEngines, open_engines
from assay.neurons.miner.engines.drafter import EngineDrafter
from assay.neurons.miner.engines.engine import Engine
from assay.sandbox.secret_variables import list_plain_variables

THREADS, TEMPERATURE = 2, 1_024
PYTHON = os.environ.get("ENGINE_PYTHON")  # noqa: TID251
#: Groups and rollouts of short completions; long ones have a sixteenth of the groups.
GROUPS, ROLLOUTS = (1, 8) if FAST else (128, 16)
#: Tokens of completions → the share of drafts in stretches that may be lost.
LENGTHS = {48: 0.05, 400: 0.1}
#: Rows and tokens of a timed batch, and the number of repeats.
ROWS, STEPS, REPEATS = 64, 32, 3
LARGE = Qwen2Config(
    vocab_size=151_936,
    hidden_size=896,
    intermediate_size=4_864,
    num_hidden_layers=8,
    num_attention_heads=14,
    num_key_value_heads=2,
    max_position_embeddings=512,
    tie_word_embeddings=True,
)


@dataclass(slots=True, eq=False)
class PlainEngine(Engine):
    """The same server, asked for its own samples."""

    def _make_order(self, request: Request, rules: Rules, ahead: int) -> dict[str, Any]:
        asked = Engine._make_order(self, request, rules, ahead)
        del asked["vllm_xargs"]
        return asked | {"temperature": 1.0}


def main() -> None:
    if PYTHON is None:
        sys.exit("ENGINE_PYTHON names no Python: make engine, then .venv-engine/bin/python")
    torch.set_num_threads(THREADS)
    figures = [*compare_drafts("bfloat16"), *compare_drafts("float32")]
    if not FAST:
        figures += time_draws()
    report("vLLM as a drafter, on the CPU", figures, THREADS)


def open_server(folder: Path, *flags: str) -> Any:
    """Run a server within a `with` block."""
    flags = ("--enforce-eager", "--max-num-seqs", "128", *flags)
    return open_engines(
        ["auto"], EngineCommand(Path(str(PYTHON)), flags, folder, list_plain_variables())
    )


def compare_drafts(dtype: str, *flags: str) -> list[Figure]:
    """Drafts of the shipped model against the reference: whole ones, and in stretches."""
    checkpoint = load_genesis()
    reference, projection = checkpoint.get_reference(TEMPERATURE), make_any_projection(checkpoint)
    every = make_requests(checkpoint, GROUPS, ROLLOUTS)
    figures, agreed, all_tokens, refused = [], 0, 0, 0
    judge = checkpoint.get_reference(TEMPERATURE, "fp32-eager")
    with (
        tempfile.TemporaryDirectory() as folder,
        open_server(Path(folder), "--dtype", dtype, *flags) as on,
    ):
        on.wait_until_started(checkpoint)
        for length, lost in LENGTHS.items():
            rules = replace(checkpoint.get_rules(TEMPERATURE), max_tokens=length)
            groups = every
            if length > 48:
                rules, groups = replace(rules, end_tokens=()), every[: -(-GROUPS // 16)]
            asked = [Request(group.prompt, seed) for group in groups for seed in group.seeds]
            drafter = make_drafter(on, rules, len(checkpoint.tokenizer.drawable))
            drafts = drafter.draft(asked)
            tokens = [np.array(draft, np.uint32) for draft in drafts]
            measured = reference.measure(
                [request.prompt for request in asked],
                tokens,
                [request.seed for request in asked],
                projection,
            )
            right = [found.best == row for found, row in zip(measured, tokens, strict=True)]
            kept = sum(len(r) if r.all() else int(r.argmin()) for r in right)
            total = sum(map(len, right))
            whole = f"{dtype}, up to {length} tokens: share of whole drafts discarded"
            count = DraftCount()
            made = follow_groups(groups, drafter, reference, rules, projection, count)
            if length == 48:  # completions as the model submits them
                refused += sum(j.is_refused for j in judge_groups(judge, checkpoint, groups, made))
            name = f"{dtype}, up to {length} tokens: share of drafts in stretches discarded"
            share = count.discarded / count.drafted
            figures.append(Figure(name, share, "", whole, 1 - kept / total, bound=lost))
            name = f"{dtype}, up to {length} tokens: reading 1,000 of them by the reference"
            thousand = count.submitted / 1_000
            drafting = count.drafting_s / thousand
            figures.append(
                Figure(
                    name,
                    count.reading_s / thousand,
                    "s",
                    "drafting them, at the same time",
                    drafting,
                )
            )
            agreed, all_tokens = agreed + sum(int(r.sum()) for r in right), all_tokens + total
            print(f"  {dtype}, {length} tokens done", file=sys.stderr)
    name = f"{dtype}: share of wrong tokens, of {all_tokens:,}, each read after the draft before it"
    bound = 1e-4 if dtype == "float32" else None
    handed_in = f"{dtype}: submitted rollouts that fp32-eager refuses, of {GROUPS * ROLLOUTS:,}"
    return [
        *figures,
        Figure(name, 1 - agreed / all_tokens, "", bound=bound),
        Figure(handed_in, refused, "", bound=0),
    ]


def make_drafter(
    on: MinerEngines, rules: Rules, vocabulary: int, kind: type[Engine] = Engine
) -> EngineDrafter:
    """A drafter on the server, which counts as tried."""
    (own,) = on.engines
    engine = kind(own.url, own.model, is_tried=True, key=own.key)
    return EngineDrafter([engine], rules, vocabulary, _refuse)


def _refuse() -> Any:
    sys.exit("the server was left: nothing is measured")


def time_draws() -> list[Figure]:
    """Times of the keyed draw and of plain sampling."""
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "model"
        write_large(model)
        rules = Rules(TEMPERATURE, (), STEPS)
        random = np.random.default_rng(0)
        asked = [
            Request(tuple(random.integers(0, LARGE.vocab_size, 16).tolist()), bytes([i]) * 32)
            for i in range(ROWS)
        ]
        with open_server(Path(place)) as on:
            (own,) = on._own
            own.keep_running(model)
            own.wait_until_ready(float("inf"))
            keyed, plain = measure_together(
                [
                    lambda: make_drafter(on, rules, LARGE.vocab_size).draft(asked),
                    lambda: make_drafter(on, rules, LARGE.vocab_size, PlainEngine).draft(asked),
                ],
                REPEATS,
            )
    name = f"{ROWS} rows × {STEPS} tokens, V = {LARGE.vocab_size:,}, bf16: drafting"
    return [
        Figure(
            name,
            keyed * 1e3,
            "ms",
            "plain sampling by the same server",
            plain * 1e3,
            ratio_bound=1.15,
        )
    ]


def write_large(folder: Path) -> None:
    """Write random weights with a tokenizer whose ids may all be drawn."""
    torch.manual_seed(0)
    Qwen2ForCausalLM(LARGE).to(torch.bfloat16).save_pretrained(folder)
    words = {f"w{i}": i for i in range(LARGE.vocab_size)}
    core = Tokenizer(models.WordLevel(words, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="w1").save_pretrained(folder)
    (folder / "manifest.json").write_text(json.dumps({"end_tokens": [1]}))


if __name__ == "__main__":
    main()
