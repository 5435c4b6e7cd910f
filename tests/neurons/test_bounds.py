"""A program's memory of the past is bounded: tables, folders, dictionaries."""

import gc
import json
import sys
import threading
from dataclasses import replace
from typing import get_type_hints

import pytest
import torch
from safetensors.torch import save_file

from assay.artifacts import store_objects
from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.database import Database
from assay.artifacts.mining_history import (
    MinedWindow,
    MiningHistory,
    OwnVerdict,
    Payment,
    describe_history,
)
from assay.artifacts.store_objects import UnavailableError, answer_in_time
from assay.inference.folder import CheckpointError
from assay.inference.model_loading import read_tensors
from assay.lab.simulator import SimulatedChain
from assay.network.chain.errors import ForgottenError
from assay.network.chain.values import STATE_BLOCKS
from assay.network.evm import LedgerEntry
from assay.neurons.validator import post_outbox, weights_outbox
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.post_outbox import PostOutbox, list_posts
from assay.neurons.validator.run_archive import Archive
from assay.neurons.validator.weights_outbox import WeightsOutbox, list_rows
from assay.protocol.beacon import Beacon
from assay.protocol.reason import Reason
from assay.protocol.window import Block
from assay.session.chain_delivery import DeliveryState
from assay.session.window_reader import Challenge
from assay.verification import Ledger, Seat
from subtensor_devnet import block_database
from tests.adversarial.mortal import make_parameters

HOTKEY = b"\x01" * 32


@pytest.fixture
def history(tmp_path):
    with MiningHistory(
        tmp_path / "history.sqlite", bytes(32), 3, HOTKEY, window_count=20
    ) as history:
        yield history


