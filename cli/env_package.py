"""`assay env new|vet`: an environment of one's own, and whether it is fit to pay by."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.text import Text

from assay.cli.console import make_table, print_result
from assay.cli.options import FINDING, OK
from assay.environments.foreign import pack_folder, vet_package, write_new_package
from assay.network.files import write_file
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings


def run_env_new(_: Settings, name: str, folder: Path | None, as_json: bool) -> None:
    """Writes a package, its adversarial set and its tests to a folder that has none of them."""
    try:
        texts = write_new_package(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    place = Path(name) if folder is None else folder
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"--dir {place} is there and not empty: name another folder")
    try:
        for path, text in texts.items():
            write_file(place / path, text.encode())
    except OSError as error:
        raise ConfigError(f"--dir {place}: {error.strerror}") from None
    lines = [*(f"  {place / path}" for path in texts), "try it:"]
    lines += [f"  cd {place} && python -m pytest", f"  assay env vet {place / name}"]
    print_result({"files": [str(place / path) for path in texts]}, as_json, "\n".join(lines))


def run_env_vet(_: Settings, path: Path, as_json: bool) -> int:
    """Prints what was looked at; a folder is packed beside itself first."""
    file = path
    if path.is_dir():
        folder = path.absolute()
        file = folder.parent / f"{folder.name}.zip"
        try:
            write_file(file, pack_folder(folder))
        except OSError as error:
            raise ConfigError(f"{error.filename or file}: {error.strerror}") from None
    report = vet_package(file)
    document = {
        "name": report.subject,
        "file": str(file),
        "fit": report.is_fit,
        "checks": [asdict(check) for check in report.checks],
    }
    table = make_table("looked at", "", "found")
    for check in report.checks:
        shown = Text("✓", "green") if check.passed else Text("✗", "red")
        table.add_row(check.name, shown, Text(_make_printable(check.detail)))
    failed = [check.name for check in report.checks if not check.passed]
    verdict = f"not fit to pay by: {', '.join(failed)}" if failed else "fit to pay by"
    lines = Text(f"{report.subject}\n  {file}\n  {verdict}")
    print_result(document, as_json, Group(table, lines))
    return OK if report.is_fit else FINDING


def _make_printable(text: str) -> str:
    """A stranger's words must not steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
