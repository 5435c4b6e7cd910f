"""A trainer's folder whose groups are pushed, and servers that are pushed to."""

import shutil
from contextlib import closing

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.database import Database
from assay.artifacts.steps.folder import read_step, read_step_groups
from assay.audit.provenance import step_push
from tests.adversarial.pushing.group_servers import (
    ATROPOS_PYTHON,
    NO_ATROPOS,
    PoorServer,
    run_real_server,
)
from tests.adversarial.test_reexecuting_steps import get_steps


@pytest.fixture
def course(taught, tmp_path):
    """A copy of its own: its journal is new."""
    shutil.copytree(taught, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture
def poor():
    with closing(PoorServer()) as server:
        yield server


@pytest.fixture(scope="module")
def atropos(tmp_path_factory):
    if ATROPOS_PYTHON is None:
        pytest.skip(NO_ATROPOS)
    with run_real_server(tmp_path_factory.mktemp("atropos")) as server:
        yield server


@pytest.fixture(scope="session")
def read(taught):
    """The steps that are read and scored, in order."""
    checkpoints, found = CheckpointFolder(taught / "models"), {}
    for step in map(read_step, get_steps(taught)):
        taken = read_step_groups(step)
        found[step.record.digest] = taken, list(step_push.make_rows(step, taken, checkpoints))
    return found


class QuickDatabase(Database):
    """A database without syncs to the disk: only the program is killed, not the machine."""

    def __init__(self, file):
        super().__init__(file)
        self.execute("PRAGMA synchronous = OFF")


@pytest.fixture
def known(course, read, monkeypatch):
    """The steps' groups, read and scored once: that takes seconds, and no kill is tested there."""
    monkeypatch.setattr(
        step_push, "read_step_groups", lambda step, parser: read[step.record.digest][0]
    )
    monkeypatch.setattr(step_push, "make_rows", lambda step, *_: read[step.record.digest][1])
    monkeypatch.setattr(step_push, "Database", QuickDatabase)
    return course
