"""`assay audit`: derives a validator's claims again from public data."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from assay.artifacts.ports import Objects
from assay.artifacts.records.reader import Latest, RecordFault, open_reader
from assay.audit.auditor import Progress, audit
from assay.audit.bundle import Bundle, list_needed, open_bundle
from assay.audit.bundle_export import export_bundle
from assay.audit.bundle_file import pack_bundle
from assay.audit.bundle_seal import open_records
from assay.audit.findings import Aspect, AuditReport, Findings
from assay.audit.ports import Public, ScoreLedgerReader
from assay.audit.sources import FetchedOutlines, MadeModels, ModelShelf, StoredSubmissions
from assay.cli.checks import split_windows
from assay.cli.console import open_console
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.workers.pool import open_workers
from assay.judge.about import AUDITED_MAX, read_about
from assay.judge.seal import ABOUT_FILE, SUMS_FILE
from assay.network.chain.subtensor import SubtensorChain
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.opening import ReadableStores
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Commitment, Tag, parse_commitment
from assay.protocol.parameters import Parameters
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.session.evm_opening import open_ledger, open_node
from assay.session.session import Session, open_session
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.placing import make_worker_settings, open_placement
from assay.settings.sections import ComputeSettings, Settings

MATCHED, DIFFERS, NOT_CHECKED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """The request on the command line."""

    validator: str | None = None  # SS58; None: the one that announces a record
    windows: str | None = None  # as A..B; None: those of the newest settlement
    #: locator of the validator's store, or a folder; None: as it announces
    records: str | None = None
    models: Sequence[Path] = ()  # folders for --model. against: bundles or stores of other readers.
    against: Sequence[Path] = ()
    allow_local_beacon: bool = False
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    devices: Sequence[str] = ()  # a worker on each runs the models; none: this process does
    cluster: str | None = None  # address of the Ray cluster whose hosts they are


def run_offline(bundle: Path, request: AuditRequest, as_json: bool, quiet: bool) -> int:
    """Audit a bundle. Return the exit code."""
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(prefix="assay-"))
        copies = _open_copies(request)
        opened = open_bundle(bundle, Path(scratch), copies)
        require_beacon(opened.public.parameters, request.allow_local_beacon)
        address = encode_ss58(opened.validator)
        if request.validator not in (None, address):
            raise ConfigError(f"{bundle} is a bundle of {address}, not of {request.validator}")
        windows = _choose_windows(request, opened)
        public = _add_models(opened.public, request, stack, opened.models)
        with _show_progress(quiet or as_json) as progress:
            report = audit(public, opened.validator, windows, progress)
    return _print_outcome(report, as_json)


def run_online(settings: Settings, request: AuditRequest, as_json: bool, quiet: bool) -> int:
    """Audit the network. Return the exit code."""
    with open_network(settings, request) as reached, _show_progress(quiet or as_json) as progress:
        report = audit(reached.public, reached.validator, reached.windows, progress)
    return _print_outcome(report, as_json)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is asked of an export, besides whose record and which windows."""

    out: Path
    source: Path | None = None  # a bundle to cut windows out of; None: the network
    base: Path | None = None  # a checkpoint that is kept whole
    as_file: bool = False  # also write it as one file


def run_export(
    settings: Settings, request: AuditRequest, export: ExportRequest, as_json: bool, quiet: bool
) -> int:
    """Audit without a model and leave a bundle. Return the exit code."""
    out = export.out
    if request.windows is None and (out / ABOUT_FILE).is_file():  # begun: the newest may differ now
        begun = read_about(out).windows.all
        request = replace(request, windows=f"{begun[0]}..{begun[-1]}")
    with _open_exported(settings, request, export) as (reached, is_whole):
        with _show_progress(quiet or as_json) as progress:
            if is_whole:
                report = audit(reached.public, reached.validator, reached.windows, progress)
            else:
                report = export_bundle(
                    reached.public,
                    reached.validator,
                    reached.windows,
                    out,
                    reached.scratch,
                    reached.mirrors,
                    progress,
                    export.base,
                )
        file = pack_bundle(out, out.absolute().parent) if export.as_file else None
    needed = [digest.hex() for digest in list_needed(out)]
    packed = None
    if file is not None:
        packed = {"path": str(file.path), "sha256": file.sha256, "bytes": file.size}
    described = {"folder": str(out), "needs": needed, "file": packed}
    code = _print_outcome(report, as_json, {"bundle": described})
    if not as_json:
        local = "" if reached.public.parameters.beacon == QUICKNET else " --allow-local-beacon"
        console = open_console()
        console.print(f"{out} is complete: `assay audit --offline {out}{local}`")
        if needed:
            listed = ", ".join(digest[:16] + "…" for digest in needed)
            console.print(f"With --model it needs the tensors of checkpoint {listed}.")
        if file is not None:
            console.print(f"{file.path} has all of it in {file.size:,} bytes.")
    return code


