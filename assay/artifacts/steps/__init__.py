"""A trainer's steps: the files that a stranger needs to repeat one.

A step is a record, the groups that it consumed and, where they are kept, the optimiser's masters
and moments before it. A trainer writes them into a folder and uploads them. Anybody fetches them by
the record's digest, which the checkpoint's manifest names. A child process parses the Parquet files
of strangers (`parquet_worker`). `plan` says which groups a step takes, for its trainer and for
whoever repeats it, and `trace_files` stores the results of a step's operators. Nothing here learns
or judges. This package imports nothing, because the child must stay light. Start with `folder.py`,
then read `store.py`.
"""

__all__ = ["file", "folder", "parquet_worker", "plan", "store", "trace_files"]
