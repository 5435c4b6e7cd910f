"""A link between two processes of this machine, slow on purpose, and their messages over it.

`Relay` is a leaky bucket between two TCP connections: each side's bytes leave it at a fixed rate
and arrive after a fixed delay, independently each way. It models a link that never loses a packet
and whose windows are open from the first byte: a real one is slower. The kernel's own netem would
do the same, but is not on every machine; a relay needs no root rights. `Wire` is an end: separate
threads send and receive messages of bytes, so that computation does not wait for sending.
"""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread
from time import monotonic, perf_counter, sleep

_LENGTH = struct.Struct("<Q")
_CHUNK = 16 << 10
#: Bytes that the relay takes before their turn, like a card's own queue.
_QUEUED = 32 << 10
#: Most chunks under way. 30 ms at 100 Mbit/s are 23; further ones wait in the sender's kernel.
_UNDER_WAY = 256
#: Seconds that one process waits for the other; most bytes of a message.
PATIENCE_S, MESSAGE_MAX = 1_800, 1 << 30


class Relay:
    """A relay between the first two connections to `port`.

    Args:
        rate: bits per second, each way; 0: without limit.
        delay_s: seconds, each way.

    Attributes:
        passed: bytes from the first connection and from the second.
    """

    def __init__(self, rate: float, delay_s: float) -> None:
        self._rate, self._delay_s = rate / 8, delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]
        self.passed = [0, 0]
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Accept no more connections. The relay ends once both ends are gone."""
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):  # closed before both connected
            ends = [self._listener.accept()[0] for _ in range(2)]
            for way, (source, target) in enumerate((ends, ends[::-1])):
                due: Queue[tuple[float, bytes]] = Queue(_UNDER_WAY)
                Thread(target=self._take, args=(way, source, due), daemon=True).start()
                Thread(target=self._give, args=(target, due), daemon=True).start()

    def _take(self, way: int, source: socket.socket, due: "Queue[tuple[float, bytes]]") -> None:
        """Read no faster than it sends, and queue each chunk with its due time."""
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        free = monotonic()  # when everything taken so far has left
        data = b"."
        while data:
            with suppress(ConnectionError):
                data = source.recv(_CHUNK)
            self.passed[way] += len(data)
            if self._rate:
                now = monotonic()
                free = max(free, now) + len(data) / self._rate
                sleep(max(0.0, free - _QUEUED / self._rate - now))
            due.put((max(free, monotonic()) + self._delay_s, data))

    def _give(self, target: socket.socket, due: "Queue[tuple[float, bytes]]") -> None:
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            at, data = due.get()
            if self._rate or self._delay_s:
                sleep(max(0.0, at - monotonic()))
            with suppress(OSError):
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)


class Wire:
    """One end of a link.

    Attributes:
        sent: bytes, including the lengths of messages.
        waited: seconds that `receive` waited.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._out: Queue[bytes | None] = Queue()
        self._in: Queue[bytes | None] = Queue()
        self._threads = [self._start(self._send), self._start(self._receive)]
        self.sent = 0
        self.waited = 0.0

    def count(self) -> dict[str, float]:
        """Both numbers so far."""
        return {"sent": self.sent, "waited": self.waited}

    def send(self, message: bytes) -> None:
        """Pass a message to the thread that sends."""
        self.sent += _LENGTH.size + len(message)
        self._out.put(message)

    def receive(self, wait: bool = True) -> bytes | None:
        """The next message; None if there is none yet and `wait` is False.

        Raises:
            ConnectionError: the other end is gone, or silent for too long.
        """
        began = perf_counter()
        try:
            message = self._in.get(wait, PATIENCE_S)
        except Empty:
            if wait:
                raise ConnectionError(f"the other end is silent for {PATIENCE_S} s") from None
            return None
        self.waited += perf_counter() - began
        if message is None:
            raise ConnectionError("the other end is gone")
        return message

    def close(self) -> None:
        """Close the end once everything is sent."""
        self._out.put(None)
        self._threads[0].join(PATIENCE_S)
        self._socket.close()

    @staticmethod
    def _start(run: Callable[[], None]) -> Thread:
        thread = Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _send(self) -> None:
        with suppress(OSError):
            while (message := self._out.get()) is not None:
                self._socket.sendall(_LENGTH.pack(len(message)))
                self._socket.sendall(message)
            self._socket.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        with suppress(OSError), self._socket.makefile("rb") as file:
            while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                if length > MESSAGE_MAX or len(message := file.read(length)) < length:
                    break
                self._in.put(message)
        self._in.put(None)
