"""The chain adapter without a chain."""

import concurrent.futures.thread
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pytest

from assay.network.chain.connection import Connection
from assay.network.chain.epochs import Epochs, is_tempo_epoch
from assay.network.chain.errors import ChainError, StillError, describe_failure
from assay.network.chain.extrinsic_sender import EXTRINSIC_BLOCKS
from assay.network.chain.runtime_features import RuntimeFeatures
from assay.network.chain.state_archive import StateArchive
from assay.network.chain.target import ChainTarget
from assay.network.chain.wallets import (
    DevWallet,
    create_wallet,
    get_coldkey,
    get_hotkey,
    list_wallets,
    open_wallet,
)
from assay.network.chain.weights_sender import compute_reveal_round, encode_row, make_row, pad_row
from assay.network.text import name_host


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError("could not connect to any endpoint: [Errno -2] Name or service not known"),
            "does not answer: Name or service not known",
        ),
        (
            OSError(
                "could not connect to any endpoint: Multiple exceptions: [Errno 111] Connect call "
                "failed ('::1', 1, 0, 0), [Errno 111] Connect call failed ('127.0.0.1', 1)"
            ),
            "does not answer: connection refused, connection refused",
        ),
        (OSError("could not connect to any endpoint: TimeoutError: "), "does not answer in time"),
        (ConnectionResetError(), "does not answer: ConnectionResetError"),
        (TimeoutError(), "does not answer in time"),
        (KeyError("header"), "answers nonsense: KeyError: 'header'"),
        (StillError("has not moved for 60 s"), "has not moved for 60 s"),
    ],
)
def test_a_nodes_fault_is_a_sentence(error: Exception, said: str) -> None:
    assert describe_failure(error) == said


