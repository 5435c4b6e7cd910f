"""Each group goes once, at whatever point a pusher is killed.

Kills are at every point between two writes of the journal, and of the real program.
"""

import json
import os
import shutil
import signal
import subprocess
from contextlib import closing

import pytest

from assay.artifacts.database import Database
from assay.audit.provenance.step_push import push_steps
from assay.network.atropos import GroupServer
from tests.adversarial.mortal import Fate, Killed
from tests.adversarial.pushing.counts import GROUPS, count_posts
from tests.adversarial.pushing.group_servers import RECEIVED, PoorServer
from tests.adversarial.test_reexecuting_steps import invoke
from tests.commands import start_program


def wrap_points(monkeypatch, fate):
    """Every write of the journal and every post is two points."""
    monkeypatch.setattr(Database, "commit", fate.wrap(Database.commit, "commit"))
    monkeypatch.setattr(GroupServer, "post", fate.wrap(GroupServer.post, "post"))


def test_killed_at_every_point(known, monkeypatch):
    """No group is sent twice; only a group between two writes has an unknown state."""
    fate = Fate()
    with closing(PoorServer()) as server, monkeypatch.context() as patched:
        wrap_points(patched, fate)
        push_steps(known, server.url, range(1), 60)
    points = fate.points
    assert points.count("before post") == len(server.posted) == 10
    tried = 0
    for number in [*range(26), *range(len(points) - 8, len(points))]:
        shutil.rmtree(known / "push")
        with closing(PoorServer()) as server:
            with monkeypatch.context() as patched:
                fate = Fate([number])
                wrap_points(patched, fate)
                with pytest.raises(Killed):
                    push_steps(known, server.url, range(1), 60)
            sent = len(server.posted)
            summary = push_steps(known, server.url, range(1), 60)
            assert max(count_posts(server.posted).values()) == 1, points[number]
            assert summary.left_over == len(summary.unknown) <= 1
            assert summary.sent + sent + summary.left_over >= 10  # sent, or told
            assert len(server.posted) == sent + summary.sent
            assert summary.sent + summary.already + len(summary.unknown) == 10
            last = push_steps(known, server.url, range(1), 60)
            assert (last.left_over, last.sent, last.unknown) == (0, 0, summary.unknown)
            tried += 1
    print(f"killed at {tried} of {len(points)} points: no group was posted twice")


@pytest.mark.slow
def test_a_program_that_is_killed_while_a_group_is_in_flight(course, poor):
    """kill -9 of `assay export --push`, at its third post."""
    poor.script = lambda number, _: RECEIVED if number != 2 else None
    words = ["export", "--dir", course, "--push", poor.url]
    program = start_program(*words, stderr=subprocess.PIPE)
    try:
        assert poor.came.wait(120)
    finally:
        os.kill(program.pid, signal.SIGKILL)
        program.communicate()
    assert len(poor.posted) == 3
    done = invoke(*words, "--json")
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    root, place = poor.posted[2]
    assert told["unknown"] == [f"{root.hex()}/{place}"]
    assert (told["already"], told["sent"], told["left_over"]) == (2, GROUPS - 3, 1)
    assert f"group {place} of submission {root.hex()[:16]}… was on its way" in done.stderr
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)
    assert len(poor.posted) == GROUPS
    again = invoke(*words)
    assert again.exit_code == 1  # it is still unknown
    assert "sent 0 of 20 groups of 2 steps" in again.stdout
    resent = invoke(*words, "--resend")
    assert resent.exit_code == 0
    assert poor.posted[GROUPS:] == [(root, place)]
