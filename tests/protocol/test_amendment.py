"""Parameters that follow others: the legal changes, their start, and the settlement across the
change."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.amendment import (
    ParameterHistory,
    UnknownParametersError,
    compute_decision_block,
    compute_first_window,
    find_amendment_fault,
)
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters, Start, find_parameters_fault
from assay.protocol.window import Phase, compute_block
from tests.amended_parameters import amend

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "amendments.json").read_text())
FIRST = Parameters.from_json(VECTORS["parameters"])
LENGTH = FIRST.timing.window_blocks
NOTICE = FIRST.timing.notice_windows


@pytest.mark.parametrize("case", VECTORS["amendments"], ids=lambda case: case["name"])
def test_legal_successors(case: dict[str, Any]) -> None:
    amended = Parameters.from_json(case["parameters"])
    assert find_parameters_fault(amended) is None
    assert amended.digest.hex() == case["digest"]
    assert (find_amendment_fault(FIRST, amended) is None) is case["follows"]
    history = ParameterHistory(FIRST)
    if not case["follows"]:
        with pytest.raises(ValueError, match=r"they|their|out of order"):
            history.add(amended)
    else:
        history.add(amended)
    assert history.latest is (amended if case["follows"] else FIRST)


@pytest.mark.parametrize("entry", VECTORS["decisions"], ids=lambda entry: entry["window"])
def test_it_is_decided_so_many_windows_before(entry: dict[str, int]) -> None:
    assert entry["block"] == max(0, 12 * (entry["window"] - 6))
    assert compute_decision_block(FIRST, entry["window"]) == entry["block"]


@given(head=st.integers(0, 10**6))
def test_the_first_window_to_amend_is_decided_after_the_head_and_the_one_before_is_not(
    head: int,
) -> None:
    window = compute_first_window(FIRST, head)
    assert compute_decision_block(FIRST, window) > head
    assert (
        window == NOTICE + FIRST.start.window or compute_decision_block(FIRST, window - 1) <= head
    )


def make_history() -> ParameterHistory:
    first, *others = (Parameters.from_json(value) for value in VECTORS["history"])
    history = ParameterHistory(first)
    for parameters in others:
        history.add(parameters)
    return history


@pytest.mark.parametrize("entry", VECTORS["in_force"], ids=lambda entry: entry["window"])
def test_each_window_has_the_parameters_that_started_last(entry: dict[str, int]) -> None:
    history = make_history()
    starts = [value["start"]["window"] for value in VECTORS["history"]]
    assert entry["place"] == max(i for i, start in enumerate(starts) if start <= entry["window"])
    assert history.get(entry["window"]) is history.all[entry["place"]]
    blocks = entry["window"] * LENGTH, entry["window"] * LENGTH + LENGTH - 1
    assert {history.get_at(block) for block in blocks} == {history.all[entry["place"]]}


@pytest.mark.parametrize("entry", VECTORS["settled"])
def test_windows_are_settled_by_their_own_end(entry: dict[str, Any]) -> None:
    history = make_history()
    due = range(entry["previous_epoch"] + 1, entry["epoch"] + 1)
    ends = {
        w: w * 12 + VECTORS["history"][place]["timing"]["verdict_end"]
        for w in range(1_010)
        for place in [sum(v["start"]["window"] <= w for v in VECTORS["history"]) - 1]
    }
    assert entry["windows"] == [w for w, end in ends.items() if end in due]
    assert (
        list(history.compute_settled(entry["previous_epoch"], entry["epoch"])) == entry["windows"]
    )


@given(
    ends=st.lists(st.integers(30, 41), max_size=4),
    gaps=st.lists(st.integers(NOTICE, 3 * NOTICE), min_size=4, max_size=4),
    epochs=st.lists(st.integers(0, 2_000), min_size=2, max_size=8),
    stop=st.none() | st.integers(0, 120),
)
def test_every_window_is_settled_once_and_in_order(
    ends: list[int], gaps: list[int], epochs: list[int], stop: int | None
) -> None:
    """Whatever the offsets become, those of unknown parameters left out."""
    history = ParameterHistory(FIRST)
    for end, gap in zip(ends, gaps, strict=False):
        latest = history.latest
        timing = replace(latest.timing, verdict_end=end)
        amended = amend(latest, latest.start.window + gap, timing=timing)
        if find_amendment_fault(latest, amended) is None:
            history.add(amended)
    if stop is not None and stop > history.latest.start.window:
        history.stop_at(stop, "what is lacking")
    epochs = sorted(epochs)
    settled = [w for a, b in pairwise([0, *epochs]) for w in history.compute_settled(a, b)]
    last = min(history.end or 10**6, epochs[-1] // LENGTH + 1)
    assert settled == [
        w
        for w in range(last)
        if 0 < compute_block(history.get(w).timing, w, Phase.VERDICT_END) <= epochs[-1]
    ]


def test_unreadable_decided_parameters_end_the_history() -> None:
    history = make_history()
    last = history.latest.start.window + 10
    history.stop_at(last, "they ask what is not here")
    assert history.get(last - 1) is history.latest
    assert history.get_at(10**6) is history.latest
    with pytest.raises(UnknownParametersError, match="they ask what is not here"):
        history.get(last)
    following = amend(history.latest, last, work=replace(FIRST.work, prompt_share=7))
    history.add(following)  # it could be read in the end
    assert history.end is None
    assert history.get(last) is following


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (Start(ZERO_DIGEST, 1), "has no predecessor"),
        (Start(ZERO_DIGEST, 0, bytes(31) + b"1"), "has no predecessor"),
        (Start(bytes(31) + b"1", 0), "start.window is 0"),
    ],
)
def test_a_start_is_a_networks_or_an_amendments(start: Start, said: str) -> None:
    assert said in (find_parameters_fault(replace(FIRST, start=start)) or "")


def test_an_amendment_cannot_hold_at_once() -> None:
    timing = replace(FIRST.timing, notice_windows=0)
    assert find_parameters_fault(replace(FIRST, timing=timing)) is not None
