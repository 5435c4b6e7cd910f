"""An owner's environments before a network names them: vetted and packed, or exported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.environments.base import Environment, resolve_params
from assay.environments.foreign.archive import read_first_name
from assay.environments.foreign.package_environment import PARAMS
from assay.environments.foreign.package_file import is_packed, pack_folder
from assay.environments.foreign.thoughts import try_thoughts
from assay.environments.foreign.vet_report import VetCheck, VetReport
from assay.environments.foreign.vetting import vet_package
from assay.environments.own_worlds import attack_own_worlds, list_worlds
from assay.environments.problem_table import DOCUMENT_MAX
from assay.environments.problem_vetting import vet_problem_file
from assay.environments.tasksets import (
    MANIFEST,
    export_inspect_task,
    export_taskset,
    is_exported,
    look_at_wheel,
    vet_bundle,
    write_bundle,
)
from assay.environments.thoughtless import (
    PROBLEMS,
    ThoughtlessAnswer,
    choose_levels,
    measure_thoughtless,
)
from assay.network.files import write_file
from assay.protocol.parameters import UNITS
from assay.settings.loading import ConfigError, open_named_environment
from assay.subnet.waiting import Report, ignore_report, telling


@dataclass(frozen=True, slots=True)
class VetRequest:
    """What is vetted, and how.

    Attributes:
        path: a package (its archive or its folder), a taskset (its wheel or its bundle) or a file
            of problems.
        data: what a taskset's wheel loads.
        units: millions of instructions that a request may take; None: a network's default.
        problems: that a package or a taskset is asked to make; None: the default.
        family: of the environment that reads a file of problems; None: the one that it shows.
    """

    path: Path
    data: Path | None = None
    units: int | None = None
    problems: int | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class VettedFile:
    """The checks. `file`: what was vetted; None: it was packed for that alone and is not kept."""

    file: Path | None
    report: VetReport


@dataclass(frozen=True, slots=True)
class VettedEnvironment:
    """The best answer without thought of each level, and the checks of attacks on worlds."""

    environment: Environment
    answers: Sequence[ThoughtlessAnswer]
    checks: Sequence[VetCheck]

    @property
    def floor(self) -> int:
        """The `satisfaction_floor` that keeps pay from such answers, millionths."""
        is_rated = "satisfaction" in self.environment.rated
        return max(one.floor for one in self.answers) if is_rated else 0

    @property
    def too_right(self) -> list[int]:
        """Levels at which such an answer is right too often."""
        return [one.level for one in self.answers if one.is_too_right]

    @property
    def is_fit(self) -> bool:
        return not self.too_right and all(check.passed for check in self.checks)


def vet_file(request: VetRequest, report: Report = ignore_report) -> VettedFile:
    """Vet a file. Pack what is fit beside itself: a folder, or a wheel with its data.

    Raises:
        ConfigError: it cannot be read, the request does not apply to it, or another program's file
            is where it would be packed.
        ProblemFileError: it is a file of problems that cannot be read.
    """
    path, data = request.path, request.data
    if data is not None and path.suffix != ".whl":
        raise ConfigError(f"--data {data}: only a taskset's wheel takes data, not {path}")
    _require_units(request.units)
    try:
        with telling(report, f"vetting {path}"):
            return _vet(request)
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}") from None


def vet_environment(
    environment: Environment, open_report: Callable[[str], Report] = lambda _: ignore_report
) -> VettedEnvironment:
    """Try answers without thought and right ones behind thoughts, and attack worlds. `open_report`:
    the report of an event. Raises WorkerError: a scorer cannot run here."""
    levels = choose_levels(environment)
    doing = f"trying reward-hacking baselines in {PROBLEMS} problems at {len(levels)} levels"
    with telling(open_report("answers_tried"), doing):
        answers = measure_thoughtless(environment, levels)
        thoughts = try_thoughts(environment, levels)
    checks = [] if thoughts is None else [thoughts]
    for worlds in list_worlds(environment):
        with telling(open_report("worlds_attacked"), f"attacking {worlds.name}"):
            checks += attack_own_worlds(worlds)
    return VettedEnvironment(environment, answers, checks)


def export_environment(name: str, folder: Path) -> tuple[Path, Environment]:
    """Write a wheel with a named environment as a taskset of verifiers 0.4. Raises ConfigError:
    there is no such environment or taskset, or it cannot be written."""
    environment = _open_single_turn(name)
    file_name, wheel = export_taskset(environment)
    try:
        _write_own(folder / file_name, wheel, is_exported)
    except OSError as error:
        raise ConfigError(f"--verifiers {folder}: {error.strerror}") from None
    return folder / file_name, environment


def export_for_inspect(name: str, folder: Path) -> tuple[Path, Environment]:
    """Write a folder with a named environment as a task of Inspect: see `export_environment`.
    Returns the file of the task."""
    environment = _open_single_turn(name)
    files = export_inspect_task(environment)
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / "environment.json").exists():
            raise ConfigError(f"--inspect {folder} holds other files: name a new folder")
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_file(folder / path, data)
    except OSError as error:
        raise ConfigError(f"--inspect {folder}: {error.strerror}") from None
    return folder / "task.py", environment


def _open_single_turn(name: str) -> Environment:
    environment = open_named_environment(name)
    if environment.turns > 1:
        raise ConfigError(
            f"{name}: its worlds reply, in episodes of up to {environment.turns} turns, but what "
            "this command writes asks once"
        )
    return environment


def _require_units(units: int | None) -> None:
    """Raises ConfigError if no network may set them so."""
    try:
        resolve_params("package", PARAMS, {} if units is None else {UNITS: units})
    except ValueError as error:
        raise ConfigError(f"--units: {error}") from None


def _vet(request: VetRequest) -> VettedFile:
    path = request.path
    if path.suffix == ".whl":
        return _vet_wheel(request)
    return _vet_folder(request) if path.is_dir() else VettedFile(path, _vet_file(path, request))


def _vet_file(file: Path, request: VetRequest) -> VetReport:
    _require_regular(file)
    first = read_first_name(file)
    if request.family is not None and (first is not None or file != request.path):
        raise ConfigError(f"--as {request.family}: {request.path} is no file of problems")
    if first is not None:
        vet = vet_bundle if first == MANIFEST else vet_package
        named = {"millions": request.units, "tried": request.problems}
        return vet(file, **{name: value for name, value in named.items() if value is not None})
    for option, value in (("--units", request.units), ("--problems", request.problems)):
        if value is not None:
            raise ConfigError(
                f"{option} {value}: only a package or a taskset has {option[2:]}, not {file}"
            )
    return vet_problem_file(file, request.family)


def _vet_folder(request: VetRequest) -> VettedFile:
    path, folder = request.path, request.path.absolute()
    if not (folder / "__init__.py").is_file():  # the folder that `env new` makes around it
        raise ConfigError(
            f"{path} has no __init__.py: name the package's own folder, as {path}/NAME"
        )
    file = folder.parent / f"{folder.name}.zip"
    return _vet_packed(file, pack_folder(folder), is_packed, request)


def _vet_wheel(request: VetRequest) -> VettedFile:
    """Vet as much of a wheel as can be run, from the bundle of it and its data."""
    path, data = request.path, request.data
    parts = _read(path), b"" if data is None else _read(data)
    looked = look_at_wheel(*parts)
    if not looked[-1].passed:
        return VettedFile(path, VetReport(path.name, looked))
    bundle = path.with_suffix(".taskset.zip")
    vetted = _vet_packed(
        bundle, write_bundle(*parts), lambda there: read_first_name(there) == MANIFEST, request
    )
    checks = looked + vetted.report.checks
    return VettedFile(vetted.file, VetReport(vetted.report.subject, checks))


def _vet_packed(
    file: Path, data: bytes, is_own: Callable[[Path], bool], request: VetRequest
) -> VettedFile:
    """Vet bytes, and write them if they are fit: a network may already name what is there.

    Raises:
        ConfigError: another program's file is there.
    """
    _require_own(file, is_own)
    with TemporaryDirectory() as folder:
        tried = Path(folder) / file.name
        tried.write_bytes(data)
        report = _vet_file(tried, request)
    if not report.is_fit:
        return VettedFile(None, report)
    _write_own(file, data, is_own)
    return VettedFile(file, report)


def _write_own(file: Path, data: bytes, is_own: Callable[[Path], bool]) -> None:
    """Write a file in place of one that an earlier run wrote, but of no other."""
    _require_own(file, is_own)
    write_file(file, data)


def _require_own(file: Path, is_own: Callable[[Path], bool]) -> None:
    if (file.exists() or file.is_symlink()) and not is_own(file):
        raise ConfigError(f"{file} exists, and this command did not write it: move it away first")


def _read(path: Path) -> bytes:
    _require_regular(path)
    with path.open("rb") as opened:
        return opened.read(DOCUMENT_MAX + 1)


def _require_regular(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is not a regular file")
