"""What a piece of work uses: the children and devices that answer it, and those that fail at it.

A request that fails may be at fault itself, or the child that should have answered it. Which of the
two is known once a child of the same kind has answered somebody else since:

    usage = Usage()
    with watch(usage):
        judge(file)  # anywhere below, on any thread of `run_all`: with using("sandbox"): …
    usage.served, usage.failed  # {"device cpu"}, {"sandbox": …}
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

#: Asks a kind of child something small. Raises as a request does.
Probe = Callable[[], None]


@dataclass(slots=True)
class Usage:
    """Kinds of children, and devices, by name. One that has answered and failed is in both.

    Attributes:
        failed: each with what asks it something small; None: only a whole piece of work can.
        began, ended: of the watched work, on the monotonic clock.
    """

    served: set[str] = field(default_factory=set)
    failed: dict[str, Probe | None] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0


_watched: ContextVar[Usage | None] = ContextVar("usage", default=None)


@contextmanager
def watch(usage: Usage) -> Iterator[None]:
    """Note what the body uses, and threads to which its context is copied."""
    token = _watched.set(usage)
    usage.began = time.monotonic()
    try:
        yield
    finally:
        usage.ended = time.monotonic()
        _watched.reset(token)


@contextmanager
def using(name: str, probe: Probe | None = None) -> Iterator[None]:
    """Note that the body is answered by what has this name, or that it fails there."""
    usage = _watched.get()
    try:
        yield
    except BaseException:
        if usage is not None:
            usage.failed[name] = probe
        raise
    if usage is not None:
        usage.served.add(name)
