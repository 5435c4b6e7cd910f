"""A neuron as a process: its folder, its loop, its status, logs and metrics, and its exit.

`loop.py` is the outermost loop and the only place that catches every exception. `database.py` has
the SQLite file under it, `status.py` the shape of status.json, `metrics.py` the table of metrics
that are read from it, `counters.py` and `metrics_server.py` what they count and who may ask,
`logs.py` the log lines. `life.py` says from outside whether a program runs. Nothing here
distinguishes a miner from a validator. Start with `loop.py`.
"""

__all__ = ["counters", "database", "life", "logs", "loop", "metrics_server", "software", "status"]
