"""Parameters leave time for scoring, in counted units and by integers, so that nobody's machine
decides."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.parameters import (
    MAIN_TIMING,
    MAIN_WORK,
    UNITS,
    EnvironmentChoice,
    Setting,
    compute_scoring_load,
    compute_scoring_units,
    find_scoring_fault,
)


def find_fault(units: int, **sizes: int) -> str | None:
    return find_scoring_fault(units, MAIN_TIMING, replace(MAIN_WORK, **sizes))


def test_the_load_is_that_of_the_reference_machine() -> None:
    """Half of 360 s, 32 cores of 2,000 million: by hand."""
    load, room = compute_scoring_load(234, MAIN_TIMING, MAIN_WORK)
    assert (load, room) == (256 * 12 * 16 * 234, 180 * 32 * 2_000)
    assert find_fault(234) is None
    assert find_fault(235) == (
        "scoring takes up to 11,550,720 million units a window, 256 hotkeys · units = 235 · "
        "valued_groups = 12 · group_size = 16, and there is time for 11,520,000: units = 234 or "
        "valued_groups = 11 or group_size = 15 would fit"
    )
    quick = replace(MAIN_TIMING, window_blocks=1, slot_ms=1)
    assert str(find_scoring_fault(1, quick, MAIN_WORK)).endswith(": a longer window would fit")


@given(st.integers(1, 10**6), st.integers(1, 16), st.integers(1, 64))
def test_every_number_that_is_said_to_fit_does(units: int, groups: int, size: int) -> None:
    sizes = {UNITS: units, "valued_groups": groups, "group_size": size}
    for name, number in re.findall(r"(\w+) = (\d+)(?= or| would)", str(find_fault(**sizes))):
        assert find_fault(**sizes | {name: int(number)}) is None
        assert find_fault(**sizes | {name: int(number) + 1}) is not None


@pytest.mark.parametrize(
    ("settings", "units"),
    [
        ({}, 0),
        ({"millions": 9, "units": 7}, 7),
        ({"code:ab": 1, "code:ab.units": 7, "code:cd": 1, "code:cd.units": 8}, 8),
        ({"units.of": 7, "unit": 7, "other_units": 7}, 0),
        ({"units": -7}, 0),
        ({"code:ab.units": 7, "code:ab.tool_units": 4, "gsm.tool_units": 9}, 11),
    ],
)
def test_units_are_the_dearest_parts(settings: dict[str, int], units: int) -> None:
    named = tuple(Setting(name, value) for name, value in sorted(settings.items()))
    choice = EnvironmentChoice("mix", named, bytes(32))
    assert compute_scoring_units(choice) == units


def test_the_message_names_the_settings_that_say_so() -> None:
    found = [
        str(find_scoring_fault(10**6, MAIN_TIMING, MAIN_WORK, settings))
        for settings in (("gsm.tool_units", "gsm"), ("code:ab.units", "code:ab.tool_units"))
    ]
    assert " · tool_units = 1,000,000 · " in found[0]
    assert " · units + tool_units = 1,000,000 · " in found[1]
