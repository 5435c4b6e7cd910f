"""Two validators with two versions of transformers are a calibrated pair: on a model of every
family their margins stay within what the network allows a pair.

`make libraries` sets OTHER_LIBRARY: a Python with another version."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assay.inference.calibration import (
    Side,
    compute_gini,
    compute_survival,
    iterate_logits,
    sum_margins,
)
from assay.inference.families import FAMILIES
from assay.protocol.parameters import FRACTION_BITS, SMALL_MODEL_TESTS
from assay.sandbox.secret_variables import list_plain_variables
from tests.inference.library_pair import TEMPERATURE, make_passages, read_folder

ROOT = Path(__file__).parents[2]
OTHER = os.environ.get("OTHER_LIBRARY")  # noqa: TID251 - as the Makefile names it


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the other version has read of its own folders."""
    if OTHER is None:
        pytest.skip("make libraries sets OTHER_LIBRARY")
    out = tmp_path_factory.mktemp("other")
    asked = "import transformers; print(transformers.__version__)"
    versions = {
        subprocess.run([python, "-c", asked], capture_output=True, check=True).stdout
        for python in (OTHER, sys.executable)
    }
    assert len(versions) == 2, "both are one version"
    found = list_plain_variables()
    found["PYTHONPATH"] = os.pathsep.join((str(ROOT), found.get("PYTHONPATH", "")))
    subprocess.run([OTHER, "-m", "tests.inference.library_pair", out], env=found, check=True)
    return out


@pytest.mark.parametrize("kind", FAMILIES)
def test_two_versions_agree_within_the_caps_rule(folders: Path, kind: str) -> None:
    reference, states = read_folder(folders / kind)
    stored = load_file(folders / f"{kind}.safetensors")
    theirs = [stored[str(i)] for i in range(len(stored))]
    tests = SMALL_MODEL_TESTS
    levels = (*tests.margin_levels, tests.margin_cap)
    taus = torch.tensor([level / (1 << FRACTION_BITS) for level in levels], dtype=torch.float64)
    survival, gini = [], []
    for _, drawn, judged in iterate_logits(Side(reference, theirs), Side(reference, states)):
        survival.append(compute_survival(drawn, judged, taus, 1.0))
        gini.append(compute_gini(judged))
    curve = sum_margins(torch.cat(survival).numpy(), torch.cat(gini).numpy())
    rates = curve.fit(len(levels), TEMPERATURE / 1024).rates
    assert curve.tokens == sum(len(passage.completion) for passage in make_passages())
    assert rates[-1] <= 10**8  # at most 1e-10 beyond the cap
    assert all(rate <= most for rate, most in zip(rates, tests.rate_limits, strict=False))
