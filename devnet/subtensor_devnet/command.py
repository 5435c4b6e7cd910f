"""The command `subtensor-devnet`: serves a chain until Ctrl-C or SIGTERM.

It exits with 0 when it is stopped, and with 2 and one line on standard error when a flag is wrong,
or when the chain cannot start or go on.
"""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from bittensor_core import Keypair

from subtensor_devnet.chain import DEVELOPMENT_KEYS, INITIAL_BALANCE
from subtensor_devnet.errors import DevnetError
from subtensor_devnet.metadata import SPEC_VERSION
from subtensor_devnet.node import Devnet, Seal

_PROGRAM = "subtensor-devnet"
#: The SDK's port of a local chain.
_PORT = 9_944
_SEALS = {"clock": Seal.TIMER, "instant": Seal.INSTANT, "manual": Seal.MANUAL}
#: Seconds between two checks for a signal, and that the chain still runs.
_CHECK_S = 0.1
_RAO_PER_TAO = 10**9


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help lists the flags\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status."""
    flags = _make_parser().parse_args(arguments)
    _log_to_stderr(verbose=flags.verbose)
    with _catch_signals() as received:
        try:
            _serve(flags, received)
        except DevnetError as error:
            print(f"{_PROGRAM}: {error}", file=sys.stderr)
            return 2
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Serve a simulated subtensor to the bittensor SDK, btcli and polkadot.js.",
    )
    add = parser.add_argument
    add("--dir", type=Path, help="store the chain here and continue it; else a temporary folder")
    add("--port", type=int, default=_PORT, help=f"default {_PORT}; 0 takes any free one")
    add("--host", default="127.0.0.1", help="address to listen on; default 127.0.0.1")
    add("--block-time", type=float, default=1.0, metavar="S", help="seconds; default 1")
    add(
        "--seal",
        choices=_SEALS,
        default="clock",
        help="make blocks by the clock (default), with each extrinsic, or on dev_newBlock only",
    )
    add(
        "--finality-lag",
        type=int,
        default=1,
        metavar="N",
        help="blocks after which one is final; default 1; always 0 with --seal instant",
    )
    add("--json", action="store_true", help="print the description as one line of JSON")
    add("--verbose", action="store_true", help="log more, also what the simulator leaves out")
    add("--version", action="version", version=f"{_PROGRAM} {version(_PROGRAM)}")
    return parser


def _serve(flags: argparse.Namespace, received: Sequence[int]) -> None:
    with _open_folder(flags.dir) as folder:
        devnet = Devnet(
            folder,
            flags.port,
            flags.block_time,
            seal=_SEALS[flags.seal],
            finality_lag=flags.finality_lag,
            host=flags.host,
        )
        try:
            devnet.start()
            document = _describe(devnet, folder, flags)
            text = json.dumps(document) if flags.json else _format(document)
            print(text, flush=True)
            while devnet.is_running and not received:
                time.sleep(_CHECK_S)
        finally:
            devnet.close()  # raises what has stopped it by itself


@contextmanager
def _open_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder.absolute()
        return
    with TemporaryDirectory(prefix=f"{_PROGRAM}-") as temporary:
        yield Path(temporary)


def _describe(devnet: Devnet, folder: Path, flags: argparse.Namespace) -> dict[str, Any]:
    return {
        "endpoint": devnet.endpoint,
        "http": devnet.endpoint.replace("ws://", "http://", 1),
        "genesis_hash": "0x" + devnet.genesis_hash.hex(),
        "block": devnet.get_head(),
        "block_time": flags.block_time,
        "dir": str(folder),
        "temporary": flags.dir is None,
        "accounts": [
            {"uri": uri, "address": Keypair.create_from_uri(uri).ss58_address}
            for uri in DEVELOPMENT_KEYS
        ],
        "root": DEVELOPMENT_KEYS[0],
        "spec_version": SPEC_VERSION,
        "version": version(_PROGRAM),
        "pid": os.getpid(),
    }


def _format(document: dict[str, Any]) -> str:
    accounts = "\n".join(
        f"  {account['uri']:<10} {account['address']}{'  root' * (number == 0)}"
        for number, account in enumerate(document["accounts"])
    )
    end = " and deletes it" if document["temporary"] else "; the same command continues it"
    return f"""\
subtensor-devnet {document["version"]}, spec {document["spec_version"]}: a simulator, not a node
endpoint  {document["endpoint"]} and {document["http"]}
chain     block {document["block"]}, then one every {document["block_time"]:g} s
genesis   {document["genesis_hash"]}
folder    {document["dir"]}
accounts  {INITIAL_BALANCE // _RAO_PER_TAO:,} TAO each in a new chain; everybody knows their keys
{accounts}
Ctrl-C stops the chain{end}."""


@contextmanager
def _catch_signals() -> Iterator[Sequence[int]]:
    """The signals that were received, of SIGINT and SIGTERM. A second one ends the process at once.

    No `threading.Event`: a handler that sets one deadlocks where it interrupts its `wait`.
    """
    received: list[int] = []
    before: dict[int, Any] = {}

    def handle(number: int, _: object) -> None:
        received.append(number)
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield received
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)


def _log_to_stderr(*, verbose: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    package = logging.getLogger("subtensor_devnet")
    package.handlers, package.propagate = [handler], False
    package.setLevel(logging.DEBUG if verbose else logging.WARNING)
