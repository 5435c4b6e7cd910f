"""Runs what many completions ask of their environment at once, on as many threads as it can use."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from assay.environments.base import Environment, Problem, RewardParts

_T = TypeVar("_T")


def run_all(environment: Environment, tasks: Sequence[Callable[[], _T]]) -> list[_T]:
    """The results of tasks that step or score states of an environment, in their order. Equal to
    calling one after the other, whose errors it raises."""
    threads = min(environment.scorers, len(tasks))
    if threads <= 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(threads, thread_name_prefix="score") as executor:
        begun = [executor.submit(copy_context().run, task) for task in tasks]
        try:
            return [each.result() for each in begun]
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def score_all(environment: Environment, asked: Sequence[tuple[Problem, str]]) -> list[RewardParts]:
    """The score of each completion under its problem, as `run_all` has them."""
    return run_all(environment, [partial(environment.score, *each) for each in asked])
