"""Names of repositories of the Hub, and how they are told from paths.

ORG/NAME[@REVISION][/PATH]                 where nothing of that name is on this disk
hf://[datasets/]ORG/NAME[@REVISION][/PATH] always the Hub: the library's own grammar
https://huggingface.co/[datasets/]ORG/NAME the address of a page, as a browser shows it
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from assay.protocol.errors import OperatorError

Kind = Literal["model", "dataset"]
#: What people call a repository of this kind.
CALLED: dict[Kind, str] = {"model": "model", "dataset": "data set"}
#: The beginning of the Hub's own addresses. A path loses the second slash.
_SCHEME = re.compile(r"hf:/{1,2}")
_SHORT = re.compile(r"([A-Za-z0-9][\w.-]*)/[A-Za-z0-9][\w.-]*(@[^\s@/]+)?(/.*)?", re.ASCII)
#: The address of one of the Hub's pages, which a path has lost a slash of, and what it is of.
_PAGE = re.compile(r"(?i)(?:https?:/{1,2})?(?:www\.)?(?:huggingface\.co|hf\.co)/([^?#]*)")
_PART = re.compile(
    r"((?:datasets/)?[^/]+/[^/]+)/(?:tree|blob|resolve|raw)/(refs/[^/]+/[^/]+|[^/]+)"
)
#: `ORG/NAME` that ends like a file is a mistyped path.
_FILES = re.compile(r"(?i).+\.(csv|gguf|gz|json|jsonl|ndjson|parquet|safetensors|toml|txt|whl|zip)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubError(OperatorError):
    """The Hub, or a name of it, cannot be used. The message says what is wrong, where, and what to
    do."""


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository, or a part of it.

    Attributes:
        revision: a branch, tag or commit; None: the main branch.
        path: a file or folder in it; "": all of it.
    """

    kind: Kind
    repository: str
    revision: str | None = None
    path: str = ""

    @property
    def commit(self) -> str | None:
        """The full id of its commit, where the name states it."""
        named = self.revision
        return named if named is not None and _COMMIT.fullmatch(named) else None

    def __str__(self) -> str:
        at = "" if self.revision is None else f"@{self.revision}"
        return f"{self.repository}{at}" + (f"/{self.path}" if self.path else "")


def find_hub_name(text: str, kind: Kind) -> HubName | None:
    """The repository that a person names in the place of a path. None: the text is a path, because
    it exists, or because no repository is named like that.

    Raises:
        HubError: it could be both, or is a malformed name.
    """
    scheme = _SCHEME.match(text)
    if scheme is not None:
        return parse_hub_name(text[scheme.end() :], kind)
    page = _PAGE.match(text)
    if page is not None and not _exists(text):
        return parse_hub_name(_name_page(page[1]), kind)
    match = _SHORT.fullmatch(text)
    if match is None or _exists(text):
        return None
    if not match[2] and not match[3] and _FILES.fullmatch(text):
        return None
    if _exists(match[1]):
        prefix = "datasets/" if kind == "dataset" else ""
        raise HubError(
            f"{text}: the folder {match[1]} is here and has no such entry: correct the path, or "
            f"write hf://{prefix}{text} for the {CALLED[kind]} on the Hub"
        )
    return parse_hub_name(text if kind == "model" else f"datasets/{text}", kind)


def parse_hub_name(text: str, kind: Kind) -> HubName:
    """The repository of an address without its `hf://`. Raises HubError: it is malformed, or of
    another kind."""
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.errors import HfUriError

    try:
        found = parse_hf_uri(f"hf://{text}")
    except HfUriError:
        found = None
    if found is None or not (found.path_in_repo == "" or is_plain_path(found.path_in_repo)):
        raise HubError(f"{text[:200]!r} is no name on the Hub: write ORG/NAME[@REVISION][/PATH]")
    if found.type != kind:
        prefix = "hf://datasets/ORG/NAME" if kind == "dataset" else "hf://ORG/NAME"
        raise HubError(f"hf://{text} is no {CALLED[kind]}: write {prefix}")
    return HubName(kind, found.id, found.revision, found.path_in_repo)


def _name_page(path: str) -> str:
    """The library's name of what a page shows. A page of no files, such as the viewer of a data
    set, is the whole repository's."""
    part = _PART.match(path)
    if part is not None:
        rest = unquote(path[part.end() :]).rstrip("/")
        return f"{part[1]}@{unquote(part[2])}{rest}"
    depth = 3 if path.startswith("datasets/") else 2
    return "/".join(path.strip("/").split("/")[:depth])


def is_plain_path(path: str) -> bool:
    """Return whether a path leads to a file below its folder, on any machine."""
    parts = path.split("/")
    return (
        len(path) <= 1_024
        and len(parts) <= 32
        and path.isprintable()
        and "\\" not in path
        and not any(part in ("", ".", "..") or len(part.encode()) > 200 for part in parts)
    )


def _exists(text: str) -> bool:
    try:
        return Path(text).exists() or Path(text).is_symlink()
    except (OSError, ValueError):  # too long for a path
        return False
