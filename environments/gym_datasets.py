from collections.abc import Mapping

LEVELS: Mapping[str, tuple[int, ...]] = {
    "chain_sum": (1, 2, 3, 4, 5),
    "leg_counting": (1, 2, 3, 4, 5),
}
REFUSED: Mapping[str, str] = {}
