"""What the processes of a test run have imported before they begin.

pytest-xdist starts its processes one by one, and each would load torch and the SDK for seconds,
twice: for itself, and in the process of which its programs are forks (`tests/commands.py`). Here
one process loads them, the processes of the test run are its forks, and each of them forks the
process for its programs at once, while it is as clean.
"""

import subprocess
from typing import Any

from execnet.gateway_base import Popen2IO
from execnet.gateway_io import Popen2IOMaster

from assay.sandbox import share_preloaded

#: The kernels first: whoever needs them before the compiler is through compiles them, too.
MODULES = (
    "assay.inference.draws.kernels",
    "assay.inference.workers.worker",
    "assay.neurons.miner.program",
    "assay.neurons.validator.program",
    "assay.neurons.trainer.program",
    "assay.audit.acts",
    "assay.cli.audit_view",
    "assay.cli.demo_view",
    "assay.lab.demo.play",
    "assay.explorer.serving",
    "bittensor",
)
_BEGIN = """
from contextlib import suppress
from assay.sandbox import share_preloaded
with suppress(OSError, ImportError, RuntimeError):  # its children start cold then
    share_preloaded(*{modules}).start_as_fork()
{rest}
"""


class ForkedWorker(Popen2IOMaster):
    """The connection to a process of the test run, which is a fork."""

    def __init__(self, args: list[str], execmodel: Any) -> None:
        code = _BEGIN.format(modules=MODULES, rest=args[-1])
        pipe = subprocess.PIPE
        self.popen = share_preloaded(*MODULES).popen(code, stdin=pipe, stdout=pipe)
        Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel)
