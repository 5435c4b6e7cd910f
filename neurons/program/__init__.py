"""A neuron as a process: its folder, its loop, its status, logs and metrics, and its exit.

`loop.py` is the outermost loop and the only place that catches every exception. `neuron.py` opens a
neuron's session, with the parts that judge and run models, and watches the network once a window;
`running.py` opens a program on it and runs its loop. `status.py` describes what all programs have
in status.json, `metrics.py` and the tables beside it the metrics that are read from it,
`counters.py` and `metrics_server.py` what they count and who may ask, `logs.py` the log lines.
`life.py` says from outside whether a program runs. Nothing here but these tables distinguishes a
miner from a validator. Start with `loop.py`.
"""

__all__ = [
    "counters",
    "life",
    "logs",
    "loop",
    "metrics_server",
    "neuron",
    "running",
    "software",
    "status",
]
