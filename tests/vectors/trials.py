"""Vectors of the trial: order, heads, appeals and ledger (section 5), by scripted measurements.

The expected result of each case is written by hand; the code must agree before it is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from objects import make_valid_context
from subjects import ALICE, PARAMETERS

from assay.protocol.encoding import to_json
from assay.protocol.manifest import Calibration
from assay.protocol.submission import Rollout
from assay.verification import Ledger, Measurement
from assay.verification.ports import Projection
from assay.verification.trial import Trial

Json = Any
CALIBRATION = Calibration(tuple(10**12 >> k for k in range(8)), 100_000)
CAP = PARAMETERS.tests.margin_cap
#: The claims of every token in every rollout.
LOGPROB, SKETCH = 100_000, (5, -7)
#: Number of repetitions; margin, Gini impurity, log-probability and sketch as measured.
Run = tuple[int, int, float, int, tuple[int, int]]
PROMPT = 8


def run(count: int, margin: int = 0, logprob: int = LOGPROB, sketch: Any = SKETCH) -> Run:
    return count, margin, 0.5, logprob, sketch


GOOD, LONG = [run(4)], [run(700)]
BAD_SKETCH = [run(3), run(1, sketch=(6, -6))]
BAD_LOGPROB = [run(1), run(1, logprob=LOGPROB + 65), run(2)]
BAD_SAMPLING = [run(2), run(1, margin=CAP + 1), run(1)]
FLIPPED = [run(1, margin=1), run(3)]
#: The last failures that rounding may explain, and the first that it may not.
EDGE_MARGIN, FAR_MARGIN = ([run(1, margin=16 * CAP + by), run(3)] for by in (0, 1))
EDGE_LOGPROB, FAR_LOGPROB = ([run(3), run(1, logprob=LOGPROB - 1_024 - by)] for by in (0, 1))
EDGE_SKETCH, FAR_SKETCH = ([run(3, sketch=(9, -7)), run(1, sketch=(9 + by, -7))] for by in (0, 1))
#: Wrong at token 300 alone, behind the head; and in the head alone.
LATE_SKETCH = [run(300), run(40, sketch=(6, -6)), run(360)]
EARLY_SAMPLING = [run(30), run(1, margin=CAP + 1), run(669)]

_NONE = (None, None, None)
#: Description; place → first measurement; place → measurement of an appeal; the result: reason,
#: place and token; places appealed.
CASES: list[tuple[str, Mapping[Any, list[Run]], Mapping[Any, list[Run]], Any, list[Any]]] = [
    ("nothing is wrong", {(0, 1): GOOD, (2, 0): GOOD}, {}, (None, _NONE), []),
    (
        "a sketch is wrong, and the appeal finds the same",
        {(0, 1): GOOD, (2, 0): BAD_SKETCH},
        {(2, 0): BAD_SKETCH},
        ("SKETCH_MISMATCH", (2, 0, 0)),
        [(2, 0)],
    ),
    (
        "the appeal finds another fault: the first one's reason and place are kept",
        {(0, 1): BAD_SKETCH},
        {(0, 1): BAD_SAMPLING},
        ("SKETCH_MISMATCH", (0, 1, 0)),
        [(0, 1)],
    ),
    (
        "all log-probabilities come before all sampling",
        {(0, 1): BAD_SAMPLING, (2, 0): BAD_LOGPROB},
        {(2, 0): BAD_LOGPROB},
        ("LOGPROB_MISMATCH", (2, 0, 1)),
        [(2, 0)],
    ),
    (
        "the margin's cap",
        {(0, 1): BAD_SAMPLING},
        {(0, 1): BAD_SAMPLING},
        ("SAMPLING_MISMATCH", (0, 1, 2)),
        [(0, 1)],
    ),
    (
        "a rollout that is cleared enters the ledger with the appeal's bets",
        {(0, 1): GOOD, (2, 0): BAD_SAMPLING, (5, 3): GOOD},
        {(2, 0): FLIPPED},
        (None, _NONE),
        [(2, 0)],
    ),
    (
        "what is cleared is not looked at again",
        {(0, 1): [run(2), run(1, CAP + 1, LOGPROB + 65, (6, -6)), run(1)]},
        {(0, 1): GOOD},
        (None, _NONE),
        [(0, 1)],
    ),
    (
        "the third failure is not heard",
        {(0, 1): BAD_SKETCH, (2, 0): BAD_LOGPROB, (5, 3): BAD_SAMPLING},
        {(0, 1): GOOD, (2, 0): GOOD, (5, 3): GOOD},
        ("SAMPLING_MISMATCH", (5, 3, 2)),
        [(0, 1), (2, 0)],
    ),
    (
        "heads are judged first: their sampling before what lies behind them",
        {(0, 1): LATE_SKETCH, (2, 0): EARLY_SAMPLING},
        {(2, 0): EARLY_SAMPLING},
        ("SAMPLING_MISMATCH", (2, 0, 30)),
        [(2, 0)],
    ),
    (
        "a head's appeal is of the whole rollout, which fails behind the head",
        {(0, 1): LONG, (2, 0): EARLY_SAMPLING},
        {(2, 0): LATE_SKETCH},
        ("SAMPLING_MISMATCH", (2, 0, 30)),
        [(2, 0)],
    ),
    (
        "a head that is cleared: its rollout is not looked at again",
        {(0, 1): LONG, (2, 0): [*EARLY_SAMPLING[:2], run(669, logprob=0)]},
        {(2, 0): LONG},
        (None, _NONE),
        [(2, 0)],
    ),
    (
        "as far as rounding may reach: each is heard",
        {(0, 1): EDGE_SKETCH, (2, 0): EDGE_LOGPROB},
        {(0, 1): GOOD, (2, 0): GOOD},
        (None, _NONE),
        [(0, 1), (2, 0)],
    ),
    (
        "a margin as far as rounding may reach is heard",
        {(0, 1): EDGE_MARGIN},
        {(0, 1): GOOD},
        (None, _NONE),
        [(0, 1)],
    ),
    ("a margin beyond rounding", {(0, 1): FAR_MARGIN}, {}, ("SAMPLING_MISMATCH", (0, 1, 0)), []),
    (
        "a log-probability beyond rounding",
        {(0, 1): FAR_LOGPROB},
        {},
        ("LOGPROB_MISMATCH", (0, 1, 3)),
        [],
    ),
    ("a sketch beyond rounding", {(0, 1): FAR_SKETCH}, {}, ("SKETCH_MISMATCH", (0, 1, 0)), []),
    (
        "a narrow failure of a rollout that is beyond rounding elsewhere",
        {(0, 1): GOOD, (2, 0): [*EARLY_SAMPLING[:2], run(20), run(1, margin=1 << 20), run(648)]},
        {},
        ("SAMPLING_MISMATCH", (2, 0, 30)),
        [],
    ),
    (
        "a head is heard whatever lies behind it",
        {(0, 1): LONG, (2, 0): [*EARLY_SAMPLING[:2], run(668), run(1, margin=1 << 20)]},
        {(2, 0): LONG},
        (None, _NONE),
        [(2, 0)],
    ),
    (
        "heads of rollouts that are too short are not judged first",
        {(0, 1): [run(90), run(10, sketch=(6, -6))], (2, 0): [run(1, CAP + 1), run(99)]},
        {(0, 1): [run(90), run(10, sketch=(6, -6))]},
        ("SKETCH_MISMATCH", (0, 1, 64)),
        [(0, 1)],
    ),
    (
        "each rollout passes, and all together do not",
        {(group, 0): GOOD if group % 2 else FLIPPED for group in range(6)},
        {},
        ("LEDGER_MISMATCH", (2, 0, None)),
        [],
    ),
]


@dataclass
class Scripted:
    """A reference with scripted answers. The ids tell which rollout it is asked about."""

    places: Sequence[Any]
    script: Mapping[Any, list[Run]]
    asked: list[Any]

    def measure(
        self,
        prompts: Any,
        completions: Any,
        seeds: Any,
        projection: Projection,
        replies: Any = None,
    ) -> list[Measurement]:
        made = []
        for tokens in completions:
            place = self.places[int(tokens[0])]
            self.asked.append(place)
            rows = [row for count, *row in self.script[place] for _ in range(count)][: len(tokens)]
            margins, gini, logprobs, sketch = zip(*rows, strict=True)
            made.append(
                Measurement(
                    np.array(margins, np.int64),
                    np.zeros(len(rows), np.int64),
                    np.array(gini),
                    np.array(logprobs, np.uint32),
                    np.array([[*q, 0, 0] for q in sketch], np.int8),
                )
            )
        return made


def make_trials() -> Json:
    context = make_valid_context()
    return {
        "tests": to_json(PARAMETERS.tests),
        "temperature": PARAMETERS.work.temperature,
        "calibration": to_json(CALIBRATION),
        "audit_seed": context.audit_seed.hex(),
        "hotkey": ALICE.hex(),
        "prompt_tokens": PROMPT,
        "claimed": {"logprob": LOGPROB, "sketch": list(SKETCH)},
        "trials": [_try(*case) for case in CASES],
    }


def _try(
    about: str,
    first: Mapping[Any, list[Run]],
    second: Mapping[Any, list[Run]],
    expected: tuple[str | None, tuple[Any, Any, Any]],
    appealed: list[Any],
) -> Json:
    places = list(first)
    reference, appeal = Scripted(places, first, []), Scripted(places, second, [])
    projection = Projection(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), 1.0)
    trial = Trial(
        ALICE,
        make_valid_context(),
        CALIBRATION,
        projection,
        lambda index: [0] * PROMPT,
        reference,
        appeal,
    )
    rollouts = {}
    for number, (place, runs) in enumerate(first.items()):
        count = sum(r[0] for r in runs)
        rollouts[place] = Rollout(
            np.full(count, number, np.uint32),
            np.full(count, LOGPROB, np.uint32),
            np.array([SKETCH] * count, np.int8),
        )
    fault, ledger = trial.process([rollouts], Ledger())
    found = (None, _NONE)
    if fault is not None:
        found = (fault.reason.value, (fault.group, fault.rollout, fault.token))
    assert (found, appeal.asked) == (expected, appealed), (about, found, appeal.asked)
    reason, (group, rollout, token) = expected
    return {
        "about": about,
        "rollouts": [
            {
                "group": place[0],
                "rollout": place[1],
                "measured": _write(runs),
                "appeal": _write(second[place]) if place in second else None,
            }
            for place, runs in first.items()
        ],
        "appealed": [list(place) for place in appealed],
        "reason": reason,
        "group": group,
        "rollout": rollout,
        "token": token,
        "rollouts_entered": ledger.rollouts,
        "log_capital": round(ledger.compute_log_capital(PARAMETERS.tests), 6),
    }


def _write(runs: Sequence[Run]) -> Json:
    return [
        [count, margin, gini, logprob, *sketch] for count, margin, gini, logprob, sketch in runs
    ]
