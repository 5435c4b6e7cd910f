"""Where downloaded files came from: `hub-origin.json` beside them, which results repeat."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from assay.network.files import write_json
from assay.network.hub.names import HubName, Kind
from assay.protocol.encoding import Json

ORIGIN_FILE = "hub-origin.json"
_BYTES_MAX = 4 << 20
#: Folders above a file in which its origin is looked for.
_HEIGHT = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """The one commit that the files of a folder are from.

    Attributes:
        hub: address of the server.
        revision: as it was named; None: the main branch.
        path: the folder's own in the repository; "": the whole.
        files: path below that → digest, as `sha256:…` or git's `sha1:…`.
    """

    hub: str
    kind: Kind
    repository: str
    revision: str | None
    commit: str
    path: str = ""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def pinned(self) -> HubName:
        """The same part of the repository at this commit."""
        return HubName(self.kind, self.repository, self.commit, self.path)

    def to_json(self) -> dict[str, Json]:
        """For a result that names its origin."""
        return asdict(self)


def write_origin(folder: Path, origin: Origin) -> None:
    """Keep the origin of a folder's files. Raises OSError: the disk."""
    write_json(folder / ORIGIN_FILE, origin.to_json())


def read_origin(folder: Path) -> Origin | None:
    """The origin that a folder keeps; None: there is none, or it is damaged."""
    try:
        with (folder / ORIGIN_FILE).open("rb") as file:
            return TypeAdapter(Origin).validate_json(file.read(_BYTES_MAX))
    except (OSError, ValidationError):
        return None


def name_source(path: Path) -> str:
    """What others know a file or folder by: ORG/NAME@COMMIT, with its path there, if it was
    downloaded; else its own name."""
    origin = find_origin(path)
    if origin is None:
        return path.resolve().name
    parts = (origin.path, *origin.files) if path.is_file() else (origin.path,)
    return str(replace(origin.pinned, path="/".join(filter(None, parts))))


def find_origin(path: Path) -> Origin | None:
    """The origin of a downloaded file or folder; None: it was not downloaded here. Other files of
    the same download are left out."""
    place = path.absolute()
    folders = (place, *place.parents) if path.is_dir() else tuple(place.parents)
    for folder in folders[:_HEIGHT]:
        origin = read_origin(folder)
        if origin is None:
            continue
        below = place.relative_to(folder).as_posix()
        files = {
            name: digest
            for name, digest in origin.files.items()
            if below in (".", name) or name.startswith(f"{below}/")
        }
        return replace(origin, files=files) if files else None
    return None
