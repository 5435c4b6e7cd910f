"""Forward passes on many devices: a worker process for each, on this machine or across a cluster.

A `WorkerPool` gives checkpoints whose forward passes its workers run: to the judge they are as any
other. One request is one submission's batch, whole: what is packed together never depends on who
is free, nor does a verdict. A worker that dies, hangs or runs out of memory is started anew and its
request asked again; one whose device is gone is left out until it is back. Start with
`worker_pool`; `worker` is what runs on the other side, `worker_messages` what crosses between them.
"""

__all__ = ["worker_messages", "worker_pool"]
