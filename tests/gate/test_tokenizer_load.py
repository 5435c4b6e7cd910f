"""Tokenizers of legal files that would cost far more than an honest one: counted before a library
or a parser sees them."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from assay.gate import tokenizer_files
from assay.gate.tokenizer_file import MARKS_MAX, find_size_fault
from assay.gate.tokenizer_settings import find_added_fault
from assay.inference.folder import UnusableCheckpointError
from assay.inference.tokenizing import folder_tokenizer
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.training import GENESIS
from tests.hostile_folders import CORE, SETTINGS

ROWS = 1 << 20
FLAGS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were parsed. The library must not be asked at all."""
    parsed: list[str] = []

    def parse(name: str, data: bytes) -> Any:
        parsed.append(name)
        return json.loads(data)

    monkeypatch.setattr(tokenizer_files, "_parse", parse)
    monkeypatch.setattr(folder_tokenizer, "PreTrainedTokenizerFast", None)
    return parsed


def write(folder: Path, settings: dict[str, Any], added: list[dict[str, Any]]) -> Path:
    shutil.copytree(GENESIS, folder)
    core = json.loads((folder / CORE).read_text())
    at = 1 + max(token["id"] for token in core["added_tokens"])
    at = max(at, len(core["model"]["vocab"]))
    core["added_tokens"] += [{"id": at + number, **token} for number, token in enumerate(added)]
    (folder / CORE).write_text(json.dumps(core))
    known = json.loads((folder / SETTINGS).read_text())
    (folder / SETTINGS).write_text(json.dumps(known | settings))
    return folder


def test_five_mib_of_added_tokens_never_reach_the_library(
    tmp_path: Path, unseen: list[str]
) -> None:
    """They took .6 GB and 15 processor seconds of every program."""
    added = [{"content": f"{number}".ljust(512, "x"), **FLAGS} for number in range(10_000)]
    with pytest.raises(UnusableCheckpointError, match=r"count 5,28.,... bytes"):
        load_tokenizer(write(tmp_path / "core", {}, added), ROWS)
    texts = [f"{number}".ljust(512, "x") for number in range(4_000)]
    with pytest.raises(UnusableCheckpointError, match=r"count 2,11.,... bytes"):
        load_tokenizer(write(tmp_path / "settings", {"extra_special_tokens": texts}, []), ROWS)
    assert unseen == [CORE, SETTINGS] * 2


def test_millions_of_values_are_never_parsed(tmp_path: Path, unseen: list[str]) -> None:
    """64 MiB of empty lists take 1.6 GB."""
    folder = write(tmp_path / "folder", {}, [])
    (folder / CORE).write_bytes(b"[" + b"[]," * (MARKS_MAX // 2) + b"0]")
    with pytest.raises(UnusableCheckpointError, match=r"of the bytes \[ \{ , :"):
        load_tokenizer(folder, ROWS)
    assert not unseen


@pytest.mark.parametrize(
    ("count", "text", "normalizer"),
    [
        (6_415, "<unused{}>", {"type": "Replace"}),  # Gemma 3
        (256, "<|reserved_special_token_{}|>", None),  # Llama 3
        (1_300, "<|reserved_special_token_{}|>", None),  # Llama 4
        (26, "<|vision_bos_{}|>", {"type": "NFC"}),  # Qwen 3
        (818, "<\uff5cplace\u2581holder\u2581no\u2581{}\uff5c>", None),  # DeepSeek V3
    ],
)
def test_what_people_use_is_let_pass(count: int, text: str, normalizer: Any) -> None:
    tokens = [{"content": text.format(number), "normalized": False} for number in range(count)]
    core = {"normalizer": normalizer, "added_tokens": tokens}
    texts = [token["content"] for token in tokens[:20]]
    assert find_added_fault(core, {"extra_special_tokens": texts}) is None


def test_a_file_of_the_largest_that_people_use_is_let_pass() -> None:
    """Gemma 3: 262,144 entries, 514,906 merges as pairs, 6,415 added tokens of 7 fields."""
    entries, merges, added = b'"a":1,' * 262_144, b'["a","b"],' * 514_906, b'{"a":1},' * 6_415
    assert find_size_fault(entries + merges + added * 7) is None


def test_files_with_the_same_bytes_are_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_tokenizer(GENESIS, 98)
    copied = tmp_path / "copy"
    copied.mkdir()
    for name in (CORE, SETTINGS):
        shutil.copyfile(GENESIS / name, copied / name)
    with monkeypatch.context() as patched:
        patched.setattr(folder_tokenizer, "check_tokenizer_files", lambda *_: pytest.fail("read"))
        assert load_tokenizer(copied, 98) is first
    with pytest.raises(UnusableCheckpointError):
        load_tokenizer(copied, 1)  # the gate's answer depends on it
    assert load_tokenizer(GENESIS, 98) is first  # what is refused takes no place
    (copied / SETTINGS).write_text("[]")
    with pytest.raises(UnusableCheckpointError):
        load_tokenizer(copied, 98)


def test_a_tokenizer_that_is_shared_can_be_used_while_another_one_is_made_of_it() -> None:
    """The library refuses a call that changes what another thread's call reads."""
    shared = load_tokenizer(GENESIS, 98)
    used = make_tokenizer(GENESIS, shared, 98, (0,))
    with ThreadPoolExecutor(1) as pool:
        ids = pool.submit(lambda: [used.encode_text("12 + 30 = " * 20_000) for _ in range(20)])
        while not ids.done():
            make_tokenizer(GENESIS, shared, 98, (1,))
    assert len({tuple(one) for one in ids.result()}) == 1
