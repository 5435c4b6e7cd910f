"""Exports of episodes with calls of a tool, as a reader renders them again with the chat template.

The reader is transformers: it gets the messages, roles and tools of a row, and must find the row's
own token ids, and the mask where the assistant speaks.
"""

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import StepFolder, make_record, read_step
from assay.artifacts.steps.groups import replay_all
from assay.audit.provenance.column_layouts import LAYOUTS
from assay.audit.provenance.step_export import export_steps
from assay.audit.provenance.step_push import make_scored_group
from assay.environments.registry import open_environment
from assay.environments.rewards import compute_reward
from assay.environments.tools import TOOLS, CallForm
from assay.environments.tools.calls import write_call
from assay.inference.checkpoint import load_checkpoint
from assay.protocol.beacon import QUICKNET
from assay.subnet.presets import change_parameters, make_demo_parameters, parse_environment
from assay.subnet.reply_frames import fill_frames
from assay.training import Group, LearnConfig, Learner
from tests.adversarial.test_exported_columns import UNDO, find_differences
from tests.subnet.test_reply_frames import TEMPLATE, make_folder

TURNS = {"turns": 4, "context": 2_048, "reply_bytes": 128, "paid_reply": 4_000}
SHOWN = "{% if tools %}system: {{ tools | tojson }}<end>\n{% endif %}"
#: A template that knows no role `tool` writes its replies in role `user`.
TEMPLATES = {
    "tool": SHOWN + TEMPLATE,
    "user": SHOWN + "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no') }}"
    "{% endif %}{% endfor %}" + TEMPLATE,
}
LEARNING = LearnConfig(epochs=1, groups_per_batch=8)


def write_turns(answer: int) -> list[list[str]]:
    """A group: one call, none, and one that the tool refuses before a right one."""
    right, wrong = (
        write_call(text, CallForm.HERMES, TOOLS["calculator"]) for text in ("5 + 6", "5 +")
    )
    return [
        [right, f"#### {answer}"],
        [f"#### {answer + 1}"],
        [wrong, right, f"So it is\n#### {answer}"],
    ]


class Exported:
    """A step of one group, and the data sets that are exported of it."""

    def __init__(self, folder: Path, role: str) -> None:
        self.role = role
        model = make_folder(folder / "model", TEMPLATES[role])
        manifest = model / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"max_tokens": 400}))
        self.checkpoint = load_checkpoint(model)
        self.parameters = self._make_parameters()
        taken = [self._make_group()]
        given = self.parameters, 3, taken, [], self.checkpoint.manifest, StepConfig(LEARNING)
        record = make_record(
            *given, (bytes(32), bytes(32)), {"a": torch.zeros(1)}, torch.device("cpu")
        )
        steps = StepFolder(folder / "steps")
        steps.keep_before(Learner(self.checkpoint.load_trainable(), LEARNING), None)
        steps.keep_data(record, self.parameters, taken)
        steps.keep_record(record, bytes(32))
        assert read_step(steps.get_path(record.number, record.digest)).record == record
        CheckpointFolder(folder / "models").add(model, self.checkpoint.digest)
        self.rows = {}
        for name in LAYOUTS:
            export_steps(folder, folder / "sets" / name, range(10), columns=name)
            (path,) = (folder / "sets" / name / "data").glob("*.parquet")
            self.rows[name] = pq.read_table(path).to_pylist()
        self.reader = PreTrainedTokenizerFast.from_pretrained(model)

    def _make_parameters(self):
        made = make_demo_parameters(bytes(32), QUICKNET, 0, b"t" * 32, self.checkpoint.digest)
        chosen = parse_environment("arithmetic,tool=calculator,call_form=hermes")
        changes = {"work": {"group_size": 3, "max_tokens": 400, **TURNS}}
        made = change_parameters(replace(made, environment=chosen), changes)
        said = []
        filled = fill_frames(made, self.checkpoint.tokenizer, said.append)
        assert f"the frame of role {self.role} is taken" in said[-1]
        assert f"replies in role {self.role}: " in "\n".join(said)
        return filled

    def _make_group(self) -> ConsumedGroup:
        environment = open_environment(self.parameters.environment)
        tokenizer, work = self.checkpoint.tokenizer, self.parameters.work
        seed, level = b"\7" * 32, environment.levels[0]
        problem = environment.make_problem(seed, [level])
        prompt = tokenizer.encode(problem.conversation)
        (end,) = self.checkpoint.manifest.end_tokens
        # the answer is found by trying: what is right is not what is tested
        answer = next(
            number for number in count() if environment.score(problem, f"#### {number}").correctness
        )
        own = [
            [token for turn in turns for token in (*tokenizer.encode_text(turn), end)]
            for turns in write_turns(answer)
        ]
        episodes = replay_all(environment, problem, prompt, own, work, self.checkpoint)
        rewards = [
            compute_reward(one.state.score(), len(tokens), self.parameters.rewards, work.max_tokens)
            for one, tokens in zip(episodes, own, strict=True)
        ]
        logprobs = [[-(1 + place) / 1024 for place in range(len(tokens))] for tokens in own]
        replies = [list(one.replies) for one in episodes]
        group = Group(prompt, own, rewards, logprobs, replies)
        return ConsumedGroup(
            group, 3, b"m" * 32, 0, self.checkpoint.digest, b"p" * 32, seed, (level,)
        )


