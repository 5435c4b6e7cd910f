"""A development network in this process: a thread that serves a chain stored in a folder."""

import asyncio
import contextlib
import logging
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from websockets.asyncio.server import serve

from subtensor_devnet.block_database import BlockDatabase
from subtensor_devnet.chain import DevnetChain
from subtensor_devnet.errors import DevnetError, RpcError
from subtensor_devnet.json_rpc import MESSAGE_BYTES
from subtensor_devnet.metadata import load_metadata
from subtensor_devnet.pallets.coinbase import Consensus
from subtensor_devnet.rpc import RpcMethods
from subtensor_devnet.rpc_server import RpcServer, connections_logger
from subtensor_devnet.runtime_apis import RuntimeApis
from subtensor_devnet.scale_codec import ScaleCodec
from subtensor_devnet.shared_port import SharedPort, refuse_plain_get
from subtensor_devnet.yuma import compute_epoch

logger = logging.getLogger("subtensor_devnet")

T = TypeVar("T")

#: A drand round of quicknet → its signature, None where it is not to be had yet. May take a while.
PulseSource = Callable[[int], bytes | None]

#: Longest wait for the thread to come up, to answer, or to end.
_WAIT_S = 60.0
#: Pause between two looks for drand rounds that weights wait for.
_PULSE_PAUSE_S = 1.0
#: Seconds between pings of a websocket, and until one without an answer ends the connection, about
#: as nodes have it: a client with one thread answers none while it decodes metadata. Source:
#: polkadot-sdk, substrate/client/rpc-servers/src/lib.rs, `PingConfig`.
_PING_S, _PONG_S = 30.0, 120.0
_FILE = "devnet.sqlite"
_LAST_PORT = 65_535
#: Seconds between blocks.
_LEAST_BLOCK_S, _MOST_BLOCK_S = 0.001, 86_400

DESCRIPTION = """\
This is a development simulator of a subtensor chain, not a node. Its metadata is a real runtime's
(spec 461), and the unchanged SDK connects to it; its inside is a new implementation of the
runtime's public source. Signatures, nonces, lifetimes, fees, errors, events and state at every
block are as on a chain. It has one author, no peers and no forks. It does not have:
- the root network, TAO emission into pools, root dividends, baskets, tao weight;
- children and parents, locks, collateral, leases, crowdloans, limit orders, proxies, multisigs;
- mechanisms other than the main one, Yuma3, liquid alpha, Null consensus, legacy commit-reveal;
- coldkey swaps, dissolving or pruning subnets, identities, axons, proof-of-work registration;
- EVM, contracts, the scheduler, runtime upgrades;
- weights of calls: every call that pays costs the same, plus a rao a byte;
- a pool that bans or replaces by tip; an extrinsic with a future nonce is called ready, and waits;
- Merkle roots: state and extrinsics roots bind their contents but prove nothing; a block's hash
  does not depend on signatures, so that the same calls make the same chain.
A missing call fails with System.CallFiltered; a missing runtime call fails with an error."""


class Seal(Enum):
    """When blocks are made."""

    TIMER = "by the clock"
    INSTANT = "with every extrinsic, and on demand"  # virtual time
    MANUAL = "on demand"  # virtual time


