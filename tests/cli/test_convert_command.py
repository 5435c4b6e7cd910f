"""`assay convert`, and `assay export` with files: they name the written files, and faults."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from assay.cli.app import app
from assay.protocol.ss58 import encode_ss58
from tests.artifacts.conftest import HOTKEY, Shown, make_groups, show


@pytest.fixture(scope="module")
def shown() -> Shown:
    return show(make_groups(4))


@pytest.fixture
def file(shown: Shown, tmp_path: Path) -> Path:
    path = tmp_path / "window-1000.rollouts"
    path.write_bytes(shown.data)
    return path


def invoke(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)])


def test_convert_says_what_it_wrote(shown: Shown, file: Path) -> None:
    result = invoke("convert", file, "--to", "parquet", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["out"] == str(file.with_suffix(".parquet"))
    assert document["rollouts"] == 16
    assert document["root"] == shown.committed.root.hex()
    assert document["hotkey"] == encode_ss58(HOTKEY)
    assert pq.read_table(document["out"]).num_rows == 16
    again = invoke("convert", file)
    assert again.exit_code == 2
    assert "is there already: remove it, or name another with --out" in again.stderr
    named = invoke("convert", file, "--out", file.with_name("new") / "b.parquet")
    assert named.exit_code == 0, named.output
    assert "16 rollouts of 4 groups" in named.stdout


@pytest.mark.parametrize("words", [["gone.rollouts"], ["."], ["app.rollouts", "--to", "csv"]])
def test_convert_refuses_in_one_line(tmp_path: Path, words: list[str]) -> None:
    result = invoke("convert", tmp_path / words[0], *words[1:])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


def test_convert_cannot_write_into_a_file(file: Path) -> None:
    result = invoke("convert", file, "--out", file / "a.parquet")
    assert result.exit_code == 2
    assert "a.parquet cannot be written" in result.stderr


def test_export_takes_files(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    result = invoke("export", file, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["rollouts"] == 16
    assert [one["window"] for one in document["files"]] == [1000]
    again = invoke("export", file, "--out", out)
    assert again.exit_code == 2
    assert "is not empty: name another folder" in again.stderr
    chosen = invoke("export", file, "--out", tmp_path / "more", "--windows", "1..2")
    assert chosen.exit_code == 2
    assert "leave out these" in chosen.stderr
