"""States of a subnet that an epoch must get right, each for one reason.

Twelve uids: the owner's 0; validators 1 to 4, which hold 40, 30, 20 and 10 % of the stake; miners
5 to 11, of which the last does no work.
"""

import random
from collections.abc import Callable
from typing import Any

from subtensor_devnet.yuma import EpochInputs, YumaRules

UIDS = 12
TEMPO = 3
CUTOFF = 8
EMISSION = 123_456_789_012
STAKES = [0, *(share * 10**9 for share in (400, 300, 200, 100)), *[0] * 7]
VALIDATORS = (1, 2, 3, 4)
WORTH = {5: 65_535, 6: 50_000, 7: 30_000, 8: 20_000, 9: 10_000, 10: 5_000}
#: A friend's work overstated.
FAVOUR = {5: 1_000, 11: 65_535}

Rows = dict[int, dict[int, int]]


def make_inputs(block: int, rules: dict[str, int] | None = None, **changes: Any) -> EpochInputs:
    """Four validators that agree, registered long ago; `changes` replaces fields.

    A change of `last_update` or `registered_at` is a mapping of uid to age in blocks, one of
    `weights` a mapping of uid to row; the others stay.
    """
    state: dict[str, Any] = {
        "emission": EMISSION,
        "owner_uid": 0,
        "stakes": STAKES,
        "permits": [uid in VALIDATORS for uid in range(UIDS)],
        "bonds": {},
    }
    last_update = [block - 2 + (uid not in VALIDATORS) for uid in range(UIDS)]
    registered_at = [block - CUTOFF - 3] * UIDS
    for ages, blocks in (("last_update", last_update), ("registered_at", registered_at)):
        for uid, age in changes.pop(ages, {}).items():
            blocks[uid] = block - age
    weights = dict.fromkeys(VALIDATORS, WORTH) | changes.pop("weights", {})
    settings = {"tempo": TEMPO, "activity_cutoff": CUTOFF} | (rules or {})
    return EpochInputs(
        block=block,
        last_update=last_update,
        registered_at=registered_at,
        weights={uid: row for uid, row in weights.items() if row},
        rules=YumaRules(**settings),
        **(state | changes),
    )


def make_random_inputs(block: int, seed: int) -> EpochInputs:
    """Anything, ties and zeros more often than chance would have them."""
    draw = random.Random(seed)

    def make_rows() -> Rows:
        pairs = [(uid, to) for uid in range(UIDS) for to in range(UIDS) if draw.random() < 0.6]
        rows: Rows = {}
        for uid, to in pairs:
            rows.setdefault(uid, {})[to] = draw.choice([0, 1, 65_535, draw.randrange(65_536)])
        return rows

    ages = {uid: draw.choice([1, 3, 4, 5, CUTOFF + 3]) for uid in range(UIDS)}
    return make_inputs(
        block,
        {
            "kappa": draw.choice([0, 32_767, 45_000, 65_535]),
            "bonds_moving_average": draw.choice([0, 123_456, 900_000, 1_000_000]),
            "bonds_penalty": draw.choice([0, 30_000, 65_535]),
            "max_validators": draw.choice([2, 5, 64]),
            "stake_threshold": draw.choice([0, 10**9]),
        },
        emission=draw.randrange(10**13),
        stakes=[draw.choice([0, 5, draw.randrange(10**13)]) for _ in range(UIDS)],
        permits=[draw.random() < 0.6 for _ in range(UIDS)],
        registered_at=ages,
        last_update={uid: draw.choice([1, 2, 4, CUTOFF, CUTOFF + 1]) for uid in range(UIDS)},
        weights=make_rows(),
        bonds=make_rows(),
    )


