"""Submissions: a miner's file, and its way from the commitment to the verdict.

Start with `submission_reader`: it reads a file's parts from the miner's store (`submission_file`)
or from mirrors. `read_ahead` reads them while the judge works. `submission_judge` combines reader,
checkpoint and judge, and `judging_threads` runs several at a time. `submission_pack` stores the
parts that were read, `mirror_writer` publishes them for others, and `mirror_list` lists the mirrors
of others. `submission_table` shows a file to people. Nothing here decides what is accepted:
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
