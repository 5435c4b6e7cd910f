"""Checks whether a device's reference agrees with the plain one on a CPU, within the checkpoint's
calibration. It is measured here and now, so no list of GPUs is needed."""

from typing import Any

from assay.inference.calibration import Side, compare
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import read_passages
from assay.inference.pair_report import Pair, describe_pair, list_thresholds
from assay.inference.placement import Placement
from assay.neurons.preflight.check_results import CheckState, PreflightCheck
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Parameters
from assay.verification import make_projection

#: Contexts of the calibration set that both read. Rates follow from every id's probability, so a
#: few thousand tokens show one of 10^-10.
_CONTEXTS = 16


def measure_agreement(checkpoint: Checkpoint, parameters: Parameters) -> dict[str, Any]:
    """Compare the placed reference with fp32-sdpa on the CPU, in the form of `describe_pair`.

    Raises:
        CheckpointError: the folder cannot be read again. DeviceError: memory does not suffice.
    """
    temperature, tests = parameters.work.temperature, parameters.tests
    placement = checkpoint.models.placement
    contexts = read_passages(checkpoint.folder)[:_CONTEXTS]
    plain = load_checkpoint(checkpoint.folder, checkpoint.digest)
    a, b = (Side.compute(c.get_reference(temperature), contexts) for c in (plain, checkpoint))
    projection = make_projection(
        hash_fields(Domain.PROJECTION, checkpoint.digest), checkpoint.manifest
    )
    pair = Pair(
        a=name_placement(Placement()),
        b=name_placement(placement),
        honest=compare(a, b, contexts, list_thresholds(tests), temperature, projection),
        attacks={},
        tests=tests,
        temperature=temperature,
        stored=checkpoint.calibration,
    )
    report, _ = describe_pair(pair)
    return report


def name_placement(placement: Placement) -> str:
    """A placement in the form of `assay calibrate`: cuda:0:split3."""
    return f"{placement.device}:{placement.implementation}"


def check_agreement(report: dict[str, Any]) -> PreflightCheck:
    """Check whether honest work passes between the two."""
    pair = f"{report['b']} against {report['a']}, {report['tokens']:,} tokens"
    faults = [*report["refused"], *report["findings"]]
    if not faults:
        detail = f"{pair}: within the checkpoint's calibration"
        return PreflightCheck("agreement", CheckState.OK, detail)
    remedy = "name another implementation; `assay calibrate` shows the whole comparison"
    state = CheckState.FAIL if report["refused"] else CheckState.WARN
    return PreflightCheck("agreement", state, f"{pair}: {'; '.join(faults)}", remedy)
