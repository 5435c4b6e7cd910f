"""The plain path and a family's path of one model come to the same verdicts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.inference.calibration import measure_rates
from assay.inference.checkpoint import FolderModels, load_outline
from assay.inference.folder import read_passages
from assay.inference.model_loading import load_model
from assay.inference.placement import Placement
from assay.inference.plain.head import find_head
from assay.inference.plain.states import PlainModel
from assay.protocol.reason import Reason
from tests.adversarial.conftest import make_world


def open_plainly(checkpoint):
    """The same checkpoint as if no family described its model."""
    model: Any = load_model(checkpoint.folder)
    model.plain_head = find_head(model)
    models = FolderModels(checkpoint.folder, Placement(), checkpoint.manifest.router_ramp, model)
    outline = replace(load_outline(checkpoint.folder, checkpoint.digest), is_plain=True)
    plain = outline.open(checkpoint.folder, models)
    assert isinstance(plain.get_model("fp32-sdpa"), PlainModel)
    return plain


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    world = make_world(tmp_path_factory.mktemp("world"), ["alice"], last=0)
    world.contexts[0] = world.open_context(0)
    return world, replace(world, checkpoint=open_plainly(world.checkpoint))


def test_verdicts_are_the_same(worlds):
    """Of honest work, and of tokens that nothing drew."""
    world, _ = worlds
    honest = world.genuine("alice", 0)
    random = np.random.default_rng(0)
    ids = np.flatnonzero(world.checkpoint.tokenizer.drawable)
    tokens = [rollout.tokens.tolist() for rollout in honest[0]]
    for row in tokens:
        row[:-1] = random.choice(ids, len(row) - 1).tolist()
    attacked = [world.prefill("alice", 0, 0, tokens), *honest[1:]]
    for groups, is_honest in ((honest, True), (attacked, False)):
        one, plain = (each.submit("alice", 0, groups) for each in worlds)
        assert one.reason is plain.reason
        assert (one.reason is Reason.ACCEPTED) is is_honest
    one, plain = (each.submit("alice", 0, honest) for each in worlds)
    assert [g.correctness for g in one.groups] == [g.correctness for g in plain.groups]


def test_margins_are_within_the_caps_rule(worlds):
    """Those of the calibration set's tokens, by both paths."""
    world, _ = worlds
    temperature, tests = world.parameters.work.temperature, world.parameters.tests
    passages = read_passages(world.checkpoint.folder)
    one, plain = (each.checkpoint.get_reference(temperature) for each in worlds)
    levels = (*tests.margin_levels, tests.margin_cap)
    rates = measure_rates(one, plain, passages, levels, temperature).rates
    assert rates[-1] <= 10**8  # at most 1e-10 beyond the cap
    assert all(rate <= most for rate, most in zip(rates, tests.rate_limits, strict=False))
