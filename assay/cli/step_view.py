"""What `assay train verify-step`, `trace-step` and `bisect` print."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assay.artifacts.steps.folder import Step
from assay.artifacts.steps.trace_files import ROOTS, StoredTrace
from assay.audit.findings import Findings
from assay.audit.provenance.reexecution import StepComparison
from assay.audit.tracing.bisection import Bisection
from assay.cli.audit_view import print_findings
from assay.cli.console import open_console
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.protocol.errors import OperatorError
from assay.protocol.step import ReturnRecord, StepRecord
from assay.protocol.trace import TraceFault, TraceRecord


def show_groups(step: Step, findings: Findings) -> None:
    """Show what was found about a step's groups."""
    print_findings(open_console(), f"groups of window {step.record.window}", findings)


def get_step_code(comparison: StepComparison, findings: Findings | None) -> int:
    """The exit code of a step, or a return, that was verified."""
    if not comparison.equal or (findings is not None and findings.course_faults):
        return FINDING
    is_whole = not comparison.uncounted and (findings is None or findings.matched)
    return OK if is_whole else COULD_NOT_RUN


def show_comparison(
    record: StepRecord | ReturnRecord,
    comparison: StepComparison,
    findings: Findings | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what a step gave when it was repeated."""
    if as_json:
        _print_document(record, asdict(comparison), findings)
    elif not quiet:
        _print_comparison(record, comparison, findings)


def show_unrepeated(step: Step, error: OperatorError, findings: Findings) -> None:
    """Print the JSON document of a step that cannot be repeated: what was found about its groups is
    useful alone."""
    _print_document(step.record, {"equal": None, "detail": str(error)}, findings)


def _print_document(
    record: StepRecord | ReturnRecord, comparison: dict[str, Any], findings: Findings | None
) -> None:
    head = {"number": record.number, "digest": record.digest.hex()}
    groups = {"groups": None if findings is None else findings.to_json("window")}
    print(json.dumps(head | comparison | groups, indent=1))


def _print_comparison(
    record: StepRecord | ReturnRecord, comparison: StepComparison, findings: Findings | None
) -> None:
    print(f"{'EQUAL' if comparison.equal else 'DIFFERENT'}  {comparison.detail}")
    for remark in comparison.remarks:
        print(f"  {remark}")
    named = "(name a bundle with --offline, or a network)"
    if isinstance(record, StepRecord):
        if findings is None:
            print(f"  not checked: whether miners had committed to these groups {named}")
    elif findings is None:
        print(f"  not checked: whether the answers demand it {named}")
    else:
        print_findings(open_console(), f"counts up to window {record.window}", findings)


def show_trace(
    step: Step, trace: tuple[TraceRecord, tuple[str, ...]], folder: Path, as_json: bool, quiet: bool
) -> None:
    """Show a step's trace in its folder, and this machine's differences."""
    record, remarks = trace
    equal = record.tensors == step.record.tensors
    size = (folder / ROOTS).stat().st_size
    if as_json:
        summary = {"operators": record.operators, "root": record.root.hex(), "roots_bytes": size}
        document = {"out": str(folder), "equal": equal, "remarks": remarks} | summary
        print(json.dumps(document, indent=1))
    elif not quiet:
        made = "the tensors that" if equal else "other tensors than"
        print(f"{record.operators:,} operators, root {record.root.hex()}")
        print(f"  they make {made} the step's record says; {size:,} bytes of roots in {folder}")
        for remark in remarks:
            print(f"  {remark}")


def show_bisection(
    bisection: Bisection,
    traces: tuple[StoredTrace | TraceFault, StoredTrace | TraceFault],
    as_json: bool,
    quiet: bool,
) -> None:
    """Show where two traces differ, and which is right."""
    if as_json:
        reads = [_count_reads(trace) for trace in traces]
        print(json.dumps(asdict(bisection) | {"read": reads}, indent=1))
    elif not quiet:
        _print_bisection(bisection, traces)


def _count_reads(trace: StoredTrace | TraceFault) -> dict[str, int] | None:
    if isinstance(trace, TraceFault):
        return None
    return {"nodes": trace.nodes, "operators": trace.operators, "bytes": trace.bytes_read}


def _print_bisection(
    bisection: Bisection, traces: tuple[StoredTrace | TraceFault, StoredTrace | TraceFault]
) -> None:
    print(bisection.detail)
    if bisection.arguments is not None:
        print(f"  {bisection.operator}({bisection.arguments[:2_000]})")
    for name, standing, trace in zip("AB", (bisection.a, bisection.b), traces, strict=True):
        print(f"{name}  {standing.status}  {standing.detail}")
        if (read := _count_reads(trace)) is not None:
            print(
                f"   read {read['nodes']} nodes and {read['operators']} operators of it: "
                f"{read['bytes']:,} bytes"
            )
