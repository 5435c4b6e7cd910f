"""The learner on a model of a few thousand weights."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from assay.inference.low_rank import merge
from assay.inference.placing.devices import MemoryLackError
from assay.protocol.episode import Reply, weave
from assay.training import (
    Group,
    LearnConfig,
    Learner,
    LessonError,
    LossName,
    Schedule,
    device_turns,
    passes,
)
from assay.training.genesis_model import make_model
from assay.training.grpo import LOSSES

CONFIG = LearnConfig(learning_rate=1e-3, epochs=2, groups_per_batch=2, seed=3)


def make_learner(config: LearnConfig = CONFIG) -> Learner:
    return Learner(make_model(hidden=16, layers=1, heads=2, inner=16, seed=0), config)


def measure(learner: Learner, prompt: list[int], completion: list[int]) -> list[float]:
    ids = torch.tensor([prompt + completion])
    with torch.no_grad():
        logprobs = learner.model(input_ids=ids).logits.log_softmax(-1)
    first = len(prompt) - 1
    return [logprobs[0, first + i, token].item() for i, token in enumerate(completion)]


def make_groups(learner: Learner, count: int = 3) -> list[Group]:
    """Groups in which a completion of fives is good and anything else is bad."""
    groups = []
    for i in range(count):
        prompt, completions = [10 + i, 11], [[5, 5, 1], [6, 7, 8, 1], [9, 1], [5, 5, 1]]
        behaviour = [measure(learner, prompt, completion) for completion in completions]
        groups.append(Group(prompt, completions, [1_000_000, 0, 200_000, 1_000_000], behaviour))
    return groups


def test_rewarded_completions_become_likelier() -> None:
    learner = make_learner()
    groups = make_groups(learner)
    before = math.fsum(measure(learner, [10, 11], [5, 5, 1]))
    stats = learner.learn(groups)
    assert math.fsum(measure(learner, [10, 11], [5, 5, 1])) > before
    assert (stats.groups, stats.dropped, stats.updates, stats.tokens) == (3, 0, 4, 72)
    assert stats.mean_reward == pytest.approx(0.55)
    assert 0.5 < stats.mean_ratio < 2


def test_the_first_pass_sees_a_ratio_of_one() -> None:
    learner = make_learner(LearnConfig(epochs=1, groups_per_batch=8))
    stats = learner.learn(make_groups(learner))
    assert stats.mean_ratio == pytest.approx(1, abs=1e-5)
    assert stats.clipped_share == 0


def test_same_inputs_same_weights() -> None:
    first, second = make_learner(), make_learner()
    groups = make_groups(first)
    assert first.learn(groups) == second.learn(groups)
    states = first.bf16_state(), second.bf16_state()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_gradient_that_is_no_number_is_told() -> None:
    """Weights as large as float32 can be, after the first update."""
    learner = make_learner(replace(CONFIG, learning_rate=1e37, epochs=2))
    with pytest.raises(LessonError, match="lower learning_rate"):
        learner.learn(make_groups(learner))


def test_a_loss_that_is_no_number_is_told() -> None:
    """The gradient of a ratio that is no number is zero: it passes every bound."""
    learner = make_learner()
    before = learner.bf16_state()
    groups = make_groups(learner)
    groups[0].behaviour_logprobs[1][2] = math.nan
    with pytest.raises(LessonError, match="the loss is not a number"):
        learner.learn(groups[:1])
    assert all(torch.equal(weight, before[name]) for name, weight in learner.bf16_state().items())


def test_a_pass_of_fewer_tokens_than_a_completion_takes_it_alone() -> None:
    """The step is the same except for rounding."""
    small, whole = make_learner(replace(CONFIG, tokens_per_pass=1)), make_learner()
    groups = make_groups(whole)
    assert small.learn(groups).loss == pytest.approx(whole.learn(groups).loss, abs=1e-6)


def test_groups_without_variance_change_nothing() -> None:
    learner = make_learner()
    flat = [
        Group(g.prompt, g.completions, [7] * 4, g.behaviour_logprobs) for g in make_groups(learner)
    ]
    before = learner.bf16_state()
    stats = learner.learn(flat)
    assert (stats.dropped, stats.updates, stats.tokens) == (3, 0, 0)
    assert all(torch.equal(before[n], weight) for n, weight in learner.bf16_state().items())


def collect_updates(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The first token of each prompt of every minibatch that is learned from."""
    seen, pack = list[list[int]](), passes.make_even_packs

    def note(prompts: Any, *rest: Any) -> Any:
        seen.append(list(dict.fromkeys(prompt[0] for prompt in prompts)))
        return pack(prompts, *rest)

    monkeypatch.setattr(passes, "make_even_packs", note)
    return seen


