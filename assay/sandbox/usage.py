"""What a piece of work uses: the children and devices that answer it, and those that fail at it.

A request that fails may be at fault itself, or the child that should have answered it. Which of the
two is known once a child of the same kind has answered somebody else's:

    usage = Usage()
    with watch(usage):
        judge(file)  # anywhere below, on any thread of `run_all`: with using("sandbox"): …
    usage.served, usage.failed  # {"device cpu"}, {"sandbox"}
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Usage:
    """Names of kinds of children, and of devices. One that has answered and failed is in both."""

    served: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


_watched: ContextVar[Usage | None] = ContextVar("usage", default=None)


@contextmanager
def watch(usage: Usage) -> Iterator[None]:
    """Note what the body uses, and threads to which its context is copied."""
    token = _watched.set(usage)
    try:
        yield
    finally:
        _watched.reset(token)


@contextmanager
def using(name: str) -> Iterator[None]:
    """Note that the body is answered by what has this name, or that it fails there."""
    usage = _watched.get()
    try:
        yield
    except BaseException:
        if usage is not None:
            usage.failed.add(name)
        raise
    if usage is not None:
        usage.served.add(name)
