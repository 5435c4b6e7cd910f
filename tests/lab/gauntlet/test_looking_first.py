"""The pay for a prompt, and the gain from looking at prompts first.

An operator of many hotkeys sees every prompt for free and stops each hotkey before the first
problem that pays badly for its cost. If prompts were paid like completions, it would pay to wait
for long ones.
"""

from dataclasses import replace
from functools import cache
from hashlib import sha256

import numpy as np
import pytest

from assay.environments.registry import make_environment, parse_choice
from assay.lab.gauntlet.measuring import HOTKEY_PRICE, compute_stopping_gain
from assay.protocol.manifest import LevelWeight, start_levels
from assay.protocol.parameters import MAIN_WORK, MILLION, STEERING
from assay.verification import compute_value
from assay.verification.settlement import UNPAID_GROUPS
from tests.lab.gauntlet.looking import (
    Engine,
    LevelPay,
    compute_level_pay,
    compute_looking_gain,
    deal_levels,
)

#: The true cost of a prompt's token, with 1 for a completion's token.
RATIOS = [0.01, 0.03, 0.1, 0.2, 0.4]
MIXTURES = [
    "arithmetic",
    "gsm",
    "sat",
    "mix,arithmetic=3,sat=1",
    "mix,gsm=1,sat=1",
    "mix,gsm=2,arithmetic=1",
]
GROUPS = 300
#: Characters of a token, as a large vocabulary has them.
CHARACTERS = 4


@cache
def draw_groups(name: str, mean_tokens: int) -> list[tuple[int, int]]:
    """Tokens of prompt and completions of many groups."""
    environment = make_environment(*parse_choice(name))
    rng = np.random.default_rng(0)
    found = []
    for number in range(GROUPS):
        seed = sha256(number.to_bytes(4)).digest()
        prompt = environment.make_problem(seed, environment.levels).prompt
        length = MAIN_WORK.group_size * rng.gamma(4, mean_tokens / 4)
        found.append((len(prompt) // CHARACTERS, int(length)))
    return found


def compute_gain(
    groups: list[tuple[int, int]], ratio: float, share: int, unpaid: float = float(UNPAID_GROUPS)
) -> float:
    work = replace(MAIN_WORK, prompt_share=share, position_share=0)
    costs = [tokens + ratio * prompt for prompt, tokens in groups]
    values = [
        float(
            compute_value(
                work, lengths=[t], prompt_tokens=p, mean_reward=300_000, mean_correctness=300_000
            )
        )
        for p, t in groups
    ]
    return compute_stopping_gain(costs, values, HOTKEY_PRICE, unpaid)


@pytest.mark.parametrize("name", MIXTURES)
def test_looking_first_gains_next_to_nothing(name: str) -> None:
    """Completions of 230 tokens, prompts of up to 2,500: at most a hundredth, whatever prefill
    costs."""
    groups = draw_groups(name, 230)
    gains = [compute_gain(groups, ratio, MAIN_WORK.prompt_share) for ratio in RATIOS]
    assert max(gains) <= 0.01


def test_it_would_where_prompts_are_paid_in_full() -> None:
    groups = draw_groups("mix,gsm=1,sat=1", 230)
    assert compute_gain(groups, 0.1, MILLION, unpaid=0.0) > 0.06
    assert compute_gain(groups, 0.1, MILLION) < 0.01  # half a group is price enough


def test_a_price_of_submissions_covers_short_completions_after_long_prompts() -> None:
    """On engines whose prefill is expensive it would pay to stop before a long prompt."""
    groups = draw_groups("mix,gsm=1,sat=1", 60)
    assert compute_gain(groups, 0.4, MAIN_WORK.prompt_share, unpaid=0.0) > 0.03
    assert max(compute_gain(groups, ratio, MAIN_WORK.prompt_share) for ratio in RATIOS) < 0.001


#: Levels in force, and the mean tokens of a completion of each.
COURSES = {
    "gsm": {2: 250, 3: 310, 4: 375},
    "mix,gsm=1,sat=1": {1_002: 250, 1_003: 310, 1_004: 375, 2_005: 600, 2_008: 750, 2_012: 900},
    "mix,gsm=2,arithmetic=1": {
        1_004: 150,
        1_005: 190,
        1_006: 225,
        2_002: 250,
        2_003: 310,
        2_004: 375,
    },
}


def compute_pays(name: str, kept: int = MILLION) -> dict[int, LevelPay]:
    """Pay by level, success from .8 to .2, on an engine as steep as the pay. The rewards of the
    longest completions keep that much of them."""
    engine = Engine(0.1, MAIN_WORK.position_share / MILLION)
    return {
        level: compute_level_pay(
            MAIN_WORK,
            engine,
            success=(0.8, 0.5, 0.2)[place % 3],
            prompt_tokens=60,
            lengths=[tokens],
            kept=kept if tokens == max(COURSES[name].values()) else MILLION,
        )
        for place, (level, tokens) in enumerate(COURSES[name].items())
    }


@pytest.mark.parametrize("kept", [MILLION, 0])
@pytest.mark.parametrize("name", COURSES)
def test_looking_at_levels_gains_next_to_nothing(name: str, kept: int) -> None:
    """Success from .8 to .2 by level, as far apart as the rule of levels allows. Levels that were
    drawn one by one would be worth looking at, and so would submissions that are paid in full."""
    environment, levels = make_environment(*parse_choice(name)), list(COURSES[name])
    pays = compute_pays(name, kept)
    dealt = deal_levels(environment, start_levels(levels), 120, 96)
    shares = np.array(environment.compute_shares(levels), float)
    drawn = np.random.default_rng(1).choice(levels, dealt.shape, p=shares / shares.sum())
    gain, drawn_gain, whole_gain = (
        compute_looking_gain(asked, pays, HOTKEY_PRICE, unpaid)
        for asked, unpaid in ((dealt, 0.5), (drawn, 0.5), (dealt, 0.0))
    )
    assert gain <= 0.001 < min(drawn_gain, whole_gain)


def test_weights_in_force_make_looking_no_better() -> None:
    """Weights as far apart as the presets let them be, which no block divides."""
    name = "mix,gsm=1,sat=1"
    weights = (431, 250, 2_187, STEERING.weight_max, 1_333, STEERING.weight_min)
    levels = tuple(map(LevelWeight, COURSES[name], weights))
    dealt = deal_levels(make_environment(*parse_choice(name)), levels, 120, 96)
    assert compute_looking_gain(dealt, compute_pays(name), HOTKEY_PRICE, 0.5) <= 0.001
