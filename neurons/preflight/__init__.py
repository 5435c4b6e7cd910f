"""Checks of everything that a program needs, before it starts or while it runs, each with a remedy.

`assay doctor` checks this machine's clock first (`clock.py`), then opens everything
(`surroundings.py`) and checks it (`examination.py`). A starting program checks the things that
break unnoticed. `machine_fences.py` lists which of the kernel's fences around the sandbox exist,
and `machine_sandbox.py` whether programs can run.
`checks.py` has one function for each thing, and `check_results.py` has their results. Nothing is
sent to the chain, and nothing is fixed here. Start with `examination.py`.
"""

__all__ = [
    "check_results",
    "clock",
    "examination",
    "machine_fences",
    "machine_sandbox",
    "surroundings",
]
