"""`assay env sample`: what a model sees, and warnings; played turns. `assay env score --model`."""

import json
import shutil
from pathlib import Path
from typing import Any

from assay.training import GENESIS
from tests.commands import run_command
from tests.hub_folders import NEEDS_SYSTEM

CHANGES = """
[environment.prompts.gsm]
system = "Think."
before = "Q: "
after = "\\nA: "
"""


def copy_small(folder: Path, **settings: str | bool) -> Path:
    """The shipped model without manifest and weights, with other settings of its tokenizer."""
    shutil.copytree(
        GENESIS, folder, ignore=shutil.ignore_patterns("manifest.json", "*.safetensors")
    )
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def sample(name: str, *options: str) -> Any:
    done = run_command("env", "sample", name, "--n", "1", "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]


def test_the_model_s_text_is_shown_with_the_owner_s_words(tmp_path: Path) -> None:
    file = tmp_path / "changes.toml"
    file.write_text(CHANGES)
    shown = sample("gsm", "--prompts", str(file), "--model", str(GENESIS))
    assert shown["text"].startswith("Think.\n\nQ: ")
    assert shown["text"].endswith("\nA: ")
    assert len(shown["ids"]) == len(shown["text"])
    assert shown["warnings"] == []


def test_all_messages_are_shown_with_their_roles(tmp_path: Path) -> None:
    file = tmp_path / "changes.toml"
    file.write_text(CHANGES)
    shown = sample("gsm", "--prompts", str(file))
    assert [one["role"] for one in shown["messages"]] == ["system", "user"]
    assert shown["messages"][1]["content"] == shown["prompt"]
    text = run_command("env", "sample", "gsm", "--n", "1", "--prompts", str(file)).stdout
    assert "system:\nThink.\nuser:\nQ: " in text
    assert "user:" not in run_command("env", "sample", "gsm", "--n", "1").stdout


def test_a_recipe_gives_words_and_max_tokens() -> None:
    name = "qwen2.5-1.5b-few-shot-gsm"
    shown = sample("gsm,plain=1", "--recipe", name, "--model", str(GENESIS))
    assert len(shown["messages"]) == 5
    assert "max_tokens = 512 needs" in shown["warnings"][0]
    assert sample("gsm", "--recipe", name, "--model", str(GENESIS), "--max-tokens", "1")


def test_a_template_that_loses_the_question_is_warned_of(tmp_path: Path) -> None:
    folder = copy_small(tmp_path / "model", chat_template="{{ messages[0].content[:4] }}")
    done = run_command("env", "sample", "gsm", "--n", "9", "--model", str(folder), "--json")
    seen = json.loads(done.stdout)
    assert all("lacks the question" in one["warnings"][0] for one in seen)
    assert any("another problem has the same ids" in one["warnings"][-1] for one in seen)
    template = f"{NEEDS_SYSTEM}{{{{ messages[1].content }}}}"
    folder = copy_small(tmp_path / "needy", chat_template=template)
    (warning,) = sample("gsm", "--model", str(folder))["warnings"]
    assert "fails for messages of user: TemplateError: no system" in warning
    file = tmp_path / "changes.toml"
    file.write_text(CHANGES)
    shown = sample("gsm", "--prompts", str(file), "--model", str(folder))
    assert shown["warnings"] == []


def test_a_template_that_closes_an_answer_with_no_end_token_is_warned_of(tmp_path: Path) -> None:
    """Qwen2.5's base models: the tokenizer ends a text, the template ends a turn."""
    folder = copy_small(tmp_path / "model")
    core = json.loads((folder / "tokenizer.json").read_text())
    token = core["added_tokens"][-1]
    number = next(n for name, n in core["model"]["vocab"].items() if name == "%")
    core["added_tokens"].append(token | {"id": number, "content": "%"})
    (folder / "tokenizer.json").write_text(json.dumps(core))
    template = "{% for one in messages %}{{ one.content }}%\n{% endfor %}"
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (warning,) = sample("arithmetic", "--model", str(folder))["warnings"]
    assert warning.startswith("the template closes an answer with %, which is no end token")
    assert sample("arithmetic,plain=1", "--model", str(folder))["warnings"] == []


def test_what_takes_seconds_is_announced(tmp_path: Path) -> None:
    done = run_command("env", "sample", "arithmetic", "--n", "1", "--model", str(GENESIS))
    assert done.stderr == f"assay: loading PyTorch, then opening {GENESIS} …\n"


def test_an_answer_that_the_context_does_not_hold_is_warned_of() -> None:
    shown = sample("arithmetic", "--model", str(GENESIS), "--max-tokens", "100000")
    (warning,) = shown["warnings"]
    assert "context" in warning


def test_a_base_model_without_its_bos_is_warned_of(tmp_path: Path) -> None:
    folder = copy_small(tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    core = json.loads((folder / "tokenizer.json").read_text())
    name = settings["bos_token"] = settings["eos_token"]
    end = next(token["id"] for token in core["added_tokens"] if token["content"] == name)
    first: list[Any] = [{"SpecialToken": {"id": name, "type_id": 0}}]
    sequences = [{"Sequence": {"id": which, "type_id": 0}} for which in "AB"]
    core["post_processor"] = {
        "type": "TemplateProcessing",
        "single": first + sequences[:1],
        "pair": first + sequences,
        "special_tokens": {name: {"id": name, "ids": [end], "tokens": [name]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(core))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    bare = sample("arithmetic", "--model", str(folder))
    assert "bos=1" in bare["warnings"][0]
    with_it = sample("arithmetic,bos=1", "--model", str(folder))
    assert with_it["ids"] == [end, *bare["ids"]]
    assert with_it["warnings"] == []


def test_end_tokens_that_an_answer_spells_end_it() -> None:
    end = json.loads((GENESIS / "tokenizer_config.json").read_text())["eos_token"]
    answer = ("env", "score", "arithmetic", "--json", "--answer", f"#### 10{end}")
    bare, ended = (
        json.loads(run_command(*answer, *more).stdout) for more in ((), ("--model", str(GENESIS)))
    )
    assert (bare["format"], ended["format"]) == (0, 1_000_000)


def play(name: str, given: str, *options: str) -> Any:
    done = run_command("env", "sample", name, "--play", "--json", *options, given=given)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_reply_without_a_line_break_is_shown_in_a_line() -> None:
    call = '<tool_call>{"name": "calculator", "arguments": {"expression": "6*7"}}</tool_call>'
    name = "gsm,tool=calculator,call_form=hermes"
    done = run_command("env", "sample", name, "--play", "--n", "1", given=f"{call}\n#### 42")
    assert "\n42\n> #### 42\n" in done.stdout
    assert 'The model\'s chat template tells of [{"type": "function"' in done.stdout


def test_a_script_plays_a_world() -> None:
    """The last line needs no newline."""
    (played,) = play("guess", "0\n8\n3\n4", "--level", "1")
    assert [turn["reply"] for turn in played["turns"]] == ["higher\n", None]
    assert (played["end"], played["score"]["correctness"]) == ("DONE", 1_000_000)
    one, other = play("guess", "x\n" * 5, "--level", "1", "--n", "2")
    assert (one["end"], len(one["turns"]), one["score"]["format"]) == ("DONE", 4, 0)
    assert (other["end"], len(other["turns"])) == (None, 1)
    assert play("guess", "")[0]["score"] is None


def test_a_person_sees_what_the_world_says() -> None:
    done = run_command("env", "sample", "codes", "--play", "--level", "1", given="no\n99\n")
    assert "> no\nGuess a code of 2 digits from 0 to 2.\n> 99\n" in done.stdout
    assert "over after 2 turns: standard input has no further turn" in done.stdout


def test_a_model_s_ids_of_turns_and_replies_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "changes.toml"
    file.write_text('[environment.prompts.guess]\nreply_before = "-> "\n')
    options = ("--level", "6", "--prompts", str(file), "--model", str(GENESIS))
    (played,) = play("guess", "10000\n0\n", *options, "--max-tokens", "7")
    first, last = played["turns"]
    assert len(first["ids"]) == len("10000") + 1
    assert len(first["reply_ids"]) == len("-> Guess a number from 0 to 9999.\n")
    assert last["ids"] == first["ids"][1:2]  # cut: there was room for one token
    assert played["end"] in ("CUT", "DONE")


def test_a_turn_ends_with_the_first_end_token_that_is_typed(tmp_path: Path) -> None:
    model = copy_small(tmp_path / "model", eos_token="<end>", split_special_tokens=False)
    options = ("--level", "4", "--model", str(model))
    typed, plain = (play("guess", said, *options)[0]["turns"] for said in ("5<end>7\n", "5\n"))
    assert typed[0] == plain[0] | {"turn": "5<end>7"}


def test_turns_that_nobody_can_play_are_refused() -> None:
    done = run_command(
        "env", "sample", "guess", "--play", "--model", str(GENESIS), given="\u00e9\n"
    )
    assert done.returncode == 2
    assert "the tokenizer cannot write" in done.stderr
