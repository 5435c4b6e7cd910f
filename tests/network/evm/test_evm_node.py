"""An EVM node that lies, lags, hangs or floods; and the key, which nothing shows."""

import copy
import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eth_account import Account

from assay.network.chain.errors import ChainError, UnknownOutcomeError, WrongChainError
from assay.network.evm import (
    EvmError,
    EvmKey,
    EvmNode,
    RevertedError,
    bounded_provider,
    compute_mirror,
)
from assay.network.evm.contracts import LedgerEntry, SilentError, explain_revert
from assay.network.evm.node import SignedCall
from assay.protocol.score_tree import keccak256

SECRET = keccak256(b"a secret of this test")


class Host:
    """A node whose answers a test writes."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], bytes] = lambda request: b""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                host.asked += 1
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(host.status)
                for name, value in host.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(host.answer(request))

            do_GET = do_POST

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def say(self, result: Any) -> None:
        """The same result to everything."""
        self.answer = lambda request: json.dumps(
            {"jsonrpc": "2.0", "id": request["id"], "result": result}
        ).encode()

    def refuse(self, error: dict[str, Any]) -> None:
        self.answer = lambda request: json.dumps(
            {"jsonrpc": "2.0", "id": request["id"], "error": error}
        ).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def host() -> Iterator[Host]:
    found = Host()
    yield found
    found.close()


@pytest.fixture
def node(host: Host) -> Iterator[EvmNode]:
    with closing(EvmNode(host.url, 42)) as found:
        yield found


SIGNED = SignedCall(b"\x02" * 40, b"\x03" * 32, 1, 1)


def test_another_chain_is_refused(host: Host, node: EvmNode) -> None:
    host.say(hex(945))
    with pytest.raises(WrongChainError, match=r"945.*42"):
        node.get_head()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"result"',
        b"\xff\xfe",
        b"[" * 5_000,
        b'{"id": 1, "jsonrpc": "2.0", "result": null, "result": 1}',
        b"NaN",
    ],
)
def test_malformed_answers(host: Host, node: EvmNode, body: bytes) -> None:
    host.answer = lambda request: body
    with pytest.raises(SilentError):
        node.get_head()
    with pytest.raises(UnknownOutcomeError):  # it may have taken the transaction
        node.send(SIGNED)


@pytest.mark.parametrize(
    "result", [None, [], {}, "0x", "0xzz", "0x" + "f" * 100_000, "twelve", {"a": 1}, -1.5]
)
def test_an_answer_of_another_kind(host: Host, node: EvmNode, result: Any) -> None:
    host.say(result)
    asks: list[Callable[[], object]] = [
        node.get_head,
        node.get_price,
        node.get_time,
        lambda: node.get_nonce("0x" + "ab" * 20, pending=True),
        lambda: node.get_balance("0x" + "ab" * 20),
    ]
    for ask in asks:
        with pytest.raises((EvmError, WrongChainError)):
            ask()


@pytest.mark.parametrize("result", [[], {"blockNumber": "0x1"}, {"status": []}, 5])
def test_a_receipt_of_another_kind(host: Host, node: EvmNode, result: Any) -> None:
    host.say(result)
    with pytest.raises(EvmError):
        node.get_receipt(bytes(32))


def test_no_receipt_is_none(host: Host, node: EvmNode) -> None:
    host.say(None)
    assert node.get_receipt(bytes(32)) is None


@pytest.mark.parametrize(
    ("sent", "called"),
    [
        ({"gas": "0x100"}, {"error": {"code": -32000, "message": "State already discarded"}}),
        ({"gas": "0x100"}, {"result": "0x"}),
        ({"gas": "0x100"}, {"result": []}),
        ({"gas": []}, {"result": "0x"}),
        ({}, {"result": "0x"}),
        (None, {"result": "0x"}),
    ],
)
def test_a_failed_post_whose_state_the_node_has_forgotten(
    host: Host, node: EvmNode, sent: dict[str, Any] | None, called: dict[str, Any]
) -> None:
    """It stops nobody who watches more than this post."""
    about = {"from": "0x" + "ab" * 20, "to": "0x" + "cd" * 20, "value": "0x0", "input": "0x12"}
    answers = {
        "eth_getTransactionByHash": {"result": None if sent is None else about | sent},
        "eth_getTransactionReceipt": {"result": {"gasUsed": "0x10", "blockNumber": "0x5"}},
        "eth_call": called,
    }
    host.answer = lambda request: json.dumps(
        {"jsonrpc": "2.0", "id": request["id"]} | answers[request["method"]]
    ).encode()
    assert node.explain_failure(SIGNED).startswith("it failed")


def test_a_node_that_falls_silent_before_the_receipt(host: Host, node: EvmNode) -> None:
    """The error names the sent transaction, so that it can be looked up."""
    with pytest.raises(UnknownOutcomeError, match=SIGNED.hash.hex()):
        node.await_receipt(SIGNED, 0, 0.4)


def test_a_number_that_no_chain_has(host: Host, node: EvmNode) -> None:
    """It would fit neither a transaction nor what we keep it in."""
    host.say(hex(1 << 63))
    anybody = "0x" + "ab" * 20
    for ask in (node.get_time, node.get_price, lambda: node.get_nonce(anybody, pending=True)):
        with pytest.raises(SilentError):
            ask()
    assert node.get_balance(anybody) == 1 << 63
    host.say(hex(1 << 256))
    with pytest.raises(SilentError):
        node.get_balance(anybody)


def test_an_endless_answer(host: Host, node: EvmNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_provider, "ANSWER_MAX", 100_000)
    host.answer = lambda request: b" " * 5_000_000
    with pytest.raises(SilentError, match="more than 100,000 bytes"):
        node.get_head()


def test_a_node_that_drips(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_provider, "ANSWER_S", 0.3)

    enough, answered = threading.Event(), []

    def drip(request: dict[str, Any]) -> bytes:
        answered.append(enough.wait(60))
        return b""

    host.answer = drip
    with closing(EvmNode(host.url, 42)) as node:
        with pytest.raises(SilentError, match="does not answer"):
            node.get_head()
        assert answered == [], "it was waited for"
        enough.set()


def test_a_node_that_drips_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the last never."""
    monkeypatch.setattr(bounded_provider, "ANSWER_S", 0.5)
    enough = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                peer.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not enough.wait(0.05):
                    peer.sendall(b"a")

        threading.Thread(target=drip, daemon=True).start()
        port = server.getsockname()[1]
        with closing(EvmNode(f"http://127.0.0.1:{port}", 42)) as node:
            with pytest.raises(SilentError, match="does not answer"):
                node.get_head()
            enough.set()


