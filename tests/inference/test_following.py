"""Drafts in stretches, read as they grow: the same ids as by whole drafts, with any drafter."""

from functools import partial
from itertools import chain
from weakref import WeakSet

import numpy as np
import pytest
import torch

from assay.inference.following import NEAR
from assay.inference.generate import (
    AHEAD_MAX,
    AHEAD_MIN,
    DraftCount,
    Horizon,
    follow_groups,
    generate_groups,
)
from assay.inference.implementations import make_packing_twin
from assay.inference.packing import KeptKeys, KeptState, make_kept_packing
from assay.inference.placing.memory_plan import MemoryBudget
from assay.inference.placing.model_sizes import (
    KEYS_TOGETHER,
    MemoryPlan,
    list_windows,
    measure_shape,
)
from tests.inference.conftest import list_ids
from tests.inference.family_models import get_model


def make(checkpoint, model=None, implementation=None, how=generate_groups):
    """A function that makes groups, and its counts."""
    count = DraftCount()
    made = partial(
        how,
        drafter=checkpoint.get_drafter(1_024, model=model),
        reference=checkpoint.get_reference(1_024, implementation),
        rules=checkpoint.get_rules(1_024),
        count=count,
    )
    return made, count


@pytest.fixture(scope="module")
def rough(checkpoint):
    """A model of half noise, which draws other ids."""
    model = checkpoint.load_trainable().requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        weight = model.lm_head.weight
        weight.add_(torch.randn_like(weight) * weight.std())
    return model


class Fixed(Horizon):
    """One that learns nothing."""

    def __init__(self, ahead):
        super().__init__()
        self._ahead = ahead

    @property
    def ahead(self):
        return self._ahead


@pytest.mark.parametrize(
    ("flying", "ahead"),
    [
        *((3, 7), (256, None)),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in ((3, 1), (3, None))),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in ((256, 1), (256, 7))),
    ],
)
def test_ids_are_those_of_whole_drafts(checkpoint, requests, projection, rough, ahead, flying):
    whole, _ = make(checkpoint)
    stretched, count = make(checkpoint, rough, how=follow_groups)
    requests = requests[:2]
    expected = whole(requests, projection=projection)
    horizon = Horizon() if ahead is None else Fixed(ahead)
    found = stretched(requests, projection=projection, horizon=horizon, flying=flying)
    assert list_ids(found) == list_ids(expected)
    assert count.discarded > 0 or ahead == 1
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert np.abs(one.logprobs.astype(int) - other.logprobs.astype(int)).max() <= 1
        assert np.abs(one.sketch.astype(int) - other.sketch.astype(int)).max() <= 1


@pytest.mark.parametrize("implementation", ["fp32-sdpa", "split3"])
def test_exact_is_the_same_to_the_bit(checkpoint, requests, projection, rough, implementation):
    requests = requests[:2]
    whole, _ = make(checkpoint, rough, implementation)
    stretched, _ = make(checkpoint, rough, implementation, how=follow_groups)
    expected = whole(requests, projection=projection)
    found = stretched(requests, projection=projection, exact=True)
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.logprobs.tolist() == other.logprobs.tolist()
        assert one.sketch.tolist() == other.sketch.tolist()


def test_near_ties_are_decided_by_what_is_before_them_alone(
    checkpoint, requests, projection, rough
):
    """However many there are: here every second id that is no certainty is near."""
    near = 1 << 20
    whole, cost = make(checkpoint, rough)
    stretched, other_cost = make(checkpoint, rough, how=follow_groups)
    few = requests[:2]
    expected = whole(few, projection=projection, near=near)
    assert list_ids(stretched(few, projection=projection, near=near)) == list_ids(expected)
    assert cost.settling > 0
    assert other_cost.settling > 0


def test_each_token_is_read_once_where_all_are_right(checkpoint, requests, projection):
    stretched, count = make(checkpoint, how=follow_groups)
    groups = stretched(requests, projection=projection, horizon=Fixed(8))
    assert count.drafted == count.submitted == sum(len(r.tokens) for g in groups for r in g)
    # a prompt once a group, its last token once a rollout, a rollout's last token never
    prompts = sum(len(request.prompt) - 1 for request in requests)
    assert count.read - count.settling == count.submitted + prompts


def test_little_memory_changes_nothing(checkpoint, requests, projection, rough):
    stretched, _ = make(checkpoint, rough, how=follow_groups)
    expected = list_ids(stretched(requests, projection=projection))
    reference = stretched.keywords["reference"]
    size = len(reference.drawable)
    reference.budget = MemoryBudget(MemoryPlan(40, 3 * size), "cpu", size)
    assert list_ids(stretched(requests, projection=projection)) == expected


def test_a_lead_is_the_distance_to_the_second_score(checkpoint, requests, projection):
    reference = checkpoint.get_reference(1_024)
    request = requests[0]
    completion = np.arange(2, 12, dtype=np.uint32)
    found = [request.prompt], [completion], [request.seeds[0]], projection
    ((measured, leads),) = reference.measure_with_leads(*found)
    for place in range(0, len(completion), 3):
        claims = []
        for token in np.flatnonzero(checkpoint.tokenizer.drawable).tolist():
            claims.append(completion[: place + 1].copy())
            claims[-1][place] = token
        many = [request.prompt] * len(claims), claims, [request.seeds[0]] * len(claims)
        measured_each = reference.measure(*many, projection)
        first, second = sorted(int(one.margins[place]) for one in measured_each)[:2]
        assert first == 0
        assert abs(second - int(leads[place])) <= NEAR  # other shapes: the last bits differ
    assert measured.best.tolist() == reference.measure(*found)[0].best.tolist()