class Devnet:
    """One network. Its methods may be called from any thread but its own.

    Args:
        folder: where the chain is stored; a new one begins where there is none.
        port: to listen on; 0 takes a free one.
        block_time: seconds between blocks, which clients read from the metadata. Belongs to the
            chain: it cannot be changed later.
        seal: when blocks are made. Unless by the clock time is virtual: each block is one
            `block_time` later.
        genesis_ms: timestamp of block 0, Unix milliseconds; now, where there is none given.
        finality_lag: a block is final when so many have followed it; 0 where extrinsics make
            blocks, for nothing would follow.
        pulses: asked for the drand rounds that timelocked weights wait for.
        consensus: what an epoch makes of stakes and weights.
        secret: 32 bytes from which a new chain's hashes and its author's keys follow, with its
            timestamps and what is sent to it; drawn, where there is none given.

    Raises:
        DevnetError: the folder is another process's, or of a network with another block time.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        port: int = 0,
        block_time: float = 1.0,
        *,
        seal: Seal = Seal.TIMER,
        genesis_ms: int | None = None,
        finality_lag: int = 1,
        pulses: PulseSource | None = None,
        consensus: Consensus = compute_epoch,
        secret: bytes | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._host, self._port = host, port
        self._seal = seal
        self._pulses = pulses
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ticks = asyncio.Event()
        if not 0 <= port <= _LAST_PORT:
            raise DevnetError(f"{port} is no port: they are 0 to {_LAST_PORT:,}")
        if not _LEAST_BLOCK_S <= block_time <= _MOST_BLOCK_S:
            raise DevnetError(
                f"{block_time:g} s between blocks: name {_LEAST_BLOCK_S:g} to {_MOST_BLOCK_S:,} s"
            )
        if finality_lag < 0:
            raise DevnetError(f"a finality lag of {finality_lag} blocks: name 0 or more")
        slot_ms = round(block_time * 1_000)
        self._database = BlockDatabase(Path(folder) / _FILE)
        stored = self._database.get_setting("slot_ms")
        if stored is not None and int(stored) != slot_ms:
            self._database.close()
            raise DevnetError(
                f"{folder} has a network with a block every {int(stored) / 1_000:g} s: use the "
                "same block time, or another folder"
            )
        self._database.put_setting("slot_ms", str(slot_ms))
        metadata = {version: load_metadata(version, slot_ms) for version in (14, 15)}
        codec = ScaleCodec(metadata[15])
        self.chain = DevnetChain(
            self._database,
            codec,
            consensus,
            _get_wall_ms() if genesis_ms is None else genesis_ms,
            slot_ms,
            0 if seal is Seal.INSTANT else finality_lag,
            secret,
        )
        self._next_ms: int | None = None
        self._methods = RpcMethods(
            self.chain, RuntimeApis(codec, metadata), self.make_blocks, self.set_time, metadata[14]
        )
        self._server = RpcServer(self.chain, self._methods, self._seal_if_due)

    # --- for the program that runs it

    @property
    def endpoint(self) -> str:
        """The address that clients connect to."""
        return f"ws://{self._host}:{self._port}"

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes: another for every network, the same after a restart."""
        return self.chain.genesis_hash

    @property
    def is_running(self) -> bool:
        """Whether it serves; False too once it has come to a stop by itself."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Serves from a thread of its own; comes back when clients may connect. `DevnetError`: the
        port is taken."""
        if self._thread is not None:
            raise DevnetError("the development network is already running")
        ready = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, args=(ready,), name="devnet", daemon=True)
        self._thread.start()
        ready.wait(_WAIT_S)
        failure = self._get_failure()
        if failure is not None:
            self._thread = None
            raise DevnetError(f"cannot listen on {self.endpoint}: {_describe(failure)}")
        logger.warning(
            "%s: a development simulator, not a subtensor node",
            self.endpoint,
            extra={"event": "devnet_started"},
        )
        logger.debug("%s", DESCRIPTION, extra={"event": "devnet_described"})

    def stop(self) -> None:
        """Stops serving; `start` goes on where it was. `DevnetError`: why it had stopped by
        itself."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # it has stopped by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(_WAIT_S)
        if self._failure is not None:
            raise DevnetError(f"the development network came to a stop: {self._failure}")

    def close(self) -> None:
        """Stops serving and lets go of the folder."""
        try:
            self.stop()
        finally:
            self._database.close()

    def __enter__(self) -> "Devnet":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_head(self) -> int:
        """Number of the newest block."""
        return self.ask(lambda: self.chain.head.number)

    def count_waiting(self) -> int:
        """Extrinsics that wait for a block. Costs nothing: it may be asked all the time."""
        return len(self.chain.pool)

    def new_blocks(self, count: int = 1) -> int:
        """Makes blocks at once. The newest one's number."""
        return self.ask(lambda: self.make_blocks(count))

    def start_clock(self) -> None:
        """Has blocks come by the clock from here on, where they came on demand."""

        def start() -> None:
            self._seal = Seal.TIMER
            self._ticks.set()

        self.ask(start)

    def copy_to(self, file: Path) -> None:
        """Writes a copy of the chain's file, as of the newest block, into a new file."""

        def copy() -> None:
            with contextlib.closing(sqlite3.connect(file)) as target:
                self._database.connection.backup(target)

        self.ask(copy)

    def move_time(self, now_ms: int) -> None:
        """Sets the next block's timestamp; see `set_time`."""
        self.ask(lambda: self.set_time(now_ms))

    def add_pulse(self, number: int, signature: bytes) -> bool:
        """Takes a drand round, which the next block stores. False: quicknet did not sign it so."""
        return self.ask(lambda: self.chain.add_pulse(number, signature))

    def set_storage(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes into the newest block's state what no call could: {pallet: {item: value}}, for a
        map {pallet: {item: [[keys, value], …]}}; None removes. `RpcError`: not so in this
        runtime."""
        self.ask(lambda: self._methods.set_storage(values))

    # --- on the network's own thread

    def make_blocks(self, count: int) -> int:
        """Makes blocks at once. The newest one's number."""
        for _ in range(count):
            if self._seal is Seal.TIMER:
                now_ms = _get_wall_ms()
            else:
                following = self.chain.now_ms + self.chain.slot_ms
                now_ms, self._next_ms = self._next_ms or following, None
            self._server.publish(self.chain.make_block(now_ms))
        return self.chain.head.number

    def set_time(self, now_ms: int) -> None:
        """The next block's timestamp; `RpcError`: time is not virtual here, or that time is
        past."""
        if self._seal is Seal.TIMER:
            raise RpcError(-32000, "blocks follow the clock here: time cannot be set")
        if now_ms <= self.chain.now_ms:
            raise RpcError(-32000, f"the newest block is of {self.chain.now_ms}: set a later time")
        self._next_ms = now_ms

    def _get_failure(self) -> BaseException | None:
        return self._failure

    def _seal_if_due(self) -> None:
        if self._seal is Seal.INSTANT and self.chain.has_work():
            self.make_blocks(1)

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except (OSError, DevnetError) as error:
            self._failure = error
            if ready.is_set():  # else `start` raises it
                logger.error(
                    "the development network came to a stop: %s",
                    error,
                    extra={"event": "devnet_failed"},
                )
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ticks = asyncio.Event()
        if self._seal is Seal.TIMER:
            self._ticks.set()
        port = SharedPort(self._server.answer_once)
        server = serve(
            self._server.handle,
            self._host,
            self._port,
            process_request=refuse_plain_get,
            create_connection=port.make_connection,  # type: ignore[arg-type]
            max_size=MESSAGE_BYTES,
            compression=None,
            ping_interval=_PING_S,
            ping_timeout=_PONG_S,
            close_timeout=1.0,
            logger=connections_logger,
        )
        async with server as listening:
            self._port = next(iter(listening.sockets)).getsockname()[1]
            ready.set()
            tasks: list[asyncio.Task[Any]] = [
                asyncio.create_task(self._stop.wait()),
                asyncio.create_task(self._keep_time()),
            ]
            if self._pulses is not None:
                tasks.append(asyncio.create_task(self._fetch_pulses(self._pulses)))
            done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            port.close()
            for task in waiting:
                task.cancel()
            for task in done:
                task.result()

    async def _keep_time(self) -> None:
        """A block every slot; slots that were missed are not made up for."""
        await self._ticks.wait()
        loop, slot_s = asyncio.get_running_loop(), self.chain.slot_ms / 1_000
        due = loop.time() + slot_s
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.make_blocks(1)
            due = max(due + slot_s, loop.time())

    async def _fetch_pulses(self, source: PulseSource) -> None:
        while True:
            for number in sorted(self.chain.list_awaited_rounds()):
                signature = await asyncio.to_thread(source, number)
                if signature is not None and not self.chain.add_pulse(number, signature):
                    logger.warning(
                        "drand round %d came with a signature that is not its",
                        number,
                        extra={"event": "drand_signature_false"},
                    )
            await asyncio.sleep(_PULSE_PAUSE_S)

    def ask(self, work: Callable[[], T]) -> T:
        """Has the network's thread do something; does it here where there is no such thread."""
        if self._thread is None or self._loop is None:
            return work()

        async def run() -> T:
            return work()

        coroutine: Coroutine[Any, Any, T] = run()
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(_WAIT_S)


def _describe(failure: BaseException) -> str:
    """An error in the system's words: asyncio adds addresses to them."""
    if isinstance(failure, OSError) and failure.errno and not isinstance(failure, socket.gaierror):
        return os.strerror(failure.errno)
    return (failure.strerror if isinstance(failure, OSError) else None) or str(failure)


def _get_wall_ms() -> int:
    return time.time_ns() // 1_000_000
