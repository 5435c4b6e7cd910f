"""The node's port: requests, subscriptions, bad clients."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from devlab import TAO, get_key, sign
from subtensor_devnet import DESCRIPTION, Devnet, DevnetError, Seal
from subtensor_devnet.errors import RpcError
from subtensor_devnet.json_rpc import MESSAGE_BYTES
from subtensor_devnet.rpc_server import connections_logger

ALICE, BOB = get_key("//Alice"), get_key("//Bob")


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Devnet]:
    with Devnet(tmp_path, seal=Seal.MANUAL, finality_lag=2) as devnet:
        yield devnet


def ask_for(method: Any, *params: Any) -> str:
    """A request as it is sent."""
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)})


@contextlib.contextmanager
def open_client(devnet: Devnet) -> Iterator["Client"]:
    with connect(devnet.endpoint, max_size=None, close_timeout=1) as node:
        yield Client(node)


class Client:
    """A client that sends any bytes."""

    def __init__(self, node: ClientConnection) -> None:
        self.node = node

    def say(self, text: str | bytes) -> Any:
        self.node.send(text)
        return self.hear()

    def hear(self) -> Any:
        return json.loads(self.node.recv(timeout=60))

    def ask(self, method: str, *params: Any) -> Any:
        answer = self.say(ask_for(method, *params))
        assert answer.get("id") == 7, answer
        return answer.get("result", answer.get("error"))


def transfer(devnet: Devnet, nonce: int) -> str:
    codec = devnet.chain.codec
    arguments = {"dest": BOB.ss58_address, "value": TAO}
    call = codec.encode_call("Balances", "transfer_keep_alive", arguments)
    return "0x" + sign(codec, devnet.genesis_hash, ALICE, call, nonce).hex()


def test_it_says_what_it_is_not(devnet: Devnet) -> None:
    assert "development simulator" in DESCRIPTION
    assert "does not have" in DESCRIPTION


def test_an_extrinsic_is_ready_then_in_a_block_then_final(devnet: Devnet) -> None:
    with open_client(devnet) as client:
        identity = client.ask("author_submitAndWatchExtrinsic", transfer(devnet, 0))
        statuses = [client.hear()["params"]]
        devnet.new_blocks(1)
        statuses.append(client.hear()["params"])
        devnet.new_blocks(1)
        assert client.ask("chain_getFinalizedHead") == "0x" + devnet.genesis_hash.hex()
        devnet.new_blocks(1)
        statuses.append(client.hear()["params"])
        assert {status["subscription"] for status in statuses} == {identity}
        block = client.ask("chain_getBlockHash", 1)
        assert [status["result"] for status in statuses] == [
            "ready",
            {"inBlock": block},
            {"finalized": block},
        ]
        assert client.ask("chain_getFinalizedHead") == block
        body = client.ask("chain_getBlock", block)["block"]
        assert body["extrinsics"][1] == transfer(devnet, 0)[:10] + body["extrinsics"][1][10:]
        assert client.ask("author_unwatchExtrinsic", identity) is False  # it has ended


def test_extrinsics_that_are_final_leave_room_for_more(
    devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subtensor_devnet.rpc_server._MOST_SUBSCRIPTIONS", 1)
    with open_client(devnet) as client:
        for nonce in range(3):
            watch = client.ask("author_submitAndWatchExtrinsic", transfer(devnet, nonce))
            assert isinstance(watch, str), watch
            devnet.new_blocks(3)
            heard = [client.hear()["params"]["result"] for _ in range(3)]
            assert list(heard[2]) == ["finalized"]


def test_heads_are_told_as_they_come_and_as_they_become_final(devnet: Devnet) -> None:
    with open_client(devnet) as client:
        best = client.ask("chain_subscribeNewHeads")
        assert client.hear()["params"]["result"]["number"] == "0x0"
        final = client.ask("chain_subscribeFinalizedHeads")
        client.hear()
        devnet.new_blocks(3)
        heard = [client.hear() for _ in range(4)]
        assert [
            m["params"]["result"]["number"] for m in heard if m["method"] == "chain_newHead"
        ] == ["0x1", "0x2", "0x3"]
        (last,) = (m["params"] for m in heard if m["method"] == "chain_finalizedHead")
        assert (last["subscription"], last["result"]["number"]) == (final, "0x1")
        assert client.ask("chain_unsubscribeNewHeads", best) is True
        devnet.new_blocks(1)
        assert client.hear()["method"] == "chain_finalizedHead"


def test_storage_is_told_when_it_changes(devnet: Devnet) -> None:
    key = "0x" + devnet.chain.codec.make_key("System", "Number").hex()
    with open_client(devnet) as client:
        client.ask("state_subscribeStorage", [key])
        assert client.hear()["params"]["result"]["changes"] == [[key, "0x00000000"]]
        devnet.new_blocks(1)
        assert client.hear()["params"]["result"]["changes"] == [[key, "0x01000000"]]


def test_every_method_that_is_served_is_listed(devnet: Devnet) -> None:
    with open_client(devnet) as client:
        listed = client.ask("rpc_methods")["methods"]
        assert {"chain_subscribeNewHeads", "state_subscribeStorage"} <= set(listed)
        assert {"author_submitAndWatchExtrinsic", "author_unwatchExtrinsic"} <= set(listed)
    for method in listed:
        with open_client(devnet) as client:
            answer = client.ask(method)
            assert not (isinstance(answer, dict) and answer.get("code") == -32601), method


def test_all_keys_of_an_item_come_at_once_and_at_a_block(devnet: Devnet) -> None:
    prefix = devnet.chain.codec.make_key("System", "Account")
    with open_client(devnet) as client:
        genesis = client.ask("chain_getBlockHash", 0)
        paged = client.ask("state_getKeysPaged", "0x" + prefix.hex(), 1_000, None, genesis)
        assert client.ask("state_getKeys", "0x" + prefix.hex(), genesis) == paged
        assert len(paged) == 3  # the development keys
        key = "0x" + (prefix + b"\xff").hex()
        client.ask("dev_newBlock", 1)
        client.ask("dev_setStorage", [[key, "0x00"]])
        assert client.ask("state_getKeys", "0x" + prefix.hex()) == [*paged, key]
        assert client.ask("state_getKeys", "0x" + prefix.hex(), genesis) == paged


def test_more_keys_than_one_answer_holds(devnet: Devnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subtensor_devnet.rpc._MOST_UNPAGED_KEYS", 2)
    prefix = devnet.chain.codec.make_key("System", "Account")
    with open_client(devnet) as client:
        answer = client.ask("state_getKeys", "0x" + prefix.hex())
        assert answer["code"] == -32602
        assert "use pages" in answer["message"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -32700),
        ("[" * 50_000, -32700),
        (b"\xff\xfe", -32700),
        ("[]", -32600),
        ("3", -32700),
        (b'"' + b"x" * (MESSAGE_BYTES - 1), -32700),
        (ask_for("system_name").replace("2.0", "1.0"), -32600),
        (ask_for("system_name").replace("7", "[]"), -32600),
        (ask_for("system_name").replace("7", "true"), -32600),
        (ask_for("no_such"), -32601),
        (ask_for(3), -32600),
        (ask_for("chain_getHeader").replace("[]", '{"a": 1}'), -32602),
        (ask_for("state_getStorage", "0xzz"), -32602),
        (ask_for("state_getStorage", None), -32602),
        (ask_for("state_queryStorageAt", "0x"), -32602),
        (ask_for("state_getKeysPaged", "0x", 10**6), -32602),
        (ask_for("chain_getBlockHash", -1), -32602),
        (ask_for("chain_getBlockHash", {}), -32602),
        (ask_for("account_nextIndex", "nobody"), -32602),
        (ask_for("dev_newBlock", {"count": 10**9}), -32602),
        (ask_for("dev_setStorage", {"No": {"such": 1}}), -32602),
        (ask_for("dev_setStorage", [["0x00"]]), -32602),
        (ask_for("dev_newBlock", 0).replace("[0]", "[1e400]"), -32602),
        (ask_for("chain_getBlockHash", [[0]]), -32602),
        (ask_for("author_submitExtrinsic", "0x00"), 1010),
        (ask_for("author_submitAndWatchExtrinsic"), -32602),
        (ask_for("state_call", "No_such", "0x"), 4003),
        (ask_for("state_call", "Core_version", "0x"), 4003),
        (ask_for("state_call", "SubnetInfoRuntimeApi_get_metagraph", "0x"), -32602),
        (ask_for("state_call", "TransactionPaymentApi_query_info", "0x0102"), -32602),
        (ask_for("state_getStorage", "0x", "0x" + "ab" * 32), 4003),
    ],
)
def test_nonsense_is_answered_with_an_error_and_the_next_request_as_ever(
    shared: Devnet, text: str | bytes, code: int
) -> None:
    with open_client(shared) as client:
        answer = client.say(text)
        assert answer["error"]["code"] == code, answer
        assert client.ask("system_name") == "subtensor-devnet"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet(tmp_path_factory.mktemp("shared"), seal=Seal.MANUAL) as devnet:
        yield devnet


def test_a_message_larger_than_any_extrinsic_ends_the_connection_and_no_other(
    shared: Devnet,
) -> None:
    with open_client(shared) as other:
        with open_client(shared) as client:
            with contextlib.suppress(ConnectionClosed):
                client.say(" " * (20 * 1024 * 1024))
            with pytest.raises(ConnectionClosed):
                client.hear()
        assert other.ask("system_name") == "subtensor-devnet"


def test_a_client_that_never_reads_is_dropped_before_memory_is_full(shared: Devnet) -> None:
    asked = 0
    with (
        connect(shared.endpoint, max_size=None, max_queue=1, close_timeout=0) as deaf,
        open_client(shared) as other,
        contextlib.suppress(ConnectionClosed),
    ):
        for _ in range(1_000):  # half a gigabyte of answers
            deaf.send(ask_for("state_getMetadata"))
            assert other.ask("system_name") == "subtensor-devnet"
            asked += 1
    assert asked < 500


def test_a_client_that_goes_in_mid_sentence_harms_nobody(shared: Devnet) -> None:
    host, port = shared.endpoint.removeprefix("ws://").split(":")
    for piece in (b"", b"GET / HTTP/1.1\r\n", b"\x00" * 100):
        with socket.create_connection((host, int(port)), timeout=60) as rude:
            rude.sendall(piece)
    with open_client(shared) as client:
        assert client.ask("system_name") == "subtensor-devnet"


def test_a_connection_without_a_websocket_leaves_no_traceback(
    shared: Devnet, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = shared.endpoint.removeprefix("ws://").split(":")
    for garbage in (b"GET /\r\n\r\n", b"\x16\x03\r\n\r\n", b"x" * 99_999):
        with socket.create_connection((host, int(port)), timeout=60) as stranger:
            stranger.sendall(garbage)
            assert stranger.recv(12) in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
    with open_client(shared) as client:  # by now it has dealt with the others
        assert client.ask("system_name") == "subtensor-devnet"
    assert caplog.records == []
    connections_logger.error("connection handler failed", exc_info=ValueError())
    assert len(caplog.records) == 1  # a defect of the server's own is still told


def test_many_requests_come_back_in_one_answer(shared: Devnet) -> None:
    count = 5_000  # nodes set no limit
    hashes = [ask_for("chain_getBlockHash", 0).replace("7", str(i)) for i in range(count)]
    with open_client(shared) as client:
        answers = client.say(f"[{','.join([*hashes, '3'])}]")
        assert [answer["id"] for answer in answers] == [*range(count), None]
        assert answers[0]["result"] == "0x" + shared.genesis_hash.hex()
        assert answers[-1]["error"]["code"] == -32600


def test_a_request_without_an_id_gets_no_answer(shared: Devnet) -> None:
    told = ask_for("system_name").replace('"id": 7, ', "")
    with open_client(shared) as client:
        client.node.send(told)
        client.node.send(f"[{told}]")
        assert client.say(f"[{told}, {ask_for('system_name')}]")[0]["result"] == "subtensor-devnet"


def test_an_answer_larger_than_nodes_send_is_refused(
    shared: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subtensor_devnet.json_rpc.MESSAGE_BYTES", 1_000)
    small, large = ask_for("system_name"), ask_for("state_getMetadata")
    limit = "Exceeded max limit of 1000"
    with open_client(shared) as client:
        answer = client.say(large)
        assert (answer["id"], answer["error"]["code"], answer["error"]["data"]) == (
            7,
            -32008,
            limit,
        )
        answer = client.say(f"[{','.join([small] * 100)}]")
        assert (answer["id"], answer["error"]["code"]) == (None, -32011)
        assert len(client.say(f"[{small}, {large}]")) == 2


def test_a_port_that_is_taken_is_said(devnet: Devnet, tmp_path: Path) -> None:
    port = int(devnet.endpoint.rsplit(":", 1)[1])
    other = Devnet(tmp_path / "other", port)
    with pytest.raises(DevnetError, match="cannot listen"):
        other.start()
    other.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65_536}, "65536 is no port"),
        ({"port": -1}, "-1 is no port"),
        ({"block_time": 0.0}, "0 s between blocks"),
        ({"block_time": float("nan")}, "nan s between blocks"),
        ({"block_time": float("inf")}, "inf s between blocks"),
        ({"finality_lag": -1}, "a finality lag of -1 blocks"),
    ],
)
def test_options_that_no_network_can_have(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DevnetError, match=message):
        Devnet(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_not_this_machines_is_said(tmp_path: Path) -> None:
    devnet = Devnet(tmp_path, host="192.0.2.1")
    with pytest.raises(DevnetError, match=r"cannot listen on .*: Cannot assign"):
        devnet.start()
    devnet.close()


def test_storage_is_written_by_name(devnet: Devnet) -> None:
    devnet.set_storage({"SubtensorModule": {"WeightsSetRateLimit": [[[1], 7]], "TxRateLimit": 5}})
    state = devnet.chain.state
    assert state.get("SubtensorModule", "WeightsSetRateLimit", 1) == 7
    assert state.get("SubtensorModule", "TxRateLimit") == 5
    with pytest.raises(RpcError, match="there is no storage item"):
        devnet.set_storage({"SubtensorModule": {"NoSuch": 1}})


def test_it_is_stopped_and_started_again_at_the_same_place(devnet: Devnet) -> None:
    devnet.new_blocks(3)
    endpoint = devnet.endpoint
    devnet.stop()
    devnet.start()
    assert (devnet.endpoint, devnet.get_head()) == (endpoint, 3)


def test_extrinsics_that_must_wait_make_no_blocks(tmp_path: Path) -> None:
    with Devnet(tmp_path, seal=Seal.INSTANT) as devnet, open_client(devnet) as client:
        client.ask("author_submitExtrinsic", transfer(devnet, 1))
        client.ask("system_name")
        assert devnet.get_head() == 0
        client.ask("author_submitExtrinsic", transfer(devnet, 0))
        client.ask("system_name")
        assert devnet.get_head() == 1
        assert client.ask("account_nextIndex", ALICE.ss58_address) == 2


def test_blocks_come_by_the_clock(tmp_path: Path) -> None:
    with Devnet(tmp_path, block_time=0.02) as devnet, open_client(devnet) as client:
        client.ask("author_submitAndWatchExtrinsic", transfer(devnet, 0))
        while "finalized" not in client.hear()["params"]["result"]:
            pass
        first, last = (devnet.chain.view(n).get("Timestamp", "Now") for n in (1, 2))
        assert last > first
        assert abs(time.time() * 1_000 - last) < 60_000


def test_pulses_are_fetched_when_somebody_waits_for_them(tmp_path: Path) -> None:
    asked, found = [], threading.Event()

    def source(number: int) -> bytes | None:
        asked.append(number)
        found.set()
        return b"\x00" * 48  # none of quicknet's

    devnet = Devnet(tmp_path, seal=Seal.MANUAL, pulses=source)
    codec = devnet.chain.codec
    key = codec.make_key("SubtensorModule", "TimelockedWeightCommits", 1, 0)
    waiting = [(ALICE.ss58_address, 1, "0x00", 1_000)]
    value = codec.encode_value("SubtensorModule", "TimelockedWeightCommits", waiting)
    devnet.chain.write_storage({key: value})
    with devnet:
        assert found.wait(60)
        devnet.new_blocks(1)
        assert devnet.chain.state.get("Drand", "Pulses", 1_000) is None
    assert set(asked) == {1_000}
