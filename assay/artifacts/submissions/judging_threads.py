"""Judges submissions in parallel: each on its own thread, with results taken in the order begun.

A judge computes and waits for a forward pass. Several of them keep as many workers busy. Nothing is
decided here: the caller that begins a job takes its result, on its own thread.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread
from typing import Any, Generic, TypeVar

_J = TypeVar("_J")
#: Seconds between two looks at running jobs, and for which a program that ends waits for them.
_LOOK_S, _END_S = 1.0, 60.0


@dataclass(slots=True, eq=False)
class Judgment(Generic[_J]):
    """A job and its result.

    Attributes:
        job: the owner's name for the job.
        seconds: its time without waiting for a worker.
    """

    job: _J
    is_done: bool = False
    seconds: float = 0.0
    _value: Any = None
    _error: BaseException | None = field(default=None, repr=False)

    def run(self, call: Callable[[], Any], get_waited: Callable[[], float]) -> None:
        """Run the job, and keep its error for `get`."""
        began, waited = time.perf_counter(), get_waited()
        try:
            self._value = call()
        except BaseException as error:  # noqa: BLE001 - `get` raises it
            self._error = error
        self.seconds = time.perf_counter() - began - (get_waited() - waited)

    def get(self) -> Any:
        """The job's result. Raises the job's error."""
        if self._error is not None:
            raise self._error
        return self._value


def judge_here(job: _J, call: Callable[[], Any]) -> Judgment[_J]:
    """The same on the caller's thread: done when this returns."""
    judgment = Judgment(job)
    judgment.run(call, lambda: 0.0)
    judgment.is_done = True
    return judgment


def judge_beside(
    jobs: Iterable[_J], judge: Callable[[_J], Any], most: int
) -> Iterator[Judgment[_J]]:
    """The results of some jobs, in order. `most` run at a time, one of them on this very thread."""
    if most <= 1:
        yield from (judge_here(job, partial(judge, job)) for job in jobs)
        return
    threads: JudgingThreads[_J] = JudgingThreads(most)
    waiting = deque(jobs)
    while waiting or threads.jobs:
        while waiting and threads.has_room:
            job = waiting.popleft()
            threads.begin(job, partial(judge, job))
        judgment = threads.take()
        if judgment is None:
            threads.wait(_LOOK_S)
        else:
            yield judgment


class JudgingThreads(Generic[_J]):
    """Running jobs. For one owner's thread.

    Args:
        most: jobs that run at a time.
        get_waited: seconds that the calling thread has waited for a worker so far.
    """

    def __init__(self, most: int, get_waited: Callable[[], float] = lambda: 0.0) -> None:
        self._most = most
        self._get_waited = get_waited
        self._changed = Condition()
        self._judgments: list[Judgment[_J]] = []  # in the order begun
        self._done = False  # whether another job is done since the last wait

    @property
    def has_room(self) -> bool:
        """Return whether another may begin. A job that hangs takes one place and does not stop the
        others. The number of results waiting behind it is bounded, too."""
        running = sum(not judgment.is_done for judgment in self._judgments)
        return running < self._most and len(self._judgments) < 16 * self._most

    @property
    def jobs(self) -> list[_J]:
        """The jobs that were begun and whose results were not taken, in that order."""
        return [judgment.job for judgment in self._judgments]

    def begin(self, job: _J, call: Callable[[], Any]) -> None:
        judgment = Judgment(job)
        self._judgments.append(judgment)
        Thread(
            target=self._run, args=(judgment, call), name="judge a submission", daemon=True
        ).start()

    def take(self) -> Judgment[_J] | None:
        """Take the oldest job's judgment, if the job is done."""
        if not self._judgments or not self._judgments[0].is_done:
            return None
        return self._judgments.pop(0)

    def take_any(self, wanted: Callable[[_J], bool]) -> Judgment[_J] | None:
        """Take the first wanted job that is done, whatever was begun before it."""
        for judgment in self._judgments:
            if judgment.is_done and wanted(judgment.job):
                self._judgments.remove(judgment)
                return judgment
        return None

    def wait(self, seconds: float) -> bool:
        """Wait this long until one more job is done. Return whether any is running."""
        with self._changed:
            if not self._judgments:
                return False
            if not self._done:
                self._changed.wait(seconds)
            self._done = False
            return True

    def close(self) -> None:
        """Wait for running jobs, so that the process does not end within a forward pass. Nobody
        takes their results."""
        with self._changed:
            self._changed.wait_for(lambda: all(one.is_done for one in self._judgments), _END_S)

    def _run(self, judgment: Judgment[_J], call: Callable[[], Any]) -> None:
        judgment.run(call, self._get_waited)
        with self._changed:
            judgment.is_done = self._done = True
            self._changed.notify_all()
