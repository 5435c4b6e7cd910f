"""Evaluation: samples answers to suites of problems, and counts them as others do.

Start with `run`. `suite` reads a file of problems as `assay env look` does, `conventions` has the
prompts and scorers that people know by name, `sampling` draws completions, `folder` keeps them, and
`statistics` turns successes into pass@k, maj@k and intervals. Floats are for people here: nothing
that this package computes decides anything in a network.
"""

__all__ = ["conventions", "folder", "model", "run", "sampling", "statistics", "suite"]
