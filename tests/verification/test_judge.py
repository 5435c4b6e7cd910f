"""The judge as a whole: honest work, the order of its checks, the parts that it reads, our own
faults."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.artifacts.submissions.reading import read_submission
from assay.protocol.context import find_context_fault
from assay.protocol.reason import CHEATING, WITHHELD, Reason, Refusal
from assay.protocol.submission import Rollout, decode_group_head, decode_opening, get_opening_bytes
from assay.verification import case, compute_score, compute_value, examine, plan_samples

END, VOCABULARY, GROUPS, SIZE = 96, 100, 8, 8  # of the small world (conftest.py)

World = Any  # conftest.World and conftest.Draft: tests cannot import a conftest
Draft = Any


def change(draft: Draft, index: int, rollout: int, **columns: Any) -> None:
    draft.groups[index][rollout] = replace(draft.groups[index][rollout], **columns)


def decode_greedily(world: World, draft: Draft) -> None:
    world.complete_by(draft, lambda logits, seed, position: int(logits[0, : END + 1].argmax()))


def claim_certainty(world: World, draft: Draft) -> None:
    for r, rollout in enumerate(draft.groups[world.audited]):
        change(draft, world.audited, r, logprobs=np.zeros_like(rollout.logprobs))


def send_zeros(world: World, draft: Draft) -> None:
    for r, rollout in enumerate(draft.groups[world.audited]):
        change(draft, world.audited, r, sketch=np.zeros_like(rollout.sketch))


def add_a_token(world: World, draft: Draft) -> None:
    world.rewrite(draft, world.audited, 0, [*draft.groups[world.audited][0].tokens, 3])


def name_no_token(world: World, draft: Draft) -> None:
    tokens = draft.groups[world.audited][1].tokens.copy()
    tokens[0] = VOCABULARY
    change(draft, world.audited, 1, tokens=tokens)


def flip_a_bit_of_the_root(world: World, draft: Draft) -> None:
    draft.change_root = lambda root: bytes([root[0] ^ 1]) + root[1:]


def name_fewer_groups(world: World, draft: Draft) -> None:
    draft.header["groups"] = GROUPS - 1


def withhold(world: World, draft: Draft) -> None:
    gone = Refusal(Reason.NOT_REVEALED, "there is no such file", unbound=True)
    draft.change_file = lambda data, opening: gone


# From the cheapest check to the most costly. A commitment's content is known before a file is
# fetched.
ORDER: tuple[tuple[Reason, Callable[[World, Draft], None]], ...] = (
    (Reason.NOT_REGISTERED, lambda world, draft: setattr(draft, "is_member", False)),
    (Reason.NO_COMMITMENT, lambda world, draft: setattr(draft, "is_committed", False)),
    (Reason.TOO_LARGE, lambda world, draft: setattr(draft, "committed_groups", 17)),
    (Reason.NOT_REVEALED, withhold),
    (Reason.MALFORMED, name_fewer_groups),
    (Reason.WRONG_HEADER, lambda world, draft: draft.header.update(version=1)),
    (Reason.ROOT_MISMATCH, flip_a_bit_of_the_root),
    (Reason.WRONG_CHECKPOINT, lambda world, draft: draft.header.update(checkpoint=bytes(32))),
    (Reason.TOKEN_OUT_OF_RANGE, name_no_token),
    (Reason.WRONG_TERMINATION, add_a_token),
    (Reason.SKETCH_MISMATCH, send_zeros),
    (Reason.LOGPROB_MISMATCH, claim_certainty),
    (Reason.SAMPLING_MISMATCH, decode_greedily),
)


@pytest.mark.parametrize("first", range(len(ORDER)), ids=[reason for reason, _ in ORDER])
def test_the_first_failing_check_decides(world: World, first: int) -> None:
    draft = world.mine()
    for _, apply in reversed(ORDER[first:]):  # the last first: each keeps what others changed
        apply(world, draft)
    world.check_refusal(world.judge(draft), ORDER[first][0])


def test_every_reason_of_the_judge_stands_in_the_order() -> None:
    never = {Reason.LEDGER_MISMATCH}  # needs more than one file: test_trial.py
    outside = {Reason.NOT_REGISTERED, Reason.NO_COMMITMENT}
    assert {reason for reason, _ in ORDER} == {*CHEATING, *WITHHELD, *outside} - never
    assert outside | CHEATING | WITHHELD | {Reason.ACCEPTED, Reason.INTERNAL} == set(Reason)


def test_honest_work_is_accepted_and_valued(world: World) -> None:
    draft = world.mine()
    verdict = world.judge(draft)
    assert verdict.reason is Reason.ACCEPTED, verdict.detail
    assert [group.index for group in verdict.groups] == world.valued
    assert len(world.tokenizer.decoded) == 2 * SIZE
    for group in verdict.groups:
        assert group.value == compute_value(
            world.parameters.work,
            lengths=[len(r.tokens) for r in draft.groups[group.index]],
            prompt_tokens=len(world.get_prompt(group.index)),
            mean_reward=sum(group.rewards) // SIZE,
            mean_correctness=sum(group.correctness) // SIZE,
        )
    assert not verdict.provisional
    assert verdict.tokens == sum(
        len(draft.groups[group.index][r].tokens)
        for group in world.chosen
        for r in world.find_audited(draft, group.index)
    )
    assert verdict.committed_groups == GROUPS
    assert verdict.statistics.margin_max == 0
    assert compute_score(verdict) == (2 * GROUPS - 1) * sum(g.value for g in verdict.groups) // 4


def test_problems_are_made_by_group(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign environment takes up to a tenth of a second for one."""
    made: Counter[int] = Counter()
    make = case.make_miner_problem

    def count(environment: Any, seed: bytes, hotkey: bytes, index: int, levels: Any) -> Any:
        made[index] += 1
        return make(environment, seed, hotkey, index, levels)

    monkeypatch.setattr(case, "make_miner_problem", count)
    assert world.judge(world.mine()).accepted
    assert max(made.values()) <= 3 < SIZE  # for the model, for its world, for its pay


