"""`assay env sample --model`: what the model sees, and warnings; `assay env score --model`."""

import json
import shutil
from pathlib import Path
from typing import Any

from assay.training import GENESIS
from tests.commands import run_command

CHANGES = """
[environment.prompts.gsm]
system = "Think."
before = "Q: "
after = "\\nA: "
"""


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


def test_an_answer_that_the_context_does_not_hold_is_warned_of() -> None:
    shown = sample("arithmetic", "--model", str(GENESIS), "--max-tokens", "100000")
    (warning,) = shown["warnings"]
    assert "context" in warning


def test_a_base_model_without_its_bos_is_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(
        GENESIS, folder, ignore=shutil.ignore_patterns("manifest.json", "*.safetensors")
    )
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
