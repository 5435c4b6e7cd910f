"""Downloads files of one commit, each checked by the digest of the commit's listing.

A folder has them under their names once they are whole, and never before. A download that was
stopped or killed goes on where it was: what has arrived of a file is kept beside it.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha1, sha256
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoFile

from assay.network.files import hold_folder, write_file
from assay.network.hub.names import HubError, HubName, is_plain_path
from assay.network.hub.origin import ORIGIN_FILE, Origin, read_origin, write_origin
from assay.network.hub.selection import HubFile, choose_model_files, choose_split_files
from assay.network.hub.session import HubSession, Progress
from assay.network.hub.splits import Split

#: Most entries of a listing; bytes of a disk that are left free; of a piece that is hashed.
_ENTRIES_MAX, _ROOM, _PIECE = 50_000, 64 << 20, 1 << 20
#: One of these is in every model's folder.
_TELLING = {"config.json", "adapter_config.json"}
#: Seconds for the headers of one file.
_HEAD_S = 20.0


def fetch_model(session: HubSession, name: HubName, home: Path, progress: Progress) -> Path:
    """The folder of a model (or its GGUF file), fetched as far as it is not here.

    Args:
        home: folder of all downloads.

    Raises:
        HubError: it cannot be fetched: says why, and what to do.
        OSError: the disk.
    """
    commit = find_commit(session, name)
    with _hold(home, name, commit) as folder:
        listed = list_files(session, name, commit)

        def read(file: HubFile) -> bytes:
            _fetch_all(session, name, commit, [file], folder, lambda done, total: None)
            return (folder / file.path).read_bytes()

        chosen = choose_model_files(name, listed, read)
        _fetch_all(session, name, commit, chosen, folder, progress)
        _keep_origin(session, name, commit, chosen, folder)
    return folder / name.path


def fetch_data(
    session: HubSession,
    name: HubName,
    home: Path,
    limit: int,
    progress: Progress,
    join: Callable[[Sequence[Path]], bytes],
) -> Path:
    """A file of problems, fetched if it is not here: else as `fetch_model`.

    Args:
        limit: most bytes of a file.
        join: makes one file of the several that a split lies in.
    """
    commit = find_commit(session, name)
    with _hold(home, name, commit) as folder:
        split, chosen = choose_split_files(name, list_files(session, name, commit), limit)
        _fetch_all(session, name, commit, chosen, folder, progress)
        if len(chosen) == 1:
            path, made = folder / chosen[0].path, {}
        else:
            path = folder / split.joined
            made = {split.joined: _join(chosen, folder, path, join)}
        _keep_origin(session, name, commit, chosen, folder, made)
    return path


def _join(
    files: Sequence[HubFile], folder: Path, joined: Path, join: Callable[[Sequence[Path]], bytes]
) -> str:
    """Make one file of several, unless it is here. Return its digest."""
    origin = read_origin(joined.parent)
    known = None if origin is None else origin.files.get(joined.name)
    if known is not None and _is(joined, known):
        return known
    data = join([folder / file.path for file in files])
    write_file(joined, data)
    return f"sha256:{sha256(data).hexdigest()}"


def find_fetched(name: HubName, home: Path) -> Path | None:
    """What an earlier download of a stated commit has left, if it is whole: nobody need be
    asked."""
    if name.commit is None:
        return None
    path = get_folder(home, name, name.commit) / name.path
    folder = path.parent if _is_file(name) else path
    origin = read_origin(folder)
    if origin is None or not all(_is(folder / at, found) for at, found in origin.files.items()):
        return None  # somebody has edited a file here: what commit it is of is not known
    if _is_file(name):
        joined = path.with_name(Split(path.name, ()).joined)
        return next((one for one in (path, joined) if one.name in origin.files), None)
    return path if origin.files.keys() & _TELLING else None


def _is_file(name: HubName) -> bool:
    """Whether the name is that of one file."""
    return name.kind == "dataset" or name.path.endswith(".gguf")


def _keep_origin(
    session: HubSession,
    name: HubName,
    commit: str,
    files: Sequence[HubFile],
    home: Path,
    joined: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Keep where files are from, in the model's folder or beside the file.

    Args:
        joined: path → digest of a file that was made of these.
    """
    own = next(iter(joined), files[0].path)
    path = str(PurePosixPath(own).parent) if _is_file(name) else name.path
    path = "" if path == "." else path
    folder = home / path
    before = read_origin(folder)
    digests = {**{file.path: file.digest for file in files}, **joined}
    made = {at.removeprefix(f"{path}/" if path else ""): found for at, found in digests.items()}
    kept = {} if before is None else before.files
    origin = Origin(
        session.endpoint, name.kind, name.repository, name.revision, commit, path, kept | made
    )
    if origin != before:
        write_origin(folder, origin)


