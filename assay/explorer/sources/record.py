"""Opens the record and the sources around it that the command line names."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.artifacts.announced_parameters import AnnouncedParameters, list_announced
from assay.artifacts.discovery import fetch_parameters, fetch_predecessors
from assay.artifacts.ports import Objects
from assay.artifacts.records.reader import Latest, RecordFault, RecordReader, list_validators
from assay.artifacts.records.run_folder import JsonFile, RunFolder
from assay.artifacts.store_objects import UnavailableError
from assay.explorer.ports import PageSources, ShownRecord, ShownWeights
from assay.explorer.sources.chain_view import ChainView
from assay.explorer.sources.courses import Courses
from assay.explorer.sources.gates import GateLines
from assay.explorer.sources.groups import Groups
from assay.explorer.sources.ledger_events import LedgerEvents
from assay.explorer.sources.live_state import LiveState, LocalnetMark
from assay.explorer.sources.manifests import Manifests
from assay.explorer.sources.named import (
    check_contract,
    check_link,
    find_beside,
    find_comparison,
    find_evaluations,
    find_export,
    find_gauntlet,
    find_ledger,
    find_models,
    find_rounds,
    find_trainer,
)
from assay.explorer.sources.proposals import Proposals
from assay.explorer.sources.rollouts import Rollouts
from assay.explorer.sources.round_findings import RoundFindings
from assay.explorer.sources.run_view import RunView, TrainerOutput
from assay.explorer.sources.runs_beside import RunsBeside
from assay.explorer.sources.shell_commands import ShellCommands
from assay.network.store.base import ObjectStore
from assay.network.store.folder import FolderStore, open_folder
from assay.network.store.opening import open_store
from assay.protocol.amendment import ParameterHistory, make_history
from assay.protocol.encoding import EncodingError
from assay.protocol.parameters import Parameters
from assay.protocol.record import SettlementRecord
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.session.resources import open_stores
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.sections import Settings

#: Seconds between two attempts to find a record that does not exist yet.
_RETRY_S = 1.0
#: Where programs keep rules: a demo's store, a neuron's own copy, a trainer's steps.
_PLACES = ("store", "rules", "steps/rules")


class NoRecordError(ConfigError):
    """There is no record yet, and waiting may help. kind: a key of
    `assay.explorer.waiting_app.AWAITED`; the message is for the operator alone."""

    def __init__(self, why: str, kind: str = "record") -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ExplorerRequest:
    """The command line's arguments, besides the settings."""

    settings: Settings
    #: the flags that name the chain, and settings; None: no chain is named
    online: tuple[str, ...] | None
    localnet: Path | None = None  # folder of the named localnet, which may start later
    #: reads the settings again for a localnet that has not started; raises ConfigError until then
    later: Callable[[], Settings] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    subject: ShownRecord
    sources: PageSources


def open_source(
    request: ExplorerRequest,
    stack: ExitStack,
    on_change: Callable[[], None],
    wait: Callable[[NoRecordError], None],
    stop: threading.Event | None = None,
) -> Source:
    """Find the record and open the sources around it.

    Args:
        on_change: called when a result is ready that pages did not wait for.
        wait: called after every attempt, while a run has no record yet.

    Raises:
        ConfigError: there is none, or it is not clear which.
        StoreError: a store cannot be read.
    """
    ended = stop or threading.Event()
    while request.later is not None:
        try:
            request = replace(request, settings=request.later(), later=None)
        except ConfigError:
            why = (
                f"no localnet has been started in {request.localnet}: `assay localnet --dir "
                f"{request.localnet}` in another terminal"
            )
            wait(NoRecordError(why, "localnet"))
            _pause(ended)
    chain = None
    if request.online is not None:
        chain = ChainView(request.settings)
        stack.callback(chain.close)
    folder, result = _find_record(request, chain, wait, ended)
    if chain is not None:
        chain.validator = result.subject.validator
        chain.start()
    return Source(result.subject, _open_around(request, stack, on_change, folder, result, chain))


