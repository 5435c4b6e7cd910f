"""The export: any environment as a wheel with a taskset of verifiers 0.4.

The wheel asks the problems of the same seeds, and scores with the environment itself, which the
package `assay` contains: nothing is written a second time, so nothing can differ. The wheel holds
the files that the environment needs, and finds them by their digest as usual.
"""

import json
import re
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

from assay.environments.base import Environment
from assay.environments.foreign.archive import ZIP_FAULTS
from assay.environments.problem_file import find_file, list_needed_files
from assay.environments.tasksets.wheel_file import write_wheel

#: Families that only the extra `envs` can open.
_EXTRA = "code:", "package:", "reasoning_gym:", "verifiers:"

_INIT = '''"""@SUMMARY@."""

from @MODULE@.taskset import AssayTaskset

__all__ = ["AssayTaskset"]
'''
_TASKSET = '''"""@SUMMARY@: the same problems from the same seeds, and the same scorer."""

import json
from functools import lru_cache
from pathlib import Path

import verifiers.v1 as vf

from assay.environments.problem_file import add_problem_files
from assay.environments.rewards import choose_rewards, compute_reward
from assay.environments.registry import make_environment
from assay.environments.dealing import make_miner_problem
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import MILLION

HERE = Path(__file__).parent
NOBODY = bytes(32)


@lru_cache(1)
def open_environment():
    """Once a process. Raises RuntimeError: this assay makes other problems than the wheel's."""
    named = json.loads((HERE / "environment.json").read_text())
    add_problem_files(HERE / "files" / digest for digest in named["files"])
    environment = make_environment(named["name"], named["settings"])
    if environment.digest.hex() != named["digest"]:
        raise RuntimeError(
            f"{named['name']} is another version in this assay, its extras or this Python: install "
            f"assay {named['assay']} with Python {named['python']}"
        )
    return environment


def make_problem(seed, index, levels):
    """As `assay env sample` does."""
    environment, challenge = open_environment(), bytes.fromhex(seed)
    return make_miner_problem(environment, challenge, NOBODY, index, start_levels(levels))


class AssayData(vf.TaskData):
    seed: str
    """The taskset's, 32 bytes in hex."""
    index: int
    """The problem's, of the seed."""
    levels: list[int]
    """Those in force, dealt in blocks."""
    level: int
    """The one dealt."""


class AssayTask(vf.Task[AssayData]):
    @vf.stop
    async def single_turn(self, trace: vf.Trace) -> bool:
        return trace.num_turns >= 1

    @vf.reward(weight=1.0)
    async def correct(self, trace: vf.Trace) -> float:
        """Under the default reward weights, as `assay env score` has it, by 1,000,000."""
        environment = open_environment()
        problem = make_problem(self.data.seed, self.data.index, self.data.levels)
        replies = trace.assistant_messages
        # all of it: `last_reply` leaves out white space, which counts
        text = (replies[-1].content or "") if replies else ""
        parts = environment.score(problem, text)
        return compute_reward(parts, 0, choose_rewards(environment.rated), 1) / MILLION


class AssayConfig(vf.TasksetConfig):
    seed: str = "00" * 32
    """32 bytes in hex: `--seed` of `assay env sample` and `assay env score`."""
    first: int = 0
    """Index of the first problem."""
    count: int = 1_000
    """How many problems."""
    levels: list[int] = []
    """Levels in force; none named: all."""


class AssayTaskset(vf.Taskset[AssayTask, AssayConfig]):
    def load(self):
        levels = sorted(set(self.config.levels)) or list(open_environment().levels)
        for index in range(self.config.first, self.config.first + self.config.count):
            problem = make_problem(self.config.seed, index, levels)
            data = AssayData(
                prompt=problem.prompt,
                seed=self.config.seed,
                index=index,
                levels=levels,
                level=problem.level,
            )
            yield AssayTask(data, self.config.task)
'''


def export_taskset(environment: Environment) -> tuple[str, bytes]:
    """The wheel's file name and bytes; the same environment gives the same wheel.

    Raises:
        ValueError: a file that the environment needs is no longer here.
    """
    name, params = environment.name, environment.params
    digest = environment.digest.hex()
    module = f"assay_{re.sub('[^a-z0-9]+', '_', name.partition(':')[0])}_{digest[:8]}"
    summary = f"The environment {name} of assay for verifiers"
    needed = list_needed_files(name, params)
    document = {
        "name": name,
        "settings": dict(params),
        "digest": digest,
        "files": sorted(needed),
        "assay": version("assay"),
        "python": ".".join(map(str, sys.version_info[:2])),
    }
    files = {
        f"{module}/files/{one}": find_file(one, family)[1] for one, family in sorted(needed.items())
    }
    for path, text in (("__init__.py", _INIT), ("taskset.py", _TASKSET)):
        filled = text.replace("@SUMMARY@", summary).replace("@MODULE@", module)
        files[f"{module}/{path}"] = filled.encode()
    files[f"{module}/environment.json"] = (json.dumps(document, indent=1) + "\n").encode()
    extra = "[envs]" if any(text.startswith(_EXTRA) for text in (name, *params)) else ""
    requires = f"assay{extra}=={version('assay')}", "verifiers>=0.4,<0.5"
    return write_wheel(module, version("assay"), requires, summary, files)


def is_exported(file: Path) -> bool:
    """Whether `export_taskset` made the wheel: it names its environment as no other wheel does."""
    module = file.name.partition("-")[0]
    try:
        with zipfile.ZipFile(file) as archive:
            return f"{module}/environment.json" in archive.namelist()
    except ZIP_FAULTS:
        return False
