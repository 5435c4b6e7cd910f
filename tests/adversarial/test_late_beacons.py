"""A round that comes late, or never: its window waits for it, and no other window does."""

import json

import pytest

from assay.network.beacon import BeaconSourceError
from assay.neurons.validator import submission_queue
from assay.protocol.reason import Reason, Refusal
from assay.protocol.window import Phase, compute_block, compute_round
from tests.adversarial.mortal import TIMING, Mortal

#: The window whose round is withheld, and blocks that are played.
WINDOW, BLOCKS = 5, 60


class Waiting(Mortal):
    """A validator whose relays lack one round until a block.

    Args:
        phase: whose round.
        until: block at which it comes at last; None: never.
    """

    def __init__(self, folder, monkeypatch, phase, until):
        super().__init__(folder, monkeypatch)
        number = compute_block(TIMING, WINDOW, phase)
        get = self.beacons.get

        def get_or_wait(asked):
            head = self.real.get_head()
            late = until is None or head < until
            if late and head >= number:
                block = self.real.get_block(number)
                if asked == compute_round(TIMING, self.beacons.chain, block.timestamp_ms):
                    return None
            return get(asked)

        monkeypatch.setattr(self.beacons, "get", get_or_wait)

    def read_reasons(self):
        """Window → reasons of its verdicts, in order of hotkeys."""
        files = self.folder.glob("verdicts/window-*.json")
        records = [json.loads(file.read_text()) for file in files]
        return {r["window"]: [v["reason"] for v in r["verdicts"]] for r in records}

    def list_settled(self):
        """Windows that count, and windows that are abstained from."""
        files = self.folder.glob("verdicts/settlement-*.json")
        found = [json.loads(file.read_text()) for file in files]
        return (
            {w for settlement in found for w in settlement["windows"]},
            {w for settlement in found for w in settlement["abstained"]},
        )


@pytest.fixture
def whole(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path / "whole", monkeypatch)
    mortal.play(BLOCKS)
    return mortal


@pytest.mark.parametrize("kills", [False, True], ids=["", "killed"])
def test_a_challenge_that_never_comes_costs_its_window_and_no_other(tmp_path, monkeypatch, kills):
    mortal = Waiting(tmp_path / "never", monkeypatch, Phase.CHALLENGE, None)
    mortal.play(compute_block(TIMING, WINDOW + 1, Phase.CHALLENGE) + 2)
    assert WINDOW + 1 in mortal.validator.judged_windows  # opened while the one before it waits
    if kills:
        mortal.restart()
        assert WINDOW + 1 in mortal.validator.judged_windows
        assert WINDOW not in mortal.validator.judged_windows
    mortal.play(BLOCKS - mortal.real.get_head())
    reasons = mortal.read_reasons()
    assert WINDOW not in reasons
    assert all(reasons[window] for window in (WINDOW - 1, WINDOW + 1, WINDOW + 2, WINDOW + 3))
    counted, abstained = mortal.list_settled()
    assert abstained == {WINDOW}
    assert {WINDOW - 1, WINDOW + 1, WINDOW + 2} <= counted
    assert mortal.chain.sent
    assert mortal.validator.trouble is None


@pytest.mark.parametrize("kills", [False, True], ids=["", "killed"])
def test_a_challenge_that_comes_before_its_audit_changes_nothing(
    tmp_path, monkeypatch, whole, kills
):
    until = compute_block(TIMING, WINDOW, Phase.AUDIT)
    mortal = Waiting(tmp_path / "late", monkeypatch, Phase.CHALLENGE, until)
    mortal.play(until - 1)
    assert WINDOW not in mortal.validator.judged_windows
    if kills:
        mortal.restart()
    mortal.play(BLOCKS - mortal.real.get_head())
    assert mortal.describe() == whole.describe()


def test_an_audit_round_that_never_comes_is_abstained_from(tmp_path, monkeypatch, whole):
    mortal = Waiting(tmp_path / "never", monkeypatch, Phase.AUDIT, None)
    mortal.play(BLOCKS)
    reasons = mortal.read_reasons()
    assert reasons[WINDOW] == []
    counted, abstained = mortal.list_settled()
    assert abstained == {WINDOW}
    assert WINDOW not in counted
    assert all(reasons[window] for window in (WINDOW - 1, WINDOW + 1))


