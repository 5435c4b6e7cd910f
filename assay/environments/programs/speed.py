"""Measures how quickly this machine counts, for a plan. No verdict depends on it."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from assay.environments.problem_file import ProblemFileError
from assay.environments.programs.interpreter import run_program
from assay.protocol.parameters import MILLION
from assay.sandbox import WorkerError, count_cores

#: Millions of units that each core counts, in a loop of common work.
_COUNTED = 2_000


def measure_rate() -> float | None:
    """Millions of units a second by all cores together; None: no interpreter runs here."""
    cores = count_cores()

    def count(units: int) -> None:
        run_program("while True: pass", b"", units * MILLION)

    try:
        with ThreadPoolExecutor(cores) as executor:
            list(executor.map(count, [10] * cores))  # the children start
            began = perf_counter()
            list(executor.map(count, [_COUNTED] * cores))
    except (ProblemFileError, WorkerError):
        return None
    return cores * _COUNTED / (perf_counter() - began)
