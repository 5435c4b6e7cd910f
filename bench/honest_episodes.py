"""Honest episodes of 1 to 8 turns of `guess` are not refused. The shipped model plays them, with
rates measured on episodes. A whole run has 20,000 different ones; the title says how many of them
were judged.

Two implementations of the reference take turns as the miner's and the judge's, and drafts are the
miner's own in fp32, or in bf16 as an engine's are. Each rollout is judged by all tests, with every
position opened; the judge plays its world anew. Interrupted, it reports what was judged so far, and
with `--out` a later run continues there. `--fast` judges one chunk of each case.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import torch
from figures import FAST, OUT, Figure, report
from work import judge_groups, make_any_projection, make_problems, make_seeds

from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.draft import OwnDrafter
from assay.inference.generate import DraftCount, GroupRequest, generate_groups, make_group_request
from assay.lab.gauntlet.bench_models import EPISODES_WORLD, make_episodes
from assay.network.files import write_json
from assay.protocol.episode import split_turns
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.subnet.presets import DEMO_WORK
from assay.verification import Ledger

THREADS = 1
#: Groups of a chunk, rollouts of a group, chunks.
GROUPS, ROLLOUTS = 25, DEMO_WORK.group_size
#: Most turns. The first group has rollouts of one turn, the second of two at most, and so on.
TURNS = 8
#: The world has at most 4 to 10 turns. The model's context has 512 tokens.
WORK = replace(
    DEMO_WORK, max_tokens=192, turns=TURNS, context=512, reply_bytes=64, paid_reply=4_000
)
NAMES = "split3", "fp32-eager"


@dataclass(frozen=True)
class Case:
    """Names of implementations, and the precision of drafts."""

    miner: str
    judge: str
    dtype: torch.dtype

    @property
    def name(self) -> str:
        drafted = str(self.dtype).removeprefix("torch.")
        return f"drafted in {drafted}, made by {self.miner}, judged by {self.judge}"


CASES = [
    Case(*pair, dtype)
    for pair, dtype in product((NAMES, NAMES[::-1]), (torch.float32, torch.bfloat16))
]
CHUNKS = len(CASES) if FAST else 20_000 // (GROUPS * ROLLOUTS)


def make_checkpoint(folder: Path) -> Checkpoint:
    """The shipped model, calibrated for a network of episodes."""
    make_episodes(folder, WORK)
    return load_checkpoint(folder)


def make_chunk(checkpoint: Checkpoint, number: int) -> list[GroupRequest]:
    """Its requests. The turns that rollouts may have follow each other over all chunks."""
    environment = make_environment(EPISODES_WORLD, {})
    salt = b"episodes %d" % number
    return [
        make_group_request(
            environment,
            problem,
            make_seeds(group, ROLLOUTS, salt),
            replace(WORK, turns=1 + (number * GROUPS + group) % TURNS),
            checkpoint,
        )
        for group, problem in enumerate(make_problems(checkpoint, GROUPS, salt, environment))
    ]


def judge_chunk(checkpoint: Checkpoint, number: int) -> dict[str, int]:
    """Counts over the chunk's rollouts."""
    case = CASES[number % len(CASES)]
    temperature = WORK.temperature
    miner, judge = (
        checkpoint.get_reference(temperature, name) for name in (case.miner, case.judge)
    )
    rules = checkpoint.get_rules(temperature)
    model = deepcopy(checkpoint.model).to(case.dtype)  # type: ignore[arg-type]
    drafter = OwnDrafter(model, checkpoint.tokenizer.drawable, rules)
    requests, drafts = make_chunk(checkpoint, number), DraftCount()
    began, projection = process_time(), make_any_projection(checkpoint)
    groups = generate_groups(requests, drafter, miner, rules, projection, drafts)
    counts = Counter(dict.fromkeys(("rollouts", "tokens", "replies", "flips", "refused"), 0))
    ledger = Ledger()
    for judged in judge_groups(judge, checkpoint, requests, groups):
        ends = checkpoint.manifest.end_tokens
        is_end = sum(judged.rollout.tokens == end for end in ends) > 0
        counts["rollouts"] += 1
        counts["tokens"] += len(judged.rollout.tokens)
        counts["replies"] += sum(len(reply.ids) for reply in judged.replies)
        counts["flips"] += int((judged.measured.margins > 0).sum())
        counts["refused"] += judged.is_refused
        counts[f"turns {len(split_turns(is_end))}"] += 1
        ledger = ledger.add(judged.sampling.log_bets)
    counts["crossed"] = int(ledger.is_crossed(SMALL_MODEL_TESTS))
    counts["drafted"], counts["discarded"] = drafts.drafted, drafts.discarded
    counts["milliseconds"] = round(1e3 * (process_time() - began))
    return dict(counts)


def iterate_chunks(folder: Path) -> Iterator[tuple[Case, dict[str, int]]]:
    """Counts of all chunks. Those of which the folder has a file are not judged again."""
    checkpoint = make_checkpoint(folder / "checkpoint")
    for number in range(CHUNKS):
        path = folder / f"{number}.json"
        if not path.exists():
            write_json(path, judge_chunk(checkpoint, number))
        yield CASES[number % len(CASES)], json.loads(path.read_text())
        print(f"  {number + 1} of {CHUNKS} chunks judged", end="\r", file=sys.stderr, flush=True)


def main() -> None:
    torch.set_num_threads(THREADS)
    counts: dict[Case, Counter[str]] = {case: Counter() for case in CASES}
    with TemporaryDirectory() as temporary, suppress(KeyboardInterrupt):
        for case, chunk in iterate_chunks(OUT or Path(temporary)):
            counts[case].update(chunk)
    figures = []
    for case, count in counts.items():
        name = f"of {count['rollouts']:,} episodes {case.name}: refused"
        figures.append(Figure(name, count["refused"], "rollouts", bound=0))
        share = 100 * count["discarded"] / max(1, count["drafted"])
        figures.append(Figure(f"{case.name}: drafts discarded", share, "%"))
    every = sum(counts.values(), Counter[str]())
    figures += [
        Figure(f"tokens flipped, of {every['tokens']:,}", every["flips"], "tokens"),
        Figure("tokens of replies", every["replies"], "tokens"),
        Figure("ledgers that crossed the limit", every["crossed"], "", bound=0),
        *(
            Figure(f"episodes of {turns} turns", every[f"turns {turns}"], "rollouts", least=1)
            for turns in range(1, TURNS + 1)
        ),
        Figure(
            "processor time of an episode, made and judged",
            every["milliseconds"] / max(1, every["rollouts"]),
            "ms",
        ),
    ]
    whole = CHUNKS * GROUPS * ROLLOUTS
    title = f"honest episodes: refused, of the {every['rollouts']:,} judged of {whole:,}"
    report(title, figures, THREADS)


if __name__ == "__main__":
    main()
