"""The weights that a page derives from a settlement's windows are the validator's."""

from types import SimpleNamespace

import pytest

from assay.explorer.views import settlements
from assay.verification import Seat
from assay.verification.settlement import compute_weights

OWNER, BURN, IDLE = 4, 100_000, 2


def derive(held: list[dict[str, int]], idle: int = 0, before: int | None = 0) -> dict[int, int]:
    """Of an epoch with one counted window in which two seats scored.

    Args:
        idle: the record's count of settlements in which nobody earned.
        before: that of the settlement before; None: the index has it not.
    """
    parameters = SimpleNamespace(
        identity=SimpleNamespace(owner_uid=OWNER, burn_share=BURN),
        work=SimpleNamespace(idle_settlements=IDLE),
    )
    reader = SimpleNamespace(
        ask_one=lambda query, *_: (
            {"window": 3} if "max(window)" in query else {"idle": idle, "before": before}
        ),
        subject=SimpleNamespace(get_parameters=lambda window: parameters),
    )
    scores = {Seat(1, 10): 300, Seat(2, 10): 100}
    return settlements._derive_weights(reader, 9, held, scores)  # type: ignore[arg-type] # noqa: SLF001 - the view shows rows of a whole record


def test_a_seat_that_still_holds_its_uid_is_paid() -> None:
    held = [{"uid": 1, "registered_at": 10}, {"uid": 2, "registered_at": 77}]
    assert derive(held) == compute_weights({1: 300}, OWNER, BURN)


@pytest.mark.parametrize(("before", "weights"), [(0, {}), (1, {}), (2, {OWNER: 65_535})])
def test_if_none_holds_its_uid_none_are_set_for_a_while(before, weights) -> None:
    """As the validator settles it, whatever the record says."""
    assert derive([], idle=77, before=before) == weights
    assert derive([], idle=before + 1, before=None) == weights