@contextmanager
def _open_exported(
    settings: Settings, request: AuditRequest, export: ExportRequest
) -> Iterator[tuple["AuditedRecord", bool]]:
    """The source of an export, and whether its bundle is whole already and only packed."""
    is_whole = export.as_file and (export.out / SUMS_FILE).is_file()
    source = export.out if is_whole else export.source
    if source is None:
        with open_network(settings, request) as reached:
            yield reached, False
        return
    with TemporaryDirectory(prefix="assay-") as scratch:
        opened = open_bundle(source, Path(scratch))
        windows = _choose_windows(request, opened)
        if is_whole and windows != opened.about.windows.all:
            raise ConfigError(
                f"{source} has other windows: cut {request.windows} out with --offline {source} "
                "and another --out"
            )
        mirrors, kept = (lambda: [opened.store]), Path(scratch, "kept")
        yield AuditedRecord(opened.public, opened.validator, windows, kept, mirrors), is_whole


# --- inputs


@dataclass(frozen=True, slots=True)
class AuditedRecord:
    """A validator's record, in the network or in a bundle, as an audit reads it."""

    public: Public
    validator: bytes
    windows: range
    scratch: Path
    mirrors: Callable[[], Iterable[Objects]]


@dataclass(frozen=True, slots=True)
class AuditedNetwork(AuditedRecord):
    """The same in the network."""

    chain: SubtensorChain
    stores: ReadableStores


@contextmanager
def open_network(
    settings: Settings, request: AuditRequest, among: Sequence[bytes] | None = None
) -> Iterator[AuditedNetwork]:
    """Open the network that the settings name.

    Args:
        among: hotkeys of validators, of which the first is audited whose newest settlement can be
            read; empty: all that announce a record. None: the requested one.
    """
    asked = None if request.windows is None else parse_windows(request.windows)
    with ExitStack() as stack:
        copies = _open_copies(request)
        session = stack.enter_context(open_session(settings))
        chain, stores, parameters = session.chain, session.stores, session.parameters
        if asked is not None:
            _require_begun(parameters, asked[-1], chain.get_head())
        if among is None:
            validator, announced = _find_validator(chain, request)
            records = open_published(stores, request.records, announced, validator)
        else:
            validator, announced, records = find_readable(session, among)
        mirrors = session.checkpoint_mirrors
        public = Public(
            chain=chain,
            beacons=session.beacons,
            parameters=parameters,
            history=session.history,
            records=records,
            submissions=StoredSubmissions(stores, session.submission_mirrors),
            outlines=FetchedOutlines(session.folder / "models", mirrors),
            copies=copies,
            ledger=open_settled_ledger(settings, stack),
            rules=lambda slot: stores.open(slot.locator),
        )
        windows = asked
        if windows is None:
            windows = find_newest(public.records, validator, public.history, announced)
        public = _add_models(public, request, stack)
        kept_folder = session.folder / "kept"
        yield AuditedNetwork(public, validator, windows, kept_folder, mirrors, chain, stores)


def _require_begun(parameters: Parameters, window: int, head: int) -> None:
    begins = compute_block(parameters.timing, window, Phase.CHALLENGE)
    if head < begins:
        raise ConfigError(
            f"window {window} has not begun: it begins at block {begins}, and the chain is at "
            f"block {head}"
        )


def open_settled_ledger(settings: Settings, stack: ExitStack) -> ScoreLedgerReader | None:
    """The ledger on the EVM, if the settings name one."""
    if settings.ledger.endpoint is None and settings.ledger.contract is None:
        return None
    ledger = open_ledger(settings, stack.enter_context(open_node(settings)))
    ledger.node.require_chain()  # each chain may have a ledger at this address
    return ledger


