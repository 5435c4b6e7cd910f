"""The sources around a record, assembled from the available folders, stores and nodes."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from assay.artifacts.announced_parameters import AnnouncedParameters, list_announced
from assay.artifacts.ports import Objects
from assay.artifacts.records.run_folder import JsonFile
from assay.artifacts.store_objects import make_checkpoint_name
from assay.explorer.documents.curves import OWN, POINTS_MAX, Curve
from assay.explorer.documents.windows import ReadingLack
from assay.explorer.labels import show_hidden
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import (
    CheckpointOrigin,
    Commands,
    CourseReading,
    EntryStatus,
    GroupReading,
    LedgerReading,
    Live,
    MergedRound,
    Neurons,
    ProposalsReading,
    ShownWeights,
    Training,
)
from assay.explorer.sources.chain_view import ChainView
from assay.explorer.sources.courses import Courses
from assay.explorer.sources.evaluation_results import EvaluationResults
from assay.explorer.sources.groups import Groups
from assay.explorer.sources.ledger_events import LedgerEvents, LedgerPlace
from assay.explorer.sources.proposals import Proposals
from assay.explorer.sources.round_findings import RoundFindings
from assay.explorer.sources.run_view import RunView, TrainerOutput, parse_manifest
from assay.protocol.amendment import ParameterHistory
from assay.protocol.context import Context
from assay.protocol.errors import OperatorError, Trouble, TroubleKind
from assay.session.evm_opening import get_chain_id
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings

#: Largest manifest that is read, bytes: a thousand times one of today's.
_MANIFEST_BYTES = 1 << 20
#: Manifests and weights in memory.
_CACHED = 1_024
_REPLACED = Trouble(
    TroubleKind.ANEW,
    "the localnet was begun anew, and this page shows the one before it: start `assay explorer` "
    "again",
)
_NO_BLOCK = Trouble(TroubleKind.CHAIN, "no new block")
#: A block is overdue after so many slots, and so many seconds at least.
_OVERDUE_SLOTS, _OVERDUE_S = 8, 12.0
#: Most curves of another run, and most characters of its name.
_CURVES_MAX, _NAME_MAX = 16, 40
_CURVES = TypeAdapter(list[Curve])
_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
#: Hosts that pages may link to without TLS.
_NEAR = ("127.0.0.1", "::1", "localhost")


@dataclass(slots=True)
class OpenedSources:
    """See `PageSources`. chain: the source of data that the run does not have; stores: places of
    checkpoints' manifests."""

    commands: Commands
    history: ParameterHistory
    has_model: bool
    ledger_link: str | None
    contract: str | None
    run: RunView | None
    trainer: TrainerOutput | None
    chain: ChainView | None
    models: Path | None
    stores: Sequence[Objects]
    gauntlet: JsonFile
    comparison: JsonFile
    evaluations: EvaluationResults
    beside: Mapping[str, JsonFile]
    rounds: RoundFindings
    groups: Groups
    courses: Courses
    proposals: Proposals
    pace: "BlockWatch"
    events: LedgerEvents | None = None
    localnet: "LocalnetMark | None" = None
    _manifests: "BoundedCache[bytes, CheckpointOrigin]" = field(
        default_factory=lambda: BoundedCache(_CACHED)
    )
    _curves: dict[str, tuple[Any, Sequence[Curve]]] = field(default_factory=dict)
    _shown: "BoundedCache[int, ShownWeights]" = field(default_factory=lambda: BoundedCache(_CACHED))

    def read_live(self) -> Live | None:
        """The state of the run and of the chain: the newer head, and the trouble of either."""
        run = None if self.run is None else self.run.read_live()
        chain = None if self.chain is None else self.chain.read_live()
        live = join_live(run, chain)
        silence = None if self.chain is None or chain is not None else self.chain.get_trouble()
        if live is not None and silence is not None:  # it has never answered
            live = replace(live, trouble=silence[0], since_ms=silence[1])
        if live is not None and self.localnet is not None and self.localnet.is_replaced():
            return replace(live, moving=False, trouble=_REPLACED, since_ms=None)
        if live is None or not live.moving or live.since_ms is not None:
            return live
        if self.run is not None and self.run.makes_blocks():
            return live
        since_ms = self.pace.note(live.head)
        if since_ms is None:
            return live
        return replace(live, trouble=live.trouble or _NO_BLOCK, since_ms=since_ms)

    def list_announced(self, head: int | None) -> Sequence[AnnouncedParameters]:
        if self.chain is not None:
            return self.chain.list_announced()
        return [] if head is None else list_announced(self.history, None, head)

    def read_shown(self, epoch: int, wanted: Mapping[int, int]) -> ShownWeights | None:
        """Read them from the run's bundle, otherwise from the chain. Wanted weights that were shown
        once are not read again."""
        cached = self._shown.get(epoch)
        if cached is not None and dict(cached.weights) == dict(wanted):
            return cached
        weights = None if self.run is None else self.run.read_shown(epoch, wanted)
        if weights is None and self.chain is not None:
            weights = self.chain.read_shown(epoch, wanted)
        if weights is not None:
            self._shown.put(epoch, weights)
        return weights

    def read_neurons(self) -> Neurons | None:
        return None if self.chain is None else self.chain.read_neurons()

    def read_ledger(self, first: int) -> LedgerReading | None:
        return None if self.events is None else self.events.read(first)

    def list_posts(self) -> Sequence[EntryStatus] | None:
        return None if self.run is None else self.run.list_posts()

    def read_training(self) -> Training | None:
        if self.trainer is None:
            return None
        return self.trainer.read(() if self.run is None else self.run.read_held_out())

    def read_course(self, steps: Sequence[str]) -> CourseReading | ReadingLack:
        return self.courses.read(steps)

    def read_proposals(self, steps: Sequence[str]) -> ProposalsReading | ReadingLack:
        return self.proposals.read(steps)

    def read_manifest(self, checkpoint: bytes) -> CheckpointOrigin | None:
        """Read a manifest from the folder of models, or from a store."""
        origin = self._manifests.get(checkpoint)
        if origin is None:
            origin = self._find_manifest(checkpoint)
            if origin is not None:
                self._manifests.put(checkpoint, origin)
        return origin

    def _find_manifest(self, checkpoint: bytes) -> CheckpointOrigin | None:
        if self.models is not None:
            try:
                file = self.models / checkpoint.hex() / "manifest.json"
                with file.open("rb") as opened:
                    origin = parse_manifest(opened.read(_MANIFEST_BYTES))
                if origin is not None:
                    return origin
            except OSError:
                pass
        for store in self.stores:
            try:
                data = store.get(make_checkpoint_name(checkpoint, "manifest.json"), _MANIFEST_BYTES)
            except OperatorError:
                continue
            origin = parse_manifest(data)
            if origin is not None:
                return origin
        return None

    def list_rounds(self, origins: Mapping[str, CheckpointOrigin]) -> Sequence[MergedRound]:
        return self.rounds.list_rounds(origins)

    def read_gauntlet(self) -> Mapping[str, Any] | None:
        document = self.gauntlet.read()
        if isinstance(document, dict):
            return document
        return {} if self.gauntlet.path.is_file() else None  # the file is invalid

    def read_evaluations(self) -> Sequence[Mapping[str, Any]]:
        return self.evaluations.read()

    def read_comparison(self) -> Mapping[str, Any] | None:
        document = self.comparison.read()
        if isinstance(document, dict):
            return document
        return {} if self.comparison.path.is_file() else None

    def read_beside(self) -> Mapping[str, Sequence[Curve]]:
        curves = {}
        for name, file in self.beside.items():
            document = file.read()
            cached = self._curves.get(name)
            if cached is None or cached[0] is not document:  # it has changed
                cached = self._curves[name] = document, file.pick(_read_curves, [])
            curves[name] = cached[1]
        return curves

    def get_names(self) -> Mapping[str, str]:
        return {} if self.run is None else self.run.get_names()

    def read_payment(self, epoch: int, hotkey: str) -> tuple[int, int] | None:
        return None if self.run is None else self.run.get_payment(epoch, hotkey)

    def read_group(self, context: Context, hotkey: bytes, group: int) -> GroupReading | ReadingLack:
        return self.groups.read(context, hotkey, group)