def test_refilled_updates_are_full_and_have_no_dead_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in DAPO, whose batches have `groups_per_batch` groups, each with a signal."""
    learner = make_learner(replace(CONFIG, refill=True, groups_per_batch=3))
    groups = make_groups(learner, 7)
    for dead in (2, 5):
        groups[dead] = replace(groups[dead], rewards=[0] * 4)
    seen = collect_updates(monkeypatch)
    stats = learner.learn(groups)
    assert (stats.dropped, stats.updates) == (2, 4)
    assert [len(set(one)) for one in seen] == [3] * 4
    for first, second in (seen[:2], seen[2:]):  # two epochs
        assert {*first, *second} == {10, 11, 13, 14, 16}
        assert second[2:] == first[:1]


@pytest.mark.parametrize(("count", "batch"), [(4, 2), (3, 8)])
def test_refilling_changes_nothing_where_nothing_is_lacking(count: int, batch: int) -> None:
    """Full minibatches, or fewer groups than one minibatch has."""
    config = replace(CONFIG, groups_per_batch=batch)
    plain, refilled = make_learner(config), make_learner(replace(config, refill=True))
    groups = make_groups(plain, count)
    assert plain.learn(groups) == refilled.learn(groups)
    states = plain.bf16_state(), refilled.bf16_state()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_restart_continues_bit_for_bit() -> None:
    whole, resumed = make_learner(), make_learner()
    groups = make_groups(whole)
    whole.learn(groups)
    resumed.import_state(dict(whole.export_state()))
    whole.learn(groups)
    resumed.learn(groups)
    first, second = dict(whole.export_state()), dict(resumed.export_state())
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


SCHEDULE = Schedule("wsd", 4, 11, decay_steps=5, final_share=0.2)


def test_a_scheduled_course_killed_at_ten_points_ends_in_the_same_bytes(tmp_path) -> None:
    """Killed between two steps, or within one, which is then lost and done again."""
    config = replace(CONFIG, schedule=SCHEDULE, epochs=1)
    whole, killed = make_learner(config), make_learner(config)
    groups = make_groups(whole)
    rates = []
    for point in range(12):
        rates.append(whole.learn(groups).learning_rate)
        if point and point % 2:
            killed.learn(groups)  # and is killed before it has saved
        if point:
            killed = make_learner(config)
            killed.load_state(tmp_path / "state")
        assert killed.learn(groups).learning_rate == rates[-1]
        killed.save_state(tmp_path / "state")
    first, second = dict(whole.export_state()), dict(killed.export_state())
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    shares = [0.25, 0.5, 0.75, 1, 1, 1, 0.84, 0.68, 0.52, 0.36, 0.2, 0.2]
    assert rates == pytest.approx([1e-3 * share for share in shares])


def test_the_rate_moves_the_weights() -> None:
    """Adam's first update is as large as the rate, whatever the gradient."""

    def measure_move(step: int) -> float:
        config = replace(CONFIG, epochs=1, groups_per_batch=8, schedule=SCHEDULE, step=step)
        learner = make_learner(config)
        before = {name: w.clone() for name, w in learner.model.state_dict().items()}
        learner.learn(make_groups(learner))
        after = learner.model.state_dict()
        return max((after[name] - before[name]).abs().max().item() for name in before)

    moves = [measure_move(step) for step in (0, 3, 20)]
    assert moves == pytest.approx([0.25e-3, 1e-3, 0.2e-3], rel=1e-3)


def test_published_weights_are_bf16_copies_of_fp32_masters() -> None:
    learner = make_learner()
    state = learner.bf16_state()
    for name, weight in learner.model.state_dict().items():
        assert weight.dtype == torch.float32
        assert state[name].dtype == torch.bfloat16
        assert state[name].is_contiguous()
        assert torch.equal(state[name], weight.to(torch.bfloat16))


def test_excluded_ids_are_left_out_of_the_normalisation() -> None:
    learner = make_learner(LearnConfig(epochs=1, excluded=(90, 91, 92)))
    stats = learner.learn(make_groups(learner))  # behaviour over all ids: each new one is likelier
    assert stats.mean_ratio > 1.001


