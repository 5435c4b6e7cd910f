"""Miners that save work: each attack on real files, the real model and the real judge."""

from dataclasses import replace

import numpy as np
import torch

from assay.gauntlet.strategy import make_int4
from assay.inference import Request
from assay.protocol import Header, Reason, Stream
from assay.protocol.manifest import digest_safetensors
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
    from assay.inference import generate_groups

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
        from assay.inference import KeyedSampler

        self._sampler = KeyedSampler(world.checkpoint.tokenizer.drawable, temperature)

    def draw(self, logits, keys, positions):
        return self._sampler.draw(logits, keys, positions)


class Greedy:
    def draw(self, logits, keys, positions):
        return logits.argmax(dim=1), logits.amax(dim=1)


class TopK:
    """The keyed draw among the two best ids only."""

    def __init__(self, world):
        from assay.inference import KeyedSampler

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
    header = Header(
        1, world.parameters.digest, 1, world.hotkeys["bob"], world.checkpoint.digest, len(bobs)
    )
    assert world.submit("alice", 1, bobs, header=header).reason is Reason.WRONG_HEADER
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
    """The best rollout of a group in place of the worst: both are genuine, one is not its own."""
    groups = world.genuine("alice", 1)
    tokens = [r.tokens.tolist() for r in groups[0]]
    groups[0] = world.prefill("alice", 1, 0, [tokens[1], *tokens[1:]])
    verdict = world.submit("alice", 1, groups)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert (verdict.group, verdict.rollout) == (0, 0)


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
    assert verdict.token is not None
    assert half <= verdict.token <= half + 4


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
    """Replaces a drawn end token and goes on to the length limit: longer work, not the model's."""
    groups = world.genuine("alice", 1)
    tokens = [r.tokens.tolist() for r in groups[0]]
    end = world.rules.end_tokens[0]
    ended = next(i for i, row in enumerate(tokens) if row[-1] == end)
    row = tokens[ended][:-1]
    tokens[ended] = [*row, *([5] * (world.rules.max_tokens - len(row)))]
    groups[0] = world.prefill("alice", 1, 0, tokens)
    verdict = world.submit("alice", 1, groups)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert verdict.token == len(row)


def test_token_outside_the_vocabulary_and_token_never_drawn(world):
    groups = world.genuine("alice", 1)
    vocabulary = len(world.checkpoint.tokenizer.drawable)
    undrawable = int(np.flatnonzero(~world.checkpoint.tokenizer.drawable)[0])
    for token in (vocabulary, 2**32 - 1, undrawable):
        forged = groups[0][0].tokens.copy()
        forged[0] = token
        attack = [change(groups[0], 0, tokens=forged), *groups[1:]]
        assert world.submit("alice", 1, attack).reason is Reason.TOKEN_OUT_OF_RANGE


def test_work_for_another_checkpoint(world):
    groups = world.genuine("alice", 1)
    header = Header(1, world.parameters.digest, 1, world.hotkeys["alice"], bytes(32), len(groups))
    assert world.submit("alice", 1, groups, header=header).reason is Reason.WRONG_CHECKPOINT


def test_junk_groups_pass_only_where_nobody_looks(world):
    """The audit is drawn after the commitment; the trainer looks at all and learns nothing."""
    groups = world.genuine("alice", 1)
    for junk in range(len(groups)):
        attack = list(groups)
        attack[junk] = groups[(junk + 1) % len(groups)]
        audited = world.submit("alice", 1, attack, every=False)
        whole = world.submit("alice", 1, attack)
        assert whole.reason is Reason.SKETCH_MISMATCH
        assert whole.group == junk
        assert audited.reason in {Reason.ACCEPTED, Reason.SKETCH_MISMATCH}
        chosen = {g.index for g in audited.groups} if audited.accepted else {audited.group}
        assert (junk in chosen) is not audited.accepted


def test_serving_other_bytes_than_committed(world):
    """A sampled group is fetched and compared with its leaf even where it is not judged."""
    from assay.artifacts.submissions.submission_file import write_submission

    groups = world.genuine("alice", 1)
    header = Header(
        1, world.parameters.digest, 1, world.hotkeys["alice"], world.checkpoint.digest, len(groups)
    )
    for swapped in range(len(groups)):
        served = list(groups)
        served[swapped] = list(reversed(groups[swapped]))
        data = write_submission(header, served)
        verdict = world.submit("alice", 1, groups, data=data, every=False)
        assert verdict.reason is Reason.ROOT_MISMATCH


def test_the_shipped_weights_are_stored_as_bf16(world):
    data = (world.checkpoint.folder / "model.safetensors").read_bytes()
    assert {tensor.dtype for tensor in digest_safetensors(data)} == {"BF16"}
