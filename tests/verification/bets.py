"""What tests ask of the bets of the sampling test."""

from assay.protocol.parameters import Tests


def count_bets(tests: Tests) -> int:
    """The number of bets that run in parallel."""
    return len(tests.mean_stakes) + len(tests.level_stakes) * len(tests.margin_levels)
