"""Vetting of the environments in verifiers' own repository: the table of docs/environments.md.

python bench/hub_tasksets.py VERIFIERS   # a clone, with commit a60a606 in it

Each environment is packed as its author would pack it, from the text in git. Those that load data
get some rows made here, with the columns of the data set that they name. That is enough to see
whether their kind is fit to pay by, but it is no verdict on the data set.
"""

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))

from assay.environments.tasksets import look_at_wheel, vet_bundle, write_bundle
from assay.environments.tasksets.wheel_file import write_wheel
from tests.environments.hub_styles import NAMES, SUMS, WORDS, write_data

COMMIT = "a60a606ecc4d309247edf9ff92c3eabca362781f"
ROWS = {
    "alphabet_sort": write_data(NAMES),
    "gsm8k": write_data(SUMS),
    "reverse_text": write_data(WORDS),
}


def main(clone: Path) -> None:
    command = ["git", "-C", str(clone), "archive", COMMIT, "environments"]
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    with TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
        names = sorted(path.name for path in (Path(folder) / "environments").iterdir())
        print(f"{len(names)} environments of {COMMIT[:7]}")
        for name in names:
            print(f"| `{name}` | {vet_author(Path(folder) / 'environments' / name, name)} |")


def vet_author(place: Path, name: str) -> str:
    """Verdict and reason for the folder of one environment."""
    paths = [path for path in (place / name).rglob("*") if path.is_file()]
    files = {path.relative_to(place).as_posix(): path.read_bytes() for path in paths}
    wheel = write_wheel(name, "0.1.0", ("verifiers>=0.4",), name, files)[1]
    checks = look_at_wheel(wheel, ROWS.get(name, b""))
    if checks[-1].passed:
        file = place / "bundle.zip"
        file.write_bytes(write_bundle(wheel, ROWS.get(name, b"")))
        report = vet_bundle(file)
        checks = tuple(check for check in report.checks if check.name in report.failed)
    why = [f"{check.name}: {check.detail}" for check in checks]
    return f"no | {why[0]}" if why else "fit | "


if __name__ == "__main__":
    main(Path(sys.argv[1]))
