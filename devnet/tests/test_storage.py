"""State of the past, restarts, and processes that are killed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from devlab import GENESIS_MS, TAO, Lab, get_key, sign
from subtensor_devnet import Devnet, DevnetError, Seal
from subtensor_devnet.block_database import BlockDatabase
from subtensor_devnet.errors import RpcError
from subtensor_devnet.scale_codec import ScaleCodec
from subtensor_devnet.state import DevnetState

ALICE, BOB = get_key("//Alice"), get_key("//Bob")


def give(lab: Lab) -> None:
    lab.send(ALICE, "Balances", "transfer_keep_alive", dest=BOB.ss58_address, value=TAO)


def test_every_block_of_the_past_is_read_as_it_was(lab: Lab) -> None:
    start = lab.get_free(BOB)
    for _ in range(5):
        give(lab)
        lab.pass_blocks()
    held = [
        lab.chain.view(number).get("System", "Account", BOB.ss58_address)["data"]["free"] - start
        for number in range(6)
    ]
    assert held == [0, TAO, 2 * TAO, 3 * TAO, 4 * TAO, 5 * TAO]
    numbers = [lab.chain.view(number).get("System", "Number") for number in range(6)]
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_keys_that_came_and_went_are_listed_where_they_stood(subnet: Lab) -> None:
    before = subnet.chain.head.number
    subnet.register("miner")
    prefix = subnet.codec.make_key("SubtensorModule", "Uids", 1)
    hotkey = get_key("//miner//hot").ss58_address
    gone = subnet.codec.make_key("SubtensorModule", "Uids", 1, hotkey)
    subnet.chain.write_storage({gone: None})
    subnet.pass_blocks()

    def list_at(number: int) -> list[bytes]:
        return subnet.chain.list_keys(prefix, b"", 100, number)

    assert len(list_at(before)) == 1
    assert len(list_at(subnet.chain.head.number)) == 1
    assert subnet.chain.list_keys(prefix, list_at(before)[0], 100, before) == []
    assert [
        uid for _, uid in subnet.chain.view(before).list_entries("SubtensorModule", "Uids", 1)
    ] == [0]


def test_undo_takes_back_every_change(codec: ScaleCodec) -> None:
    state = DevnetState(codec, {b"a" * 40: b"1", b"b" * 40: b"2"})
    mark = state.mark()
    state.write(b"a" * 40, None)
    state.write(b"b" * 40, b"3")
    state.write(b"c" * 40, b"4")
    inner = state.mark()
    state.write(b"c" * 40, b"5")
    state.undo(inner)
    assert state.list_changes() == {b"a" * 40: None, b"b" * 40: b"3", b"c" * 40: b"4"}
    state.undo(mark)
    assert state.list_changes() == {}
    assert state.list_keys(b"") == [b"a" * 40, b"b" * 40]


def test_a_restart_goes_on_where_it_was(lab: Lab) -> None:
    give(lab)
    lab.pass_blocks(3)
    before = (lab.chain.genesis_hash, lab.chain.head, lab.get_free(BOB), lab.chain.now_ms)
    lab.database.close()
    lab.open()
    assert before == (lab.chain.genesis_hash, lab.chain.head, lab.get_free(BOB), lab.chain.now_ms)
    give(lab)
    lab.pass_blocks()
    assert lab.chain.head.parent_hash == before[1].hash
    assert lab.get_free(BOB) == before[2] + TAO


def test_two_networks_are_not_one(tmp_path: Path, codec: ScaleCodec) -> None:
    first, second = Lab(tmp_path / "1", codec), Lab(tmp_path / "2", codec)
    assert first.chain.genesis_hash != second.chain.genesis_hash
    for lab in (first, second):
        lab.database.close()


def test_the_same_calls_make_the_same_chain_though_signatures_are_random(tmp_path: Path) -> None:
    """By the secret, the timestamps and the calls alone, so that a run can be repeated."""

    def play(name: str, secret: bytes, amount: int) -> tuple[bytes, list[bytes]]:
        devnet = Devnet(tmp_path / name, seal=Seal.MANUAL, genesis_ms=GENESIS_MS, secret=secret)
        chain, alice = devnet.chain, get_key("//Alice")
        arguments = {"dest": BOB.ss58_address, "value": amount}
        call = chain.codec.encode_call("Balances", "transfer_keep_alive", arguments)
        chain.submit(sign(chain.codec, chain.genesis_hash, alice, call, 0), None)
        devnet.new_blocks(9)
        stored = chain.find_block(chain.get_hash(1))
        assert stored is not None
        devnet.close()
        return chain.head.hash, list(stored.extrinsics)

    (first, one), (second, other) = (play(name, b"s" * 32, TAO) for name in ("1", "2"))
    assert one != other  # in their encoded form
    assert first == second
    assert play("3", b"t" * 32, TAO)[0] != first
    assert play("4", b"s" * 32, TAO + 1)[0] != first


def test_a_block_that_cannot_be_kept_has_not_happened(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(lab)
    before = lab.chain.head, lab.get_free(BOB)

    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(lab.database, "_write_changes", fail)
    with pytest.raises(DevnetError, match="disk is full"):
        lab.pass_blocks()
    assert (lab.chain.head, lab.get_free(BOB)) == before
    monkeypatch.undo()
    lab.pass_blocks()  # waiting extrinsics are not lost either
    assert lab.get_free(BOB) == before[1] + TAO


def test_a_second_process_does_not_get_the_same_folder(lab: Lab) -> None:
    lab.pass_blocks()
    program = (
        "import sys; from pathlib import Path; "
        "from subtensor_devnet import Devnet; Devnet(Path(sys.argv[1]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(lab.folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "use another folder" in ran.stderr


def test_another_block_time_is_another_network(tmp_path: Path) -> None:
    Devnet(tmp_path, block_time=2.0).close()
    with pytest.raises(DevnetError, match="every 2 s"):
        Devnet(tmp_path, block_time=1.0)


KILLED = """
import sys, time
from pathlib import Path
from subtensor_devnet import Devnet, DevnetError, Seal
devnet = Devnet(Path(sys.argv[1]), seal=Seal.MANUAL)
devnet.start()
print(devnet.genesis_hash.hex(), flush=True)
while True:
    print(devnet.new_blocks(1), flush=True)