def _open_around(
    request: ExplorerRequest,
    stack: ExitStack,
    on_change: Callable[[], None],
    folder: Path | None,
    result: "_FoundRecord",
    chain: ChainView | None,
) -> PageSources:
    settings, subject = request.settings, result.subject
    trainer = find_trainer(settings, folder)
    models = find_models(settings, folder, result.begun)
    own_folders = [] if folder is None else [folder / "store", folder / "bundle" / "store"]
    roots = [path for path in (*own_folders, result.root) if path is not None and path.is_dir()]
    stores = [open_folder(root) for root in roots]
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
    groups = Groups(models, roots, settings.store, scratch, on_change)
    courses = Courses(trainer, roots, scratch, on_change)
    proposals = Proposals(trainer, roots, scratch, on_change)
    rollouts = Rollouts(
        trainer, find_export(settings), models, roots, settings.store, scratch / "rollouts"
    )
    for helped in (groups, courses, proposals, rollouts):
        stack.callback(helped.close)
    place = find_ledger(settings, subject.validator, subject.identity.netuid)
    store = None if folder is None else folder / "store"
    commands = ShellCommands(
        encode_ss58(subject.validator),
        subject.history.first,
        folder,
        models,
        request.online,
        settings.explorer.record,
        store if store is not None and store.is_dir() else result.root,
        trainer,
        place,
        result.root,
    )
    run = None if folder is None else RunView(folder, subject.validator)
    localnet, slot_ms = request.localnet, subject.history.first.timing.slot_ms
    mark = None if localnet is None else LocalnetMark(localnet, subject.identity.genesis_hash)

    def read_shown(epoch: int, wanted: Mapping[int, int]) -> ShownWeights | None:
        """Of the run's bundle, otherwise of the chain."""
        weights = None if run is None else run.read_shown(epoch, wanted)
        return weights if weights or chain is None else chain.read_shown(epoch, wanted)

    def list_known(head: int | None) -> Sequence[AnnouncedParameters]:
        return [] if head is None else list_announced(subject.history, None, head)

    manifests = Manifests(models, stores)
    sources = PageSources(
        commands=commands,
        has_model=models is not None,
        ledger_link=check_link(settings.explorer.evm_explorer),
        contract=check_contract(settings.ledger.contract),
        read_live=LiveState(run, chain, slot_ms, mark).read,
        list_announced=list_known if chain is None else chain.list_announced,
        read_shown=read_shown,
        read_training=TrainerOutput(trainer, list if run is None else run.read_held_out).read,
        read_course=courses.read,
        read_proposals=proposals.read,
        read_beside=RunsBeside(find_beside(settings)).read,
        read_comparison=JsonFile(find_comparison(settings, folder)).read_object,
        read_manifest=manifests.read,
        find_lie=manifests.find_lie,
        read_gate=GateLines(manifests).read,
        list_rounds=RoundFindings(find_rounds(settings), stores).list_rounds,
        read_gauntlet=JsonFile(find_gauntlet(settings, folder)).read_object,
        read_evaluations=find_evaluations(settings, trainer).read,
        read_group=groups.read,
        rollouts=rollouts,
    )
    if run is not None:
        sources.get_names, sources.list_posts = run.get_names, run.list_posts
        sources.read_payment = run.get_payment
    if chain is not None:
        sources.read_neurons = chain.read_neurons
        sources.read_pay = chain.read_pay
    if place is not None:
        events = LedgerEvents(place, on_change)
        stack.callback(events.close)
        sources.read_ledger = events.read
    return sources


def _pause(ended: threading.Event) -> None:
    if ended.wait(_RETRY_S):
        raise ConfigError("stopped before there was anything to show")


@dataclass(frozen=True, slots=True)
class _FoundRecord:
    """root: folder of its store, if that is a folder; begun: whether any of it exists."""

    subject: ShownRecord
    root: Path | None
    begun: bool


