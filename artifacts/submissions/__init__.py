"""Submissions: a miner's file, and its way from the commitment to the verdict.

Start with `submission_reader`: it has a file's parts from the miner's store (`submission_file`) or
from mirrors. `read_ahead` has them beside the judge, and `submission_judge` puts reader, checkpoint
and judge together, in `judging_threads` several at a time. What was read is kept by
`submission_pack`; `mirror_writer` leaves it for others, `mirror_list` knows theirs.
`submission_table` shows a file to people. Nothing here decides what is accepted:
`assay.verification` does.
"""

__all__ = [
    "judging_threads",
    "mirror_list",
    "mirror_writer",
    "read_ahead",
    "submission_file",
    "submission_judge",
    "submission_pack",
    "submission_reader",
    "submission_table",
]
