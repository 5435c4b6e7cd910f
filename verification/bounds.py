"""The statistics of a verdict, each with its bound and the comparison that refuses.

The judge's tests compare with these, and so does everything that shows a statistic to people.
Specification, sections 5 and 6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from operator import ge, gt
from typing import Any

from assay.protocol.parameters import FRACTION_BITS, Tests
from assay.protocol.submission import LOGPROB_BITS


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound of one statistic.

    Attributes:
        name: field of `Statistics`, and of a verdict's JSON.
        unit: unit of the JSON's values.
        compute: the bound in that unit.
        is_exceeded: (value, bound) → whether the judge refuses. `ge` refuses a value that is equal
            to its bound, `gt` accepts it. The judge scales both sides where it compares integers.
    """

    name: str
    label: str
    unit: str
    compute: Callable[[Tests], float]
    is_exceeded: Callable[[Any, Any], Any]


MARGIN_MAX = Bound(
    "margin_max",
    "largest logit gap",
    "logits",
    lambda tests: tests.margin_cap / (1 << FRACTION_BITS),
    gt,
)
LOG_CAPITAL = Bound(
    "log_capital", "sequential test", "ln", lambda tests: log(2 * tests.alpha_inverse), ge
)
LOGPROB_RMS = Bound(
    "logprob_rms",
    "log-probability error",
    "nats",
    lambda tests: tests.logprob_rms_bound / (1 << LOGPROB_BITS),
    gt,
)
SKETCH_MEAN = Bound(
    "sketch_mean",
    "fingerprint distance",
    "steps",
    lambda tests: tests.sketch_rollout_bound / 1_000,
    gt,
)
LEDGER_CAPITAL = Bound(
    "ledger_capital", "settlement's ledger", "ln", lambda tests: log(tests.alpha_inverse), ge
)
#: One for each field of `Statistics`, in the order of the tests.
BOUNDS = (MARGIN_MAX, LOG_CAPITAL, LOGPROB_RMS, SKETCH_MEAN, LEDGER_CAPITAL)

#: Bounds on parts of a rollout, which no field of `Statistics` has.
SKETCH_BLOCK = Bound(
    "sketch_block",
    "fingerprint distance of a block",
    "steps",
    lambda tests: tests.sketch_block_bound / 1_000,
    gt,
)
LOGPROB_MAX = Bound(
    "logprob_max",
    "largest log-probability error",
    "nats",
    lambda tests: tests.logprob_max_bound / (1 << LOGPROB_BITS),
    gt,
)
