"""The sockets on which processes wait for others, as Linux lists them."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

#: /proc/net's number of a TCP socket that listens, and of a UDP one that is bound and unconnected.
_WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
#: Its mark of a UNIX socket that listens.
_ACCEPTS = 1 << 16


@dataclass(frozen=True, slots=True)
class Door:
    """A socket that takes connections or datagrams.

    Attributes:
        kind: tcp, tcp6, udp, udp6 or unix.
        address: an IP address, or @name in the abstract space, which has no owner.
        process: its command.
    """

    kind: str
    address: str
    port: int
    process: str

    @property
    def is_private(self) -> bool:
        """Whether no other machine reaches it, and, of UNIX sockets, no other user."""
        if self.kind == "unix":
            return False
        address = ip_address(self.address)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address).is_loopback


def list_family(root: int) -> list[int]:
    """A process and all below it."""
    family = [root]
    with suppress(OSError):
        for task in Path(f"/proc/{root}/task").iterdir():
            for child in (task / "children").read_text().split():
                family += list_family(int(child))
    return family


def list_doors(roots: Iterable[int]) -> list[Door]:
    """The doors of processes and of all below them, each once."""
    found = {}
    for process in {member for root in roots for member in list_family(root)}:
        with suppress(OSError):
            held = _list_sockets(process)
            command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for inode, kind, address, port in _list_waiting(process):
                if inode in held:
                    found[inode] = Door(kind, address, port, command.strip())
    return list(found.values())


def _list_sockets(process: int) -> set[str]:
    held = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            held.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    return held


def _list_waiting(process: int) -> Iterator[tuple[str, str, str, int]]:
    """Inode, kind, address and port of all sockets that wait in a process's network."""
    net = Path(f"/proc/{process}/net")
    for kind, waiting in _WAITING.items():
        for line in (net / kind).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == waiting:
                address, port = words[1].split(":")
                yield words[9], kind, _read_address(address), int(port, 16)
    for line in (net / "unix").read_text().splitlines()[1:]:
        words = line.split(maxsplit=7)
        if int(words[3], 16) & _ACCEPTS and len(words) == 8 and words[7].startswith("@"):
            yield words[6], "unix", words[7], 0


def _read_address(text: str) -> str:
    """An address that is in hexadecimal, in words of this machine's byte order."""
    data = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    return str(ip_address(data))


def knock(host: str, port: int, data: bytes) -> bool:
    """Connect, send bytes and close. Return whether anybody took the connection."""
    try:
        with socket.create_connection((host, port), 5) as stranger:
            with suppress(OSError):
                stranger.sendall(data)
                stranger.settimeout(0.2)
                stranger.recv(1 << 12)
            return True
    except OSError:
        return False
