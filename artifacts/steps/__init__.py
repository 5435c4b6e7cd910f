"""A trainer's steps: the files that a stranger needs to repeat one.

A step is a record, the groups it consumed and, where they are kept, the optimiser's masters and
moments before it. A trainer writes them into a folder and uploads them; anybody fetches them by the
record's digest, which the checkpoint's manifest names. Strangers' files are Parquet, parsed in a
child (`parquet_worker`). Which groups a step takes is in `step_groups`; `trace_files` keeps what a
step's operators made. Nothing here learns or
judges. The door imports nothing, for the child must stay light. Start with `step_folder.py`, then
`step_store.py`.
"""

__all__ = ["parquet_worker", "step_file", "step_folder", "step_groups", "step_store", "trace_files"]
