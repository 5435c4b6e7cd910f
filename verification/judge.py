"""The judge: one checked submission and one forward pass in, one verdict out.

It does no I/O of its own and uses no clock, no globals and no torch. Checks run cheapest first, and
the first failure decides: those that need no model (`examination`), then the model's and the reward
code (`measuring`). No reward code runs before the sampling test has passed, and no world but those
that reply in audited rollouts. Nothing that a miner sends raises an exception: an exception is our
own fault. Specification, sections 5, 6, 8 and 9.
"""

from typing import Unpack

from assay.protocol.manifest import Calibration, Manifest
from assay.verification.examination import examine
from assay.verification.measuring import JudgeResult, MeasureOptions, measure
from assay.verification.ports import Forward, Tokenizer
from assay.verification.read_plan import CheckedSubmission
from assay.verification.seat_ledger import Ledger
from assay.verification.verdict import Refused


def judge(
    submission: CheckedSubmission,
    tokenizer: Tokenizer,
    forward: Forward,
    calibration: Calibration,
    ledger: Ledger,
    *,
    manifest: Manifest,
    pool: bytes = b"",
    **options: Unpack[MeasureOptions],
) -> JudgeResult:
    """Judge one submission to one window.

    Args:
        submission: the result of a finished plan, of an audit or of groups. It names hotkey and
            context, whose audit beacon is known.
        tokenizer, forward, calibration, manifest, pool: of the checkpoint that the context names;
            the pool's bytes, none where its manifest names no pool.
        ledger: evidence so far in this settlement.

    Raises:
        ValueError: our own fault: checkpoint, environment or context do not belong together.
    """
    if calibration.digest != manifest.calibration:
        raise ValueError("the calibration is not the one the manifest names")
    examined = examine(submission, tokenizer, manifest=manifest, pool=pool)
    if isinstance(examined, Refused):
        return JudgeResult(examined, ledger, left_out=submission.left_out)
    return measure(examined, forward, calibration, ledger, **options)