@pytest.mark.parametrize("tokens_per_pass", [8_192, 1])
def test_replies_are_read_and_not_learned(tokens_per_pass: int) -> None:
    """The behaviour, measured over whole sequences, is met at each own token: so the states are
    those behind the replies. Only own tokens count."""
    learner = make_learner(
        LearnConfig(epochs=1, groups_per_batch=8, tokens_per_pass=tokens_per_pass)
    )
    prompt, completions = [10, 11], [[5, 1, 5, 5, 1], [6, 7, 8, 1], [5, 1, 9, 1, 4]]
    replies = [[Reply(2, (30, 31, 32))], [], [Reply(2, ()), Reply(4, (33,))]]
    behaviour = []
    for own, said in zip(completions, replies, strict=True):
        sequence, places = weave(own, said)
        logprobs = measure(learner, prompt, sequence)
        behaviour.append([logprobs[place] for place in places])
    group = Group(prompt, completions, [1_000_000, 0, 0], behaviour, replies)
    stats = learner.learn([group])
    assert stats.mean_ratio == pytest.approx(1, abs=1e-5)
    assert stats.tokens == 14
    other = replace(group, replies=[[Reply(2, (30, 31, 34))], *replies[1:]])
    assert make_learner(learner.config).learn([other]).mean_ratio != pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "parts",
    [
        ([], [[1]], [0], [[0.0]]),
        ([2], [], [], []),
        ([2], [[1]], [0, 0], [[0.0]]),
        ([2], [[]], [0], [[]]),
        ([2], [[3, 1]], [0], [[0.0]]),
        ([2], [[3]], [0], [[0.0]], [[], []]),
        ([2], [[3]], [0], [[0.0]], [[Reply(0, (4,))]]),
        ([2], [[3]], [0], [[0.0]], [[Reply(1, (4,))]]),
        ([2], [[3, 4]], [0], [[0.0, 0.0]], [[Reply(1, (4,)), Reply(1, (4,))]]),
    ],
)
def test_malformed_groups(parts: Any) -> None:
    with pytest.raises(ValueError, match="needs"):
        Group(*parts)


def test_a_step_whose_groups_all_wait_changes_no_weight() -> None:
    learner = make_learner()
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    stats = learner.learn([])
    assert (stats.updates, stats.tokens) == (0, 0)
    after = learner.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_accumulated_passes_are_the_whole_minibatch() -> None:
    whole = make_learner()
    parts = make_learner(replace(CONFIG, tokens_per_pass=10))
    groups = make_groups(whole)
    first, second = whole.learn(groups), parts.learn(groups)
    assert (first.updates, first.tokens) == (second.updates, second.tokens)
    assert first.loss == pytest.approx(second.loss, abs=1e-5)
    assert first.gradient_norm == pytest.approx(second.gradient_norm, rel=1e-4)


@pytest.mark.parametrize("name", ["grpo", "gspo"])
def test_a_reference_holds_the_policy_back(name: LossName) -> None:
    """Far from the reference, the divergence outweighs the rewards."""
    config = replace(CONFIG, epochs=1, from_genesis=True, kl_weight=100.0, loss=LOSSES[name]())
    start = make_model(hidden=16, layers=1, heads=2, inner=16, seed=0)
    reference = make_model(hidden=16, layers=1, heads=2, inner=16, seed=1)
    learner = Learner(start, config, reference)
    groups = make_groups(learner)
    stats = [learner.learn(groups).mean_kl for _ in range(20)]
    assert stats[-1] < 0.9 * stats[0]
    free = make_learner(replace(config, from_genesis=False))
    assert free.learn(groups).mean_kl < stats[0]  # from itself it has not moved


@pytest.fixture
def low_rank() -> LearnConfig:
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    return replace(CONFIG, lora_rank=2, learning_rate=1e-2)


def test_low_rank_factors_learn_and_are_merged(low_rank: LearnConfig) -> None:
    learner = make_learner(low_rank)
    before, groups = learner.bf16_state(), make_groups(learner)
    whole = make_learner()
    assert before.keys() == whole.bf16_state().keys()
    assert all(torch.equal(w, before[n]) for n, w in whole.bf16_state().items())
    likelihood = math.fsum(measure(learner, [10, 11], [5, 5, 1]))
    learner.learn(groups)
    assert math.fsum(measure(learner, [10, 11], [5, 5, 1])) > likelihood
    after = learner.bf16_state()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all("proj" in name for name in changed)
    merged = make_model(hidden=16, layers=1, heads=2, inner=16, seed=0)
    merged.load_state_dict({n: w.float() for n, w in after.items()})
    ids = torch.tensor([[10, 11, 5, 5]])
    with torch.no_grad():
        assert (merged(ids).logits - learner.model(input_ids=ids).logits).abs().max() < 0.05


