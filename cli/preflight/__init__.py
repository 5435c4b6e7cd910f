"""Checks of everything that a program needs, before it starts or while it runs, each with a remedy.

`assay doctor` looks at this machine's clock first (`clock.py`), then opens everything
(`surroundings.py`) and looks at it (`examination.py`). A program that starts looks at what breaks
while nobody looks, `assay mine --dry-run` at what mining would be on this machine (`dry_run.py`).
`machine_fences.py` says which of the kernel's fences around packages there are.
`checks.py` has one function a thing; `check_results.py` is what they find, and how it is shown.
Nothing is sent to the chain, and nothing is fixed here. Start with `examination.py`.
"""

__all__ = [
    "check_results",
    "clock",
    "dry_run",
    "examination",
    "machine_fences",
    "memory",
    "surroundings",
]