#: Case → inputs, given the epoch's block.
CASES: dict[str, Callable[[int], EpochInputs]] = {
    "validators_agree": make_inputs,
    "a_minority_is_clipped": lambda b: make_inputs(b, weights={3: FAVOUR, 4: FAVOUR}),
    "a_majority_is_not_clipped": lambda b: make_inputs(b, weights={1: FAVOUR, 2: FAVOUR}),
    "exactly_kappa_agrees": lambda b: make_inputs(
        b, {"kappa": 39_321}, weights={2: FAVOUR, 4: FAVOUR}
    ),
    "kappa_none": lambda b: make_inputs(b, {"kappa": 0}, weights={4: FAVOUR}),
    "kappa_all": lambda b: make_inputs(b, {"kappa": 65_535}, weights={4: FAVOUR}),
    "self_weight": lambda b: make_inputs(b, weights={2: {2: 65_535, 5: 30_000}, 3: {3: 65_535}}),
    "the_owner_weighs_itself": lambda b: make_inputs(
        b,
        stakes=[600 * 10**9, *STAKES[1:]],
        permits=[uid <= 4 for uid in range(UIDS)],
        weights={0: {0: 65_535, 5: 65_535}},
    ),
    "no_permit": lambda b: make_inputs(
        b, permits=[uid in (1, 2) for uid in range(UIDS)], weights={3: FAVOUR}
    ),
    "permits_change_hands": lambda b: make_inputs(
        b,
        {"max_validators": 3},
        stakes=[0, 400, 300, 100, 100, 0, 200, *[0] * 5],
        bonds={uid: {5: 40_000, 6: 65_535} for uid in (1, 2, 3, 4, 6, 7)},
    ),
    "equal_stakes": lambda b: make_inputs(
        b, {"max_validators": 2}, stakes=[0, *[10**9] * 4, *[0] * 7], weights={3: FAVOUR, 4: FAVOUR}
    ),
    "stake_below_the_threshold": lambda b: make_inputs(b, {"stake_threshold": 200 * 10**9}),
    "weights_beyond_the_activity_cutoff": lambda b: make_inputs(
        b, last_update={1: CUTOFF + 1, 2: CUTOFF}, weights={1: FAVOUR}
    ),
    "a_miner_newer_than_the_weights": lambda b: make_inputs(
        b,
        registered_at={6: 2, 7: 3, 8: TEMPO, 9: TEMPO + 1},
        last_update={1: 1, 2: 2, 3: 3},
        bonds={uid: dict.fromkeys(WORTH, 65535 // uid) for uid in VALIDATORS},
    ),
    "bonds_built_up_before": lambda b: make_inputs(
        b, bonds={4: dict.fromkeys(WORTH, 65_535), 1: {5: 20_000, 11: 1}, 2: {9: 65_535}}
    ),
    "bonds_follow_weights_half_clipped": lambda b: make_inputs(
        b, {"bonds_penalty": 32_768, "bonds_moving_average": 654_321}, weights={4: FAVOUR}
    ),
    "bonds_follow_weights_unclipped": lambda b: make_inputs(
        b, {"bonds_penalty": 0, "bonds_moving_average": 0}, weights={4: FAVOUR}
    ),
    "bonds_that_never_move": lambda b: make_inputs(
        b, {"bonds_moving_average": 1_000_000}, bonds={3: {5: 65_535}, 4: {6: 65_535}}
    ),
    "nobody_weighs": lambda b: make_inputs(b, weights={uid: {} for uid in VALIDATORS}),
    "everybody_sleeps": lambda b: make_inputs(
        b, last_update=dict.fromkeys(range(UIDS), CUTOFF + 1)
    ),
    "nobody_has_stake": lambda b: make_inputs(b, stakes=[0] * UIDS),
    **{
        f"random_{seed}": lambda b, seed=seed: make_random_inputs(b, seed)  # type: ignore[misc]
        for seed in range(8)
    },
}

#: Weights that the four validators set before each of five epochs.
FIVE_EPOCHS: list[Rows] = [
    {1: WORTH, 2: WORTH, 3: WORTH, 4: WORTH},
    {1: WORTH, 2: WORTH, 3: FAVOUR, 4: FAVOUR},
    {1: {5: 65_535, 11: 9_000}, 2: {6: 65_535}, 3: FAVOUR, 4: WORTH},
    {1: {11: 65_535, 5: 40_000}, 2: FAVOUR, 3: FAVOUR, 4: WORTH},
    {1: WORTH, 2: {10: 65_535, 7: 65_535}, 3: WORTH, 4: {5: 65_535}},
]
