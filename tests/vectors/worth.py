"""Vectors of what work is worth: rewards, values, settlements, weights."""

from dataclasses import asdict, astuple, replace
from typing import Any

from subjects import ALICE, PARAMETERS, WINDOW

from assay.environments.base import UNREAD, RewardParts, rate_answer
from assay.environments.rewards import compute_reward
from assay.protocol.encoding import to_json
from assay.protocol.parameters import Rewards
from assay.protocol.reason import CHEATING, WITHHELD, Reason
from assay.verification import (
    Accepted,
    GroupValue,
    Result,
    Seat,
    compute_score,
    compute_settlement,
    compute_value,
    compute_weights,
    settle_weights,
)

Json = Any


def make_worth() -> Json:
    shaped = Rewards(500_000, 0, 400_000, 100_000, 875_000, 100_000, 12, 400_000)
    rules = [
        Rewards(),
        Rewards(0, 0, 1_000_000),
        Rewards(333_333, 333_333, 333_333),
        Rewards(0, 0),
        Rewards(1_000_000, 0, length_penalty=1_000_000),
        Rewards(700_000, 0, 200_000, 100_000, overlong_tokens=48, overlong_penalty=700_000),
        shaped,
    ]
    parts = [
        UNREAD,
        RewardParts(correctness=1, quality=1, satisfaction=1, format=1),
        rate_answer(1, quality=1_000_000),
        rate_answer(0, quality=666_666),
        rate_answer(20, 21),
        rate_answer(7, 8),
    ]
    groups = [  # lengths of completions, prompt tokens, mean reward, mean correctness
        ([1], 0, 0, 0),
        ([1], 0, 500_000, 500_000),
        ([1], 9, 1_000_000, 1_000_000),
        ([1], 10, 1_000_000, 1_000_000),
        ([1] * 100, 0, 0, 0),
        ([1, 99], 40, 0, 0),
        ([100], 40, 1_000_000, 1_000_000),
        ([50, 50], 45, 500_000, 500_000),
        ([1, 2, 1_231], 117, 333_333, 333_333),
        ([1_235], 118, 999_999, 999_999),
        ([4_096] * 16, 1, 1, 1),
        ([4_096] * 16, 1, 500_000, 0),
        ([4_096] * 16, 1, 500_000, 1_000_000),
        ([4_096] * 16, 1, 900_000, 625_000),
        ([2**22], 2**20, 500_000, 500_000),
    ]
    replies = [
        ([100, 50], [0, 0], 4_000),
        ([100, 50], [300, 0], 4_000),
        ([100, 50], [399, 401], 4_000),
        ([100, 50], [400, 200], 0),
        ([3, 7], [9, 9], 333),
    ]
    scores = [(1, [100]), (4, [1, 2, 3, 4]), (13, [7, 7, 7, 8]), (1_024, [0, 0, 0, 1])]
    rewards = [([1_000_000, 0, 0], 333_333), ([800_000] * 8, 800_000), ([1, 0], 0)]
    return {
        "rewards": [
            {
                "rewards": to_json(rule),
                "parts": list(astuple(part)),
                "tokens": tokens,
                "reward": compute_reward(part, tokens, rule, PARAMETERS.work.max_tokens),
            }
            for rule in rules
            for part in parts
            for tokens in ((0, 1, 36, 37, 41, 47, 48, 49) if rule == shaped else (7,))
        ],
        "means": [{"rewards": given, "mean": mean} for given, mean in rewards],
        "work": to_json(PARAMETERS.work),
        "values": [
            {
                "lengths": lengths,
                "replies": said,
                "paid_reply": paid,
                "prompt_tokens": prompt,
                "mean": mean,
                "mean_correctness": right,
                "value": compute_value(
                    replace(PARAMETERS.work, paid_reply=paid),
                    lengths=lengths,
                    replies=said,
                    prompt_tokens=prompt,
                    mean_reward=mean,
                    mean_correctness=right,
                ),
            }
            for lengths, said, paid, prompt, mean, right in (
                *((lengths, [], 0, *others) for lengths, *others in groups),
                *((lengths, said, paid, 20, 500_000, 250_000) for lengths, said, paid in replies),
            )
        ],
        "scores": [
            {"groups": n, "values": values, "score": compute_score(accept(n, values))}
            for n, values in scores
        ],
    }


def accept(groups: int, values: list[int]) -> Accepted:
    return Accepted(
        window=WINDOW,
        hotkey=ALICE,
        detail="",
        committed_groups=groups,
        groups=tuple(GroupValue(index, value, (), (), ()) for index, value in enumerate(values)),
    )


