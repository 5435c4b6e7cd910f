"""Operators of a step that give the same bits on every machine that this one can emulate: with
another number of threads, with fewer instructions for torch's kernels or for all libraries, and
without oneDNN.

Each operator of a step of 14 million parameters, in float32 and with products in bfloat16, runs on
the first and on the largest of its inputs in that step. Only the arithmetic is emulated, not
another processor. The script prints the table of docs/steps.md. `--fast` has shorter rows.
"""

import copy
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from figures import FAST, Figure, report
from step import LEARNING, SMALL, make_groups, make_model
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves, tree_map_only

from assay.audit.tracing.bisection import MOVES_OR_ROUNDS_ONCE
from assay.audit.tracing.operator_modes import Call, OperatorMode
from assay.audit.tracing.operator_rerun import Answer, Machine, list_machines, rerun_on, save_calls
from assay.training import Learner

THREADS = (1, 2)
LENGTHS = (8, 16) if FAST else (32, 64)
#: The model of `step.py`, with fewer ids.
MODEL = copy.deepcopy(SMALL)
MODEL.vocab_size = 2_048


class CollectMode(OperatorMode):
    """Keeps a copy of the first and of the largest call of each operator, by kind of number."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[tuple[str, str], tuple[int, Call]] = {}

    def run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        size = sum(one.numel() for one in tensors)
        kinds = sorted({str(t.dtype)[6:] for t in tensors if t.is_floating_point()})
        name = " ".join([func.overloadpacket.__name__, *kinds])
        for which in ("first", "largest"):
            kept = self.calls.get((name, which))
            if kept is None or (which == "largest" and size > kept[0]):
                copies = tree_map_only(Tensor, lambda t: t.detach().clone(), (args, kwargs))
                self.calls[name, which] = size, (func, *copies)
        return func(*args, **kwargs)


def collect() -> dict[tuple[str, str], Call]:
    """The operators of a step, and those that publish its result."""
    found: dict[tuple[str, str], tuple[int, Call]] = {}
    for precision in ("float32", "bfloat16"):
        learner = Learner(make_model(MODEL), replace(LEARNING, precision=precision))
        groups = make_groups(1, MODEL.vocab_size, LENGTHS, LENGTHS)
        with CollectMode() as mode:
            learner.learn(groups)
            learner.bf16_state()
        found = mode.calls | found
    return {name: call for name, (_, call) in found.items()}


def list_places() -> Iterator[tuple[str, Machine, int]]:
    """The columns of the table. The first is the one with which all others are compared."""
    yield "as it is", Machine("as it is", ()), THREADS[0]
    yield f"{THREADS[1]} threads", Machine("as it is", ()), THREADS[1]
    for machine in list_machines():
        yield machine.name, machine, THREADS[0]


def compare(
    names: list[str], answers: Mapping[str, list[Answer]]
) -> dict[str, dict[str, bool | None]]:
    """Operator → column → whether its results have the same bits there; None: it does not run."""
    first, *places = answers
    rows: dict[str, dict[str, bool | None]] = {}
    for place in places:
        for name, here, there in zip(names, answers[first], answers[place], strict=True):
            row = rows.setdefault(name, {})
            if there is None:
                row.setdefault(place, None)
            else:
                row[place] = row.get(place) in (True, None) and here == there
    return rows


def print_table(rows: Mapping[str, Mapping[str, bool | None]]) -> None:
    """Print a Markdown table of the operators that differ somewhere, and a line of those that do
    not."""
    words = {True: "same", False: "other", None: "does not run"}
    places = list(next(iter(rows.values())))
    differing = {name: row for name, row in rows.items() if False in row.values()}
    print(f"| operator | {' | '.join(places)} |")
    print("|---|" + "---|" * len(places))
    for name, row in sorted(differing.items()):
        print(f"| `{name}` | {' | '.join(words[row[place]] for place in places)} |")
    stable = sorted({name.split()[0] for name in rows} - {n.split()[0] for n in differing})
    print(f"\nThe same everywhere: {', '.join(f'`{name}`' for name in stable)}.\n")


def main() -> None:
    torch.set_num_threads(THREADS[-1])
    calls = collect()
    names = [name for name, _ in calls]
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        file = Path(folder) / "calls"
        save_calls(list(calls.values()), file)
        answers = {}
        for name, machine, threads in list_places():
            answers[name] = rerun_on(machine, file, threads)
            print(f"  {name}: {len(names)} calls", flush=True)
    rows = compare(names, answers)
    print_table(rows)
    broken = [
        name
        for name, row in rows.items()
        if name.split()[0] in MOVES_OR_ROUNDS_ONCE and False in row.values()
    ]
    unstable = [name for name, row in rows.items() if False in row.values()]
    figures = [
        Figure(
            "operators that differ, of those said to round at most once", len(broken), "", bound=0
        ),
        Figure("operators tried, each number type counted", len(rows), ""),
        Figure("operators with other bits on some machine", len(unstable), ""),
    ]
    if broken:
        print(f"  they are: {', '.join(broken)}")
    report("operators on other machines", figures, max(THREADS))


if __name__ == "__main__":
    main()
