"""Readers of a validator's published records and of a run's folder, with one table of limits.

`reader` reads one validator's record in any store: the pointer to the newest settlement,
settlements back along their links, their windows, and the statistics beside them.
`assay.protocol.record` defines names and bytes. Limits are at the top of the file. `run_folder`
reads a folder of a demo or a validator. Start with `reader`. This folder never says whether
a record is true: `assay.audit` does.
"""

__all__ = ["reader", "run_folder"]
