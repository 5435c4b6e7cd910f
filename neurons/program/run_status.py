"""Reads the status of a demo or a program from its folder. Light: it reads one file."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from assay.artifacts.records.run_folder import RunFolder
from assay.artifacts.status.demo import is_demo
from assay.artifacts.status.program import ProgramStatus
from assay.network.files import is_locked
from assay.neurons.program.life import Sign
from assay.settings.loading import ConfigError

#: The advice where there is no run. A new demo is advised only for the demo's own folder: others
#: may be a program's that has not begun, or full of foreign files, which a demo refuses.
_NAME_A_RUN = (
    "name the folder of a run: a demo's --out, or the --dir of a miner, validator or trainer"
)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a run, and the signs that it goes on."""

    document: ProgramStatus
    sign: Sign


def read_run_status(folder: Path, demo: Path) -> RunStatus:
    """The status in a run's folder. Raises ConfigError: there is none, or it is damaged.

    Args:
        demo: the usual folder of a demo, where a new one may be started.
    """
    document = _read(folder, demo)
    with naming_damage(folder):
        marker = "demo" if is_demo(document) else document["program"]
        held = is_locked(folder / f".assay-{marker}")
        return RunStatus(document, Sign(held, int(time.time()) - document["at"]))


def find_runs(folders: Iterable[Path], demo: Path) -> dict[Path, RunStatus]:
    """Folder → status of the programs that run, of these usual folders; if none runs, of the one
    that wrote last. Raises ConfigError: there is no run, or one is damaged."""
    runs = {
        folder: read_run_status(folder, demo)
        for folder in folders
        if (folder / "status.json").is_file()
    }
    if not runs:
        raise ConfigError(f"no program of Assay has run here: start `assay demo`, or {_NAME_A_RUN}")
    running = {folder: run for folder, run in runs.items() if run.sign.held}
    last = max(runs, key=lambda folder: runs[folder].document["at"])
    return running or {last: runs[last]}


@contextmanager
def naming_damage(folder: Path) -> Iterator[None]:
    """Turn what a status of a wrong form raises into a ConfigError."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError):
        raise ConfigError(
            f"{folder / 'status.json'} is damaged, or another version's: start the run again"
        ) from None


def _read(folder: Path, demo: Path) -> ProgramStatus:
    file = folder / "status.json"
    try:
        file.open("rb").close()
    except NotADirectoryError:
        raise ConfigError(
            f"--dir {folder} is a file: name the folder of a run, which has status.json"
        ) from None
    except PermissionError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}): run this as the user of the program"
        ) from None
    except OSError:
        if not folder.is_dir():
            start = "start `assay demo`, or " if folder == demo else ""
            raise ConfigError(
                f"--dir {folder}: there is no such folder; {start}{_NAME_A_RUN}"
            ) from None
        below = sorted(str(path.parent) for path in folder.glob("*/status.json"))
        if below:
            raise ConfigError(
                f"{folder} has several programs: name one with --dir {' or '.join(below)}"
            ) from None
        raise ConfigError(f"--dir {folder} has no run of Assay: {_NAME_A_RUN}") from None
    document = RunFolder(folder).status.read()
    if not isinstance(document, dict):
        raise ConfigError(f"{file} is damaged: start the run again")
    return cast(ProgramStatus, document)