def make_settlement() -> Json:
    here, elsewhere, again = Seat(3, 11_000), Seat(4, 0), Seat(3, 12_040)
    paid = [Result(w, here, Reason.ACCEPTED, 1_000 + w) for w in range(3)]
    cases = [
        ("windows add up", paid),
        ("nothing was judged", []),
        ("a uid that is registered again is another seat", [*paid, _paid(again, 3)]),
        ("no commitment costs its window", [*paid, Result(3, here, Reason.NO_COMMITMENT, 0)]),
        ("not a member", [Result(0, elsewhere, Reason.NOT_REGISTERED, 0)]),
    ]
    for reason in (one for one in Reason if one in WITHHELD):
        cases.append((f"one {reason} costs its window", [*paid, Result(3, here, reason, 0)]))
        twice = [*paid, Result(3, here, reason, 0), Result(4, here, Reason.NOT_REVEALED, 0)]
        cases.append((f"{reason} and NOT_REVEALED cost the settlement", twice))
    for reason in (one for one in Reason if one in CHEATING):
        caught = [Result(0, here, reason, 0), *paid[1:], _paid(elsewhere, 0)]
        cases.append((f"{reason} costs the settlement, of its seat alone", caught))
    weights = [
        ("in proportion", {3: 300, 4: 100}, 0, 0),
        ("the owner takes the burn share", {3: 300, 4: 100}, 0, 50_000),
        ("an owner that also scores", {0: 100, 4: 100}, 0, 500_000),
        ("all is burned", {3: 300, 4: 100}, 9, 1_000_000),
        ("nothing is earned", {3: 0, 4: 0}, 9, 50_000),
        ("nobody is there", {}, 9, 50_000),
        ("a half is rounded up", {3: 65_535 * 2, 4: 1}, 0, 0),
        ("less than a half is left out", {3: 65_535 * 2 + 1, 4: 1}, 0, 0),
        ("large scores", {3: 10**30, 4: 10**30 // 3, 5: 1}, 0, 0),
    ]
    return {
        "settlements": [
            {
                "about": about,
                "results": [
                    asdict(r.seat) | {"window": r.window, "reason": r.reason, "score": r.score}
                    for r in results
                ],
                "scores": [
                    asdict(seat) | {"score": score}
                    for seat, score in compute_settlement(results).items()
                ],
            }
            for about, results in cases
        ],
        "weights": [
            {
                "about": about,
                "scores": [[uid, score] for uid, score in scores.items()],
                "owner_uid": owner,
                "burn_share": burn,
                "weights": [list(w) for w in compute_weights(scores, owner, burn).items()],
            }
            for about, scores, owner, burn in weights
        ],
        "idle": _make_idle(),
    }


def _make_idle() -> Json:
    """Settlements after others in which nobody earned."""
    nobody = {3: 0, 4: 0}
    parameters = replace(
        PARAMETERS, identity=replace(PARAMETERS.identity, owner_uid=9, burn_share=50_000)
    )
    most = parameters.work.idle_settlements
    cases: list[tuple[str, dict[int, int] | None, int, int]] = [
        ("somebody earned", {3: 300, 4: 0}, 0, most),
        ("somebody earned again", {3: 300, 4: 0}, most, most),
        ("somebody earned after the limit", {3: 0, 4: 1}, most + 7, most),
        ("nobody earned", nobody, 0, most),
        ("nobody holds a seat that worked", {}, 4, most),
        ("the last without weights", nobody, most - 1, most),
        ("the first in which the owner has everything", nobody, most, most),
        ("and so on", nobody, most + 1, most),
        ("no window counts", None, 0, most),
        ("no window counts in between", None, 3, most),
        ("no window counts after the limit", None, most + 1, most),
        ("none is allowed", nobody, 0, 0),
        ("one is allowed", nobody, 0, 1),
        ("one is allowed, and was", nobody, 1, 1),
        ("as many as can be", nobody, 2**32 - 2, 2**32 - 1),
    ]
    settled = []
    for about, scores, before, allowed in cases:
        work = replace(parameters.work, idle_settlements=allowed)
        idle, weights = settle_weights(scores, replace(parameters, work=work), before)
        settled.append(
            {
                "about": about,
                "scores": None if scores is None else [[uid, s] for uid, s in scores.items()],
                "idle_settlements": allowed,
                "before": before,
                "idle": idle,
                "weights": [list(pair) for pair in weights.items()],
            }
        )
    identity = parameters.identity
    return {"owner_uid": 9, "burn_share": identity.burn_share, "settled": settled}


def _paid(seat: Seat, window: int) -> Result:
    return Result(window, seat, Reason.ACCEPTED, 500)
