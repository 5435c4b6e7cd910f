"""From what was asked for on the command line to a record, and what is around it."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from assay.explorer import Subject
from assay.network import FolderStore, ObjectStore, open_folder, open_store
from assay.neurons.config import ConfigError, Settings
from assay.neurons.exploring.chain import ChainView
from assay.neurons.exploring.commands import ShellCommands
from assay.neurons.exploring.folder import JsonFile, RunFolder, TrainerFolder
from assay.neurons.exploring.groups import Groups
from assay.neurons.exploring.surroundings import Around
from assay.neurons.ports import Objects
from assay.neurons.rules import PublicationError, fetch_parameters
from assay.neurons.wiring import open_stores
from assay.protocol import (
    Parameters,
    context_from_json,
    decode_settlement_record,
    decode_ss58,
    encode_ss58,
)
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.record import make_latest_name, make_settlement_record_name

_LATEST_BYTES, _RECORD_BYTES, _CONTEXT_BYTES = 1 << 12, 256 << 20, 16 << 20
#: Seconds between two looks for a record that is not there yet.
_LOOK_S = 1.0


class NoRecordError(ConfigError):
    """There is no record yet where one will be: it may be waited for."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for beside the settings.

    Attributes:
        online: flags that name the chain, as they were given; None: none was.
    """

    settings: Settings
    online: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Source:
    """What the explorer is made from."""

    subject: Subject
    around: Around


def open_source(
    request: Request, stack: ExitStack, on_change: Callable[[], None], wait: Callable[[str], None]
) -> Source:
    """Finds the record.

    Args:
        stack: closes what was opened.
        on_change: called when something that was being computed is there.
        wait: called once with a sentence, where a run is there and its record is not yet.

    Raises:
        ConfigError: there is none, or it is not clear which.
        StoreError: a store cannot be read.
    """
    settings = request.settings
    folder = _find_folder(request)
    chain = None
    if request.online is not None:
        chain = ChainView(settings)
        stack.callback(chain.close)
    found = _find_record(request, folder, chain, wait)
    run = None if folder is None else RunFolder(folder, found.validator)
    trainer = _find_trainer(settings, folder)
    if chain is not None:
        chain.validator = found.validator
        chain.start()
    models = _find_models(settings, folder)
    kept = [] if folder is None else [folder / "store", folder / "bundle" / "store"]
    roots = [path for path in (*kept, found.root) if path is not None and path.is_dir()]
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
    groups = Groups(models, roots, _list_readable(settings), scratch, on_change)
    stack.callback(groups.close)
    store = None if folder is None else folder / "store"
    commands = ShellCommands(
        encode_ss58(found.validator), found.parameters, folder, models, request.online,
        None if settings.explorer.record is None else settings.explorer.record,
        store if store is not None and store.is_dir() else found.root,
        None if trainer is None else trainer.root,
    )  # fmt: skip
    around = Around(
        commands=commands,
        has_model=models is not None,
        ledger_link=check_link(settings.explorer.evm_explorer),
        contract=settings.ledger.contract,
        run=run,
        trainer=trainer,
        chain=chain,
        models=models,
        stores=[open_folder(root) for root in roots],
        gauntlet=JsonFile(_find_gauntlet(settings, folder)),
        groups=groups,
    )
    return Source(Subject(found.validator, found.parameters, found.objects, found.place), around)


@dataclass(frozen=True, slots=True)
class _Found:
    """A record: whose, where, by which rules. root: its store's folder, where it is one."""

    validator: bytes
    parameters: Parameters
    objects: Objects
    root: Path | None
    place: str


def _find_folder(request: Request) -> Path | None:
    """The folder of a run: the one named, else the localnet's validator's, else the demo's where
    nothing else was named."""
    settings = request.settings
    if settings.explorer.dir is not None:
        if not settings.explorer.dir.is_dir():
            raise ConfigError(
                f"--dir {settings.explorer.dir}: there is no such folder; `assay demo --out "
                f"{settings.explorer.dir}` makes one"
            )
        return settings.explorer.dir
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
    request: Request, folder: Path | None, chain: ChainView | None, wait: Callable[[str], None]
) -> _Found:
    while True:
        try:
            return _look_for_record(request, folder, chain)
        except NoRecordError as error:
            live = None if folder is None else RunFolder(folder, b"").read_live()
            if chain is None and (live is None or not live.moving):
                raise
            wait(str(error))
            time.sleep(_LOOK_S)


def _look_for_record(request: Request, folder: Path | None, chain: ChainView | None) -> _Found:
    settings = request.settings
    parameters, announced = _ask_chain(settings, chain)
    objects, place = _open_records(request, folder, announced)
    validator = _find_validator(settings, objects, place, announced)
    address = encode_ss58(validator)
    data = objects.get(make_latest_name(address), _LATEST_BYTES)
    if data is None:
        raise NoRecordError(
            f"{place} holds no record of {address} yet: it is published once its first "
            "settlement's weights are open"
        )
    if parameters is None:
        digest = _read_parameters_digest(objects, address, data)
        parameters = _find_parameters(digest, objects, folder, place)
    root = objects.root if isinstance(objects, FolderStore) else None
    return _Found(validator, parameters, objects, root, place)


def _ask_chain(
    settings: Settings, chain: ChainView | None
) -> tuple[Parameters | None, dict[str, str]]:
    """What the chain says; where a record is named, what it does not say may stand beside that."""
    if chain is None:
        return None, {}
    try:
        return chain.find()
    except ConfigError:
        if settings.explorer.record is None:
            raise
        return None, {}