def get_folder(home: Path, name: HubName, commit: str) -> Path:
    """The folder of a commit's files."""
    organisation, _, repository = name.repository.partition("/")
    return home / f"{name.kind}s--{organisation}--{repository}" / commit


@contextmanager
def _hold(home: Path, name: HubName, commit: str) -> Iterator[Path]:
    """The folder of a commit, for this program alone."""
    folder = get_folder(home, name, commit)
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder) as ours:
        if not ours:
            raise HubError(f"another program is downloading {name} to {folder}: wait for it")
        yield folder


# --- what there is


def find_commit(session: HubSession, name: HubName) -> str:
    """The full id of the commit that a name means now. Raises HubError."""
    if name.commit is not None:
        return name.commit
    info = session.ask(
        "looking it up",
        lambda: session.api.repo_info(
            name.repository,
            revision=name.revision or "main",
            repo_type=name.kind,
            expand="sha",  # else the names of all files, too
        ),
        name,
    )
    found = HubName(name.kind, name.repository, str(info.sha))
    if found.commit is None:
        raise HubError(f"{session.host} names no commit of {name}: run this again")
    session.report(f"{name} is at commit {found.commit}")
    return found.commit


def list_files(session: HubSession, name: HubName, commit: str) -> dict[str, HubFile]:
    """All files of a commit, by path. Raises HubError: a path leads out of the repository, too."""

    def read() -> dict[str, HubFile]:
        found: dict[str, HubFile] = {}
        entries = session.api.list_repo_tree(
            name.repository, recursive=True, revision=commit, repo_type=name.kind
        )
        for number, entry in enumerate(entries):
            if number >= _ENTRIES_MAX:
                raise HubError(f"{name} has more than {_ENTRIES_MAX:,} entries: use another one")
            if isinstance(entry, RepoFile):
                file = _read_entry(session, name, entry)
                found[file.path] = file
        for path in found:
            if any(str(parent) in found for parent in PurePosixPath(path).parents):
                raise HubError(
                    f"{session.host} lists {path} in {name} below a file: nothing was fetched"
                )
        return found

    return session.ask("listing its files", read, name)


def _read_entry(session: HubSession, name: HubName, entry: RepoFile) -> HubFile:
    path, size = entry.path, entry.size
    large = "" if entry.lfs is None else entry.lfs.sha256
    digest, length = (large, 64) if large else (entry.blob_id, 40)
    if not isinstance(path, str) or not is_plain_path(path):
        raise HubError(
            f"{session.host} lists {str(path)[:100]!r} in {name}, which is no path within it: "
            "nothing was fetched"
        )
    fits = isinstance(digest, str) and len(digest) == length and digest.isalnum()
    if not fits or not isinstance(size, int) or size < 0:
        raise HubError(f"{session.host} lists {path} in {name} without size or digest")
    return HubFile(path, size, large, entry.blob_id)


# --- what arrives


