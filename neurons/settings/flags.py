"""The form of a setting on the command line. Light: `assay COMMAND --help` loads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_origin

from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Flag:
    """The form of a field on the command line, where a command offers it."""

    metavar: str | None = None  # placeholder for its value; None: from its type
    #: with its dashes, and with `/--other` for the opposite; None: the field's name
    name: str | None = None
    exists: bool = False  # it names a file that must be readable


def get_flag(field: FieldInfo) -> Flag:
    """The flag of a field whose type is X, X | None or tuple[X, ...]. X may itself be annotated."""
    flag = next((part for part in field.metadata if isinstance(part, Flag)), Flag())
    kind = field.annotation
    while get_origin(kind) is not None:
        kind, *rest = get_args(kind)
        flag = next((part for part in rest if isinstance(part, Flag)), flag)
    return flag


def get_flag_name(name: str, field: FieldInfo) -> str:
    return get_flag(field).name or f"--{name.replace('_', '-')}"


Dir = Annotated[Path, Flag("DIR")]
File = Annotated[Path, Flag("FILE")]
#: A checkpoint's folder.
Folder = Annotated[Path, Flag("FOLDER")]
Url = Annotated[str, Flag("URL")]
#: An SS58 address.
Address = Annotated[str, Flag("SS58")]
#: A contract on the EVM.
Contract = Annotated[str, Flag("0x…")]
