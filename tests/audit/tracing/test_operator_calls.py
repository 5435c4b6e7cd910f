"""Digests that are kept, and operators as records."""

from dataclasses import replace

import pytest
import torch

from assay.audit.tracing.operator_calls import PART_BYTES, TensorDigests
from assay.audit.tracing.operator_modes import TraceMode
from assay.protocol.hashing import ZERO_DIGEST
from assay.training import LearnConfig, Learner
from assay.training.genesis_model import make_model
from tests.training.test_learner import make_groups

CONFIG = LearnConfig(learning_rate=1e-3, epochs=2, groups_per_batch=2, seed=3)


class Forgetful(TensorDigests):
    """Takes every digest again; it remembers only what nobody has written to yet."""

    def _find(self, tensor, bumped):
        kept = super()._find(tensor, bumped)
        if kept.digests is not None:
            kept.digests.clear()
        return kept


def trace(run, digests=None):
    records = []
    with TraceMode(records.append, digests):
        run()
    return records


def make_learner(config):
    model, reference = (make_model(hidden=16, layers=2, heads=2, inner=16, seed=0) for _ in "ab")
    return Learner(model, config, reference)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recompute": True},
        {"precision": "bfloat16"},
        {"weight_decay": 0.1, "max_gradient": 1e-3},
        {"from_genesis": True, "kl_weight": 0.1},
        {"tokens_per_pass": 8, "excluded": (3, 4)},
    ],
    ids=str,
)
def test_a_kept_digest_is_the_one_that_would_be_taken_again(changes):
    config = replace(CONFIG, **changes)
    groups = make_groups(make_learner(config))
    first, second, third = (make_learner(config) for _ in range(3))
    kept = trace(lambda: first.learn(groups))
    again = trace(lambda: second.learn(groups), Forgetful())
    assert kept == again
    third.learn(groups)
    states = first.bf16_state(), third.bf16_state()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    names = {record.operator.split(".")[1] for record in kept}
    assert {"embedding", "mm", "addcdiv_", "_local_scalar_dense"} <= names  # all of a step
    # nothing that is read was not written before
    unwritten = {r.operator for r in kept for d in r.inputs if d == ZERO_DIGEST}
    assert {name.split(".")[1] for name in unwritten} <= {"copy_", "fill_", "zero_"}


def test_low_rank_factors_too():
    pytest.importorskip("peft")
    config = replace(CONFIG, lora_rank=2)
    groups = make_groups(make_learner(config))
    first, second = make_learner(config), make_learner(config)
    kept = trace(lambda: (first.learn(groups), first.bf16_state()))
    assert kept == trace(lambda: (second.learn(groups), second.bf16_state()), Forgetful())


@pytest.mark.parametrize("optimizer", ["adamw8bit", "muon"])
def test_another_optimiser_too(optimizer):
    """The embeddings are large enough for codes."""
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is of the extra `adamw8bit`")
    config = replace(CONFIG, optimizer=optimizer)
    made = [Learner(make_model(64, 1, 2, 80, seed=0), config) for _ in range(2)]
    groups = make_groups(made[0])
    kept = trace(lambda: made[0].learn(groups))
    assert kept == trace(lambda: made[1].learn(groups), Forgetful())
    own = "optimizer_update_8bit_blockwise" if optimizer == "adamw8bit" else "addmm"
    assert any(own in record.operator for record in kept)


def test_a_write_is_seen_whatever_name_the_memory_has():
    weight = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))

    def run():
        weight.sum()
        weight.data.mul_(2)  # counts on a version of its own
        weight.sum()
        weight.detach()[1].add_(1)
        weight.t().sum()
        torch._foreach_mul_([weight.data, torch.ones(2)], 3.0)
        weight.sum()

    kept = trace(run)
    weight.data.copy_(torch.arange(12.0).reshape(3, 4))
    assert kept == trace(run, Forgetful())
    read = [r.inputs[0] for r in kept if r.operator == "aten.sum.default"]
    assert len(set(read)) == 4
    (together,) = (r for r in kept if "_foreach_mul_" in r.operator)
    assert len(together.inputs) == len(together.outputs) == 2
    assert not set(together.inputs) & set(together.outputs)


def test_elements_count_and_not_where_they_lie():
    digests = TensorDigests()
    base = torch.arange(24.0).reshape(4, 6)
    assert digests.get(base) == digests.get(base.clone())
    assert digests.get(base) == digests.get(base.view(6, 4))  # the sizes stand in the text
    assert digests.get(base.t()) == digests.get(base)
    assert digests.get(base[:, ::2]) == digests.get(base[:, ::2].clone())
    assert digests.get(base[1:3]) == digests.get(base[1:3].clone())
    assert digests.get(base[:1].expand(4, 6)) == digests.get(base[0])
    assert digests.get(base[:, 1:]) != digests.get(base[:, :5])
    assert digests.get(torch.tensor([0.0])) != digests.get(torch.tensor([-0.0]))
    assert digests.get(torch.empty(0)) == digests.get(torch.empty(0, 3))


@pytest.mark.parametrize("extra", [-4, 0, 4, PART_BYTES])
def test_several_threads_hash_as_one_does(extra):
    large = torch.rand((PART_BYTES + extra) // 4)
    digests = {TensorDigests(threads).get(large) for threads in (1, 3)}
    assert len(digests) == 1
    large[-1] += 1
    assert TensorDigests().get(large) not in digests


def test_memory_that_nobody_wrote_to_is_not_looked_at():
    def run():
        place = torch.empty(1000)
        place.copy_(torch.ones(1000))
        return torch.add(place, 1, out=torch.empty(1000))

    first, second = trace(run), trace(run)
    assert first == second
    assert first[0].outputs == (ZERO_DIGEST,)
    assert first[-1].inputs[-1] == ZERO_DIGEST
    assert ZERO_DIGEST not in first[-1].outputs


def test_numbers_among_arguments_are_named_in_full():
    texts = {trace(lambda x=x: torch.ones(2) * x)[-1].arguments for x in (0.1, 0.1 + 2**-55, 2)}
    assert len(texts) == 2 + (0.1 != 0.1 + 2**-55)
    (random,) = trace(lambda: torch.randperm(4, generator=torch.Generator().manual_seed(1)))
    assert random != trace(lambda: torch.randperm(4, generator=torch.Generator().manual_seed(2)))[0]
