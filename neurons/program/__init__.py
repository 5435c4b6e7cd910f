"""A neuron as a process: its folder, its loop, its status, logs and metrics, and its exit.

`program_loop.py` is the outermost loop and the only place that catches every exception.
`database.py` has the SQLite file under it, `program_status.py` the shape of status.json,
`counters.py`, `metrics.py`, `status_samples.py` and `metrics_server.py` the metrics, `logs.py` the
log lines. Nothing
here distinguishes a miner from a validator. Start with `program_loop.py`.
"""

__all__ = ["counters", "database", "logs", "metrics_server", "program_loop", "program_status"]
