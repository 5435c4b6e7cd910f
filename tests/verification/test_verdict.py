"""Verdicts, and the rows of journals in which they are kept: the text of a row stays as it is."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.encoding import from_json, to_json
from assay.protocol.reason import Reason, Refusal
from assay.verification import Accepted, GroupValue, Refused, Statistics, Verdict, VerdictRecord

STATISTICS = Statistics(3, -0.5, 2.0, 0.25, 1e-3)
ACCEPTED = Accepted(
    window=7,
    hotkey=bytes(range(32)),
    committed_groups=9,
    statistics=STATISTICS,
    witness=b"\x01\xfe",
    detail="4 rollouts judged",
    groups=(GroupValue(2, 1 << 70, (-5, 1_000_000), (0, 1_000_000), (1,)),),
    tokens=31,
    rollouts=4,
    turns=5,
    replies=6,
    broken=1,
    provisional=True,
)
FAULT = Refusal(Reason.ROOT_MISMATCH, "a sampled rollout: differs", 2, 3, 4, unbound=True)
REFUSED = Refused(
    window=7,
    hotkey=bytes(range(32)),
    committed_groups=9,
    statistics=STATISTICS,
    witness=b"\x01\xfe",
    fault=FAULT,
)
_HOTKEY = '"hotkey": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"'
_STATISTICS = (
    '"statistics": {"margin_max": 3, "log_capital": "-0x1.0000000000000p-1", '
    '"logprob_rms": "0x1.0000000000000p+1", "sketch_mean": "0x1.0000000000000p-2", '
    '"ledger_capital": "0x1.0624dd2f1a9fcp-10"}'
)
ROWS = (
    (
        ACCEPTED,
        f'{{"window": 7, {_HOTKEY}, "reason": "ACCEPTED", "detail": "4 rollouts judged", '
        '"committed_groups": 9, "group": null, "rollout": null, "token": null, '
        f'{_STATISTICS}, "groups": [{{"index": 2, "value": 1180591620717411303424, '
        '"rewards": [-5, 1000000], "correctness": [0, 1000000], "audited": [1]}], "tokens": 31, '
        '"rollouts": 4, "turns": 5, "replies": 6, "broken": 1, "witness": "01fe", '
        '"unbound": false, "provisional": true}',
    ),
    (
        REFUSED,
        f'{{"window": 7, {_HOTKEY}, "reason": "ROOT_MISMATCH", '
        '"detail": "a sampled rollout: differs", "committed_groups": 9, "group": 2, "rollout": 3, '
        f'"token": 4, {_STATISTICS}, "groups": [], "tokens": 0, "rollouts": 0, "turns": 0, '
        '"replies": 0, "broken": 0, "witness": "01fe", "unbound": true, "provisional": false}',
    ),
)

OF_ACCEPTED = ("groups", "tokens", "rollouts", "turns", "replies", "broken", "provisional")
PLACES, COUNTS = st.none() | st.integers(0, 9), st.integers(0, 9)
RECORDS = st.builds(
    VerdictRecord,
    window=st.just(7),
    hotkey=st.just(bytes(32)),
    reason=st.sampled_from(Reason),
    detail=st.text(max_size=9),
    committed_groups=COUNTS,
    group=PLACES,
    rollout=PLACES,
    token=PLACES,
    groups=st.sampled_from([(), ACCEPTED.groups]),
    tokens=COUNTS,
    rollouts=COUNTS,
    turns=COUNTS,
    replies=COUNTS,
    broken=COUNTS,
    witness=st.binary(max_size=4),
    unbound=st.booleans(),
    provisional=st.booleans(),
)


@pytest.mark.parametrize(("verdict", "row"), ROWS, ids=("accepted", "refused"))
def test_a_row_stays_as_older_versions_wrote_it(verdict: Verdict, row: str) -> None:
    assert json.dumps(to_json(verdict.to_record())) == row
    assert from_json(VerdictRecord, json.loads(row)).to_verdict() == verdict


def test_a_fault_in_the_samples_takes_the_pay_and_leaves_what_was_measured() -> None:
    assert ACCEPTED.conclude(FAULT) == REFUSED
    final = ACCEPTED.conclude(None)
    assert not final.provisional
    assert final.to_record().groups == ACCEPTED.groups


def test_nobody_is_refused_for_being_accepted() -> None:
    """Kept and read back, such a verdict would be one that accepts."""
    with pytest.raises(ValueError, match="no reason ACCEPTED"):
        replace(REFUSED, fault=replace(FAULT, reason=Reason.ACCEPTED))


@given(record=RECORDS)
def test_a_record_is_read_as_what_its_reason_says(record: VerdictRecord) -> None:
    """Whatever else a journal's row has: what belongs to the other kind is left out, and the next
    row says the same verdict."""
    verdict = record.to_verdict()
    assert verdict.accepted == (record.reason is Reason.ACCEPTED)
    assert (verdict.reason, verdict.detail) == (record.reason, record.detail)
    again = verdict.to_record()
    assert again.to_verdict() == verdict
    blank = VerdictRecord(7, b"", record.reason, "")
    for name in ("group", "rollout", "token", "unbound") if verdict.accepted else OF_ACCEPTED:
        assert getattr(again, name) == getattr(blank, name)
