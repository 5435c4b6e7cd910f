"""An owner's settings of rounds become a section of parameters."""

import pytest

from assay.rounds.round_choice import DEFAULTS, ROUNDS, SPARSE_OUTER, complete_rounds

SPARSE = {"kept": 24, "chunk": 4_096, "bits": 2, "feedback": 950_000}
ROUNDED = {"kept": 0, "chunk": 0, "bits": 16, "feedback": 1_000_000}
TRAINERS = {"trainers": ["01" * 32]}


def get_outer(section):
    return {name: section[name] for name in SPARSE_OUTER}


def test_the_form_chooses_the_outer_step():
    first = complete_rounds(None, TRAINERS)[ROUNDS]
    assert get_outer(first) == get_outer(DEFAULTS)
    sparse = complete_rounds(first, SPARSE)[ROUNDS]
    assert get_outer(sparse) == SPARSE_OUTER
    assert get_outer(complete_rounds(None, TRAINERS | SPARSE)[ROUNDS]) == SPARSE_OUTER
    assert get_outer(complete_rounds(sparse, ROUNDED)[ROUNDS]) == get_outer(DEFAULTS)


@pytest.mark.parametrize("form", [SPARSE, ROUNDED])
def test_the_owner_s_own_outer_step_is_kept(form):
    own = complete_rounds(None, TRAINERS | form | {"rate": 5, "momentum": 3})[ROUNDS]
    assert get_outer(own) == {"rate": 5, "momentum": 3}
    later = complete_rounds(own, {"windows": 4})[ROUNDS]
    assert get_outer(later) == {"rate": 5, "momentum": 3}
    half = complete_rounds(None, TRAINERS | form | {"rate": 5})[ROUNDS]
    assert half["rate"] == 5
    assert half["momentum"] == (SPARSE_OUTER if form["kept"] else DEFAULTS)["momentum"]
