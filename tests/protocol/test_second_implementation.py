"""Vectors and a whole run against an implementation in another language, which shares no code with
this one and was written from the specification alone.

It reads its records off the specification's tables, writes every value that the vectors hold, and
judges a demo's windows again from public data, the model in doubles.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.absent import has_sandbox
from tests.second_implementation import NODE, VECTORS, check

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def test_the_second_implementation_agrees_with_every_vector(
    checked_vectors: subprocess.CompletedProcess[str],
) -> None:
    done = checked_vectors
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 400
    assert ("no program is run" in done.stdout) != has_sandbox()
    assert ("code:SHA256" in done.stdout) == has_sandbox()


@pytest.mark.nightly
def test_it_runs_programs_in_the_image_alone(tmp_path: Path) -> None:
    """Of other bytes under its name it says that the image is missing."""
    vector = json.loads((VECTORS / "code.json").read_bytes())
    (tmp_path / "code.json").write_text(json.dumps(vector))
    folder = tmp_path / ".cache/assay/sandbox"
    folder.mkdir(parents=True)
    (folder / f"{vector['image'][:16]}.wasm").write_bytes(b"\0asm")
    command = [str(NODE), str(VECTORS / "second" / "check.js"), str(tmp_path)]
    done = subprocess.run(
        command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert "no program is run" in done.stdout


def find_numbers(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths of all integers, but those of inputs that are to be refused."""
    if isinstance(value, dict):
        pairs = [(k, v) for k, v in value.items() if not k.startswith("bad")]
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return [path] if type(value) is int else []
    return [found for key, inner in pairs for found in find_numbers(inner, (*path, key))]


@pytest.mark.parametrize(
    "name",
    [
        "arithmetic",
        "bit_fields",
        pytest.param("code", marks=pytest.mark.nightly),
        "errands",
        "gsm_file",
        "gumbel",
        "instructions",
        "levels",
        "prefix_code",
        "record",
        "sat",
        "selection",
        "settlement",
        "submission",
        "trial",
        "weights",
        "worth",
    ],
)
def test_it_sees_a_value_that_is_off_by_one(name: str, tmp_path: Path) -> None:
    vector = json.loads((VECTORS / f"{name}.json").read_bytes())
    *path, last = find_numbers(vector)[-1]
    place = vector
    for key in path:
        place = place[key]
    place[last] += 1
    (tmp_path / f"{name}.json").write_text(json.dumps(vector))
    assert check(tmp_path).returncode == 1


def judge(bundle: Path, models: Path, *last: str) -> subprocess.CompletedProcess[str]:
    command = [str(NODE), str(VECTORS / "second" / "judge.js"), str(bundle), str(models), *last]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize(
    ("last", "values"), [(["1"], 40), pytest.param([], 300, marks=pytest.mark.nightly)]
)
def test_the_second_implementation_judges_a_run_alike(
    played_document: dict[str, Any], last: list[str], values: int
) -> None:
    """Every verdict, value, score, weight and record of it, or of its last settlement, and every
    witness within a step."""
    folder = Path(played_document["folder"])
    done = judge(folder / "bundle", folder / "models", *last)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > values


def test_it_says_what_it_cannot_read(played_document: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(played_document["folder"])
    assert judge(tmp_path, folder / "models").returncode == 2
    bundle = tmp_path / "bundle"
    shutil.copytree(folder / "bundle", bundle)
    record = next((bundle / "store").glob("*/window-*.record"))
    record.write_bytes(record.read_bytes()[:-1] + b"x")
    done = judge(bundle, folder / "models")
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert record.name in done.stdout
