"""What a folder and a GGUF file say of their texts: which place counts, and what is told."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from assay.cli.app import app
from assay.environments.base import ask
from assay.inference.folder import CheckpointError
from assay.subnet.adoption.adopt import Adoption, adopt_model, find_unadopted
from tests.commands import run_command
from tests.hub_folders import CHATML, Content, dump, find_id, make_llama, make_qwen
from tests.subnet.adoption.test_prompt_ids import open_adopted
from tests.subnet.adoption.text_pairs import (
    TEMPLATES,
    Pair,
    list_pieces,
    make_pair_core,
    write_pair,
    write_pair_gguf,
)

NEEDS_GGUF = pytest.mark.skipif(find_spec("gguf") is None, reason="needs the extra `gguf`")
OTHER = CHATML.replace("assistant", "model")
PROMPT = "7+15=?\n"


def adopt(source: Path, out: Path, *ends: str, template: Path | None = None) -> Adoption:
    return adopt_model(source, out, ends, template=template, probes=False)


def list_ends(adoption: Adoption) -> list[str]:
    return [text for _, text in adoption.texts.ends]


def list_notes(adoption: Adoption) -> list[str]:
    return [f"{kind}: {text}" for kind, text in adoption.notes.iterate()]


def write_template(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def make_bare() -> Content:
    """A Qwen without a chat template."""
    content = make_qwen(eos_token_id=find_id("<|endoftext|>"))
    content.settings = {"eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    return content


# --- where a folder has a template


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        (CHATML, {}),
        ([{"name": "default", "template": CHATML}, {"name": "rag", "template": "X"}], {}),
        ("OLD", {"chat_template.jinja": CHATML}),
        (None, {"additional_chat_templates/default.jinja": CHATML}),
        ("OLD", {"chat_template.jinja": "X", "additional_chat_templates/default.jinja": CHATML}),
        ([{"name": "rag", "template": "X"}], {"chat_template.jinja": CHATML}),
        (None, {"chat_template.jinja": CHATML, "additional_chat_templates/tool_use.jinja": "X"}),
    ],
    ids=str,
)
def test_of_several_templates_the_library_s_is_taken(
    tmp_path: Path, settings: Any, files: dict[str, str]
) -> None:
    content = make_bare()
    assert content.settings is not None
    if settings is not None:
        content.settings["chat_template"] = settings
    content.others = {name: text.encode() for name, text in files.items()}
    source, out = content.write(tmp_path / "source"), tmp_path / "out"
    theirs = AutoTokenizer.from_pretrained(source)
    adoption = adopt(source, out)
    messages = [{"role": "user", "content": PROMPT}]
    wanted = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert open_adopted(out, adoption).encode_strictly(ask(PROMPT)) == wanted
    assert AutoTokenizer.from_pretrained(out).chat_template == CHATML
    assert list_ends(adoption) == ["<|im_end|>", "<|endoftext|>"]
    if settings not in (None, CHATML) or len(files) > 1:
        assert any(
            note.startswith("dropped: ") and "template" in note for note in list_notes(adoption)
        )


def test_templates_without_a_default_ask_for_one(tmp_path: Path) -> None:
    """transformers takes no other one either."""
    content = make_qwen()
    content.others = {"additional_chat_templates/rag.jinja": OTHER.encode()}
    source = content.write(tmp_path / "source")
    with pytest.raises(ValueError, match="multiple chat templates"):
        AutoTokenizer.from_pretrained(source).apply_chat_template([{"role": "user", "content": ""}])
    with pytest.raises(CheckpointError, match="no default template, only rag: name the file"):
        adopt(source, tmp_path / "none")
    file = source / "additional_chat_templates" / "rag.jinja"
    adoption = adopt(source, tmp_path / "out", template=file)
    assert open_adopted(tmp_path / "out", adoption).write(ask("1?")).endswith("|>model\n")


@pytest.mark.parametrize("table", [False, True], ids=["no table", "a table of added tokens"])
def test_the_map_of_special_tokens_counts_where_the_library_reads_it(
    tmp_path: Path, table: bool
) -> None:
    content = make_llama("{{ bos_token }}|{{ eos_token }}|{{ messages[0].content }}")
    assert content.settings is not None
    content.settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    if table:
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        token = {"content": "<|eot_id|>", **flags, "special": True}
        content.settings["added_tokens_decoder"] = {"259": token}
    told = {"bos_token": "<|eom_id|>", "eos_token": {"content": "<|end_of_text|>", "lstrip": False}}
    content.others["special_tokens_map.json"] = dump(told)
    source, out = content.write(tmp_path / "source"), tmp_path / "out"
    adoption = adopt(source, out)
    theirs = AutoTokenizer.from_pretrained(source)
    written = theirs.apply_chat_template([{"role": "user", "content": "1?"}], tokenize=False)
    assert open_adopted(out, adoption).write(ask("1?")) == written
    kind = "dropped" if table else "kept"
    names = "bos_token, eos_token of special_tokens_map.json"
    assert any(note.startswith(f"{kind}: {names}") for note in list_notes(adoption))
    assert list_ends(adoption) == ["<|eot_id|>" if table else "<|end_of_text|>"]


def test_end_tokens_are_those_of_all_places(tmp_path: Path) -> None:
    content = make_llama(eos_token_id=257)
    content.others["generation_config.json"] = dump(
        {"eos_token_id": [258, 259], "do_sample": False}
    )
    adoption = adopt(content.write(tmp_path / "source"), tmp_path / "out")
    assert list_ends(adoption) == ["<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"]


# --- a template by hand


@pytest.mark.parametrize("form", ["jinja", "json"])
def test_a_template_may_be_named(tmp_path: Path, form: str) -> None:
    source = make_bare().write(tmp_path / "source")
    text = OTHER if form == "jinja" else json.dumps({"chat_template": OTHER, "more": 1})
    file = write_template(tmp_path / f"t.{form}", text)
    adoption = adopt(source, tmp_path / "out", template=file)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == OTHER
    assert list_ends(adoption) == ["<|im_end|>", "<|endoftext|>"]
    assert f"kept: the chat template of {file}" in list_notes(adoption)
    # in place of one that is there
    second = adopt(make_qwen().write(tmp_path / "qwen"), tmp_path / "second", template=file)
    assert any("the model's own chat template" in note for note in second.notes.dropped)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.jinja", b"\xff", "is not UTF-8"),
        ("t.json", b"{}", "has no chat template"),
        ("t.json", b'{"chat_template": [{"name": "rag", "template": "X"}]}', "named are rag"),
        ("t.jinja", b"{% for", "the chat template in tokenizer_config.json"),
    ],
    ids=["bytes", "no field", "no default", "syntax"],
)
def test_a_file_that_is_no_template_is_refused(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    source = make_bare().write(tmp_path / "source")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=said) as caught:
        adopt(source, tmp_path / "out", template=tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_command_takes_a_template(tmp_path: Path) -> None:
    source = make_bare().write(tmp_path / "source")
    file = write_template(tmp_path / "t.jinja", CHATML)
    line = ["adopt", str(source), "--chat-template", str(file), "--json", "--out"]
    done = CliRunner().invoke(app, [*line, str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["end_tokens"][0] == {"id": 258, "text": "<|im_end|>"}
    done = CliRunner().invoke(app, [*line[:3], "absent", "--out", str(tmp_path / "two")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no such file" in done.stderr


# --- end tokens that were settled


def test_another_template_settles_end_tokens_anew(tmp_path: Path) -> None:
    """By hand, or in the file; not where the template is the same."""
    one = adopt(make_bare().write(tmp_path / "source"), tmp_path / "one")
    assert list_ends(one) == ["<|endoftext|>"]
    assert find_unadopted(tmp_path / "one") is None
    write_template(tmp_path / "one" / "chat_template.jinja", CHATML)
    assert find_unadopted(tmp_path / "one") is not None
    two = adopt(tmp_path / "one", tmp_path / "two")
    assert list_ends(two) == ["<|im_end|>", "<|endoftext|>"]
    assert "guessed: end tokens, found anew: adoption.json has those of another chat template" in (
        list_notes(two)
    )
    three = adopt(tmp_path / "two", tmp_path / "three")
    assert list_ends(three) == list_ends(two)
    assert not any("found anew" in note for note in list_notes(three))


def test_a_template_s_closer_that_ends_nothing_is_told(tmp_path: Path) -> None:
    """Where it was chosen so, and where an older adoption has not said for which template."""
    source = make_qwen().write(tmp_path / "source")
    told = "guessed: that a model goes on behind <|im_end|>, with which the template closes"
    chosen = adopt(source, tmp_path / "one", "<|endoftext|>")
    assert any(note.startswith(told) for note in list_notes(chosen))
    path = tmp_path / "one" / "adoption.json"
    older = json.loads(path.read_text())
    del older["chat_template"]
    path.write_text(json.dumps(older))
    kept = adopt(tmp_path / "one", tmp_path / "two")
    assert list_ends(kept) == ["<|endoftext|>"]
    assert any(note.startswith(told) for note in list_notes(kept))
    found = adopt(source, tmp_path / "three")
    assert not any(note.startswith(told) for note in list_notes(found))


def test_a_template_that_closes_with_no_token_is_told(tmp_path: Path) -> None:
    content = make_bare()
    assert content.settings is not None
    content.settings["chat_template"] = CHATML.replace("|im_", "|turn_")
    adoption = adopt(content.write(tmp_path / "source"), tmp_path / "out")
    assert any(
        "closes it with none that the tokenizer has added" in n for n in list_notes(adoption)
    )


# --- what else a reader is told


@pytest.mark.parametrize(
    ("name", "default", "other"),
    [("qwen3", "true", "false"), ("qwen3_5_think", "true", "false"), ("glm4moe", "true", "false")],
)
def test_the_thinking_switch_is_told(tmp_path: Path, name: str, default: str, other: str) -> None:
    source = write_pair(tmp_path / "source", Pair("Qwen 2", name))
    kept = adopt(source, tmp_path / "out").notes.kept
    (told,) = [one for one in kept if "thinking switch enable_thinking" in one]
    assert f"unset it is as {default}; " in told
    assert f"arguments = {{ enable_thinking = {other} }}" in told


def test_a_template_without_the_tokenizer_s_bos_is_told(tmp_path: Path) -> None:
    """As transformers asks: without. bos=1 adds it, and env sample says so, too."""
    source = write_pair(tmp_path / "source", Pair("Llama 2", "zephyr"))
    adoption = adopt(source, tmp_path / "out")
    assert any("prompts begin without <s>" in note for note in adoption.notes.guessed)
    tokenizer = open_adopted(tmp_path / "out", adoption)
    assert tokenizer.adds_bos
    assert tokenizer.encode_strictly(ask(PROMPT))[0] != tokenizer.bos


def test_a_template_that_loses_a_question_is_told(tmp_path: Path) -> None:
    source = write_pair(tmp_path / "source", Pair("Llama 2", "llava_next"))
    assert any(
        "leaves out a question" in note for note in adopt(source, tmp_path / "out").notes.guessed
    )


# --- a GGUF file's entries


@NEEDS_GGUF
@pytest.mark.parametrize(
    ("pair", "left", "entries", "puts"),
    [
        (Pair("Gemma", ""), (), {}, True),
        (Pair("Gemma", ""), (), {"ggml.add_bos_token": False}, False),
        (Pair("Gemma", ""), ("add_bos_token",), {}, True),
        (Pair("Llama 2", ""), ("add_bos_token", "bos_token_id", "add_space_prefix"), {}, True),
        (Pair("Llama 3", ""), ("add_bos_token",), {}, True),
        (Pair("SmolLM 2", ""), ("add_bos_token",), {}, False),
        (Pair("Llama 2", "zephyr"), (), {}, True),
        (Pair("Llama 2", "zephyr"), (), {"ggml.add_bos_token": False}, False),
        (Pair("Gemma", "gemma"), (), {}, True),
    ],
    ids=str,
)
def test_a_file_s_bos_token_begins_prompts(
    tmp_path: Path, pair: Pair, left: tuple[str, ...], entries: dict[str, Any], puts: bool
) -> None:
    adoption = adopt(write_pair_gguf(tmp_path / "m.gguf", pair, left, **entries), tmp_path / "out")
    tokenizer = open_adopted(tmp_path / "out", adoption)
    ids = tokenizer.encode_strictly(ask(PROMPT))
    assert tokenizer.bos is not None
    assert (ids[0] == tokenizer.bos) == puts == tokenizer.adds_bos
    assert ids[1] != tokenizer.bos
    assert any("begin" in note or "prompts without" in note for note in list_notes(adoption)) == (
        pair.name != "gemma"
    )


@NEEDS_GGUF
def test_env_sample_warns_where_a_prompt_lacks_a_file_s_bos_token(tmp_path: Path) -> None:
    path = write_pair_gguf(tmp_path / "m.gguf", Pair("Gemma", ""))
    adopt(path, tmp_path / "out")
    for name, warned in (("arithmetic", 0), ("arithmetic,plain=1", 1), ("arithmetic,bos=1", 0)):
        line = ("env", "sample", name, "--n", "1", "--json", "--max-tokens", "1")
        (shown,) = json.loads(run_command(*line, "--model", tmp_path / "out").stdout)
        told = [one for one in shown["warnings"] if "does not begin with the bos_token" in one]
        assert len(told) == warned, shown
        assert shown["text"].startswith("<bos>") == (warned == 0)


@NEEDS_GGUF
def test_a_file_s_entries_of_ends_and_templates_are_used(tmp_path: Path) -> None:
    pair = Pair("Llama 3", "llama3_1")
    pieces = list_pieces(make_pair_core(pair))
    path = write_pair_gguf(
        tmp_path / "m.gguf",
        pair,
        **{
            "ggml.eos_token_id": pieces.index("<|endoftext|>"),
            "ggml.eot_token_id": pieces.index("<|eot_id|>"),
            "ggml.eom_token_id": pieces.index("<|python_tag|>"),
            "ggml.padding_token_id": 1 << 20,
            "ggml.unknown_token_id": -1,
            "ggml.fim_pre_token_id": 1,
            "ggml.add_eos_token": True,
            "chat_template.tool_use": "X",
        },
    )
    adoption = adopt(path, tmp_path / "out")
    assert list_ends(adoption) == ["<|eot_id|>", "<|endoftext|>", "<|python_tag|>"]
    for said in (
        "tokenizer.ggml.fim_pre_token_id: of no use to prompts or answers",
        "tokenizer.ggml.add_eos_token: an answer begins where a prompt ends",
        f"tokenizer.ggml.padding_token_id {1 << 20}: the file has {len(pieces)} tokens",
        f"tokenizer.ggml.unknown_token_id -1: the file has {len(pieces)} tokens",
        "tokenizer_config.json: the templates tool_use: default is used",
    ):
        assert said in adoption.notes.dropped
    # what a template does not close with is still an end
    out = adopt(write_pair_gguf(tmp_path / "b.gguf", Pair("Gemma", "")), tmp_path / "b")
    assert list_ends(out) == ["</s>"]


@NEEDS_GGUF
@pytest.mark.parametrize(
    ("left", "entries", "said"),
    [
        ((), {"ggml.unheard": 3}, r"tokenizer\.ggml\.unheard \(3\) is not known here"),
        ((), {"ggml.add_bos_token": "yes"}, "add_bos_token is 'yes', no bool"),
        ((), {"ggml.model": "t5"}, "its tokenizer is of the kind t5"),
        (("bos_token_id",), {}, "puts a token before each text, and no entry names it"),
        (("chat_template",), {"chat_template.rag": "X"}, "named are rag"),
    ],
    ids=["unknown", "kind", "t5", "no BOS", "no default"],
)
def test_entries_that_nothing_here_does_are_refused(
    tmp_path: Path, left: tuple[str, ...], entries: dict[str, Any], said: str
) -> None:
    path = write_pair_gguf(tmp_path / "m.gguf", Pair("Llama 3", "llama3"), left, **entries)
    with pytest.raises(CheckpointError, match=said) as caught:
        adopt(path, tmp_path / "out")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@NEEDS_GGUF
def test_a_template_may_be_named_for_a_file(tmp_path: Path) -> None:
    """By llama.cpp's rule the file's BOS token comes before what it writes."""
    pair = Pair("Llama 2", "zephyr")
    path = write_pair_gguf(tmp_path / "m.gguf", pair, ("chat_template",))
    for name in ("gemma", "zephyr"):
        text = pair.template if name == "zephyr" else (TEMPLATES / "gemma.jinja").read_text()
        file = write_template(tmp_path / f"{name}.jinja", str(text))
        adoption = adopt(path, tmp_path / name, template=file)
        tokenizer = open_adopted(tmp_path / name, adoption)
        ids = tokenizer.encode_strictly(ask(PROMPT))
        assert ids[:1] == [tokenizer.bos] != ids[1:2]
        said = "it begins with <s>, which the file puts before every text"
        assert any(said in note for note in adoption.notes.converted) == (name == "zephyr")
