"""The judge: turns a submission and a forward pass into a verdict, and verdicts into weights.

This room reaches the outside through three ports: `SubmissionReader`, `Tokenizer`, `Forward`. It
never runs a model, reads a file or a clock, talks to a network, or trusts a miner's word.
Start with `judge`. `trial` runs the tests of one submission, and `settlement` computes the weights.
"""

from assay.verification.judge import Examined, examine, find_commitment, judge
from assay.verification.ports import Forward, Measurement, Projection, SubmissionReader, Tokenizer
from assay.verification.seat_ledger import Ledger
from assay.verification.settlement import (
    Result,
    Seat,
    compute_score,
    compute_settlement,
    compute_value,
    compute_weights,
)
from assay.verification.sketch import SKETCH_CLIP, SKETCH_GAIN, make_projection
from assay.verification.submission_parts import (
    PartLimits,
    choose,
    find_sample_fault,
    get_part_limits,
    read_groups,
    read_opening,
)
from assay.verification.verdict import GroupValue, Statistics, Verdict

__all__ = [
    "SKETCH_CLIP",
    "SKETCH_GAIN",
    "Examined",
    "Forward",
    "GroupValue",
    "Ledger",
    "Measurement",
    "PartLimits",
    "Projection",
    "Result",
    "Seat",
    "Statistics",
    "SubmissionReader",
    "Tokenizer",
    "Verdict",
    "choose",
    "compute_score",
    "compute_settlement",
    "compute_value",
    "compute_weights",
    "examine",
    "find_commitment",
    "find_sample_fault",
    "get_part_limits",
    "judge",
    "make_projection",
    "read_groups",
    "read_opening",
]
