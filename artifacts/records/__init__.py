"""What a validator has published, read by whoever asks: one reader, one table of limits.

`record_reader` reads one validator's record in any store: the pointer to the newest settlement,
settlements back along their links, their windows, and the statistics beside them. Names and bytes
are those of `assay.protocol.record`. It never says whether a record is true: `assay.audit` does.
"""

from assay.artifacts.records.record_reader import (
    Latest,
    RecordFault,
    RecordReader,
    follow_links,
    list_validators,
    open_reader,
)

__all__ = [
    "Latest",
    "RecordFault",
    "RecordReader",
    "follow_links",
    "list_validators",
    "open_reader",
]
