"""A name of the Hub, and what is a path."""

from pathlib import Path

import pytest

from assay.network.hub.names import HubError, HubName, find_hub_name, parse_hub_name
from assay.network.hub.origin import Origin, name_source, write_origin

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Qwen/Qwen3-4B", "model", HubName("model", "Qwen/Qwen3-4B")),
        ("org/name@v1.0", "model", HubName("model", "org/name", "v1.0")),
        (f"org/name@{COMMIT}", "dataset", HubName("dataset", "org/name", COMMIT)),
        ("o/n/main/a.parquet", "dataset", HubName("dataset", "o/n", None, "main/a.parquet")),
        ("o/n@r/a.jsonl", "dataset", HubName("dataset", "o/n", "r", "a.jsonl")),
        (
            "o/n/my data+v2 #1.jsonl",
            "dataset",
            HubName("dataset", "o/n", None, "my data+v2 #1.jsonl"),
        ),
        # the addresses of pages
        ("https://huggingface.co/o/n", "model", HubName("model", "o/n")),
        ("hf.co/o/n/tree/main", "model", HubName("model", "o/n", "main")),
        ("https:/huggingface.co/datasets/o/n", "dataset", HubName("dataset", "o/n")),
        (
            "https://huggingface.co/datasets/o/n/viewer/main/train?row=3",
            "dataset",
            HubName("dataset", "o/n"),
        ),
        (
            "https://huggingface.co/datasets/o/n/tree/main/socratic",
            "dataset",
            HubName("dataset", "o/n", "main", "socratic"),
        ),
        (
            "https://huggingface.co/datasets/o/n/blob/refs/convert/parquet/main/0.parquet",
            "dataset",
            HubName("dataset", "o/n", "refs/convert/parquet", "main/0.parquet"),
        ),
        (
            "http://www.huggingface.co/datasets/o/n/resolve/refs%2Fpr%2F3/my%20data.jsonl?download=1",
            "dataset",
            HubName("dataset", "o/n", "refs/pr/3", "my data.jsonl"),
        ),
        # a path loses a slash
        ("hf:/o/n@refs/pr/3/x", "model", HubName("model", "o/n", "refs/pr/3", "x")),
        ("hf://datasets/o/n", "dataset", HubName("dataset", "o/n")),
        ("hf://here/name", "model", HubName("model", "here/name")),
        # paths
        ("here/name", "model", None),
        ("here", "model", None),
        ("nowhere", "model", None),
        ("./org/name", "model", None),
        ("/org/name", "model", None),
        ("../org/name", "model", None),
        ("problems/train.jsonl", "dataset", None),
        ("a" * 5_000 + "/b\0", "model", None),
    ],
)
def test_what_is_a_name_and_what_a_path(text, kind, expected, tmp_path, monkeypatch):
    (tmp_path / "here" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_hub_name(text, kind) == expected


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("here/other", "model", "write hf://here/other for the model"),
        ("here/other", "dataset", "write hf://datasets/here/other for the data set"),
        ("hf://datasets/o/n", "model", "is no model"),
        ("hf://o/n", "dataset", "is no data set"),
        ("https://huggingface.co/o/n", "dataset", "is no data set"),
        ("https://huggingface.co/datasets/o/n", "model", "is no model"),
        ("https://huggingface.co/datasets", "dataset", "is no name on the Hub"),
        ("hf://o", "model", "is no name on the Hub"),
        ("hf://o/n/../x", "model", "is no name on the Hub"),
        ("o/n--m", "model", "is no name on the Hub"),
    ],
)
def test_a_text_that_could_be_both_or_neither(text, kind, words, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match=words):
        find_hub_name(text, kind)


def test_only_a_full_id_is_a_commit():
    assert parse_hub_name(f"o/n@{COMMIT}", "model").commit == COMMIT
    assert parse_hub_name(f"o/n@{COMMIT[:12]}", "model").commit is None


@pytest.mark.parametrize(
    ("kind", "path", "named", "called"),
    [
        ("model", "", "", ""),
        ("model", "q4", "a.gguf", "/q4/a.gguf"),
        ("dataset", "", "main/test.parquet", "/main/test.parquet"),
    ],
)
def test_a_download_is_called_as_others_know_it(kind, path, named, called, tmp_path):
    folder = tmp_path / COMMIT
    for name in ("config.json", "a.gguf", "main/test.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert name_source(folder / named) == (Path(named).name or COMMIT)
    files = {"config.json": "x", "a.gguf": "x", "main/test.parquet": "x"}
    write_origin(folder, Origin("https://hub", kind, "org/name", "v1", COMMIT, path, files))
    assert name_source(folder / named) == f"org/name@{COMMIT}{called}"
