"""The files of the packages on disk.

`assay/protocol`, `assay/verification` and `assay/neurons` are links to folders beside `assay/`.
`Path.rglob` follows no link, so whatever walks the package asks here. `judge/assay` is a link to
`assay/`, for the build of `assay-judge` alone.
"""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The distributions' packages.
PACKAGES = {
    "assay": ROOT / "assay",
    "assay_python_wasm": ROOT / "python-wasm" / "assay_python_wasm",
    "subtensor_devnet": ROOT / "devnet" / "subtensor_devnet",
}


def walk_package(name: str = "assay") -> Iterator[Path]:
    """All files of a package, by the paths that imports take."""
    for folder, folders, names in os.walk(PACKAGES[name], followlinks=True):
        folders[:] = sorted(each for each in folders if each != "__pycache__")
        yield from (Path(folder, each) for each in sorted(names))


def list_sources(name: str = "assay") -> list[Path]:
    """The Python files of a package."""
    return [path for path in walk_package(name) if path.suffix == ".py"]


def name_module(path: Path) -> str:
    """The dotted name of a file of a package."""
    for name, folder in PACKAGES.items():
        if path.is_relative_to(folder):
            parts = path.relative_to(folder).with_suffix("").parts
            return ".".join([name, *(part for part in parts if part != "__init__")])
    raise ValueError(f"{path} is in no package")
