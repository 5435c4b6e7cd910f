"""A validator that was stopped, or is too slow: it says so, drops windows that are over, and
catches up."""

import json

import pytest

from assay.inference.folder import CheckpointError
from assay.neurons.validator import submission_queue
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.errors import TroubleKind
from assay.protocol.window import Phase, compute_block
from assay.session.chain_delivery import DeliveryState
from tests.adversarial.mortal import HOTKEYS, TIMING, Mortal

#: Hotkeys that hold a uid in every window.
MEMBERS = len(HOTKEYS)
COMMITTED = tuple(HOTKEYS[name] for name in ("alice", "bob", "carol"))


def compute_end(window, phase):
    return compute_block(TIMING, window, phase)


class Slow(Mortal):
    """A validator whose forward pass takes blocks.

    Attributes:
        cost: blocks that judging Alice, Bob and Carol takes; the others have committed nothing.
        quick_from: block from which on it takes none.
        begun, ended: (window, head) of every judgement of what miners show.
    """

    cost, quick_from = 0, 60

    def __init__(self, *arguments, **options):
        self.begun, self.ended, self.troubles = [], [], []
        super().__init__(*arguments, **options)

    def judge(self, context, hotkey, *arguments, **options):
        head = self.real.get_head()
        if options["late"]:
            return super().judge(context, hotkey, *arguments, **options)
        self.begun.append((context.window, head))
        self.troubles.append(self.validator.trouble)
        answer = super().judge(context, hotkey, *arguments, **options)
        if head < self.quick_from and hotkey in COMMITTED:
            for _ in range(self.cost):
                self.real.mint()
        self.ended.append((context.window, self.real.get_head()))
        return answer

    def play_to(self, block):
        while self.real.get_head() < block:
            self.play(1)
            self.troubles.append(self.validator.trouble)

    def read_window(self, window):
        return json.loads((self.folder / "verdicts" / f"window-{window}.json").read_text())

    def read_settlements(self):
        files = self.folder.glob("verdicts/settlement-*.json")
        found = [json.loads(file.read_text()) for file in files]
        return sorted(found, key=lambda settlement: settlement["epoch_block"])


def list_weights(mortal):
    return {
        tuple(s["windows"]): s["weights"] for s in mortal.read_settlements() if not s["abstained"]
    }


def test_stopped_for_five_windows(tmp_path, monkeypatch):
    """Files that could not be fetched meanwhile count for nobody. Before and after, all is as
    usual."""
    whole = Slow(tmp_path / "whole", monkeypatch)
    whole.play_to(80)
    mortal = Slow(tmp_path / "stopped", monkeypatch)
    mortal.play_to(22)
    mortal.database.close()
    for _ in range(5 * TIMING.window_blocks):
        mortal.real.mint()
    mortal.restart()
    mortal.play_to(80)
    lost = {w for s in mortal.read_settlements() for w in s["abstained"]}
    assert lost == {6, 7, 8, 9, 10} - {w for s in mortal.read_settlements() for w in s["windows"]}
    assert 3 <= len(lost) <= 5
    for window in lost:
        assert "were not judged in time" in mortal.read_window(window)["missing"]
    assert all(head <= compute_end(w, Phase.FETCH_END) for w, head in mortal.begun)
    undisturbed = list_weights(whole)
    same = list_weights(mortal)
    assert len(same) >= 4
    assert all(undisturbed[windows] == weights for windows, weights in same.items())
    troubles = [trouble for trouble in mortal.troubles if trouble]
    assert all(trouble.kind is TroubleKind.WINDOW for trouble in troubles)
    assert all("abstained from" in trouble.text for trouble in troubles)
    assert troubles
    assert mortal.validator.trouble is None  # it has caught up
    assert {row.state for row in list_rows(mortal.database, 99)} == {DeliveryState.CONFIRMED}


def test_a_forward_pass_that_takes_longer_than_a_window(tmp_path, monkeypatch):
    """Nothing is fetched late, no verdict counts that came after all were final, no weights are
    set from windows that were judged in part; quick again, it judges the very next window."""
    whole = Slow(tmp_path / "whole", monkeypatch)
    whole.play_to(120)
    slow = Slow(tmp_path / "slow", monkeypatch)
    slow.play_to(15)
    slow.cost = 2 * TIMING.window_blocks
    slow.play_to(120)
    assert all(head <= compute_end(w, Phase.FETCH_END) for w, head in slow.begun)
    late = {w for w, head in slow.ended if head > compute_end(w, Phase.VERDICT_END)}
    assert late
    settlements = slow.read_settlements()
    lost = {w for s in settlements for w in s["abstained"]}
    counted = [w for s in settlements for w in s["windows"]]
    assert len(counted) == len(set(counted))
    assert not (lost | late) & set(counted)
    for window in counted:
        assert len(slow.read_window(window)["verdicts"]) == MEMBERS
    for settlement in settlements:
        if not settlement["windows"]:
            assert not settlement["weights"]
    whole_weights, slow_weights = list_weights(whole), list_weights(slow)
    assert len(slow_weights) >= 4
    assert all(whole_weights[windows] == weights for windows, weights in slow_weights.items())
    assert max(lost) <= slow.quick_from // TIMING.window_blocks
    assert any("not judged in time" in str(trouble) for trouble in slow.troubles)
    assert slow.validator.trouble is None
    rows = list_rows(slow.database, 99)
    assert {row.state for row in rows} <= {DeliveryState.CONFIRMED, DeliveryState.SUPERSEDED}


@pytest.mark.parametrize("kind", ["beacon", "checkpoint"])
def test_missing_inputs_are_named(tmp_path, monkeypatch, kind):
    """Not a word of slowness where it was another thing."""
    mortal = Slow(tmp_path, monkeypatch)
    if kind == "beacon":
        get = mortal.beacons.get
        monkeypatch.setattr(mortal.beacons, "get", lambda n: None if n > 20 else get(n))
    else:

        def fail(*_):
            raise CheckpointError("no mirror has it")

        monkeypatch.setattr(submission_queue, "open_checkpoint", fail)
    mortal.play_to(40)
    assert mortal.validator.trouble.text.startswith("abstained from window ")
    why = {"beacon": "its audit beacon did not come in time", "checkpoint": "no mirror has it"}
    assert why[kind] in mortal.validator.trouble.text
