"""Scores many completions at once, on as many threads as their environment can use."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from assay.environments.base import Environment, Problem, RewardParts


def score_all(environment: Environment, asked: Sequence[tuple[Problem, str]]) -> list[RewardParts]:
    """The score of each completion under its problem, in their order. Equal to calling
    `Environment.score` for one after the other, whose errors it raises."""
    threads = min(environment.scorers, len(asked))
    if threads <= 1:
        return [environment.score(problem, completion) for problem, completion in asked]
    with ThreadPoolExecutor(threads, thread_name_prefix="score") as executor:
        begun = [executor.submit(environment.score, *each) for each in asked]
        try:
            return [each.result() for each in begun]
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
