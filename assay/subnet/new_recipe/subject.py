"""What an owner wants asked: a file of problems, a package, a taskset or an environment by its
name. Files are vetted, with the units for which a window has time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.environments import mixture
from assay.environments.foreign.package_environment import PARAMS
from assay.environments.listing import complete_name
from assay.environments.problem_file import (
    add_problem_files,
    compute_file_digest,
    get_known_files,
    list_needed_files,
)
from assay.environments.registry import KINDS, parse_choice
from assay.protocol.parameters import UNITS
from assay.settings.loading import ConfigError
from assay.subnet.new_recipe.numbers import UNITS_MIN, Sizes, choose_sizes, say_cost
from assay.subnet.vetting import VetRequest, vet_file
from assay.subnet.waiting import Report

#: Checks that more units may pass.
_COSTLY = frozenset({"bounded", "cost", "makes problems", "problems", "right answers"})


@dataclass(frozen=True, slots=True)
class Subject:
    """An environment to write a recipe for.

    Attributes:
        name: of it, with the digests of its files and its settings.
        files: that have these digests.
        sizes: of a window, which leave time for its units.
        cost: what a right answer costs, as vetting has it; empty: no units are counted.
    """

    name: str
    files: Sequence[Path]
    sizes: Sizes
    cost: str = ""


def open_subject(
    typed: str, data: Path | None, family: str | None, sizes: Sequence[Sizes], report: Report
) -> Subject:
    """Vet what a person names, and choose a window's sizes for it.

    Args:
        typed: a path, with settings behind a comma, or an environment's name.
        data: that a taskset's wheel loads.
        family: see `VetRequest`.
        sizes: that a window may have, the largest first.

    Raises:
        ConfigError: it is not there, is not fit for a subnet (each failed check in a line), or
            costs too much.
        ProblemFileError, WorkerError: see `vet_file`.
    """
    # a path may have commas itself
    named, comma, settings = (typed, "", "") if Path(typed).exists() else typed.partition(",")
    path = Path(named)
    if named in (*KINDS, mixture.NAME) or not path.exists():
        if data is not None or family is not None:
            raise ConfigError(f"{named}: there is no such file: --data and --as are for files")
        return _open_named(typed, sizes)
    stated = _read_units(settings)
    wanted = PARAMS[UNITS].default if stated is None else stated
    able = [one for one in sizes if one.units >= (stated or UNITS_MIN)]
    if not able:
        raise ConfigError(say_cost(sizes[-1], f"{named} may take {wanted:,}"))
    for each in able:
        limit = min(wanted, each.units) if _counts_units(path) else wanted
        given = limit if limit < wanted or stated is not None else None
        vetted = vet_file(VetRequest(path, data, given, family=family), report)
        failed = set(vetted.report.failed)
        if limit == wanted or not failed or not failed <= _COSTLY:
            break
    if failed:
        lines = [
            f"{named} is not fit for a subnet: {check.name}: {check.detail}"
            for check in vetted.report.checks
            if not check.passed
        ]
        costly = [] if limit == wanted else [say_cost(each, f"{named} needs more than {limit:,}")]
        raise ConfigError("\n".join(lines + costly))
    file = vetted.file
    assert file is not None, "what is fit is kept"
    add_problem_files([file])
    name, _, own = vetted.report.subject.partition(",")
    others = [one for one in settings.split(",") if comma and not one.startswith(f"{UNITS}=")]
    whole = ",".join(part for part in (name, own, *others) if part)
    checks = {check.name: check.detail for check in vetted.report.checks}
    sized = choose_sizes(able[able.index(each) :], whole)
    return Subject(whole, [file], sized, checks.get("cost", ""))


def _open_named(typed: str, sizes: Sequence[Sizes]) -> Subject:
    try:
        name = complete_name(typed)
        parts, settings = parse_choice(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    digests, known = list_needed_files(parts, settings), dict[str, Path]()
    for file in get_known_files():
        known.setdefault(compute_file_digest(file), file)
    lacking = [f"{family}:{digest}" for digest, family in digests.items() if digest not in known]
    if lacking:
        raise ConfigError(f"{lacking[0]}: no file of it is here: name it with --file FILE")
    return Subject(name, [known[digest] for digest in digests], choose_sizes(sizes, name))


def _counts_units(path: Path) -> bool:
    """Whether what is vetted takes units: a package or a taskset."""
    return path.is_dir() or path.suffix in (".zip", ".whl")


def _read_units(settings: str) -> int | None:
    if not settings:
        return None
    try:
        return parse_choice(f"package,{settings}")[1].get(UNITS)
    except ValueError as error:
        raise ConfigError(str(error)) from None
