"""Every kind of environment from an owner's word to a checkpoint that everybody can use."""

import json
import re
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from assay.artifacts.checkpoints.folder import find_checkpoint_fault
from assay.environments import problem_file
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_checkpoint, load_outline
from assay.inference.folder import CheckpointError
from assay.protocol.beacon import QUICKNET
from assay.protocol.encoding import decode, encode
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import MAIN_WORK, Parameters
from assay.settings.loading import ConfigError, open_named_environment
from assay.subnet.amending import require_amendment
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import change_parameters, make_demo_parameters, parse_environment
from assay.subnet.prompt_notes import list_environment_notes, list_prompt_notes, list_reply_notes
from assay.training import GENESIS
from assay.training.held_out import evaluate
from tests.absent import has_gym
from tests.amended_parameters import amend
from tests.hostile_folders import fit_manifest
from tests.hub_folders import NEEDS_SYSTEM


@pytest.fixture(autouse=True)
def forget_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem_file, "_known", {})


def make_parameters(text: str) -> Parameters:
    plain = make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), bytes(32))
    return replace(plain, environment=parse_environment(text))


#: Its environments are refused before they are opened where its image is not prepared.
NEEDS_GYM = pytest.mark.skipif(not has_gym(), reason="assay sandbox prepare --for reasoning_gym")


@pytest.mark.slow
@NEEDS_GYM
def test_a_mixture_has_a_genesis_that_can_be_used(tmp_path: Path) -> None:
    text = "mix,gsm=2,reasoning_gym:chain_sum=1"
    folder = tmp_path / "genesis"
    shutil.copytree(GENESIS, folder)
    levels = (1_001, 1_002, 2_001)
    manifest = make_genesis(folder, 8, open_named_environment(text), levels)
    assert manifest.level_numbers == levels
    checkpoint = load_checkpoint(folder)
    plain = make_parameters(text)
    identity = replace(plain.identity, genesis_checkpoint=checkpoint.digest)
    parameters = replace(plain, identity=identity)
    assert find_checkpoint_fault(checkpoint, parameters) is None
    assert "not ascending levels" in str(find_checkpoint_fault(checkpoint, make_parameters("gsm")))
    environment = open_environment(parameters.environment)
    found = evaluate(checkpoint, environment, parameters.work, 8)
    assert found.asked == 8


