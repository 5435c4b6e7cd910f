"""Submissions: a miner's file, and everybody's way from its commitment to a verdict.

Start with `submission_file`, the Parquet file (`submission_layout`); `submission_parser` parses it
in a caged child. `submission_reader` has it from the miner's store or from mirrors, `read_ahead`
beside the judge, and `submission_judge` puts reader, checkpoint and judge together. What was read
is kept by `submission_pack`; `mirror_writer` leaves it for others, `mirror_list` knows theirs.
Nothing here decides what is accepted: `assay.verification` does. The door imports nothing, for the
child that parses must stay light.
"""

__all__ = [
    "mirror_list",
    "mirror_writer",
    "read_ahead",
    "submission_file",
    "submission_judge",
    "submission_layout",
    "submission_pack",
    "submission_reader",
]
