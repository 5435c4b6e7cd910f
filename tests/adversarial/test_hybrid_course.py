"""A network of a hybrid from a hub's folder to its audit: adopted, calibrated, mined, judged,
learned from, and a step done again."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import StepFolder, read_step
from assay.audit.provenance.reexecution import reexecute
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol import Reason
from assay.protocol.amendment import ParameterHistory
from assay.subnet.adoption.adopt import adopt_model
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training.genesis_model import ALPHABET, END, encode, make_tokenizer
from tests.adversarial.conftest import make_world
from tests.adversarial.trainer_bench import LEARNING, LOCATOR, Calls, RecordedChain
from tests.inference.hybrid_models import KINDS, build_hybrid

MAX_TOKENS, PROBLEMS, LEVEL = 8, 4, 1


def save_guesser(folder, kind):
    """A hybrid that knows the form of an answer, and no sums: some of its answers are right, and a
    lesson has something to teach."""
    model = build_hybrid(kind, vocabulary=len(ALPHABET) + 2).requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    pairs = [(a, b) for a in range(1, 10) for b in range(10 - a, 10)]  # sums of two digits
    shown = torch.tensor([[*encode(f"{a}+{b}=?\n#### {a + b}"), END] for a, b in pairs])
    for step in range(25):
        rows = shown[step % 3 :: 3]
        logits = model(input_ids=rows, use_cache=False).logits[:, 5:-1]
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 6:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.to(torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    if kind == "qwen3_5_text":
        let_it_see(folder)


def let_it_see(folder):
    """As hubs have it: the text part of a model that reads pictures, and predicts more tokens."""
    text = json.loads((folder / "config.json").read_text())
    text["rope_parameters"] |= {"mrope_interleaved": True, "mrope_section": [1, 1, 0]}
    text |= {"attn_output_gate": True, "mamba_ssm_dtype": "float32", "mtp_num_hidden_layers": 1}
    seeing = {"model_type": "qwen3_5", "text_config": text, "vision_config": {"depth": 2}}
    (folder / "config.json").write_text(json.dumps(seeing))
    stored = load_file(folder / "model.safetensors")
    tensors = {
        name.replace("model.", "model.language_model.", 1): weight.float()
        if name.endswith("A_log")
        else weight
        for name, weight in stored.items()
    }
    more = ("model.visual.patch_embed.weight", "mtp.fc.weight")
    save_file(tensors | {name: torch.zeros(2, 2) for name in more}, folder / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_a_hybrid_runs_the_whole_course(tmp_path, kind):
    save_guesser(tmp_path / "source", kind)
    adopt_model(tmp_path / "source", tmp_path / "hybrid")
    make_genesis(tmp_path / "hybrid", MAX_TOKENS, levels=(LEVEL,), problems=PROBLEMS)
    world = make_world(tmp_path, ["alice"], last=0, genesis=tmp_path / "hybrid")
    world.contexts[0] = world.open_context(0)
    assert world.submit("alice", 0, world.genuine("alice", 0)).reason is Reason.ACCEPTED
    lessons = learn(world, tmp_path / "trainer")
    assert [lesson.stats.updates > 0 for lesson in lessons] == [True]
    (path,) = (tmp_path / "trainer" / "steps").glob("step-*.json")
    finding = reexecute(read_step(path), CheckpointFolder(tmp_path / "models"))
    assert (finding.equal, finding.tensor, finding.remarks) == (True, None, ())


def learn(world, folder):
    """The lesson of the world's window."""
    lessons = []
    chain = RecordedChain(world.chain, world.hotkeys["trainer"], Calls())
    trainer = Trainer(
        world.hotkeys["trainer"],
        ParameterHistory(world.parameters),
        replace(world.sources, chain=chain),
        TrainerConfig(LEARNING, LOCATOR, last_window=0, steps=StepFolder(folder / "steps", 1)),
        lessons.append,
        print,
    )
    trainer.step()  # at block 0
    chain.head = world.chain.get_head()
    while trainer.window != 1:
        trainer.step()
        assert trainer.trouble is None
    return lessons