def test_the_small_world_is_a_true_one(world: World) -> None:
    _, context = world.seal(world.mine())
    assert find_context_fault(context) is None
    lengths = [len(r.tokens) for group in world.mine().groups for r in group]
    assert min(lengths) < world.manifest.max_tokens == max(lengths)


def test_only_what_is_chosen_is_fetched(world: World) -> None:
    """The judge reads all ids and one proof of a valued group, one rollout of each other group, and
    nothing twice. Samples are read separately (test_samples.py)."""
    draft = world.mine()
    reader, context = world.seal(draft)
    world.judge_file(reader, replace(context, sample=None))
    opening = decode_opening(reader.data[: get_opening_bytes(GROUPS)], GROUPS)
    expected = get_opening_bytes(GROUPS)
    records: set[tuple[int, int]] = set()
    for group in world.chosen:
        records |= {(group.index, r) for r in world.find_audited(draft, group.index)}
        if group.valued:
            expected += opening.find_ids(group.index).size
    for index in {index for index, _ in records}:
        where = opening.find_head(index)
        expected += where.size
        head = decode_group_head(
            reader.data[where.end - opening.sizes[index].head : where.end], opening, index
        )
        for r in (r for group, r in records if group == index):
            expected += head.find_proof(r).size
            expected += 0 if index in world.valued else head.find_ids(r).size
    assert sum(part.size for part in reader.asked) == expected
    assert len(set(reader.asked)) == len(reader.asked)


