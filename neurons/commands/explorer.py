"""`assay explorer`: pages over a validator's record, until Ctrl-C."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.explorer import Index, Limits, make_app
from assay.network import StoreError
from assay.neurons.config import ConfigError, ExplorerSettings
from assay.neurons.exploring.serving import bind, serve
from assay.neurons.exploring.sources import Request, open_source
from assay.neurons.exploring.surroundings import Watch
from assay.neurons.files import hold_folder
from assay.protocol import encode_ss58


def run_explorer(request: Request, as_json: bool, quiet: bool) -> int:
    """Serves until it is asked to stop; 0.

    Raises:
        OperatorError: there is nothing to serve, or nowhere to.
    """
    own = request.settings.explorer
    _check_places(request)
    with ExitStack() as stack:
        opened = stack.enter_context(bind(own.host, own.port))
        listeners: list[Callable[[], None]] = []

        def tell() -> None:
            for listener in listeners:
                listener()

        try:
            source = open_source(request, stack, tell, _make_waiter(quiet))
        except StoreError as error:
            raise ConfigError(f"{error}: see that the store answers from here") from None
        subject = source.subject
        name = f"{encode_ss58(subject.validator)}-{subject.parameters.digest.hex()[:16]}.sqlite"
        index = Index(_open_folder(own.index, stack) / name, subject.validator,
                      subject.parameters.digest)  # fmt: skip
        stack.callback(index.close)
        hosts = list_hosts(own)
        app, events, indexer = make_app(subject, index, source.around, Limits(hosts))
        listeners.append(events.notify)
        stack.callback(indexer.stop)
        indexer.start()
        watch = Watch(source.around, events.notify)
        stack.callback(watch.stop)
        host, port = opened.getsockname()[:2]
        _say(
            f"http://{f'[{host}]' if ':' in host else host}:{port}/", subject.place, as_json, quiet
        )
        serve(app, opened)
    return 0


def _check_places(request: Request) -> None:
    """What was named must be what it is named as.

    Raises:
        ConfigError: a file stands for a folder, a folder may not be read, or it is not clear whose
            record is meant.
    """
    own = request.settings.explorer
    record = own.record or ""
    if record.startswith(("http://", "https://")) and own.hotkey is None and not request.online:
        raise ConfigError(f"{record} shows no list of its records: name a validator with --hotkey")
    named = {"--dir": own.dir, "--trainer": own.trainer, "--model": own.model,
             "--record": Path(record) if record and "://" not in record else None}  # fmt: skip
    for option, place in named.items():
        if place is None or not place.exists():
            continue  # that is said where it is looked for
        if not place.is_dir():
            raise ConfigError(f"{option} {place} is a file: name a folder")
        if not os.access(place, os.R_OK | os.X_OK):
            raise ConfigError(
                f"{option} {place} cannot be read: run the explorer as a user who may, or change "
                "the folder's mode"
            )


def _say(address: str, place: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps({"address": address, "record": place}), flush=True)
    else:
        print(address, flush=True)
        if not quiet:
            print(f"assay: shows the record in {place}; Ctrl-C ends it", file=sys.stderr)


def _make_waiter(quiet: bool) -> Callable[[str], None]:
    said: list[str] = []

    def wait(sentence: str) -> None:
        if not said and not quiet:
            print(f"assay: {sentence}; waiting for it, Ctrl-C ends it", file=sys.stderr)
        said.append(sentence)

    return wait


def _open_folder(folder: Path, stack: ExitStack) -> Path:
    """Where the index lies: another explorer's is left alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if stack.enter_context(hold_folder(folder)):
            return folder
    except OSError as error:
        raise ConfigError(f"cannot write to {folder} ({error.strerror}): name a folder with "
                          "--index") from None  # fmt: skip
    return Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))


def list_hosts(own: ExplorerSettings) -> list[str]:
    """Names by which the page may be asked for: this machine's own while it listens to nobody else,
    and those that were allowed."""
    names = [host.lower() for host in own.hosts]
    try:
        address = ip_address(own.host)
    except ValueError:
        return ["127.0.0.1", "::1", "localhost", own.host.lower(), *names]
    own_names = [] if address.is_unspecified else [str(address)]
    return ["127.0.0.1", "::1", "localhost", *own_names, *names]