def test_the_archive_keeps_the_first_word_and_only_for_one_subnet(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "state.sqlite"
    archive = StateArchive(file, b"\x01" * 32, 3)
    archive.put("state", 7, "first")
    archive.put("state", 7, "second")
    archive.close()
    again = StateArchive(file, b"\x01" * 32, 3)
    assert again.get("state", 7) == "first"
    assert again.get("state", 8) is None
    assert again.get_next("state", 2) == again.get_newest("state") == (7, "first")
    assert again.get_next("state", 8) is None
    for genesis, netuid in ((b"\x02" * 32, 3), (b"\x01" * 32, 4)):
        with pytest.raises(ChainError, match="folder of its own"):
            StateArchive(file, genesis, netuid)


def test_a_damaged_archive_says_which_file(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite"
    file.write_bytes(b"SQLite format 3\x00" + bytes(200))
    with pytest.raises(ChainError, match=r"state\.sqlite"):
        StateArchive(file, b"\x01" * 32, 3)


def test_an_extrinsic_lives_as_long_as_the_sdk_lets_it() -> None:
    from bittensor import settings

    assert settings.DEFAULT_ERA_PERIOD == EXTRINSIC_BLOCKS >= settings.MEV_SHIELD_ERA_PERIOD


def test_epochs_follow_subtensors_rule() -> None:
    # seen on the runtime, spec 293: netuid 2, tempo 10
    assert [n for n in range(1, 60) if is_tempo_epoch(2, 10, n)] == [7, 18, 29, 40, 51]
    assert not any(is_tempo_epoch(2, 0, number) for number in range(50))


def test_a_row_is_what_the_chain_will_show() -> None:
    assert make_row({5: 3, 2: 0, 1: 65_535}) == {1: 65_535, 5: 3}
    for row in ({}, {1: 65_534}, {1: 65_536}, {1: -1, 2: 65_535}, {65_536: 65_535}):
        with pytest.raises(ChainError, match="65,535"):
            make_row(row)


def test_a_row_shorter_than_the_subnet_takes_is_filled_with_zeros() -> None:
    assert pad_row({4: 65_535}, 3, 256) == {0: 0, 1: 0, 4: 65_535}
    assert list(pad_row({4: 65_535, 0: 7}, 4, 256)) == [0, 1, 2, 4]
    assert pad_row({1: 65_535}, 99, 3) == {0: 0, 1: 65_535, 2: 0}  # all there are: enough
    assert pad_row({1: 65_535, 2: 1}, 1, 256) == {1: 65_535, 2: 1}


def test_timelocked_weights_open_after_the_epoch_that_opens_them() -> None:
    netuid, tempo, slot_ms = 2, 10, 12_000
    for block in range(100, 125):
        at_ms = 1_800_000_000_000 + block * slot_ms
        number = compute_reveal_round(netuid, tempo, 1, block, at_ms, slot_ms)
        round_ms = 1_692_803_367_000 + (number - 1) * 3_000
        opens = next(
            n
            for n in range(block + 1, block + 40)
            if (n + netuid + 1) // (tempo + 1) == (block + 1 + netuid + 1) // (tempo + 1) + 1
        )
        opens_ms = 1_800_000_000_000 + opens * slot_ms
        assert opens_ms + 2 * slot_ms < round_ms <= opens_ms + 4 * slot_ms


def test_a_row_is_encoded_as_the_runtime_decodes_it() -> None:
    expected = "08 0100 0500 08 ffff 0300 0700000000000000"
    assert encode_row({1: 65_535, 5: 3}, 7) == bytes.fromhex(expected)
    many = encode_row(dict.fromkeys(range(64), 1), 0)
    assert many[:2] == many[2 + 128 : 4 + 128] == b"\x01\x01"  # two bytes from 64 on
    assert len(many) == 2 * (2 + 128) + 8


def test_an_epoch_ahead_of_its_block_is_a_lie_that_is_not_kept(tmp_path: Path) -> None:
    said = [12]

    class Node:
        def read(self, op: object) -> int:
            return said[0]

    archive = StateArchive(tmp_path / "state.sqlite", b"\x01" * 32, 3)
    epochs = Epochs(cast(Connection, Node()), 3, archive)
    runtime = cast(RuntimeFeatures, None)
    with pytest.raises(ChainError, match="lies or is broken"):
        epochs.is_epoch(8, 10, runtime)
    assert archive.get_newest("epoch") is None
    said[0] = 8
    assert epochs.is_epoch(8, 10, runtime)


def test_a_full_disk_costs_no_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = StateArchive(tmp_path / "state.sqlite", b"\x01" * 32, 3)
    archive.database.execute("PRAGMA query_only = ON")
    for number in range(100):
        archive.put("state", number, "data")
    assert archive.get("state", 99) == "data"
    assert archive.get("state", 1) is None  # memory is bounded
    assert len(caplog.records) == 1


def test_keys_in_an_address_are_not_shown() -> None:
    for url in ("wss://node.example/v1?key=secret", "wss://me:secret@node.example:443/secret"):
        assert "secret" not in name_host(url)
        assert "wss://node.example" in name_host(url)
    assert name_host("ws://[::1]:9944") == "ws://[::1]:9944"


def test_nobody_to_talk_to_is_an_error_with_advice_not_a_hang() -> None:
    with pytest.raises(ChainError, match="make sure that the node runs"):
        Connection(ChainTarget(("ws://127.0.0.1:9",), patience_s=0.1))


def test_a_lookup_that_hangs_does_not_hold_up_the_programs_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads of the event loop's own executor are waited for when a program ends."""
    answered, looking = threading.Event(), []

    def hang(*_: object, **__: object) -> None:
        looking.append(threading.current_thread())
        answered.wait(30.0)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(ChainError, match="does not answer"):
            Connection(ChainTarget(("ws://node.example:9944",), patience_s=0.3))
        assert looking
        joined = vars(concurrent.futures.thread)["_threads_queues"]
        assert not [thread for thread in looking if thread in joined or not thread.daemon]
    finally:
        answered.set()


def test_only_loopback_is_loopback() -> None:
    assert ChainTarget(("ws://127.0.0.1:9944", "ws://localhost:1")).is_loopback
    assert not ChainTarget(("ws://127.0.0.1:9944", "wss://example.org:443")).is_loopback
    assert not ChainTarget(("ws://127.0.0.1.example.org",)).is_loopback


def test_development_keys_are_never_shown() -> None:
    wallet = DevWallet("//Alice", "//Alice//secret")
    assert "//" not in repr(wallet)
    assert "secret" not in str(vars(wallet))


def test_a_wallet_that_is_not_there_says_which_file(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="coldkeypub"):
        open_wallet("cold", "hot", tmp_path)


def test_the_command_line_does_not_load_the_sdk() -> None:
    code = "import sys, json, assay.cli.app;print(json.dumps('bittensor' in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout) is False


def test_a_network_is_a_name_or_a_url() -> None:
    finney = ChainTarget.from_name("finney")
    assert finney.genesis_hash is not None
    assert len(finney.endpoints) > 1
    assert not finney.is_loopback
    assert ChainTarget.from_name("local").is_loopback
    own = ChainTarget.from_name("ws://node.example:9944", ("wss://other.example",))
    assert own.endpoints == ("ws://node.example:9944", "wss://other.example")
    assert own.genesis_hash is None
    for bad in ("finey", "http://node.example", "ws://", "ws://[", "ws://node:x", ""):
        with pytest.raises(ChainError, match="is not a network"):
            ChainTarget.from_name(bad)
        with pytest.raises(ChainError, match="is not a network"):
            ChainTarget.require_named(bad)
    with pytest.raises(ChainError, match="'nowhere' is not a node"):
        ChainTarget.from_name("finney", ("nowhere",))
    with pytest.raises(ChainError, match="'nowhere' is not a node"):
        ChainTarget.require_named("ws://node.example", "nowhere")
    for good in ("finney", "archive", "ws://node.example:9944"):
        ChainTarget.require_named(good, "wss://other.example")


@pytest.mark.parametrize(
    ("network", "shown"),
    [
        ("fnney", "fnney"),
        ("finneytest", "finneytest"),
        ("127.0.0.1:9944", "127.0.0.1:9944"),
        ("node.example/Hunter2ApiKey", "node.example/…"),
        ("hunter2user:hunter2word@node.example", "…@node.example"),
        ("http://hunter2user@node.example/?key=hunter2word", "…@node.example/…"),
        ("ws://node.example:99999/Hunter2ApiKey", "ws://node.example:99999/…"),
        ("ws://[::1/Hunter2ApiKey", "ws://[::1/…"),
    ],
)
def test_a_network_that_is_none_is_shown_without_what_may_be_a_key(
    network: str, shown: str
) -> None:
    with pytest.raises(ChainError) as caught:
        ChainTarget.require_named(network)
    assert str(caught.value) == (
        f"{shown!r} is not a network: name one of archive, devnet, finney, local, test, "
        "or a ws:// URL"
    )


def test_a_wallet_is_made_once_and_read_without_its_password(tmp_path: Path) -> None:
    words: dict[str, str] = {}
    made = create_wallet("cold", "hot", tmp_path, words.__setitem__, encrypted=False)
    assert {key: len(text.split()) for key, text in words.items()} == {"coldkey": 12, "hotkey": 12}
    opened = open_wallet("cold", "hot", tmp_path)
    assert (get_coldkey(opened), get_hotkey(opened)) == (get_coldkey(made), get_hotkey(made))
    with pytest.raises(ChainError, match="already exists"):
        create_wallet("cold", "hot", tmp_path, words.__setitem__, encrypted=False)
    create_wallet("cold", "second", tmp_path, words.__setitem__)  # the coldkey stays as it is
    (tmp_path / "cold" / "hotkeys" / "hotpub.txt").unlink()  # like older programs
    assert get_hotkey(open_wallet("cold", "hot", tmp_path)) == get_hotkey(made)
    (found,) = list_wallets(tmp_path)
    assert [key.name for key in found.hotkeys] == ["hot", "second"]


def test_a_wallets_name_leads_nowhere_else(tmp_path: Path) -> None:
    for name in ("..", "a/b", "", "a b", "x" * 65):
        with pytest.raises(ChainError, match="names no wallet"):
            open_wallet(name, "hot", tmp_path)
        with pytest.raises(ChainError, match="names no wallet"):
            create_wallet("cold", name, tmp_path, print)


def test_development_keys_need_no_files(tmp_path: Path) -> None:
    wallet = open_wallet("//Alice", "owner", tmp_path)
    assert wallet.coldkeypub.ss58_address == "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    assert get_hotkey(wallet) == get_hotkey(open_wallet("//Alice", "//Alice//owner", tmp_path))


def test_large_answers_are_dropped_after_two_days(tmp_path: Path) -> None:
    archive = StateArchive(tmp_path / "state.sqlite", b"\x01" * 32, 3)
    for kind in ("state", "block"):
        for number in (100, 101, 14_499, 14_500, 14_501):
            archive.put(kind, number, "data")
    assert archive.get("state", 100) is None
    assert archive.get("state", 101) == archive.get("block", 100) == "data"
    archive.put("state", 50, "read again by somebody who looks far back")
    assert archive.get("state", 14_499) == "data"
