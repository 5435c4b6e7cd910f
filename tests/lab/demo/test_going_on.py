"""A demo on a virtual clock that is killed goes on, and makes what it would have made."""

import errno
import json
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from assay.environments.levels import Success
from assay.inference.folder import verify_manifest
from assay.lab.demo.saved_point import (
    Founded,
    Played,
    describe_plan,
    describe_program,
    describe_window,
    find_point,
    forget_points,
    read_window,
    restore_point,
    save_point,
)
from assay.network.files import write_file
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.validator.judged_window import JudgedWindow
from assay.protocol.context import context_from_json
from assay.protocol.reason import Reason, Refusal
from assay.session.window_reader import Challenge
from assay.settings.loading import ConfigError
from assay.settings.sections import ComputeSettings, DemoSettings
from assay.subnet.presets import DEMO_RECIPE
from assay.subnet.recipe import read_recipe
from assay.training import GENESIS
from assay.training.lesson import LearnStats
from assay.verification import Refused
from tests.commands import start_program
from tests.tree import ROOT

MARKER = ".assay-demo"


@pytest.fixture
def played():
    manifest = verify_manifest(GENESIS)
    stats = LearnStats(4, 1, 2, 100, 0.5, float("nan"), 1.0, 0.1, 0.01, 0.1 + 0.2)
    lesson = Lesson(7, (250_000, 0), stats, manifest, (3, 4), 100, 20)
    founded = Founded(1, bytes(range(32)), 5, 1_767_225_600_000)
    return Played("a plan", founded, Success(40, 100, 3), [], [lesson], ["a note"], 12.5)


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def save(folder, block, played):
    copies = {
        name: partial(shutil.copyfile, folder / name)
        for name in ("chain/devnet.sqlite", "validator.sqlite")
        if (folder / name).exists()
    }
    save_point(folder, block, played, copies)


def read(folder):
    """All files but kept ones."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and "saved-" not in str(path.relative_to(folder))
    }


def test_a_point_is_what_was_there(tmp_path, played):
    write(tmp_path, {MARKER: "", "store/a": "1", "steps/one": "2", "models/x/y": "3"})
    write(tmp_path, {"chain/devnet.sqlite": "4", "validator.sqlite": "5"})
    kept = read(tmp_path)
    save(tmp_path, 119, played)
    write_file(tmp_path / "steps" / "one", b"replaced as a whole")
    write(tmp_path, {"store/b": "later", "chain/devnet.sqlite": "in place", "summary.json": "{}"})
    point = find_point(tmp_path, "a plan")
    assert point is not None
    assert point.block == 119
    assert str(point.played) == str(played)  # in words, as nan is not itself
    restore_point(tmp_path, point, MARKER)
    assert read(tmp_path) == kept


def test_the_point_before_stays_until_there_is_another(tmp_path, played):
    """A run that goes on is at its point's block, and a disk may be full at the next."""
    write(tmp_path, {"store/a": "1", "chain/devnet.sqlite": "4", "validator.sqlite": "5"})
    save(tmp_path, 20, played)
    write(tmp_path, {"store/b": "2"})
    save(tmp_path, 20, played)
    assert not (tmp_path / "saved-20" / "store" / "b").exists()

    def fill(file):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left on device")

    with pytest.raises(OSError, match="no space"):
        save_point(tmp_path, 44, played, {"chain/devnet.sqlite": fill})
    assert find_point(tmp_path, "a plan").block == 20
    save(tmp_path, 68, played)
    assert find_point(tmp_path, "a plan").block == 68
    assert [path.name for path in tmp_path.iterdir() if "saved" in path.name] == ["saved-68"]


def test_another_plan_or_a_damaged_point_is_not_gone_on_with(tmp_path, played):
    assert find_point(tmp_path, "a plan") is None
    write(tmp_path, {"store/a": "1"})
    save(tmp_path, 20, played)
    with pytest.raises(ConfigError, match=r"stopped at block 20 .*delete .*saved-20"):
        find_point(tmp_path, "another plan")
    state = tmp_path / "saved-20" / "state.json"
    whole = state.read_text()
    others = {"seconds": "x", "windows": 5, "notes": None, "plan": 1}
    typed = (json.dumps(json.loads(whole) | {name: value}) for name, value in others.items())
    broken = ("", "[]", "{}", whole[:-9], whole.replace("lessons", "lesson"), "\x00")
    for damaged in (*broken, *typed):
        state.write_text(damaged)
        assert find_point(tmp_path, "a plan") is None
    shutil.rmtree(tmp_path / "saved-20")
    save(tmp_path, 44, played)
    assert [path.name for path in tmp_path.glob("saved-*")] == ["saved-44"]
    forget_points(tmp_path)
    assert find_point(tmp_path, "a plan") is None


