"""How surely the judge catches each strategy of the gauntlet, on the bench model and the shipped
one. "Missed per n tokens": the probability that judging n tokens finds nothing. "99.99 % within n
tokens": judging so many finds something with this probability. The baseline is the share of the
rollouts that differ from the honest ones.

Shares are from rates per rollout, lower bound of a bootstrap over groups, one missed rollout added;
a rollout that is the honest one counts as missed.
"""

import sys
import tempfile
from pathlib import Path

import torch
from figures import Figure, report

sys.path.append(str(Path(__file__).parents[1]))
from assay.lab.gauntlet.attack_setup import AttackSetup
from assay.lab.gauntlet.bench_models import BENCH, SHIPPED, build_models, open_family
from assay.lab.gauntlet.measuring import TableRow, choose, run_family
from tests.lab.gauntlet.steering import measure_steering

MODELS = Path("assay-models")
GROUPS, STEERING_GROUPS = 16, 24
#: The share that may be missed per 2,048 tokens: an audit of 16 rollouts of 128.
PER_AUDIT = {
    "smaller model": 1e-4,
    "sibling checkpoint": 1e-4,
    "foreign model": 1e-4,
    "other seed": 1e-4,
    "greedy": 1e-4,
    "splice of 8": 1e-4,
    "splice of 16": 1e-4,
    "splice of 32": 1e-4,
    "int4 weights": 1e-3,
    "temperature .9": 1e-3,
    "bf16 without verification": 1e-2,
}
#: The same per 8,192 tokens: the audits of four windows.
PER_FOUR = {"int8 weights": 1e-3, "temperature .98": 1e-3}
SKETCHES = ("constant sketch", "zero sketch", "random sketch", "copied sketch", "shuffled sketch")
ROLLOUTS = 16


def main() -> None:
    torch.set_num_threads(1)
    build_models(MODELS)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = AttackSetup(open_family(BENCH, MODELS), Path(folder) / BENCH, GROUPS)
        rows = {row.attack: row for row in run_family(bench, choose(None), print_line)}
        figures += list_bench(rows)
        short = 0.5 - bench.mean_gini
        figures.append(Figure("bench: .5 minus the mean Gini impurity", short, "", bound=0))
        shipped = AttackSetup(open_family(SHIPPED, MODELS), Path(folder) / SHIPPED, STEERING_GROUPS)
        figures += [
            Figure(f"shipped: {row.attack}, 99.99 % within", row.tokens_to_9999, "tokens")
            for row in run_family(shipped, choose(None), print_line)
            if row.tokens_to_9999 is not None
        ]
        steering = measure_steering(shipped)
        name = "shipped: income gained by steering ties, measured"
        figures.append(Figure(name, steering.advantage, "", bound=1e-3))
        for model, bound in (
            (SHIPPED, steering.advantage_bound),
            (BENCH, measure_steering(bench).advantage_bound),  # nothing there earns a reward
        ):
            name = f"{model}: income gained by steering ties, upper bound"
            figures.append(Figure(name, bound, ""))
    report("detection by the judge, and what steering gains", figures, 1)


def list_bench(rows: dict[str, TableRow]) -> list[Figure]:
    """Shares missed on the bench model, with their bounds."""
    figures = []
    for tokens, bounds, rollouts in (
        ("2,048", PER_AUDIT, ROLLOUTS),
        ("8,192", PER_FOUR, 4 * ROLLOUTS),
    ):
        for title, bound in bounds.items():
            row = rows[title]
            missed = (1 - (row.detected_low or 0.0)) ** rollouts
            figures.append(
                Figure(
                    f"bench: {title}, missed per {tokens} tokens",
                    missed,
                    "share",
                    "differing rollouts",
                    row.differs,
                    bound=bound,
                )
            )
    for title in SKETCHES:
        missed = 1 - (rows[title].caught_given_differs or 0.0)
        figures.append(Figure(f"bench: {title}, missed", missed, "share", bound=0))
    honest = sum(row.reasons != {"ACCEPTED": row.groups} for row in rows.values() if row.legal)
    figures.append(Figure("bench: legal strategies refused", honest, "rows", bound=0))
    return figures


def print_line(line: str) -> None:
    """Print a line of progress."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
