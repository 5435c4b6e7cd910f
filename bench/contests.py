"""Contests between checkpoints with a known difference: how often the sign test names a winner if
there is none, and how often if there is one.

The shipped model plays against itself, drawn twice by two loads; against itself on other problems,
equal and independent; against itself cut off at 35 tokens, which loses exactly the problems with
longer solutions; and against itself with one percent of noise on every weight, an unknown and
general difference. `--fast`: two seeds of 64 problems.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from figures import FAST, Figure, report, time_cpu
from safetensors.torch import load_file, save_file

from assay.environments import make_environment
from assay.inference import Checkpoint, load_checkpoint
from assay.inference.folder import MANIFEST_FILE, MODEL_FILE, digest_tensors, digest_weights
from assay.lab.contests.answers import ContestRules, ScoredAnswer, draw_answers
from assay.lab.contests.ranking import PairTally, compare_pairs
from assay.network.files import write_json
from assay.protocol.encoding import to_json
from assay.training import GENESIS

SEEDS, PROBLEMS = (2, 64) if FAST else (20, 500)
SHORTER, NOISE = 35, 0.01
ENVIRONMENT = make_environment("arithmetic", {})

Answers = list[list[ScoredAnswer]]  # by seed


def make_shorter(folder: Path, genesis: Checkpoint) -> Checkpoint:
    shutil.copytree(GENESIS, folder)
    manifest = replace(genesis.manifest, max_tokens=SHORTER)
    write_json(folder / MANIFEST_FILE, to_json(manifest))
    return load_checkpoint(folder)


def make_noisy(folder: Path, genesis: Checkpoint) -> Checkpoint:
    shutil.copytree(GENESIS, folder)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: (t.float() * (1 + NOISE * torch.randn(t.shape, generator=generator))).to(t.dtype)
        for name, t in sorted(load_file(folder / MODEL_FILE).items())
    }
    save_file(tensors, folder / MODEL_FILE, {"format": "pt"})
    root = digest_weights(folder, digest_tensors(folder))
    write_json(folder / MANIFEST_FILE, to_json(replace(genesis.manifest, tensors=root)))
    return load_checkpoint(folder)


def draw(checkpoint: Checkpoint) -> Answers:
    rules = [ContestRules((5, 6), 1_024, seed, PROBLEMS) for seed in range(SEEDS)]
    return [draw_answers(checkpoint, ENVIRONMENT, rule, range(PROBLEMS)) for rule in rules]


Pairs = Sequence[tuple[list[ScoredAnswer], list[ScoredAnswer]]]


def compare(
    name: str,
    pairs: Pairs,
    none_expected: bool,
    *,
    most: int | None = None,
    least: int | None = None,
) -> list[Figure]:
    """Figures of contests, one for each pair of answers.

    Args:
        none_expected: the two are equal, so any winner is a false alarm.
        most, least: the most and the fewest winners that are acceptable.
    """
    winners = gap = parted = 0
    for first, second in pairs:
        tally = PairTally()
        for one, other in zip(first, second, strict=True):
            tally.count(one.solved - other.solved)
        (result,) = compare_pairs({(0, 1): tally})
        winners += result.winner == 0
        gap += tally.wins - tally.losses
        parted += tally.wins + tally.losses
        if none_expected:
            winners += result.winner == 1
    asked = len(pairs) * PROBLEMS
    return [
        Figure(
            f"{name}: contests with a winner, of {len(pairs)}", winners, "", bound=most, least=least
        ),
        Figure(f"{name}: points apart", 100 * gap / asked, "points"),
        Figure(f"{name}: problems that only one solves", 100 * parted / asked, "%"),
    ]


def main() -> None:
    torch.set_num_threads(1)
    genesis = load_checkpoint(GENESIS)
    with TemporaryDirectory() as temporary:
        shorter = make_shorter(Path(temporary) / "shorter", genesis)
        noisy = make_noisy(Path(temporary) / "noisy", genesis)
        own: Answers = []
        _, seconds = time_cpu(lambda: own.extend(draw(genesis)))
        again = draw(load_checkpoint(GENESIS))
        less, other = draw(shorter), draw(noisy)
    figures = [
        *compare("against itself", list(zip(own, again, strict=True)), True, most=0),
        *compare("equal and independent", list(zip(own[::2], own[1::2], strict=True)), True),
        *compare(
            f"cut off at {SHORTER} tokens", list(zip(own, less, strict=True)), False, least=SEEDS
        ),
        *compare(f"{NOISE:.0%} of noise on weights", list(zip(own, other, strict=True)), False),
        Figure("answers drawn and scored, CPU time", 1e3 * seconds / SEEDS / PROBLEMS, "ms"),
    ]
    report(
        f"Contests of {PROBLEMS} problems of arithmetic, {SEEDS} seeds",
        figures,
        torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
