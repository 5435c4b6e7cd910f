"""A plan takes the parts that the root binds, from whoever has them, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.artifacts.submissions.reading import read_submission
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import Range, get_opening_bytes
from assay.verification import ReadPlan, plan_audit, plan_groups, plan_samples

GROUPS = 8  # of the small world (conftest.py)

World = Any  # conftest.World: tests cannot import a conftest
PLANS = {
    "audit": plan_audit,
    "groups": lambda context, hotkey: plan_groups(context, hotkey, [1, 6]),
    "samples": plan_samples,
}


def serve(plan: ReadPlan, data: bytes) -> Refusal | None:
    assert plan.wanted is not None
    return plan.take(data[plan.wanted.start : plan.wanted.end])


@pytest.mark.parametrize("name", PLANS)
def test_other_bytes_leave_the_plan_where_it_was(world: World, name: str) -> None:
    """Each part is offered wrong in three ways first: the plan ends as if it had not been."""
    reader, context = world.seal(world.mine())
    plan, plain = (PLANS[name](context, world.hotkey) for _ in range(2))
    parts: dict[Range, bytes | Refusal] = {}
    plan.record(parts)
    while plan.wanted is not None:
        part = plan.wanted
        right = reader.data[part.start : part.end]
        for wrong in (right[:-1], right + b"x", right[:-1] + bytes([right[-1] ^ 1])):
            refusal = plan.take(wrong)
            assert refusal is not None
            assert refusal.unbound
            assert plan.wanted == part
        assert plan.take(right) is None
    checked, expected = plan.result, read_submission(plain, reader)
    assert checked.refusal is None
    assert checked.opening == expected.opening
    assert [group.proofs for group in checked.groups] == [g.proofs for g in expected.groups]
    assert parts == {p: reader.data[p.start : p.end] for p in reader.asked}
    assert checked.size == sum(part.size for part in parts)


def test_a_plan_that_nobody_can_serve_ends_with_their_refusal(world: World) -> None:
    reader, context = world.seal(world.mine())
    plan, parts = plan_audit(context, world.hotkey), {}
    plan.record(parts)
    assert serve(plan, reader.data) is None
    with pytest.raises(ValueError, match="still wants"):
        _ = plan.result
    refusal = Refusal(Reason.NOT_REVEALED, "nobody has it", unbound=True)
    second = plan.wanted
    plan.refuse(refusal)
    assert plan.wanted is None
    assert plan.result.refusal is refusal
    assert plan.result.opening is not None
    assert list(parts) == [Range(0, get_opening_bytes(GROUPS)), second]
    for more in (lambda: plan.take(b""), lambda: plan.refuse(refusal)):
        with pytest.raises(ValueError, match="has ended"):
            more()


def test_what_the_chain_refuses_is_not_read(world: World) -> None:
    _, context = world.seal(world.mine())
    for changed, reason in (
        (replace(context, members={}), Reason.NOT_REGISTERED),
        (replace(context, commitments={}), Reason.NO_COMMITMENT),
    ):
        for make in PLANS.values():
            plan = make(changed, world.hotkey)
            assert plan.wanted is None
            assert plan.result.refusal is not None
            assert plan.result.refusal.reason is reason
            assert plan.result.committed is None


def test_no_group_is_read_of_a_file_with_ids_of_another_width(world: World) -> None:
    """The verdict is the same where the width is known after the groups only."""
    reader, context = world.seal(world.mine())
    early = read_submission(plan_audit(context, world.hotkey, id_bits=9), reader)
    assert reader.asked == [Range(0, get_opening_bytes(GROUPS))]
    assert early.refusal is not None
    assert (early.refusal.reason, early.refusal.unbound) == (Reason.WRONG_HEADER, False)
    draft = world.mine()
    draft.header["id_bits"] = 9
    late = world.judge(draft)
    assert (late.reason, late.detail) == (
        Reason.WRONG_HEADER,
        "the header's ids have 9 bits, the checkpoint's 7",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(PLANS)), garbage=st.lists(st.binary(max_size=300), max_size=9))
def test_garbage_raises_nothing(world: World, name: str, garbage: list[bytes]) -> None:
    """Of any size, or of the wanted one."""
    reader, context = world.seal(world.mine())
    plan = PLANS[name](context, world.hotkey)
    for data in garbage:
        if plan.wanted is not None:
            refusal = plan.take((data * 400)[: plan.wanted.size] if len(data) % 2 else data)
            assert refusal is None or refusal.unbound
            if refusal is not None:
                serve(plan, reader.data)
    if plan.wanted is not None:
        plan.refuse(Refusal(Reason.NOT_REVEALED, "no more", unbound=True))
    assert plan.result.hotkey == world.hotkey
