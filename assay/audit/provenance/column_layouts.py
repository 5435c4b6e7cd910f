"""Columns of exported rollouts, under the names that other trainers read.

Each file is for one reader: TRL and prime-rl want a prompt's text under `prompt`, verl messages;
`logprobs` are the completion's in TRL and the whole sequence's in prime-rl, whose advantage is a
list. So `--columns` renames and reshapes, and no value is in a file twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_IDS, _FLOATS = pa.list_(pa.uint32()), pa.list_(pa.float32())
_TEXT = pa.string()
_MESSAGES = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))
#: Column → type and meaning: the schema, and the data card's table.
Columns = dict[str, tuple[pa.DataType, str]]

#: Columns of a rollout in a step, from `step_export.make_rows`.
ROLLOUT: Columns = {
    "prompt": (pa.string(), "what was asked"),
    "messages": (
        _MESSAGES,
        "what was asked, with a system text, examples and earlier messages; null where `prompt` is "
        "the only message",
    ),
    "completion": (pa.string(), "what was answered, without the end token"),
    "reward": (pa.float64(), "what was learned from, 0 to 1"),
    "correctness": (pa.float64(), "part of the reward, 0 to 1"),
    "quality": (pa.float64(), "part of the reward, 0 to 1"),
    "satisfaction": (pa.float64(), "part of the reward, 0 to 1"),
    "format": (pa.float64(), "part of the reward, 0 to 1"),
    "advantage": (
        pa.float64(),
        "as learned with: the reward against its group's; null where the group's are "
        "all equal, and it taught nothing",
    ),
    "level": (pa.uint32(), "of the problem"),
    "prompt_tokens": (_IDS, "token ids of the prompt"),
    "tokens": (_IDS, "token ids of the completion, end token included"),
    "logprobs": (
        _FLOATS,
        "natural logarithm of each token's probability under `checkpoint`, among the tokens that "
        "can be drawn (padding never is), as the trainer computed it",
    ),
    "environment": (pa.string(), "that asks and scores"),
    "temperature": (pa.float64(), "at which it was drawn"),
    "window": (pa.uint64(), "in which it was generated"),
    "hotkey": (pa.string(), "who generated it, SS58"),
    "group": (pa.uint32(), "index of the problem among the hotkey's"),
    "rollout": (pa.uint32(), "index within the group"),
    "checkpoint": (pa.string(), "digest of the model that generated it"),
    "problem_seed": (pa.string(), "from which the environment makes the problem, of `levels`"),
    "levels": (_IDS, "of the environment: the one of its problem"),
    "step": (pa.uint64(), "number of the checkpoint learned from it"),
    "step_record": (pa.string(), "digest of that step's record"),
    "proof": (
        pa.string(),
        "root of the submission, as committed on chain: `group` and `rollout` say "
        "where in it; zeros for the trainer's own",
    ),
}


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The names of a file's columns.

    Attributes:
        reader: the program that reads them, for the data card.
        moved: columns of `ROLLOUT` that are left out, because others contain them.
        made: columns that come first.
        make: a row of `ROLLOUT` → `made`.
    """

    reader: str
    moved: frozenset[str]
    made: Columns
    make: Callable[[Mapping[str, Any]], dict[str, Any]]

    @property
    def columns(self) -> Columns:
        """All columns, in the order of the file."""
        return self.made | {
            name: column
            for name, column in ROLLOUT.items()
            if name not in self.moved and name not in self.made
        }

    def lay_out(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of `ROLLOUT` as a row of this file."""
        fields = {name: value for name, value in row.items() if name not in self.moved}
        return fields | self.make(row)


def _make_trl(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of TRL 1.16.0, trl/trainer/grpo_trainer.py: `prompt`; `GRPOTrainer._generate` takes
    `prompt_ids`, `completion_ids` and `logprobs` from a `rollout_func`, and passes every other
    column to the reward functions. docs/source/dataset_formats.md: `prompt` and `completion` as
    text."""
    return {"prompt_ids": row["prompt_tokens"], "completion_ids": row["tokens"]}


def _make_prime_rl(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of prime-rl 0.8.0 (commit 559b447): fields of `TrainingSample`,
    src/prime_rl/transports/rollouts/types.py, per token of prompt and completion; `prompt` and
    `completion`, which src/prime_rl/trainer/sft/data.py reads. The RL trainer of that version reads
    no Parquet: a script must turn rows into samples."""
    asked, answered = len(row["prompt_tokens"]), len(row["tokens"])
    advantage = row["advantage"]
    return {
        "token_ids": [*row["prompt_tokens"], *row["tokens"]],
        "mask": [False] * asked + [True] * answered,
        "logprobs": [0.0] * asked + list(row["logprobs"]),
        "temperatures": [row["temperature"]] * (asked + answered),
        "env_name": row["environment"],
        "advantages": None if advantage is None else [0.0] * asked + [advantage] * answered,
    }


def _make_verl(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of verl 0.7.0 (tag v0.7.0): verl/utils/dataset/rl_dataset.py reads `prompt` as
    messages and `extra_info`; verl/workers/reward_manager/naive.py `data_source` and
    `reward_model.ground_truth`; verl/trainer/main_eval.py `responses`, a list of texts.
    docs/preparation/prepare_data.rst has `ability`. Its trainer draws its own completions."""
    return {
        "data_source": row["environment"],
        "prompt": row["messages"] or [{"role": "user", "content": row["prompt"]}],
        "ability": row["environment"].partition(":")[0],
        "reward_model": {"style": "rule", "ground_truth": row["problem_seed"]},
        "extra_info": {"index": row["group"], "split": "train", "levels": row["levels"]},
        "responses": [row["completion"]],
    }


_ALL = "of prompt and completion"
#: Name of `--columns` → layout.
LAYOUTS: dict[str, ColumnLayout] = {
    "assay": ColumnLayout("`datasets`", frozenset(), {}, lambda row: {}),
    "trl": ColumnLayout(
        "TRL 1.16",
        frozenset({"prompt_tokens", "tokens"}),
        {
            "prompt": ROLLOUT["prompt"],
            "prompt_ids": ROLLOUT["prompt_tokens"],
            "completion_ids": ROLLOUT["tokens"],
            "logprobs": ROLLOUT["logprobs"],
        },
        _make_trl,
    ),
    "prime-rl": ColumnLayout(
        "prime-rl 0.8",
        frozenset({"prompt_tokens", "tokens", "temperature", "environment", "advantage"}),
        {
            "token_ids": (_IDS, f"{_ALL}, end token included"),
            "mask": (pa.list_(pa.bool_()), f"{_ALL}: whether a token is the model's own"),
            "logprobs": (_FLOATS, f"{_ALL}: {ROLLOUT['logprobs'][1]}; 0 in the prompt"),
            "temperatures": (_FLOATS, f"{_ALL}: at which the completion was drawn"),
            "env_name": ROLLOUT["environment"],
            "advantages": (
                pa.list_(pa.float64()),
                f"{_ALL}: {ROLLOUT['advantage'][1]}; 0 in the prompt",
            ),
        },
        _make_prime_rl,
    ),
    "verl": ColumnLayout(
        "verl 0.7",
        frozenset({"messages", "environment", "completion", "problem_seed", "levels"}),
        {
            "data_source": ROLLOUT["environment"],
            "prompt": (_MESSAGES, "what was asked, as messages"),
            "ability": (_TEXT, "the environment's family"),
            "reward_model": (
                pa.struct([("style", _TEXT), ("ground_truth", _TEXT)]),
                "`ground_truth` is the seed from which the environment makes the problem",
            ),
            "extra_info": (
                pa.struct([("index", pa.uint32()), ("split", _TEXT), ("levels", _IDS)]),
                "`index` is the group's, `levels` has that of its problem",
            ),
            "responses": (pa.list_(_TEXT), "what was answered, the one text"),
        },
        _make_verl,
    ),
}
