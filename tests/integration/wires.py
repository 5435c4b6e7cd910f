"""Several hosts on one machine: network namespaces, joined by wires that delay and lose packets.

Each namespace has a TUN device whose other end is a switch in this process: it hands every IP
packet on late, or not at all. `tc netem` does the same in kernels that have it; this works in any
that has TUN. What listens on a host's loopback only is reached through a forwarder at each end.
"""

import asyncio
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

_TUN = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
#: Bytes of the largest packet read, and packets on their way at once.
_PACKET, _QUEUE = 65_535, 10_000


class Hosts:
    """Namespaces by name, each with an address, until they are closed.

    Args:
        delay_s: of each packet in each direction.
        loss: share of packets that are lost.

    Attributes:
        carried, lost: packets so far.

    Raises:
        OSError: this machine lets us make none: see `find_lack`.
    """

    def __init__(self, names: tuple[str, ...], delay_s: float, loss: float, seed: int = 0) -> None:
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
        self.carried = self.lost = 0
        self._delay_s = delay_s
        self._loss = loss
        self._draw = random.Random(seed)
        self._ended = threading.Event()
        self._ends: dict[bytes, int] = {}
        self._stack = ExitStack()
        with ExitStack() as stack:
            for name, address in self.addresses.items():
                stack.enter_context(_Namespace(self.get_namespace(name)))
                end = _open_tun(self.get_namespace(name))
                stack.callback(os.close, end)
                self._ends[bytes(map(int, address.split(".")))] = end
                self.run(name, "ip", "address", "add", f"{address}/24", "dev", "tun0")
                for device in ("tun0", "lo"):
                    self.run(name, "ip", "link", "set", device, "up")
            self._stack = stack.pop_all()
        self._thread = threading.Thread(target=self._carry, name="switch", daemon=True)
        self._thread.start()

    def get_namespace(self, name: str) -> str:
        """The name of a host for `ip netns`."""
        return f"assay-{os.getpid()}-{name}"

    def enter(self, name: str) -> list[str]:
        """The beginning of a command line that runs on a host."""
        return ["ip", "netns", "exec", self.get_namespace(name)]

    def run(self, name: str, *command: str) -> None:
        """Runs something short on a host."""
        subprocess.run([*self.enter(name), *command], check=True, timeout=60, capture_output=True)

    def forward(self, name: str, listen: str, to: str, port: int) -> None:
        """Has a port of an address on a host lead to the same port of another address."""
        command = [*self.enter(name), sys.executable, __file__]
        process = subprocess.Popen([*command, listen, to, str(port)], stdout=subprocess.PIPE)
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline()  # it listens

    def close(self) -> None:
        """Ends wires, forwarders and namespaces."""
        self._ended.set()
        self._thread.join(60)
        self._stack.close()

    def _carry(self) -> None:
        due: list[tuple[float, int, int, bytes]] = []
        order = itertools.count()
        while not self._ended.is_set():
            pause = 0.2 if not due else max(0.0, due[0][0] - time.monotonic())
            ready, _, _ = select.select(list(self._ends.values()), [], [], min(0.2, pause))
            now = time.monotonic()
            for end in ready:
                packet = os.read(end, _PACKET)
                target = self._ends.get(packet[16:20])
                if packet[0] >> 4 != 4 or target is None:
                    continue  # IPv6 looking for neighbours
                if self._draw.random() < self._loss or len(due) >= _QUEUE:
                    self.lost += 1
                    continue
                self.carried += 1
                heapq.heappush(due, (now + self._delay_s, next(order), target, packet))
            while due and due[0][0] <= now:
                _, _, target, packet = heapq.heappop(due)
                with suppress(OSError):  # a wire whose other end is full loses it
                    os.write(target, packet)


class _Namespace:
    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        subprocess.run(["ip", "netns", "add", self._name], check=True, timeout=60)

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "netns", "del", self._name], check=False, timeout=60)


def _open_tun(namespace: str) -> int:
    """A namespace's `tun0`: the end that packets come out of and go into."""
    found: list[int | OSError] = []

    def run() -> None:  # a thread of its own is in another namespace, and the rest is not
        try:
            with open(f"/run/netns/{namespace}") as place:
                if _LIBC.setns(place.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            end = os.open(_TUN, os.O_RDWR)
            request = struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(end, _TUNSETIFF, request)
            found.append(end)
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    (end,) = found
    if isinstance(end, OSError):
        raise end
    return end


def find_lack() -> str | None:
    """The reason why this machine has no namespaces and wires, or None if it has."""
    if not _TUN.exists():
        return "needs /dev/net/tun (CONFIG_TUN)"
    try:
        with ExitStack() as stack:
            name = f"assay-{os.getpid()}-try"
            stack.enter_context(_Namespace(name))
            os.close(_open_tun(name))
    except FileNotFoundError:
        return "needs iproute2: apt-get install iproute2"
    except (OSError, subprocess.SubprocessError) as error:
        return f"needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN: {error}"
    return None


async def _serve(listen: str, to: str, port: int) -> None:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(to, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(handle, listen, port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
