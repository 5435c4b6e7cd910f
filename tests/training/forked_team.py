"""A team started by this process, whose members are forks of one that has loaded torch."""

from pathlib import Path
from typing import Any

import pytest

from assay.training import team_launch
from tests.commands import PRELOADED

_ROOT = Path(__file__).parents[2]
#: `python -m`, where a fork does not find the tests.
_MEMBER = (
    "import runpy, sys\n"
    f"sys.path.insert(0, {str(_ROOT)!r})\n"
    "name = sys.argv.pop(1)\n"
    "runpy.run_module(name, run_name='__main__')"
)


def run_forked_team(processes: int, name: str, *arguments: str) -> int:
    """`run_team` with `-m name arguments`."""

    def fork(args: list[str], **options: Any) -> Any:
        _python, _m, *words = args
        return PRELOADED.popen(_MEMBER, words, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(team_launch, "Popen", fork)
        return team_launch.run_team(processes, ["-m", name, *arguments])