def _find_folder(request: ExplorerRequest) -> Path | None:
    """The folder of the named run, otherwise of the localnet's validator or of the demo."""
    settings, named = request.settings, request.settings.explorer.dir
    if named is not None and not named.is_dir():
        raise ConfigError(
            f"--dir {named}: there is no such folder; `assay demo --out {named}` makes one"
        )
    if named is not None:
        return named
    if settings.validator.dir.is_dir() and request.online is not None:
        return settings.validator.dir
    if settings.explorer.record is None and request.online is None:
        demo = settings.demo.out
        if not demo.is_dir():
            raise ConfigError(
                f"nothing to show: {demo} is not there. Run `assay demo`, or name a folder with "
                "--dir, a record with --record and --hotkey, or a chain with --netuid or --localnet"
            )
        return demo
    return None


def _find_record(
    request: ExplorerRequest,
    chain: ChainView | None,
    wait: Callable[[NoRecordError], None],
    ended: threading.Event,
) -> tuple[Path | None, _FoundRecord]:
    """The run's folder and its record. Waits for them if they may come."""
    while True:
        folder = _find_folder(request)
        try:
            return folder, _try_to_find_record(request, folder, chain)
        except NoRecordError as error:
            if chain is None and (folder is None or not RunView(folder, b"").is_alive()):
                raise
            wait(error)
            _pause(ended)


def _try_to_find_record(
    request: ExplorerRequest, folder: Path | None, chain: ChainView | None
) -> _FoundRecord:
    settings = request.settings
    history, announced = _ask_chain(request, chain)
    is_followed = history is not None
    validator = settings.explorer.hotkey
    if validator is None and folder is not None and settings.explorer.record is None:
        validator = RunView(folder, b"").get_hotkey(settings.chain.netuid)
    if request.localnet is not None and validator is None and not announced:
        raise NoRecordError(
            f"nobody validates on the localnet in {request.localnet} yet: `assay validate "
            f"--localnet {request.localnet} --wallet validator` in another terminal",
            "validator",
        )
    objects, place = _open_records(request, folder, announced, validator)
    hotkey = _find_validator(validator, objects, place, announced)
    reader = RecordReader(objects, hotkey)
    latest = reader.read_latest()
    begun = not (isinstance(latest, RecordFault) and latest.is_missing)
    # a run on this machine has pages before its first settlement
    find: Callable[[bytes], Parameters | None]
    find = partial(_find_parameters, stores=[objects], folder=folder)
    if not begun and history is None and folder is not None:
        history = _find_own_history(folder, find)
    if not begun and (history is None or folder is None):
        raise NoRecordError(
            f"{place} holds no record of {reader.address} yet: it is published once its first "
            "settlement's weights are open"
        )
    if history is None:
        history = _find_recorded_history(reader, latest, find, place)
    root = objects.root if isinstance(objects, FolderStore) else None
    return _FoundRecord(
        ShownRecord(hotkey, history, objects, place, None if is_followed else find), root, begun
    )


def _ask_chain(
    request: ExplorerRequest, chain: ChainView | None
) -> tuple[ParameterHistory | None, dict[str, str]]:
    """Read the chain. A localnet's record can be shown while the localnet is stopped."""
    if chain is None:
        return None, {}
    try:
        return chain.find()
    except ConfigError:
        if request.settings.explorer.record is None and request.localnet is None:
            raise
        return None, {}


def _open_records(
    request: ExplorerRequest, folder: Path | None, announced: dict[str, str], wanted: str | None
) -> tuple[ObjectStore, str]:
    settings = request.settings
    named = settings.explorer.record
    if named is not None:
        if "://" in named:
            return open_store(named), named
        if not Path(named).is_dir():
            raise ConfigError(f"--record {named}: there is no such folder")
        return open_folder(Path(named)), named
    if folder is not None and (folder / "record").is_dir():
        return open_folder(folder / "record"), str(folder)
    locators = {wanted: announced[wanted]} if wanted in announced else announced
    if wanted is not None and wanted not in announced and settings.store.locator is not None:
        locators = {}
    if len(locators) == 1:
        (locator,) = locators.values()
        store = open_stores(settings.store).get(locator)
        if store is None:
            raise ConfigError(
                f"the record lies at {locator!r}, which is not read from here: allow it with "
                "--readable, or name a copy with --record"
            )
        return store, locator
    if len(locators) > 1:
        raise ConfigError(f"whose record? name one with --hotkey: {', '.join(sorted(locators))}")
    if settings.store.locator is not None:
        return open_stores(settings.store).open(settings.store.locator), settings.store.locator
    if folder is not None:
        return _open_run_store(folder)
    raise NoRecordError("nobody announces a record on this subnet yet; name one with --record")


