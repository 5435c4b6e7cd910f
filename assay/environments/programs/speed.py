"""Measures how quickly this machine counts, for a plan. No verdict depends on it."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from assay.environments.problem_file import ProblemFileError
from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.parameters import MILLION
from assay.sandbox import WorkerError, count_cores
from assay.sandbox.guest import Budget, Request, run

#: Millions of units that each core counts, in a loop of common work.
_COUNTED = 2_000


def measure_rate() -> float | None:
    """Millions of units a second by all cores together; None: no program runs here."""
    cores = count_cores()

    def count(units: int) -> None:
        run(Request(b"while True: pass"), Budget(units * MILLION))

    try:
        require_sandbox()
        with ThreadPoolExecutor(cores) as executor:
            list(executor.map(count, [10] * cores))  # the children start
            began = perf_counter()
            list(executor.map(count, [_COUNTED] * cores))
    except (ProblemFileError, WorkerError):
        return None
    return cores * _COUNTED / (perf_counter() - began)
