"""Measured by workers and here, and compared."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assay.training import GENESIS


def as_bytes(measured):
    """All of it, with types."""
    return [
        [(row.dtype.str, row.shape, row.tobytes()) for row in columns]
        for columns in ((m.margins, m.best, m.gini, m.logprobs, m.sketch) for m in measured)
    ]


def measure_here(checkpoint, prefills):
    forward = checkpoint.get_reference(1_024)
    return [as_bytes(forward.measure(*prefill)) for prefill in prefills]


def measure_all(pool, checkpoint, prefills, threads=3):
    forward = pool.load(GENESIS, checkpoint.digest).get_forward(1_024)
    with ThreadPoolExecutor(threads) as beside:
        return [as_bytes(m) for m in beside.map(lambda p: forward.measure(*p), prefills)]


def get_pids(pool):
    return [worker.pid for worker in pool.describe()]


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is read
        return False
    return state != "Z"


def wait_until(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
