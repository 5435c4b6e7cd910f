"""Every reader says the same of a stranger's model folder, wherever it reads it, and none ends."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.store_objects import make_checkpoint_name
from assay.audit.sources import FetchedOutlines
from assay.environments.base import Manner, ask
from assay.inference.checkpoint import load_checkpoint, load_outline
from assay.inference.folder import (
    MANIFEST_FILE,
    SMALL_FILES,
    CheckpointError,
    UnusableCheckpointError,
)
from assay.inference.model_loading import load_model
from assay.inference.tokenizing.folder_tokenizer import wrap_tokenizer
from assay.network.store.folder import open_folder
from assay.training import GENESIS
from tests.hostile_folders import FILES, ODD_FILES, Change, list_changes, write_changed

#: Parts that the changes are in; one of them is tried with each commit.
PARTS = 8
#: Levels of the stack that a deep caller uses; one change in so many is fetched as well.
DEPTH, FETCHED = 300, 6
#: Words of a fault of a config that only its class shows.
CLASS_SAYS = "the class of its model_type"


def name_value(folder: Path, read: Callable[[], Any]) -> str:
    """What a reader makes of a folder: why nobody can use it, or what a prompt and ids become."""
    try:
        tokenizer = read().tokenizer
    except CheckpointError as error:
        told = str(error).replace(str(folder), "FOLDER")
        # what a class that no family describes has to say is this machine's alone
        if not isinstance(error, UnusableCheckpointError) and CLASS_SAYS not in told:
            raise
        return told
    fault = tokenizer.find_template_fault({"sat": Manner()})
    if fault is not None:
        return str(fault)
    ids, text = tokenizer.encode(ask("7+15=?\n")), tokenizer.decode(range(len(tokenizer.drawable)))
    return f"{ids} {text!r} {int(tokenizer.drawable.sum())}"


def go_down(levels: int, call: Callable[[], str]) -> str:
    """Call with so many more levels of the stack in use."""
    return go_down(levels - 1, call) if levels else call()


def fetch_outline(folder: Path, digest: bytes) -> Any:
    """As an auditor and the explorer fetch it."""
    store = open_folder(folder.parent / "store")
    for name in (MANIFEST_FILE, *SMALL_FILES):
        store.put(make_checkpoint_name(digest, name), (folder / name).read_bytes())
    return FetchedOutlines(folder.parent / "fetched", lambda: [store]).get(digest)


@pytest.mark.parametrize("part", range(PARTS))
def test_all_readers_say_the_same(tmp_path: Path, part: int) -> None:
    for number, change in enumerate(list_changes()[part::PARTS]):
        folder = tmp_path / str(number) / "folder"
        digest = write_changed(folder, change)
        value = name_value(folder, lambda f=folder, d=digest: load_checkpoint(f, d))
        assert value.startswith("[") == change.fine, (change.about, value)
        assert change.fine or value.count("\n") == 0
        if not change.fine:
            assert change.file in value, value
        with ThreadPoolExecutor(1) as thread:
            others = [
                thread.submit(name_value, folder, lambda f=folder, d=digest: load_outline(f, d))
            ]
            others = [other.result() for other in others]
        others.append(
            go_down(DEPTH, lambda f=folder, d=digest: name_value(f, lambda: load_outline(f, d)))
        )
        # what only tensors show, or only a class that no family describes
        words = "shape", "layers", CLASS_SAYS
        if not any(word in value for word in words):
            assert {*others} == {value}, (change.about, others)
        if number % FETCHED == 0 and {*others} == {value}:
            there = folder.parent / "fetched" / "1" / digest.hex()
            fetched = name_value(there, lambda f=folder, d=digest: fetch_outline(f, d))
            assert fetched == value, change.about


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_json_is_of_no_use(tmp_path: Path, name: str) -> None:
    digest = write_changed(tmp_path / "folder", FILES[name])
    with pytest.raises(UnusableCheckpointError, match=name.partition(":")[0]):
        load_outline(tmp_path / "folder", digest)


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_file_that_is_none_of_the_folders_is_our_own_affair(tmp_path: Path, name: str) -> None:
    """Nobody else has such a file, so it voids nothing. A pipe holds nobody up."""
    folder = tmp_path / "folder"
    digest = write_changed(folder, lambda folder: None)
    ODD_FILES[name](folder)
    with pytest.raises(CheckpointError, match=name.partition(":")[0]) as caught:
        load_checkpoint(folder, digest)
    assert type(caught.value) is CheckpointError


def test_what_nobody_can_use_is_opened_once(tmp_path: Path, monkeypatch: Any) -> None:
    """Programs ask at every step, and hashing a large checkpoint takes a minute."""
    change = next(change for change in list_changes() if not change.fine)
    digest = write_changed(tmp_path / "by-hand", change)
    checkpoints = CheckpointFolder(tmp_path / "models")
    checkpoints.add(tmp_path / "by-hand", digest)
    with pytest.raises(UnusableCheckpointError) as first:
        checkpoints.get(digest)
    (tmp_path / "models" / digest.hex() / MANIFEST_FILE).unlink()
    with pytest.raises(UnusableCheckpointError) as second:
        checkpoints.get(digest)
    assert str(first.value) == str(second.value)


def test_a_change_is_none_of_the_generators_doing(tmp_path: Path) -> None:
    """The folder without a change can be used, so each refusal is its change's."""
    digest = write_changed(tmp_path / "folder", Change("none", "config.json", ()))
    assert load_checkpoint(tmp_path / "folder", digest).manifest.digest == digest


def test_a_panic_of_the_library_is_a_value() -> None:
    """Parts beyond the list panic at some ids and texts, in the library's own words. Whoever asks
    goes on, and the next answer is right."""
    core = Tokenizer(models.WordLevel({" ": 0, "a": 1, "b": 2}, unk_token="b"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"(a|aa)+$b|[\s\S]"), "isolated")
    core.decoder = decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 1, 1)])
    library = PreTrainedTokenizerFast(tokenizer_object=core)
    tokenizer = wrap_tokenizer(library, 3, ())
    with pytest.raises(BaseException, match=r"range|slice") as caught:
        core.decode([0])
    assert not isinstance(caught.value, Exception)
    for _ in range(2):
        assert tokenizer.decode([0]) == ""
        assert tokenizer.decode([0, 1, 0]) == "a"
        assert tokenizer.encode(ask("a" * 400)) == [0]  # it backtracks until it gives up
        assert tokenizer.encode(ask("ab")) == [1, 2]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "holds no \\*.safetensors file"),
        (("m-00001-of-00003", "m-00003-of-00003"), "m-00002-of-00003.safetensors is missing"),
        (("model",), "model.safetensors is not safetensors"),
    ],
)
def test_an_incomplete_download_is_named(tmp_path: Path, names: Sequence[str], said: str) -> None:
    shutil.copytree(GENESIS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    for name in names:
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n"
        (tmp_path / f"{name}.safetensors").write_bytes(pointer)
    with pytest.raises(CheckpointError, match=said):
        load_model(tmp_path)
