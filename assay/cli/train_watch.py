"""`assay train watch`: whether the course in a folder learns, in one line."""

from pathlib import Path

from assay.audit.provenance.course import read_course
from assay.cli.console import print_result
from assay.cli.exits import FINDING, OK
from assay.neurons.trainer.status import describe_course
from assay.training.watch import CourseState, judge_course


def run_train_watch(folder: Path, as_json: bool) -> int:
    """Print what a course does. Return the exit code."""
    verdict = judge_course(read_course(folder))
    print_result(describe_course(verdict), as_json, str(verdict))
    return FINDING if verdict.state in (CourseState.COLLAPSES, CourseState.STARVED) else OK