def live(history, windows):
    """A miner's windows, three a settlement, judged and paid."""
    for window in windows:
        settlement = 36 * (window // 3 + 1)
        history.write_mined(MinedWindow(window, 12 * window, bytes(32), 4, groups=4))
        verdict = OwnVerdict(window, settlement, window, True, True, Reason.ACCEPTED, "good")
        history.write_verdict(verdict, Seat(1, 0), Ledger(window, (0.5,)))
        history.write_payment(Payment(settlement, settlement + 36, 1))


def count(history, table):
    return history.database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_miners_history(history):
    live(history, range(100))
    assert [mined.window for mined in history.get_mined()] == list(range(80, 100))
    assert [verdict.window for verdict in history.get_verdicts()] == list(range(80, 100))
    assert count(history, "ledgers") == count(history, "payments") == 8
    assert history.get_ledger(36 * 34, Seat(1, 0)).rollouts == 99


def test_a_miners_status_reads_no_more_than_it_shows(history):
    """Every second: its cost must not grow with the past."""
    live(history, range(20))
    whole = describe_history(history)
    read = []
    history.database.set_trace_callback(read.append)
    assert describe_history(history, 5) == whole[-5:]
    history.database.set_trace_callback(None)
    assert len(read) == 3
    assert all("window >=" in text or "LIMIT 5" in text or "settlement >=" in text for text in read)


def test_windows_without_a_verdict_are_found_among_many(history):
    live(history, range(10))
    history.write_mined(MinedWindow(10, 120, bytes(32), 4))
    provisional = OwnVerdict(11, 99, 11, False, True, Reason.NOT_REVEALED, "not yet")
    history.write_mined(MinedWindow(11, 132, bytes(32), 4))
    history.write_verdict(provisional, None, Ledger())
    assert [mined.window for mined in history.get_unjudged()] == [10, 11]


def test_weights_of_long_ago(monkeypatch):
    """Confirmed and superseded weights go; waiting ones stay, however old."""
    monkeypatch.setattr(weights_outbox, "KEPT_ROWS", 5)
    database = Database()
    box = WeightsOutbox(database, SimulatedChain(b"", 1, 0, 1_000, 10), HOTKEY)
    for epoch in range(30):
        box.put(epoch, {1: epoch + 1})
        (row,) = list_rows(database, 1)
        if epoch % 10:
            box.save(replace(row, state=DeliveryState.CONFIRMED))
        elif epoch == 10:
            box.save(replace(row, state=DeliveryState.SENDING))
    assert [row.epoch for row in list_rows(database, 99)] == [29, 28, 27, 26, 25, 10]


def test_posts_of_long_ago(monkeypatch):
    monkeypatch.setattr(post_outbox, "KEPT_ROWS", 5)
    database = Database()
    box = PostOutbox(database, None, 6)
    kinds = get_type_hints(LedgerEntry)
    entry = LedgerEntry(**{name: bytes(32) if kinds[name] is bytes else 1 for name in kinds})
    for epoch in range(30):
        box.put(epoch, entry)
        (row,) = list_posts(database, 1)
        if epoch != 10:
            box.save(replace(row, state=post_outbox.DeliveryState.CONFIRMED))
    assert [row.epoch for row in list_posts(database, 99)] == [29, 28, 27, 26, 25, 10]


def test_a_validators_files(tmp_path):
    """Contexts, verdicts and settlements of the last windows; another's file is left alone."""
    archive, parameters = Archive(tmp_path, window_count=8), make_parameters()
    (tmp_path / "verdicts").mkdir()
    (tmp_path / "verdicts" / "notes.json").write_text("{}")
    for window in range(60):
        challenge = Challenge(
            window, Block(window, bytes(32), 1), Beacon(7, bytes(48)), bytes(32), parameters
        )
        archive.write_window(JudgedWindow(challenge))
        archive.write_settlement(Settlement(window, (window,), (), {}, {}))
    names = sorted(path.name for path in (tmp_path / "verdicts").iterdir())
    for kind in ("window", "settlement"):
        numbers = {int(n.split("-")[1][:-5]) for n in names if n.startswith(kind)}
        assert set(range(52, 60)) <= numbers <= set(range(49, 60))
    assert "notes.json" in names
    again = Archive(tmp_path, window_count=2)  # after a start with another limit
    again.write_settlement(Settlement(60, (60,), (), {}, {}))
    again.write_window(JudgedWindow(challenge))
    assert len(list((tmp_path / "verdicts").glob("window-*.json"))) == 2
    assert json.loads((tmp_path / "verdicts" / "window-59.json").read_text())["window"] == 59


def test_checkpoints_that_nobody_had(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_folder, "FAILURES_MAX", 5)
    folder = CheckpointFolder(tmp_path, DownloadSettings(lambda: ()))
    for number in range(20):
        with pytest.raises(CheckpointError):
            folder.get(bytes([number]) * 32)
    assert [digest[0] for digest in folder.failures] == list(range(15, 20))


def test_calls_to_stores_that_never_return(monkeypatch):
    """Each costs a thread; past a number of them nobody is asked any more."""
    monkeypatch.setattr(store_objects, "CALLS_MAX", 3)
    released = threading.Event()
    before = threading.active_count()
    try:
        for _ in range(3):
            with pytest.raises(UnavailableError, match="no answer"):
                answer_in_time(released.wait, lambda: -1.0)
        with pytest.raises(UnavailableError, match="hang"):
            answer_in_time(lambda: 1, lambda: 1.0)
        assert threading.active_count() <= before + 3
    finally:
        released.set()
    for thread in threading.enumerate():
        if thread.name == "store call":
            thread.join(60)
    assert answer_in_time(lambda: 1, lambda: 9.0) == 1


def test_a_development_chains_keys_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(block_database, "_IDS_MAX", 10)
    database = block_database.BlockDatabase(tmp_path / "chain.sqlite")
    for number in range(8):
        keys = [b"key %d" % n for n in range(number * 5, number * 5 + 5)]
        database.amend(number, dict.fromkeys(keys, b"%d" % number))
        assert len(database.ids) <= 10
    assert len(database.load_newest_state()) == 40
    assert database.read_state(b"key 3", 7) == b"0"
    database.close()


def test_a_simulated_chains_blocks():
    """One that forgets has the hashes of one that does not, and is no shorter than its state."""
    whole, short = (
        SimulatedChain(b"", 1, 0, 1_000, 10, (HOTKEY,), kept=kept) for kept in (None, 1)
    )
    for chain in (whole, short):
        for number in range(STATE_BLOCKS + 9):
            chain.set_commitment(HOTKEY, b"%d" % number)
            chain.mint()
    head, first = whole.get_head(), short.get_head() - STATE_BLOCKS + 1
    assert len(short.blocks) == len(short.bodies) == STATE_BLOCKS
    for number in (first, head):
        assert short.get_body(number) == whole.get_body(number)
        assert short.get_commitments(number) == whole.get_commitments(number)
    assert whole.get_block(0).hash == short.genesis_hash
    with pytest.raises(ForgottenError):
        short.get_block(first - 1)


def test_reading_a_checkpoints_tensors(tmp_path):
    """A program reads new ones for as long as it runs: nothing of those before stays."""
    file, count, times = tmp_path / "model.safetensors", 40, 50
    save_file({str(n): torch.zeros(300, 4) for n in range(count)}, file)
    kept = []
    for repeats in (times, 0, times):  # the first ones warm up
        for _ in range(repeats):
            assert len(read_tensors(file)) == count
        gc.collect()
        kept.append(sys.getallocatedblocks())
    assert kept[2] - kept[1] < count * times  # mapped, it was two objects a tensor
