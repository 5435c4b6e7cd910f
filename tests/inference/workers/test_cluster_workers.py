"""Workers on a Ray cluster: the same numbers, and one line where it is away, wholly or by half."""

import importlib.util
import os
import signal
import socket
import sys

import pytest

from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import open_workers
from assay.sandbox import WorkerError, cluster, parent
from tests.inference.workers.pooled import as_bytes, get_pids, measure_all, measure_here, wait_until
from tests.inference.workers.small_cluster import open_cluster

CPU = WorkerSettings()
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="there is no Ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_hosts():
    with open_cluster(hosts=2) as small:
        yield small


@needs_ray
def test_actors_measure_to_the_bit_what_this_process_does(two_hosts, checkpoint, prefills):
    expected = measure_here(checkpoint, prefills)
    with open_workers([CPU, CPU], two_hosts.address) as pool:
        assert measure_all(pool, checkpoint, prefills) == expected
        pids = get_pids(pool)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert measure_all(pool, checkpoint, prefills) == expected
        assert pool.trouble is None
        assert not set(pids) & set(get_pids(pool))


@needs_ray
@pytest.mark.nightly
def test_a_cluster_that_is_half_away(two_hosts, checkpoint, prefills):
    expected = measure_here(checkpoint, prefills)
    with open_workers([CPU, CPU], two_hosts.address, retry_s=0.5) as pool:
        assert measure_all(pool, checkpoint, prefills) == expected
        two_hosts.tell("remove")
        while pool.trouble is None:  # until both were asked, and one was waited for
            assert measure_all(pool, checkpoint, prefills) == expected
        assert "no host of the Ray cluster has had room for 1 CPU" in pool.trouble.text
        assert pool.trouble.text.endswith("the others continue")
        assert measure_all(pool, checkpoint, prefills) == expected
        two_hosts.tell("add")
        wait_until(lambda: pool.trouble is None, 200)
        assert measure_all(pool, checkpoint, prefills) == expected


@needs_ray
@pytest.mark.nightly
def test_a_cluster_that_goes_away_ends_no_program(checkpoint, prefills):
    with open_cluster(hosts=1) as small, open_workers([CPU], small.address) as pool:
        forward = pool.load(checkpoint.folder, checkpoint.digest).get_forward(1_024)
        assert as_bytes(forward.measure(*prefills[0])) == measure_here(checkpoint, prefills)[0]
        small.kill()

        def measure_on():
            while True:
                forward.measure(*prefills[0])

        with pytest.raises(WorkerError, match="no Ray cluster answers at"):
            measure_on()


def test_a_cluster_that_was_never_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = (
        rf"no Ray cluster answers at 127.0.0.1:{port} .*refused.*: start it there with `ray start"
    )
    with pytest.raises(WorkerError, match=said), open_workers([CPU, CPU], f"127.0.0.1:{port}"):
        pass


def test_without_ray_a_line_names_the_extra(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        boot = (
            "import sys; sys.modules['ray'] = None; from assay.sandbox.cluster import serve_actor; "
            f"serve_actor({address!r}, 'nothing:Nothing', 1, 0)"
        )
        sandbox = parent.Sandbox("worker", boot, 60.0, starts=1)
        with sandbox, pytest.raises(WorkerError, match=r"pip install 'assay\[cluster\]'"):
            sandbox.ask(b"?", 1, parent.Budget(1.0))
    assert sys.modules["assay.sandbox.cluster"] is cluster
