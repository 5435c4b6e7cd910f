"""Everything that a program needs, looked at before it starts or beside it, with what to do.

`assay doctor` looks at all of it (`examination.py`), a program that starts at what breaks while
nobody looks, `assay mine --dry-run` at what mining would be on this machine (`dry_run.py`).
`checks.py` has one function a thing. Nothing is sent to the chain, and nothing is mended here.
Start with `examination.py`.
"""

__all__ = ["checks", "dry_run", "examination", "memory"]