def test_low_rank_factors_make_what_is_published_of_the_first_weights(
    low_rank: LearnConfig,
) -> None:
    """And another learner goes on from them, at the same weights."""
    learner = make_learner(low_rank)
    first = learner.bf16_state()
    learner.learn(make_groups(learner))
    factors, published = learner.export_factors(), learner.bf16_state()
    assert {name for name in first if "proj.weight" in name} == factors.keys()
    for name, weight in first.items():
        made = merge(weight, factors[name]) if name in factors else weight
        assert torch.equal(published[name], made), name
    layer: Any = learner.model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    pair = factors["model.layers.0.self_attn.q_proj.weight"]
    left, right = pair.left.float(), pair.right.float()
    moved = (left @ right - layer.get_delta_weight("default")).abs()
    assert (moved <= 2.0**-7 * left.abs() @ right.abs()).all()  # two factors, each rounded
    other = make_learner(replace(low_rank, seed=11))
    other.take_factors(factors)
    assert all(torch.equal(w, published[n]) for n, w in other.bf16_state().items())
    with pytest.raises(ValueError, match="no factors of rank 3"):
        make_learner(replace(low_rank, lora_rank=3)).take_factors(factors)
    assert make_learner().export_factors() == {}


def test_only_low_rank_factors_have_moments(low_rank: LearnConfig) -> None:
    """As `assay.session.memory` counts."""
    learner = make_learner(low_rank)
    learner.learn(make_groups(learner))
    state = dict(learner.export_state())
    factors = sum(tensor.numel() for name, tensor in state.items() if ".lora_" in name)
    moments = sum(tensor.numel() for name, tensor in state.items() if "exp_avg" in name)
    assert moments == 2 * factors > 0


def test_low_rank_factors_that_grow_without_bound_are_said(low_rank: LearnConfig) -> None:
    learner = make_learner(low_rank)
    state = dict(learner.export_state())
    name = next(name for name in state if "lora_B" in name)
    learner.import_state(state | {name: torch.full_like(state[name], 1e30)})
    with pytest.raises(LessonError, match=r"proj\.weight: a factor is .* lower learning_rate"):
        learner.bf16_state()


def test_low_rank_restarts_continue_bit_for_bit(low_rank: LearnConfig) -> None:
    whole, resumed = make_learner(low_rank), make_learner(low_rank)
    groups = make_groups(whole)
    whole.learn(groups)
    resumed.import_state(dict(whole.export_state()))
    whole.learn(groups)
    resumed.learn(groups)
    first, second = dict(whole.export_state()), dict(resumed.export_state())
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_reference_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="not given"):
        make_learner(LearnConfig(from_genesis=True, kl_weight=0.1))


def test_a_device_that_fills_on_the_way_is_named_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy stands for a tensor on the device: no other device of the CPU's kind is here."""
    monkeypatch.setattr(device_turns, "explain_lack", lambda what, device, text: text)
    learner = make_learner()
    groups = make_groups(learner)
    learner.learn(groups)  # moments move, too
    before = {name: tensor.clone() for name, tensor in learner.export_state()}
    turns = learner._turns  # noqa: SLF001
    moving = turns._list_moving  # noqa: SLF001

    def fill() -> Iterator[torch.Tensor]:
        for tensor in list(moving())[:20]:
            yield tensor
            tensor.data = tensor.data.clone().fill_(7)
        raise torch.OutOfMemoryError("out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(turns, "_list_moving", chain_once(fill, moving))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_: tensor)
    turns.device = torch.device("cuda:0")
    with pytest.raises(MemoryLackError, match="Tried to allocate"):
        learner.learn(groups)
    monkeypatch.undo()
    for name, tensor in learner.export_state():
        assert torch.equal(tensor, before[name]), name


def chain_once(
    first: Callable[[], Iterator[torch.Tensor]], then: Callable[[], Iterator[torch.Tensor]]
) -> Callable[[], Iterator[torch.Tensor]]:
    """The first call is one function's, every later one another's."""
    calls = iter([first])
    return lambda: next(calls, then)()
