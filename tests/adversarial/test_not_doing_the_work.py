"""Miners that save work: each attack on real files, the real model and the real judge."""

from dataclasses import replace

import numpy as np
import torch

from assay.inference.draft import Request
from assay.lab.gauntlet.strategy import make_int4
from assay.protocol.manifest import digest_safetensors
from assay.protocol.prf import Stream
from assay.protocol.reason import Reason
from assay.protocol.selection import select_committed, select_rollouts, select_sampled
from assay.protocol.submission import (
    decode_group_head,
    decode_opening,
    get_id_bits,
    get_opening_bytes,
)
from assay.verification import compute_score


def change(group, rollout, **columns):
    changed = list(group)
    changed[rollout] = replace(group[rollout], **columns)
    return changed


def draft(world, name, window, index, model=None, sampler=None):
    """One group's tokens by another model, or by another rule than the keyed draw."""
    work = world.works[name, window]
    request = world.miners[name].make_request(work, index)
    drafter = world.checkpoint.get_drafter(1_024, model=model)
    if sampler is not None:
        drafter.sampler = sampler
    return drafter.draft([Request(request.prompt, seed) for seed in request.seeds])


def with_drafted_groups(world, **how):
    return [
        world.prefill("alice", 1, index, draft(world, "alice", 1, index, **how))
        for index in range(len(world.genuine("alice", 1)))
    ]


def test_honest_work_is_accepted_and_paid(world):
    verdict = world.submit("alice", 1, world.genuine("alice", 1))
    assert verdict.reason is Reason.ACCEPTED, verdict.detail
    assert verdict.statistics.margin_max == 0
    assert compute_score(verdict) > 0


def test_quantised_model_generates_and_the_true_model_only_prefills(world):
    cheap = make_int4(world.checkpoint.model)
    verdict = world.submit("alice", 1, with_drafted_groups(world, model=cheap))
    assert verdict.reason is Reason.SAMPLING_MISMATCH


def test_draft_by_a_cheap_model_corrected_by_the_true_one_is_the_honest_sample(world):
    """Not an attack: whatever drafts, the corrected tokens are the only valid ones."""
    from assay.inference.generate import generate_groups

    work = world.works["alice", 1]
    cheap = make_int4(world.checkpoint.model)
    (group,) = generate_groups(
        [world.miners["alice"].make_request(work, 0)],
        world.checkpoint.get_drafter(1_024, model=cheap),
        world.checkpoint.get_reference(1_024),
        world.rules,
        work.projection,
    )
    honest = world.genuine("alice", 1)[0]
    assert [r.tokens.tolist() for r in group] == [r.tokens.tolist() for r in honest]


def test_fine_tuned_or_stale_weights(world):
    """Weights off by 3 % of each matrix's spread: less than most fine-tuning, invisible in text."""
    other = world.checkpoint.load_trainable().requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * parameter.std() * 3e-2)
    verdict = world.submit("alice", 1, with_drafted_groups(world, model=other))
    assert verdict.reason is Reason.SAMPLING_MISMATCH


class OtherTemperature:
    """A keyed draw at T = 0.7: honest noise, sharper model."""

    def __init__(self, world, temperature):
        from assay.inference.draws.sampler import KeyedSampler

        self._sampler = KeyedSampler(world.checkpoint.tokenizer.drawable, temperature)

    def draw(self, logits, keys, positions):
        return self._sampler.draw(logits, keys, positions)


class Greedy:
    def draw(self, logits, keys, positions):
        return logits.argmax(dim=1), logits.amax(dim=1)


class TopK:
    """The keyed draw among the two best ids only."""

    def __init__(self, world):
        from assay.inference.draws.sampler import KeyedSampler

        self._sampler = KeyedSampler(world.checkpoint.tokenizer.drawable, 1_024)

    def draw(self, logits, keys, positions):
        keep = logits.topk(2, dim=1).indices
        low = torch.full_like(logits, -1e4).scatter(1, keep, logits.gather(1, keep))
        return self._sampler.draw(low, keys, positions)


def test_other_temperature(world):
    groups = with_drafted_groups(world, sampler=OtherTemperature(world, 717))
    assert world.submit("alice", 1, groups).reason is Reason.SAMPLING_MISMATCH


def test_greedy_decoding(world):
    groups = with_drafted_groups(world, sampler=Greedy())
    assert world.submit("alice", 1, groups).reason is Reason.SAMPLING_MISMATCH


