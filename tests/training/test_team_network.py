"""Where a team of several hosts starts, and what it says where it does not."""

import re
import socket
from ipaddress import ip_address

import pytest

from assay.training import team_network
from assay.training.team import TeamError, join_team
from assay.training.team_network import (
    InterfaceAddress,
    TeamNetwork,
    bind_links,
    find_interface,
    list_addresses,
)


def make_addresses(*pairs: tuple[str, str]) -> list[InterfaceAddress]:
    return [InterfaceAddress(name, ip_address(address)) for name, address in pairs]


LOOPBACK = ("lo", "127.0.0.1"), ("lo", "::1")
TUNNEL = ("wg0", "10.7.0.1"), ("wg0", "fd07::1")
#: Interfaces beside a tunnel → whether others reach the machine by them.
BESIDE = {
    (): False,
    (("eth0", "203.0.113.5"),): True,
    (("eth0", "192.168.1.5"),): True,
    (("eth0", "fe80::1"),): True,
    (("docker0", "172.17.0.1"),): True,
    (("wg0", "1.1.1.1"),): True,
}


@pytest.mark.parametrize("beside", BESIDE)
def test_a_team_starts_where_one_private_interface_is_all(
    beside: tuple[tuple[str, str], ...],
) -> None:
    addresses = make_addresses(*LOOPBACK, *TUNNEL, *beside)
    network = TeamNetwork("10.7.0.1")
    if not BESIDE[beside]:
        assert find_interface(network, addresses) == "wg0"
    else:
        ((name, address),) = beside
        with pytest.raises(TeamError, match=re.escape(f"reaches {address} ({name})")) as refused:
            find_interface(network, addresses)
        assert "runs code as this program" in str(refused.value)
        assert "--open-to-network" in str(refused.value)
    opened = TeamNetwork("10.7.0.1", open_to_network=True)
    assert find_interface(opened, addresses) == "wg0"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (None, "name this host's address in the private network .* with --local-addr$"),
        ("wg0", "^--local-addr wg0 is not an IP address$"),
        ("10.7.0.2", r"^--local-addr 10.7.0.2 is no address of this machine, which has 127.0.0.1"),
    ],
)
@pytest.mark.parametrize("opened", [False, True])
def test_an_interface_must_be_named(named: str | None, said: str, opened: bool) -> None:
    with pytest.raises(TeamError, match=said):
        find_interface(TeamNetwork(named, opened), make_addresses(*LOOPBACK, *TUNNEL))


def test_a_machines_addresses_are_those_that_it_can_bind() -> None:
    addresses = list_addresses()
    assert any(one.address.is_loopback for one in addresses)
    for one in addresses:
        index = socket.if_nametoindex(one.interface)
        if one.address.version == 4:
            with socket.socket() as own:
                own.bind((str(one.address), 0))
        else:
            with socket.socket(socket.AF_INET6) as own:
                own.bind((str(one.address), 0, 0, index if one.address.is_link_local else 0))


def test_libraries_get_the_interface_and_the_first_host_is_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback = make_addresses(("lo", "127.0.0.1"))
    monkeypatch.setattr(team_network, "list_addresses", lambda: loopback)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29400")
    for library in "GLOO", "NCCL":
        monkeypatch.setenv(f"{library}_SOCKET_IFNAME", "eth0")
    bind_links(TeamNetwork("127.0.0.1"))
    told = team_network.os.environ
    assert {told[f"{library}_SOCKET_IFNAME"] for library in ("GLOO", "NCCL")} == {"lo"}
    both = [*loopback, *make_addresses(("wg0", "10.7.0.1"))]
    monkeypatch.setattr(team_network, "list_addresses", lambda: both)
    with pytest.raises(TeamError, match=r"127.0.0.1 is reached from 127.0.0.1, not by .* wg0"):
        bind_links(TeamNetwork("10.7.0.1", open_to_network=True))


def test_under_torchrun_nothing_is_opened_before_the_check(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`join_team` itself checks, whoever calls it; the torchrun that would start it again ends."""
    ended: list[bool] = []
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "mine")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr("assay.training.team_meeting.end_torchrun", lambda: ended.append(True))
    monkeypatch.setattr("assay.training.team_meeting.rendezvous", None)
    with pytest.raises(SystemExit), join_team():
        pass
    assert ended == [True]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("assay: torchrun and torch's store listen on every address")
    assert line.endswith("--local-addr")
