"""An owner's settings of rounds become a section of parameters."""

import pytest

from assay.rounds.choice import DEFAULTS, ROUNDS, RoundsError, choose_outer_step, complete_rounds

SPARSE = {"kept": 24, "chunk": 4_096, "bits": 2, "feedback": 950_000}
ROUNDED = {"kept": 0, "chunk": 0, "bits": 16, "feedback": 1_000_000}
TRAINERS = {"trainers": ["01" * 32]}


DENSE_OUTER = {name: DEFAULTS[name] for name in ("rate", "momentum")}
SPARSE_OUTER = {"rate": 8_000_000, "momentum": 0}


def get_outer(section):
    return {name: section[name] for name in DENSE_OUTER}


def test_the_form_chooses_the_outer_step():
    first = complete_rounds(None, TRAINERS)[ROUNDS]
    assert get_outer(first) == DENSE_OUTER
    sparse = complete_rounds(first, SPARSE)[ROUNDS]
    assert get_outer(sparse) == SPARSE_OUTER
    assert get_outer(complete_rounds(None, TRAINERS | SPARSE)[ROUNDS]) == SPARSE_OUTER
    assert get_outer(complete_rounds(sparse, ROUNDED)[ROUNDS]) == DENSE_OUTER


@pytest.mark.parametrize("form", [SPARSE, ROUNDED])
def test_the_owner_s_own_outer_step_is_kept(form):
    own = complete_rounds(None, TRAINERS | form | {"rate": 5, "momentum": 3})[ROUNDS]
    assert get_outer(own) == {"rate": 5, "momentum": 3}
    later = complete_rounds(own, {"windows": 4})[ROUNDS]
    assert get_outer(later) == {"rate": 5, "momentum": 3}
    half = complete_rounds(None, TRAINERS | form | {"rate": 5})[ROUNDS]
    assert half["rate"] == 5
    assert half["momentum"] == (SPARSE_OUTER if form["kept"] else DENSE_OUTER)["momentum"]


@pytest.mark.parametrize(
    ("kept", "chunk", "rate"),
    [(24, 4_096, 8_000_000), (1, 4_096, 8_000_000), (64, 4_096, 3_000_000), (64, 64, 1_000_000)],
)
def test_a_form_that_keeps_more_moves_by_less(kept, chunk, rate):
    assert choose_outer_step(kept, chunk) == {"rate": rate, "momentum": 0}


@pytest.mark.parametrize("form", [(0, 0), (0, 4_096), (5, 4), (-1, 4), ("24", 4_096), (None, 1)])
def test_any_other_form_gets_the_defaults(form):
    assert choose_outer_step(*form) == DENSE_OUTER


def test_only_another_form_changes_the_owner_s_outer_step():
    own = complete_rounds(None, TRAINERS | SPARSE | {"rate": 5, "momentum": 3})[ROUNDS]
    again = complete_rounds(own, SPARSE | {"windows": 4})[ROUNDS]
    assert get_outer(again) == {"rate": 5, "momentum": 3}
    for changes, rate in (({"chunk": 64}, 1_000_000), ({"kept": 64}, 3_000_000)):
        assert get_outer(complete_rounds(own, changes)[ROUNDS]) == {"rate": rate, "momentum": 0}


@pytest.mark.parametrize("given", [{}, {"rate": 5}, {"trainer": ["01" * 32]}])
def test_rounds_without_trainers_are_refused(given):
    """Such a section would otherwise be dropped without a word."""
    with pytest.raises(RoundsError, match=r"rounds\.trainers"):
        complete_rounds(None, given)
    assert complete_rounds(None, {"trainers": []}) == {}
