"""Explains why a hotkey's window was accepted or refused, and follows its score to its pay.

`from_network` or `from_folder` gathers a `WindowCase`: what validators said, what judging again
here finds, what was settled and paid. `explanation` makes rule, place, measures and remedies of it,
without file, chain or clock; `settled_share` has the sentences about pay, for the explorer as well;
`reproduction` prints the command that shows it again. It never says whether a validator's word
holds: `assay audit` does. Start at `explanation`.
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
