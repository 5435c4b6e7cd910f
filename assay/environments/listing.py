"""All environments as a person sees them: our own, and those of the files that are here; and the
names that a person types for them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assay.environments import gsm, mixture
from assay.environments.base import Param
from assay.environments.foreign.archive import read_first_name
from assay.environments.foreign.package_environment import PackageEnvironment
from assay.environments.kind import Drawn, FromDataset, Kind
from assay.environments.problem_family import guess_family
from assay.environments.problem_file import (
    OtherFormatError,
    ProblemFileError,
    add_problem_files,
    compute_file_digest,
    describe_skipped,
    get_known_files,
)
from assay.environments.registry import KINDS, list_files

#: What a person may type in the place of a file's SHA-256, where the file is named besides.
PLACEHOLDER = "SHA256"
#: A file's environment whose digest is left out or short.
_TYPED = re.compile(rf"\b([a-z_]+):({PLACEHOLDER}|[0-9a-f]{{4,63}})(?=[,=.]|$)")
#: Digits of a digest that a message shows.
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class EnvironmentEntry:
    """One environment: its legal levels and its settings by name.

    `usable` tells whether this machine can open it. If it cannot, `about` says why. `file` is the
    problem file or package that it is made from, if any. `skipped` is the number of its rows or
    tasks that are not asked; `about` says why.
    """

    name: str
    levels: tuple[int, ...]
    settings: dict[str, Param]
    about: str
    usable: bool = True
    file: str | None = None
    skipped: int = 0


def list_environments() -> list[EnvironmentEntry]:
    """All environments in order of name. Each file of problems that this process knows is one."""
    several = "several of the others by weight, such as mix,arithmetic=3,sat=1"
    entries = [EnvironmentEntry(mixture.NAME, (), {}, several), *_describe_files()]
    for kind in KINDS.values():
        if kind.drawn is not None:
            entries.append(_describe_drawn(kind, kind.drawn))
        if kind.datasets is not None:
            entries += _describe_datasets(kind, kind.datasets)
    return sorted(entries, key=lambda entry: entry.name)


def complete_name(text: str) -> str:
    """The name by which networks know an environment, with the whole digest of each file.

    A person may type less: `math:SHA256` for a file that is named besides, `math:5f2a` for the
    file among them whose digest begins so, or in the place of the name the path of a file, as
    `problems.jsonl,answer_form=line` or `text:problems.jsonl`, which is then a known file.

    Raises:
        ValueError: no file is meant by it, or several are.
    """
    name, comma, settings = text.partition(",")
    return _TYPED.sub(_complete, _name_path(name.strip()) + comma + settings)


def _name_path(name: str) -> str:
    """The environment of the file at a path; what is no path stays as it is."""
    family, colon, what = name.partition(":")
    if name in (*KINDS, mixture.NAME):
        return name
    is_named = bool(colon) and family in list_files()
    file = Path(what if is_named else name)
    if not file.is_file():
        if not colon and (file.suffix or len(file.parts) > 1):
            raise ValueError(f"{name}: there is no such file")
        return name
    add_problem_files([file])
    if is_named:
        return f"{family}:{compute_file_digest(file)}"
    entry = _describe_file(file)
    if not entry.usable:
        raise ValueError(entry.about)
    return entry.name


def _complete(match: re.Match[str]) -> str:
    typed, family, what = match[0], match[1], match[2]
    if family not in list_files():  # a name of another kind
        return typed
    known = {file: compute_file_digest(file) for file in get_known_files()}
    if what != PLACEHOLDER:
        found = {digest for digest in known.values() if digest.startswith(what)}
    elif len(set(known.values())) == 1:
        found = set(known.values())
    else:  # of several files, the one that has the family's format
        found = {
            digest
            for file, digest in known.items()
            if _describe_file(file).name == f"{family}:{digest}"
        }
    if len(found) == 1:
        return f"{family}:{found.pop()}"
    files = "; ".join(f"{file} is {digest[:_SHOWN]}…" for file, digest in known.items())
    count = f"{len(found)} such files are named" if found else "none is named"
    if known:
        raise ValueError(f"{typed}: {count}; type the first digits of the one: {files}")
    raise ValueError(f"{typed}: {count}: name it with --file FILE")


def _describe_drawn(kind: Kind, drawn: Drawn) -> EnvironmentEntry:
    try:
        levels = tuple(drawn.make({}).levels)
    except ValueError as error:  # a world that replies otherwise here
        return EnvironmentEntry(kind.name, (), {}, str(error), usable=False)
    return EnvironmentEntry(kind.name, levels, kind.list_settings(), drawn.about)


def _describe_files() -> list[EnvironmentEntry]:
    return [replace(_describe_file(file), file=str(file)) for file in get_known_files()]


def _describe_file(file: Path) -> EnvironmentEntry:
    """The environment of a file, as the family whose format it has."""
    if (first := read_first_name(file)) is not None:
        archives = {name: one.archive for name, one in list_files().items() if one.archive}
        family = next(name for name, opens in archives.items() if opens(first))
        return _describe_package(file, family)
    faults: dict[str, None] = {}
    try:
        guessed = guess_family(file)
    except ProblemFileError as error:
        return EnvironmentEntry(f"{gsm.NAME}:{file}", (), {}, str(error), usable=False)
    tables = (name for name, one in list_files().items() if one.archive is None)
    for family in dict.fromkeys((guessed, *tables)):
        try:
            environment = list_files()[family].make(compute_file_digest(file), {})
        except ProblemFileError as error:
            if not isinstance(error, OtherFormatError):
                return EnvironmentEntry(f"{family}:{file}", (), {}, str(error), usable=False)
            faults[str(error).removeprefix(f"{file}, ")] = None  # each once
            continue
        about = f"from {file}"
        skipped: Mapping[str, Sequence[int]] = getattr(environment, "skipped", {})
        count = sum(map(len, skipped.values()))
        if count:
            about += f", {count} rows filtered out: {describe_skipped(skipped)}"
        levels, settings = tuple(environment.levels), KINDS[family].list_settings(str(file))
        return EnvironmentEntry(environment.name, levels, settings, about, skipped=count)
    return EnvironmentEntry(f"{gsm.NAME}:{file}", (), {}, f"{file}: {'; '.join(faults)}", False)


def _describe_package(file: Path, family: str) -> EnvironmentEntry:
    try:
        package = list_files()[family].make(compute_file_digest(file), {})
    except ProblemFileError as error:
        return EnvironmentEntry(f"{family}:{file}", (), {}, str(error), usable=False)
    assert isinstance(package, PackageEnvironment), "archives are of packages"
    asked = f", {package.about}" if package.about else ""
    if package.turns > 1 and "turns" not in asked:
        asked += f", in episodes of up to {package.turns} turns"
    about = f"from {file}{asked}; `assay env vet` says whether it is fit for a subnet"
    levels = tuple(package.levels)
    declared = KINDS[family].list_settings(str(file))
    settings = {name: param for name, param in declared.items() if name in package.params}
    return EnvironmentEntry(package.name, levels, settings, about, skipped=package.skipped)


def _describe_datasets(kind: Kind, datasets: FromDataset) -> list[EnvironmentEntry]:
    fault = None
    try:
        if kind.require is not None:
            kind.require()
    except ValueError as error:
        fault = str(error)
    entries = [
        EnvironmentEntry(
            f"{kind.name}:{name}",
            tuple(levels),
            dict(datasets.list_settings(name)),
            fault or datasets.about,
            usable=fault is None,
        )
        for name, levels in datasets.levels.items()
    ]
    entries += [
        EnvironmentEntry(f"{kind.name}:{name}", (), {}, f"refused: {why}", usable=False)
        for name, why in datasets.refused.items()
    ]
    return entries
