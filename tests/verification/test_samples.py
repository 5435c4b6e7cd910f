"""A file's samples after its audit: shown as committed, or not paid."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol.reason import Reason
from assay.protocol.selection import select_committed, select_sampled
from assay.protocol.submission import (
    Opening,
    Range,
    decode_group_head,
    decode_opening,
    get_opening_bytes,
)
from assay.verification import Ledger, compute_score

END, GROUPS = 96, 8  # of the small world (conftest.py)

World = Any  # conftest.World and conftest.Draft: tests cannot import a conftest
Draft = Any


@pytest.fixture
def draft(world: World) -> Draft:
    return world.mine()


def judge_draft(world: World, draft: Draft, **options: Any) -> tuple[Any, Ledger]:
    """The verdict, and the ledger after it."""
    reader, context = world.seal(draft)
    context = replace(context, **options)
    options = {"validator": world.neighbour}
    if context.sample is None:
        judged = world.judge_by(world.forward, reader, context, **options)
        return judged.verdict, judged.ledger
    samples = world.read_samples(reader, context)
    early = world.judge_by(world.forward, reader, context, **options).verdict
    world.tokenizer.decoded.clear()
    judged = world.judge_by(world.forward, reader, context, samples=samples, **options)
    if early.accepted:  # a validator learns the samples after its audit
        assert early.conclude(samples.refusal) == judged.verdict
    return judged.verdict, judged.ledger


def test_nothing_is_accepted_for_good_before_the_samples_are_known(
    world: World, draft: Draft
) -> None:
    early, ledger = judge_draft(world, draft, sample=None)
    assert early.accepted
    assert early.provisional
    whole, after = judge_draft(world, draft)
    assert whole == replace(early, provisional=False)
    assert after == ledger


def test_a_fault_found_by_the_audit_needs_no_samples(world: World, draft: Draft) -> None:
    world.complete_by(draft, lambda logits, seed, position: int(logits[0, : END + 1].argmax()))
    verdict, _ = judge_draft(world, draft, sample=None)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert not verdict.provisional
    reader, context = world.seal(world.mine())
    context = replace(context, sample=None)
    some = world.judge_file(reader, context, groups=world.valued)  # like a trainer
    assert some.accepted
    assert not some.provisional


def blank(served: bytes, *parts: Range) -> bytes:
    changed = bytearray(served)
    for part in parts:
        changed[part.start : part.end] = bytes(part.size)
    return bytes(changed)


def find_record(data: bytes, opening: Opening, index: int, rollout: int, kind: str) -> Range:
    """The place of a record in the file."""
    where = opening.find_head(index)
    data = data[where.end - opening.sizes[index].head : where.end]
    head = decode_group_head(data, opening, index)
    region = opening.find_ids(index) if kind == "ids" else opening.find_proofs(index)
    within = head.find_ids(rollout) if kind == "ids" else head.find_proof(rollout)
    return Range(region.start + within.start, within.size)


SPOILED: dict[str, Callable[[bytes, Opening, int, int], Range]] = {
    "path": lambda data, opening, g, r: Range(opening.find_head(g).start, 32),
    "head": lambda data, opening, g, r: opening.find_head(g),
    "ids": lambda data, opening, g, r: find_record(data, opening, g, r, "ids"),
    "proof": lambda data, opening, g, r: find_record(data, opening, g, r, "proof"),
    "group": lambda data, opening, g, r: opening.find_group(g),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_sample_that_is_not_shown_costs_the_window_and_leaves_the_ledger(
    world: World, draft: Draft, kind: str
) -> None:
    """The audit's measurements stay evidence, and stay in the verdict."""
    honest, ledger = judge_draft(world, draft)
    index, rollout = world.find_sampled_alone()[0]
    find = SPOILED[kind]
    draft.change_file = lambda data, o: blank(data, find(data, o, index, rollout))
    world.tokenizer.decoded.clear()
    verdict, after = judge_draft(world, draft)
    assert verdict.reason is Reason.ROOT_MISMATCH
    assert verdict.fault.unbound
    assert not verdict.provisional
    assert verdict.fault.group == index
    assert verdict.fault.rollout == (rollout if kind in ("ids", "proof") else None)
    assert compute_score(verdict) == 0
    assert world.tokenizer.decoded == []  # no reward code has run for it
    assert (verdict.witness, verdict.statistics) == (honest.witness, honest.statistics)
    assert after == ledger != Ledger()


