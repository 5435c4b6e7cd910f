"""The Hub's HTTP interface on loopback, as huggingface_hub asks it: two servers, the Hub and a CDN.

Repositories with commits, branches and tags; listings in pages; files with ETag and Range, large
ones by a redirect to the CDN; uploads by preupload, Git LFS and one commit. What a client sent is
kept, and `faults` spoil answers. There is no xet.
"""

import base64
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

Files = dict[str, bytes]
_LARGE = (".safetensors", ".parquet", ".gguf", ".bin")
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(\w+)/([^/]+)(?:/(.*))?)?")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LFS = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/(objects/batch|verify|complete)(.*)")


@dataclass
class Repository:
    """Commits by id, each with all its files, and names of commits."""

    commits: dict[str, Files] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: Files, branch: str = "main") -> str:
        """Make these all files of a branch. Return the commit's id."""
        seed = json.dumps([len(self.commits), sorted(files)]).encode() + b"".join(files.values())
        made = hashlib.sha1(seed).hexdigest()
        self.commits[made] = dict(files)
        self.names[branch] = made
        return made

    def find(self, revision: str) -> str | None:
        """The commit of a revision."""
        found = self.names.get(revision, revision)
        return found if found in self.commits else None


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    server: str  # hub or cdn
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Fault:
    """Spoils the answers to requests of a server whose method and path match."""

    server: str
    match: str
    act: Callable[["Handler"], bool]  # returns whether the answer is given
    times: int = 1


