"""The resources of this process at a moment: memory, threads, file descriptors, children, tasks."""

import asyncio
import ctypes
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

_LIBC = ctypes.CDLL(None)
#: Options of glibc's malloc.h.
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3
#: Bytes from which on a block is the system's own: glibc's default, which would grow by itself.
_LARGE = 128 << 10


@dataclass(frozen=True, slots=True)
class Gauge:
    """One look. `memory` is resident bytes after garbage was released."""

    memory: int
    threads: int
    descriptors: int
    children: int
    tasks: int


def fix_allocator() -> None:
    """Has the allocator share one heap among all threads, and keep no large block that is free:
    here several programs live in one process, and each of their lives begins threads, with heaps
    of their own to fragment."""
    _LIBC.mallopt(_ARENA_MAX, 1)
    _LIBC.mallopt(_MMAP_THRESHOLD, _LARGE)


def look() -> Gauge:
    """Measure, after garbage collection and after the allocator has returned what it can."""
    gc.collect()
    _LIBC.malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    # by type: `isinstance` would ask lazy modules for their class
    loops = {o for o in gc.get_objects() if issubclass(type(o), asyncio.AbstractEventLoop)}
    own = [loop for loop in loops if not loop.is_closed()]
    return Gauge(
        memory=pages * os.sysconf("SC_PAGE_SIZE"),
        threads=threading.active_count(),
        descriptors=len(os.listdir("/proc/self/fd")),
        children=sum(
            len(file.read_text().split()) for file in Path("/proc/self/task").glob("*/children")
        ),
        tasks=sum(len(asyncio.all_tasks(loop)) for loop in own),
    )