def test_a_miner_that_uploads_what_is_audited_alone_is_refused(world: World, draft: Draft) -> None:
    """It cannot know the samples at that time."""
    audited = {group.index for group in world.chosen}

    def keep(data: bytes, opening: Opening) -> bytes:
        gone = [opening.find_group(g) for g in range(GROUPS) if g not in audited]
        return blank(data, *gone)

    draft.change_file = keep
    assert judge_draft(world, draft, sample=None)[0].accepted
    assert judge_draft(world, draft)[0].reason is Reason.ROOT_MISMATCH


def test_a_sampled_head_that_no_encoder_writes_is_refused_for_good(
    world: World, draft: Draft
) -> None:
    index, _ = world.find_sampled_alone()[0]
    draft.change_parts[index] = lambda parts: (parts[0] + b"\0", *parts[1:])
    verdict, ledger = judge_draft(world, draft)
    assert (verdict.reason, verdict.fault.group) == (Reason.MALFORMED, index)
    assert not verdict.fault.unbound
    assert ledger.rollouts == world.parameters.work.audited_rollouts


def test_samples_are_not_decoded(world: World, draft: Draft) -> None:
    """Ids that no model may draw do not matter there: they are the committed ones."""
    index, rollout = world.find_sampled_alone()[0]
    tokens = draft.groups[index][rollout].tokens.copy()
    tokens[0] = END + 1
    draft.groups[index][rollout] = replace(draft.groups[index][rollout], tokens=tokens)
    assert judge_draft(world, draft)[0].accepted


def test_samples_come_last(world: World, draft: Draft) -> None:
    index, _ = world.find_sampled_alone()[0]
    draft.change_file = lambda data, opening: blank(data, opening.find_group(index))
    for r, rollout in enumerate(draft.groups[world.audited]):
        silent = replace(rollout, sketch=np.zeros_like(rollout.sketch))
        draft.groups[world.audited][r] = silent
    assert judge_draft(world, draft)[0].reason is Reason.SKETCH_MISMATCH


def test_each_beacon_chooses_its_own(world: World) -> None:
    context = world.context
    sampled, audited = (
        replace(context, **{name: replace(getattr(context, name), signature=b"another")})
        for name in ("sample", "audit")
    )
    chosen, samples = world.chosen, world.sampled
    assert select_committed(sampled, world.hotkey, GROUPS) == chosen
    assert select_sampled(sampled, world.hotkey, GROUPS) != samples
    assert select_committed(audited, world.hotkey, GROUPS) != chosen
    assert select_sampled(audited, world.hotkey, GROUPS) == samples
    assert select_sampled(replace(context, sample=None), world.hotkey, GROUPS) == ()


def test_a_sampled_rollouts_records_are_fetched_and_no_more(world: World, draft: Draft) -> None:
    reader, context = world.seal(draft)
    assert world.read_samples(reader, context).refusal is None
    data = reader.data
    opening_part = Range(0, get_opening_bytes(GROUPS))
    opening = decode_opening(data[: opening_part.size], GROUPS)
    expected = [opening_part]
    for number, (index, rollout) in enumerate(world.sampled):
        if number == 0 or world.sampled[number - 1][0] != index:
            expected.append(opening.find_head(index))
        expected += [find_record(data, opening, index, rollout, kind) for kind in ("ids", "proof")]
    assert reader.asked == expected
