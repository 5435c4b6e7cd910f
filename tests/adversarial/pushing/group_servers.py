"""Servers of Atropos' protocol: the real one, and one with a test's answers.

The real one is atroposlib's, unmodified, in an environment that `make atropos` makes and names in
ATROPOS_PYTHON. `PoorServer` is not: it has no batches and no buffers, keeps what it was posted, and
its answers to GET /info, /status and POST /register-env are those of atroposlib 0.4.0 with a
trainer that has begun.
"""

import gzip
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

_NAMED = os.environ.get("ATROPOS_PYTHON")  # noqa: TID251 - as the Makefile names it
ATROPOS_PYTHON = str(Path(_NAMED).absolute()) if _NAMED else None
NO_ATROPOS = "no ATROPOS_PYTHON: `make test` makes one"


class RealServer:
    """A server of atroposlib, and its trainer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, timeout=60, trust_env=False)

    def begin(self, batch: int, tokens_max: int = 4_096) -> None:
        """Forget everything, and register a trainer that wants this many sequences a batch, but has
        not asked for one yet."""
        self._http.get("/reset_data").raise_for_status()
        registration = {
            "wandb_group": "test",
            "wandb_project": "test",
            "batch_size": batch,
            "max_token_len": tokens_max,
            "checkpoint_dir": "",
            "save_checkpoint_interval": 1,
            "starting_step": 0,
            "num_steps": 9,
        }
        self._http.post("/register", json=registration).raise_for_status()

    def get_batch(self) -> list[dict[str, Any]] | None:
        """The next batch's groups."""
        return self._http.get("/batch").raise_for_status().json()["batch"]

    def get_all(self) -> list[dict[str, Any]]:
        """The groups of all batches, in the order of their posts: the server gives the last batch
        first."""
        batches = []
        while (batch := self.get_batch()) is not None:
            batches.append(batch)
        return [group for batch in batches[::-1] for group in batch]

    def get_queued(self) -> int:
        """Groups that wait."""
        return self._http.get("/status").raise_for_status().json()["queue_size"]


@contextmanager
def run_real_server(folder: Path) -> Iterator[RealServer]:
    """`python -m uvicorn atroposlib.api:app`, as `run-api` starts it, on a free port."""
    assert ATROPOS_PYTHON is not None
    log = folder / "atropos.log"
    words = ("-m", "uvicorn", "atroposlib.api:app", "--host", "127.0.0.1", "--port", "0")
    with log.open("w") as file:
        process = subprocess.Popen([ATROPOS_PYTHON, *words], stdout=file, stderr=file, cwd=folder)
    try:
        for _ in range(1_200):
            found = re.search(r"running on (http://[\d.:]+)", log.read_text())
            if found:
                break
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended with {process.wait(0.1)}: {log.read_text()}")
        assert found, log.read_text()
        yield RealServer(found[1])
    finally:
        process.kill()
        process.wait()


#: A group's post, the first being 0 → status and bytes of its answer; None: none comes.
Script = Callable[[int, BaseHTTPRequestHandler], tuple[int, bytes] | None]
RECEIVED = 200, b'{"status":"received"}'


class PoorServer(ThreadingHTTPServer):
    """See above.

    Attributes:
        script: gives the answers to posts.
        answers: path → status and value, for other requests.
        posted: root and place of each group that came, in order.
    """

    daemon_threads = True

    def __init__(self, script: Script = lambda number, handler: RECEIVED, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.script = script
        self.answers: dict[str, tuple[int, Any]] = {
            "/info": (200, {"batch_size": 8, "max_token_len": 4_096}),
            "/status": (200, {"current_step": 0, "queue_size": 0}),
            "/register-env": (200, {"status": "success", "env_id": 0}),
            "/disconnect-env": (200, {"status": "success"}),
        }
        self.posted: list[tuple[bytes, int]] = []
        self.came = threading.Event()  # a post that is not answered
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Ignore errors: the client may be gone."""

    def close(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: PoorServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(*self.server.answers[self.path])

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Encoding"] == "gzip"
        value = json.loads(gzip.decompress(data))
        if self.path != "/scored_data":
            return self._answer(*self.server.answers[self.path])
        reference = value["group_overrides"]["assay"]
        number = len(self.server.posted)
        self.server.posted.append((bytes.fromhex(reference["root"]), reference["group"]))
        found = self.server.script(number, self)
        if found is None:
            self.server.came.set()
            self.server.ended.wait(60)
            self.close_connection = True
            return None
        return self._answer(*found)

    def _answer(self, status: int, value: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""
