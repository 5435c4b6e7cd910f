"""Submissions a miner would like to be paid for: one defect each, and the reason it is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol import Footer, Reason, Refusal, Rollout, find_context_fault
from assay.protocol.reason import CHEATING, WITHHELD
from assay.protocol.seeds import compute_rollout_seed
from assay.protocol.submission import encode_rollout
from assay.verification import Verdict, compute_score, compute_value

END, VOCABULARY, GROUPS = 96, 100, 8  # of the small world (conftest.py)

World = Any  # conftest.World and conftest.Draft: no module that tests could import
Draft = Any
Attack = Callable[[World, Draft], None]

ATTACKS: dict[str, tuple[Reason, Attack]] = {}


def attack(reason: Reason) -> Callable[[Attack], Attack]:
    def add(function: Attack) -> Attack:
        ATTACKS[function.__name__] = reason, function
        return function

    return add


def change(draft: Draft, index: int, rollout: int, **columns: Any) -> None:
    draft.groups[index][rollout] = replace(draft.groups[index][rollout], **columns)


def find_rollout(world: World, draft: Draft, *, ended: bool) -> int:
    """A rollout of the first audited group that ended by itself, or at the length limit."""
    group = draft.groups[world.audited]
    ends = [rollout.tokens[-1] == END for rollout in group]
    return ends.index(ended)


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


# Before anything is fetched


@attack(Reason.NOT_REGISTERED)
def hotkey_without_a_uid(world: World, draft: Draft) -> None:
    draft.is_member = False


@attack(Reason.NO_COMMITMENT)
def nothing_committed(world: World, draft: Draft) -> None:
    draft.is_committed = False


@attack(Reason.TOO_LARGE)
def one_group_above_the_cap(world: World, draft: Draft) -> None:
    draft.committed_groups = world.parameters.work.group_cap + 1


@attack(Reason.MALFORMED)
def no_group_committed(world: World, draft: Draft) -> None:
    draft.committed_groups = 0


# The footer


@attack(Reason.NOT_REVEALED)
def file_withheld(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Refusal(Reason.NOT_REVEALED, "there is no such file")


@attack(Reason.MALFORMED)
def header_cut_off(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header[:-1], footer.leaves)


@attack(Reason.MALFORMED)
def header_with_a_byte_more(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header + b"\0", footer.leaves)


@attack(Reason.MALFORMED)
def leaf_missing(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header, footer.leaves[:-1])


@attack(Reason.MALFORMED)
def leaf_added(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header, (*footer.leaves, footer.leaves[-1]))


@attack(Reason.WRONG_HEADER)
def header_of_another_version(world: World, draft: Draft) -> None:
    draft.header["version"] = 2


@attack(Reason.WRONG_HEADER)
def header_of_another_network(world: World, draft: Draft) -> None:
    draft.header["parameters"] = flip(world.parameters.digest)


@attack(Reason.WRONG_HEADER)
def last_window_s_file(world: World, draft: Draft) -> None:
    draft.header["window"] = world.context.window - 1


@attack(Reason.WRONG_HEADER)
def another_miner_s_file(world: World, draft: Draft) -> None:
    draft.header["hotkey"] = world.neighbour


@attack(Reason.WRONG_HEADER)
def fewer_groups_than_committed(world: World, draft: Draft) -> None:
    draft.committed_groups = GROUPS + 1


@attack(Reason.ROOT_MISMATCH)
def another_root_committed(world: World, draft: Draft) -> None:
    draft.change_root = flip


@attack(Reason.ROOT_MISMATCH)
def leaf_changed_after_the_commitment(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(
        footer.header, (flip(footer.leaves[0]), *footer.leaves[1:])
    )


@attack(Reason.ROOT_MISMATCH)
def leaves_in_another_order(world: World, draft: Draft) -> None:
    draft.change_footer = lambda footer: Footer(footer.header, footer.leaves[::-1])


@attack(Reason.WRONG_CHECKPOINT)
def work_for_a_stale_checkpoint(world: World, draft: Draft) -> None:
    draft.header["checkpoint"] = bytes(32)


# Bytes of a group


@attack(Reason.NOT_REVEALED)
def audited_group_withheld(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = lambda data: Refusal(Reason.NOT_REVEALED, "gone")


@attack(Reason.NOT_REVEALED)
def only_audited_groups_uploaded(world: World, draft: Draft) -> None:
    for index in world.chosen.sampled:
        draft.change_bytes[index] = lambda data: Refusal(Reason.NOT_REVEALED, "never uploaded")


@attack(Reason.MALFORMED)
def group_cut_off(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = lambda data: data[:-1]


@attack(Reason.MALFORMED)
def group_with_bytes_after_it(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = lambda data: data + b"\0"


@attack(Reason.MALFORMED)
def rollout_missing(world: World, draft: Draft) -> None:
    draft.groups[world.audited].pop()


@attack(Reason.MALFORMED)
def rollout_without_a_token(world: World, draft: Draft) -> None:
    none = np.zeros(0, np.uint32)
    draft.groups[world.audited][0] = Rollout(none, none, np.zeros((0, 2), np.int8))


@attack(Reason.MALFORMED)
def logprob_above_24_bits(world: World, draft: Draft) -> None:
    logprobs = draft.groups[world.audited][0].logprobs.copy()
    logprobs[0] = 2**24
    change(draft, world.audited, 0, logprobs=logprobs)


@attack(Reason.ROOT_MISMATCH)
def one_bit_of_an_audited_group_flipped(world: World, draft: Draft) -> None:
    draft.change_bytes[world.audited] = flip


@attack(Reason.ROOT_MISMATCH)
def one_bit_of_a_sampled_group_flipped(world: World, draft: Draft) -> None:
    draft.change_bytes[world.chosen.sampled[-1]] = flip


@attack(Reason.ROOT_MISMATCH)
def another_group_of_the_file_served(world: World, draft: Draft) -> None:
    other = b"".join(map(encode_rollout, draft.groups[world.unseen]))
    draft.change_bytes[world.audited] = lambda data: other


# Tokens


@attack(Reason.TOKEN_OUT_OF_RANGE)
def token_beyond_the_vocabulary(world: World, draft: Draft) -> None:
    change_token(world, draft, VOCABULARY)


@attack(Reason.TOKEN_OUT_OF_RANGE)
def largest_token(world: World, draft: Draft) -> None:
    change_token(world, draft, 2**32 - 1)


@attack(Reason.TOKEN_OUT_OF_RANGE)
def token_that_may_not_be_drawn(world: World, draft: Draft) -> None:
    change_token(world, draft, END + 1)


def change_token(world: World, draft: Draft, token: int) -> None:
    tokens = draft.groups[world.audited][0].tokens.copy()
    tokens[0] = token
    change(draft, world.audited, 0, tokens=tokens)


@attack(Reason.WRONG_TERMINATION)
def completion_stopped_early(world: World, draft: Draft) -> None:
    tokens = draft.groups[world.audited][1].tokens[:-1]
    world.rewrite(draft, world.audited, 1, tokens)


@attack(Reason.WRONG_TERMINATION)
def tokens_after_the_end(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=True)
    world.rewrite(draft, world.audited, r, [*draft.groups[world.audited][r].tokens, 3])


@attack(Reason.WRONG_TERMINATION)
def two_end_tokens(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=True)
    world.rewrite(draft, world.audited, r, [*draft.groups[world.audited][r].tokens, END])


@attack(Reason.WRONG_TERMINATION)
def padding_beyond_the_limit(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=False)
    world.rewrite(draft, world.audited, r, [*draft.groups[world.audited][r].tokens, 3])


@attack(Reason.WRONG_TERMINATION)
def genuine_sampling_beyond_the_limit_to_an_end_token(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=False)
    prompt, seed = world.get_prompt(world.audited), world.get_seed(world.audited, r)
    tokens = world.forward.complete(prompt, seed, 10_000)
    assert tokens[-1] == END
    assert len(tokens) > world.manifest.max_tokens
    world.rewrite(draft, world.audited, r, tokens)


# The sketch


def change_sketch(world: World, draft: Draft, make: Callable[[np.ndarray], np.ndarray]) -> None:
    for r, rollout in enumerate(draft.groups[world.audited]):
        change(draft, world.audited, r, sketch=make(rollout.sketch).astype(np.int8))


@attack(Reason.SKETCH_MISMATCH)
def sketch_of_zeros(world: World, draft: Draft) -> None:
    change_sketch(world, draft, np.zeros_like)


@attack(Reason.SKETCH_MISMATCH)
def constant_sketch(world: World, draft: Draft) -> None:
    change_sketch(world, draft, lambda sketch: np.tile(np.median(sketch, axis=0), (len(sketch), 1)))


@attack(Reason.SKETCH_MISMATCH)
def random_sketch(world: World, draft: Draft) -> None:
    rng = np.random.default_rng(5)
    change_sketch(world, draft, lambda sketch: rng.integers(-64, 64, sketch.shape))


@attack(Reason.SKETCH_MISMATCH)
def sketch_copied_from_another_group(world: World, draft: Draft) -> None:
    others = np.concatenate([rollout.sketch for rollout in draft.groups[world.unseen]])
    change_sketch(world, draft, lambda sketch: others[: len(sketch)])


@attack(Reason.SKETCH_MISMATCH)
def sketch_under_last_window_s_projection(world: World, draft: Draft) -> None:
    change_sketch(world, draft, lambda sketch: sketch * [1, -1])


# Log-probabilities


def shift_logprobs(world: World, draft: Draft, by: int) -> None:
    for r, rollout in enumerate(draft.groups[world.audited]):
        change(draft, world.audited, r, logprobs=rollout.logprobs + np.uint32(by))


@attack(Reason.LOGPROB_MISMATCH)
def logprobs_of_zero(world: World, draft: Draft) -> None:
    for r, rollout in enumerate(draft.groups[world.audited]):
        change(draft, world.audited, r, logprobs=np.zeros_like(rollout.logprobs))


@attack(Reason.LOGPROB_MISMATCH)
def logprobs_shifted_beyond_the_mean_bound(world: World, draft: Draft) -> None:
    shift_logprobs(world, draft, world.parameters.tests.logprob_rms_bound + 1)


@attack(Reason.LOGPROB_MISMATCH)
def one_logprob_beyond_the_largest_bound(world: World, draft: Draft) -> None:
    logprobs = draft.groups[world.audited][0].logprobs.copy()  # every position is compared: T < 32
    logprobs[-1] += world.parameters.tests.logprob_max_bound + 1
    change(draft, world.audited, 0, logprobs=logprobs)


# Sampling: sketch and log-probabilities below are the true model's own


@attack(Reason.SAMPLING_MISMATCH)
def greedy_decoding(world: World, draft: Draft) -> None:
    world.complete_by(draft, lambda logits, seed, position: int(logits[0, : END + 1].argmax()))


@attack(Reason.SAMPLING_MISMATCH)
def lower_temperature(world: World, draft: Draft) -> None:
    cold = type(world.forward)(world.forward.model, 716)
    world.complete_by(draft, cold.draw)


@attack(Reason.SAMPLING_MISMATCH)
def cheaper_model_generates_and_the_true_one_prefills(world: World, draft: Draft) -> None:
    model = type(world.forward.model)()
    model.head = np.round(model.head * 8) / 8
    cheap = type(world.forward)(model, world.parameters.work.temperature)
    world.rewrite_group(draft, lambda prompt, seed, limit: cheap.complete(prompt, seed, limit))


@attack(Reason.SAMPLING_MISMATCH)
def another_rollout_s_seed(world: World, draft: Draft) -> None:
    seed = world.get_seed(world.audited, 1)
    world.rewrite(draft, world.audited, 0, world.complete(world.audited, seed))


@attack(Reason.SAMPLING_MISMATCH)
def last_window_s_seeds(world: World, draft: Draft) -> None:
    last = replace(world.context, window=world.context.window - 1)
    seed = compute_rollout_seed(last.challenge_seed, world.hotkey, world.audited, 0)
    world.rewrite(draft, world.audited, 0, world.complete(world.audited, seed))


@attack(Reason.SAMPLING_MISMATCH)
def another_hotkey_s_seeds(world: World, draft: Draft) -> None:
    seed = world.get_seed(world.audited, 0, world.neighbour)
    world.rewrite(draft, world.audited, 0, world.complete(world.audited, seed))


@attack(Reason.SAMPLING_MISMATCH)
def best_of_n(world: World, draft: Draft) -> None:
    seeds = [world.get_seed(world.audited, r) for r in range(100, 116)]
    world.rewrite(
        draft, world.audited, 0, max((world.complete(world.audited, s) for s in seeds), key=len)
    )


@attack(Reason.SAMPLING_MISMATCH)
def one_token_forced(world: World, draft: Draft) -> None:
    index, seed = world.audited, world.get_seed(world.audited, 0)
    prefix = draft.groups[index][0].tokens[:2].tolist()
    states = world.forward.model.compute_states(world.get_prompt(index), np.array(prefix))[-1:]
    scores = world.forward.score(world.forward.model.compute_logits(states), seed, len(prefix))[0]
    runner_up = int(scores.argsort()[-2])
    world.rewrite(draft, index, 0, world.complete(index, seed, [*prefix, runner_up]))


@attack(Reason.SAMPLING_MISMATCH)
def end_token_skipped(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=True)
    index, seed = world.audited, world.get_seed(world.audited, r)
    prefix = draft.groups[index][r].tokens[:-1].tolist()
    world.rewrite(draft, index, r, world.complete(index, seed, [*prefix, 3]))


@attack(Reason.SAMPLING_MISMATCH)
def foreign_middle_spliced_in(world: World, draft: Draft) -> None:
    index, seed = world.audited, world.get_seed(world.audited, 0)
    own, foreign = draft.groups[index][0].tokens, draft.groups[world.unseen][0].tokens
    prefix = [*own[:2].tolist(), *foreign[:3].tolist()]
    world.rewrite(draft, index, 0, world.complete(index, seed, prefix))


def check_refusal(world: World, verdict: Verdict, reason: Reason) -> None:
    assert verdict.reason is reason, verdict.detail
    assert verdict.detail
    assert not verdict.accepted
    assert world.tokenizer.decoded == []  # no reward code has seen the text
    assert (verdict.groups, verdict.tokens, compute_score(verdict)) == ((), 0, 0)
    measured = {Reason.SKETCH_MISMATCH, Reason.LOGPROB_MISMATCH, Reason.SAMPLING_MISMATCH}
    assert (world.forward.measured > 0) == (reason in measured)  # no model runs before it must


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(world: World, name: str) -> None:
    reason, apply = ATTACKS[name]
    draft = world.mine()
    apply(world, draft)
    check_refusal(world, world.judge(draft), reason)


def test_every_reason_of_the_judge_has_an_attack() -> None:
    issued = {reason for reason, _ in ATTACKS.values()}
    assert issued == {*CHEATING, *WITHHELD, Reason.NOT_REGISTERED, Reason.NO_COMMITMENT} - {
        Reason.LEDGER_MISMATCH  # the ledger judges nothing yet
    }


# From the cheapest check to the dearest. What a commitment says is known before a file is fetched.
ORDER = (
    "hotkey_without_a_uid",
    "nothing_committed",
    "one_group_above_the_cap",
    "file_withheld",
    "leaf_missing",
    "header_of_another_version",
    "another_root_committed",
    "work_for_a_stale_checkpoint",
    "group_cut_off",
    "token_that_may_not_be_drawn",
    "tokens_after_the_end",
    "sketch_of_zeros",
    "logprobs_of_zero",
    "greedy_decoding",
)


@pytest.mark.parametrize("first", range(len(ORDER)), ids=ORDER)
def test_the_first_failing_check_decides(world: World, first: int) -> None:
    draft = world.mine()
    for name in reversed(ORDER[first:]):  # the last first: an attack keeps what others changed
        ATTACKS[name][1](world, draft)
    check_refusal(world, world.judge(draft), ATTACKS[ORDER[first]][0])


def test_honest_work_is_accepted_and_valued(world: World) -> None:
    draft = world.mine()
    verdict = world.judge(draft)
    assert verdict.reason is Reason.ACCEPTED, verdict.detail
    assert [group.index for group in verdict.groups] == list(world.chosen.audited)
    assert len(world.tokenizer.decoded) == 8
    total = 0
    for group in verdict.groups:
        tokens = sum(len(rollout.tokens) for rollout in draft.groups[group.index])
        total += tokens
        work = tokens + len(world.get_prompt(group.index))
        mean = sum(group.rewards) // 4
        assert group.value == compute_value(world.parameters.work, work, mean)
    assert verdict.tokens == total
    assert verdict.committed_groups == GROUPS
    assert verdict.statistics.margin_max == 0
    assert compute_score(verdict) == GROUPS * sum(g.value for g in verdict.groups) // 2


def test_the_small_world_is_a_true_one(world: World) -> None:
    _, context = world.seal(world.mine())
    assert find_context_fault(context) is None
    lengths = [len(r.tokens) for group in world.mine().groups for r in group]
    assert min(lengths) < world.manifest.max_tokens == max(lengths)


def test_a_shift_within_both_bounds_is_honest_noise(world: World) -> None:
    draft = world.mine()
    shift_logprobs(world, draft, world.parameters.tests.logprob_rms_bound)
    assert world.judge(draft).accepted


def test_only_chosen_groups_are_fetched(world: World) -> None:
    reader, context = world.seal(world.mine())
    world.judge_file(reader, context)
    assert reader.asked == sorted(world.chosen.audited + world.chosen.sampled)


def test_a_cheat_outside_the_audit_is_caught_once_it_is_chosen(world: World) -> None:
    """Nobody knows at the commitment which groups those are."""
    seed = world.get_seed(world.unseen, 1)
    draft = world.mine()
    world.rewrite(draft, world.unseen, 0, world.complete(world.unseen, seed))
    reader, context = world.seal(draft)
    assert world.judge_file(reader, context).accepted
    audit = context.audit
    for attempt in range(100):  # other audit rounds: same file, same root
        context = replace(context, audit=replace(audit, signature=bytes([attempt])))
        verdict = world.judge_file(reader, context)
        if not verdict.accepted:
            break
    check_refusal(world, verdict, Reason.SAMPLING_MISMATCH)
    assert (verdict.group, verdict.rollout) == (world.unseen, 0)


def test_a_trainer_judges_all_it_learns_from(world: World) -> None:
    seed = world.get_seed(world.unseen, 1)
    draft = world.mine()
    assert world.judge(draft, groups=range(GROUPS)).accepted
    world.rewrite(draft, world.unseen, 0, world.complete(world.unseen, seed))
    check_refusal(world, world.judge(draft, groups=range(GROUPS)), Reason.SAMPLING_MISMATCH)


def test_a_refusal_says_where(world: World) -> None:
    draft = world.mine()
    one_token_forced(world, draft)
    verdict = world.judge(draft)
    assert (verdict.group, verdict.rollout, verdict.token) == (world.audited, 0, 2)
