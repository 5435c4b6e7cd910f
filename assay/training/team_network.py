"""The addresses on which a team of several hosts is open, and to whom.

torch's store, gloo and NCCL authenticate nobody, and torchrun listens on all addresses of the
machine, whatever address it is given. So a team starts only where all addresses but the machine's
own are those of one private interface, or where its operator says that the network keeps others
out.
"""

import os
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from assay.training.team_launch import TeamError

_Address = IPv4Address | IPv6Address
#: Linux's rtnetlink: the request for all addresses, and the parts of its answer.
_GET_ADDRESSES, _ADDRESS, _DUMP, _ERROR, _DONE = 22, 20, 0x301, 2, 3
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_MESSAGE, _ENTRY, _ATTRIBUTE = map(struct.Struct, ("=IHHII", "=BBBBI", "=HH"))
_ANSWER_BYTES, _ANSWER_S = 1 << 16, 10.0
_OPEN = (
    "torchrun and torch's store listen on every address of this machine, and whoever reaches their "
    "ports runs code as this program"
)
_REMEDY = "see docs/private_network.md, and then say --open-to-network"


@dataclass(frozen=True, slots=True)
class TeamNetwork:
    """The network between the hosts of a team.

    Attributes:
        local_addr: this host's address in it; None: it is not named.
        open_to_network: start although other addresses of the machine are open, too.
    """

    local_addr: str | None = None
    open_to_network: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of this machine, and its interface."""

    interface: str
    address: _Address

    def __str__(self) -> str:
        return f"{self.address} ({self.interface})"


def find_interface(network: TeamNetwork, addresses: Sequence[InterfaceAddress]) -> str:
    """The interface that the team uses.

    Raises:
        TeamError: none is named, it is not this machine's, or other addresses are open, too.
    """
    if network.local_addr is None:
        raise TeamError(
            f"{_OPEN}: name this host's address in the private network of the team's hosts with "
            "--local-addr"
        )
    try:
        local = ip_address(network.local_addr)
    except ValueError:
        raise TeamError(f"--local-addr {network.local_addr} is not an IP address") from None
    named = [one.interface for one in addresses if one.address == local]
    if not named:
        raise TeamError(
            f"--local-addr {local} is no address of this machine, which has "
            + ", ".join(map(str, addresses))
        )
    others = [one for one in addresses if _is_open(one, named[0])]
    if others and not network.open_to_network:
        raise TeamError(
            f"{_OPEN}: here everybody who reaches {', '.join(map(str, others))}. Start the team "
            f"where {local} is the only address, or close all others with a firewall: {_REMEDY}"
        )
    return named[0]


def _is_open(one: InterfaceAddress, interface: str) -> bool:
    """Whether others than the team's hosts may reach an address."""
    if one.address.is_loopback:
        return False
    return one.interface != interface or one.address.is_global


def bind_links(network: TeamNetwork) -> None:
    """Have gloo and NCCL use the team's interface alone. Call before they start.

    Raises:
        TeamError: see `find_interface`, or the first host is reached by another interface.
    """
    addresses = list_addresses()
    interface = find_interface(network, addresses)
    place = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]  # noqa: TID251 - torchrun's word
    used = _find_source(*place)
    if not any(one.interface == interface and one.address == used for one in addresses):
        raise TeamError(
            f"torchrun's first host {place[0]} is reached from {used}, not by the interface "
            f"{interface} of --local-addr: give torchrun addresses of that network, too"
        )
    for library in "GLOO", "NCCL":
        os.environ[f"{library}_SOCKET_IFNAME"] = interface  # noqa: TID251 - they read it there


def _find_source(host: str, port: str) -> _Address:
    """The address from which this machine reaches another. Nothing is sent."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            source = ip_address(str(probe.getsockname()[0]).partition("%")[0])
    except OSError as error:
        raise TeamError(f"torchrun's first host {host} cannot be reached: {error}") from None
    mapped = source.ipv4_mapped if isinstance(source, IPv6Address) else None
    return mapped or source


def list_addresses() -> list[InterfaceAddress]:
    """All addresses of this machine, loopback included, as Linux has them. Raises TeamError: it
    does not say."""
    family, route = getattr(socket, "AF_NETLINK", None), getattr(socket, "NETLINK_ROUTE", 0)
    if family is None:
        raise TeamError("a team of several hosts needs Linux, which lists a machine's addresses")
    request = _MESSAGE.pack(_MESSAGE.size + _ENTRY.size, _GET_ADDRESSES, _DUMP, 1, 0)
    try:
        with socket.socket(family, socket.SOCK_RAW, route) as link:
            link.settimeout(_ANSWER_S)
            link.bind((0, 0))
            link.send(request + _ENTRY.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
            return list(_read_addresses(link))
    except OSError as error:
        raise TeamError(f"this machine does not list its addresses: {error}") from None


def _read_addresses(link: socket.socket) -> Iterator[InterfaceAddress]:
    while True:
        answer = link.recv(_ANSWER_BYTES)
        while len(answer) >= _MESSAGE.size:
            size, kind, *_ = _MESSAGE.unpack_from(answer)
            if kind == _DONE:
                return
            if kind == _ERROR or size < _MESSAGE.size:
                raise OSError("its kernel refuses the request")
            if kind == _ADDRESS:
                yield from _read_entry(answer[_MESSAGE.size : size])
            answer = answer[_align(size) :]


def _read_entry(entry: bytes) -> Iterator[InterfaceAddress]:
    *_, index = _ENTRY.unpack_from(entry)
    found, rest = {}, entry[_ENTRY.size :]
    while len(rest) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(rest)
        if size < _ATTRIBUTE.size:
            return
        found[kind] = rest[_ATTRIBUTE.size : size]
        rest = rest[_align(size) :]
    own = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)  # the other may be the far end's
    if own is not None:
        yield InterfaceAddress(socket.if_indextoname(index), ip_address(own))


def _align(size: int) -> int:
    return (size + 3) & ~3


def end_torchrun() -> None:
    """Ask the torchrun that started this process to end: it would start it again, and listens
    meanwhile."""
    parent = os.getppid()
    with suppress(OSError):
        command = Path(f"/proc/{parent}/cmdline").read_bytes()
        if b"torchrun" in command or b"torch.distributed" in command:
            os.kill(parent, signal.SIGTERM)