def list_announced(chain: SubtensorChain) -> dict[bytes, Commitment]:
    """Validators that announce a record on chain, with their announcements."""
    slots = {
        hotkey: parse_commitment(payload)
        for hotkey, payload in chain.get_commitments(chain.get_head()).items()
    }
    return {h: slot for h, slot in slots.items() if slot is not None and slot.tag is Tag.RECORD}


def find_readable(
    session: Session, among: Sequence[bytes]
) -> tuple[bytes, Commitment, ObjectStore]:
    """The first validator that announces a record on chain and whose newest settlement can be
    read."""
    announced, fault = list_announced(session.chain), None
    for hotkey in sorted(set(among or announced) & set(announced)):
        slot = announced[hotkey]
        try:
            records = session.stores.open(slot.locator)
            find_newest(records, hotkey, session.history, slot)
        except (ConfigError, StoreError) as error:
            fault = fault or error
        else:
            return hotkey, slot, records
    raise ConfigError(f"none of these validators publishes a record{f': {fault}' * bool(fault)}")


def _find_validator(
    chain: SubtensorChain, request: AuditRequest
) -> tuple[bytes, Commitment | None]:
    """A hotkey, and its announcement of a record on chain."""
    announced = list_announced(chain)
    if request.validator is not None:
        hotkey = parse_hotkey(request.validator, "--validator")
        return hotkey, announced.get(hotkey)
    if len(announced) == 1:
        return min(announced.items())
    names = ", ".join(sorted(map(encode_ss58, announced))[:8])
    raise ConfigError(
        "whose record? name a hotkey with --validator"
        + (f": {names} announce one" if announced else "; nobody announces one on this subnet yet")
    )


def open_published(
    stores: ReadableStores, named: str | None, announced: Commitment | None, validator: bytes
) -> ObjectStore:
    """The store with a validator's record: at the operator's place, else at the announced one,
    which is a stranger's locator and never a folder of ours."""
    if named is not None and "://" not in named:
        return open_records(Path(named))
    if named is not None:
        return stores.open(named)
    if announced is None:
        raise ConfigError(
            f"{encode_ss58(validator)} announces no record on chain: name its place with --records"
        )
    return stores.open(announced.locator)


def find_newest(
    records: Objects, validator: bytes, history: ParameterHistory, announced: Commitment | None
) -> range:
    """The windows of the newest published settlement. `announced` binds the validator, unlike the
    store's own hint. The newer one is used."""
    where = f"the record of {encode_ss58(validator)}"
    reader = open_reader(records, validator, history)
    latest = reader.read_latest()
    is_missing = isinstance(latest, RecordFault) and latest.is_missing
    if is_missing and announced is None:
        raise ConfigError(f"{where} is still empty: it is published once weights are revealed")
    newest = None
    if is_missing or isinstance(latest, Latest):
        newest = reader.get_newest(latest, announced)
    covered = () if newest is None else newest.windows
    if not covered:
        raise ConfigError(f"{where} has no newest settlement: name windows with --windows A..B")
    windows = range(covered[0].window, covered[-1].window + 1)
    if len(windows) > AUDITED_MAX:
        raise ConfigError(f"{where} settles {len(windows)} windows: name some with --windows")
    return windows


def parse_windows(text: str) -> range:
    """`A..B`, both included, or one number."""
    first, last = split_windows(text)
    if last - first >= AUDITED_MAX:
        raise ConfigError(f"--windows {text}: at most {AUDITED_MAX} are audited at a time")
    return range(first, last + 1)


def _choose_windows(request: AuditRequest, opened: Bundle) -> range:
    """The windows of a bundle that are asked for: without a word all."""
    held = opened.about.windows.all
    if request.windows is None:
        return held
    asked = parse_windows(request.windows)
    if asked[0] < held[0] or asked[-1] > held[-1]:
        raise ConfigError(f"the bundle has only windows {held[0]} to {held[-1]}")
    return asked


