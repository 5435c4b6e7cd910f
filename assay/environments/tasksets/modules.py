"""The modules that a taskset imports in the sandbox, and the error messages for what they lack.

Whatever is missing needs more than a reply. It runs inside the interpreter, and imports only the
standard library, `models`, `surface` and what reads an archive.
"""

import io
import json
import sys
import types
from typing import Any

from assay.environments.tasksets.conversation import (
    VfAgents,
    VfEpisode,
    VfInteraction,
    VfSegment,
    VfSingleAgentEnv,
    VfSingleAgentEnvConfig,
)
from assay.environments.tasksets.models import VfModel, make_field
from assay.environments.tasksets.surface import (
    Message,
    VfAssistantMessage,
    VfReward,
    VfRuntime,
    VfState,
    VfSystemMessage,
    VfTask,
    VfTaskConfig,
    VfTaskData,
    VfTaskResources,
    VfTaskset,
    VfTasksetConfig,
    VfTaskTimeout,
    VfTrace,
    VfUserMessage,
    extract_boxed_answer,
    mark,
)

#: A name of verifiers that is not here → what it needs.
LACKING = {
    **dict.fromkeys(("Toolset", "ToolsetConfig", "SharedToolsetConfig", "tool"), "tools"),
    **dict.fromkeys(("Tool", "ToolCall", "ToolMessage"), "tools"),
    **dict.fromkeys(("Judge", "JudgeConfig", "Judges", "JudgeResponse", "JudgeView"), "a judge"),
    **dict.fromkeys(("ReferenceJudge", "ReferenceJudgeConfig", "Criterion"), "a judge"),
    **dict.fromkeys(("RubricJudge", "RubricJudgeConfig", "parse_judge_choice"), "a judge"),
    **dict.fromkeys(("Env", "EnvConfig", "UserSimEnv", "Agent", "AgentConfig"), "other agents"),
    **dict.fromkeys(("intercept", "Harness", "HarnessConfig", "ACPHarness"), "a harness"),
    **dict.fromkeys(("DockerConfig", "PrimeConfig", "SubprocessConfig", "Artifact"), "a runtime"),
    **dict.fromkeys(("RuntimeConfig", "collect", "restore", "capture_patch"), "a runtime"),
    "read_answer_file_or_last_reply": "a runtime",
    "verify_boxed_math_answer": "math-verify, which stops by the clock",
    "ImageUrlContentPart": "images",
    "ImageUrlSource": "images",
    **dict.fromkeys(("Rubric", "SingleTurnEnv", "MultiTurnEnv", "ToolEnv"), "verifiers before 0.4"),
    **dict.fromkeys(("Parser", "XMLParser", "load_environment"), "verifiers before 0.4"),
}

_OFFERED = (
    *(VfAssistantMessage, VfReward, VfRuntime, VfState, VfSystemMessage),
    *(VfTask, VfTaskConfig, VfTaskData, VfTaskResources, VfTaskTimeout),
    *(VfTaskset, VfTasksetConfig, VfTrace, VfUserMessage),
    *(VfAgents, VfEpisode, VfInteraction, VfSegment),
    *(VfSingleAgentEnv, VfSingleAgentEnvConfig),
)


class DataRows(list[Any]):
    """The rows of the data file, for any name and split."""

    @classmethod
    def from_list(cls, rows: Any) -> Any:
        return cls(dict(row) for row in rows)

    @property
    def column_names(self) -> Any:
        return list(self[0]) if self else []

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return [row[key] for row in self]
        return list.__getitem__(self, key)

    def select(self, indices: Any) -> Any:
        return DataRows(self[index] for index in indices)

    def filter(self, function: Any) -> Any:
        return DataRows(row for row in self if function(row))

    def map(self, function: Any, with_indices: Any = False, remove_columns: Any = ()) -> Any:
        rows = []
        for index, row in enumerate(self):
            new = function(dict(row), index) if with_indices else function(dict(row))
            remaining = {name: value for name, value in row.items() if name not in remove_columns}
            rows.append({**remaining, **new})
        return DataRows(rows)

    def to_list(self) -> Any:
        return list(self)


class DataSplits:
    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __getitem__(self, split: Any) -> Any:
        return self._rows


def install(bundle: bytes) -> None:
    """Puts the modules where an import finds them. Where tasks are loaded, the bundle has the
    data."""

    def load_dataset(*_: Any, split: Any = None, **__: Any) -> Any:
        if not bundle:
            raise RuntimeError("load_dataset is for load() alone: a reply has its task's data")
        import zipfile  # seldom, and dear

        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            data = archive.read("data.jsonl").decode()
        rows = DataRows(json.loads(line) for line in data.split("\n") if line.strip())
        return DataSplits(rows) if split is None else rows

    offered = {
        **{one.__name__.removeprefix("Vf"): one for one in _OFFERED},
        "reward": mark("reward", weight=1.0),
        **{kind: mark(kind) for kind in ("metric", "stop")},
        **dict.fromkeys(("Response", "Request", "ProgramResult", "RuntimeProcess"), VfRuntime),
        "Message": Message,
        "Messages": list,
        "BaseConfig": VfModel,
        "extract_boxed_answer": extract_boxed_answer,
        "StateT": VfState,
    }
    modules = {
        "verifiers": {"__path__": []},
        "verifiers.v1": {"__path__": [], **offered},
        "verifiers.v1.utils": {"__path__": []},
        "verifiers.v1.utils.score": {"extract_boxed_answer": extract_boxed_answer},
        "datasets": {"load_dataset": load_dataset, "Dataset": DataRows},
        "pydantic": {"BaseModel": VfModel, "Field": make_field},
    }
    for name, names in modules.items():
        module = types.ModuleType(name)
        vars(module).update(names, __getattr__=_write_refusal(name))
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:  # where `import a.b as x` reads it
            vars(sys.modules[parent])[last] = module


def _write_refusal(module: Any) -> Any:
    def refuse(name: Any) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        why = LACKING.get(name)
        cause = f"it needs {why}" if why else "it is not offered to a taskset here"
        raise ImportError(f"{module}.{name}: {cause}")  # `from` would hide an AttributeError

    return refuse
