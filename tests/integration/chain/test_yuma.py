"""Yuma consensus here and in the real runtime: the same numbers, to the last digit.

The runtime gives states that `epoch_cases` describes to its own epoch, and every value it stores is
compared. `devnet/tests/data/yuma.json` holds what it stored; `epochs.py` records it anew.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from subtensor_devnet.yuma import compute_epoch
from tests.integration.chain.epoch_cases import (
    CASES,
    EMISSION,
    FIVE_EPOCHS,
    STAKES,
    TEMPO,
    UIDS,
    VALIDATORS,
    make_inputs,
)
from tests.integration.chain.epochs import (
    compute_uid_to_prune,
    get_expected,
    go_before_epoch,
    open_yuma_net,
    pay,
    read_inputs,
    read_result,
    read_vectors,
    run_epoch,
)
from tests.integration.chain.nets import RuntimeNet

MODULE = "SubtensorModule"
VECTORS = Path(__file__).parents[3] / "devnet" / "tests" / "data" / "yuma.json"


@pytest.fixture(scope="module")
def yuma_net(
    runtime_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RuntimeNet]:
    """A subnet of its own, whose state the cases overwrite."""
    net = open_yuma_net(runtime_endpoint, tmp_path_factory.mktemp("yuma"))
    yield net
    net.set_storage({MODULE: {"stakeThreshold": 0}})  # holds for the whole chain
    net.pass_blocks(1)
    net.connection.close()


@pytest.mark.parametrize("name", CASES)
def test_an_epoch_is_the_runtimes(yuma_net: RuntimeNet, name: str) -> None:
    inputs, stored = run_epoch(yuma_net, CASES[name])
    assert get_expected(compute_epoch(inputs)) == stored
    recorded = next(vector for vector in read_vectors(VECTORS) if vector.name == name)
    assert stored == recorded.stored


@pytest.mark.slow
def test_five_epochs_of_weights_sent_by_validators(yuma_net: RuntimeNet) -> None:
    """Bonds and permits are carried on as computed here, never read from the chain."""
    quiet = partial(
        make_inputs, rules={"activity_cutoff": 100}, weights={uid: {} for uid in VALIDATORS}
    )
    run_epoch(yuma_net, quiet)
    yuma_net.set_rules(tempo=5)
    members = yuma_net.chain.get_members(yuma_net.chain.get_head())
    hotkeys = {member.uid: hotkey for hotkey, member in members.items()}
    carried: dict[str, Any] = {}
    for rows in FIVE_EPOCHS:
        for uid, row in rows.items():
            yuma_net.chain.set_weights(hotkeys[uid], row)
        block = go_before_epoch(yuma_net)
        pay(yuma_net, EMISSION)
        before = read_inputs(yuma_net, block, EMISSION)
        assert before.weights == rows
        result = compute_epoch(replace(before, **carried))
        yuma_net.pass_blocks(1)
        assert get_expected(result) == read_result(yuma_net, block)
        carried = {"bonds": result.bonds, "permits": result.permits}
    yuma_net.set_rules(tempo=TEMPO)


def test_stakes_grow_by_what_is_paid(yuma_net: RuntimeNet) -> None:
    inputs, stored = run_epoch(yuma_net, make_inputs)
    after = read_inputs(yuma_net, inputs.block + 1, 0).stakes
    result = compute_epoch(inputs)
    assert get_expected(result) == stored
    for uid in range(1, UIDS):
        grown = after[uid] - STAKES[uid]
        if uid in VALIDATORS:  # the payout rounds their shares once more
            assert grown == pytest.approx(result.validator_emission[uid], rel=1e-8)
        else:
            assert grown == result.miner_emission[uid]
    assert sum(result.miner_emission) == pytest.approx(EMISSION / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("scores", "ages"),
    [
        ((5, 3, 4), (9, 9, 9)),  # the lowest score
        ((5, 5, 5), (8, 9, 8)),  # the oldest
        ((5, 5, 5), (9, 9, 9)),  # the lowest uid
        ((9, 0, 4), (5, 4, 5)),  # the lowest is immune
        ((9, 3, 3), (3, 3, 4)),  # all are immune
        ((65_535, 65_535, 65_535), (7, 8, 8)),
    ],
)
def test_a_full_subnet_evicts_the_uid_that_is_chosen_here(
    yuma_net: RuntimeNet, scores: tuple[int, ...], ages: tuple[int, ...]
) -> None:
    """Scores and ages in blocks of uids 1, 2, and of all others; immunity lasts 5 blocks."""
    net = yuma_net
    (hotkey,) = net.make_hotkeys(1)
    if net.chain.is_epoch(net.chain.get_head() + 1):
        net.pass_blocks(1)  # it would score anew
    block = net.chain.get_head() + 1
    pruning_scores = [0, *scores, *[scores[2]] * (UIDS - 4)]
    registered_at = [block - age for age in (10, *ages, *[ages[2]] * (UIDS - 4))]
    net.set_storage(
        {
            MODULE: {
                "pruningScores": [[[net.netuid], pruning_scores]],
                "blockAtRegistration": [
                    [[net.netuid, uid], since] for uid, since in enumerate(registered_at)
                ],
                "immunityPeriod": [[[net.netuid], 5]],
                "maxAllowedUids": [[[net.netuid], UIDS]],
            }
        }
    )
    net.chain.register(hotkey, 10**15)
    member = net.chain.get_members(net.chain.get_head())[hotkey]
    assert member.registered_at == block
    assert member.uid == compute_uid_to_prune(pruning_scores, registered_at, 0, block, 5)
