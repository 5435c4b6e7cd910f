"""Starting a pool of eight workers on a CPU, until each has said that it is ready, and ending it.

With a preloaded process one import of torch and transformers serves all: they are its forks. The
baseline is a cold start of each. Both pools start in turn in this process, and the preloaded
process starts anew with its pool. CPU seconds count all processes to their end, so other work of
the machine does not count. Restarting a lost worker is the start of one more fork. `--fast`: two
workers.
"""

from figures import FAST, Figure, report, time_cpu

from assay.inference.workers.messages import WorkerSettings
from assay.inference.workers.pool import WORKER, WorkerPool
from assay.sandbox import PreloadedPython, Sandbox

COUNT, REPEATS = (2, 1) if FAST else (8, 3)
BOOT = f"from {WORKER} import serve_worker; serve_worker()"
END = "import os; os._exit(0)"


def start_pool(preloaded: PreloadedPython | None) -> None:
    def make_sandbox(name: str, settings: WorkerSettings, seconds: float) -> Sandbox:
        return Sandbox("worker", BOOT, seconds, preloaded=preloaded)

    pool = WorkerPool([WorkerSettings(threads=1)] * COUNT, make_sandbox)
    try:
        pool.start()
        assert pool.trouble is None
        assert preloaded is None or not preloaded.refusal
    finally:
        pool.close()
        if preloaded is not None:
            preloaded.close()


def time_one_more() -> float:
    """Seconds of one more fork, from the request to its end."""
    preloaded = PreloadedPython([WORKER])
    try:
        preloaded.popen(END).wait()
        return min(time_cpu(lambda: preloaded.popen(END).wait())[0] for _ in range(9))
    finally:
        preloaded.close()


def main() -> None:
    cold, forked = [], []
    for _ in range(REPEATS):
        cold.append(time_cpu(lambda: start_pool(None)))
        forked.append(time_cpu(lambda: start_pool(PreloadedPython([WORKER]))))
    report(
        f"start of {COUNT} workers of one thread on a CPU",
        [
            Figure(
                f"start and end of {COUNT} workers, CPU time",
                min(cpu for _, cpu in forked),
                "s",
                "cold starts",
                min(cpu for _, cpu in cold),
                ratio_bound=None if FAST else 0.35,
            ),
            Figure(
                f"start and end of {COUNT} workers",
                min(wall for wall, _ in forked),
                "s",
                "cold starts",
                min(wall for wall, _ in cold),
            ),
            Figure("one more fork", time_one_more(), "s"),
        ],
        1,
    )


if __name__ == "__main__":
    main()
