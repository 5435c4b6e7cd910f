"""Ctrl-C where Python or a library drops it."""

import signal
import sys
from collections.abc import Iterator

import pytest

from assay.cli.interrupts import catch_interrupts, importing, require_wanted


@pytest.fixture(autouse=True)
def plain_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with catch_interrupts():  # later commands of this process are wanted
        pass
    signal.signal(signal.SIGINT, before)


class Dying:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def drop_in_destructor(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "unraisablehook", dropped.append)
        Dying()
    assert [drop.exc_type for drop in dropped] == [KeyboardInterrupt]


def test_an_interrupt_that_python_drops_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with catch_interrupts():
        require_wanted()
        drop_in_destructor(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            require_wanted()
        with catch_interrupts(), pytest.raises(KeyboardInterrupt):  # the outer one's stays
            require_wanted()


def test_the_next_command_is_wanted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with catch_interrupts():
        drop_in_destructor(monkeypatch)
    with catch_interrupts():
        require_wanted()


def test_python_says_nothing_of_an_interrupt_that_it_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with catch_interrupts():
        Dying()
        assert not told
        with pytest.raises(KeyboardInterrupt):
            require_wanted()
    assert sys.unraisablehook == told.append


def import_slowly(interrupts: int, done: list[str]) -> None:
    with importing():
        for _ in range(interrupts):
            signal.raise_signal(signal.SIGINT)
        done.append("imported")


def test_an_import_is_not_cut_in_half() -> None:
    """Of numpy or torch, that leaves parts with which no second import succeeds."""
    done: list[str] = []
    with catch_interrupts(), pytest.raises(KeyboardInterrupt):
        import_slowly(1, done)
    assert done == ["imported"]


def test_a_second_interrupt_waits_for_no_import() -> None:
    done: list[str] = []
    with catch_interrupts(), pytest.raises(KeyboardInterrupt):
        import_slowly(2, done)
    assert not done


def test_after_an_import_no_interrupt_waits() -> None:
    with catch_interrupts():
        import_slowly(0, [])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_whoever_started_us_and_takes_interrupts_keeps_them() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with catch_interrupts():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