def _add_models(
    public: Public, request: AuditRequest, stack: ExitStack, held: Path | None = None
) -> Public:
    """The same with models, if the request names some or a bundle holds some, and with the number
    of members of a window that are then checked at a time. `held`: the bundle's."""
    folders = [*request.models, *([] if held is None else [held])]
    if not folders:
        if request.devices:
            raise ConfigError("workers run a model: name its folder with --model")
        return public
    compute, parallel = request.compute, 1
    if request.cluster and not request.devices:
        raise ConfigError("which workers on the cluster? name them with --worker or --workers")
    load: Callable[[Path, bytes], Checkpoint]
    if request.devices:
        settings = make_worker_settings(compute, request.devices)
        pool = stack.enter_context(open_workers(settings, request.cluster))
        load, parallel = pool.load, pool.count + 1
    else:
        if compute.threads is None:
            torch.set_num_threads(1)  # several threads do not pay for small batches
        load = partial(load_checkpoint, placement=open_placement(compute))
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
    made = MadeModels(public.outlines, scratch)
    return replace(public, models=ModelShelf(folders, load, made), parallel=parallel)


def _open_copies(request: AuditRequest) -> dict[str, Objects]:
    return {str(folder): open_records(folder) for folder in request.against}


def require_beacon(parameters: Parameters, allow_local: bool) -> None:
    """Raise a ConfigError for a beacon chain with a single signer, unless it is allowed."""
    if parameters.beacon != QUICKNET and not allow_local:
        raise ConfigError(
            "the bundle's beacon chain is not quicknet; if it is a demo's own, add "
            "--allow-local-beacon"
        )


# --- output


@contextmanager
def _show_progress(quiet: bool) -> Iterator[Progress]:
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, due: None
        return
    columns = (TextColumn("windows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, due: bar.update(task, completed=done, total=due)


def _print_outcome(
    report: AuditReport, as_json: bool, also: Mapping[str, Any] | None = None
) -> int:
    """Print the result and return the exit code. `also`: further fields of the document."""
    if as_json:
        print(json.dumps(describe_report(report) | dict(also or {})))
    else:
        _print_report(report)
    if report.differs:
        return DIFFERS
    return MATCHED if report.matched else NOT_CHECKED


def describe_report(report: AuditReport) -> dict[str, Any]:
    """The report as JSON. `weights_match` and `ledger_match` are null if they were not checked."""
    weights = (Aspect.SETTLED, Aspect.WEIGHTS, Aspect.CHAIN)
    return {
        "validator": encode_ss58(report.validator),
        "matched": report.matched,
        "model": report.has_model,
        "windows": [part.to_json("window") for part in report.windows],
        "settlements": [part.to_json("epoch") for part in report.settlements],
        "weights_match": report.get_state(*weights),
        "ledger_match": report.get_state(Aspect.LEDGER),
    }


def _print_report(report: AuditReport) -> None:
    console = open_console()
    console.print(f"validator {encode_ss58(report.validator)}")
    for part in report.windows:
        print_findings(console, f"window {part.number}", part)
    for part in report.settlements:
        print_findings(console, f"settlement at block {part.number}", part)
    claims = sum(part.claims for part in (*report.windows, *report.settlements))
    if claims:
        need = "1 verdict needs" if claims == 1 else f"{claims} verdicts need"
        console.print(f"{need} the model: --model FOLDER runs its forward passes again.")
    words = sum(part.words for part in report.windows)
    if words:
        console.print(
            f"{words} refusals are the validator's word, which nobody can check: compare with "
            "other validators' records.",
            style="yellow",
        )
    if report.differs:
        console.print("This record contradicts public data.", style="bold red")
    elif report.matched:
        console.print("Everything matches public data.", style="bold green")
    else:
        console.print("Nothing differs, but not everything could be checked.", style="yellow")


def print_findings(console: Console, title: str, findings: Findings) -> None:
    """Print what was checked, what differs, and what could not be checked."""
    state, style = "matches", "green"
    if findings.differences:
        state, style = "DIFFERS", "bold red"
    elif findings.unknown:
        state, style = "not checked in full", "yellow"
    console.print(f"{title}  ", end="")
    console.print(state, style=style, end="")
    console.print(f"  {', '.join(check.value for check in findings.checked)}", style="dim")
    for check, sentence in findings.differences:
        console.print(f"  {check.value}: {sentence}", style="red", markup=False)
    for check, sentence in findings.unknown:
        console.print(f"  {check.value} not checked: {sentence}", style="yellow", markup=False)
    for note in findings.notes:
        console.print(f"  {note}", style="dim", markup=False)
