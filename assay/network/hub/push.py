"""Replaces the files of a repository in one commit: a reader sees the old ones or the new ones.

`assay.json` in a repository says whose content it is, and lists it. A push removes what an earlier
one listed and this one lacks. It leaves all other files alone.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, hf_hub_url
from huggingface_hub.utils import get_session, hf_raise_for_status

from assay.network.hub.download import list_files
from assay.network.hub.names import HubError, HubName, is_plain_path
from assay.network.hub.selection import FILE_MAX, Files
from assay.network.hub.session import HubSession, Progress
from assay.protocol.encoding import EncodingError, Json, read_json

R = TypeVar("R")
CONTENT_FILE = "assay.json"
_CONTENT_MAX = 4 << 20
#: Made by the Hub with the repository.
_HUBS_OWN = frozenset({".gitattributes"})
#: A file below this is sent together with others.
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """The files that a repository is to have.

    Attributes:
        files: path → a file on this disk, or bytes.
        owner: says whose they are: a repository with another owner's is not replaced.
        about: further facts for programs.
    """

    files: Mapping[str, Path | bytes]
    owner: Mapping[str, Json]
    about: Mapping[str, Json] = field(default_factory=dict)

    def to_files(self) -> dict[str, Path | bytes]:
        """All files, with the one that lists them."""
        document = {"owner": dict(self.owner), **self.about, "files": sorted(self.files)}
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        return {**self.files, CONTENT_FILE: text.encode()}


def push(
    session: HubSession,
    name: HubName,
    content: Content,
    message: str,
    progress: Progress,
    *,
    private: bool = False,
    overwrite: bool = False,
) -> str:
    """Make a repository's content this one, in one commit. Return the commit's full id; without a
    difference that of the present one. A push that was killed goes on where it was, file by file.

    Args:
        private: visibility of a repository that is made.
        overwrite: replace files that are in the repository and not an earlier push's.

    Raises:
        HubError: it could not be pushed, or has somebody else's content.
        OSError: a file cannot be read.
    """
    for path, source in content.files.items():
        if isinstance(source, Path) and source.stat().st_size > FILE_MAX:
            raise HubError(f"{source} is larger than the {FILE_MAX // 10**9} GB of one file")
        assert is_plain_path(path)
    require_token(session, name)
    api = session.api
    if not session.ask("looking it up", lambda: _exists(session, name), name):
        session.report(f"making {name} on {session.host}")
        session.ask(
            "making it",
            lambda: api.create_repo(
                name.repository, repo_type=name.kind, private=private, exist_ok=True
            ),
            name,
        )
    head = session.ask(
        "looking it up",
        lambda: api.repo_info(name.repository, repo_type=name.kind, expand="sha"),
        name,
    ).sha
    listed = {} if head is None else list_files(session, name, head)
    present = {path: file for path, file in listed.items() if path not in _HUBS_OWN}
    earlier = _read_content(session, name, str(head), present)
    _require_own(session, name, content, present, earlier, overwrite)
    files = content.to_files()
    added = [CommitOperationAdd(path, source) for path, source in sorted(files.items())]
    stale = [path for path in _list_earlier(earlier) if path in present and path not in files]
    _send_large(session, name, added, progress)
    deleted = [CommitOperationDelete(path) for path in stale]
    commit = session.ask(
        "committing",
        lambda: _unwrap(
            lambda: api.create_commit(
                name.repository,
                [*added, *deleted],
                commit_message=message,
                repo_type=name.kind,
                parent_commit=head,
            )
        ),
        name,
    ).oid
    _require_arrived(session, name, commit, added, stale)
    return commit


def require_token(session: HubSession, name: HubName) -> None:
    """Raise a HubError where nothing could be pushed for want of a token."""
    if not session.token_is_known:
        raise HubError(
            f"to push {name} needs a token that may write: HF_TOKEN, `hf auth login`, or "
            "--token-file"
        )


def _exists(session: HubSession, name: HubName) -> bool:
    return session.api.repo_exists(name.repository, repo_type=name.kind)


def _read_content(
    session: HubSession, name: HubName, head: str, present: Files
) -> dict[str, Any] | None:
    """What the repository says of its content; None: nothing."""
    if CONTENT_FILE not in present or present[CONTENT_FILE].size > _CONTENT_MAX:
        return None
    url = hf_hub_url(
        name.repository, CONTENT_FILE, repo_type=name.kind, revision=head, endpoint=session.endpoint
    )

    def read() -> bytes:
        response = get_session().get(url, headers=session.make_headers())
        hf_raise_for_status(response)
        return response.content

    try:
        found = read_json(session.ask(f"reading {CONTENT_FILE}", read, name))
    except EncodingError:
        return None
    return found if isinstance(found, dict) else None


def _require_own(
    session: HubSession,
    name: HubName,
    content: Content,
    present: Files,
    earlier: Mapping[str, Any] | None,
    overwrite: bool,
) -> None:
    """Raise a HubError where a push would replace what no push of this owner has put there."""
    if overwrite or not present:
        return
    if earlier is None or earlier.get("owner") != dict(content.owner):
        whose = "of another network" if earlier is not None else "that no push has put there"
        raise HubError(
            f"{session.name_page(name)} has content {whose} ({', '.join(sorted(present)[:5])}): "
            "name another repository, or replace it with --overwrite"
        )


def _list_earlier(earlier: Mapping[str, Any] | None) -> list[str]:
    listed = (earlier or {}).get("files")
    return (
        sorted({path for path in listed if isinstance(path, str) and is_plain_path(path)})
        if (isinstance(listed, list))
        else []
    )


def _send_large(
    session: HubSession, name: HubName, added: Sequence[CommitOperationAdd], progress: Progress
) -> None:
    """Upload everything but the commit. One large file after another, in this thread: a Ctrl-C
    ends it, and what is there already is not sent again."""
    total, done = sum(op.upload_info.size for op in added), 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        progress(min(done, total), total)

    small = [op for op in added if op.upload_info.size < _SMALL]
    batches = [[op] for op in added if op.upload_info.size >= _SMALL]
    session.report(f"uploading {len(added)} files, {total / 2**20:,.1f} MiB, to {session.host}")
    for batch in [small, *batches]:
        with session.transferring(0, count):
            session.retry(
                f"uploading {batch[0].path_in_repo}", partial(_send, session, name, batch), name
            )


def _send(session: HubSession, name: HubName, batch: Sequence[CommitOperationAdd]) -> None:
    _unwrap(
        lambda: session.api.preupload_lfs_files(
            name.repository, batch, repo_type=name.kind, free_memory=False
        )
    )


def _unwrap(call: Callable[[], R]) -> R:
    """A call of the library, which hides what broke an upload in a RuntimeError."""
    try:
        return call()
    except RuntimeError as error:
        if isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise


def _require_arrived(
    session: HubSession,
    name: HubName,
    commit: str,
    added: Sequence[CommitOperationAdd],
    deleted: Sequence[str],
) -> None:
    """Raise a HubError unless the commit has exactly what was pushed."""
    listed = list_files(session, name, commit)
    for op in added:
        file = listed.get(op.path_in_repo)
        digest = op.upload_info.sha256.hex()
        if file is None or file.size != op.upload_info.size or file.sha256 not in ("", digest):
            raise HubError(
                f"{name} at {commit} lacks {op.path_in_repo} as it was pushed: run this again"
            )
    if left := [path for path in deleted if path in listed]:
        raise HubError(f"{name} at {commit} still has {left[0]}: run this again")