def test_top_k(world):
    groups = with_drafted_groups(world, sampler=TopK(world))
    assert world.submit("alice", 1, groups).reason is Reason.SAMPLING_MISMATCH


def test_copying_another_miners_rollouts(world):
    """Bob's tokens under Alice's prompts and seeds, prefilled by the true model."""
    groups = [
        world.prefill("alice", 1, index, [r.tokens.tolist() for r in group])
        for index, group in enumerate(world.genuine("bob", 1))
    ]
    assert world.submit("alice", 1, groups).reason is Reason.SAMPLING_MISMATCH


def test_copying_another_miners_file(world):
    bobs = world.genuine("bob", 1)
    verdict = world.submit("alice", 1, bobs, hotkey=world.hotkeys["bob"])
    assert verdict.reason is Reason.WRONG_HEADER
    assert world.submit("alice", 1, bobs).reason is Reason.SKETCH_MISMATCH


def test_resubmitting_last_windows_work(world):
    old = world.genuine("alice", 0)
    assert world.submit("alice", 1, old).reason is Reason.SKETCH_MISMATCH
    refreshed = [
        world.prefill("alice", 1, index, [r.tokens.tolist() for r in group])
        for index, group in enumerate(old)
    ]
    assert world.submit("alice", 1, refreshed).reason is Reason.SAMPLING_MISMATCH


def test_choosing_problems_by_starting_at_another_index(world):
    shifted = world.genuine("alice", 1)[1:]
    assert world.submit("alice", 1, shifted).reason is Reason.SKETCH_MISMATCH


def test_keeping_the_good_rollouts(world):
    """The best rollout of a group replaces the worst: both are genuine, one is not its own."""
    groups = world.genuine("alice", 1)
    tokens = [r.tokens.tolist() for r in groups[0]]
    groups[0] = world.prefill("alice", 1, 0, [tokens[1], *tokens[1:]])
    verdict = world.submit("alice", 1, groups)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert (verdict.fault.group, verdict.fault.rollout) == (0, 0)


def test_constant_zero_random_and_copied_sketches(world):
    groups = world.genuine("alice", 1)
    stream = Stream(bytes(32))
    honest = groups[0][0].sketch
    noise = [[stream.draw_between(-128, 127) for _ in row] for row in honest]
    for forged in (
        np.zeros_like(honest),
        np.full_like(honest, 31),
        np.array(noise, np.int8),
        np.resize(groups[1][0].sketch, honest.shape),
        np.roll(honest, 1, axis=0),
    ):
        attack = [change(groups[0], 0, sketch=forged), *groups[1:]]
        assert world.submit("alice", 1, attack).reason is Reason.SKETCH_MISMATCH


def test_all_zero_logprobs(world):
    groups = world.genuine("alice", 1)
    zeros = [replace(r, logprobs=np.zeros_like(r.logprobs)) for r in groups[0]]
    verdict = world.submit("alice", 1, [zeros, *groups[1:]])
    assert verdict.reason is Reason.LOGPROB_MISMATCH


def test_splicing_a_foreign_middle_behind_a_genuine_prefix(world):
    groups = world.genuine("alice", 1)
    tokens = [r.tokens.tolist() for r in groups[2]]
    longest = max(range(len(tokens)), key=lambda i: len(tokens[i]))
    row = tokens[longest]
    half = len(row) // 2
    tokens[longest] = [*row[:half], *([row[half] ^ 1] * 4), *row[half + 4 :]]
    groups[2] = world.prefill("alice", 1, 2, tokens)
    verdict = world.submit("alice", 1, groups)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert verdict.fault.token is not None
    assert half <= verdict.fault.token <= half + 4


def test_truncating_a_completion(world):
    groups = world.genuine("alice", 1)
    tokens = [r.tokens.tolist() for r in groups[0]]
    groups[0] = world.prefill("alice", 1, 0, [tokens[0][:-1], *tokens[1:]])
    assert world.submit("alice", 1, groups).reason is Reason.WRONG_TERMINATION


def test_padding_behind_the_end_token(world):
    groups = world.genuine("alice", 1)
    tokens = [r.tokens.tolist() for r in groups[0]]
    end = world.rules.end_tokens[0]
    ended = next(i for i, row in enumerate(tokens) if row[-1] == end)
    tokens[ended] = [*tokens[ended], 5, 5]
    groups[0] = world.prefill("alice", 1, 0, tokens)
    assert world.submit("alice", 1, groups).reason is Reason.WRONG_TERMINATION


