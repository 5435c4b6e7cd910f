"""Detects lost processes of a team: each process sends signs of life again and again.

A stopped process, a machine without power or a lost network sends nothing, not even an error, and a
process that meets it in a collective waits. Nobody knows here how long an honest step may take: it
depends on model, GPUs and minibatch, and days may pass between two lessons. So a step has no
deadline. A separate thread sends a sign of life whatever the process does. The first process
listens to all, and all listen to the first.

A process that sends signs of life but never finishes is not detected.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from assay.training.team_launch import STORE_FILE

#: Seconds between two signs of life, and the number that may be missing. Together they are five
#: minutes. That is less than a window of the main network. It is more than the pauses of a machine
#: under load or one that is migrated, and more than any call that blocks all threads, such as
#: reading a tensor of some GB from a slow disk.
BEAT_S, MISSED_MAX = 10.0, 30


class Signs(Protocol):
    """Where the processes of a team send signs of life."""

    def send(self, rank: int) -> None:
        """Send one of this process's. Raises OSError, DistError."""

    def read(self, rank: int) -> int:
        """A number that another process's next sign changes. Raises OSError, DistError."""


class StoreSigns:
    """Signs of life in a team's store. Nothing else uses this connection."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def send(self, rank: int) -> None:
        self._store.add(f"assay-alive-{rank}", 1)

    def read(self, rank: int) -> int:
        return int(self._store.add(f"assay-alive-{rank}", 0))


class FileSigns:
    """Signs of life in a folder of this machine: a file's time for each process. A store that is a
    file would grow with each sign."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, rank: int) -> None:
        for name in f"alive-{rank}", STORE_FILE:  # systems remove files that nobody touches
            (self._folder / name).touch()

    def read(self, rank: int) -> int:
        with suppress(FileNotFoundError):
            return (self._folder / f"alive-{rank}").stat().st_mtime_ns
        return 0


@dataclass(slots=True)
class _Watch:
    """The watch of one process over the processes that it listens to.

    Attributes:
        heard: rank → what its last sign of life was.
    """

    signs: Signs
    rank: int
    size: int
    heard: dict[int, int]
    is_over: Event = field(default_factory=Event)

    def exchange(self) -> None:
        """Send a sign of life and read those of the others. Without the store or the folder, or if
        it does not answer, nothing is heard any more."""
        with suppress(dist.DistError, OSError):
            while not self.is_over.is_set():
                self.signs.send(self.rank)
                for other in self.heard:
                    self.heard[other] = self.signs.read(other)
                self.is_over.wait(BEAT_S)

    def look(self) -> None:
        """End this process when another is silent for too long. Time is counted in looks: a team
        that is paused as a whole continues afterwards."""
        last, missed = dict(self.heard), dict.fromkeys(self.heard, 0)
        while not self.is_over.wait(BEAT_S):
            now = dict(self.heard)
            missed = {other: 0 if now[other] != last[other] else missed[other] + 1 for other in now}
            last = now
            silent = [other for other, count in missed.items() if count >= MISSED_MAX]
            if silent and not self.is_over.is_set():
                self._end(silent[0])

    def _end(self, silent: int) -> None:
        """End this process at once: the main thread may wait in a collective, where no exception
        reaches it. The disk is as after a kill."""
        # if several miss the first one, one on each machine reports it
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
def watch_team(signs: Signs, rank: int, size: int) -> Iterator[None]:
    """End this process with one sentence when another falls silent, for the duration of the block.

    Args:
        rank, size: this process's number, and the number of processes.
    """
    heard = dict.fromkeys(range(1, size) if rank == 0 else range(1), 0)
    watch = _Watch(signs, rank, size, heard)
    for act in (watch.exchange, watch.look):
        Thread(target=act, name=f"team: {act.__name__}", daemon=True).start()
    try:
        yield
    finally:
        watch.is_over.set()
