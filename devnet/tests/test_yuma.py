"""Yuma consensus: a real runtime's results for the same states, and properties of all results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subtensor_devnet.yuma import EpochInputs, EpochResult, Row, YumaRules, compute_epoch

FULL = 65_535
#: Recorded by tests/integration/chain/epochs.py from subtensor's spec 293.
RECORDED = json.loads(Path(__file__).with_name("data").joinpath("yuma.json").read_text())
FIVE = [entry for entry in RECORDED if entry["name"].startswith("five_epochs")]


def read_rows(rows: dict[str, dict[str, int]]) -> dict[int, dict[int, int]]:
    return {int(uid): {int(to): value for to, value in row.items()} for uid, row in rows.items()}


def read_inputs(entry: dict[str, Any]) -> EpochInputs:
    state = dict(entry["inputs"])
    rows = {name: read_rows(state.pop(name)) for name in ("weights", "bonds")}
    return EpochInputs(**rows, rules=YumaRules(**state.pop("rules")), **state)


def expect_stored(result: EpochResult, stored: dict[str, Any]) -> None:
    assert result.bonds == read_rows(stored["bonds"])
    assert list(result.incentive) == stored["ranks"]
    for name in stored.keys() - {"bonds", "ranks"}:
        assert list(getattr(result, name)) == stored[name], name


@pytest.mark.parametrize("entry", RECORDED, ids=[entry["name"] for entry in RECORDED])
def test_an_epoch_is_the_runtimes(entry: dict[str, Any]) -> None:
    expect_stored(compute_epoch(read_inputs(entry)), entry["stored"])


def test_five_epochs_on_end_are_the_runtimes() -> None:
    """Bonds and permits are carried on as computed here."""
    assert len(FIVE) == 5
    carried: dict[str, Any] = {}
    for entry in FIVE:
        result = compute_epoch(replace(read_inputs(entry), **carried))
        expect_stored(result, entry["stored"])
        carried = {"bonds": result.bonds, "permits": result.permits}
    assert carried["bonds"] != FIVE[0]["stored"]["bonds"]


@st.composite
def make_inputs(draw: st.DrawFn) -> EpochInputs:
    """Up to eight uids; two blocks' ages each, so that masks and ties come often."""
    count = draw(st.integers(1, 8))
    share = st.sampled_from([0, 1, FULL]) | st.integers(0, FULL)
    rows = st.dictionaries(
        st.integers(0, count - 1), st.dictionaries(st.integers(0, count - 1), share)
    )

    def make_column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    return EpochInputs(
        block=100,
        emission=draw(st.integers(0, 10**15)),
        owner_uid=draw(st.none() | st.integers(0, count - 1)),
        stakes=make_column(st.sampled_from([0, 1, 10**9]) | st.integers(0, 2**63)),
        permits=make_column(st.booleans()),
        last_update=make_column(st.sampled_from([10, 90, 95, 99])),
        registered_at=make_column(st.sampled_from([0, 90, 95, 99])),
        weights=draw(rows),
        bonds=draw(rows),
        rules=YumaRules(
            tempo=5,
            activity_cutoff=50,
            kappa=draw(share),
            bonds_moving_average=draw(st.integers(0, 10**6)),
            bonds_penalty=draw(share),
            max_validators=draw(st.integers(0, count)),
            stake_threshold=draw(st.sampled_from([0, 2])),
        ),
    )


@given(make_inputs())
def test_shares_sum_to_one_or_nothing_and_no_more_is_paid_than_there_is(
    inputs: EpochInputs,
) -> None:
    result = compute_epoch(inputs)
    count = len(inputs.stakes)
    for shares in (result.incentive, result.dividends, result.stake_weight):
        assert sum(shares) == 0 or FULL - 2 * count <= sum(shares) <= FULL
    paid = [sum(pay) for pay in zip(result.miner_emission, result.validator_emission, strict=True)]
    assert sum(paid) <= inputs.emission
    for both, stored in zip(paid, result.emission, strict=True):
        assert abs(both - stored) <= 2 + inputs.emission // 2**31
    if any(result.stake_weight):
        assert sum(result.emission) >= inputs.emission * (FULL - 1) // FULL - count
    for column in (getattr(result, field.name) for field in fields(result)):
        assert len(column) == count or column is result.bonds


