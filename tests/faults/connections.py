"""Connections that give up soon, and two development nodes of one history."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from websockets.sync.client import connect

from assay.network.chain.connection import Connection
from assay.network.chain.target import ChainTarget
from subtensor_devnet import Devnet, Seal

#: Clients that give up soon; a node on this machine, busy as it may be, answers before.
SOON = ChainTarget((), deadline_s=1.0, patience_s=2.0, head_s=2.0)
#: Nobody is left for being slow.
CALM = {"deadline_s": 20.0, "patience_s": 60.0, "head_s": 60.0}

Twins = tuple[Devnet, Devnet]


def open_connection(stack: ExitStack, *endpoints: str, **limits: float) -> Connection:
    target = replace(SOON, endpoints=endpoints, **limits)
    return stack.enter_context(closing(Connection(target, seed=1)))


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def open_twins(folder: Path, age_s: float = 0.0) -> Iterator[Twins]:
    """Two nodes of one chain, of one history up to block 6; 5 is final. A block comes each second
    of virtual time, the first one so long ago."""
    first, second = folder / "a", folder / "b"
    genesis_ms = int((time.time() - age_s) * 1e3)
    with Devnet(first, block_time=1.0, seal=Seal.MANUAL, genesis_ms=genesis_ms) as devnet:
        devnet.new_blocks(6)
    shutil.copytree(first, second)
    with (
        Devnet(first, block_time=1.0, seal=Seal.MANUAL) as one,
        Devnet(second, block_time=1.0, seal=Seal.MANUAL) as other,
    ):
        yield one, other


def set_time(devnet: Devnet, at_ms: int) -> None:
    """The time of the next block, Unix milliseconds."""
    request = {"jsonrpc": "2.0", "id": 1, "method": "dev_setTime", "params": [at_ms]}
    with connect(devnet.endpoint) as node:
        node.send(json.dumps(request))
        assert "result" in json.loads(node.recv(30))


def part(twins: Twins, count: int) -> None:
    """From here on each has a history of its own."""
    set_time(twins[1], int(time.time() * 1e3) + 10**6)
    for devnet in twins:
        devnet.new_blocks(count)
