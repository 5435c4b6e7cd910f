"""Whether the processes of a team are there: each says so again and again.

From a process that is stopped, a machine without power or a network that is gone nothing comes, not
even an error, and whoever meets it in a collective waits. How long an honest step may take nobody
knows here: it follows from model, cards and minibatch, and between two lessons may lie days. So
there is no deadline on a step. A thread of its own says that a process is there, whatever that is
at; the first listens to all, and all to the first.

What this does not know: a process that says so and never comes to an end.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

#: Seconds between two signs of life, and how many may be missing. Together five minutes: less than
#: a window of the main network; more than a machine under load, or one that is moved while it runs,
#: holds its breath, and than any call takes that lets no other thread run, such as reading a
#: tensor of some GB from a slow disk.
BEAT_S, MISSED_MAX = 10.0, 30


@dataclass(slots=True)
class _Watch:
    """The watch of one process over those that it listens to.

    Attributes:
        heard: rank → signs of life that have come from it.
    """

    store: Store
    rank: int
    size: int
    heard: dict[int, int]
    is_over: Event = field(default_factory=Event)

    def exchange(self) -> None:
        """Says that this process is there, and hears of the others. Without the store, or where it
        does not answer, nobody is heard of any more."""
        with suppress(dist.DistError):
            while not self.is_over.is_set():
                self._count(self.rank, 1)
                for other in self.heard:
                    self.heard[other] = self._count(other, 0)
                self.is_over.wait(BEAT_S)

    def _count(self, rank: int, more: int) -> int:
        return int(self.store.add(f"assay-alive-{rank}", more))

    def look(self) -> None:
        """Ends this process when another is silent for too long. Time is counted in looks: a team
        that is paused as a whole goes on after it."""
        last, missed = dict(self.heard), dict.fromkeys(self.heard, 0)
        while not self.is_over.wait(BEAT_S):
            now = dict(self.heard)
            missed = {other: 0 if now[other] != last[other] else missed[other] + 1 for other in now}
            last = now
            silent = [other for other, count in missed.items() if count >= MISSED_MAX]
            if silent and not self.is_over.is_set():
                self._end(silent[0])

    def _end(self, silent: int) -> None:
        """The main thread may wait in a collective, where no exception reaches it. What is on disk
        is as after a kill."""
        # of several that miss the first, one a machine says so
        if self.rank <= 1 or dist.get_node_local_rank() == 0:
            print(
                f"assay: process {silent} of {self.size} has given no sign of life for "
                f"{BEAT_S * MISSED_MAX:.0f} s: it hangs, or its machine is gone, and the team "
                "ends; the same command goes on after the last lesson",
                file=sys.stderr,
                flush=True,
            )
        os._exit(1)


@contextmanager
def watch_team(store: Store, rank: int, size: int) -> Iterator[None]:
    """Ends this process where another falls silent, with one sentence.

    Args:
        store: of the team; nothing else uses this connection.
        rank, size: this process's number, and how many there are.
    """
    heard = dict.fromkeys(range(1, size) if rank == 0 else range(1), 0)
    watch = _Watch(store, rank, size, heard)
    for act in (watch.exchange, watch.look):
        Thread(target=act, name=f"team: {act.__name__}", daemon=True).start()
    try:
        yield
    finally:
        watch.is_over.set()