def test_a_plan_is_all_that_decides_what_is_played():
    recipe, compute = read_recipe(DEMO_RECIPE), ComputeSettings()
    settings = DemoSettings(fast=True)

    def plan(settings=settings, compute=compute, recipe=recipe, program=("a digest",)):
        return describe_plan(settings, compute, recipe, program)

    elsewhere = settings.model_copy(update={"out": Path("elsewhere")})
    assert plan(elsewhere) == plan()
    others = [
        plan(settings.model_copy(update={"seed": "another"})),
        plan(settings.model_copy(update={"windows": 9})),
        plan(compute=compute.model_copy(update={"threads": 3})),
        plan(recipe=recipe.model_copy(update={"levels": (3,)})),
        plan(program=("another",)),
    ]
    assert len({plan(), *others}) == 6


def test_a_plan_names_its_model_wherever_it_lies(tmp_path):
    def plan(model):
        settings = DemoSettings(recipe=DEMO_RECIPE, model=model)
        return describe_plan(
            settings, ComputeSettings(), read_recipe(DEMO_RECIPE), describe_program()
        )

    shutil.copytree(GENESIS, tmp_path / "moved")
    assert plan(tmp_path / "moved") == plan(GENESIS)
    with (tmp_path / "moved" / "model.safetensors").open("ab") as file:
        file.truncate(300 << 20)  # larger than a file of problems may be
    assert plan(tmp_path / "moved") != plan(GENESIS)


def test_a_settled_window_is_kept():
    vectors = json.loads((ROOT / "tests" / "vectors" / "context.json").read_text())
    context = context_from_json(vectors["valid"])
    challenge = Challenge(
        context.window,
        context.challenge_block,
        context.challenge,
        context.checkpoint,
        context.parameters,
    )
    judged = JudgedWindow(challenge, closed=True, missing="a file")
    hotkey = bytes(32)
    fault = Refusal(Reason.SAMPLING_MISMATCH, "token 3 is another one", group=1, rollout=2, token=3)
    judged.verdicts[hotkey] = Refused(
        window=context.window, hotkey=hotkey, committed_groups=8, fault=fault
    )
    judged.asked_at[hotkey], judged.seconds[hotkey] = 12, 0.25
    document = json.loads(json.dumps(describe_window(judged)))
    again = read_window(document, context.parameters)
    assert again.verdicts == judged.verdicts
    assert (again.challenge, again.closed, again.missing) == (challenge, True, "a file")
    assert (again.seconds, again.asked_at) == (judged.seconds, judged.asked_at)


ARGUMENTS = ["--fast", "--windows=6", "--problems=100", "--groups=4", "--seed=going-on", "--json"]


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_a_killed_demo_makes_the_same_files(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    pipe = subprocess.PIPE

    def start(out):
        return start_program("demo", *ARGUMENTS, "--out", out, stdout=pipe, stderr=pipe, text=True)

    said = start(whole).communicate(timeout=900)
    with start(killed) as program:
        ends = time.monotonic() + 600
        while not list(killed.glob("saved-*/state.json")):
            assert time.monotonic() < ends
            time.sleep(0.1)
        time.sleep(3)  # in the midst of a window
        program.send_signal(signal.SIGKILL)
    again, told = start(killed).communicate(timeout=900)
    assert "going on where the last run was stopped" in told
    first, second = json.loads(said[0]), json.loads(again)
    for name in ("seconds", "peak_rss_mib"):
        del first[name], second[name]
    assert first == second
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    assert names == {str(path.relative_to(killed)) for path in killed.rglob("*") if path.is_file()}
    told_time = ("sqlite", "statistics.json", "status.json", "summary.json", "verdicts/window-")
    for name in names:
        if not any(part in name for part in told_time):
            assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
