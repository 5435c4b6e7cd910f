"""Triton's kernels without a card: interpreted against the rule, and compiled for cards.

Both in processes of their own: whether Triton interprets is decided when it is imported.
"""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from assay.inference import split
from assay.inference.draws import sampler
from assay.inference.draws.sampler import KeyedSampler, make_keys

ROOT = Path(__file__).parents[2]


def run(*arguments, **environment):
    """A program's output, in the repository's root."""
    out = ("TRITON_", "PYTEST_", "PYTHONSAFEPATH")
    given = {k: v for k, v in os.environ.items() if not k.startswith(out)}  # noqa: TID251
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=given | environment,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "when", ["not nightly", pytest.param("nightly", marks=pytest.mark.nightly)]
)
def test_interpreted_they_are_the_rule(when):
    """Every case of both files, which need no fixture: those of this folder would
    load all of transformers."""
    pytest.importorskip("triton")
    files = "interpreted_kernels.py", "interpreted_products.py"
    cases = "--noconftest", "-m", when, *(f"tests/inference/{file}" for file in files)
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *cases, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-8_000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.nightly
def test_they_compile_for_cards(tmp_path):
    """For Ampere and Hopper, by the assembler that Triton brings."""
    pytest.importorskip("triton")
    compiling = ("-m", "tests.inference.compiled_kernels", "80", "90")
    done = run(*compiling, TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-4_000:]
    sizes = json.loads(done.stdout)
    assert [len(kernels) for kernels in sizes.values()] == [11, 11]
    assert all(size > 0 for kernels in sizes.values() for size in kernels.values())


@pytest.mark.parametrize("fault", [RuntimeError("Failed to find C compiler"), ImportError("none")])
def test_tensors_draw_if_the_kernels_do_not_run(monkeypatch, fault):
    """On a card without a compiler, say: a warning, once, and the same tokens."""

    def fail(*_):
        raise fault

    monkeypatch.setattr(sampler, "try_out", fail)
    monkeypatch.setattr(sampler, "is_for_a_cpu", lambda _: False)
    monkeypatch.setattr(sampler, "is_for_a_card", lambda _: True)
    sampler.load_card_kernels.cache_clear()
    keyed = KeyedSampler(np.ones(100, bool), 1_024)
    row = torch.randn(3, 100), make_keys([bytes(32)] * 3), torch.arange(3)
    with pytest.warns(RuntimeWarning, match="Triton does not compile here"):
        drawn = keyed.draw(*row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = keyed.draw(*row)
    sampler.load_card_kernels.cache_clear()
    expected = keyed.draw_on_tensors(*row)
    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


@pytest.mark.parametrize("fault", [RuntimeError("products are wrong"), ImportError("none")])
def test_the_library_multiplies_if_the_kernels_do_not_run(monkeypatch, fault):
    def fail(*_):
        raise fault

    monkeypatch.setattr(split, "try_out", fail)
    split.load_split_kernels.cache_clear()
    with pytest.warns(RuntimeWarning, match="split products by the library"):
        assert split.load_split_kernels(torch.device("cuda:0")) is None
    split.load_split_kernels.cache_clear()


def test_a_processor_multiplies_by_itself():
    splitter = split.Splitter(3)
    for device in ("cpu", "meta"):
        assert splitter.load_kernels(torch.empty(2, 3, device=device)) is None
