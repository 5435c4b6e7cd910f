"""Columns of exported rollouts, under the names that other trainers read.

Each file is for one reader: TRL and prime-rl want a prompt's text under `prompt`, verl messages;
`logprobs` are the completion's in TRL and the whole sequence's in prime-rl, whose advantage is a
list. So `--columns` renames and reshapes, and no value is in a file twice.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

import pyarrow as pa

from assay.protocol.episode import Reply, weave

_IDS, _FLOATS = pa.list_(pa.uint32()), pa.list_(pa.float32())
_TEXT = pa.string()
Number = TypeVar("Number", int, float)
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
    "tools": (
        _TEXT,
        "the tools that the chat template was told of, as JSON; null: it was told of none",
    ),
    "completion": (
        pa.string(),
        "what was answered, without the end token; of an episode its turns and replies, with the "
        "text around each reply",
    ),
    "turns": (
        pa.list_(pa.struct([("text", _TEXT), ("reply", _TEXT), ("role", _TEXT)])),
        "of an episode each turn, and what its world replied, in which role of the chat template "
        "(`user` where it has none): both null behind the last; null where there is one turn",
    ),
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
    "tokens": (_IDS, "token ids of the completion, end token included; of an episode its turns'"),
    "replies_at": (_IDS, "tokens before each reply of an episode's world"),
    "replies": (pa.list_(_IDS), "token ids of each of these replies"),
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


@dataclass(frozen=True, slots=True)
class WovenRow:
    """What the model read and wrote behind the prompt.

    Attributes:
        ids: of turns and replies. own: which are the model's.
    """

    ids: list[int]
    own: list[bool]

    def spread(self, values: Iterable[Number], elsewhere: Number) -> list[Number]:
        """The values of the model's tokens, in place, and another one at replies."""
        given = iter(values)
        return [next(given) if own else elsewhere for own in self.own]


def weave_row(row: Mapping[str, Any]) -> WovenRow:
    """The tokens of a row of `ROLLOUT`."""
    replies = [
        Reply(at, tuple(ids)) for at, ids in zip(row["replies_at"], row["replies"], strict=True)
    ]
    ids, places = weave(row["tokens"], replies)
    own = [False] * len(ids)
    for place in places:
        own[place] = True
    return WovenRow(ids, own)


