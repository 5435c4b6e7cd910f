"""A measured machine: the arithmetic by hand with made-up figures, and that the measurement's
figures are there, positive, and in time. Nothing here rests on how fast this machine is."""

import json
from dataclasses import replace

import pytest
import torch

from assay.inference.placing import devices
from assay.settings.sections import TrainerSettings
from assay.subnet import file_timing, machine_timing
from assay.subnet.file_timing import time_files
from assay.subnet.machine_speed import (
    DraftingSpeed,
    FileSpeed,
    Line,
    MachineSpeed,
    MeasuredPace,
    ReadingSpeed,
    extrapolate,
)
from assay.subnet.machine_timing import MeasuringError, measure_machine
from assay.subnet.recipe import Lengths, read_recipe
from assay.subnet.waiting import ignore_report
from assay.subnet.window_costs import CARDS
from assay.subnet.window_plan import make_plan
from assay.verification import JudgeResult, Ledger, judge
from tests.commands import run_command
from tests.subnet.test_recipe_plans import PLAIN, write_class

SPEED = MachineSpeed(
    kind="cpu",
    device="made up",
    threads=2,
    memory=64 << 30,
    reading=ReadingSpeed(call=0.5, token=1e-3, seen=1e-6, drawn=2e-3),
    drafting=DraftingSpeed(step=0.1, row=1e-2),
    files=FileSpeed(write=3e-3, file=0.2, group=1e-2),
    hashed=1e9,
    stored=None,
    took=30.0,
    took_wall=40.0,
)
PACE = MeasuredPace(PLAIN, SPEED, most=100, disk=2e9)


def test_a_line_goes_through_both_measurements():
    line = Line.through((2, 10.0), (4, 16.0))
    assert (line.fixed, line.each) == (4.0, 3.0)


@pytest.mark.parametrize("few", [17.0, 1.0])
def test_noise_makes_no_part_negative_and_leaves_the_larger_amounts_seconds(few):
    line = Line.through((2, few), (4, 16.0))
    assert min(line.fixed, line.each) >= 0
    assert line.fixed + 4 * line.each == pytest.approx(16)
    nothing = Line.through((2, few), (4, -1e-7))  # a difference of two measurements
    assert (nothing.fixed, nothing.each) == (0, 0)


def test_a_whole_model_follows_from_few_layers():
    """By hand: two layers of a take 4 s and one of b takes 5, beside a b and 1 s of other."""
    beside = {"a": (2, 6.0 + 4.0), "b": (1, 6.0 + 5.0)}
    layers, rest = extrapolate({"a": 20, "b": 3}, "b", 6.0, beside)
    assert (layers, rest) == (20 * 2 + 3 * 5, 1.0)


def test_seconds_of_a_measured_machine():
    """By hand: ten layers see all of 20 + 30 / 2 tokens; both threads are busy."""
    lengths = Lengths(20, 30)
    token = 1e-3 + 10 * 35 * 1e-6
    read = 3 * 0.5 + 1_000 * token + 700 * 2e-3
    assert PACE.read(lengths, 1_000, 700, 3) == pytest.approx(read / 2)
    # 300 rows in two batches, the longest of half as many tokens again
    steps, drawn = 2 * 45 * 0.1, 300 * (1 + 0.5 / 3) * 30 * 1e-2
    told = 4 * 20 * 1e-3
    assert PACE.draft(lengths, 300, 256, 4) == pytest.approx((steps + drawn + told) / 2)
    lesson = TrainerSettings(recompute=True)
    learned = 4 * (1_000 * token + 700 * 2e-3) / 2
    assert PACE.learn(lengths, 1_000, 700, lesson) == pytest.approx(learned)
    assert PACE.write(7) == pytest.approx(7 * 3e-3)
    assert PACE.examine(2, 11) == pytest.approx(2 * 0.2 + 11 * 1e-2)
    assert PACE.keep(1e9) == pytest.approx(1 + 0.5)
    stored = replace(PACE, speed=replace(SPEED, stored=5e8))
    assert stored.keep(1e9) == pytest.approx(1 + 2)


