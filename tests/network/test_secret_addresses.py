"""An address that holds a key, in its path or before its host: no error, log line or file has it.

Each service fails in all the ways that its client tells apart, and repeats the request wherever an
answer has room for text.
"""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from pydantic import SecretStr

from assay.cli.exits import plain_errors
from assay.cli.start import starting
from assay.explorer.sources.shell_commands import show_address
from assay.network.beacon import BeaconSourceError, HttpBeacons, RelayTimeouts
from assay.network.chain import connection
from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError
from assay.network.chain.target import ChainTarget
from assay.network.evm import EvmNode
from assay.network.store.base import StoreError
from assay.network.store.bucket import open_bucket
from assay.network.store.bucket_service import read_bucket
from assay.network.store.http_client import HttpTimeouts
from assay.network.store.s3_signing import Credentials
from assay.neurons.program.loop import STATUS_FILE, ProgramLoop
from assay.protocol.beacon import QUICKNET
from assay.settings.loading import load_settings

KEY, USER, WORD = "Hunter2ApiKey7f3a9c", "hunter2user", "hunter2word"
SESSION = "hunter2session"
SECRETS = (KEY, USER, WORD, SESSION)

Answer = Callable[[bytes], bytes | None]


def _say(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


#: A server's answers to a request, from its first line; None: it hangs up.
ANSWERS: dict[str, Answer] = {
    "hangs up": lambda line: None,
    "not an http": lambda line: b"what is " + line + b"\r\n\r\n",
    "not allowed": lambda line: _say("403 Forbidden", f"{line!r} is not a key of ours"),
    "a reason": lambda line: b"HTTP/1.1 401 " + line + b" is not a key of ours\r\n\r\n",
    "too many": lambda line: _say("429 Too Many Requests", repr(line)),
    "broken": lambda line: _say("500 Internal Server Error", repr(line)),
    "elsewhere": lambda line: _say("302 Found", "", f"Location: http://127.0.0.1:9/{KEY}"),
    "no json": lambda line: _say("200 OK", f"{line!r} is what you ask"),
    "a refusal": lambda line: _say(
        "200 OK",
        json.dumps(
            {"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": f"bad key: {line!r}"}}
        ),
    ),
    "lying length": lambda line: _say("200 OK", "").replace(b": 0", b": 99") + line,
    "odd header": lambda line: _say("200 OK", "", f"Hunter2 {line!r}"),
}


class Server:
    """Says one thing to all."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.asked = 0
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            with suppress(OSError):
                try:
                    connection = self._socket.accept()[0]
                except OSError:
                    return
                with connection:
                    connection.settimeout(1.0)
                    line = connection.recv(65_536).partition(b"\r\n")[0]
                    self.asked += 1
                    if (said := self._answer(line)) is not None:
                        connection.sendall(said)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture(params=ANSWERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with closing(Server(ANSWERS[request.param])) as server:
        yield server


def list_hosts(server: Server) -> list[str]:
    """One that answers, one where nobody listens, one that has no address."""
    return [f"127.0.0.1:{server.port}", "127.0.0.1:9", "nobody.invalid"]


def require_silence(caplog: pytest.LogCaptureFixture, folder: Path, *errors: BaseException) -> None:
    """Check a program's output: messages at any level, and its files. Causes are shown, too, where
    a thread fails, and are not checked: only our own code raises them."""
    told = [str(error) for error in errors] + [repr(error) for error in errors]
    own = [record for record in caplog.records if record.name.startswith("assay")]
    told += [record.getMessage() for record in own]
    told += [str(path) for path in folder.rglob("*")]
    data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret not in "\n".join(told)
        assert secret.encode() not in data


def fail_in_loop(error: Exception, folder: Path) -> None:
    """Has a neuron's loop meet an error, say it and write it into its status."""

    def step() -> bool:
        stop.set()
        raise error

    stop = threading.Event()
    neuron: Any = SimpleNamespace(step=step, trouble=None)
    ProgramLoop(neuron, folder, stop, lambda loop: loop(), lambda: None).run()
    assert (folder / STATUS_FILE).is_file()