def join_live(run: Live | None, chain: Live | None) -> Live | None:
    """Combine the state of a program on this machine with the chain's."""
    if run is None or chain is None:
        return run or chain
    problem = (chain.trouble, chain.since_ms) if chain.trouble else (run.trouble, None)
    head = max(run.head, chain.head)
    if run.moving:
        return replace(run, head=head, trouble=problem[0], since_ms=problem[1])
    return replace(
        chain, head=head, program=f"{chain.program}; {run.program}", trouble=chain.trouble
    )


class LocalnetMark:
    """Whether a localnet's folder still has the network of a genesis hash."""

    def __init__(self, folder: Path, genesis_hash: bytes) -> None:
        self._file = JsonFile(folder / "localnet.json")
        self._genesis = genesis_hash.hex()

    def is_replaced(self) -> bool:
        genesis = self._file.pick(lambda document: document.get("genesis_hash"), None)
        return genesis is not None and genesis != self._genesis


class BlockWatch:
    """Watches whether blocks arrive on time. Thread-safe."""

    def __init__(self, slot_ms: int) -> None:
        self._overdue_s = max(_OVERDUE_S, _OVERDUE_SLOTS * slot_ms / 1_000)
        self._seen: tuple[int, float, int] | None = None
        self._lock = threading.Lock()

    def note(self, head: int) -> int | None:
        """The time of the last new block, Unix milliseconds, if the next one is overdue."""
        with self._lock:
            now = time.monotonic()
            if self._seen is None or self._seen[0] != head:
                self._seen = head, now, time.time_ns() // 1_000_000
            return self._seen[2] if now - self._seen[1] > self._overdue_s else None


