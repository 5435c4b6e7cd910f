"""The export: any environment as a wheel with a taskset of verifiers 0.4, or as a folder with a
task of Inspect.

Both ask the problems of the same seeds, and score with the environment itself, which the package
`assay` contains: nothing is written a second time, so nothing can differ. Both hold the files that
the environment needs, and find them by their digest as usual.
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
#: How either opens its environment, and makes a problem.
_OPENING = '''\
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

@OPENING@

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

_TASK = '''"""@SUMMARY@: the same problems from the same seeds, and the same scorer.

    inspect eval task.py --model MODEL -T count=100 -T levels=4,5
"""

import json
from functools import lru_cache
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Score, accuracy, mean, scorer, stderr
from inspect_ai.solver import generate

from assay.environments.problem_file import add_problem_files
from assay.environments.rewards import choose_rewards, compute_reward
from assay.environments.registry import make_environment
from assay.environments.dealing import make_miner_problem
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import MILLION

@OPENING@


MESSAGES = {
    "system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant
}


def score_sample(state):
    asked = state.metadata
    problem = make_problem(asked["seed"], asked["index"], asked["levels"])
    return open_environment().score(problem, state.output.completion)


@scorer(metrics=[accuracy(), stderr()])
def right():
    """Whether all of the answer is right."""

    async def score(state, target):
        parts = score_sample(state)
        return Score(value="C" if parts.is_right else "I", answer=state.output.completion)

    return score


@scorer(metrics=[mean(), stderr()])
def reward():
    """Under the default reward weights, as `assay env score` has it, by 1,000,000."""

    async def score(state, target):
        weights = choose_rewards(open_environment().rated)
        return Score(value=compute_reward(score_sample(state), 0, weights, 1) / MILLION)

    return score


@task
def assay(seed: str = "00" * 32, first: int = 0, count: int = 100, levels=""):
    """seed: 32 bytes in hex, as `--seed` of `assay env sample`. first: index of the first problem.
    levels: those in force, dealt in blocks; none named: all."""
    words = str(levels).strip("[]").split(",")
    named = sorted({int(word) for word in words if word.strip()})
    chosen = named or list(open_environment().levels)
    samples = []
    for index in range(first, first + count):
        problem = make_problem(seed, index, chosen)
        said = [MESSAGES[one.role](content=one.content) for one in problem.conversation.messages]
        asked = {"seed": seed, "index": index, "levels": chosen, "level": problem.level}
        place = f"{seed[:8]}-{index}"
        samples.append(Sample(input=said or "", target="", id=place, metadata=asked))
    return Task(
        dataset=MemoryDataset(samples, name="@NAME@"), solver=generate(), scorer=[right(), reward()]
    )
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
    files = {f"{module}/{path}": data for path, data in _list_files(environment).items()}
    for path, text in (("__init__.py", _INIT), ("taskset.py", _TASKSET)):
        files[f"{module}/{path}"] = _fill(text, summary, MODULE=module)
    extra = "[envs]" if any(text.startswith(_EXTRA) for text in (name, *params)) else ""
    requires = f"assay{extra}=={version('assay')}", "verifiers>=0.4,<0.5"
    return write_wheel(module, version("assay"), requires, summary, files)


def export_inspect_task(environment: Environment) -> dict[str, bytes]:
    """Path in the folder → bytes, `task.py` among them; the same environment gives the same.

    Raises:
        ValueError: a file that the environment needs is no longer here.
    """
    summary = f"The environment {environment.name} of assay for Inspect"
    return _list_files(environment) | {"task.py": _fill(_TASK, summary, NAME=environment.name)}


def _list_files(environment: Environment) -> dict[str, bytes]:
    """What `_OPENING` reads: path → bytes."""
    needed = list_needed_files(environment.name, environment.params)
    document = {
        "name": environment.name,
        "settings": dict(environment.params),
        "digest": environment.digest.hex(),
        "files": sorted(needed),
        "assay": version("assay"),
        "python": ".".join(map(str, sys.version_info[:2])),
    }
    files = {f"files/{one}": find_file(one, family)[1] for one, family in sorted(needed.items())}
    return files | {"environment.json": (json.dumps(document, indent=1) + "\n").encode()}


def _fill(text: str, summary: str, **words: str) -> bytes:
    text = text.replace("@OPENING@", _OPENING.rstrip())
    for mark, word in {"SUMMARY": summary, **words}.items():
        text = text.replace(f"@{mark}@", word)
    return text.encode()


def is_exported(file: Path) -> bool:
    """Whether `export_taskset` made the wheel: it names its environment as no other wheel does."""
    module = file.name.partition("-")[0]
    try:
        with zipfile.ZipFile(file) as archive:
            return f"{module}/environment.json" in archive.namelist()
    except ZIP_FAULTS:
        return False