def test_skipping_the_end_token(world):
    """Replaces a drawn end token and continues to the length limit: longer work, not the
    model's."""
    groups = world.genuine("alice", 1)
    tokens = [r.tokens.tolist() for r in groups[0]]
    end = world.rules.end_tokens[0]
    ended = next(i for i, row in enumerate(tokens) if row[-1] == end)
    row = tokens[ended][:-1]
    tokens[ended] = [*row, *([5] * (world.rules.max_tokens - len(row)))]
    groups[0] = world.prefill("alice", 1, 0, tokens)
    verdict = world.submit("alice", 1, groups)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert verdict.fault.token == len(row)


def test_token_outside_the_vocabulary_and_token_never_drawn(world):
    groups = world.genuine("alice", 1)
    vocabulary = len(world.checkpoint.tokenizer.drawable)
    undrawable = int(np.flatnonzero(~world.checkpoint.tokenizer.drawable)[0])
    largest = (1 << get_id_bits(vocabulary)) - 1  # the largest that a file can hold
    for token in (vocabulary, largest, undrawable):
        forged = groups[0][0].tokens.copy()
        forged[0] = token
        attack = [change(groups[0], 0, tokens=forged), *groups[1:]]
        assert world.submit("alice", 1, attack).reason is Reason.TOKEN_OUT_OF_RANGE


def test_work_for_another_checkpoint(world):
    groups = world.genuine("alice", 1)
    verdict = world.submit("alice", 1, groups, checkpoint=bytes(32))
    assert verdict.reason is Reason.WRONG_CHECKPOINT


def find_audited(world, groups):
    """Rollouts of alice's file that its audit puts through the model, and those it only fetches."""
    context, hotkey = world.contexts[1], world.hotkeys["alice"]
    chosen = select_committed(context, hotkey, len(groups))
    audited = set()
    for group in chosen:
        lengths = [len(rollout.tokens) for rollout in groups[group.index]]
        work = context.parameters.work
        rollouts = select_rollouts(context.audit_seed, hotkey, group, lengths, work)
        audited |= {(group.index, rollout) for rollout in rollouts}
    return audited, set(select_sampled(context, hotkey, len(groups))) - audited


def test_junk_rollouts_pass_only_where_nobody_looks(world):
    """The audit is drawn after the commitment; the trainer looks at all and learns nothing."""
    groups = world.genuine("alice", 1)
    seen = set()
    for index, group in enumerate(groups):
        for junk in (0, len(group) - 1):
            attack = [list(g) for g in groups]
            attack[index][junk] = groups[index - 1][junk]
            audited, _ = find_audited(world, attack)
            verdict = world.submit("alice", 1, attack, every=False)
            whole = world.submit("alice", 1, attack)
            assert (whole.reason, whole.fault.group) == (Reason.SKETCH_MISMATCH, index)
            hit = (index, junk) in audited
            assert verdict.reason is (Reason.SKETCH_MISMATCH if hit else Reason.ACCEPTED)
            seen.add(hit)
    assert seen == {False, True}


def find_parts(data, count, index, rollout):
    """Offsets of a group's path, a rollout's ids and its proof in a file with that many groups."""
    opening = decode_opening(data[: get_opening_bytes(count)], count)
    at = opening.find_head(index)
    head = decode_group_head(data[at.end - opening.sizes[index].head : at.end], opening, index)
    ids = opening.find_ids(index).start + head.find_ids(rollout).start
    return at.start, ids, opening.find_proofs(index).start + head.find_proof(rollout).start


def test_serving_other_bytes_than_committed(world):
    """Samples are fetched and checked against the root even if they are not judged."""
    groups = world.genuine("alice", 1)
    data, _ = world.encode("alice", 1, groups)
    _, sampled = find_audited(world, groups)
    assert sampled
    for index, rollout in sampled:
        for place in find_parts(data, len(groups), index, rollout):
            served = bytearray(data)
            served[place] ^= 1
            verdict = world.submit("alice", 1, groups, data=bytes(served), every=False)
            assert verdict.reason is Reason.ROOT_MISMATCH
            assert verdict.fault.unbound


def test_the_shipped_weights_are_stored_as_bf16(world):
    data = (world.checkpoint.folder / "model.safetensors").read_bytes()
    assert {tensor.dtype for tensor in digest_safetensors(data)} == {"BF16"}