class Handler(BaseHTTPRequestHandler):
    """One connection to either server."""

    protocol_version = "HTTP/1.1"
    name, hub = "", None  # type: str, Any

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        hub: HubServer = self.hub
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.seen.append(Seen(self.name, self.command, self.path, headers))
        for fault in hub.faults:
            asked = f"{self.command} {unquote(self.path)}"
            if fault.server == self.name and fault.times and re.search(fault.match, asked):
                fault.times -= 1
                if fault.act(self):
                    return
        (hub.answer if self.name == "hub" else hub.answer_cdn)(self)

    do_HEAD = do_POST = do_PUT = do_GET

    def send(self, status: int, body: bytes | Any = b"", **headers: str) -> None:
        """An answer; a document is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def fail(self, status: int, code: str = "", text: str = "", **headers: str) -> None:
        """An error as the Hub has it."""
        headers |= {"X_Error_Code": code} if code else {}
        headers |= {"X_Error_Message": text} if text else {}
        self.send(status, {"error": text or code}, **headers)


class HubServer:
    """See the module. `url` is the Hub's address, over TLS with `tls`; the CDN has none."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: Files = {}  # by SHA-256
        self.tokens = {"hf_reader", "hf_writer"}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.page = 1_000
        self.part_bytes = 1 << 20
        self._parts: dict[str, dict[int, bytes]] = {}
        self.stopping = threading.Event()
        self._servers = [self._serve("hub", tls), self._serve("cdn", None)]
        hub, cdn = (f"127.0.0.1:{server.server_port}" for server in self._servers)
        self.url, self.cdn = f"http{'s' if tls else ''}://{hub}", f"http://{cdn}"

    def _serve(self, name: str, tls: ssl.SSLContext | None) -> ThreadingHTTPServer:
        handler = type(name, (Handler,), {"name": name, "hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def close(self) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, kind: str, name: str, files: Files) -> Repository:
        """A repository with one commit."""
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.commit(files)
        for path, data in files.items():
            if path.endswith(_LARGE):
                self.large[hashlib.sha256(data).hexdigest()] = data
        return repository

    # --- the Hub

    def answer(self, ask: Handler) -> None:
        path = urlsplit(ask.path).path
        if path == "/api/repos/create":
            return self._create(ask)
        if path == "/api/validate-yaml":
            return ask.send(200, {"errors": [], "warnings": []})
        for pattern, act in ((_LFS, self._lfs), (_RESOLVE, self._resolve), (_API, self._api)):
            match = pattern.fullmatch(path)
            if match is not None:
                return act(ask, *match.groups())
        return ask.fail(404)

    def _open(self, ask: Handler, kind: str, name: str, writes: bool = False) -> Repository | None:
        """A repository that the request may see; else the answer is given."""
        token = (ask.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            ask.fail(401, text="Invalid credentials in Authorization header")
            return None
        found = self.repositories.get((kind, name))
        if found is None or (found.private and not token):
            ask.fail(404 if token else 401, "RepoNotFound", "Repository not found")
            return None
        if writes and token != "hf_writer":
            ask.fail(403, text="Forbidden: pass a write token")
            return None
        return found

    def _find(self, ask: Handler, repository: Repository, revision: str) -> str | None:
        commit = repository.find(unquote(revision))
        if commit is None:
            ask.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _api(
        self,
        ask: Handler,
        plural: str,
        name: str,
        verb: str | None,
        revision: str | None,
        path: str | None,
    ) -> None:
        kind = plural.removesuffix("s")
        repository = self._open(ask, kind, name, writes=verb in ("commit", "preupload"))
        if repository is None:
            return
        if verb in ("commit", "preupload"):
            getattr(self, f"_{verb}")(ask, kind, name, repository, unquote(revision or "main"))
            return
        if verb is None and not repository.commits:
            return ask.send(200, {"id": name, "private": repository.private, "siblings": []})
        commit = self._find(ask, repository, revision or "main")
        if commit is None:
            return
        if verb == "tree":
            return self._tree(ask, repository.commits[commit])
        siblings = [{"rfilename": each} for each in repository.commits[commit]]
        gated = "manual" if repository.gated else False
        ask.send(
            200,
            {
                "id": name,
                "sha": commit,
                "private": repository.private,
                "gated": gated,
                "siblings": siblings,
            },
        )

    def describe(self, path: str, data: bytes) -> dict[str, Any]:
        """A file's entry in a listing."""
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
        if not path.endswith(_LARGE):
            return entry | {"oid": _hash_blob(data)}
        sha = hashlib.sha256(data).hexdigest()
        pointer = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(data)}\n"
        ).encode()
        lfs = {"oid": sha, "size": len(data), "pointerSize": len(pointer)}
        return entry | {"oid": _hash_blob(pointer), "lfs": lfs}

    def _tree(self, ask: Handler, files: Files) -> None:
        """All entries below the root, in pages."""
        folders = {path[:end] for path in files for end, c in enumerate(path) if c == "/" and end}
        entries = [
            {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
            for path in sorted(folders)
        ]
        entries += [self.describe(path, data) for path, data in sorted(files.items())]
        parts = urlsplit(ask.path)
        start = int(parse_qs(parts.query).get("cursor", ["0"])[0])
        end, more = start + self.page, {}
        if end < len(entries):
            more["Link"] = (
                f'<{self.url}{parts.path}?recursive=True&expand=False&cursor={end}>; rel="next"'
            )
        ask.send(200, entries[start:end], **more)

    def _resolve(
        self, ask: Handler, prefix: str | None, name: str, revision: str, path: str
    ) -> None:
        repository = self._open(ask, "dataset" if prefix else "model", name)
        if repository is None:
            return
        token = (ask.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repository.gated and token != "hf_writer":
            return ask.fail(403 if token else 401, "GatedRepo", "Access to it is restricted")
        commit = self._find(ask, repository, revision)
        if commit is None:
            return
        data = repository.commits[commit].get(unquote(path))
        if data is None:
            return ask.fail(404, "EntryNotFound", "Entry not found")
        headers = {"X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        if not path.endswith(_LARGE):
            return self._send_ranges(ask, data, ETag=f'"{_hash_blob(data)}"', **headers)
        sha = hashlib.sha256(data).hexdigest()
        ask.send(
            302,
            b"",
            Location=f"{self.cdn}/blob/{sha}?Signature=s3cr3t-of-the-cdn",
            X_Linked_ETag=f'"{sha}"',
            X_Linked_Size=str(len(data)),
            **headers,
        )

    def _send_ranges(self, ask: Handler, data: bytes, **headers: str) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", ask.headers.get("Range") or "")
        if match is None:
            return ask.send(200, data, **headers)
        start = int(match[1])
        if start >= len(data):
            return ask.fail(416, Content_Range=f"bytes */{len(data)}")
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        ask.send(206, data[start:], Content_Range=span, **headers)

    # --- uploads

    def _create(self, ask: Handler) -> None:
        token = (ask.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token != "hf_writer":
            return ask.fail(403 if token else 401, text="You need write permission")
        asked = json.loads(ask.body)
        key = asked.get("type", "model"), f"{asked['organization']}/{asked['name']}"
        if key in self.repositories:
            return ask.fail(409, text="You already created this repo")
        made = self.repositories[key] = Repository(private=asked.get("visibility") == "private")
        made.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        ask.send(200, {"url": f"{self.url}/{key[1]}"})

    def _preupload(
        self, ask: Handler, kind: str, name: str, repository: Repository, revision: str
    ) -> None:
        present = repository.commits.get(repository.find(revision) or "", {})
        answers = []
        for file in json.loads(ask.body)["files"]:
            path = file["path"]
            is_large = path.endswith(_LARGE)
            answer: dict[str, Any] = {
                "path": path,
                "uploadMode": "lfs" if is_large else "regular",
                "shouldIgnore": False,
            }
            if path in present:
                data = present[path]
                sha = hashlib.sha256(data).hexdigest()
                answer["oid"] = sha if is_large else _hash_blob(data)
            answers.append(answer)
        ask.send(200, {"files": answers})

    def _lfs(self, ask: Handler, prefix: str | None, name: str, verb: str, rest: str) -> None:
        if verb == "complete":
            sha = json.loads(ask.body)["oid"]
            parts = self._parts.pop(sha)
            self.large[sha] = b"".join(parts[number] for number in sorted(parts))
            return ask.send(200, {})
        if self._open(ask, "dataset" if prefix else "model", name, writes=True) is None:
            return
        asked = json.loads(ask.body)
        if verb == "verify":
            stored = self.large.get(asked["oid"], b"")
            fits = len(stored) == asked["size"]
            return ask.send(200, {}) if fits else ask.fail(404, text="no such object")
        root = f"{self.url}/{prefix or ''}{name}.git/info/lfs"
        objects = [self._plan_upload(root, each) for each in asked["objects"]]
        ask.send(200, {"transfer": "multipart", "objects": objects})

    def _plan_upload(self, root: str, asked: dict[str, Any]) -> dict[str, Any]:
        sha, size = asked["oid"], asked["size"]
        if sha in self.large:
            return {"oid": sha, "size": size}
        place = f"{self.cdn}/put/{sha}"
        upload: dict[str, Any] = {"href": f"{place}?X-Amz-Signature=s3cr3t-of-the-cdn"}
        if size > self.part_bytes:
            numbers = range(1, -(-size // self.part_bytes) + 1)
            header = {f"{n:05d}": f"{place}?part={n}&X-Amz-Signature=s3cr3t" for n in numbers}
            upload = {"href": f"{root}/complete", "header": header}
            header["chunk_size"] = str(self.part_bytes)
        verify = {"href": f"{root}/verify", "header": {}}
        return {"oid": sha, "size": size, "actions": {"upload": upload, "verify": verify}}

    def _commit(
        self, ask: Handler, kind: str, name: str, repository: Repository, revision: str
    ) -> None:
        head = repository.find(revision)
        files = dict(repository.commits.get(head or "", {}))
        for line in ask.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header" and value.get("parentCommit") not in (None, head):
                return ask.fail(412, text="A commit has happened since. Please refresh.")
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.large:
                    return ask.fail(400, text="the object was not uploaded")
                files[value["path"]] = self.large[value["oid"]]
            elif item["key"] == "deletedFile":
                if value["path"] not in files:
                    return ask.fail(404, "EntryNotFound", "A file with this name doesn't exist")
                del files[value["path"]]
        made = repository.commit(files, revision)
        ask.send(200, {"commitUrl": f"{self.url}/{name}/commit/{made}", "commitOid": made})

    # --- the CDN

    def answer_cdn(self, ask: Handler) -> None:
        parts = urlsplit(ask.path)
        verb, sha = parts.path.split("/")[1:3]
        if ask.headers.get("Authorization"):  # S3 refuses two ways to sign
            return ask.fail(400, text="Only one auth mechanism allowed")
        if verb == "blob" and sha in self.large:
            return self._send_ranges(ask, self.large[sha], ETag=f'"{sha[:32]}"')
        if verb == "put" and ask.command == "PUT":
            part = parse_qs(parts.query).get("part")
            if part:
                self._parts.setdefault(sha, {})[int(part[0])] = ask.body
            elif hashlib.sha256(ask.body).hexdigest() != sha:
                return ask.fail(400, text="the digest is another")
            else:
                self.large[sha] = ask.body
            return ask.send(200, b"", ETag='"etag-of-a-part"')
        return ask.fail(403)


def _hash_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


# --- faults


def answering(status: int, code: str = "", **headers: str) -> Callable[[Handler], bool]:
    """Answers with an error."""

    def act(ask: Handler) -> bool:
        ask.fail(status, code, f"status {status}", **headers)
        return True

    return act


def dropping(ask: Handler) -> bool:
    """Closes the connection without an answer."""
    ask.close_connection = True
    return True


def cutting(size: int, *, lies: bool = False) -> Callable[[Handler], bool]:
    """Sends the first bytes of a body and closes; `lies`: as if they were all."""

    def act(ask: Handler) -> bool:
        send = ask.wfile.write
        real = ask.send_header

        def send_header(name: str, value: str) -> None:
            real(name, str(size) if lies and name == "Content-Length" else value)

        ask.send_header = send_header  # type: ignore[method-assign]
        answer = ask.hub.answer if ask.name == "hub" else ask.hub.answer_cdn

        def write(data: bytes) -> int:
            return send(data if data.startswith(b"HTTP/") else data[:size])

        ask.wfile.write = write  # type: ignore[method-assign]
        answer(ask)
        ask.wfile.write = send  # type: ignore[method-assign]
        ask.close_connection = True
        return True

    return act


def waiting(ask: Handler) -> bool:
    """Gives no answer until the server stops."""
    ask.hub.stopping.wait(60)
    ask.close_connection = True
    return True


def trickling(ask: Handler) -> bool:
    """Sends a byte now and then."""
    ask.send_response(200)
    ask.send_header("Content-Length", "1000000")
    ask.end_headers()
    try:
        while not ask.hub.stopping.wait(0.05):
            ask.wfile.write(b"x")
            ask.wfile.flush()
    except OSError:
        pass
    ask.close_connection = True
    return True


def flooding(ask: Handler) -> bool:
    """Sends bytes without an end."""
    ask.send_response(200)
    ask.send_header("Transfer-Encoding", "chunked")
    ask.end_headers()
    try:
        while not ask.hub.stopping.is_set():
            ask.wfile.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
    except OSError:
        pass
    ask.close_connection = True
    return True


@contextmanager
def serving_alone(patch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The same, as the library's Hub. No token of this machine is sent to it."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        patch.delenv(name, raising=False)
    patch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")
    with serving() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "ENDPOINT", server.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[HubServer]:
    """A server for the duration of a block."""
    server = HubServer(tls)
    try:
        yield server
    finally:
        server.close()
