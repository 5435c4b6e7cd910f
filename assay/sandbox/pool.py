"""Several children that are alike: as many requests at once as there are children."""

import os
import threading
from typing import Self
from weakref import WeakSet

from assay.sandbox.parent import Budget, Lost, Sandbox, WorkerError
from assay.sandbox.preloaded import PreloadedPython

#: Seconds to wait for a free child, in units of the limit of a request: none holds a child longer
#: than it takes to lose two of them.
_TURNS = 4.0


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SandboxPool:
    """Keeps up to `size` children. Each is started when all others are busy.

    Safe to share between threads: each request has a child to itself, and a reply may not depend on
    which one it is. A fork of this process starts children of its own.

    Args:
        name, boot, seconds, preloaded: see `Sandbox`.
        size: most children.
    """

    def __init__(
        self,
        name: str,
        boot: str,
        seconds: float,
        size: int,
        preloaded: PreloadedPython | None = None,
    ) -> None:
        self._name, self._seconds = name, seconds
        self._sandboxes = [Sandbox(name, boot, seconds, preloaded=preloaded) for _ in range(size)]
        self.free_all()
        _pools.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def free_all(self) -> None:
        """At the start and in a fork: no request holds a child. No other thread is here, whatever
        it held."""
        self._changed = threading.Condition()
        self._free = self._sandboxes[::-1]  # the last one is taken next, so idle ones are not begun

    @property
    def pids(self) -> list[int]:
        """Processes of the children that were started."""
        return [sandbox.pid for sandbox in self._sandboxes if sandbox.pid is not None]

    def close(self) -> None:
        """End all children. Later requests raise WorkerError."""
        for sandbox in self._sandboxes:
            sandbox.close()

    def renew(self) -> None:
        """End all children, so that later requests get new ones."""
        for sandbox in self._sandboxes:
            sandbox.renew()

    def ask(self, request: bytes, reply_max: int, budget: Budget, seconds: float) -> bytes | Lost:
        """See `Sandbox.ask`. Waits for a free child.

        Raises:
            WorkerError: no child can be started, none came free, or the pool is closed.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._free, _TURNS * self._seconds):
                raise WorkerError(f"no {self._name} came free")
            sandbox = self._free.pop()
        try:
            return sandbox.ask(request, reply_max, budget, seconds)
        finally:
            with self._changed:
                self._free.append(sandbox)
                self._changed.notify()


_pools: WeakSet[SandboxPool] = WeakSet()


def _free_pools() -> None:
    for pool in list(_pools):
        pool.free_all()


os.register_at_fork(after_in_child=_free_pools)