def test_a_cheat_outside_the_audit_is_caught_once_it_is_chosen(world: World) -> None:
    """Nobody knows at the commitment which rollouts those are."""
    seed = world.get_seed(world.unseen, 1)
    draft = world.mine()
    world.rewrite(draft, world.unseen, 0, world.complete(world.unseen, seed))
    reader, context = world.seal(draft)
    assert world.judge_file(reader, context).accepted
    audit = context.audit
    for attempt in range(200):  # other audit rounds: same file, same root
        signature = bytes([attempt // 100, attempt % 100])
        context = replace(context, audit=replace(audit, signature=signature))
        verdict = world.judge_file(reader, context)
        if not verdict.accepted:
            break
    world.check_refusal(verdict, Reason.SAMPLING_MISMATCH)
    assert (verdict.fault.group, verdict.fault.rollout) == (world.unseen, 0)


def test_a_trainer_judges_all_it_learns_from(world: World) -> None:
    seed = world.get_seed(world.unseen, 1)
    draft = world.mine()
    assert world.judge(draft, groups=range(GROUPS)).accepted
    world.rewrite(draft, world.unseen, 0, world.complete(world.unseen, seed))
    world.check_refusal(world.judge(draft, groups=range(GROUPS)), Reason.SAMPLING_MISMATCH)


@pytest.mark.parametrize("groups", [(), (-1,), (GROUPS,)], ids=str)
def test_groups_that_do_not_exist_are_our_own_fault(world: World, groups: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="groups to judge"):
        world.judge(world.mine(), groups=groups)


def test_parts_that_do_not_belong_together_are_our_own_fault(world: World) -> None:
    reader, context = world.seal(world.mine())
    other = replace(context.parameters.environment, digest=bytes(32))
    foreign = replace(context, parameters=replace(context.parameters, environment=other))
    for match, changed, manifest in (
        ("manifest", context, replace(world.manifest, number=1)),
        ("another version", foreign, world.manifest),
        ("no audit beacon", replace(context, audit=None), world.manifest),
    ):
        with pytest.raises(ValueError, match=match):
            world.judge_by(world.forward, reader, changed, manifest=manifest)
    loose = replace(world.calibration, rates=tuple(rate * 2 for rate in world.calibration.rates))
    with pytest.raises(ValueError, match="calibration"):
        world.judge_by(world.forward, reader, context, calibration=loose)
    samples = plan_samples(context, world.hotkey)
    with pytest.raises(ValueError, match="still wants"):
        _ = samples.result
    submission = read_submission(samples, reader)
    with pytest.raises(ValueError, match="samples"):
        examine(submission, world.tokenizer, manifest=world.manifest)
    with pytest.raises(ValueError, match="samples"):
        world.judge_by(world.forward, reader, context, world.valued, samples=submission)


def test_a_verdict_is_json_in_units_that_people_use(world: World) -> None:
    draft = world.mine()
    decode_greedily(world, draft)
    written = world.judge(draft).to_record().to_json(1.23456)
    assert written["hotkey"] == "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    assert (written["accepted"], written["reason"]) == (False, "SAMPLING_MISMATCH")
    assert 1e-3 < written["statistics"]["margin_max"] < 30  # logits
    assert (written["groups"], written["tokens"], written["seconds"]) == ([], 0, 1.235)
    assert "token" not in world.judge(drafted_without_token(world)).to_record().to_json(0)


def drafted_without_token(world: World) -> Draft:
    draft = world.mine()
    name_fewer_groups(world, draft)
    return draft


relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def sealed(world: World) -> tuple[Any, Any]:
    """An honest file, once for all examples."""
    return world.seal(world.mine())


@relaxed
@given(st.binary(max_size=4_096))
def test_garbage_for_a_file_is_a_verdict(
    world: World, sealed: tuple[Any, Any], data: bytes
) -> None:
    reader, context = sealed
    reader.data = data
    assert world.judge_file(reader, context).reason in WITHHELD


@relaxed
@given(st.sampled_from(range(3)), st.binary(min_size=1, max_size=600))
def test_garbage_in_a_part_under_a_true_root_is_a_verdict(
    world: World, which: int, data: bytes
) -> None:
    draft = world.mine()
    draft.change_parts[world.audited] = lambda parts: (*parts[:which], data, *parts[which + 1 :])
    verdict = world.judge(draft)
    assert verdict.reason in {Reason.MALFORMED, Reason.ROOT_MISMATCH, Reason.TOO_LARGE}


@relaxed
@given(st.sampled_from(["version", "window", "groups", "group_size"]), st.integers(0, 2**16 - 1))
def test_any_other_number_in_the_header_is_a_verdict(
    world: World, sealed: tuple[Any, Any], name: str, value: int
) -> None:
    draft = world.mine()
    draft.header[name] = value
    honest, context = sealed
    reader, _ = world.seal(draft)
    verdict = world.judge_file(reader, context)
    assert verdict.accepted == (reader.data == honest.data)


@relaxed
@given(st.data())
def test_random_rows_under_a_true_root_are_a_verdict(world: World, data: st.DataObject) -> None:
    draft = world.mine()
    ids = st.integers(0, END) | st.integers(0, 2**7 - 1)
    for r in range(SIZE):  # the same in each group, so that it is looked at
        tokens = np.array(data.draw(st.lists(ids, min_size=1, max_size=4)), np.uint32)
        logprobs = np.full(len(tokens), data.draw(st.integers(0, 2**24)), np.uint32)
        for index in range(GROUPS):
            draft.groups[index][r] = Rollout(tokens, logprobs, np.zeros((len(tokens), 2), np.int8))
    verdict = world.judge(draft)
    assert verdict.reason in CHEATING | {Reason.MALFORMED}
