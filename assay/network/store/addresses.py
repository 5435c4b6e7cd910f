"""The addresses that a stranger's name may lead to: only those of the public internet.

The tables are the special-purpose registries of IANA (RFC 6890 and its successors), written out,
because Python's `is_global` changes from one release to the next. A name is looked up once, and the
client connects to exactly the address that was checked.
"""

import socket
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from assay.network.threads import call_beside

#: Finds a name's addresses: name, port and seconds → addresses. Raises OSError, TimeoutError too.
Resolve = Callable[[str, int, float], list[str]]

#: Most addresses of one name that are used.
ADDRESSES_MAX = 8

#: Blocks of public addresses at which a cloud serves its own machines alone: Azure's host, Equinix
#: Metal's metadata, IBM's services. Those of other clouds lie in private blocks.
_CLOUDS_4 = "168.63.129.16/32", "192.80.8.124/32", "161.26.0.0/16", "166.8.0.0/14"
_NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        *_CLOUDS_4,
    )
)
#: The rest of IPv6 is mapped, local, multicast or not assigned: ::1, ::ffff:0:0/96, 64:ff9b:1::/48,
#: fc00::/7, fe80::/10, ff00::/8.
_UNICAST_6 = IPv6Network("2000::/3")
#: Special purposes with Teredo, documentation, 6to4, documentation.
_NOT_PUBLIC_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
#: RFC 6052: the last four bytes are the IPv4 address that it leads to.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Return whether a text is an address of the public internet; False for other texts."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address in _NAT64:
        address = IPv4Address(int(address) & 0xFFFF_FFFF)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None or address not in _UNICAST_6:
        return False
    return not any(address in network for network in _NOT_PUBLIC_6)


def resolve_name(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name, from this machine's resolver. `OSError`: none, or no answer in time.
    A lookup that hangs costs a thread, which ends when the resolver gives up."""
    lookup = call_beside(
        partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM), "resolve"
    )
    try:
        entries = lookup.result(timeout=max(0.0, seconds))
    except TimeoutError:
        raise TimeoutError(f"no answer on {host} within {seconds:.1f} s") from None
    except UnicodeError:
        raise OSError("it is not a host's name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))
