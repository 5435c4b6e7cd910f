"""Work that is not the model's own: one defect each, and the reason it is refused.

Where the defect is the sampling, sketch and log-probabilities are genuine: prefilling any tokens
with the true model gives them.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol.reason import Reason
from assay.protocol.seeds import compute_rollout_seed

END = 96  # of the small world (conftest.py)

World = Any  # conftest.World and conftest.Draft: tests cannot import a conftest
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
    """A rollout of the audited group that ended by itself, or at the length limit."""
    group = draft.groups[world.audited]
    ends = [rollout.tokens[-1] == END for rollout in group]
    return ends.index(ended)


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
    r = find_rollout(world, draft, ended=False)
    index, seed = world.audited, world.get_seed(world.audited, r)
    prefix = draft.groups[index][r].tokens[:2].tolist()
    states = world.forward.model.compute_states(world.get_prompt(index), np.array(prefix))[-1:]
    scores = world.forward.score(world.forward.model.compute_logits(states), seed, len(prefix))[0]
    runner_up = int(scores.argsort()[-2])
    world.rewrite(draft, index, r, world.complete(index, seed, [*prefix, runner_up]))


@attack(Reason.SAMPLING_MISMATCH)
def end_token_skipped(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=True)
    index, seed = world.audited, world.get_seed(world.audited, r)
    prefix = draft.groups[index][r].tokens[:-1].tolist()
    world.rewrite(draft, index, r, world.complete(index, seed, [*prefix, 3]))


@attack(Reason.SAMPLING_MISMATCH)
def foreign_middle_spliced_in(world: World, draft: Draft) -> None:
    r = find_rollout(world, draft, ended=False)
    index, seed = world.audited, world.get_seed(world.audited, r)
    own = draft.groups[index][r].tokens
    foreign = max((rollout.tokens for rollout in draft.groups[world.unseen]), key=len)
    prefix = [*own[:2].tolist(), *foreign[:3].tolist()]
    world.rewrite(draft, index, r, world.complete(index, seed, prefix))


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(world: World, name: str) -> None:
    reason, apply = ATTACKS[name]
    draft = world.mine()
    apply(world, draft)
    # all rollouts of the group: which of them an audit draws, test_judge.py looks at
    world.check_refusal(world.judge(draft, groups=[world.audited]), reason)


def test_a_shift_within_both_bounds_is_honest_noise(world: World) -> None:
    draft = world.mine()
    shift_logprobs(world, draft, world.parameters.tests.logprob_rms_bound)
    assert world.judge(draft, groups=[world.audited]).accepted


def test_a_refusal_says_where(world: World) -> None:
    draft = world.mine()
    rollout = find_rollout(world, draft, ended=False)  # before the attack makes it end elsewhere
    one_token_forced(world, draft)
    verdict = world.judge(draft, groups=[world.audited])
    assert (verdict.fault.group, verdict.fault.rollout, verdict.fault.token) == (
        world.audited,
        rollout,
        2,
    )
