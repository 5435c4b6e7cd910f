"""A neuron as a process: its folder, its loop, its status, logs and metrics, and its exit.

`program_loop.py` is the outermost loop and the only place that catches everything; `database.py`
the sqlite file under it; `program_status.py` the shape of status.json, `counters.py`, `metrics.py`
and `metrics_server.py` the same in figures, `logs.py` the lines. Nothing here knows a miner from a
validator. Start with `program_loop.py`.
"""

__all__ = ["counters", "database", "logs", "metrics_server", "program_loop", "program_status"]
