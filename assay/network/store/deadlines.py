"""A thread's time for waiting on servers: one deadline for each request, one allowance for many."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class WaitAllowance:
    """Seconds that a thread may still wait for servers."""

    seconds: float


#: The current request's deadline, on the monotonic clock; the time that this thread may spend on
#: all of its requests.
_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))
_allowance: ContextVar[WaitAllowance | None] = ContextVar("allowance", default=None)


@contextmanager
def within(seconds: float) -> Iterator[WaitAllowance]:
    """Limit this thread's waiting for web servers in the block to this many seconds in all. Work
    between two requests does not count. Yields the allowance that is left."""
    outer = _allowance.get()
    inner = WaitAllowance(seconds if outer is None else min(seconds, outer.seconds))
    before = inner.seconds
    token = _allowance.set(inner)
    try:
        yield inner
    finally:
        _allowance.reset(token)
        if outer is not None:
            outer.seconds -= before - inner.seconds


@contextmanager
def sparing(seconds: float) -> Iterator[None]:
    """Reserve this many of the thread's seconds for the work after the block, or half of the rest
    if there are fewer."""
    outer = _allowance.get()
    if outer is None:
        yield
        return
    with within(outer.seconds - min(seconds, outer.seconds / 2)):
        yield


@contextmanager
def take_seconds(seconds: float) -> Iterator[None]:
    """Set the deadline of one request, within the thread's allowance, and charge its time to
    that."""
    allowance, started = _allowance.get(), time.monotonic()
    if allowance is not None:
        seconds = min(seconds, allowance.seconds)
    token = _deadline.set(started + max(0.0, seconds))
    try:
        yield
    finally:
        _deadline.reset(token)
        if allowance is not None:
            allowance.seconds -= time.monotonic() - started


@contextmanager
def trying() -> Iterator[None]:
    """One attempt of a request. A deadline that is tightened in the block applies to this attempt
    alone."""
    token = _deadline.set(_deadline.get())
    try:
        yield
    finally:
        _deadline.reset(token)


def tighten(seconds: float) -> None:
    """Require that the current request is done within this many seconds from now, if it had
    more."""
    _deadline.set(min(_deadline.get(), time.monotonic() + seconds))


def get_rest() -> float:
    """The seconds that the current request has left; 0: its time is over."""
    return max(0.0, _deadline.get() - time.monotonic())
