"""What one does with the judge and without a model: the command `assay-judge`, and its functions.

`form` judges a file: FORM_OK or a reason, never ACCEPTED. `bundle` opens what an audit has read,
and `bundle_check` checks every file, row and settlement of it. `checkpoint` opens a checkpoint
without its tensors, `shown_file` what somebody names to be judged, `whole_file` reads a miner's
file, and `command` is the command line.
Everything here works with the packages of the distribution `assay-judge` alone. Start at `form`.
"""

__all__ = [
    "about",
    "bundle",
    "bundle_check",
    "checkpoint",
    "command",
    "form",
    "pack",
    "provable",
    "record_faults",
    "seal",
    "shown_file",
    "whole_file",
]
