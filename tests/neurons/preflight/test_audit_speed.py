"""Whether a validator keeps up, by one timed audit."""

from socket import gethostname

import pytest

from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import open_workers
from assay.neurons.preflight.audit_speed import AuditSpeed, check_audit_speed, measure_audit_speed
from assay.neurons.preflight.check_results import CheckState
from assay.neurons.program.loop import claim_folder
from tests.neurons.preflight.test_doctor import look, states


def test_one_audit_is_timed_after_one_to_warm_up(make_subnet, genesis):
    ticks = iter([0.0, 100.0, 200.0, 202.0])
    speed = measure_audit_speed(genesis, make_subnet().parameters, timer=lambda: next(ticks))
    assert speed.seconds == 2.0
    assert speed.tokens_per_second == speed.tokens / 2
    assert next(ticks, None) is None


@pytest.mark.parametrize(("seconds", "state"), [(0.1, "ok"), (5.0, "warn"), (10.0, "fail")])
def test_an_audit_that_takes_a_window_is_too_slow(make_subnet, seconds, state):
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


def look_with_workers(subnet, folder, settings):
    for _ in range(30):
        subnet.chain.mint()
    found = look(subnet, "validator", folder=folder, open_pool=lambda: open_workers(settings))
    return next(check for check in found if check.check == "speed")


def test_a_validators_workers_are_timed_themselves(make_subnet, tmp_path):
    check = look_with_workers(make_subnet(), tmp_path, [WorkerSettings()] * 2)
    host = gethostname()
    assert f"by 2 workers (cpu on {host}, cpu on {host})" in check.detail


def test_workers_of_a_running_validator_are_left_to_it(make_subnet, tmp_path):
    folder = tmp_path / "validator"
    absent = [WorkerSettings(device="cuda:9")]
    with claim_folder(folder, "validator"):
        check = look_with_workers(make_subnet(), folder, absent)
        assert (check.state, check.detail[:12]) == (CheckState.OK, "not measured")
    check = look_with_workers(make_subnet(), folder, absent)
    assert (check.state, "cuda:9" in check.detail) == (CheckState.FAIL, True)