def test_the_horizon_follows_the_share_that_is_kept():
    horizon = Horizon()
    for _ in range(200):
        horizon.note(984, 16)
    assert horizon.ahead == 32  # √(2 · 8 / 0.016) = 31.6
    for _ in range(400):
        horizon.note(1_000, 0)
    assert horizon.ahead == AHEAD_MAX
    for _ in range(400):
        horizon.note(100, 900)
    assert horizon.ahead == AHEAD_MIN


def test_kept_keys_are_given_back_where_memory_lacks(
    checkpoint, requests, projection, rough, monkeypatch
):
    """There is room for five sequences' keys; more of them lack memory, and are read anew."""
    living, honest = WeakSet(), KeptState.fork

    def fork(kept, capacity):
        if len(living) >= 5:
            raise torch.OutOfMemoryError("no room for more keys")
        made = honest(kept, capacity)
        living.add(made)
        return made

    monkeypatch.setattr(KeptState, "fork", fork)
    whole, _ = make(checkpoint)
    stretched, count = make(checkpoint, rough, how=follow_groups)
    plan = checkpoint.get_reference(1_024).budget.plan
    assert list_ids(stretched(requests, projection=projection)) == list_ids(
        whole(requests, projection=projection)
    )
    assert checkpoint.get_reference(1_024).budget.plan == plan  # passes are as large as before
    assert count.read > count.submitted


def test_room_for_keys_grows_with_what_was_read() -> None:
    """It keeps what it had, and is never larger than asked for."""
    kept = KeptState(40)
    tokens = torch.randn(1, 2, 40, 4)
    for start, end, room in ((0, 3, 3), (3, 5, 6), (5, 6, 6), (6, 20, 20), (20, 21, 40)):
        part = tokens[:, :, start:end]
        keys, values = kept.extend(0, part, part[..., :1])
        kept.length = end
        assert torch.equal(keys, tokens[:, :, :end])
        assert torch.equal(values, tokens[:, :, :end, :1])
        assert keys.untyped_storage().nbytes() == 4 * 2 * 4 * room
    other = kept.fork(30)
    assert torch.equal(other.extend(0, part, part[..., :1])[0][:, :, :21], tokens[:, :, :21])


@pytest.mark.parametrize("kind", ["gemma2", "gpt_oss", "qwen2"])  # with caps, with sinks, plain
def test_keys_before_a_window_are_dropped_and_change_no_bit(kind, monkeypatch):
    """In a prompt, in stretches, and where tokens are taken back."""
    model = make_packing_twin(get_model(kind))
    (window,) = {*list_windows(model.config)} - {None}
    ids = torch.randint(2, 96, (1, 2_000), generator=torch.Generator().manual_seed(0))
    #: a stretch's end, and the tokens of it that stay
    stretches = (1_250, 1_240), (1_700, 1_500), (1_790, 1_790), (1_791, 1_791), (2_000, 1_999)

    def read_on(kept, end):
        packing = make_kept_packing([(end - kept.length, kept)])
        with torch.inference_mode():
            out = model.model(
                ids[:, kept.length : end],
                position_ids=packing.make_positions(ids.device),
                packing=packing,
                use_cache=False,
            )
        kept.length = end
        return out.last_hidden_state

    def read():
        prompt = KeptState(1_200, stays=True)
        states = [read_on(prompt, 1_200)]
        kept = prompt.fork(2_000)
        for end, stays in stretches:
            states.append(read_on(kept, end))
            kept.rewind(stays)
            kept.mark()
        return states, prompt, kept

    def len_kept(state, layer):
        one = torch.zeros(1, 2, 1, 8)
        return state.extend(layer, one, one)[0].shape[2]

    states, prompt, kept = read()
    for state, length in ((prompt, 1_200), (kept, 1_999)):
        first, seen = map(len_kept, (state, state), (0, 1))
        assert window < first <= window + KEYS_TOGETHER + 1
        assert seen == length + 1
    monkeypatch.setattr(KeptKeys, "count_unseen", lambda kept, length: 0)
    expected, _, whole = read()
    assert len_kept(whole, 0) == 2_000
    assert all(map(torch.equal, states, expected))


def test_a_plan_counts_the_keys_that_are_kept():
    """Of a layer with a window, a stretch's more than the window."""
    shape = measure_shape(get_model("qwen2").config, 0)
    each = shape.cached // 2
    assert shape.windowed == ((each, 12),)
    assert shape.count_kept(12) == 12 * shape.cached
    assert shape.count_kept(20_000) == each * (20_000 + 12 + 2 * KEYS_TOGETHER)
    assert measure_shape(get_model("mistral").config, 0).windowed == ((32, 12),) * 2
    assert not measure_shape(get_model("llama").config, 0).windowed