def test_a_template_needs_what_the_owner_s_words_give(tmp_path: Path) -> None:
    """Each part that is not plain is tried, by its own words."""
    folder = tmp_path / "genesis"
    shutil.copytree(GENESIS, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = f"{NEEDS_SYSTEM}{{{{ 1 // level }}}}"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    fit_manifest(folder)
    outline = load_outline(folder)
    manifest = replace(outline.manifest, levels=start_levels([1_001, 2_005]))
    outline = replace(outline, manifest=manifest)
    table = {"system": "", "arguments": {"level": 1}}
    no_system = {"arguments": {"level": 1}, "shots": [["1?", "1"]]}
    for plain, prompts, fault in (
        ((), {"gsm": table, "sat": table}, None),
        ((), {"gsm": table, "sat": no_system}, "sat: the chat template .* of user, assis.* no sys"),
        ((), {"gsm": {"system": ""}, "sat": table}, "gsm: .* messages of system, user: "),
        ((), {}, "gsm: .* of user: TemplateError: no system: change the part's words"),
        (("sat",), {"gsm": table}, None),
        (("gsm", "sat"), {}, None),
    ):
        parts = {"gsm": 1, "sat": 1} | {f"{part}.plain": 1 for part in plain}
        environment = {"name": "mix", "settings": parts, "prompts": prompts}
        parameters = change_parameters(make_parameters("sat"), {"environment": environment})
        first = replace(parameters.identity, genesis_checkpoint=manifest.digest)
        found = find_checkpoint_fault(outline, replace(parameters, identity=first))
        assert (found is None) if fault is None else re.match(fault, str(found)), found


def test_an_owner_is_told_of_a_world_that_has_too_few_turns() -> None:
    parameters = make_parameters("guess")
    *pay, note = list_environment_notes(parameters)
    assert note.endswith("up to 14 turns, but parameters.work.turns = 1 ends each episode there")
    work = {"turns": 14, "context": 512, "reply_bytes": 64, "paid_reply": 4_000}
    assert list_environment_notes(change_parameters(parameters, {"work": work})) == pay


def test_an_owner_is_told_of_prompts_that_lose_their_question(tmp_path: Path) -> None:
    folder = tmp_path / "genesis"
    shutil.copytree(GENESIS, folder)
    parameters = make_parameters("gsm")
    assert list_prompt_notes(load_outline(folder), folder, parameters) == []
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{{ messages[0].content[:9] }}"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    fit_manifest(folder)
    lost, twins = list_prompt_notes(load_outline(folder), folder, parameters)
    assert lost.startswith("64 of 64 prompts: the text lacks the question")
    assert re.match(r"\d+ of 64 prompts: another problem has the same ids", twins)
    config = json.loads((folder / "config.json").read_text()) | {"max_position_embeddings": 50}
    (folder / "config.json").write_text(json.dumps(config))
    fit_manifest(folder)
    notes = list_prompt_notes(load_outline(folder), folder, parameters)
    assert any("the model's context is 50 tokens" in note for note in notes)


def test_an_owner_is_told_of_a_tool_that_the_model_is_not_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "genesis"
    shutil.copytree(GENESIS, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    shown = "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}"
    for template, call_form, is_told in (
        (None, 0, True),
        (None, 1, False),
        ("{{ messages[0].content }}", 1, False),
        ("{{ messages[0].content }}", 0, True),
        (shown + "{{ messages[0].content }}", 1, True),
    ):
        settings["chat_template"] = template
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        fit_manifest(folder)
        environment = {"settings": {"tool": 1, "call_form": call_form}}
        parameters = change_parameters(make_parameters("gsm"), {"environment": environment})
        notes = list_prompt_notes(load_outline(folder), folder, parameters)
        assert is_told == (not any("is not told of its tool" in note for note in notes)), notes


def test_a_genesis_whose_completions_exceed_the_models_context_is_refused(tmp_path: Path) -> None:
    """Before a completion is drawn, with the number that would fit behind the prompt."""
    folder = tmp_path / "genesis"
    shutil.copytree(GENESIS, folder)
    with pytest.raises(CheckpointError, match=r"context is 512 .*: set max_tokens = 49\d un"):
        make_genesis(folder, 512)


@pytest.mark.parametrize(
    "text",
    [
        "arithmetic,minus=20",
        "sat,k=4",
        "gsm,largest=50",
        pytest.param("reasoning_gym:mini_sudoku", marks=NEEDS_GYM),
    ],
)
def test_parameters_with_it_come_back_and_open(text: str) -> None:
    parameters = make_parameters(text)
    back = decode(Parameters, encode(parameters))
    assert back == parameters
    assert Parameters.from_json(parameters.to_json()) == parameters
    environment = open_environment(back.environment)
    assert environment.digest == parameters.environment.digest


def test_a_file_in_a_mixture_is_chosen_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "How many?", "answer": "#### 12"}\n')
    name = f"gsm:{sha256(file.read_bytes()).hexdigest()}"
    with pytest.raises(ConfigError, match="no file with SHA-256"):
        parse_environment(f"mix,arithmetic=1,{name}=1")
    add_problem_files([file])
    parameters = make_parameters(f"mix,arithmetic=1,{name}=1")
    assert decode(Parameters, encode(parameters)) == parameters
    problem = open_environment(parameters.environment).make_problem(bytes(32), [2_001])
    assert problem.prompt.startswith("How many?")


def test_a_change_of_name_takes_the_new_ones_settings() -> None:
    plain = make_parameters("arithmetic")
    mixed = {"name": "mix", "settings": {"arithmetic": 3, "gsm": 1, "gsm.largest": 9}}
    changed = change_parameters(plain, {"environment": mixed})
    assert changed.environment == parse_environment("mix,arithmetic=3,gsm=1,gsm.largest=9")
    with pytest.raises(ConfigError, match="mix has 0 parts"):
        change_parameters(plain, {"environment": {"name": "mix"}})
    with pytest.raises(ConfigError, match="refused"):
        change_parameters(plain, {"environment": {"name": "reasoning_gym:puzzle24"}})


def test_replies_that_could_be_worth_a_fake_are_noted() -> None:
    """Each with the changes of which any one suffices, and no smaller one does."""
    work = replace(MAIN_WORK, turns=4, context=4_096 + 899, reply_bytes=64, paid_reply=4_000)
    assert list_reply_notes(MAIN_WORK) == list_reply_notes(work) == []
    (note,) = list_reply_notes(replace(work, context=4_096 + 900))
    assert re.match(r"replies may make own tokens 3.7 times .* 4 rollouts .* suffice for 3.7", note)
    (paid,) = list_reply_notes(replace(work, valued_groups=2))
    assert re.match(r"a rollout's replies may pay it 1.6 times its part", paid)
    dear = replace(work, context=16_384, valued_groups=2, paid_reply=20_000, audited_rollouts=9)
    flat = replace(work, valued_groups=16, position_share=0)
    lone = replace(work, valued_groups=1, audited_rollouts=1)
    for cheap, count in ((replace(work, context=6_000), 3), (dear, 4), (flat, 2), (lone, 2)):
        named = [one for note in list_reply_notes(cheap) for one in NAMED.findall(note)]
        assert len(named) == count, named
        before = len(list_reply_notes(cheap))
        for name, value, side in named:
            assert (side == "") == (value == "0")  # nothing is less
            just, past = int(value), int(value) + (-1 if side == "more" else 1)
            assert len(list_reply_notes(replace(cheap, **{name: just}))) == before - 1
            assert len(list_reply_notes(replace(cheap, **{name: past}))) == before


def test_an_amendment_whose_replies_could_be_worth_a_fake_says_so() -> None:
    turns = {"turns": 14, "context": 512, "reply_bytes": 64, "paid_reply": 4_000}
    latest = change_parameters(make_parameters("guess"), {"work": turns})
    notes = require_amendment(latest, amend(latest, 9, work=latest.work), None)
    amended = amend(latest, 9, work=replace(latest.work, context=8_192))
    (more,) = set(require_amendment(latest, amended, None)) - set(notes)
    assert "work.context = " in more


def test_an_owner_is_told_of_prompts_behind_which_no_world_replies() -> None:
    turns = {"turns": 14, "context": 512, "reply_bytes": 64, "paid_reply": 4_000}
    parameters = change_parameters(make_parameters("guess"), {"work": turns})
    outline = load_outline(GENESIS)
    assert not any(
        "never reply" in note for note in list_prompt_notes(outline, GENESIS, parameters)
    )
    crowded = replace(parameters, work=replace(parameters.work, context=100))
    (note,) = (n for n in list_prompt_notes(outline, GENESIS, crowded) if "never reply" in n)
    assert re.match(r"64 of 64 prompts: .* max_tokens = 48 fill work.context = 100$", note)


#: A change that a note names.
NAMED = re.compile(r"work\.(\w+) = ([0-9]+)(?: or (less|more))?")