@pytest.fixture(autouse=True)
def loud(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def test_a_chain_node(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr(connection, "FIRST_PAUSE_S", 0.01)
    for host in list_hosts(server):
        for url in (f"ws://{USER}:{WORD}@{host}/{KEY}", f"wss://{host}/v1/{KEY}?key={WORD}"):
            with pytest.raises(ChainError) as caught:
                Connection(ChainTarget((url, url + "2"), patience_s=0.1, deadline_s=1.0))
            fail_in_loop(caught.value, tmp_path)
            require_silence(caplog, tmp_path, caught.value)
    assert server.asked
    with pytest.raises(ChainError) as caught:
        ChainTarget.from_name(f"http://{USER}:{WORD}@host/{KEY}")
    require_silence(caplog, tmp_path, caught.value)


def test_a_relay_of_beacons(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    urls = [f"http://{host}/{KEY}" for host in list_hosts(server)]
    patience = RelayTimeouts(answer_s=0.3, total_s=0.5, stagger_s=0.01, pause_s=0.01)
    beacons = HttpBeacons(QUICKNET, urls, tmp_path / "beacons", lambda: 1_800_000_000_000, patience)
    with closing(beacons):
        assert beacons.get(1_000) is None
        faults = beacons.check()
        trouble = f"{beacons.trouble} {faults}"
    assert server.asked
    require_silence(caplog, tmp_path, ChainError(trouble))
    with pytest.raises(BeaconSourceError) as caught:
        HttpBeacons(QUICKNET, [f"https://{USER}:{WORD}@host"], tmp_path / "b", lambda: 0)
    require_silence(caplog, tmp_path, caught.value)


def test_a_bucket(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    patience = HttpTimeouts(total_s=1, tries=1)
    for host in list_hosts(server):
        address = read_bucket("s3://bucket/x", f"http://{host}/{KEY}", "auto")
        credentials = Credentials(SecretStr(USER), SecretStr(WORD), SecretStr(SESSION))
        store = open_bucket(address, credentials, patience=patience)
        uses: list[Callable[[], Any]] = [
            partial(store.put, "x", b"x"),
            partial(store.get, "x", 9),
            store.list,
            partial(store.delete, "x"),
        ]
        for use in uses:
            with suppress(StoreError):  # some answers are a success to some
                use()
                continue
            with pytest.raises(StoreError) as caught:
                use()
            fail_in_loop(caught.value, tmp_path)
            require_silence(caplog, tmp_path, caught.value)
    assert server.asked
    with pytest.raises(StoreError) as caught:
        read_bucket("s3://bucket", f"https://{USER}:{WORD}@host/{KEY}", "auto")
    require_silence(caplog, tmp_path, caught.value)


def test_a_node_of_the_evm(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for host in list_hosts(server):
        for user in ("", f"{USER}:{WORD}@"):
            with closing(EvmNode(f"http://{user}{host}/{KEY}", 945)) as node:
                for use in (node.require_chain, node.get_head):
                    with pytest.raises(ChainError) as caught:
                        use()
                    fail_in_loop(caught.value, tmp_path)
                    require_silence(caplog, tmp_path, caught.value)
    assert server.asked


def test_the_output_of_commands_and_pages(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"wss://{USER}:{WORD}@node.example:443/{KEY}?key={WORD}"
    with starting(load_settings(None, {"chain": {"network": url, "netuid": 3}}), opens=True):
        pass
    told = capsys.readouterr().err
    assert "subnet 3 of wss://node.example:443 …" in told
    ChainTarget((url,))
    with pytest.raises(typer.Exit), plain_errors():
        raise RuntimeError(f"a defect at {url}")
    told += capsys.readouterr().err
    assert "this is a defect in assay" in told
    for address in (url, f"wss://node.example/{KEY}", f"wss://{USER}@node.example"):
        assert show_address(address, "wss://CHAIN-NODE") == "wss://CHAIN-NODE"
    for plain in ("finney", "ws://127.0.0.1:9944", "wss://node.example/"):
        assert show_address(plain, "wss://CHAIN-NODE") == plain
    for secret in SECRETS:
        assert secret not in told
