"""Submissions: a miner's file, and everybody's way from its commitment to a verdict.

Start with `submission_file`, the Parquet file (`submission_layout`); `submission_parser` parses it
in a caged child. `submission_reader` has it from the miner's store or from mirrors, `read_ahead`
beside the judge, and `submission_judge` puts reader, checkpoint and judge together. What was read
is kept by `submission_pack`; `mirror_writer` leaves it for others, `mirror_list` knows theirs.
Nothing here decides what is accepted: `assay.verification` does.
"""

from assay.artifacts.submissions.submission_file import SubmissionFile, write_submission
from assay.artifacts.submissions.submission_layout import SubmissionLimits, get_limits

__all__ = ["SubmissionFile", "SubmissionLimits", "get_limits", "write_submission"]
