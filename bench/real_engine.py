"""vLLM in bf16 as the drafter of a real model: how many tokens it drafts for one that is submitted.

    assay adopt SmolLM2-135M-Instruct.Q4_1.gguf --out DIR/foreign
    ENGINE_PYTHON=.venv-engine/bin/python python bench/real_engine.py --out DIR

DIR is the folder of a run of `public_run.py`. The model before its warm start answers problems of
the network with up to 96 tokens, in stretches that the reference follows. Where the engine's bf16
draws another token than the reference, what it drafted behind it is lost. The other implementation
judges every token of what a miner would submit. `make engine` installs vLLM.
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from engine import make_drafter, open_server
from figures import FAST, OUT, Figure, report
from public_run import read_rules
from real_honest import open_checkpoint
from real_model import make_rules
from work import judge_groups, make_any_projection, make_requests

from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import MANIFEST_FILE
from assay.inference.generate import DraftCount, follow_groups
from assay.inference.implementations import APPEAL_IMPLEMENTATION, DEFAULT_IMPLEMENTATION
from assay.network.files import write_json
from assay.protocol.encoding import to_json

THREADS = 2
GROUPS, BATCH = (1, 1) if FAST else (63, 7)
#: Most tokens that may be drafted for one that is submitted.
DRAFTED = 1.25


def lay_out(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint in a folder that a server can be started on: with its manifest."""
    folder.mkdir()
    for file in checkpoint.folder.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    write_json(folder / MANIFEST_FILE, to_json(checkpoint.manifest))
    return replace(checkpoint, folder=folder)


def main() -> None:
    if not os.environ.get("ENGINE_PYTHON"):  # noqa: TID251
        sys.exit("ENGINE_PYTHON names no Python: make engine, then .venv-engine/bin/python")
    if OUT is None and not FAST:
        sys.exit("--out DIR: the folder of a run of public_run.py")
    torch.set_num_threads(THREADS)
    rules = make_rules() if OUT is None else read_rules(OUT)
    checkpoint, temperature = open_checkpoint(rules), rules.work.temperature
    requests = make_requests(
        checkpoint,
        GROUPS,
        rules.work.group_size,
        b"engine",
        environment=open_environment(rules.environment),
    )
    reference = checkpoint.get_reference(temperature, DEFAULT_IMPLEMENTATION)
    judge = checkpoint.get_reference(temperature, APPEAL_IMPLEMENTATION)
    projection, own = make_any_projection(checkpoint), checkpoint.get_rules(temperature)
    count, refused = DraftCount(), 0
    with (
        tempfile.TemporaryDirectory() as folder,
        open_server(Path(folder), "--dtype", "bfloat16") as on,
    ):
        on.wait_until_started(lay_out(checkpoint, Path(folder) / "checkpoint"))
        drafter = make_drafter(on, own, len(checkpoint.tokenizer.drawable))
        for start in range(0, GROUPS, BATCH):
            batch = requests[start : start + BATCH]
            made = follow_groups(batch, drafter, reference, own, projection, count)
            judged = judge_groups(judge, checkpoint, batch, made, rules.tests)
            refused += sum(one.is_refused for one in judged)
            print(f"  {start + len(batch)} of {GROUPS} groups", file=sys.stderr, flush=True)
    figures = [
        Figure("drafted for a submitted token", count.drafted / count.submitted, "", bound=DRAFTED),
        Figure("drafted tokens discarded", count.discarded / count.drafted, "share"),
        Figure("submitted tokens", count.submitted, "tokens"),
        Figure("submitted rollouts that are refused", refused, "", "of", count.rollouts, bound=0),
        Figure("drafting", count.submitted / count.drafting_s, "tokens/s"),
        Figure("reading, at the same time", count.submitted / count.reading_s, "tokens/s"),
    ]
    report("vLLM in bf16 as the drafter of SmolLM2-135M", figures, THREADS)


if __name__ == "__main__":
    main()
