"""Explains why a hotkey's window was accepted or refused, and follows its score to its pay.

`from_network` or `from_folder` gathers a `WindowCase`: the claims of validators, the findings of
judging again here, the settlement and the pay. `explanation` turns it into rule, place, measures
and remedies, without file, chain or clock. `settled_share` has the sentences about pay, which the
explorer uses too. `reproduction` prints the command that repeats the judging. This folder never
says whether a validator's claim is true: `assay audit` does. Start at `explanation`.
"""

__all__ = [
    "explanation",
    "from_folder",
    "from_network",
    "rejudging",
    "reproduction",
    "settled_share",
    "texts",
]