def test_no_completion_is_longer_than_the_rules_allow():
    """Of a mean of 80 and at most 100, the longest has a quarter more. A mean at the most: all are
    alike."""
    steps = 100 * 0.1 + 10 * (80 * (1 + 0.25 / 3)) * 1e-2 + 10 * 1e-3
    assert PACE.draft(Lengths(10, 80), 10, 16, 1) == pytest.approx(steps / 2)
    steps = 100 * 0.1 + 10 * 100 * 1e-2 + 10 * 1e-3
    assert PACE.draft(Lengths(10, 100), 10, 16, 1) == pytest.approx(steps / 2)


def test_a_plan_by_a_measured_machine():
    recipe = read_recipe("qwen2.5-0.5b-gsm")
    sheet = make_plan(recipe, CARDS["cpu"], 2)
    plan = make_plan(recipe, CARDS["cpu"], 2, SPEED)
    assert plan.holds
    told = json.loads(json.dumps(plan.to_json()))
    assert told["measured"]
    assert told["speed"]["reading"]["drawn"] == 2e-3
    assert plan.roles[0].allowed_memory == int(0.9 * (64 << 30))
    assert plan.roles[1].cost.seconds != sheet.roles[1].cost.seconds
    # two files, of which as many groups are read as rollouts are audited
    free = replace(SPEED, files=FileSpeed(0, 0, 0))
    judged, written = (
        make_plan(recipe, CARDS["cpu"], 2, one).roles[role].cost.seconds
        - make_plan(recipe, CARDS["cpu"], 2, free).roles[role].cost.seconds
        for role, one in ((1, SPEED), (0, replace(SPEED, files=FileSpeed(3e-3, 0, 0))))
    )
    shown = min(recipe.make_rules().work.audited_rollouts, plan.roles[0].cost.groups)
    assert judged == pytest.approx(2 * (0.2 + shown * 1e-2))
    assert written == pytest.approx(plan.roles[0].cost.groups * 3e-3)
    slow = replace(SPEED, reading=replace(SPEED.reading, token=1.0))
    assert not make_plan(recipe, CARDS["cpu"], 2, slow).fits


def test_a_plan_takes_a_localnets_block_time():
    recipe = read_recipe("smollm2-135m-gsm")
    short, long = (make_plan(recipe, CARDS["cpu"], 2, SPEED, ms) for ms in (1_000, 5_000))
    assert long.window_seconds == 5 * short.window_seconds == 300
    assert long.roles[0].cost.groups > short.roles[0].cost.groups


SMALL = "genesis-arithmetic"


@pytest.mark.parametrize("implementation", ["fp32-sdpa", "split3"])
def test_what_is_measured_is_positive_and_in_time(implementation, monkeypatch, tmp_path):
    monkeypatch.setattr(machine_timing, "_REPEATS", 2)
    monkeypatch.chdir(tmp_path)
    said = []
    recipe = read_recipe(SMALL)
    course = recipe.course.model_copy(update={"implementation": implementation})
    recipe = recipe.model_copy(update={"course": course})
    speed = measure_machine(recipe, "cpu", said.append, limit_s=300)
    reading, drafting = speed.reading, speed.drafting
    assert min(reading.call, reading.token, reading.seen, reading.drawn) >= 0
    assert min(reading.call, reading.token) >= 0  # a fit: noise may leave nothing
    assert min(drafting.step, drafting.row) >= 0
    assert min(drafting.step, drafting.row) >= 0
    assert min(speed.hashed, speed.stored, speed.took, speed.took_wall, speed.memory) > 0
    assert speed.threads == torch.get_num_threads()
    assert [line for line in said if "so far" not in line] == [
        "making a few layers of made-up weights",
        "timing products, attention and draws",
        "timing files, tests and scoring",
        "timing hashing and the disk",
    ]
    assert not list(tmp_path.iterdir())  # the file that was written is gone


