"""Parameters that follow others, for tests of amendments."""

from dataclasses import replace
from typing import Any

from assay.protocol.parameters import Parameters


def amend(before: Parameters, window: int, **sections: Any) -> Parameters:
    """`before` with other sections from a window on, and the same checkpoint."""
    start = replace(before.start, predecessor=before.digest, window=window)
    return replace(before, **{"start": start, **sections})
