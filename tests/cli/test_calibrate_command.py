"""`assay calibrate`: its measurements, files and refusals."""

import json
import shutil
import signal
import subprocess
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from assay.cli.commands.calibrate import require_pair
from assay.inference.families import FAMILIES
from assay.inference.folder import CheckpointError
from assay.inference.implementations import ImplementationError
from assay.inference.pair_report import CAP_RATE_MAX
from assay.lab.calibration import calibrate as compare_pair
from assay.protocol.encoding import from_json
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.settings.loading import ConfigError
from assay.settings.sections import CalibrateSettings, ComputeSettings
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training import GENESIS
from tests.charts.pictures import read_texts
from tests.commands import run_program, start_program
from tests.inference.family_models import RAMP, get_tensors, make_config, make_model, write_config

LEVELS = len(SMALL_MODEL_TESTS.margin_levels)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the other workers of a test run need the other threads
    yield
    torch.set_num_threads(threads)


def calibrate(out, **changes):
    settings = CalibrateSettings(model=GENESIS, problems=12, out=out).model_copy(update=changes)
    done = compare_pair(settings, ComputeSettings(), print)
    return done.is_fit, done.report


def test_a_permitted_pair_gets_a_calibration(tmp_path):
    is_fit, report = calibrate(tmp_path / "one", b="split3")
    assert is_fit
    assert report["refused"] == report["findings"] == []
    data = (tmp_path / "one" / "calibration.json").read_bytes()
    rates = from_json(Calibration, json.loads(data))
    assert rates.digest.hex() == report["calibration"]
    assert len(rates.rates) == LEVELS
    assert 0 < rates.tokens < report["tokens"]  # half of the contexts are held out
    assert 0 < report["envelope"]["worst_bin"] < 1
    assert report["stored"]["worst_bin"] < 1
    assert 0 < report["envelope"]["alpha_growth"] <= 1
    assert report["rate_beyond_cap"] <= CAP_RATE_MAX
    assert report["fingerprints"]["caught_by_sketch"] == 0
    assert set(report["attacks"]) == {"bf16", "int8", "int4", "1 % noise", "T = .9"}
    for name, row in report["attacks"].items():
        assert row["rate_beyond_cap"] > 1e-4
        if name != "T = .9":  # which prefills the true model
            assert row["caught_by_logprobs"] > 0.9
    texts = read_texts(tmp_path / "one" / "calibration.svg")
    assert {"honest: fp32-sdpa against split3", *report["attacks"], "cap"} <= set(texts)
    calibrate(tmp_path / "two", b="split3")
    for name in ("calibration.json", "report.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize("kind", FAMILIES)
def test_cheaper_models_show_in_every_family(tmp_path, kind):
    """Against an honest judge with split products, whose own pair is permitted."""
    vocabulary = json.loads((GENESIS / "config.json").read_text())["vocab_size"]
    tables = [name for name in make_config(kind).to_dict() if name.startswith("vocab_size")]
    model = make_model(make_config(kind, **dict.fromkeys(tables, vocabulary)))
    write_config(model.config, tmp_path)
    save_file(get_tensors(model), tmp_path / "model.safetensors", {"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GENESIS / name, tmp_path)
    tests = replace(SMALL_MODEL_TESTS, router_ramp=RAMP)
    make_genesis(tmp_path, 32, tests=tests, problems=4)
    _, report = calibrate(tmp_path / "out", model=tmp_path, b="split3")
    assert report["refused"] == []
    for name, row in report["attacks"].items():
        assert row["rate_beyond_cap"] > 1e-4, name


@pytest.mark.parametrize(("b", "problems"), [("bf16", 12), ("split2", None)])
def test_a_pair_beyond_the_cap_is_refused_with_the_figure(tmp_path, b, problems):
    """bf16 shows at once; two terms pass the cap 4e-9 times a token, in few contexts of many."""
    (tmp_path / "calibration.json").write_text("an older pair's")
    is_fit, report = calibrate(tmp_path, b=b, problems=problems)
    assert not is_fit
    assert report["rate_beyond_cap"] > CAP_RATE_MAX
    assert f"{report['rate_beyond_cap']:.2g} times a token" in report["refused"][0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calibration.svg", "report.json"]


def test_a_larger_cap_covers_what_a_smaller_refuses(tmp_path):
    """The price for a network: differences below that cap count as nobody's fault.

    Whether the rates below it are even enough depends on the processor: some compute two terms in
    separate products, and then few contexts have most of the noise.
    """
    is_fit, report = calibrate(tmp_path, b="split2", cap=5e-3)
    assert report["cap"] == pytest.approx(5e-3, rel=1e-4)
    assert report["stored"] is None
    assert report["rate_beyond_cap"] <= CAP_RATE_MAX
    assert not any("a token" in reason for reason in report["refused"])
    assert is_fit == (not report["refused"])


def test_an_impossible_run_is_reported_before_any_work(tmp_path):
    good = CalibrateSettings(model=GENESIS, out=tmp_path)
    copied = tmp_path / "model"
    shutil.copytree(GENESIS, copied)
    for changes, error, message in (
        ({"model": tmp_path / "nowhere"}, CheckpointError, "manifest.json"),
        ({"a": "fp64"}, ImplementationError, "fp64"),
        ({"cap": 1e-6}, ConfigError, "--cap"),
        ({"out": copied}, ConfigError, "contains a checkpoint"),
        ({"out": copied / "config.json"}, ConfigError, "cannot write"),
    ):
        asked = good.model_copy(update=changes)
        with pytest.raises(error, match=message):
            compare_pair(asked, ComputeSettings(), print)
    with pytest.raises(ConfigError, match="--model FOLDER"):  # before anything is loaded
        require_pair(good.model_copy(update={"model": None}))
    for path in GENESIS.iterdir():
        assert path.is_dir() or (copied / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_the_command_answers_in_one_line_and_stops_when_asked(tmp_path):
    for flags, message in (
        (("--model", tmp_path / "nowhere"), "manifest.json"),
        (("--model", GENESIS, "--b", "fp64"), "fp64"),
    ):
        done = run_program("calibrate", *flags, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("assay: ")
        assert message in done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
    out = tmp_path / "stopped"
    running = start_program(
        *("calibrate", "--model", GENESIS, "--out", out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    while "reads" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=120)
    assert running.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == "assay: stopped"
    assert list(out.iterdir()) == []
