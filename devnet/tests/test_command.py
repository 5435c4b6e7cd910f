"""The command `subtensor-devnet`, in processes of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

COMMAND = [sys.executable, "-m", "subtensor_devnet"]


@contextmanager
def serve(*flags: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The running command on any port, and its JSON document."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--json", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.terminate()  # a killed one would leave its temporary folder
        process.communicate(timeout=30)


def end(process: subprocess.Popen[str], number: int) -> str:
    """Its log, after a signal by which it ends as it should."""
    process.send_signal(number)
    out, log = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    return log


def run(*flags: str) -> tuple[int, str, str]:
    done = subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def ask(document: dict[str, Any], method: str, *params: Any) -> Any:
    with connect(document["endpoint"], max_size=None) as node:
        node.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        return json.loads(node.recv(timeout=10))["result"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_leaves_nothing(number: int) -> None:
    with serve() as (process, document):
        assert ask(document, "chain_getBlockHash", 0) == document["genesis_hash"]
        folder = Path(document["dir"])
        assert document["temporary"] is True
        assert folder.is_dir()
        log = end(process, number)
    assert (
        log == f"WARNING: {document['endpoint']}: a development simulator, not a subtensor node\n"
    )
    assert not folder.exists()


def test_the_document_names_the_accounts_of_a_new_chain() -> None:
    with serve() as (process, document):
        assert process.pid == document["pid"]
        accounts = {account["uri"]: account["address"] for account in document["accounts"]}
        assert list(accounts) == ["//Alice", "//Bob", "//Charlie"]
        assert document["root"] == "//Alice"
        assert accounts["//Alice"] == "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        assert ask(document, "system_accountNextIndex", accounts["//Bob"]) == 0


def test_a_named_folder_is_continued(tmp_path: Path) -> None:
    flags = ("--dir", str(tmp_path / "chain"), "--seal", "manual")
    with serve(*flags) as (process, first):
        ask(first, "dev_newBlock", 5)
        end(process, signal.SIGINT)
    with serve(*flags) as (process, again):
        assert again["genesis_hash"] == first["genesis_hash"]
        assert (first["block"], again["block"], again["temporary"]) == (0, 5, False)


def test_a_person_gets_the_same_in_lines(tmp_path: Path) -> None:
    command = [*COMMAND, "--port", "0", "--dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] and not lines[-1].startswith("Ctrl-C"):
            lines.append(process.stdout.readline())
        end(process, signal.SIGINT)
    assert "a simulator, not a node" in lines[0]
    assert f"folder    {tmp_path}\n" in lines
    assert "  //Alice    5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY  root\n" in lines
    assert lines[-1] == "Ctrl-C stops the chain; the same command continues it.\n"


def test_every_limit_is_told_to_who_asks_for_more() -> None:
    with serve("--verbose") as (process, _):
        assert "It does not have:" in end(process, signal.SIGINT)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--port", "65536"), "65536 is no port"),
        (("--port", "x"), "argument --port: invalid int value"),
        (("--block-time", "0"), "0 s between blocks"),
        (("--block-time", "nan"), "nan s between blocks"),
        (("--finality-lag", "-1"), "a finality lag of -1 blocks"),
        (("--seal", "never"), "argument --seal: invalid choice"),
        (("--no-such-flag",), "unrecognized arguments: --no-such-flag"),
        (("--host", "192.0.2.1"), "cannot listen on ws://192.0.2.1:9944"),
        (("--dir", os.devnull), "cannot open the development network"),
    ],
)
def test_an_error_is_one_line_and_exit_status_2(flags: tuple[str, ...], message: str) -> None:
    status, out, error = run(*flags)
    assert (status, out) == (2, "")
    assert error.startswith(f"subtensor-devnet: {message}")
    assert error.count("\n") == 1


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, _, error = run("--port", str(port))
    line = f"subtensor-devnet: cannot listen on ws://127.0.0.1:{port}: Address already in use\n"
    assert (status, error) == (2, line)


def test_a_folder_that_another_process_serves(tmp_path: Path) -> None:
    with serve("--dir", str(tmp_path)):
        status, _, error = run("--dir", str(tmp_path), "--port", "0")
    assert status == 2
    assert "stop the other one in this folder" in error
    assert error.count("\n") == 1


def test_help_lists_every_flag() -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert {"--dir", "--port", "--block-time", "--json"} <= set(out.replace(",", " ").split())
