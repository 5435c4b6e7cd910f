"""Text by the library tokenizers alone, against the tokenizer of a model's folder."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from assay.environments.base import Conversation, Frame, Message, ask
from assay.environments.dealing import make_miner_problem
from assay.environments.registry import make_environment
from assay.gate.tokenizer_files import digest_template
from assay.inference.folder import MANIFEST_FILE, verify_manifest
from assay.inference.tokenizing.folder_tokenizer import open_tokenizer
from assay.judge.checkpoint import (
    CheckpointFault,
    FormTokenizer,
    NoTextError,
    find_drawable,
    open_outline,
    open_text,
)
from assay.protocol.manifest import start_levels
from assay.training import GENESIS
from tests.hub_folders import QWEN_TOKENS, make_core, make_settings
from tests.tree import ROOT

TEMPLATES = ROOT / "tests" / "inference" / "chat_templates"
CONFIG = json.loads((GENESIS / "config.json").read_text())
VOCABULARY = CONFIG["vocab_size"]


@pytest.fixture
def genesis():
    return verify_manifest(GENESIS)


def test_it_reads_and_writes_as_the_reference_does(genesis):
    ours, theirs = (open(GENESIS, genesis, VOCABULARY) for open in (open_text, open_tokenizer))
    assert np.array_equal(ours.drawable, theirs.drawable)
    environment = make_environment("arithmetic", {})
    levels = start_levels(environment.levels)
    for index in range(20):
        asked = make_miner_problem(environment, bytes(32), bytes(32), index, levels).conversation
        assert ours.encode(asked) == theirs.encode(asked)
    ids = list(range(VOCABULARY))
    for said in ("", "7+15=22", "<end>", "a<pad>b<end><end>", "é\U0001f600\ud800", "x" * 500):
        frame = Frame()
        assert ours.encode_reply(said, frame, 100) == theirs.encode_reply(said, frame, 100)
    for start in range(0, VOCABULARY, 7):
        assert ours.decode(ids[start:]) == theirs.decode(ids[start:])


def test_without_the_library_the_same_ids_may_be_drawn(genesis):
    drawable = open_tokenizer(GENESIS, genesis, VOCABULARY).drawable
    assert np.array_equal(find_drawable(GENESIS, genesis, VOCABULARY), drawable)


@pytest.mark.parametrize(
    "settings",
    [
        {"bos_token": "<begin>"},
        {"additional_special_tokens": ["<begin>"]},
        {"eos_token": {"__type": "AddedToken", "content": "<end>", "lstrip": True}},
        {"added_tokens_decoder": {"1": {"content": "<other>"}}},
    ],
)
def test_text_is_left_to_others_where_files_are_joined(genesis, settings, tmp_path):
    folder = shutil.copytree(GENESIS, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(NoTextError, match="assay"):
        open_text(folder, genesis, VOCABULARY)
    assert find_drawable(folder, genesis, VOCABULARY).all()


def test_another_template_is_a_fault_of_the_checkpoint(genesis, tmp_path):
    folder = shutil.copytree(GENESIS, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": "{{ messages }}"}))
    with pytest.raises(CheckpointFault, match="another chat template"):
        open_text(folder, genesis, VOCABULARY)


def write_tokenizer(folder, **settings):
    """A byte-level tokenizer, all of whose special tokens are in tokenizer.json."""
    (folder / "tokenizer.json").write_text(json.dumps(make_core(QWEN_TOKENS)))
    (folder / "tokenizer_config.json").write_text(json.dumps(make_settings(**settings)))


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.jinja")), ids=lambda path: path.stem)
def test_a_chat_template_is_read_as_the_reference_does(genesis, template, tmp_path):
    """Every family's own template, over a tokenizer whose special tokens are its own."""
    core, source = make_core(QWEN_TOKENS), template.read_text()
    settings = make_settings(
        bos_token="<|endoftext|>", pad_token="<|endoftext|>", chat_template=source
    )
    for name, content in (("tokenizer.json", core), ("tokenizer_config.json", settings)):
        (tmp_path / name).write_text(json.dumps(content))
    manifest = replace(genesis, chat_template=digest_template(source), end_tokens=(258,))
    ours, theirs = (open(tmp_path, manifest, 288) for open in (open_text, open_tokenizer))
    assert np.array_equal(ours.drawable, theirs.drawable)
    assert np.array_equal(find_drawable(tmp_path, manifest, 288), theirs.drawable)
    turns = (
        Message("user", "7+15=?"),
        Message("assistant", "22"),
        Message("user", "<|im_end|> é?"),
    )
    system = Message("system", "Be brief.")
    for messages in (turns[:1], turns, (system, *turns)):
        asked = Conversation(messages)
        ids = ours.encode(asked)
        assert ids == theirs.encode(asked)
        assert ours.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("split", [True, False])
def test_special_tokens_are_split_as_the_settings_say(genesis, split, tmp_path):
    write_tokenizer(tmp_path, split_special_tokens=split)
    manifest = replace(genesis, chat_template=digest_template(None), end_tokens=(258,))
    ours, theirs = (open(tmp_path, manifest, 288) for open in (open_text, open_tokenizer))
    asked = ask("<|im_start|>a<|im_end|>")
    assert ours.encode(asked) == theirs.encode(asked)


def test_a_tokenizer_without_text_reads_none(genesis):
    tokenizer = FormTokenizer(find_drawable(GENESIS, genesis, VOCABULARY))
    with pytest.raises(NoTextError):
        tokenizer.decode([1])


@pytest.mark.parametrize(
    "core",
    [
        {"added_tokens": 3},
        {"added_tokens": [3, {"content": [], "id": 1}]},
        {"model": {"vocab": 3}},
        {"model": {"vocab": {"a": "b"}}},
        {"model": {"vocab": {"a": -1}}},
        {"model": {"vocab": [[1, 2, 3]]}},
        {"model": 3},
    ],
)
def test_nonsense_is_a_fault_of_the_checkpoint(genesis, core, tmp_path):
    folder = shutil.copytree(GENESIS, tmp_path / "model")
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | core))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": [], "x": []}))
    with pytest.raises(CheckpointFault):
        find_drawable(folder, genesis, VOCABULARY)
    with pytest.raises(CheckpointFault):
        open_text(folder, genesis, VOCABULARY)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_changed_file_is_named(tmp_path, name):
    folder = shutil.copytree(GENESIS, tmp_path / "model")
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(CheckpointFault, match="is not its manifest's"):
        open_outline(folder)


def test_another_checkpoint_is_not_taken(tmp_path):
    with pytest.raises(CheckpointFault, match="name the one in force"):
        open_outline(GENESIS, bytes(32))
    folder = shutil.copytree(GENESIS, tmp_path / "model")
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(CheckpointFault, match="No such file"):
        open_outline(folder)
