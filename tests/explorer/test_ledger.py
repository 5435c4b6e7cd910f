"""The ledger page checks its links and sources first."""

import pytest

from assay.explorer.sources import ledger_events
from assay.explorer.sources.ledger_events import LedgerEvents, LedgerPlace
from assay.explorer.sources.named import check_contract, check_link, find_ledger
from assay.explorer.sources.shell_commands import ShellCommands
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings
from tests.adversarial.mortal import make_parameters

CONTRACT = "0x" + "aB" * 20


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "http://evm.example",
        "https://",
        "//evm.example",
        "evm.example",
        "https://user:secret@evm.example",
        "https://evm.example/?q=1",
        "https://evm.example/#x",
        "https://evm.example/a b",
        "https://evm.example:port",
        "https://evm.example/\u202e",
    ],
)
def test_no_page_links_to_anything_but_https(address):
    with pytest.raises(ConfigError, match="--evm-explorer"):
        check_link(address)


def test_links_that_are_taken():
    assert check_link("https://evm.taostats.io/") == "https://evm.taostats.io"
    assert check_link("http://localhost:4000/sub/") == "http://localhost:4000/sub"
    assert check_link(None) is None


@pytest.mark.parametrize("address", ["0x12", "aB" * 20, CONTRACT + "0", "0x" + "g" * 40, ""])
def test_a_contract_is_an_address(address):
    with pytest.raises(ConfigError, match="40 hexadecimal digits"):
        check_contract(address)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"contract": None}, "which ledger"),
        ({"endpoint": "ftp://there"}, "https://host"),
        ({"chain_id": None}, "--chain-id"),
    ],
)
def test_half_of_a_ledger_is_refused(changes, said):
    own = {"endpoint": "https://node", "chain_id": 42, "contract": CONTRACT} | changes
    settings = Settings(ledger=own, chain={"network": "ws://127.0.0.1:9944"})
    with pytest.raises(ConfigError, match=said):
        find_ledger(settings, bytes(32), 1)


def test_the_command_shows_no_key_of_an_endpoint():
    """Addresses of EVM nodes often hold a key; pages may be public."""
    hotkey = encode_ss58(bytes(32))
    for endpoint, shown in (
        ("https://node:8545/", "https://node:8545/"),
        ("https://node/v1/SECRET", "https://EVM-NODE"),
        ("https://node/?key=SECRET", "https://EVM-NODE"),
        ("https://me:SECRET@node", "https://EVM-NODE"),
    ):
        place = LedgerPlace(endpoint, 42, CONTRACT, 7, bytes(32), 6)
        commands = ShellCommands(hotkey, make_parameters(), ledger=place)
        command = commands.compare(5, 1, 2, hotkey)
        assert command is not None
        assert "SECRET" not in command
        assert f"--evm {shown} --chain-id 42 --contract {CONTRACT}" in command


class Ledger:
    """One whose node's word for its head is `head`."""

    def __init__(self, head=500):
        self.head, self.asked, self.node = head, 0, self

    def get_head(self):
        return self.head

    def close(self):
        pass

    def list_posted(self, hotkey, first, last):
        self.asked += 1
        assert self.asked < 1_000, "it follows a head that nobody will ever reach"
        return []


@pytest.mark.parametrize("heads", [[2**60, 500, 520], [500, 2**60, 520, 530]])
def test_a_head_that_was_a_lie_once_is_forgotten(heads, monkeypatch):
    place = LedgerPlace("https://node", 42, CONTRACT, 7, bytes(32), 6)
    events = LedgerEvents(place, lambda: None)
    ledger = Ledger()
    monkeypatch.setattr(ledger_events, "open_ledger", lambda place: ledger)
    for head in heads:
        ledger.head = head
        assert events.step() is None
    reading = events.get_reading()
    assert reading.head == heads[-1]
    assert reading.first <= heads[-1], "what lies before it is within reach"


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://",
        "https:///v1/SECRET",
        "https://SECRET@",
        "https://node:99999/SECRET",
        "https://node:SECRET",
        "https://node:-1/SECRET",
        "https://[::1/SECRET",
        "https://[SECRET]:8545",
        "https://node:0",
        "ws://node/SECRET",
        "node:8545",
        "",
    ],
)
def test_an_evm_node_that_has_no_address_is_told_without_its_key(endpoint):
    own = {"endpoint": endpoint, "chain_id": 42, "contract": CONTRACT}
    with pytest.raises(ConfigError, match="https://host") as told:
        find_ledger(Settings(ledger=own), bytes(32), 1)
    assert "SECRET" not in str(told.value)


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("https://node:8545/v1/SECRET", "node:8545"),
        ("https://me:SECRET@node", "node"),
        ("http://[::1]:8545", "[::1]:8545"),
        ("http://[::1]?k=SECRET", "[::1]"),
    ],
)
def test_pages_name_an_evm_node_by_its_host(endpoint, shown):
    own = {"endpoint": endpoint, "chain_id": 42, "contract": CONTRACT}
    events = LedgerEvents(find_ledger(Settings(ledger=own), bytes(32), 1), print)
    assert events.get_reading().node == shown
