"""A Ray cluster on this machine, in its own process: its loss ends no test.

Each line on standard input is done and answered: `add` a host with one processor, `remove` the one
added last, `address`.
"""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager


class SmallCluster:
    """A small cluster for a test."""

    def __init__(self, process):
        self._process = process
        self.address = self.tell("address")

    def tell(self, word):
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith(b"done "):
                return line.removeprefix(b"done ").decode().strip()
        raise AssertionError("the cluster has ended")

    def kill(self):
        """All of it, at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def open_cluster(hosts=2):
    with subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            cluster = SmallCluster(process)
            for _ in range(hosts - 1):
                cluster.tell("add")
            yield cluster
        finally:
            if process.poll() is None:
                cluster.kill()


def main():
    from ray.cluster_utils import Cluster

    # Ray's own priority is so low that beside other tests a process does not start for minutes
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": {"worker_niceness": 0}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    hosts = []
    for line in sys.stdin:
        if line.strip() == "add":
            hosts.append(cluster.add_node(num_cpus=1))
        elif line.strip() == "remove":
            cluster.remove_node(hosts.pop(), allow_graceful=False)
        print("done", cluster.address, flush=True)


if __name__ == "__main__":
    main()