def test_a_node_that_floods_interim_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gives it up by the size of its answers, long before the deadline."""
    monkeypatch.setattr(bounded_provider, "ANSWER_S", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def flood() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                while True:
                    peer.sendall(b"HTTP/1.1 103 -\r\n\r\n" * 500)

        threading.Thread(target=flood, daemon=True).start()
        port = server.getsockname()[1]
        with (
            closing(EvmNode(f"http://127.0.0.1:{port}", 42)) as node,
            pytest.raises(SilentError, match="sends more than an answer has"),
        ):
            node.get_head()


@pytest.mark.parametrize("status", [301, 307, 404, 429, 500])
def test_a_status_and_a_redirect(host: Host, node: EvmNode, status: int) -> None:
    host.status, host.headers = status, {"Location": host.url + "/elsewhere"}
    with pytest.raises(SilentError, match=str(status)):
        node.get_head()
    assert host.asked == 1


def test_nobody_is_there() -> None:
    host = Host()
    host.close()
    with closing(EvmNode(host.url, 42)) as node, pytest.raises(SilentError, match="answer"):
        node.get_head()


@pytest.mark.parametrize("url", ["", "ws://a", "file:///etc/passwd", "http://", "localhost:8545"])
def test_no_endpoint(url: str) -> None:
    with pytest.raises(EvmError, match="http"):
        EvmNode(url, 42)


def test_an_endpoints_secret_is_not_repeated() -> None:
    host = Host()
    host.close()
    url = host.url + "/v3/secret-token?key=hidden"
    with closing(EvmNode(url, 42)) as node, pytest.raises(EvmError) as caught:
        node.get_head()
    assert "secret-token" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_node_that_has_the_transaction_already(host: Host, node: EvmNode) -> None:
    host.refuse({"code": -32000, "message": "already known"})
    node.send(SIGNED)
    host.refuse({"code": -32000, "message": "nonce too low"})
    with pytest.raises(EvmError, match="nonce too low"):
        node.send(SIGNED)


def test_a_node_that_writes_to_the_terminal(host: Host, node: EvmNode) -> None:
    words = "\x1b[2J\nassay: all is well"
    host.refuse({"code": -32000, "message": words})
    with pytest.raises(EvmError, match="all is well") as caught:
        node.send(SIGNED)
    assert str(caught.value).isprintable()
    raw = words.encode()
    text = b"".join(n.to_bytes(32, "big") for n in (32, len(raw))) + raw.ljust(32, b"\0")
    revert = explain_revert(keccak256(b"Error(string)")[:4] + text)
    assert "all is well" in str(revert)
    assert str(revert).isprintable()


@pytest.mark.parametrize("place", [lambda data: data, lambda data: {"data": data}])
def test_a_reason_wherever_a_node_puts_it(
    host: Host, node: EvmNode, place: Callable[[str], Any]
) -> None:
    data = "0x" + keccak256(b"ZeroRoot()")[:4].hex()
    for code, message in ((3, "execution reverted"), (-32603, "VM Exception: revert")):
        host.refuse({"code": code, "message": message, "data": place(data)})
        with pytest.raises(RevertedError, match="ZeroRoot"), node.explain():
            node.eth.call({"to": "0x" + "00" * 20})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "without a reason"),
        (b"\1\2\3\4\5", "0x0102030405"),
        (keccak256(b"AlreadyPosted(bytes32)")[:4], "AlreadyPosted, garbled"),
        (keccak256(b"AlreadyPosted(bytes32)")[:4] + b"\7" * 32, "written once"),
        (keccak256(b"Error(string)")[:4] + b"\xff" * 64, "Error, garbled"),
        (keccak256(b"Panic(uint256)")[:4] + (0x11).to_bytes(32, "big"), r"Panic\(17\)"),
    ],
)
def test_refusals_in_words(data: bytes, words: str) -> None:
    with pytest.raises(RevertedError, match=words):
        raise explain_revert(data)


# --- keys


def test_a_key_shows_its_address_only() -> None:
    key = EvmKey(Account.from_key(SECRET))
    shown = f"{key} {key!r} {vars(key)} {[key]} {dir(key)}"
    assert key.address in shown
    for form in (SECRET.hex(), str(int.from_bytes(SECRET, "big")), repr(SECRET)):
        assert form not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(key)


def test_a_keystore_and_its_password() -> None:
    key = EvmKey(Account.from_key(SECRET))
    store = key.to_keystore("right", iterations=2)
    assert SECRET.hex() not in json.dumps(store)
    assert EvmKey.from_keystore(store, "right").address == key.address
    broken = {**store, "crypto": {**store["crypto"], "ciphertext": "00"}}
    for keystore, password in ((store, "wrong"), (broken, "right"), ({}, ""), ([], ""), (None, "")):
        with pytest.raises(ChainError, match="cannot be opened") as caught:
            EvmKey.from_keystore(keystore, password)
        assert "wrong" not in str(caught.value).replace("the password is wrong", "")
    assert EvmKey.create().address != EvmKey.create().address


def test_an_address_has_its_account_on_the_chain() -> None:
    """The account equals the one that the SDK computes."""
    from bittensor.evm import h160_to_ss58

    for address in ("0x" + "00" * 20, EvmKey(Account.from_key(SECRET)).address):
        assert compute_mirror(address) == h160_to_ss58(address)


def test_an_entrys_digest_is_of_the_abis_encoding() -> None:
    from eth_abi.abi import encode

    entry = LedgerEntry(*(bytes([i]) * 32 for i in (1, 2, 3)), 2**64 - 1, bytes([4]) * 32)
    types = ["bytes32", "bytes32", "bytes32", "uint64", "bytes32"]
    assert entry.digest == keccak256(encode(types, entry.to_abi()))
