"""The processes of a stage, each as forked: the devnet, the beacon, the three neurons.

The neurons are the real programs, from `join` to their loops. What is theirs alone is time, which
is the chain's, and the pause of a loop that has nothing to do: there it waits for its turn.
"""

import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from websockets.asyncio.server import ServerConnection

from assay.network.beacon import LocalBeacon, http_beacons
from assay.network.beacon.server import BeaconServer
from assay.network.chain import connection, sdk_private
from assay.network.chain import subtensor as subtensor_chain
from assay.network.store.folder import FolderStore
from assay.neurons.miner import program as miner_program
from assay.neurons.miner.program import run_miner
from assay.neurons.preflight import starting
from assay.neurons.program import running
from assay.neurons.trainer import trainer
from assay.neurons.trainer.program import run_trainer
from assay.neurons.validator import weights_outbox
from assay.neurons.validator.program import run_validator
from assay.session import session
from assay.settings.sections import Settings
from assay.verification.episodes import Episode
from subtensor_devnet import Devnet, Seal
from subtensor_devnet.rpc_server import RpcServer
from tests.killing.points import STEP, TURN, Points, WatchedSocket

#: A pool dies with its node here, so a lost extrinsic is known to be lost after this many blocks.
DOUBT_BLOCKS = 2
_PR_SET_PDEATHSIG = 1


def run_devnet(pipe: Any, folder: Path, port: int, points: Points) -> None:
    """Serves the chain in a folder, and makes blocks as it is told."""
    points.watch()
    _watch_server(points)
    devnet = Devnet(folder, port, seal=Seal.MANUAL)
    devnet.start()
    pipe.send("ready")
    while True:
        what, number = pipe.recv()
        if what == "reach":
            while devnet.get_head() < number:
                devnet.new_blocks(1)
            pipe.send(devnet.chain.now_ms)
        elif what == "waiting":
            pipe.send(devnet.ask(devnet.chain.pool.list_signers))


def _watch_server(points: Points) -> None:
    """A request has arrived, an extrinsic's answer is about to leave, an answer has left."""
    answer, send = RpcServer.answer, ServerConnection.send
    names: dict[str, str] = {}

    def hear(self: RpcServer, client: Any, message: str | bytes) -> None:
        text = message.encode() if isinstance(message, str) else message
        name = text.partition(b'"method":')[2].split(b'"')[1].decode()
        points(f"asked {name}")
        names["last"] = name
        answer(self, client, message)

    async def tell(self: ServerConnection, message: Any, **options: Any) -> None:
        told = "update" if '"method"' in message[:60] else f"answer to {names.get('last')}"
        if told == "update" or "author_" in told:
            points(f"tell {told}")
        await send(self, message, **options)
        points(f"told {told}")

    RpcServer.answer = hear  # type: ignore[method-assign]
    ServerConnection.send = tell  # type: ignore[method-assign]


def run_beacon(pipe: Any, seed: bytes, genesis_ms: int, clock: Any) -> None:
    """A relay whose clock is the stage's."""
    server = BeaconServer(LocalBeacon(seed, genesis_ms, 1_000, lambda: int(clock.value)))
    pipe.send(server.url)
    pipe.recv()


class Turn(threading.Event):
    """A loop's pause: the stage is told of it, and ends it."""

    def __init__(self, pipe: Any, points: Points) -> None:
        super().__init__()
        self._pipe = pipe
        self._points = points

    def wait(self, timeout: float | None = None) -> bool:
        self._pipe.send("idle")
        self._pipe.recv()
        self._points(TURN)
        return False


def run_neuron(
    pipe: Any, role: str, settings: Settings, folder: Path, clock: Any, points: Points
) -> None:
    """One program until it is killed."""
    _set_time(clock)
    points.watch()
    points.wrap(FolderStore, "put", "store put")
    points.wrap(FolderStore, "put_parts", "store put_parts")
    points.wrap(FolderStore, "get", "store get")
    points.wrap(FolderStore, "open", "store open")
    points.wrap(http_beacons.HttpBeacons, "get", "beacon")
    points.wrap(Episode, "take_turn", STEP)  # not in proof episodes
    dial = sdk_private.dial

    async def connect(url: str) -> Any:
        points("connect")
        return WatchedSocket(await dial(url), points, lambda: pipe.send("submitted"))

    sdk_private.dial = connect
    weights_outbox.DOUBT_BLOCKS = DOUBT_BLOCKS

    @contextmanager
    def catch_signals(_: Callable[[], None]) -> Iterator[threading.Event]:
        yield Turn(pipe, points)

    running.catch_signals = catch_signals
    run: Any = {"miner": run_miner, "validator": run_validator, "trainer": run_trainer}[role]
    run(settings)


def _set_time(clock: Any) -> None:
    """Set the chain's time as the present time, also for the end of a miner's window, which a busy
    machine would not reach in time, and shorten pauses before a node is asked again; deadlines
    stay."""
    time = SimpleNamespace(
        time=lambda: clock.value / 1e3, monotonic=lambda: clock.value / 1e3, sleep=lambda _: None
    )
    for module in (subtensor_chain, http_beacons, trainer, miner_program):
        module.time = time  # type: ignore[attr-defined]
    session.now_ms = starting.now_ms = lambda: int(clock.value)
    connection.FIRST_PAUSE_S = 0.05


def become(log: Path, run: Callable[..., None], *arguments: Any) -> None:
    """Run a forked process: its output goes to a file, and it ends with the stage."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # a fork leaves torch's thread pool to be made anew, which two threads that load a model at the
    # same time get wrong ("Invalid thread pool"): here it is one thread that does it
    torch.set_num_threads(1)
    try:
        run(*arguments)
    except EOFError:  # the stage is over
        pass
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(1)
