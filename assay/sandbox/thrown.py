"""Turns everything that a library can throw into one error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

#: What no file is to blame for: the machine's lack, and the person's wish to stop.
NOT_THROWN = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, RecursionError)


class LibraryError(ValueError):
    """What a library threw on a stranger's bytes, in one line."""


@contextmanager
def catch_thrown(*passed: type[Exception]) -> Iterator[None]:
    """Raise a LibraryError for everything that the body throws, except `NOT_THROWN` and `passed`. A
    panic of a library in Rust is no Exception, so that nothing else would catch it."""
    through: tuple[type[BaseException], ...] = (*NOT_THROWN, *passed)
    try:
        yield
    except through:
        raise
    except BaseException as error:  # noqa: BLE001 - a panic
        text = " ".join(str(error).split())[:300]
        raise LibraryError(f"{type(error).__name__}: {text}") from None