def list_asked(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was asked in a row of `ROLLOUT`, as messages."""
    return row["messages"] or [{"role": "user", "content": row["prompt"]}]


def list_answered(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was answered in a row of `ROLLOUT`, as messages: turns of the assistant, and between
    them replies, each in its role."""
    turns = row["turns"] or [{"text": row["completion"], "reply": None, "role": None}]
    pairs = [
        (
            {"role": "assistant", "content": one["text"]},
            {"role": one["role"], "content": one["reply"]},
        )
        for one in turns
    ]
    return [message for pair in pairs for message in pair][:-1]


def _make_trl(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of TRL 1.16.0, trl/trainer/grpo_trainer.py: `prompt`; `GRPOTrainer._generate` takes
    `prompt_ids`, `completion_ids`, `logprobs` and `env_mask` from a `rollout_func`, and passes
    every other column to the reward functions. Where the mask is 0, a token is read but not
    learned, and its log-probability is 0, as `_tool_call_loop` has it. docs/source/
    dataset_formats.md: `prompt` and `completion` as text."""
    woven = weave_row(row)
    return {
        "prompt_ids": row["prompt_tokens"],
        "completion_ids": woven.ids,
        "env_mask": list(map(int, woven.own)),
        "logprobs": woven.spread(row["logprobs"], 0.0),
    }


def _make_prime_rl(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of prime-rl 0.8.0 (commit 559b447): fields of `TrainingSample`,
    src/prime_rl/transports/rollouts/types.py, per token of prompt and completion; `prompt`,
    `completion` and `tools`, which src/prime_rl/trainer/sft/data.py reads. It learns a text of
    `completion` as the assistant's, replies too, and takes `messages` for the whole conversation:
    so both are messages, and there is no such column. The RL trainer of that version reads no
    Parquet: a script must turn rows into samples."""
    asked, woven = len(row["prompt_tokens"]), weave_row(row)
    advantage = row["advantage"]
    return {
        "prompt": list_asked(row),
        "completion": list_answered(row),
        "token_ids": [*row["prompt_tokens"], *woven.ids],
        "mask": [False] * asked + woven.own,
        "logprobs": [0.0] * asked + woven.spread(row["logprobs"], 0.0),
        "temperatures": [row["temperature"]] * (asked + len(woven.ids)),
        "env_name": row["environment"],
        "advantages": (
            None if advantage is None else [0.0] * asked + woven.spread(repeat(advantage), 0.0)
        ),
    }


def _make_verl(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of verl 0.7.0 (tag v0.7.0): verl/utils/dataset/rl_dataset.py reads `prompt` as
    messages and `extra_info`; verl/workers/reward_manager/naive.py `data_source` and
    `reward_model.ground_truth`; verl/trainer/main_eval.py `responses`, a list of texts.
    docs/preparation/prepare_data.rst has `ability`. Its trainer draws its own completions.
    verl/experimental/agent_loop/agent_loop.py: `AgentLoopOutput` has `prompt_ids`, `response_ids`,
    `response_mask` and `response_logprobs`."""
    woven = weave_row(row)
    return {
        "prompt_ids": row["prompt_tokens"],
        "response_ids": woven.ids,
        "response_mask": list(map(int, woven.own)),
        "response_logprobs": woven.spread(row["logprobs"], 0.0),
        "data_source": row["environment"],
        "prompt": list_asked(row),
        "ability": row["environment"].partition(":")[0],
        "reward_model": {"style": "rule", "ground_truth": row["problem_seed"]},
        "extra_info": {"index": row["group"], "split": "train", "levels": row["levels"]},
        "responses": [row["completion"]],
    }


_ASKED = "what was asked, as messages"
_ALL = "of prompt and completion"
_OWN = "which tokens are the model's own: 1, and 0 at replies of an episode's world"
#: Columns whose values `weave_row` joins.
_WOVEN = frozenset({"prompt_tokens", "tokens", "replies_at", "replies"})
_READ = "token ids of the completion, end token included; of an episode its turns and replies"
#: Name of `--columns` → layout.
LAYOUTS: dict[str, ColumnLayout] = {
    "assay": ColumnLayout("`datasets`", frozenset(), {}, lambda row: {}),
    "trl": ColumnLayout(
        "TRL 1.16",
        _WOVEN,
        {
            "prompt": ROLLOUT["prompt"],
            "prompt_ids": ROLLOUT["prompt_tokens"],
            "completion_ids": (_IDS, _READ),
            "env_mask": (pa.list_(pa.uint8()), _OWN),
            "logprobs": (_FLOATS, f"{ROLLOUT['logprobs'][1]}; 0 at replies"),
        },
        _make_trl,
    ),
    "prime-rl": ColumnLayout(
        "prime-rl 0.8",
        _WOVEN | {"messages", "turns", "temperature", "environment", "advantage"},
        {
            "prompt": (_MESSAGES, _ASKED),
            "completion": (
                _MESSAGES,
                "what was answered, as messages: turns of the assistant, which alone are to be "
                "learned, and between them the replies of an episode's world",
            ),
            "token_ids": (_IDS, f"{_ALL}, end token included"),
            "mask": (pa.list_(pa.bool_()), f"{_ALL}: whether a token is the model's own"),
            "logprobs": (
                _FLOATS,
                f"{_ALL}: {ROLLOUT['logprobs'][1]}; 0 in the prompt and at replies",
            ),
            "temperatures": (_FLOATS, f"{_ALL}: at which the completion was drawn"),
            "env_name": ROLLOUT["environment"],
            "advantages": (
                pa.list_(pa.float64()),
                f"{_ALL}: {ROLLOUT['advantage'][1]}; 0 in the prompt and at replies",
            ),
        },
        _make_prime_rl,
    ),
    "verl": ColumnLayout(
        "verl 0.7",
        _WOVEN | {"messages", "environment", "completion", "problem_seed", "levels", "logprobs"},
        {
            "data_source": ROLLOUT["environment"],
            "prompt": (_MESSAGES, _ASKED),
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
            "prompt_ids": ROLLOUT["prompt_tokens"],
            "response_ids": (_IDS, _READ),
            "response_mask": (pa.list_(pa.uint8()), _OWN),
            "response_logprobs": (_FLOATS, f"{ROLLOUT['logprobs'][1]}; 0 at replies"),
        },
        _make_verl,
    ),
}
