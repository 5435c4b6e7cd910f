"""Where `assay train verify-step` looks for what miners had committed to."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.artifacts.parquet import ParquetWorker
from assay.audit.bundle import open_bundle
from assay.audit.ports import Public
from assay.audit.provenance.step_submissions import SubmissionsBeside
from assay.cli.audit import Request, reach, require_beacon
from assay.network import open_store
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class Tracing:
    """What was asked for on the command line.

    Attributes:
        place: a bundle, or settings: the network that they name.
        request: whose record, and where it lies.
        files: stores with miners' files, beside those that their commitments name.
    """

    place: Path | Settings
    request: Request
    files: Sequence[str] = ()


@contextmanager
def open_tracing(tracing: Tracing, window: int) -> Iterator[tuple[Public, bytes]]:
    """What is public of a window, and the hotkey of the validator whose record is read.

    Raises:
        OperatorError: it cannot be had.
    """
    with ExitStack() as stack:
        if isinstance(tracing.place, Path):
            public, validator = _open_bundle(tracing.place, tracing.request, window, stack)
        else:
            request = replace(tracing.request, windows=str(window))
            reached = stack.enter_context(reach(tracing.place, request))
            public, validator = reached.public, reached.validator
        if tracing.files:
            stores = [open_store(locator) for locator in tracing.files]
            worker = stack.enter_context(ParquetWorker())
            files = SubmissionsBeside(public.submissions, stores, worker)
            public = replace(public, submissions=files)
        yield public, validator


def _open_bundle(
    folder: Path, request: Request, window: int, stack: ExitStack
) -> tuple[Public, bytes]:
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
    opened = open_bundle(folder, scratch, None)
    require_beacon(opened.public.parameters, request.allow_local_beacon)
    held = opened.about.windows
    if window not in held:
        raise ConfigError(
            f"the step is of window {window}, and {folder} holds windows {held[0]} to {held[-1]}"
        )
    return opened.public, opened.validator
