"""Forward passes on many devices: a worker process for each, on this machine or across a cluster.

A `WorkerPool` gives checkpoints whose forward passes its workers run. The judge uses them like any
other checkpoint. One request is one submission's whole batch: the packing never depends on which
worker is free, and neither does a verdict. A worker that dies, hangs or runs out of memory is
restarted and its request is sent again. A worker whose device is gone is left out until it is back.
Start with `pool`. `worker` runs on the other side, and `messages` defines the
messages.
"""

__all__ = ["messages", "pool"]
