"""Submissions: the file, its parser, and everybody's way from a commitment to a verdict."""

from assay.artifacts.submissions.submission_file import SubmissionFile, write_submission
from assay.artifacts.submissions.submission_layout import SubmissionLimits

__all__ = ["SubmissionFile", "SubmissionLimits", "write_submission"]
