"""The stage's processes in bad weather: proxies, and neurons that give up soon while it lasts."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.network import store as object_stores
from assay.network.beacon import RelayTimeouts
from assay.network.chain import connection, node_pool
from assay.network.chain.target import ChainTarget
from assay.network.store import bucket as bucket_store
from assay.network.store import opening as readable_stores
from assay.network.store.bucket import BucketStore
from assay.network.store.http_client import HttpClient, HttpTimeouts
from assay.neurons.program import neuron as neuron_session
from assay.neurons.trainer import program as trainer_program
from assay.session import resources, session
from assay.settings.sections import Settings
from tests.faults.proxy import FaultProxy
from tests.killing import programs
from tests.killing.points import Points

#: (service, fault).
Strike = tuple[str, str]
#: Service → the proxy before it, and which requests are of it: a connection that nobody uses is not
#: struck. A node's are in use all the time.
SERVICES: Mapping[str, tuple[str, str]] = {
    "chain": ("chain", ""),
    "beacon": ("beacon", "."),
    "checkpoints": ("store", "/(checkpoints|tensors)/"),
    "submissions": ("store", r"\.rollouts"),
    "bucket": ("bucket", "."),
}
#: Faults that are in a body: of a store's answers they strike those that have one.
_IN_BODY = (
    "endless body",
    "length too long",
    "length too short",
    "huge length",
    "wrong range",
    "whole body",
    "shifted range",
    "bomb",
    "altered body",
    "drip",
)
#: Seconds that who ends a turn waits for a download in the background.
_DOWNLOAD_S = 30.0


def run_proxies(pipe: Any, upstreams: Mapping[str, tuple[str, int]]) -> None:
    """Run proxies until the stage is over. Each does what it is told, and reports the result.

    Args:
        upstreams: proxy → the service behind it, and its own port; 0: any.
    """
    proxies = {name: FaultProxy(url, port=port) for name, (url, port) in upstreams.items()}
    pipe.send({name: proxy.url for name, proxy in proxies.items()})
    strike: Strike | None = None
    while True:
        what, told = pipe.recv()
        if what == "blow":
            strike = told
            for proxy in proxies.values():
                proxy.clear()
                proxy.drop_dead()  # earlier silence does not count now
                proxy.hits.clear()
            if strike is not None:
                _begin(proxies, strike)
        requests = {name: dict(proxy.requests) for name, proxy in proxies.items()}
        hits = 0 if strike is None else proxies[SERVICES[strike[0]][0]].hits[strike[1]]
        pipe.send((hits, requests))


def _begin(proxies: Mapping[str, FaultProxy], strike: Strike) -> None:
    service, name = strike
    place, only = SERVICES[service]
    if place == "store" and name in _IN_BODY:
        only = f"GET .*{only}"
    proxies[place].set_fault(name, only=only)
    if name in ("redirect", "busy", "bomb") and service == "chain":
        proxies[place].cut()  # they strike at a handshake


class Moody:
    """A thing that is another one while a fault is on."""

    def __init__(self, calm: Any, hasty: Any, storm: Any) -> None:
        self._calm = calm
        self._hasty = hasty
        self._storm = storm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hasty if self._storm.value else self._calm, name)


class QuietTurn(programs.Turn):
    """A pause that begins once nothing is on its way in the background."""

    models: CheckpointFolder | None = None

    def wait(self, timeout: float | None = None) -> bool:
        for download in () if self.models is None else self.models.downloads:
            if download.thread is not None:
                download.thread.join(_DOWNLOAD_S)
        return super().wait(timeout)


def run_neuron(
    pipe: Any, role: str, settings: Settings, folder: Any, clock: Any, points: Points, storm: Any
) -> None:
    """One program until it is killed."""
    _hurry_chain(storm)
    _hurry_beacons()
    _hurry_stores(storm)
    make_config = trainer_program.make_trainer_config
    trainer_program.make_trainer_config = (  # type: ignore[assignment]
        lambda *arguments: replace(make_config(*arguments), retry_s=0)
    )
    programs.Turn = QuietTurn  # type: ignore[misc]
    programs.run_neuron(pipe, role, settings, folder, clock, points)


def _hurry_chain(storm: Any) -> None:
    open_connection = resources.Connection

    def connect(target: ChainTarget) -> Any:
        calm = replace(target, deadline_s=6.0, patience_s=30.0, head_s=30.0, still_s=1e9)
        hasty = replace(
            target, deadline_s=0.4, patience_s=0.8, head_s=0.8, inclusion_s=0.8, still_s=1e9
        )
        return open_connection(Moody(calm, hasty, storm))  # type: ignore[arg-type]

    resources.Connection = connect  # type: ignore[assignment,misc]
    node_pool.CONNECT_S, connection.FIRST_PAUSE_S = 4.0, 0.05


def _hurry_beacons() -> None:
    patience = RelayTimeouts(stagger_s=0.05, answer_s=0.5, total_s=0.8, aside_s=0, pause_s=0)
    session.HttpBeacons = partial(session.HttpBeacons, patience=patience)  # type: ignore[misc]


def _hurry_stores(storm: Any) -> None:
    """Stores are given up soon in a storm, and a checkpoint is asked for again at once after it."""
    hasty = HttpTimeouts(connect_s=0.4, silence_s=0.3, total_s=0.6, tries=2, pause_s=0.01)
    patience: Any = Moody(HttpTimeouts(), hasty, storm)
    readable_stores.get_client = cache(lambda trusted: HttpClient(trusted, patience=patience))
    open_bucket = object_stores.open_bucket

    def open_moody(*arguments: Any) -> BucketStore:
        return open_bucket(*arguments, patience=Moody(bucket_store.PATIENCE, hasty, storm))  # type: ignore[arg-type]

    object_stores.open_bucket = open_moody  # imported where a store is opened
    neuron_session.LOOKS = 1 << 10  # the next checkpoint is asked for at each block
    checkpoint_folder.SHORT_S = _DOWNLOAD_S  # a caller waits for a checkpoint within its turn
    neuron_session.DownloadSettings = partial(neuron_session.DownloadSettings, retry_s=0.0)  # type: ignore[misc]
    open_models = neuron_session.CheckpointFolder

    def open_folder(*arguments: Any, **options: Any) -> CheckpointFolder:
        QuietTurn.models = open_models(*arguments, **options)
        return QuietTurn.models

    neuron_session.CheckpointFolder = open_folder  # type: ignore[assignment,misc]
