"""Honest rollouts of a real model, in great number: whether the judge refuses any.

    assay adopt SmolLM2-135M-Instruct.Q4_1.gguf --out DIR/foreign
    python bench/real_honest.py --out DIR

DIR is the folder of a run of `public_run.py`, or of the window that the repository keeps, as
`real_model.py` says. The model before its warm start writes as long as it may, 96 tokens mostly;
after it a third of that. So it is the one that answers here, problems of the network. Each of two
implementations submits all rollouts, with its own log-probabilities and sketches, and the other
judges every one of their tokens by all tests. A token counts once for each of the two. The same
command continues: DIR/honest.json has what was judged, batch by batch.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache

import torch
from figures import FAST, OUT, Figure, report
from public_run import find_genesis, read_rules
from real_model import FOREIGN, make_rules
from work import judge_groups, make_any_projection, make_requests

from assay.environments.registry import open_environment
from assay.inference.checkpoint import Checkpoint, FolderModels, load_checkpoint
from assay.inference.draft import Drafter, Request
from assay.inference.generate import generate_groups
from assay.inference.implementations import APPEAL_IMPLEMENTATION, DEFAULT_IMPLEMENTATION
from assay.inference.pair_report import CAP_RATE_MAX
from assay.inference.time_limit import TimeLimit
from assay.network.files import write_json
from assay.protocol.parameters import FRACTION_BITS, Parameters
from assay.training import GENESIS

THREADS = 1
GROUPS, BATCH, TOKENS = (2, 2, 12) if FAST else (360, 8, 96)
#: Who submits, and who judges.
PAIRS = (
    (DEFAULT_IMPLEMENTATION, APPEAL_IMPLEMENTATION),
    (APPEAL_IMPLEMENTATION, DEFAULT_IMPLEMENTATION),
)
#: Of events of which none was seen in n tries, the upper end of the 95 % interval is this over n.
_NONE_SEEN = 3.0


@dataclass
class Judged:
    """What was judged so far. `largest`: of the margins, in units of theirs."""

    groups: int = 0
    rollouts: int = 0
    tokens: int = 0
    refused: int = 0
    positive: int = 0
    largest: int = 0

    def add(self, other: "Judged") -> None:
        """Count what another batch had, too."""
        self.groups += other.groups
        self.rollouts += other.rollouts
        self.tokens += other.tokens
        self.refused += other.refused
        self.positive += other.positive
        self.largest = max(self.largest, other.largest)


class KnownDrafter:
    """Drafts that another one made, by seed."""

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter
        self._known: dict[bytes, tuple[int, ...]] = {}

    def draft(
        self, requests: Sequence[Request], ahead: int | None = None, limit: TimeLimit | None = None
    ) -> list[tuple[int, ...]]:
        """As of a `Drafter`. A draft that the reference did not follow is made again."""
        new = [request for request in requests if not self._is_known(request)]
        drafts = self._drafter.draft(new, ahead, limit)
        self._known |= {one.seed: draft for one, draft in zip(new, drafts, strict=True)}
        return [self._known[request.seed] for request in requests]

    def _is_known(self, request: Request) -> bool:
        draft = self._known.get(request.seed)
        return draft is not None and draft[: len(request.tokens)] == request.tokens


def open_checkpoint(rules: Parameters) -> Checkpoint:
    """The model before its warm start, as of a network that allows it so many tokens."""
    if OUT is None:
        found = load_checkpoint(GENESIS)
    else:
        if not (OUT / FOREIGN).exists():
            raise SystemExit(f"{OUT / FOREIGN} is not there: adopt the file, as --help says")
        found = load_checkpoint(find_genesis(OUT))
        models = FolderModels(OUT / FOREIGN, found.models.placement, 0)
        found = replace(found, folder=OUT / FOREIGN, models=models)
    return replace(found, manifest=replace(found.manifest, max_tokens=TOKENS))


class Batches:
    """Judges batches of groups, each by the number of its first. A process of its own, with one
    thread, keeps a core busier than a second thread does."""

    def __init__(self) -> None:
        torch.set_num_threads(THREADS)
        self.rules = make_rules() if OUT is None else read_rules(OUT)
        self._checkpoint = open_checkpoint(self.rules)
        self._requests = make_requests(
            self._checkpoint,
            GROUPS,
            self.rules.work.group_size,
            b"honest",
            environment=open_environment(self.rules.environment),
        )

    def judge(self, first: int) -> Judged:
        """Generate groups, and judge them, once in each direction."""
        checkpoint, requests = self._checkpoint, self._requests[first : first + BATCH]
        temperature, projection = self.rules.work.temperature, make_any_projection(checkpoint)
        drafter, judged = KnownDrafter(checkpoint.get_drafter(temperature)), Judged(len(requests))
        for own, other in PAIRS:
            groups = generate_groups(
                requests,
                drafter,
                checkpoint.get_reference(temperature, own),
                checkpoint.get_rules(temperature),
                projection,
            )
            judge = checkpoint.get_reference(temperature, other)
            for one in judge_groups(judge, checkpoint, requests, groups, self.rules.tests):
                judged.rollouts += 1
                judged.tokens += len(one.rollout.tokens)
                judged.refused += one.is_refused
                judged.positive += int((one.measured.margins > 0).sum())
                judged.largest = max(judged.largest, one.sampling.margin_max)
        return judged


@cache
def open_batches() -> Batches:
    """Of this process, once."""
    return Batches()


def judge_batch(first: int) -> Judged:
    """See `Batches.judge`, in a worker."""
    return open_batches().judge(first)


def main() -> None:
    if OUT is None and not FAST:
        raise SystemExit("--out DIR: the folder of a run of public_run.py")
    rules, judged = make_rules() if OUT is None else read_rules(OUT), Judged()
    file = None if OUT is None else OUT / "honest.json"
    if file is not None and file.exists():
        judged = Judged(**json.loads(file.read_text()))
    firsts = range(judged.groups, GROUPS, BATCH)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1 if FAST else os.cpu_count(), mp_context=spawn) as workers:
        for batch in workers.map(judge_batch, firsts):
            judged.add(batch)
            if file is not None:
                write_json(file, asdict(judged))
            done = f"{judged.groups} of {GROUPS} groups"
            print(f"  {done}: {asdict(judged)}", file=sys.stderr, flush=True)
    unit = 1 << FRACTION_BITS
    rollouts = judged.rollouts // len(PAIRS)
    figures = [
        Figure("honest rollouts refused", judged.refused, "rollouts", bound=0),
        Figure("honest rollouts, each judged in both directions", rollouts, "rollouts"),
        Figure(
            "honest tokens judged, in both",
            judged.tokens,
            "tokens",
            least=None if FAST else 500_000,
        ),
        Figure("honest tokens with a margin above 0", judged.positive / judged.tokens, "share"),
        Figure(
            "largest margin of an honest token",
            judged.largest / unit,
            "logits",
            "the cap",
            rules.tests.margin_cap / unit,
            ratio_bound=1,
        ),
    ]
    if not judged.refused:
        bound = _NONE_SEEN / rollouts
        allowed = CAP_RATE_MAX * judged.tokens / judged.rollouts
        given = "refusals of a rollout, 95 % below", bound, "share", "what the cap's rule allows"
        figures.append(Figure(*given, allowed))
    report("Honest rollouts of SmolLM2-135M, two implementations", figures, THREADS)


if __name__ == "__main__":
    main()