@pytest.mark.parametrize("name", [SMALL, "smollm2-135m-gsm", "genesis-guess", "qwen3-4b-mixture"])
def test_a_made_up_file_is_written_and_accepted(name, monkeypatch):
    """One of an environment with turns, and one that runs code, with another's problems."""
    monkeypatch.setattr(file_timing, "_TIMES", 1)
    verdicts = []

    def note(*args, **more):
        verdicts.append(judge(*args, **more).verdict)
        return JudgeResult(verdicts[-1], Ledger())

    monkeypatch.setattr(file_timing, "judge", note)
    recipe = read_recipe(name)
    speed = time_files(recipe)
    assert speed.write > 0
    assert min(speed.file, speed.group) >= 0
    assert speed.file + speed.group > 0
    work = recipe.make_rules().work
    largest = max(verdicts, key=lambda verdict: verdict.committed_groups)
    assert all(verdict.accepted for verdict in verdicts)
    assert largest.rollouts == work.audited_rollouts
    assert len(largest.groups) == work.valued_groups
    assert largest.tokens == work.audited_rollouts * recipe.course.completion_tokens


KINDS = ["gemma-3-4b-gsm", "qwen3-30b-a3b-math", "qwen3.5-4b-math", "smollm3-3b-long-math"]


@pytest.mark.parametrize("name", KINDS)
def test_layers_of_every_kind_are_timed(name, monkeypatch):
    """Windows, experts, recurrent layers, layers without positions: narrow ones of each family."""
    monkeypatch.setattr(machine_timing, "_REPEATS", 1)
    monkeypatch.setattr(machine_timing, "_SMALL", 0)
    recipe = read_recipe(name)
    narrow = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    recurrent = {k: 2 if "num" in k else 8 for k in recipe.model.config if k.endswith("_heads")}
    recurrent |= {k: 8 for k in recipe.model.config if k.startswith("linear_") and "_dim" in k}
    config = recipe.model.config | recurrent
    if "linear_conv_kernel_dim" in config:
        config["linear_conv_kernel_dim"] = 4
    model = recipe.model.model_copy(update=narrow | {"config": config})
    course = {"prompt_tokens": 8, "completion_tokens": 8, "groups_per_step": 1}
    course = recipe.course.model_copy(update=course | {"implementation": "fp32-sdpa"})
    narrow = recipe.model_copy(update={"model": model, "course": course})
    speed = measure_machine(narrow, "cpu", ignore_report, limit_s=300)
    assert min(speed.reading.call, speed.reading.token) >= 0


def test_a_machine_without_time_or_memory_is_told_in_a_line(monkeypatch, write):
    recipe = read_recipe(SMALL)
    with pytest.raises(
        MeasuringError, match=r"too slow or too busy: after \d+ s not all was timed"
    ):
        measure_machine(recipe, "cpu", ignore_report, limit_s=0)
    large = read_recipe("7b-8-cards")
    few = replace(devices.examine_device("cpu"), free=1 << 30)
    monkeypatch.setattr(machine_timing, "examine_device", lambda device: few)
    with pytest.raises(MeasuringError, match=r"take [\d.]+ GiB, and cpu has 1.0 GiB free"):
        measure_machine(large, "cpu", ignore_report)
    with pytest.raises(MeasuringError, match="no family describes falcon_h1"):
        measure_machine(read_recipe(write_class(write)), "cpu", ignore_report)


def test_a_disk_that_takes_nothing_is_left_out(monkeypatch):
    def refuse(**_):
        raise OSError("no space")

    monkeypatch.setattr(machine_timing, "TemporaryFile", refuse)
    monkeypatch.setattr(machine_timing, "_REPEATS", 1)
    speed = measure_machine(read_recipe(SMALL), "cpu", ignore_report, limit_s=300)
    assert speed.stored is None


def test_the_command_measures_and_shows_progress():
    done = run_command("plan", SMALL, "--measure", "--json", "--threads", "1")
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert told["measured"]
    assert told["speed"]["threads"] == 1
    assert told["card"]["name"] == "cpu"
    assert "timing products, attention and draws" in done.stderr


def test_a_card_is_not_named_beside_a_measurement():
    done = run_command("plan", SMALL, "--measure", "--card", "H100")
    assert done.returncode == 2
    assert "--measure times this machine: leave --card out" in done.stderr
