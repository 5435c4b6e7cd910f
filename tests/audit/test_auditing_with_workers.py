"""`assay audit --workers`: the same findings in the same order, whichever worker runs the
models."""

import json
from dataclasses import replace

import pytest

from assay.audit.sources import ModelShelf
from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import open_workers
from assay.sandbox import WorkerError
from tests.audit.audited import audit_liar
from tests.audit.test_lying_in_verdicts import give_another_reason, invent_a_witness
from tests.inference.workers.faulty_worker import KINDS, list_faults, open_faulty, put_faults


def as_json(report):
    return json.dumps([found.to_json("number") for found in (*report.windows, *report.settlements)])


@pytest.fixture(scope="module")
def pool():
    with open_workers([WorkerSettings()] * 2) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("lie", [give_another_reason, None, invent_a_witness])
def test_workers_find_what_this_process_does(public, liar, network, models, pool, lie):
    if lie is not None:
        lie(liar)
        liar.agree()
    expected = audit_liar(public, liar, models=models)
    shelf = ModelShelf([network.models], pool.load)
    found = audit_liar(replace(public, parallel=3), liar, models=shelf)
    assert as_json(found) == as_json(expected)
    assert found.differs is (lie is not None)


@pytest.mark.slow
@pytest.mark.nightly
def test_workers_that_are_lost_change_nothing(public, liar, network, models, tmp_path):
    invent_a_witness(liar)
    liar.agree()
    expected = audit_liar(public, liar, models=models)
    kinds = [kind for kind in KINDS if kind != "broken"]  # an audit does not try that again
    with open_faulty(tmp_path, 2) as pool:
        for kind in kinds:
            put_faults(tmp_path, kind)
            shelf = ModelShelf([network.models], pool.load)
            found = audit_liar(replace(public, parallel=3), liar, models=shelf)
            assert as_json(found) == as_json(expected)
            assert list_faults(tmp_path) == []


@pytest.mark.slow
def test_with_no_worker_left_the_audit_says_so(public, liar, network, tmp_path):
    with open_faulty(tmp_path, 1) as pool:
        shelf = ModelShelf([network.models], pool.load)
        (tmp_path / "gone-worker 0 on cpu").touch()
        with pytest.raises(WorkerError, match="no worker is left to judge: worker 0 on cpu: dev"):
            audit_liar(replace(public, parallel=2), liar, models=shelf)
