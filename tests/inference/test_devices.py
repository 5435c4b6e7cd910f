"""Devices that are there, that are not, and that lack memory."""

import numpy as np
import pytest
import torch

from assay.inference.placement import make_placement
from assay.inference.placing import devices
from assay.inference.placing.devices import (
    DeviceError,
    examine_device,
    find_device,
    is_out_of_memory,
)
from assay.inference.placing.memory_plan import MemoryBudget, plan_memory
from assay.inference.placing.model_sizes import MemoryPlan, ModelShape

SMALL = ModelShape(
    parameters=350_000,
    tables=9_408,
    block=113_000,
    cached=576,
    state=0,
    wide=1_536,
    kept=4_000,
    recomputed=2_000,
    vocabulary=98,
)
LARGE = ModelShape(
    parameters=494_000_000,
    tables=136_134_656,
    block=14_900_000,
    cached=6_144,
    state=0,
    wide=18_176,
    kept=1,
    recomputed=1,
    vocabulary=151_936,
)


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("name", "found"),
    [("auto", "cuda:0"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")],
)
def test_a_machine_with_cards(two_cards, name, found):
    assert find_device(name) == found


@pytest.mark.parametrize(
    ("built", "said"),
    [(False, "is built without CUDA"), (True, "The NVIDIA driver on your system is too old")],
)
def test_a_card_that_auto_cannot_use_is_told_once(monkeypatch, tmp_path, caplog, built, said):
    def fail():
        raise RuntimeError(said)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.setattr(devices, "_DRIVER_FILE", tmp_path / "version")
    devices.warn_of_unused_card.cache_clear()
    assert find_device("auto") == "cpu"
    assert not caplog.records  # no driver, no card
    (tmp_path / "version").touch()
    devices.warn_of_unused_card.cache_clear()
    assert [find_device("auto"), find_device("auto")] == ["cpu", "cpu"]
    devices.warn_of_unused_card.cache_clear()
    (line,) = caplog.messages
    assert line.startswith("no card is used: ")
    assert said in line


def test_a_card_that_is_not_there(two_cards, monkeypatch):
    with pytest.raises(DeviceError, match=r"cuda:2 is not here: this machine has 2 cards"):
        find_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match=r"this machine has one card, cuda:0"):
        find_device("cuda:1")


@pytest.mark.parametrize(
    "name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:0:1", "mps", "cpu:0"]
)
def test_a_name_that_is_none(two_cards, name):
    with pytest.raises(DeviceError, match="is none of auto, cpu, cuda:0"):
        find_device(name)


def test_a_driver_that_is_too_old(two_cards, monkeypatch):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\n…")

    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(DeviceError, match=r"cuda:0 cannot be used: .* too old \(found version 11"):
        find_device("cuda:0")


def test_a_machine_without_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert find_device("auto") == "cpu"
    with pytest.raises(DeviceError, match="is built without CUDA; install one"):
        make_placement("cuda:0", "fp32-sdpa", 0.9)


def test_a_processor_says_what_it_is():
    facts = examine_device("cpu")
    assert facts.name
    assert facts.total is None or facts.total >= facts.free > 0
    assert facts.describe().startswith("cpu: ")


def test_errors_that_mean_a_lack_of_memory():
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(found.value)
    with pytest.raises(MemoryError) as raised:
        np.empty(1 << 60, np.uint8)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_plan_follows_from_the_model_and_rounds_down(monkeypatch):
    free = 20 << 30
    monkeypatch.setattr("assay.inference.placing.memory_plan.get_free_memory", lambda device: free)
    assert plan_memory(SMALL, "cpu", 0.9) == MemoryPlan()
    plan = plan_memory(LARGE, "cpu", 0.9)
    assert plan.tokens == 4_096  # 512 MiB over 72,704 bytes a token, rounded down
    free = (20 << 30) - (300 << 20)
    assert plan_memory(LARGE, "cpu", 0.9) == plan  # a little less changes nothing
    free = 1 << 30
    small = plan_memory(LARGE, "cpu", 0.5)
    assert 4 * LARGE.wide * small.tokens + 4 * small.elements <= free * 0.5
    free = 60 << 30
    on_card = plan_memory(LARGE, "cuda:0", 0.9)
    assert on_card.elements > plan.elements
    assert on_card.tokens > plan.tokens


def test_memory_that_lacks_halves_the_plan_until_it_suffices():
    tried = []

    def compute(plan):
        tried.append(plan.tokens)
        if plan.tokens > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "done"

    budget = MemoryBudget(MemoryPlan(32, 64), "cpu", 1)
    assert budget.run(compute, "a row") == "done"
    assert (tried, budget.plan) == ([32, 16, 8, 4], MemoryPlan(4, 8))
    assert budget.run(compute, "a row") == "done"  # the learned size stays
    assert tried == [32, 16, 8, 4, 4]


def test_one_row_that_does_not_fit_is_named():
    def compute(plan):
        tried.append(plan)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    tried = []
    budget = MemoryBudget(MemoryPlan(32, 64), "cpu", 20, "the model in /there")
    said = r"for a row of 9 tokens, by the model in /there, one row at a time: .* are free"
    with pytest.raises(DeviceError, match=said):
        budget.run(compute, "a row of 9 tokens", 9)
    # fewer tokens than the row has, or logits than it has ids, would take no less memory
    assert tried == [MemoryPlan(*sizes) for sizes in ((32, 64), (16, 32), (9, 20))]
    assert budget.plan == MemoryPlan(32, 64)


def test_another_error_is_none_of_memory():
    def compute(plan):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        MemoryBudget(MemoryPlan(), "cpu", 1).run(compute, "a row")


def test_work_that_no_plan_makes_smaller_is_tried_once_more():
    lacks = [True, False]

    def make():
        if lacks.pop(0):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return "made"

    budget = MemoryBudget(MemoryPlan(32, 64), "cpu", 1)
    assert budget.build(make, "the tables") == "made"
    lacks += [True, True]
    with pytest.raises(DeviceError, match="not enough memory for the tables of the model"):
        budget.build(make, "the tables")
    assert budget.plan == MemoryPlan(32, 64)
