"""A team started by this process, whose members are forks of one that has loaded torch."""

import signal
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

from assay.training.team import run_team
from tests.commands import PRELOADED

_ROOT = Path(__file__).parents[2]
#: `python -m`, where a fork does not find the tests.
_MEMBER = (
    "import runpy, sys\n"
    f"sys.path.insert(0, {str(_ROOT)!r})\n"
    "name = sys.argv.pop(1)\n"
    "runpy.run_module(name, run_name='__main__')"
)
_SIGNALS = signal.SIGINT, signal.SIGTERM


def run_forked_team(processes: int, name: str, *arguments: str) -> int:
    """`run_team` with `-m name arguments`. Undoes what torch changes in a process that starts a
    team."""

    def fork(args: tuple[str, ...], **options: Any) -> Any:
        _python, _m, *words = args
        return PRELOADED.popen(_MEMBER, words, **options)

    handlers = [signal.getsignal(number) for number in _SIGNALS]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess_handler, "Popen", fork)
        patched.setenv("TORCHELASTIC_SIGNALS_TO_HANDLE", "")  # torch writes there
        try:
            return run_team(processes, ["-m", name, *arguments])
        finally:
            for number, handler in zip(_SIGNALS, handlers, strict=True):
                signal.signal(number, handler)
