"""The judge: turns a submission and a forward pass into a verdict, and verdicts into weights.

This package reaches the outside through two ports, `Tokenizer` and `Forward`. It never runs a
model, reads a file or a clock, talks to a network, or trusts a miner's word. Start with `judge`.
`read_plan` says which bytes of a submission are needed and checks them. `trial` runs the tests of
one submission, and `settlement` computes the weights.
"""

from assay.verification.examination import Examined, examine
from assay.verification.judge import judge
from assay.verification.measuring import JudgeResult, MeasuredGroup, MeasureOptions, measure
from assay.verification.ports import Forward, Measurement, Projection, Tokenizer, UnheardError
from assay.verification.read_plan import (
    CheckedSubmission,
    PartLimits,
    ReadPlan,
    find_commitment,
    get_part_limits,
    plan_audit,
    plan_groups,
    plan_samples,
)
from assay.verification.seat_ledger import Ledger
from assay.verification.settlement import (
    Result,
    Seat,
    compute_score,
    compute_settlement,
    compute_value,
    compute_weights,
    settle_weights,
)
from assay.verification.sketch import SKETCH_CLIP, SKETCH_GAIN, make_projection
from assay.verification.verdict import (
    Accepted,
    GroupValue,
    Refused,
    Statistics,
    Verdict,
    VerdictRecord,
)

__all__ = [
    "SKETCH_CLIP",
    "SKETCH_GAIN",
    "Accepted",
    "CheckedSubmission",
    "Examined",
    "Forward",
    "GroupValue",
    "JudgeResult",
    "Ledger",
    "MeasureOptions",
    "MeasuredGroup",
    "Measurement",
    "PartLimits",
    "Projection",
    "ReadPlan",
    "Refused",
    "Result",
    "Seat",
    "Statistics",
    "Tokenizer",
    "UnheardError",
    "Verdict",
    "VerdictRecord",
    "compute_score",
    "compute_settlement",
    "compute_value",
    "compute_weights",
    "examine",
    "find_commitment",
    "get_part_limits",
    "judge",
    "make_projection",
    "measure",
    "plan_audit",
    "plan_groups",
    "plan_samples",
    "settle_weights",
]
