"""Names of repositories in the place of paths: what they name is downloaded, once.

Light: the Hub's library is loaded only where somebody names a repository.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from assay.cli.saying import choose_say
from assay.network.hub.names import CALLED, HubError, HubName, Kind, find_hub_name, parse_hub_name

if TYPE_CHECKING:
    from assay.network.hub.session import HubSession, Progress
    from assay.settings.sections import Settings

#: Most entries of a folder that are looked at, and splits that a message names.
_ENTRIES_MAX, _NAMED = 10_000, 5
P = TypeVar("P", Path, Path | None)
#: Fetches what a name names: the session, the name, the folder of downloads, the progress.
_Fetch = Callable[["HubSession", HubName, Path, "Progress"], Path]


def open_model(settings: "Settings", named: P, quiet: bool = False) -> P:
    """The folder of a model or a checkpoint, where a person names a repository of the Hub; else
    what is named. Raises HubError: it cannot be downloaded."""
    name = None if named is None else find_hub_name(str(named), "model")
    if name is None:
        return named

    def fetch(session: "HubSession", name: HubName, home: Path, progress: "Progress") -> Path:
        from assay.network.hub.download import fetch_model

        return fetch_model(session, name, home, progress)

    return _open(settings, name, fetch, quiet)


def open_models(settings: "Settings", named: Iterable[Path], quiet: bool = False) -> list[Path]:
    """The same for several."""
    return [open_model(settings, each, quiet) for each in named]


def open_data(settings: "Settings", named: P, quiet: bool = False) -> P:
    """A file of problems, where a person names a data set of the Hub; else what is named. Raises
    HubError: it cannot be downloaded."""
    name = None if named is None else find_hub_name(str(named), "dataset")
    if name is None:
        return named

    def fetch(session: "HubSession", name: HubName, home: Path, progress: "Progress") -> Path:
        from assay.environments.problem_file import FILE_MAX
        from assay.environments.problem_shards import join_files
        from assay.network.hub.download import fetch_data

        def join(files: Sequence[Path]) -> bytes:
            return join_files(files, session.report).data

        return fetch_data(session, name, home, FILE_MAX, progress, join)

    return _open(settings, name, fetch, quiet)


def find_shards(named: Path) -> list[Path]:
    """The files of a split on this disk, where a person names their folder, or their path up to the
    numbers in their names; []: something else is named. Raises ConfigError: there are several
    splits, or a file of it is missing."""
    from assay.network.hub.splits import choose_split, find_splits
    from assay.settings.loading import ConfigError

    if named.is_dir():
        folder, path = named, ""
    elif named.name and not named.exists() and named.parent.is_dir():
        folder, path = named.parent, named.name
    else:
        return []
    entries = islice(chain(folder.glob("*"), folder.glob("*/*")), _ENTRIES_MAX)
    splits = find_splits(entry.relative_to(folder).as_posix() for entry in entries)
    found = choose_split(splits, path)
    if path and (len(found) != 1 or found[0].name != path):
        return []
    if len(found) != 1:
        names = ", ".join(split.name for split in found[:_NAMED]) + ", …" * (len(found) > _NAMED)
        hint = f"name one of its {len(found)} files or splits: {names}" if found else "it has none"
        raise ConfigError(f"{named} is a folder, and no file of problems: {hint}")
    if found[0].missing is not None:
        raise ConfigError(f"{named}: file {found[0].missing} of its split is not there")
    return [folder / file for file in found[0].files]


def name_target(text: str | None, kind: Kind) -> HubName | None:
    """A repository to push to. Raises HubError: it is something else, or a part of one."""
    if text is None:
        return None
    named = text.removeprefix("hf://")
    prefix = "datasets/" if kind == "dataset" and not named.startswith("datasets/") else ""
    name = parse_hub_name(prefix + named, kind)
    if name.revision is not None or name.path:
        raise HubError(f"{text}: a push goes to a repository's main branch: write ORG/NAME")
    return name


def _open(settings: "Settings", name: HubName, fetch: _Fetch, quiet: bool) -> Path:
    from assay.artifacts.store_objects import telling_bytes
    from assay.network.hub.download import find_fetched
    from assay.network.hub.session import HubSession

    home = find_home(settings)
    present = find_fetched(name, home)
    if present is not None:
        return present
    say = choose_say(quiet)
    with HubSession(say, settings.hub.token_file) as session:
        path = fetch(session, name, home, telling_bytes(say, f"downloading {name}"))
    say(f"{path} has {CALLED[name.kind]} {name}")
    return path


def find_home(settings: "Settings") -> Path:
    """The folder of all downloads."""
    if settings.hub.dir is not None:
        return settings.hub.dir.expanduser()
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME, "assay")
