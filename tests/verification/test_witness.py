"""The witness: two bytes a rollout that only who ran this validator's forward pass can have."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol.reason import Reason
from assay.protocol.seeds import compute_witness_seed
from assay.verification import make_projection
from tests.verification.test_trial import (
    SIZE,
    Disturbed,
    World,
    judge_heads_first,
    raise_margins,
    say_nothing_else,
)

VALIDATOR, OTHER = b"\x11" * 32, b"\x22" * 32


def compute_witness(world: World, draft: Any, group: int, tokens: int | None = None) -> bytes:
    """By a second way: every rollout measured by itself, under that projection alone."""
    seed = compute_witness_seed(world.context.audit_seed, VALIDATOR)
    projection, found = make_projection(seed, world.manifest), b""
    for rollout in draft.groups[group]:
        completion = rollout.tokens[:tokens]
        prompt = world.get_prompt(group)
        (measured,) = world.forward.measure([prompt], [completion], [bytes(32)], projection)
        found += measured.sketch[-1].tobytes()
    return found


def test_it_is_the_last_tokens_state_under_the_validators_own_projection(world: World) -> None:
    draft = world.mine()
    verdict = world.judge(draft, validator=VALIDATOR, groups=world.valued)
    assert verdict.accepted
    assert verdict.witness == b"".join(
        compute_witness(world, draft, group) for group in world.valued
    )


def test_a_copied_witness_is_not_ones_own(world: World) -> None:
    draft = world.mine()
    ours, theirs = (
        world.judge(draft, validator=v, groups=world.valued) for v in (VALIDATOR, OTHER)
    )
    a, b = (np.frombuffer(v.witness, np.int8).astype(int) for v in (ours, theirs))
    assert (abs(a - b) > 1).mean() > 0.5
    assert (
        replace(ours, witness=b"")
        == replace(theirs, witness=b"")
        == world.judge(draft, groups=world.valued)
    )


def test_there_is_no_witness_without_a_forward_pass(world: World) -> None:
    assert world.judge(world.mine()).witness == b""
    draft = world.mine()
    draft.is_committed = False
    assert world.judge(draft, validator=VALIDATOR, groups=world.valued).witness == b""


def test_the_witness_of_refused_work_ends_with_the_forward_pass(world: World) -> None:
    draft, cap = world.mine(), world.parameters.tests.margin_cap
    first, second = world.valued
    whole = [compute_witness(world, draft, group) for group in (first, second)]
    for calls, expected in (
        ([raise_margins(cap + 1, lambda r: r == 0)], whole[:1]),
        ([say_nothing_else, raise_margins(cap + 1, lambda r: r == SIZE - 1)], whole),
    ):
        turns = iter(calls)

        class ByTurns:
            def measure(self, *arguments):  # type: ignore[no-untyped-def]
                return Disturbed(world, next(turns)).measure(*arguments)  # noqa: B023

        options = {"validator": VALIDATOR, "groups": world.valued}
        verdict = world.judge_by(ByTurns(), *world.seal(draft), **options).verdict
        assert verdict.reason is Reason.SAMPLING_MISMATCH
        assert verdict.witness == b"".join(expected)


def test_heads_give_a_witness_of_their_last_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second group's head fails: both heads were measured, and nothing whole."""
    judge_heads_first(monkeypatch)
    draft = world.mine()
    last = world.valued[-1]
    tokens = draft.groups[last][SIZE - 1].tokens.copy()
    tokens[0] = (tokens[0] + 1) % 90
    world.rewrite(draft, last, SIZE - 1, tokens)
    verdict = world.judge(draft, validator=VALIDATOR, groups=world.valued)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert verdict.witness == b"".join(
        compute_witness(world, draft, group, tokens=1) for group in world.valued
    )


def test_an_appeal_leaves_the_first_passs_witness(world: World) -> None:
    cap = world.parameters.tests.margin_cap
    forward = Disturbed(world, raise_margins(cap + 1, lambda r: r == 5))
    verdict = world.judge_by(
        forward,
        *world.seal(world.mine()),
        appeal=Disturbed(world, say_nothing_else),
        validator=VALIDATOR,
        groups=world.valued,
    ).verdict
    assert verdict.accepted
    again = world.judge(world.mine(), validator=VALIDATOR, groups=world.valued)
    assert verdict.witness == again.witness