class ChangeWatch:
    """Compares the live state every second with the last one."""

    def __init__(self, sources: OpenedSources, on_change: Callable[[], None]) -> None:
        self._sources = sources
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        seen = self._read_state()
        while not self._stop.wait(1.0):
            now = self._read_state()
            if now != seen:
                seen = now
                self._on_change()

    def _read_state(self) -> object:
        live = self._sources.read_live()
        if live is None:
            return None
        states = [
            (w.get("window"), w.get("state"), len(w.get("verdicts", ()))) for w in live.windows
        ]
        return live.head, live.moving, live.program, live.trouble, live.since_ms, states

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


# --- the sources that the settings name: each function raises ConfigError if one does not exist


def _require(flag: str, path: Path | None, is_file: bool = False) -> Path | None:
    """The path that a flag names. None without the flag; an error if the path does not exist."""
    if path is not None and not (path.is_file() if is_file else path.is_dir()):
        what = "file" if is_file else "folder"
        raise ConfigError(f"{flag} {path}: there is no such {what}")
    return path


def find_trainer(settings: Settings, folder: Path | None) -> TrainerOutput:
    """The first folder with steps, else the one that would have them."""
    named = _require("--trainer", settings.explorer.trainer)
    places = (named, folder, settings.trainer.dir)
    existing = (place for place in places if place and (place / "steps").is_dir())
    return TrainerOutput(next(existing, named or settings.trainer.dir))


def find_models(settings: Settings, folder: Path | None, begun: bool) -> Path | None:
    """Checkpoints for measuring rollouts again. begun: whether the run has written anything yet;
    its models come with that."""
    named = _require("--model", settings.explorer.model)
    if named is not None:
        return named
    models = None if folder is None else folder / "models"
    return models if models is not None and (models.is_dir() or not begun) else None


def find_ledger(settings: Settings, validator: bytes, netuid: int) -> LedgerPlace | None:
    """The reader of the EVM ledger. None if the settings name no node."""
    ledger = settings.ledger
    if ledger.endpoint is None:
        return None
    contract = check_contract(ledger.contract)
    if contract is None:
        raise ConfigError(
            "which ledger? name its address with --contract, or contract under [ledger]"
        )
    number = get_chain_id(settings)
    if not _is_node(ledger.endpoint):  # it may hold a key: it is not repeated
        raise ConfigError(
            "--evm: write the EVM node's address as https://host or https://host:port, with a port "
            "of 1 to 65535"
        )
    return LedgerPlace(ledger.endpoint, number, contract, netuid, validator, ledger.confirmations)


def _is_node(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def find_rounds(settings: Settings) -> Path:
    """The file of findings of rounds. It may not exist."""
    named = _require("--rounds", settings.explorer.rounds)
    return (named or Path("assay-rounds")) / "findings.jsonl"


def find_comparison(settings: Settings, folder: Path | None) -> Path:
    """The file of the validators' comparison. It may not exist."""
    named = _require("--comparison", settings.explorer.comparison, is_file=True)
    return named or (folder or Path()) / "comparison.json"


def find_evaluations(settings: Settings, trainer: Path) -> EvaluationResults:
    """The results in the folder of `assay eval`, and in the trainer's."""
    named = _require("--evaluations", settings.explorer.evaluations, is_file=False)
    return EvaluationResults(named or Path("assay-eval"), trainer)


def find_beside(settings: Settings) -> dict[str, Path]:
    """Other runs' documents, by their files' names without the ending."""
    files: dict[str, Path] = {}
    for path in settings.explorer.beside:
        _require("--beside", path, is_file=True)
        name = show_hidden(path.stem[:_NAME_MAX])
        if name in files or name == OWN:
            raise ConfigError(f"--beside {path}: another run is called {name!r}; rename the file")
        files[name] = path
    return files


def _read_curves(document: Any) -> list[Curve]:
    """Curves of another explorer's `/api/v1/training`."""
    curves = _CURVES.validate_python(document["curves"])
    return [
        {**curve, "series": [{**s, "points": s["points"][-POINTS_MAX:]} for s in curve["series"]]}
        for curve in curves[:_CURVES_MAX]
    ]


def find_gauntlet(settings: Settings, folder: Path | None) -> Path:
    """The file of the gauntlet's table. It may not exist."""
    named = _require("--gauntlet", settings.explorer.gauntlet, is_file=True)
    return named or (settings.gauntlet.out or folder or Path()) / "gauntlet.json"


def check_contract(address: str | None) -> str | None:
    """The address of a contract as pages show it."""
    if address is not None and not _ADDRESS.fullmatch(address):
        raise ConfigError(f"--contract {address!r}: write 0x and 40 hexadecimal digits")
    return address


def check_link(address: str | None) -> str | None:
    """The address of an EVM explorer as pages may link to it: https, or http on this machine."""
    if address is None:
        return None
    try:
        parts = urlsplit(address)
        near = parts.scheme == "http" and parts.hostname in _NEAR
        plain = (parts.scheme == "https" or near) and parts.hostname and parts.username is None
        _ = parts.port
    except ValueError:
        plain = False
    if not plain or parts.query or parts.fragment or not address.isprintable() or " " in address:
        raise ConfigError(f"--evm-explorer {address!r}: write it as https://host/path")
    return address.rstrip("/")