def _fetch_all(
    session: HubSession,
    name: HubName,
    commit: str,
    files: Sequence[HubFile],
    folder: Path,
    progress: Progress,
) -> None:
    """Fetch files into a folder, as far as they are missing."""
    missing = [file for file in files if not _is(folder / file.path, file.digest)]
    kept = {file.path: _measure(_get_part(folder, file)) for file in missing}
    total, done = sum(file.size for file in missing), sum(kept.values())
    free = shutil.disk_usage(folder).free
    if total - done + _ROOM > free:
        raise HubError(
            f"{folder} has {free >> 20:,} MiB free and {name} needs "
            f"{total - done + _ROOM >> 20:,}: make room, or name another disk with dir under [hub]"
        )
    if missing:
        what = f"{len(missing)} file{'s' * (len(missing) > 1)}, {(total - done) / 2**20:,.1f} MiB"
        session.report(f"downloading {what} of {name} from {session.host} to {folder}")

    def count(size: int) -> None:
        nonlocal done
        done += size
        progress(min(done, total), total)

    for file in missing:
        _fetch(session, name, commit, file, folder, count)


def _get_part(folder: Path, file: HubFile) -> Path:
    """The place of what has arrived of a file. Other content has another name."""
    target = folder / file.path
    return target.with_name(f".{file.tag[:32]}.part")


def _measure(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _fetch(
    session: HubSession,
    name: HubName,
    commit: str,
    file: HubFile,
    folder: Path,
    count: Callable[[int], None],
) -> None:
    """Fetch one file whole, or raise."""
    target, part = folder / file.path, _get_part(folder, file)
    if target.name == ORIGIN_FILE:
        raise HubError(f"{name} has a file {file.path}: name another file")
    target.parent.mkdir(parents=True, exist_ok=True)
    for is_last in (False, True):
        with session.transferring(file.size, count):
            session.retry(
                f"fetching {file.path}",
                lambda: _append(session, name, commit, file, part),
                name,
                lambda: _measure(part),
            )
        if _is(part, file.digest):
            break
        part.unlink()  # after a power cut, what was kept may be other bytes
        if is_last:
            raise HubError(
                f"{file.path} of {name} at {commit} is not what {session.host} lists "
                f"({file.digest}): it was changed on the way or there; run this again"
            )
    os.replace(part, target)


def _append(session: HubSession, name: HubName, commit: str, file: HubFile, part: Path) -> None:
    """Fetch what is missing of a file."""
    if _measure(part) > file.size:
        part.unlink()
    have = _measure(part)
    if have == file.size:
        part.touch()
        return
    url = hf_hub_url(
        name.repository, file.path, repo_type=name.kind, revision=commit, endpoint=session.endpoint
    )
    headers = session.make_headers()
    found = get_hf_file_metadata(
        url, token=False, timeout=_HEAD_S, headers=headers, endpoint=session.endpoint
    )
    for what, actual, listed in (
        ("commit", found.commit_hash, commit),
        ("digest", found.etag, file.tag),
        ("size", found.size, file.size),
    ):
        if actual is None or (what == "digest" and len(str(actual)) != len(file.tag)):
            continue  # an ETag of another kind tells nothing: the bytes will
        if actual != listed:
            raise HubError(
                f"{file.path} of {name} changed between two requests: its {what} is "
                f"{str(actual)[:64]} and was listed as {listed}; run this again"
            )
    with part.open("r+b" if have else "wb") as opened:
        opened.seek(0, os.SEEK_END)
        try:
            http_get(
                found.location, opened, resume_size=have, headers=headers, expected_size=file.size
            )
        finally:
            opened.flush()
            os.fsync(opened.fileno())


def _is(path: Path, digest: str) -> bool:
    """Whether a file is there, with these bytes."""
    if not path.is_file():
        return False
    kind, _, listed = digest.partition(":")
    blob = f"blob {path.stat().st_size}\0".encode()
    made = sha256() if kind == "sha256" else sha1(blob, usedforsecurity=False)
    with path.open("rb") as opened:
        while piece := opened.read(_PIECE):
            made.update(piece)
    return made.hexdigest() == listed
