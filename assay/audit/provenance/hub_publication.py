"""Pushes a checkpoint and its rollouts to the Hub."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from assay.artifacts.records.run_folder import RunFolder
from assay.artifacts.store_objects import telling_bytes
from assay.audit.provenance.hub_content import (
    CARD,
    PublishedStep,
    find_published_step,
    find_settlement,
    make_data,
    make_model,
    open_work,
)
from assay.network.consent import Consent
from assay.network.hub.names import CALLED, HubName
from assay.network.hub.push import CONTENT_FILE, Content, push, require_token
from assay.network.hub.session import HubSession
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.network.store.opening import open_store
from assay.protocol.encoding import Json
from assay.settings.loading import ConfigError, parse_hotkey, split_windows


@dataclass(frozen=True, slots=True)
class HubRequest:
    """What is pushed, and where to."""

    run: Path  # folder of a trainer or a demo
    model: HubName | None = None  # for the checkpoint
    data: HubName | None = None  # for the rollouts
    checkpoint: str | None = None  # first digits of its digest; None: the newest
    windows: str | None = None  # A..B: only rollouts of these
    validator: str | None = None  # SS58; None: the only one of the record
    records: str | None = None  # of the validator; None: a demo's own, or none
    private: bool = False  # new repositories are
    overwrite: bool = False  # files that no push of this network put there, too
    dry_run: bool = False
    token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class PlannedPush:
    """A repository's files."""

    name: HubName
    sizes: dict[str, int]  # path → bytes
    card: str
    content: str


@dataclass(frozen=True, slots=True)
class HubPublication:
    """What is pushed, and what came of it."""

    about: dict[str, Json]
    planned: tuple[PlannedPush, ...]
    #: repository → its new commit and address; None: nothing was pushed
    pushed: dict[HubName, tuple[str, str]] | None


def publish_hub(
    request: HubRequest, consent: Consent, report: Callable[[str], None] = lambda line: None
) -> HubPublication:
    """Make the content and push it. Raises OperatorError: it cannot be made or pushed, or nobody
    consented."""
    run, model, data = request.run, request.model, request.data
    windows = range(1 << 63)
    if request.windows is not None:
        first, last = split_windows(request.windows)
        windows = range(first, last + 1)
    report("comparing the checkpoint with its manifest")
    published = _add_settlement(find_published_step(run, request.checkpoint), request)
    contents: dict[HubName, Content] = {}
    with open_work(run) as work, ExitStack() as opened:
        session = None
        if not request.dry_run:
            session = opened.enter_context(HubSession(report, request.token_file))
            for name in filter(None, (data, model)):
                require_token(session, name)
        if data is not None:
            contents[data] = make_data(published, run, windows, work, data.repository, report)
        if model is not None:
            at = None if data is None else f"{data.repository}@COMMIT"
            contents[model] = make_model(published, model.repository, at)
        planned = tuple(_plan(name, content) for name, content in contents.items())
        pushed = None
        if session is not None:
            consent(_ask(session, contents, request))
            pushed = _push(session, published, contents, request)
    return HubPublication(published.about, planned, pushed)


def _add_settlement(published: PublishedStep, request: HubRequest) -> PublishedStep:
    """The step with the settlement that covers its window, if a record is named or here."""
    place, own = request.records, request.run / "record"
    if place is None and own.is_dir():
        store: ObjectStore = open_folder(own)
        place = RunFolder(request.run).get_locator()
    elif place is None:
        if request.validator is not None:
            raise ConfigError("--validator needs its record: name its store with --records")
        return published
    elif "://" in place:
        store = open_store(place)
    elif Path(place).is_dir():
        store = open_folder(Path(place))
    else:
        raise ConfigError(f"--records {place}: there is no such folder")
    named = request.validator
    validator = None if named is None else parse_hotkey(named, "--validator")
    settlement = find_settlement(store, validator, published.step.record.window)
    is_public = place is not None and place.startswith("https://")
    return replace(published, settlement=settlement, records=place if is_public else None)


def _push(
    session: HubSession,
    published: PublishedStep,
    contents: dict[HubName, Content],
    request: HubRequest,
) -> dict[HubName, tuple[str, str]]:
    """Push the data set first: the model's card names its commit. Return commits and addresses."""
    pushed: dict[HubName, tuple[str, str]] = {}
    record, rollouts = published.step.record, None
    for name, content in contents.items():
        if name.kind == "model" and rollouts is not None:
            content = make_model(published, name.repository, rollouts)
        commit = push(
            session,
            name,
            content,
            f"Checkpoint {record.number}, window {record.window}",
            telling_bytes(session.report, f"uploading {name}"),
            private=request.private,
            overwrite=request.overwrite,
        )
        if name.kind == "dataset":
            rollouts = f"{name.repository}@{commit}"
        pushed[name] = commit, f"{session.name_page(name)}/tree/{commit}"
    return pushed


def _plan(name: HubName, content: Content) -> PlannedPush:
    files = content.to_files()
    sizes = {path: _measure(source) for path, source in sorted(files.items())}
    return PlannedPush(name, sizes, _read(files[CARD]), _read(files[CONTENT_FILE]))


def _read(source: Path | bytes) -> str:
    return (source if isinstance(source, bytes) else source.read_bytes()).decode()


def _measure(source: Path | bytes) -> int:
    return source.stat().st_size if isinstance(source, Path) else len(source)


def _sum(content: Content) -> int:
    return sum(map(_measure, content.to_files().values()))


def _ask(session: HubSession, contents: dict[HubName, Content], request: HubRequest) -> str:
    what = " and ".join(
        f"{len(content.to_files())} files ({_sum(content) >> 10:,} KiB) to "
        f"{CALLED[name.kind]} {name.repository}"
        for name, content in contents.items()
    )
    seen = "a new repository is private" if request.private else "everybody can read them"
    return f"Push {what} on {session.host}? There, {seen}."
