"""Checks a step: whether miners had committed to its groups, and whether it gives its checkpoint.

step, models = StepRequest("steps/step-00000003-1f.json").open()
findings = check_groups(load_settings(), request, ProvenanceRequest(AuditRequest()), step, models)
comparison = repeat_step(step, models, findings)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.steps.folder import Step
from assay.artifacts.steps.request import StepRequest
from assay.artifacts.steps.returns import Return
from assay.audit.bundle import open_bundle
from assay.audit.findings import Aspect, Findings
from assay.audit.gate_check import CourseChecks
from assay.audit.opening import AuditRequest, open_network, require_beacon
from assay.audit.ports import Outlines, Public
from assay.audit.provenance.comparing import check_provenance
from assay.audit.provenance.reexecution import StepComparison, read_fitting, reexecute
from assay.audit.provenance.return_check import check_return
from assay.audit.provenance.step_submissions import SubmissionsBeside
from assay.audit.sources import TrainerFiles
from assay.inference.checkpoint import Checkpoint, Outline
from assay.inference.folder import CheckpointError
from assay.network.store.opening import open_store
from assay.protocol.amendment import UnknownParametersError
from assay.protocol.parameters import Parameters
from assay.settings.loading import ConfigError, make_cards_repeat
from assay.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class ProvenanceRequest:
    """What a step's groups are compared with."""

    record: AuditRequest  # whose record, and its place; the window is the step's
    files: Sequence[str] = ()  # further stores with miners' files


def check_groups(
    settings: Settings,
    request: StepRequest,
    provenance: ProvenanceRequest,
    step: Step,
    models: Path,
) -> Findings:
    """Compare a step's groups with what miners committed to. Raises OperatorError: something
    cannot be read.

    Args:
        step: the requested one.
        models: its folder of checkpoints, to which the request's stores add.
    """
    groups, stores = read_fitting(step), request.open_stores()
    fetching = DownloadSettings(lambda: stores) if stores else None
    with open_provenance(settings, provenance, step.record.window) as (public, validator):
        checkpoints = CheckpointFolder(models, fetching)
        findings = check_provenance(step, groups, public, validator, checkpoints)
        _check_course(step, public, checkpoints, request, findings)
        return findings


def verify_return(
    settings: Settings,
    request: StepRequest,
    provenance: ProvenanceRequest | None,
    made: Return,
    models: Path,
) -> tuple[StepComparison, Findings | None]:
    """Check a return, and compare the counts that demand it with the chain and the answers. Raises
    OperatorError: something cannot be read.

    Args:
        provenance: None: the counts are compared with nothing.
    """
    stores = request.open_stores()
    checkpoints = CheckpointFolder(models, DownloadSettings(lambda: stores) if stores else None)
    comparison = check_return(made, checkpoints)
    if provenance is None:
        return comparison, None
    findings = Findings(made.record.window)
    with open_provenance(settings, provenance, made.record.window) as (public, _):
        _check_course(made, public, checkpoints, request, findings)
    return comparison, findings


def _check_course(
    made: Step | Return,
    public: Public,
    checkpoints: CheckpointFolder,
    request: StepRequest,
    findings: Findings,
) -> None:
    """Check what the made checkpoint's course counts anew, if the checkpoint is here."""
    window = made.record.window
    try:
        outline = checkpoints.get_outline(made.child)
        parameters = public.history.get(window)
    except (CheckpointError, UnknownParametersError) as error:
        findings.miss(Aspect.COURSE, f"what the made checkpoint counts: {error}")
        return
    own, mirrors = TrainerFiles(made.path.parent), request.open_stores
    beside = replace(
        public,
        parameters=parameters,
        outlines=_HeldOutlines(checkpoints, public.outlines),
        models=_HeldModels(checkpoints),
        mirrors=lambda: [own, *mirrors(), *public.mirrors()],
    )
    CourseChecks().check(beside, window + 1, outline, findings)


@dataclass(frozen=True, slots=True)
class _HeldOutlines:
    """The outlines of a folder, and those that an audit reads beside them."""

    folder: CheckpointFolder
    others: Outlines

    def get(self, digest: bytes) -> Outline:
        try:
            return self.folder.get_outline(digest)
        except CheckpointError:
            return self.others.get(digest)

    def find_folder(self, digest: bytes) -> Path:
        return self.others.find_folder(digest)


@dataclass(frozen=True, slots=True)
class _HeldModels:
    folder: CheckpointFolder

    def get(self, digest: bytes, parameters: Parameters) -> Checkpoint | None:
        return self.folder.get(digest, parameters) if self.folder.holds(digest) else None


def repeat_step(
    step: Step,
    models: Path,
    findings: Findings | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> StepComparison:
    """Repeat a step, unless its groups differ already. Raises OperatorError, as `reexecute`.

    Args:
        models: folder of checkpoints.
        findings: of its groups; None: they were not compared.
    """
    if findings is not None and findings.differences:
        sentence = f"{findings.differences[0][1]}: the step was not repeated"
        return StepComparison(False, None, sentence, ())
    make_cards_repeat()
    is_derived = findings is not None and findings.matched
    return reexecute(step, CheckpointFolder(models), say, is_derived)


@contextmanager
def open_provenance(
    settings: Settings, request: ProvenanceRequest, window: int
) -> Iterator[tuple[Public, bytes]]:
    """The public data of a window, and the hotkey of the validator whose record is read."""
    record = request.record
    with ExitStack() as stack:
        if record.bundle is None:
            reached = stack.enter_context(
                open_network(settings, replace(record, windows=str(window)))
            )
            public, validator = reached.public, reached.validator
        else:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
            opened = open_bundle(record.bundle, scratch)
            public, validator, held = opened.public, opened.validator, opened.about.windows.all
            require_beacon(public.parameters, record.allow_local_beacon)
            if window not in held:
                raise ConfigError(
                    f"the step is of window {window}, and {record.bundle} has windows {held[0]} to "
                    f"{held[-1]}"
                )
        if request.files:
            stores = [open_store(locator) for locator in request.files]
            public = replace(public, submissions=SubmissionsBeside(public.submissions, stores))
        yield public, validator
