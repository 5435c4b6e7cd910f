"""Opens a record and serves its pages, until it is asked to stop."""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.explorer.index import Index, IndexDamagedError
from assay.explorer.routes import Access, make_app
from assay.explorer.sources.live_state import ChangeWatch
from assay.explorer.sources.record import ExplorerRequest, NoRecordError, open_source
from assay.explorer.waiting_app import WaitingApp
from assay.network.files import hold_folder
from assay.network.store.base import StoreError
from assay.network.store.locators import read_locator
from assay.network.web.http_server import bind, list_hosts, list_proxies, make_server, serve
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import ConfigError

#: Seconds before a page says that something is still being opened, and for that to end.
_OPENING_S, _STOPPING_S = 8.0, 5.0


@dataclass(frozen=True, slots=True)
class ExplorerAddress:
    """Where the pages are."""

    address: str
    place: str | None  # of the record; None: it is still looked for
    waits: bool  # whether it waits for something that does not exist yet


def serve_explorer(
    request: ExplorerRequest, show: Callable[[ExplorerAddress], None], say: Callable[[str], None]
) -> None:
    """Serve until asked to stop. While the content is not there yet, a page says what is missing.

    Args:
        show: called once, with the address.
        say: called with a line about what is missing.

    Raises:
        OperatorError, OSError: there is nothing to show, or no port to serve it on.
    """
    explorer = request.settings.explorer
    _check_places(request)
    hosts = tuple(list_hosts(explorer.host, explorer.hosts))
    proxies = list_proxies(explorer.trusted_proxies)
    with ExitStack() as stack:
        opened = stack.enter_context(bind(explorer.host, explorer.port))
        waiting = WaitingApp(hosts, explorer.rate)
        server = make_server(waiting, proxies=proxies)
        opening = ExplorerOpening(request, stack, waiting, hosts, say)
        stack.callback(opening.stop)
        opening.start(lambda: setattr(server, "should_exit", True))
        place = opening.wait(_OPENING_S)
        host, port = opened.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        show(ExplorerAddress(address, place, opening.waits))
        serve(server, opened)
        opening.stop()
        if opening.failure is not None:
            raise opening.failure


class ExplorerOpening:
    """Finds the content and puts its pages in place, in a separate thread.

    Attributes:
        failure: why there will be none.
        waits: whether it waits for something that does not exist yet.
    """

    def __init__(
        self,
        request: ExplorerRequest,
        stack: ExitStack,
        waiting: WaitingApp,
        hosts: tuple[str, ...],
        say: Callable[[str], None],
    ) -> None:
        self.failure: Exception | None = None
        self._request = request
        self._stack = stack
        self._waiting = waiting
        self._hosts = hosts
        self._say = say
        self.waits = False
        self._place: str | None = None
        self._told: str | None = None
        self._done = threading.Event()
        self._stop = threading.Event()

    def start(self, fail: Callable[[], None]) -> None:
        """Start. `fail` is called when there is nothing to show, and will not be."""
        self._thread = threading.Thread(target=self._run, args=(fail,), name="open", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> str | None:
        """The record's place, once that is known; None: it takes longer."""
        self._done.wait(seconds)
        if self.failure is not None:
            raise self.failure
        return self._place

    def stop(self) -> None:
        """Stop waiting."""
        self._stop.set()
        self._thread.join(_STOPPING_S)

    def _run(self, fail: Callable[[], None]) -> None:
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - `wait` and `serve_explorer` raise it
            if not self._stop.is_set():
                self.failure = error
                fail()
        finally:
            self._done.set()

    def _open(self) -> None:
        listeners: list[Callable[[], None]] = []

        def tell() -> None:
            for listener in listeners:
                listener()

        stack = self._stack
        try:
            source = open_source(self._request, stack, tell, self.tell, self._stop)
        except StoreError as error:
            raise ConfigError(f"{error}: make sure that this machine can reach it") from None
        subject = source.subject
        network = subject.history.first.digest
        name = f"{encode_ss58(subject.validator)}-{network.hex()[:16]}.sqlite"
        folder = _open_folder(self._request.settings.explorer.index, stack)
        try:
            index = Index(folder / name, subject.validator, network)
            stack.callback(index.close)
            explorer = self._request.settings.explorer
            access = Access(explorer.rate, is_public=bool(explorer.trusted_proxies))
            app, events, indexer, rollouts = make_app(
                subject, index, source.sources, self._hosts, access
            )
        except IndexDamagedError as error:
            raise ConfigError(f"{error}: name another folder with --index") from None
        listeners.append(events.notify)
        stack.callback(indexer.stop)
        indexer.start()
        if rollouts is not None:
            stack.callback(rollouts.stop)
            rollouts.start()
        watch = ChangeWatch(source.sources.read_live, events.notify)
        stack.callback(watch.stop)
        self._place = subject.place
        self._waiting.install(app, events.bind, events.close)

    def tell(self, missing: NoRecordError) -> None:
        """Report once what is missing, on the page and to the operator."""
        self._waiting.awaited = missing.kind
        if str(missing) != self._told:
            self._say(f"{missing}; waiting for it, Ctrl-C stops")
        self.waits, self._told = True, str(missing)
        self._done.set()


def _check_places(request: ExplorerRequest) -> None:
    """Check that each named place is of the named kind."""
    explorer = request.settings.explorer
    record = explorer.record or ""
    if "://" in record:
        read_locator(record)  # refuses one with a password
    if (
        record.startswith(("http://", "https://"))
        and explorer.hotkey is None
        and not request.online
    ):
        raise ConfigError(f"{record} has no list of its records: name a validator with --hotkey")
    named = {
        "--dir": explorer.dir,
        "--trainer": explorer.trainer,
        "--model": explorer.model,
        "--record": Path(record) if record and "://" not in record else None,
    }
    for option, place in named.items():
        if place is None or not place.exists():
            continue  # reported where it is opened
        if not place.is_dir():
            raise ConfigError(f"{option} {place} is a file: name a folder")
        if not os.access(place, os.R_OK | os.X_OK):
            raise ConfigError(
                f"{option} {place} cannot be read: run the explorer as a user who may, or change "
                "the folder's mode"
            )


def _open_folder(folder: Path, stack: ExitStack) -> Path:
    """Open the index's folder. Another explorer's is left alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if stack.enter_context(hold_folder(folder)):
            return folder
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder} ({error.strerror}): name a folder with --index"
        ) from None
    return Path(
        stack.enter_context(TemporaryDirectory(prefix="assay-", ignore_cleanup_errors=True))
    )
