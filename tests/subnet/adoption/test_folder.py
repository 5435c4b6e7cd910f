"""An adopted folder appears whole or not at all, and a checkpoint goes back to other programs."""

import json
import shutil
import signal
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
import torch
import typer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from assay.cli.app import app
from assay.cli.exits import cleaning_up
from assay.environments.base import Conversation, Message, ask
from assay.gate.chat_template import ChatTemplate
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import CheckpointError, digest_tensors
from assay.network.hub.origin import Origin, write_origin
from assay.subnet.adoption import adopt as adoption_module
from assay.subnet.adoption.adopt import (
    adopt_model,
    export_checkpoint,
    find_unadopted,
    make_folder,
    plan_adoption,
    write_adoption,
)
from assay.subnet.adoption.texts import BARE_TEMPLATE
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training import GENESIS
from tests.commands import run_command
from tests.disks import filling
from tests.hub_folders import CHATML, FOLDERS, make_llama, make_qwen


def test_a_folder_that_is_there_stays(tmp_path: Path) -> None:
    source = make_qwen().write(tmp_path / "source")
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match="already exists"):
        adopt_model(source, tmp_path / "out", probes=False)
    assert [*(tmp_path / "out").iterdir()] == []


def test_the_commit_that_a_model_is_from_stays_named(tmp_path: Path) -> None:
    source = make_qwen().write(tmp_path / "source")
    origin = Origin(
        "https://hub.example", "model", "org/name", "v1", "c" * 40, "", {"config.json": "sha1:0"}
    )
    write_origin(source, origin)
    adopt_model(source, tmp_path / "out", probes=False)
    adopt_model(tmp_path / "out", tmp_path / "again", probes=False)
    for folder in ("out", "again"):
        written = json.loads((tmp_path / folder / "adoption.json").read_text())
        assert written["origins"] == {"source": origin.to_json()}


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    source = make_qwen().write(tmp_path / "source")

    def stop_late() -> None:
        with plan_adoption(source) as adoption, make_folder(tmp_path / "out") as folder:
            write_adoption(adoption, folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_late()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_sigterm_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def stop_late() -> None:
        with cleaning_up(), make_folder(tmp_path / "out") as folder:
            (folder / "model.safetensors").write_bytes(b"half")
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(typer.Exit) as ended:
        stop_late()
    assert ended.value.exit_code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "assay: stopped\n"
    assert not [*tmp_path.iterdir()]
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_a_killed_program_left_is_removed_and_two_never_write_one_folder(
    tmp_path: Path,
) -> None:
    source, out = make_qwen().write(tmp_path / "source"), tmp_path / "out"
    left = tmp_path / ".out.adopting"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    with make_folder(out), pytest.raises(CheckpointError, match="another program is writing"):
        adopt_model(source, out, probes=False)
    shutil.rmtree(out)
    left.mkdir()
    (left / "other.safetensors").write_bytes(b"half")
    adopt_model(source, out, probes=False)
    assert not left.exists()
    assert not (out / "other.safetensors").exists()


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_qwen().write(tmp_path / "source")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        adoption_module.shutil, "disk_usage", lambda folder: usage(1 << 20, 0, 1 << 20)
    )
    with pytest.raises(CheckpointError, match="1 MiB free and the model needs 1: make room"):
        adopt_model(source, tmp_path / "out", probes=False)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_links_out_of_the_folder_are_followed(tmp_path: Path) -> None:
    """A hub's cache is made of them."""
    made = make_qwen().write(tmp_path / "blobs")
    source = tmp_path / "snapshot"
    source.mkdir()
    for path in made.iterdir():
        (source / path.name).symlink_to(path)
    adopt_model(source, tmp_path / "out", probes=False)
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def test_the_model_itself_is_tried(tmp_path: Path) -> None:
    said: list[str] = []
    source = make_qwen().write(tmp_path / "source")
    adoption = adopt_model(source, tmp_path / "out", report=said.append)
    assert any("probes hold: logits differ by at most" in text for text in adoption.notes.kept)
    kept = json.loads((tmp_path / "out" / "adoption.json").read_text())["kept"]
    assert kept == adoption.notes.kept
    tried = ["loading the model", "trying whether it can be measured in packs"]
    assert said == [f"reading {source}", *tried]


def test_a_model_that_memory_does_not_hold_is_adopted_untried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption_module, "get_free_memory", lambda device: 1_000)
    source = make_qwen().write(tmp_path / "source")
    adoption = adopt_model(source, tmp_path / "out")
    assert any("to try it takes" in text for text in adoption.notes.guessed)