@pytest.fixture(scope="module", params=list(TEMPLATES))
def exported(request, tmp_path_factory) -> Exported:
    return Exported(tmp_path_factory.mktemp("calls"), request.param)


def test_calls_and_results_are_told_apart(exported):
    turns = [row["turns"] for row in exported.rows["assay"]]
    assert turns[1] is None
    assert [[one["reply"] for one in told] for told in (turns[0], turns[2])] == [
        ["11", None],
        ["error: the expression cannot be read: use numbers, + - * / ** and brackets", "11", None],
    ]
    assert [one["role"] for one in turns[2]] == [exported.role, exported.role, None]
    for row in exported.rows["assay"]:
        (tool,) = json.loads(row["tools"])
        assert tool["function"]["name"] == "calculator"
        assert len(row["replies"]) == len(row["replies_at"]) == max(0, len(row["turns"] or "") - 1)


@pytest.mark.parametrize("name", UNDO)
def test_every_layout_has_the_same_calls(exported, name):
    for row, ours in zip(exported.rows[name], exported.rows["assay"], strict=True):
        assert find_differences(UNDO[name](row), ours) == []


def render(exported, row, until, begins):
    """Ids of a row's first messages by the reader, with the beginning of an answer if one
    `begins`."""
    text = exported.reader.apply_chat_template(
        [*row["prompt"], *row["completion"]][:until],
        tools=json.loads(row["tools"]),
        add_generation_prompt=begins,
        tokenize=False,
    )
    return exported.reader(text, add_special_tokens=False)["input_ids"]


def test_a_reader_s_template_writes_the_same_tokens_and_mask(exported):
    """prime-rl's SFT trainer learns the messages of the assistant, and takes `tools` as JSON."""
    for row in exported.rows["prime-rl"]:
        roles = [one["role"] for one in (*row["prompt"], *row["completion"])]
        size = len(row["token_ids"])
        assert render(exported, row, len(roles), False)[:size] == row["token_ids"]
        mask = [False] * size
        for place, role in enumerate(roles):
            if role == "assistant":
                begin = len(render(exported, row, place, True))
                end = len(render(exported, row, place + 1, False)) - 1  # its line's end
                mask[begin:end] = [True] * (end - begin)
        assert mask == row["mask"]
        assert set(roles[len(row["prompt"]) :]) <= {"assistant", exported.role}


def test_atropos_masks_results_of_calls(exported):
    rows = exported.rows["assay"]
    scored = make_scored_group(rows)
    for row, tokens, masks in zip(rows, scored.tokens, scored.masks, strict=True):
        own = [token for token in masks if token >= 0]
        assert own == row["tokens"]
        read = [token for token, mask in zip(tokens, masks, strict=True) if mask < 0]
        assert read == [*row["prompt_tokens"], *(one for ids in row["replies"] for one in ids)]
