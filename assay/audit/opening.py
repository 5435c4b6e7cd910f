"""Opens a validator's record, in the network or in a bundle, for an audit."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from assay.artifacts.ports import Objects
from assay.artifacts.records.reader import Latest, RecordFault, open_reader
from assay.audit.bundle import Bundle, open_bundle
from assay.audit.bundle_seal import open_records
from assay.audit.ports import Public, ScoreLedgerReader
from assay.audit.sources import FetchedOutlines, MadeModels, ModelShelf, StoredSubmissions
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.workers.pool import open_workers
from assay.judge.about import AUDITED_MAX
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
from assay.settings.loading import ConfigError, parse_hotkey, split_windows
from assay.settings.placing import make_worker_settings, open_placement
from assay.settings.sections import ComputeSettings, Settings


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """Whose record is read, where, and with what."""

    validator: str | None = None  # SS58; None: the one that announces a record
    windows: str | None = None  # as A..B; None: those of the newest settlement
    #: locator of the validator's store, or a folder; None: as it announces
    records: str | None = None
    bundle: Path | None = None  # a bundle's folder or file to read from; None: the network
    models: Sequence[Path] = ()  # folders of checkpoints
    against: Sequence[Path] = ()  # bundles or stores of other readers
    allow_local_beacon: bool = False
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    devices: Sequence[str] = ()  # a worker on each runs the models; none: this process does
    cluster: str | None = None  # address of the Ray cluster whose hosts they are


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
def open_record(settings: Settings, request: AuditRequest) -> Iterator[AuditedRecord]:
    """Open the record that is requested: in its bundle, or in the network of the settings."""
    bundle = request.bundle
    if bundle is None:
        with open_network(settings, request) as reached:
            yield reached
        return
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
        opened = open_bundle(bundle, scratch, _open_copies(request))
        require_beacon(opened.public.parameters, request.allow_local_beacon)
        address = encode_ss58(opened.validator)
        if request.validator not in (None, address):
            raise ConfigError(f"{bundle} is a bundle of {address}, not of {request.validator}")
        windows = choose_windows(request.windows, opened)
        public = _add_models(opened.public, request, stack, opened.models)
        yield AuditedRecord(public, opened.validator, windows, scratch, lambda: [opened.store])


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
            mirrors=mirrors,
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


def choose_windows(named: str | None, opened: Bundle) -> range:
    """The windows of a bundle that are asked for: without a word all."""
    held = opened.about.windows.all
    if named is None:
        return held
    asked = parse_windows(named)
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
