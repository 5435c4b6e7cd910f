"""Whether a validator keeps up, by one timed audit."""

import pytest

from assay.cli.preflight.audit_speed import AuditSpeed, check_audit_speed, measure_audit_speed
from tests.cli.preflight.test_doctor import look, states


def test_one_audit_is_timed_after_one_to_warm_up(make_subnet, genesis):
    ticks = iter([0.0, 100.0, 200.0, 202.0])
    speed = measure_audit_speed(genesis, make_subnet().parameters, lambda: next(ticks))
    assert speed.seconds == 2.0
    assert speed.tokens_per_second == speed.tokens / 2
    assert next(ticks, None) is None


@pytest.mark.parametrize(("seconds", "state"), [(0.1, "ok"), (5.0, "warn"), (10.0, "fail")])
def test_what_takes_a_window_is_too_slow(make_subnet, seconds, state):
    parameters = make_subnet().parameters
    timing = parameters.timing
    window = timing.window_blocks * timing.slot_ms / 1_000
    speed = AuditSpeed(1_000, seconds * window / 100)
    assert speed.compute_share(10, parameters) == pytest.approx(seconds / 10)
    check = check_audit_speed(speed, 10, parameters)
    assert check.state == state
    assert f"the audit of 10 miners takes {seconds / 10:.1%} of a window" in check.detail


def test_a_validators_doctor_times_the_reference_and_a_miners_does_not(make_subnet):
    subnet = make_subnet()
    for _ in range(30):
        subnet.chain.mint()
    assert "speed" in states(look(subnet, "validator"))
    assert "speed" not in states(look(subnet))
