"""`assay doctor` without a subnet: what of a machine needs none. Light."""

from assay.cli.checks_view import print_checks
from assay.neurons.preflight.machine_fences import check_fences
from assay.neurons.preflight.machine_sandbox import check_sandbox


def run_machine_doctor(as_json: bool) -> None:
    """Check fences and sandbox."""
    with print_checks(as_json) as show:
        show(check_fences())
        show(check_sandbox(None))