def _open_run_store(folder: Path) -> tuple[ObjectStore, str]:
    """The store that a run names for its record. It is opened only if the program runs here, and so
    is our operator's: a folder from elsewhere may name any place."""
    run = RunView(folder, b"")
    locator = run.get_locator()
    if locator is not None and run.is_held():
        return open_store(locator), str(folder)
    where = "STORE" if locator is None else repr(locator)
    raise NoRecordError(
        f"{folder} holds no record yet: it is there once the first settlement's weights are "
        f"open; a validator's that goes to a store is named with --record {where}"
    )


def _find_validator(
    named: str | None, objects: ObjectStore, place: str, announced: dict[str, str]
) -> bytes:
    if named is not None:
        return parse_hotkey(named, "--hotkey")
    # a bucket is not listed for this
    validators = list_validators(objects) if isinstance(objects, FolderStore) else []
    if len(validators) == 1:
        return validators[0]
    if len(announced) == 1:
        return decode_ss58(next(iter(announced)))
    if validators:
        raise ConfigError(
            f"{place} holds several records: name one with --hotkey: "
            + ", ".join(map(encode_ss58, validators))
        )
    raise NoRecordError(f"{place} holds no record yet (name its validator with --hotkey)")


def _find_recorded_history(
    reader: RecordReader,
    latest: Latest | RecordFault,
    find: Callable[[bytes], Parameters | None],
    place: str,
) -> ParameterHistory:
    record: SettlementRecord | RecordFault
    record = latest if isinstance(latest, RecordFault) else reader.read_settlement(latest.epoch)
    if isinstance(record, RecordFault):
        raise ConfigError(
            f"the newest settlement of {reader.address} cannot be read: {record.sentence}"
        )
    history = _find_history(record.parameters, find)
    if history is None:
        raise ConfigError(
            f"{place} does not hold the parameters that its record names, "
            f"{record.parameters.hex()[:16]}…, and all before them: name the chain that has them "
            "with --netuid or --localnet"
        )
    return history


def _find_own_history(
    folder: Path, find: Callable[[bytes], Parameters | None]
) -> ParameterHistory | None:
    """The parameters of the program that runs in a folder. None: none runs, or they are
    unavailable."""
    run = RunView(folder, b"")
    live, digest = run.read_live(), run.get_parameters()
    if live is None or not live.moving or digest is None:
        return None
    return _find_history(digest, find)


def _find_history(
    digest: bytes, find: Callable[[bytes], Parameters | None]
) -> ParameterHistory | None:
    """Parameters of a digest and all before them. None: one of them is unavailable."""

    def fetch(digest: bytes) -> Parameters:
        parameters = find(digest)
        if parameters is None:
            raise UnavailableError("it is nowhere here")
        return parameters

    try:
        return make_history(fetch_predecessors(fetch, digest))
    except (UnavailableError, ValueError, IndexError):
        return None


def _find_parameters(
    digest: bytes, stores: list[Objects], folder: Path | None
) -> Parameters | None:
    if folder is not None:
        places = [folder / name for name in _PLACES]
        stores = [*stores, *(open_folder(path) for path in places if path.is_dir())]
    for store in stores:
        try:
            return fetch_parameters(store, digest)
        except UnavailableError:
            continue
    if folder is None:
        return None
    run = RunFolder(folder)
    for window in run.list_windows():
        with suppress(EncodingError):
            parameters = run.read_context(window).parameters
            if parameters.digest == digest:
                return parameters
    return None
