"""A network of each family from a hub's folder to its audit: adopted, calibrated, mined, judged,
learned from, and a step done again."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import StepFolder, read_step
from assay.audit.provenance.reexecution import reexecute
from assay.inference.families import FAMILIES
from assay.inference.families.hybrid import RECURRENT
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import EXPERT_BITS, SMALL_MODEL_TESTS
from assay.protocol.reason import Reason
from assay.subnet.adoption.adopt import adopt_model
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training.genesis_model import ALPHABET, END, encode, make_tokenizer
from tests.adversarial.conftest import make_world
from tests.adversarial.trainer_bench import LEARNING, LOCATOR, Calls, RecordedChain
from tests.inference.family_models import EXPERTS, RAMP, make_config, make_model

MAX_TOKENS, PROBLEMS, LEVEL = 8, 4, 1
#: With a ramp for routers, and room for all experts.
ROUTED = replace(SMALL_MODEL_TESTS, router_ramp=RAMP, experts_max=EXPERTS << EXPERT_BITS)
#: Of these families a model comes as the text part of another type.
SEEN = {
    "gemma3_text": "gemma3",
    "gemma4_text": "gemma4",
    "mistral": "mistral3",
    "qwen3": "qwen3_vl",
    "qwen3_5_moe_text": "qwen3_5_moe",
    "qwen3_5_text": "qwen3_5",
}
#: Nats a character, of an answer whose form is known and whose digits are not.
KNOWN = 0.27


def list_kinds():
    """All families: first one of each kind of layers, which `make test` keeps."""
    first = {}
    for kind, family in FAMILIES.items():
        first.setdefault((family.experts is not None, RECURRENT in family.kinds), kind)
    return [*first.values(), *(kind for kind in FAMILIES if kind not in first.values())]


def save_guesser(folder, kind, seed):
    """A model that knows the form of an answer, and no sums: some of its answers are right."""
    vocabulary = len(ALPHABET) + 2
    sizes = {"vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
    sizes |= {"vocab_size_per_layer_input": vocabulary} if kind == "gemma4_text" else {}
    model = make_model(make_config(kind, **sizes)).requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    pairs = [(a, b) for a in range(1, 10) for b in range(10 - a, 10)]  # sums of two digits
    random.Random(seed).shuffle(pairs)
    shown = torch.tensor([[*encode(f"{a}+{b}=?\n#### {a + b}"), END] for a, b in pairs])
    step, loss = 0, torch.inf
    while loss > KNOWN:
        assert step < 500
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


def let_it_see(folder, whole):
    """As hubs have it: the text part of a model of the type `whole` that reads pictures, or hears,
    too, and predicts more tokens."""
    text = json.loads((folder / "config.json").read_text())
    more = ("model.vision_tower.patch.weight", "model.audio_tower.patch.weight", "mtp.fc.weight")
    if whole.startswith("qwen3_5"):
        text["rope_parameters"] |= {"mrope_interleaved": True, "mrope_section": [1, 1, 0]}
        text |= {"attn_output_gate": True, "mamba_ssm_dtype": "float32"}
        text["mtp_num_hidden_layers"] = 1
    seeing = {"model_type": whole, "text_config": text, "vision_config": {"depth": 2}}
    (folder / "config.json").write_text(json.dumps(seeing))
    stored = load_file(folder / "model.safetensors")
    tensors = {
        name.replace("model.", "model.language_model.", 1): weight.float()
        if name.endswith("A_log")
        else weight
        for name, weight in stored.items()
    }
    save_file(tensors | {name: torch.zeros(2, 2) for name in more}, folder / "model.safetensors")


@pytest.mark.parametrize("kind", list_kinds())
def test_a_family_runs_the_whole_course(tmp_path, kind):
    teaching = (open_world(tmp_path / str(seed), kind, seed) for seed in range(50))
    world = next(world for world in teaching if world is not None)
    lessons = learn(world, tmp_path / "trainer")
    assert [lesson.stats.updates > 0 for lesson in lessons] == [True]
    (path,) = (tmp_path / "trainer" / "steps").glob("step-*.json")
    finding = reexecute(read_step(path), CheckpointFolder(world.folder / "models"))
    assert (finding.equal, finding.tensor, finding.remarks) == (True, None, ())


def open_world(folder, kind, seed):
    """A window of a family's network, mined and judged; None where all answers of each group are
    wrong, so that there is nothing to learn."""
    save_guesser(folder / "source", kind, seed)
    adopt_model(folder / "source", folder / "model")
    tests = SMALL_MODEL_TESTS if FAMILIES[kind].experts is None else ROUTED
    model = folder / "model"
    make_genesis(model, MAX_TOKENS, levels=(LEVEL,), tests=tests, problems=PROBLEMS)
    world = make_world(folder, ["alice"], last=0, genesis=model, tests=tests)
    world.contexts[0] = world.open_context(0)
    verdict = world.submit("alice", 0, world.genuine("alice", 0))
    assert verdict.reason is Reason.ACCEPTED
    return world if any(len(set(group.correctness)) > 1 for group in verdict.groups) else None


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
