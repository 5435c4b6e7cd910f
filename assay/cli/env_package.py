"""`assay env vet|export`: checks whether an environment is fit to pay by, and exports any for
verifiers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Group
from rich.text import Text

from assay.cli.console import print_result
from assay.cli.exits import FINDING, OK
from assay.cli.saying import choose_say
from assay.cli.vet_checks import make_checks_table
from assay.environments.base import resolve_params
from assay.environments.foreign.archive import read_first_name
from assay.environments.foreign.package_environment import PARAMS
from assay.environments.foreign.package_file import is_packed, pack_folder
from assay.environments.foreign.vet_report import VetReport
from assay.environments.foreign.vetting import vet_package
from assay.environments.problem_table import DOCUMENT_MAX
from assay.environments.problem_vetting import vet_problem_file
from assay.environments.tasksets import (
    MANIFEST,
    export_taskset,
    is_exported,
    look_at_wheel,
    vet_bundle,
    write_bundle,
)
from assay.network.files import write_file
from assay.protocol.parameters import UNITS
from assay.settings.loading import ConfigError, open_named_environment
from assay.subnet.waiting import telling


def run_env_vet(
    path: Path,
    data: Path | None,
    units: int | None,
    problems: int | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Print the checks. Pack what is fit beside itself: a folder, or a wheel with its data.

    Args:
        units: millions of instructions that a request may take; None: a network's default.
        problems: that it is asked to make; None: the default.
    """
    if data is not None and path.suffix != ".whl":
        raise ConfigError(f"--data {data}: only a taskset's wheel takes data, not {path}")
    _require_units(units)
    try:
        with telling(choose_say(quiet), f"vetting {path}"):
            file, report = _vet(path, data, _Asked(units, problems))
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}") from None
    return _show_report(file, report, as_json)


def _require_units(units: int | None) -> None:
    """Raises ConfigError if no network may set them so."""
    try:
        resolve_params("package", PARAMS, {} if units is None else {UNITS: units})
    except ValueError as error:
        raise ConfigError(f"--units: {error}") from None


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a package or a taskset is vetted; None: as by default."""

    units: int | None
    problems: int | None

    @property
    def given(self) -> dict[str, int]:
        """Arguments of `vet_package` and `vet_bundle`."""
        named = {"millions": self.units, "tried": self.problems}
        return {name: value for name, value in named.items() if value is not None}


def _vet(path: Path, data: Path | None, asked: _Asked) -> tuple[Path | None, VetReport]:
    if path.suffix == ".whl":
        return _vet_wheel(path, data, asked)
    return _vet_folder(path, asked) if path.is_dir() else (path, _vet_file(path, asked))


def _vet_file(file: Path, asked: _Asked) -> VetReport:
    _require_regular(file)
    if (first := read_first_name(file)) is not None:
        vet = vet_bundle if first == MANIFEST else vet_package
        return vet(file, **asked.given)
    for option, value in (("--units", asked.units), ("--problems", asked.problems)):
        if value is not None:
            raise ConfigError(
                f"{option} {value}: only a package or a taskset has {option[2:]}, not {file}"
            )
    return vet_problem_file(file)


def _vet_folder(path: Path, asked: _Asked) -> tuple[Path | None, VetReport]:
    folder = path.absolute()
    if not (folder / "__init__.py").is_file():  # the folder that `env new` makes around it
        raise ConfigError(
            f"{path} has no __init__.py: name the package's own folder, as {path}/NAME"
        )
    return _vet_packed(folder.parent / f"{folder.name}.zip", pack_folder(folder), is_packed, asked)


def _vet_wheel(path: Path, data: Path | None, asked: _Asked) -> tuple[Path | None, VetReport]:
    """Vet as much of a wheel as can be run, from the bundle of it and its data."""
    parts = _read(path), b"" if data is None else _read(data)
    looked = look_at_wheel(*parts)
    if not looked[-1].passed:
        return path, VetReport(path.name, looked)
    bundle = path.with_suffix(".taskset.zip")
    file, report = _vet_packed(
        bundle, write_bundle(*parts), lambda there: read_first_name(there) == MANIFEST, asked
    )
    return file, VetReport(report.subject, looked + report.checks)


def _vet_packed(
    file: Path, data: bytes, is_own: Callable[[Path], bool], asked: _Asked
) -> tuple[Path | None, VetReport]:
    """Vet bytes, and write them if they are fit: a network may already name what is there.

    Raises:
        ConfigError: another program's file is there.
    """
    _require_own(file, is_own)
    with TemporaryDirectory() as folder:
        tried = Path(folder) / file.name
        tried.write_bytes(data)
        report = _vet_file(tried, asked)
    if not report.is_fit:
        return None, report
    _write_own(file, data, is_own)
    return file, report


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


def run_env_export(name: str, verifiers: Path, as_json: bool) -> None:
    """Write a wheel with a taskset, and say how to use it."""
    environment = open_named_environment(name)
    if environment.turns > 1:
        raise ConfigError(
            f"{name}: its worlds reply, in episodes of up to {environment.turns} turns, but a "
            "taskset that this command writes asks once"
        )
    file_name, wheel = export_taskset(environment)
    file = verifiers / file_name
    try:
        _write_own(file, wheel, is_exported)
    except OSError as error:
        raise ConfigError(f"--verifiers {verifiers}: {error.strerror}") from None
    module = file_name.partition("-")[0]
    document = {"file": str(file), "taskset": module, "digest": environment.digest.hex()}
    lines = (
        f"{file}\n  pip install {file}   # where verifiers 0.4 and assay are\n  vf-eval {module}"
    )
    print_result(document, as_json, lines)


def _show_report(file: Path | None, report: VetReport, as_json: bool) -> int:
    """`file`: what was vetted; None: it was packed for that alone and is not kept."""
    document = {
        "name": report.subject,
        "file": None if file is None else str(file),
        "fit": report.is_fit,
        "checks": [asdict(check) for check in report.checks],
    }
    table = make_checks_table(report.checks)
    verdict = (
        "fit for a subnet" if report.is_fit else f"not fit for a subnet: {', '.join(report.failed)}"
    )
    place = "no file was written or replaced" if file is None else file
    lines = Text(f"{report.subject}\n  {place}\n  {verdict}")
    print_result(document, as_json, Group(table, lines))
    return OK if report.is_fit else FINDING