@pytest.mark.parametrize("kills", [False, True], ids=["", "killed"])
def test_samples_that_are_never_known_leave_nothing_accepted(tmp_path, monkeypatch, kills):
    """Files that the audit refused stay refused; all others abstain alike, for that reason."""
    mortal = Waiting(tmp_path / "never", monkeypatch, Phase.SAMPLE, None)
    mortal.play(compute_block(TIMING, WINDOW, Phase.MIRROR_END))
    if kills:
        mortal.restart()
    judged = mortal.validator.judged_windows[WINDOW]
    assert {verdict.provisional for verdict in judged.provisional.values()} == {True}
    mortal.play(BLOCKS - mortal.real.get_head())
    reasons = mortal.read_reasons()
    accepted = len(judged.provisional)
    assert accepted >= 2
    assert len(reasons[WINDOW]) == len(reasons[WINDOW + 1]) - accepted
    assert "ACCEPTED" not in reasons[WINDOW]
    counted, abstained = mortal.list_settled()
    assert abstained == {WINDOW}
    assert WINDOW not in counted
    text = (mortal.folder / "verdicts" / f"window-{WINDOW}.json").read_text()
    assert json.loads(text)["missing"] == "the beacon of its samples did not come in time"
    assert all("ACCEPTED" in reasons[window] for window in (WINDOW - 1, WINDOW + 1))


def test_samples_that_are_known_too_late_are_not_held_against_anybody(tmp_path, monkeypatch):
    """Nobody could ask miners for them in time: what mirrors do not have says nothing."""
    late = compute_block(TIMING, WINDOW, Phase.FETCH_END) + 1
    mortal = Waiting(tmp_path / "late", monkeypatch, Phase.SAMPLE, late)
    sampled = []
    judge = mortal.judge_samples

    def judge_samples(context, hotkey, sources, verdict, *, late):
        if context.window != WINDOW:
            return judge(context, hotkey, sources, verdict, late=late)
        sampled.append(late)
        return verdict.conclude(Refusal(Reason.NOT_REVEALED, "not there", unbound=True))

    monkeypatch.setattr(submission_queue, "judge_samples", judge_samples)
    mortal.play(BLOCKS)
    assert set(sampled) == {True}
    assert "NOT_REVEALED" not in mortal.read_reasons()[WINDOW]
    assert mortal.list_settled()[1] == {WINDOW}


def test_relays_that_fail_leave_what_is_audited_to_be_judged(tmp_path, monkeypatch):
    mortal = Waiting(tmp_path, monkeypatch, Phase.SAMPLE, 0)
    get = mortal.beacons.get
    number = compute_block(TIMING, WINDOW, Phase.SAMPLE)

    def fail(asked):
        if mortal.real.get_head() >= number:
            block = mortal.real.get_block(number)
            if asked == compute_round(TIMING, mortal.beacons.chain, block.timestamp_ms):
                raise BeaconSourceError("the relays are away")
        return get(asked)

    monkeypatch.setattr(mortal.beacons, "get", fail)
    mortal.play(compute_block(TIMING, WINDOW, Phase.FETCH_END))
    judged = mortal.validator.judged_windows[WINDOW]
    assert judged.provisional
    assert "the relays are away" in judged.missing
    mortal.play(BLOCKS - mortal.real.get_head())
    assert mortal.list_settled()[1] == {WINDOW}


def test_a_challenge_that_comes_too_late_is_never_judged(tmp_path, monkeypatch):
    """Past VERDICT_END nothing is opened any more, whatever the relays have then."""
    until = compute_block(TIMING, WINDOW, Phase.VERDICT_END) + 1
    mortal = Waiting(tmp_path / "late", monkeypatch, Phase.CHALLENGE, until)
    mortal.play(BLOCKS)
    assert WINDOW not in mortal.read_reasons()
    assert mortal.list_settled()[1] == {WINDOW}