def _open_records(
    request: Request, folder: Path | None, announced: dict[str, str]
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
    wanted = settings.explorer.hotkey
    locators = {wanted: announced[wanted]} if wanted in announced else announced
    if len(locators) == 1:
        (locator,) = locators.values()
        store = open_stores(settings).get(locator)
        if store is None:
            raise ConfigError(
                f"the record lies at {locator!r}, which is not read from here: allow it with "
                "--readable, or name a copy with --record"
            )
        return store, locator
    if len(locators) > 1:
        raise ConfigError(f"whose record? name one with --hotkey: {', '.join(sorted(locators))}")
    if settings.store.locator is not None:
        return open_stores(settings).open(settings.store.locator), settings.store.locator
    if folder is not None:
        raise NoRecordError(
            f"{folder} holds no record yet: it is there once the first settlement's weights are "
            "open; a validator's that goes to a store is named with --record"
        )
    raise NoRecordError("nobody announces a record on this subnet yet; name one with --record")


def _list_addresses(objects: ObjectStore) -> list[str]:
    """Who has a record in the store; none where a store shows no list of its names."""
    if not isinstance(objects, FolderStore):
        return []
    return sorted(path.parent.name for path in objects.root.glob("*/latest.json"))


def _find_validator(
    settings: Settings, objects: ObjectStore, place: str, announced: dict[str, str]
) -> bytes:
    named = settings.explorer.hotkey
    if named is not None:
        try:
            return decode_ss58(named)
        except ValueError as error:
            raise ConfigError(f"--hotkey {named!r} is no hotkey: {error}") from None
    there = {}
    for address in _list_addresses(objects):
        try:
            there[address] = decode_ss58(address)
        except ValueError:
            continue
    if len(there) == 1:
        return next(iter(there.values()))
    if len(announced) == 1:
        return decode_ss58(next(iter(announced)))
    if there:
        raise ConfigError(f"{place} holds several records: name one with --hotkey: "
                          + ", ".join(there))  # fmt: skip
    raise NoRecordError(f"{place} holds no record yet; --hotkey names whose it will be")


def _read_parameters_digest(objects: Objects, address: str, latest: bytes) -> bytes:
    try:
        name = make_settlement_record_name(address, int(read_json(latest)["epoch"]))
        record = decode_settlement_record(objects.get(name, _RECORD_BYTES) or b"")
    except (EncodingError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"the newest settlement of {address} cannot be read: {error}") from None
    return record.parameters


def _find_parameters(
    digest: bytes, objects: Objects, folder: Path | None, place: str
) -> Parameters:
    """The rules that a record names: a digest names them, so any copy will do."""
    stores: list[Objects] = [objects]
    if folder is not None:
        stores += [open_folder(p) for p in (folder / "store", folder / "steps" / "rules")
                   if p.is_dir()]  # fmt: skip
    for store in stores:
        try:
            return fetch_parameters(store, digest)
        except PublicationError:
            continue
    for file in sorted((folder / "contexts").glob("window-*.json")) if folder is not None else ():
        try:
            with file.open("rb") as opened:
                parameters = context_from_json(read_json(opened.read(_CONTEXT_BYTES))).parameters
        except (OSError, EncodingError):
            continue
        if parameters.digest == digest:
            return parameters
    raise ConfigError(
        f"{place} does not hold the rules that its record names, {digest.hex()[:16]}…: name the "
        "chain that they stand on with --netuid or --localnet"
    )


def _find_trainer(settings: Settings, folder: Path | None) -> TrainerFolder | None:
    named = settings.explorer.trainer
    if named is not None and not named.is_dir():
        raise ConfigError(f"--trainer {named}: there is no such folder")
    places = (named, folder, settings.trainer.dir)
    return next(
        (TrainerFolder(place) for place in places if place and (place / "steps").is_dir()), None
    )


def _find_models(settings: Settings, folder: Path | None) -> Path | None:
    named = settings.explorer.model
    if named is not None and not named.is_dir():
        raise ConfigError(f"--model {named}: there is no such folder")
    if named is not None:
        return named
    kept = None if folder is None else folder / "models"
    return kept if kept is not None and kept.is_dir() else None


def _find_gauntlet(settings: Settings, folder: Path | None) -> Path:
    named = settings.explorer.gauntlet
    if named is not None and not named.is_file():
        raise ConfigError(f"--gauntlet {named}: there is no such file")
    if named is not None:
        return named
    place = settings.gauntlet.out or folder or Path()
    return place / "gauntlet.json"


def _list_readable(settings: Settings) -> list[str]:
    own = settings.store.locator
    return [*settings.store.readable, *([] if own is None else [own])]


def check_link(address: str | None) -> str | None:
    """The address of an EVM explorer as pages may link to it: https, or http.

    Raises:
        ConfigError: it is something else.
    """
    if address is None:
        return None
    try:
        parts = urlsplit(address)
        plain = parts.scheme in ("https", "http") and parts.hostname and parts.username is None
        _ = parts.port
    except ValueError:
        plain = False
    if not plain or parts.query or parts.fragment or not address.isprintable() or " " in address:
        raise ConfigError(f"--evm-explorer {address!r}: write it as https://host/path")
    return address.rstrip("/")