def test_the_command_prints_one_document_and_keeps_it(tmp_path: Path) -> None:
    source = make_qwen(eos_token_id=[256, 258]).write(tmp_path / "source")
    line = ["adopt", str(source), "--out", str(tmp_path / "out"), "--json", "--end-token", "256"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["end_tokens"] == [{"id": 256, "text": "<|endoftext|>"}]
    written = json.loads((tmp_path / "out" / "adoption.json").read_text())
    kinds = ("kept", "dropped", "converted", "guessed")
    assert {kind: document[kind] for kind in kinds} == {kind: written[kind] for kind in kinds}
    done = CliRunner().invoke(app, line)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("already exists: name a new folder\n")


def test_chosen_end_tokens_stay_chosen(tmp_path: Path) -> None:
    """A second adoption, such as that of publish, does not find others."""
    source = make_qwen(eos_token_id=[256, 258]).write(tmp_path / "source")
    first = adopt_model(source, tmp_path / "one", ["<|endoftext|>"], probes=False)
    second = adopt_model(tmp_path / "one", tmp_path / "two", probes=False)
    assert first.end_tokens == second.end_tokens == (256,)
    assert find_unadopted(tmp_path / "one") is None
    with pytest.raises(CheckpointError, match="end token '<none>' is no token"):
        adopt_model(source, tmp_path / "three", ["<none>"], probes=False)
    twice = adopt_model(source, tmp_path / "twice", ["258", "258"], probes=False)
    assert twice.end_tokens == (258,)
    with pytest.raises(CheckpointError, match="17 tokens are to end a completion: at most 16"):
        adopt_model(source, tmp_path / "many", [*map(str, range(17))], probes=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "source", "twice", "two"]


def test_a_config_that_leaves_a_number_to_the_library_is_not_adopted(tmp_path: Path) -> None:
    adopt_model(make_qwen().write(tmp_path / "source"), tmp_path / "one", probes=False)
    file = tmp_path / "one" / "config.json"
    config = json.loads(file.read_text())
    del config["rms_norm_eps"]
    file.write_text(json.dumps(config))
    assert find_unadopted(tmp_path / "one") == "sets rms_norm_eps of config.json to 1e-06"


def test_an_unadopted_folder_is_not_calibrated(tmp_path: Path) -> None:
    source = make_llama(None, eos_token_id=259).write(tmp_path / "source")
    with pytest.raises(CheckpointError, match=r"is not as .*: run assay adopt .* --out NEW"):
        make_genesis(source, 4)
    assert find_unadopted(GENESIS) is None


@pytest.mark.parametrize("name", ["Qwen", "Llama"])
def test_others_open_an_exported_checkpoint_and_compute_the_same(tmp_path: Path, name: str) -> None:
    content = make_qwen() if name == "Qwen" else make_llama(eos_token_id=[257, 259])
    adopt_model(content.write(tmp_path / "source"), tmp_path / "model", probes=False)
    make_genesis(tmp_path / "model", 4, problems=2)
    adoption = export_checkpoint(tmp_path / "model", tmp_path / "out")
    checkpoint = load_checkpoint(tmp_path / "model")
    assert adoption.end_tokens == checkpoint.manifest.end_tokens
    assert digest_tensors(tmp_path / "out") == digest_tensors(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    prompt = "7+15=?\n"
    messages = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert ids == checkpoint.tokenizer.encode(ask(prompt))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert model.generation_config.eos_token_id == list(adoption.end_tokens)
    row = torch.tensor([ids])
    with torch.inference_mode():
        assert torch.equal(model(row).logits, checkpoint.model(row).logits)


@pytest.mark.parametrize(("limit", "exported"), [(100, False), (30_000, False), (30_000, True)])
def test_a_disk_that_fills_is_one_line_and_leaves_nothing(
    tmp_path: Path, limit: int, exported: bool
) -> None:
    """That of temporary files, and that of tensors."""
    source, out = make_qwen().write(tmp_path / "source"), tmp_path / "out"
    if exported:
        adopt_model(source, tmp_path / "model", probes=False)
        make_genesis(tmp_path / "model", 4, problems=2)
        source = tmp_path / "model"
    before = sorted(tmp_path.iterdir())
    arguments = ("--export", source) if exported else (source,)
    with filling(limit):
        done = run_command("adopt", *arguments, "--out", out)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()[-1:]
    place = tempfile.gettempdir() if limit == 100 else f"{out}: "
    assert line.startswith(f"assay: {place}")
    assert line.endswith(": File too large")
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_checkpoint_is_not_exported(tmp_path: Path) -> None:
    shutil.copytree(GENESIS, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="are not those of its manifest"):
        export_checkpoint(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_null_stays_null(tmp_path: Path) -> None:
    """A Mistral without a window must not get that of its class."""
    source = FOLDERS["no window, which the class would have"].make().write(tmp_path / "source")
    adoption = adopt_model(source, tmp_path / "out", probes=False)
    assert adoption.config["sliding_window"] is None
    assert AutoConfig.from_pretrained(tmp_path / "out").sliding_window is None


def test_a_template_stays_what_it_was(tmp_path: Path) -> None:
    adopt_model(make_qwen().write(tmp_path / "source"), tmp_path / "out", probes=False)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == CHATML


@pytest.mark.parametrize("shape", ["a template of no text", "a template's file of no text"])
def test_no_prompt_is_empty_by_an_empty_template(tmp_path: Path, shape: str) -> None:
    """None is written, so that other programs ask the same; a network takes no such folder as it
    is."""
    source = FOLDERS[shape].make().write(tmp_path / "source")
    adoption = adopt_model(source, tmp_path / "out", probes=False)
    assert "chat_template" not in json.loads(adoption.texts.files["tokenizer_config.json"])
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template is None
    assert find_unadopted(source) is not None
    assert find_unadopted(tmp_path / "out") is None


def test_the_template_of_a_base_model_says_every_message() -> None:
    asked = Conversation(
        (
            Message("system", "Think."),
            Message("user", "1+1?"),
            Message("assistant", "2"),
            Message("user", "7+7?"),
        )
    )
    rendered = ChatTemplate(BARE_TEMPLATE, {"bos_token": "<s>"}).render(asked.messages)
    assert rendered == "<s>" + asked.text == "<s>Think.\n\n1+1?2\n\n7+7?"
