"""A network of a type that no family describes, from a hub's folder to its audit: adopted,
calibrated, mined, judged by two implementations, learned from, and a step done again."""

import random

import pytest
import torch
from torch.nn import functional
from transformers import CONFIG_MAPPING

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import read_step
from assay.audit.explain.rejudging import open_model
from assay.audit.provenance.reexecution import reexecute
from assay.audit.sources import ModelShelf
from assay.inference.plain import opening
from assay.inference.plain.opening import LackingClassError
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.protocol.reason import Reason
from assay.subnet.adoption.adopt import adopt_model, find_unadopted
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training.genesis_model import ALPHABET, END, encode, make_tokenizer
from tests.adversarial.conftest import make_world
from tests.adversarial.test_family_course import (
    KNOWN,
    LEVEL,
    MAX_TOKENS,
    PROBLEMS,
    learn,
    let_it_see,
)
from tests.inference.plain_models import COURSE, make_plain_config, make_plain_model

COMPARED = 2_048
#: Of these types a model comes as the text part of another type.
SEEN = {"gemma3n_text": "gemma3n", "llama4_text": "llama4"}


def save_guesser(folder, kind, seed):
    """A model that knows the form of an answer, and no sums: some of its answers are right."""
    vocabulary = len(ALPHABET) + 2
    more = {"vocab_size_per_layer_input": vocabulary} if kind == "gemma3n_text" else {}
    config = make_plain_config(kind, vocab_size=vocabulary, eos_token_id=END, **more)
    model = make_plain_model(config)
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    pairs = [(a, b) for a in range(1, 10) for b in range(10 - a, 10)]  # sums of two digits
    random.Random(seed).shuffle(pairs)
    shown = torch.tensor([[*encode(f"{a}+{b}=?\n#### {a + b}"), END] for a, b in pairs])
    step, loss = 0, torch.inf
    while loss > KNOWN:
        assert step < 1_000
        rows = shown[step % 3 :: 3]
        logits = model(input_ids=rows, use_cache=False).logits[:, 5:-1]
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 6:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step, loss = step + 1, loss.item()
    model.to(torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    if kind in SEEN:
        let_it_see(folder, SEEN[kind])


@pytest.mark.parametrize("kind", [kind for kind in COURSE if kind in CONFIG_MAPPING])
def test_a_type_without_a_family_runs_the_whole_course(tmp_path, kind):
    teaching = (open_world(tmp_path / str(seed), kind, seed) for seed in range(50))
    world = next(world for world in teaching if world is not None)
    lessons = learn(world, tmp_path / "trainer")
    assert [lesson.stats.updates > 0 for lesson in lessons] == [True]
    (path,) = (tmp_path / "trainer" / "steps").glob("step-*.json")
    finding = reexecute(read_step(path), CheckpointFolder(world.folder / "models"))
    assert (finding.equal, finding.tensor, finding.remarks) == (True, None, ())
    with pytest.MonkeyPatch.context() as patch:  # another library's weights would accuse a trainer
        patch.setattr(opening, "get_library_version", lambda: "5.0.0")
        with pytest.raises(LackingClassError, match="pip install"):
            reexecute(read_step(path), CheckpointFolder(world.folder / "models"))
        _, (lacks,) = open_model(world.checkpoint.folder, world.contexts[0])
        assert "pip install" in lacks
        shelf = ModelShelf([world.checkpoint.folder])  # of an auditor of verdicts and of gates
        with pytest.raises(LackingClassError, match="pip install"):
            shelf.get(world.checkpoint.digest, world.parameters)
    opened = shelf.get(world.checkpoint.digest, world.parameters)
    assert opened is not None
    assert opened.digest == world.checkpoint.digest


def open_world(folder, kind, seed):
    """A window of a type's network, mined and judged; None where all answers of each group are
    wrong, so that there is nothing to learn."""
    save_guesser(folder / "source", kind, seed)
    adopt_model(folder / "source", folder / "model", probes=False)
    model = folder / "model"
    assert find_unadopted(model) is None
    make_genesis(model, MAX_TOKENS, levels=(LEVEL,), problems=PROBLEMS, compared=COMPARED)
    world = make_world(folder, ["alice"], last=0, genesis=model, tests=SMALL_MODEL_TESTS)
    assert world.parameters.model_class is not None
    world.contexts[0] = world.open_context(0)
    verdict = world.submit("alice", 0, world.genuine("alice", 0))
    assert verdict.reason is Reason.ACCEPTED
    return world if any(len(set(group.correctness)) > 1 for group in verdict.groups) else None
