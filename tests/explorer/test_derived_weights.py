"""The weights that a page derives from a settlement's windows are the validator's."""

from types import SimpleNamespace

from assay.explorer.views import settlements
from assay.verification import Seat
from assay.verification.settlement import compute_weights

OWNER, BURN = 4, 100_000


def derive(held: list[dict[str, int]]) -> dict[int, int]:
    """Of an epoch with one counted window in which two seats scored."""
    identity = SimpleNamespace(owner_uid=OWNER, burn_share=BURN)
    reader = SimpleNamespace(
        ask_one=lambda *_: {"window": 3},
        subject=SimpleNamespace(get_parameters=lambda window: SimpleNamespace(identity=identity)),
    )
    scores = {Seat(1, 10): 300, Seat(2, 10): 100}
    return settlements._derive_weights(reader, 9, held, scores)  # type: ignore[arg-type] # noqa: SLF001 - the view shows rows of a whole record


def test_a_seat_that_still_holds_its_uid_is_paid() -> None:
    held = [{"uid": 1, "registered_at": 10}, {"uid": 2, "registered_at": 77}]
    assert derive(held) == compute_weights({1: 300}, OWNER, BURN)


def test_if_none_holds_its_uid_everything_goes_to_the_owner() -> None:
    """As the validator settles it."""
    assert derive([]) == compute_weights({}, OWNER, BURN) == {OWNER: 65_535}
