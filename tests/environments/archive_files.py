"""Packages and files of problems that a test writes, some with a defect."""

from hashlib import sha256
from pathlib import Path

from assay.environments.foreign.package_file import pack_folder
from assay.environments.problem_file import add_problem_files


def change_text(text: str, *changes: tuple[str, str]) -> str:
    """A text with parts of it replaced, all of which it must have."""
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


def write_package(folder: Path, text: str, name: str = "pack") -> Path:
    """The archive of a package with one module."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text)
    file = folder / f"{name}.zip"
    file.write_bytes(pack_folder(package))
    return file


def add_file(file: Path, family: str = "package") -> str:
    """The name of the environment of a file, which is known from now on."""
    add_problem_files([file])
    return f"{family}:{sha256(file.read_bytes()).hexdigest()}"