@given(make_inputs())
def test_permits_go_to_the_largest_stakes_and_new_bonds_only_to_permits(
    inputs: EpochInputs,
) -> None:
    result = compute_epoch(inputs)
    pairs = list(zip(inputs.stakes, result.permits, strict=True))
    chosen = [stake for stake, permit in pairs if permit]
    assert all(chosen)
    assert len(chosen) <= inputs.rules.max_validators
    if len(chosen) == inputs.rules.max_validators > 0:
        share = min(chosen) * 2**32 // sum(inputs.stakes)
        others = [stake for stake, permit in pairs if not permit]
        assert all(stake * 2**32 // sum(inputs.stakes) <= share for stake in others)
    for uid, row in result.bonds.items():
        assert result.permits[uid] or (not inputs.permits[uid] and row == inputs.bonds[uid])


@given(make_inputs(), st.randoms(use_true_random=False))
def test_nothing_hangs_on_the_order_of_uids(inputs: EpochInputs, random: Random) -> None:
    count = len(inputs.stakes)
    # of equal stakes the higher uid is permitted, so there are none
    inputs = replace(
        inputs,
        stakes=[stake * 16 + uid for uid, stake in enumerate(inputs.stakes)],
        rules=replace(inputs.rules, stake_threshold=0),
    )
    if len({stake * 2**32 // max(1, sum(inputs.stakes)) for stake in inputs.stakes}) < count:
        return
    order = random.sample(range(count), count)  # old uid → new uid

    def move(column: Sequence[Any]) -> list[Any]:
        return [value for _, value in sorted(zip(order, column, strict=True))]

    def move_rows(rows: Mapping[int, Row]) -> dict[int, dict[int, int]]:
        return {order[u]: {order[to]: v for to, v in row.items()} for u, row in rows.items()}

    sequences = ("stakes", "permits", "last_update", "registered_at")
    moved = replace(
        inputs,
        owner_uid=None if inputs.owner_uid is None else order[inputs.owner_uid],
        weights=move_rows(inputs.weights),
        bonds=move_rows(inputs.bonds),
        **{name: move(getattr(inputs, name)) for name in sequences},
    )
    before, after = compute_epoch(inputs), compute_epoch(moved)
    assert move_rows(before.bonds) == after.bonds
    for name in {field.name for field in fields(before)} - {"bonds"}:
        assert move(getattr(before, name)) == list(getattr(after, name)), name


@given(
    st.lists(st.integers(1, 10**6), min_size=3, max_size=3),
    st.integers(0, 999),
    st.dictionaries(st.integers(4, 6), st.integers(0, FULL)),
)
def test_a_minority_cannot_pay_its_friend(
    honest: list[int], permille: int, row: dict[int, int]
) -> None:
    """The validator of uid 3 holds less than all others, which do not weigh uid 6, its friend."""
    attacker = sum(honest) * permille // 1_000
    votes = {4: FULL, 5: 30_000}
    inputs = EpochInputs(
        block=100,
        emission=10**9,
        owner_uid=None,
        stakes=[*honest, attacker, 0, 0, 0],
        permits=[True] * 4 + [False] * 3,
        last_update=[99] * 7,
        registered_at=[0] * 7,
        weights={0: votes, 1: votes, 2: votes, 3: {**row, 6: FULL}},
        bonds={},
    )
    result = compute_epoch(inputs)
    assert result.incentive[6] == result.consensus[6] == result.miner_emission[6] == 0
    assert result.incentive[4] > 0
    majority = compute_epoch(replace(inputs, stakes=[*honest, 2 * sum(honest), 0, 0, 0]))
    assert majority.incentive[6] > 0


@pytest.mark.parametrize(
    "change",
    [{"permits": [True]}, {"weights": {2: {}}}, {"bonds": {0: {2: 1}}}, {"weights": {0: {-1: 1}}}],
)
def test_inputs_that_do_not_fit_together_are_refused(change: dict[str, Any]) -> None:
    inputs = EpochInputs(9, 1, None, [1, 1], [True, True], [8, 8], [0, 0], {0: {1: 1}}, {})
    with pytest.raises(ValueError, match=r"uid|length"):
        replace(inputs, **change)


def test_bonds_cannot_keep_more_than_all() -> None:
    inputs = EpochInputs(9, 1, None, [1], [True], [8], [0], {}, {})
    with pytest.raises(ValueError, match="millionths"):
        replace(inputs, rules=YumaRules(bonds_moving_average=1_000_001))
