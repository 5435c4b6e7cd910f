"""A name of the Hub, and what is a path."""

import pytest

from assay.network.hub.names import HubError, HubName, find_hub_name, parse_hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Qwen/Qwen3-4B", "model", HubName("model", "Qwen/Qwen3-4B")),
        ("org/name@v1.0", "model", HubName("model", "org/name", "v1.0")),
        (f"org/name@{COMMIT}", "dataset", HubName("dataset", "org/name", COMMIT)),
        ("o/n/main/a.parquet", "dataset", HubName("dataset", "o/n", None, "main/a.parquet")),
        ("o/n@r/a.jsonl", "dataset", HubName("dataset", "o/n", "r", "a.jsonl")),
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
