"""A sandbox: handles strangers' files and code in a child process that may crash.

Native code that a crafted input may crash, stall or bloat, and scorers that may loop for ever, run
under limits on memory and CPU time. Each request has a deadline. A child that dies, stalls or
answers nonsense is replaced. Only framed bytes of limited length cross the pipes, and nothing that
the child sends is unpickled. This package knows processes and bytes, never their meaning. Start
with `Sandbox` in `parent`; `pool` has several alike. `child` runs on the other side, `cluster` is a
child whose work another host does, and `preloaded` forks children that run our own code.
"""

from assay.sandbox.cluster import make_remote_sandbox
from assay.sandbox.parent import Budget, Lost, Sandbox, WorkerError
from assay.sandbox.pool import SandboxPool, count_cores
from assay.sandbox.preloaded import PreloadedPython, share_preloaded

__all__ = [
    "Budget",
    "Lost",
    "PreloadedPython",
    "Sandbox",
    "SandboxPool",
    "WorkerError",
    "count_cores",
    "make_remote_sandbox",
    "share_preloaded",
]
