"""Frames that a network's parameters take from its model's chat template."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.artifacts.discovery import DiscoveryError
from assay.environments.base import Frame
from assay.environments.registry import list_manners, list_turns, open_environment
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.checkpoint import load_outline
from assay.inference.folder import CheckpointError
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import Parameters, find_parameters_fault
from assay.subnet import amending, genesis_checkpoint
from assay.subnet.adoption.adopt import adopt_model
from assay.subnet.amending import amend_frames, require_amendment
from assay.subnet.presets import change_parameters, make_demo_parameters, parse_environment
from assay.subnet.recipe import read_recipe
from assay.subnet.reply_frames import fill_frames, find_closer_fault
from assay.training import GENESIS
from tests.amended_parameters import amend
from tests.commands import run_command
from tests.hostile_folders import fit_manifest
from tests.hub_folders import make_qwen

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
FRAME = Frame("\nuser: ", "<end>\nassistant: ")
TURNS = {"turns": 4, "context": 512, "reply_bytes": 64, "paid_reply": 4_000}


def make_parameters(text: str, prompts: Any = None, work: Any = TURNS) -> Parameters:
    plain = make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), bytes(32))
    plain = replace(plain, environment=parse_environment(text))
    changes = {"work": work} | ({} if prompts is None else {"environment": {"prompts": prompts}})
    return change_parameters(plain, changes)


def make_folder(
    folder: Path, template: str | None = TEMPLATE, ends: tuple[int, ...] = (1,)
) -> Path:
    """The shipped model with a chat template, whose end token is one in a text, too."""
    shutil.copytree(GENESIS, folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"split_special_tokens": False}
    path.write_text(json.dumps(settings | {"chat_template": template}))
    fit_manifest(folder)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"end_tokens": list(ends)}))
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path) -> FolderTokenizer:
    return load_outline(make_folder(tmp_path / "model")).tokenizer


def fill(parameters: Parameters, tokenizer: FolderTokenizer) -> tuple[Parameters, list[str]]:
    said: list[str] = []
    filled = fill_frames(parameters, tokenizer, said.append)
    assert find_parameters_fault(filled) is None
    assert open_environment(filled.environment).digest == filled.environment.digest
    assert fill_frames(parameters, tokenizer, said.append) == filled  # the same again
    return filled, said[: len(said) // 2]


def test_a_frame_is_derived_and_shown(tokenizer: FolderTokenizer) -> None:
    filled, said = fill(make_parameters("guess"), tokenizer)
    assert list_manners(filled.environment)["guess"].frame == FRAME
    assert said == [
        'guess: replies in role user: reply_before "\\nuser: ", reply_after "<end>\\nassistant: ": '
        "faithful",
        'guess: replies in role tool: reply_before "\\ntool: ", reply_after "<end>\\nassistant: ": '
        "faithful",
        "guess: the frame of role user is taken",
    ]
    again, said = fill(filled, tokenizer)  # as an owner's: it is in the parameters
    assert again == filled
    assert said[-1].endswith("it is the template's of role user: faithful")


def test_what_an_owner_wrote_stays_and_is_compared(tokenizer: FolderTokenizer) -> None:
    for words, told in (
        ({"reply_before": ""}, 'frame reply_before "", reply_after "": it stays, and differs'),
        (
            {"reply_before": "\ntool: ", "reply_after": "<end>\nassistant: "},
            "it is the template's of role tool: faithful",
        ),
    ):
        parameters = make_parameters("guess", {"guess": words})
        filled, said = fill(parameters, tokenizer)
        assert filled == parameters
        assert told in said[-1]


def test_other_words_and_examples_stay(tokenizer: FolderTokenizer) -> None:
    prompts = {"guess": {"after": " ", "shots": [["1?", "1"]]}}
    filled, _ = fill(make_parameters("guess", prompts), tokenizer)
    (record,) = filled.environment.prompts
    assert [one.name for one in record.texts] == ["after", "reply_after", "reply_before"]
    assert [one.question for one in record.shots] == ["1?"]


def test_only_parts_whose_worlds_reply_through_a_template_get_one(
    tokenizer: FolderTokenizer, tmp_path: Path
) -> None:
    mixed = make_parameters("mix,guess=1,codes=1,gsm=1,codes.plain=1")
    assert list_turns(mixed.environment)["gsm"] == 1
    filled, _ = fill(mixed, tokenizer)
    assert [one.part for one in filled.environment.prompts] == ["guess"]
    for parameters, model in (
        (make_parameters("guess", work={}), tokenizer),
        (make_parameters("guess"), load_outline(GENESIS).tokenizer),
        (make_parameters("gsm"), tokenizer),
    ):
        assert fill(parameters, model) == (parameters, [])


def test_a_template_without_a_frame_is_told_what_works_instead(tmp_path: Path) -> None:
    hostile = "{% if messages | length > 1 %}{{ raise_exception('\x1b[2J') }}{% endif %}"
    folder = make_folder(tmp_path / "model", f"{hostile}{TEMPLATE}")
    parameters = make_parameters("guess")
    filled, said = fill(parameters, load_outline(folder).tokenizer)
    assert filled == parameters
    assert said[0] == (
        "guess: replies in role user: the template gives no frame: it fails for a conversation "
        "with role user"
    )
    assert said[-1] == (
        "guess: no frame is taken: write one under [environment.prompts.guess], such as "
        'reply_before = "\\n" and reply_after = "\\n", or say plain=1'
    )


def test_a_first_end_token_that_closes_no_turn_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "model", ends=(2, 1))
    outline = load_outline(folder)
    parameters = make_parameters("guess")
    fault = find_closer_fault(parameters, outline.tokenizer)
    assert fault is not None
    assert fault.startswith('guess: the chat template closes a turn with "<end>", and the manifest')
    assert fault.endswith('adopt the model anew with --end-token "<end>" before the others')
    for fine in (
        make_parameters("guess", work={}),
        make_parameters("guess,plain=1"),
        make_parameters("gsm"),
    ):
        assert find_closer_fault(fine, outline.tokenizer) is None
    usual = load_outline(make_folder(tmp_path / "usual")).tokenizer
    assert find_closer_fault(parameters, usual) is None
    monkeypatch.setattr(amending, "load_checkpoint", lambda *_: outline)
    monkeypatch.setattr(amending, "find_checkpoint_fault", lambda *_: None)
    amended = amend(parameters, 9, work=replace(parameters.work, turns=5))
    with pytest.raises(DiscoveryError, match='closes a turn with "<end>"'):
        require_amendment(parameters, amended, folder)


RECIPE = """about = "guesses"
preset = "demo"
environment = "guess"
levels = [1]
[model]
name = "a Qwen"
model_type = "qwen2"
vocab_size = {vocab_size}
hidden_size = {hidden_size}
intermediate_size = {intermediate_size}
num_hidden_layers = {num_hidden_layers}
num_attention_heads = {num_attention_heads}
num_key_value_heads = {num_key_value_heads}
tie_word_embeddings = true
[model.config]
max_position_embeddings = {max_position_embeddings}
[parameters.work]
max_tokens = 16
turns = 4
context = 128
reply_bytes = 64
paid_reply = 0
[calibration]
problems = 4
pairs = []
[trainer]
[course]
card = "cpu"
implementation = "fp32-sdpa"
trainer_cards = 1
miners = 1
groups_per_step = 1
prompt_tokens = 32
longest_prompt = 32
completion_tokens = 16
reply_tokens = 8
steps = 1
"""


def test_nobody_waits_for_the_calibration_of_a_model_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = make_qwen()
    assert content.config is not None
    source = content.write(tmp_path / "source")
    adopt_model(source, tmp_path / "model", ["<|endoftext|>", "<|im_end|>"], probes=False)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(**content.config))
    recipe = read_recipe(str(tmp_path / "recipe.toml"))
    rules = recipe.make_rules("guess", recipe.preset, {})
    monkeypatch.setattr(genesis_checkpoint, "ModelMeasurements", None)
    with pytest.raises(CheckpointError, match=r'first end token is "<\|endoftext\|>": adopt'):
        genesis_checkpoint.make_recipe_genesis(
            recipe, tmp_path / "model", tmp_path / "genesis", rules
        )
    assert not (tmp_path / "genesis").exists()


def test_an_amendment_derives_frames_where_prompts_change(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    latest = make_parameters("gsm")
    amended = amend(latest, 9, environment=make_parameters("guess").environment)
    said: list[str] = []
    found = amend_frames(latest, amended, folder, said.append)
    assert list_manners(found.environment)["guess"].frame == FRAME
    assert len(said) == 3
    assert amend_frames(latest, amended, None, said.append) == amended
    other = amend(amended, 12, work=replace(amended.work, turns=5))  # how problems are put stays
    assert amend_frames(amended, other, folder, said.append) == other
    assert len(said) == 3


def test_env_sample_shows_frames(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    done = run_command("env", "sample", "guess", "--n", "2", "--model", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    for sample in json.loads(done.stdout):
        assert sample["frames"][-1] == "guess: the frame of role user is taken"
    done = run_command("env", "sample", "guess", "--n", "2", "--model", str(folder))
    assert done.stdout.count("guess: the frame of role user is taken") == 1
    done = run_command("env", "sample", "gsm", "--n", "1", "--model", str(folder), "--json")
    assert "frames" not in json.loads(done.stdout)[0]
