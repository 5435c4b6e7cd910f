"""`assay publish-hub`: pushes a checkpoint and its rollouts to the Hub."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from assay.artifacts.records.run_folder import RunFolder
from assay.audit.provenance.hub_content import (
    CARD,
    PublishedStep,
    find_published_step,
    find_settlement,
    make_data,
    make_model,
    open_work,
)
from assay.cli.checks import split_windows
from assay.cli.console import make_table, print_result
from assay.cli.hub_names import asking_hub, telling_progress
from assay.cli.saying import choose_say
from assay.network.consent import Consent
from assay.network.hub.names import CALLED, HubName
from assay.network.hub.push import CONTENT_FILE, Content, push, require_token
from assay.network.hub.session import HubSession
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.network.store.opening import open_store
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class HubRequest:
    """The options of the command."""

    model: HubName | None
    data: HubName | None
    checkpoint: str | None
    windows: str | None
    validator: str | None
    records: str | None
    private: bool
    overwrite: bool
    dry_run: bool


def run_publish_hub(
    settings: Settings, request: HubRequest, consent: Consent, as_json: bool, quiet: bool
) -> None:
    """Make the content, push it, and print where it is."""
    run, report = settings.trainer.dir, choose_say(quiet)
    model, data = request.model, request.data
    windows = range(1 << 63)
    if request.windows is not None:
        first, last = split_windows(request.windows)
        windows = range(first, last + 1)
    report("comparing the checkpoint with its manifest")
    published = _add_settlement(find_published_step(run, request.checkpoint), run, request)
    contents: dict[HubName, Content] = {}
    with open_work(run) as work, ExitStack() as opened:
        session = None
        if not request.dry_run:
            session = opened.enter_context(asking_hub(settings, quiet))
            for name in filter(None, (data, model)):
                require_token(session, name)
        if data is not None:
            contents[data] = make_data(published, run, windows, work, data.repository, report)
        if model is not None:
            at = None if data is None else f"{data.repository}@COMMIT"
            contents[model] = make_model(published, model.repository, at)
        if session is None:
            _print_dry(contents, as_json)
            return
        consent(_ask(session, contents, request))
        pushed = _push(session, published, contents, request)
    document = {
        **published.about,
        "pushed": {
            CALLED[name.kind]: {"repository": name.repository, "commit": commit, "url": url}
            for name, (commit, url) in pushed.items()
        },
    }
    lines = [f"{CALLED[name.kind]} {name}: {url}" for name, (_, url) in pushed.items()]
    print_result(document, as_json, "\n".join(lines))


def _add_settlement(published: PublishedStep, run: Path, request: HubRequest) -> PublishedStep:
    """The step with the settlement that covers its window, if a record is named or here."""
    place, own = request.records, run / "record"
    if place is None and own.is_dir():
        store: ObjectStore = open_folder(own)
        place = RunFolder(run).get_locator()
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
            telling_progress(session, f"uploading {name}"),
            private=request.private,
            overwrite=request.overwrite,
        )
        if name.kind == "dataset":
            rollouts = f"{name.repository}@{commit}"
        pushed[name] = commit, f"{session.name_page(name)}/tree/{commit}"
    return pushed


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


def _print_dry(contents: dict[HubName, Content], as_json: bool) -> None:
    """Print what would be pushed."""
    document: dict[str, Any] = {}
    parts: list[RenderableType] = []
    for name, content in contents.items():
        files = content.to_files()
        sizes = {path: _measure(source) for path, source in sorted(files.items())}
        cards = {path: _read(files[path]) for path in (CARD, CONTENT_FILE)}
        document[CALLED[name.kind]] = {
            "repository": name.repository,
            "files": sizes,
            "card": cards[CARD],
            "content": cards[CONTENT_FILE],
        }
        table = make_table(f"{CALLED[name.kind]} {name.repository}", "bytes")
        for path, size in sizes.items():
            table.add_row(Text(path), f"{size:,}")
        parts += [table, Text(cards[CARD])]
    print_result(document, as_json, Group(*parts, Text("Nothing was pushed.")))


def _read(source: Path | bytes) -> str:
    return (source if isinstance(source, bytes) else source.read_bytes()).decode()