"""


def test_a_killed_process_loses_no_block_that_anybody_heard_of(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    genesis = process.stdout.readline().strip()
    while int(process.stdout.readline()) < 20:
        pass
    os.kill(process.pid, signal.SIGKILL)
    heard = [int(line) for line in process.stdout.read().split()] or [20]
    process.wait(60)
    devnet = Devnet(tmp_path, seal=Seal.MANUAL)
    assert devnet.genesis_hash.hex() == genesis
    assert devnet.get_head() >= heard[-1]
    assert devnet.new_blocks(2) >= heard[-1] + 2
    devnet.close()


def test_a_write_that_a_kill_cut_off_takes_no_earlier_block_with_it(
    lab: Lab, tmp_path: Path, codec: ScaleCodec
) -> None:
    """However many of the last block's pages had reached the log: the block is there whole or not
    at all, and final blocks are there."""
    give(lab)
    lab.pass_blocks(2)
    log = lab.folder / "devnet.sqlite-wal"
    before, start = lab.chain.head, log.stat().st_size
    give(lab)
    lab.pass_blocks()
    after, end = lab.chain.head, log.stat().st_size
    assert end > start
    found = []
    for number, size in enumerate([*range(start, end, (end - start) // 7), end - 1, end]):
        folder = tmp_path / f"cut-{number}"
        shutil.copytree(lab.folder, folder)
        os.truncate(folder / log.name, size)
        cut = Lab(folder, codec)
        found.append(cut.chain.head)
        assert cut.chain.get_hash(before.number) == before.hash
        assert cut.database.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        cut.pass_blocks()
        assert cut.chain.head.parent_hash == found[-1].hash
        cut.database.close()
    assert found == [before] * (len(found) - 1) + [after]


def test_virtual_time_goes_on_only_as_it_is_told(tmp_path: Path) -> None:
    devnet = Devnet(tmp_path, seal=Seal.MANUAL, genesis_ms=1_000_000, block_time=0.5)
    devnet.new_blocks(2)
    assert devnet.chain.now_ms == 1_001_000
    devnet.move_time(2_000_000)
    devnet.new_blocks(2)
    assert devnet.chain.now_ms == 2_000_500
    with pytest.raises(RpcError, match="set a later time"):
        devnet.move_time(2_000_000)
    devnet.close()
    by_the_clock = Devnet(tmp_path / "clock")
    with pytest.raises(RpcError, match="cannot be set"):
        by_the_clock.move_time(int(time.time() * 2_000))
    by_the_clock.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "devnet.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(DevnetError, match="is not a database; use another folder"):
        BlockDatabase(tmp_path / "devnet.sqlite")


def test_a_chain_on_demand_goes_on_by_the_clock(tmp_path: Path) -> None:
    with Devnet(tmp_path, seal=Seal.MANUAL, genesis_ms=1_000_000, block_time=0.02) as devnet:
        devnet.new_blocks(3)
        devnet.start_clock()
        deadline = time.monotonic() + 60
        while devnet.get_head() < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert devnet.get_head() >= 6
        assert devnet.chain.now_ms > 1_700_000_000_000
        with pytest.raises(RpcError, match="cannot be set"):
            devnet.move_time(int(time.time() * 2_000))
