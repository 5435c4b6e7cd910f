"""A checkpoint's answers to its gate's problems, as a file: `gate.parquet`.

A trainer uploads it before the checkpoint whose manifest names it, by its SHA-256. Anybody fetches
it, and either counts again what it shows or checks by a forward pass that each answer is its
model's own. A child process parses the files of strangers. Nothing here knows problems or models.
This package imports nothing, because the child must stay light. Start with `file.py`. `gains` tells
people what a line of checkpoints has shown.
"""

__all__ = ["checking", "file", "gains", "parser", "store"]
