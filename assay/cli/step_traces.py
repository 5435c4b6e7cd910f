"""`assay train trace-step` and `assay train bisect`: a step operator by operator."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import Step, read_step
from assay.artifacts.steps.trace_files import ROOTS, StoredTrace, open_trace
from assay.audit.tracing.bisection import Bisection, bisect_traces
from assay.audit.tracing.step_trace import trace_step
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.cli.train_steps import fetch_record, ignore_line, print_line
from assay.protocol.errors import OperatorError
from assay.protocol.trace import TraceFault
from assay.settings.loading import make_cards_repeat


@dataclass(frozen=True, slots=True)
class StepPlace:
    """The requested step, and the place of its files: as in `assay train verify-step`."""

    record: str
    models: Path | None
    stores: tuple[str, ...]
    folder: Path

    def open(self) -> tuple[Step, CheckpointFolder]:
        """Open the step, fetched if stores are named. Raises OperatorError: it is missing, or
        damaged."""
        path = Path(self.record)
        if self.stores:
            path = fetch_record(self.stores, self.record, self.folder)
        models = self.models or path.absolute().parent.parent / "models"
        return read_step(path), CheckpointFolder(models)


def run_trace(place: StepPlace, out: Path | None, as_json: bool, quiet: bool) -> int:
    """Write a step's trace and print its place, and whether it gives the record's result."""
    step, checkpoints = place.open()
    folder = out or step.path.with_suffix(".trace")
    make_cards_repeat()
    try:
        record, remarks = trace_step(
            step, checkpoints, folder, ignore_line if quiet else print_line
        )
    except OSError as error:
        raise OperatorError(f"the trace cannot be written to {folder}: {error}") from None
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
    return OK if equal else FINDING


def run_bisect(a: str, b: str, place: StepPlace | None, as_json: bool, quiet: bool) -> int:
    """Print where two traces differ, and which is right."""
    step, checkpoints = (None, None) if place is None else place.open()
    traces = open_trace(a), open_trace(b)
    make_cards_repeat()
    bisection = bisect_traces(*traces, step, checkpoints, ignore_line if quiet else print_line)
    if as_json:
        reads = [_count_reads(trace) for trace in traces]
        print(json.dumps(asdict(bisection) | {"read": reads}, indent=1))
    elif not quiet:
        _print_bisection(bisection, traces)
    if bisection.accuses:
        return FINDING
    return OK if bisection.is_settled else COULD_NOT_RUN


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
