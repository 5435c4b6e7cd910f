"""A clock that is set an hour back or ahead is said, by how much and which way."""

import json
from contextlib import closing

import pytest

from assay.cli.checks_view import print_checks
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.beacon.relay_clock import ClockReading
from assay.network.beacon.server import BeaconServer
from assay.neurons.preflight import doctor
from assay.neurons.preflight.check_results import CheckState, PreflightCheck
from assay.neurons.preflight.checks import check_clock
from assay.neurons.preflight.clock import judge_clock, read_block_clock
from assay.protocol.parameters import MAIN_TIMING
from assay.session.resources import now_ms
from assay.session.session import open_session
from assay.settings.loading import load_settings

HOUR_MS = 3_600_000
SLOW = "set the clock: it is slow"
FAST = "set the clock: it is fast"


@pytest.mark.parametrize(
    ("off_ms", "state", "said", "remedy"),
    [
        (HOUR_MS, CheckState.FAIL, "is 3600.0 s old", FAST),
        (-HOUR_MS, CheckState.FAIL, "is 3600.0 s ahead by this machine's clock", SLOW),
        (2_000, CheckState.OK, "is 2.0 s old", ""),
    ],
)
def test_a_clock_an_hour_off(off_ms, state, said, remedy):
    chain = SimulatedChain(b"clock", 1, 1_700_000_000_000, MAIN_TIMING.slot_ms, 360, ())
    now_ms = chain.get_block(chain.get_head()).timestamp_ms + off_ms
    found = check_clock(chain, MAIN_TIMING, now_ms)
    assert found.state is state
    assert said in found.detail
    assert remedy in found.remedy


def test_a_node_is_late_where_others_confirm_the_clock():
    chain = SimulatedChain(b"clock", 1, 1_700_000_000_000, MAIN_TIMING.slot_ms, 360, ())
    at_ms = chain.get_block(chain.get_head()).timestamp_ms
    for off_ms, said in ((HOUR_MS, "until the node has caught up"), (-HOUR_MS, "clock is right")):
        found = check_clock(chain, MAIN_TIMING, at_ms + off_ms, is_right=True)
        assert (found.check, found.state) == ("head", CheckState.FAIL)
        assert said in found.remedy


def date(host, ahead_ms, error_ms=500, **more):
    return ClockReading(host, f"the date of {host}", ahead_ms, error_ms, **more)


@pytest.mark.parametrize(
    ("readings", "state", "said"),
    [
        ([date("a", 300), date("b", -900)], "ok", "right by the date of a, the date of b"),
        ([date("a", 300)], "ok", "right by the date of a"),
        # one server that lies or lags changes nothing
        (
            [date("a", 300), date("b", -3 * HOUR_MS)],
            "ok",
            "right by the date of a; but the date of b is 3.0 h behind",
        ),
        ([date("a", HOUR_MS)], "warn", "the date of a is 60.0 min ahead"),
        ([date("a", HOUR_MS), date("a", HOUR_MS)], "warn", "ahead; the date of a"),
        ([date("a", HOUR_MS), date("b", -HOUR_MS)], "warn", "60.0 min behind"),
        ([], "warn", "nobody"),
        # two hosts that agree
        ([date("a", 3 * HOUR_MS), date("b", 3 * HOUR_MS + 900)], "fail", "clock is 3.0 h slow, by"),
        (
            [date("a", -90_000), date("b", -90_000)],
            "fail",
            "clock is 90.0 s fast, by the date of a",
        ),
        ([date("a", 9_000), date("b", 9_400)], "warn", "clock is 9.0 s slow"),
        (
            [date("a", -5 * 86_400_000), read_block_clock("b", 0, 5 * 86_400_000)],
            "fail",
            "5.0 days fast, by the date of a, the newest block of b",
        ),
        # nobody signs a round of the pinned chain before its time
        (
            [date("a", HOUR_MS, proves=True), date("b", 0), date("c", 0)],
            "fail",
            "clock is 60.0 min slow, by the date of a; the date of b is 0.0 s behind",
        ),
        # an old round proves nothing
        ([date("a", -HOUR_MS, proves=True), date("b", 0)], "ok", "right by the date of b; but"),
    ],
)
def test_a_clock_is_wrong_where_two_agree_or_one_proves_it(readings, state, said):
    found = judge_clock(readings)
    assert (found.check, found.state.value) == ("clock", state)
    assert said.replace("nobody", "no relay and no node says") in found.detail
    assert bool(found.remedy) is (state != "ok")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_wrong_clock_is_named_before_anything_is_blamed(tmp_path, monkeypatch, capsys, as_json):
    """Two relays are in time, and this machine is three hours behind."""
    given = {
        "chain": {"network": "nowhere", "netuid": 1},
        "wallet": {"path": tmp_path},
        "miner": {"dir": tmp_path / "miner"},
    }
    beacons = LocalBeacon(b"clock", (now_ms() - HOUR_MS) // 1_000 * 1_000, 1_000, now_ms)
    with closing(BeaconServer(beacons)) as one, closing(BeaconServer(beacons)) as other:
        given["beacon"] = {"endpoints": [one.url, other.url]}
        monkeypatch.setattr(doctor, "now_ms", lambda: now_ms() - 3 * HOUR_MS)
        with open_session(load_settings(None, given)) as session, print_checks(as_json) as show:
            assert not doctor.diagnose(session, "miner", show, lambda: None)
    shown = capsys.readouterr().out
    if not as_json:
        assert shown.splitlines()[0].startswith(
            "✗  clock         this machine's clock is 3.0 h slow"
        )
        return
    first, *rest = json.loads(shown)
    assert (first["check"], first["state"]) == ("clock", "fail")
    hidden = {row["check"] for row in rest if row["remedy"].startswith("set the clock first")}
    assert hidden >= {"registration", "relays", "beacon", "checkpoint"}
    assert "rules" not in {row["check"] for row in rest}


def test_each_finding_is_out_before_the_next_is_looked_for(capsys):
    check = PreflightCheck("clock", CheckState.OK, "right")
    with print_checks(as_json=False) as note:
        note(check)
        assert capsys.readouterr().out == "✓  clock         right\n"
    with print_checks(as_json=True) as note:
        assert capsys.readouterr().out == "["
        note(check)
        line = capsys.readouterr().out
        assert json.loads(line) == check.to_json()
        note(check, check)
    assert json.loads(f"[{line}{capsys.readouterr().out}") == [check.to_json()] * 3
    with print_checks(as_json=True):
        pass
    assert json.loads(capsys.readouterr().out) == []
