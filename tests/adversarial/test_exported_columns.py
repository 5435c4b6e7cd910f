"""Exported rollouts under the names that other trainers read: the same data, and TRL learns."""

import math
import re
from itertools import zip_longest
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from assay.artifacts.steps.folder import read_step
from assay.audit.provenance.column_layouts import LAYOUTS, ROLLOUT
from assay.audit.provenance.step_export import export_steps
from assay.audit.provenance.step_push import make_scored_group
from assay.environments.registry import open_environment
from assay.environments.rewards import compute_reward
from assay.training import GENESIS
from tests.adversarial.test_reexecuting_steps import get_steps, invoke

PAGE = Path(__file__).parents[2] / "docs" / "owner.md"
SIZE = 8
#: In place of an episode's text, of which the messages lack what stands around replies.
UNFRAMED = "turns"


@pytest.fixture(scope="module")
def exported(taught, tmp_path_factory):
    """Rows by layout, and bytes of the files."""
    rows, sizes = {}, {}
    for name in LAYOUTS:
        out = tmp_path_factory.mktemp("sets") / name
        export_steps(taught, out, range(10), columns=name)
        files = sorted((out / "data").glob("*.parquet"))
        rows[name] = [row for path in files for row in pq.read_table(path).to_pylist()]
        sizes[name] = sum(path.stat().st_size for path in files)
        card = (out / "README.md").read_text()
        assert all(f"| {column} |" in card for column in rows[name][0])
    return rows, sizes


def part(ids, mask):
    """Own tokens and replies of a sequence without neighbouring replies."""
    tokens, places, replies = [], [], []
    for token, own, before in zip(ids, mask, [True, *mask], strict=False):
        if own:
            tokens.append(token)
        elif before:
            places.append(len(tokens))
            replies.append([token])
        else:
            replies[-1].append(token)
    return {"tokens": tokens, "replies_at": places, "replies": replies}


def pick(values, mask):
    assert all(value == 0 for value, own in zip(values, mask, strict=True) if not own)
    return [value for value, own in zip(values, mask, strict=True) if own]


def undo_trl(row):
    return {
        **row,
        **part(row["completion_ids"], row["env_mask"]),
        "prompt_tokens": row["prompt_ids"],
        "logprobs": pick(row["logprobs"], row["env_mask"]),
    }


def undo_prime_rl(row):
    asked = row["mask"].index(True)
    mask = row["mask"][asked:]
    spans = {name: row[name] for name in ("token_ids", "mask", "logprobs", "temperatures")}
    assert len(set(map(len, spans.values()))) == 1
    assert set(row["logprobs"][:asked]) == {0.0}
    advantages = row["advantages"]
    if advantages is not None:
        assert len(advantages) == len(row["token_ids"])
        assert set(advantages[:asked]) == {0.0}
        assert len(set(pick(advantages[asked:], mask))) == 1
    (temperature,) = set(row["temperatures"])
    (*before, message) = row["prompt"]
    said = row["completion"]
    assert {one["role"] for one in said[::2]} == {"assistant"}
    turns = [
        {"text": one["content"], "reply": reply["content"], "role": reply["role"]}
        for one, reply in zip_longest(
            said[::2], said[1::2], fillvalue={"content": None, "role": None}
        )
    ]
    return {
        **row,
        "prompt": message["content"],
        "messages": [*before, message] if before else None,
        "completion": said[0]["content"] if len(said) == 1 else UNFRAMED,
        "turns": None if len(said) == 1 else turns,
        "prompt_tokens": row["token_ids"][:asked],
        **part(row["token_ids"][asked:], mask),
        "logprobs": pick(row["logprobs"][asked:], mask),
        "temperature": temperature,
        "environment": row["env_name"],
        "advantage": None if advantages is None else advantages[-1],
    }


def undo_verl(row):
    (*before, message), (completion,) = row["prompt"], row["responses"]
    assert message["role"] == "user"
    assert row["extra_info"]["index"] == row["group"]
    return {
        **row,
        "environment": row["data_source"],
        "prompt": message["content"],
        "messages": [*before, message] if before else None,
        "completion": completion,
        **part(row["response_ids"], row["response_mask"]),
        "prompt_tokens": row["prompt_ids"],
        "logprobs": pick(row["response_logprobs"], row["response_mask"]),
        "problem_seed": row["reward_model"]["ground_truth"],
        "levels": row["extra_info"]["levels"],
    }


def find_differences(undone, ours):
    """Columns of a row of a layout, undone, that are not what our names have."""
    compared = set(ROLLOUT) - ({"completion"} if undone["completion"] == UNFRAMED else set())
    return [column for column in ROLLOUT if column in compared and undone[column] != ours[column]]


def test_an_episode_s_replies_are_masked_for_each_reader():
    """A row that no world of a single turn gives, as `make_rows` does."""
    row = dict.fromkeys(ROLLOUT) | {
        "prompt": "p",
        "completion": "ab x c y d",
        "turns": [
            {"text": "ab", "reply": "x", "role": "tool"},
            {"text": "c", "reply": "y", "role": "tool"},
            {"text": "d", "reply": None, "role": None},
        ],
        "tools": "[]",
        "prompt_tokens": [3, 4],
        "tokens": [5, 2, 6, 7, 2, 8],
        "replies_at": [2, 5],
        "replies": [[30, 31], [32]],
        "logprobs": [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0],
        "advantage": 0.5,
        "temperature": 1.0,
        "environment": "codes",
        "group": 3,
    }
    for name, undo in UNDO.items():
        assert find_differences(undo(LAYOUTS[name].lay_out(row)), row) == [], name
    scored = make_scored_group([dict.fromkeys(ROLLOUT, "") | row | {"levels": [1], "reward": 1.0}])
    assert scored.tokens == [[3, 4, 5, 2, 30, 31, 6, 7, 2, 32, 8]]
    assert scored.masks == [[-100, -100, 5, 2, -100, -100, 6, 7, 2, -100, 8]]
    assert scored.advantages == [[0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.5, 0.0, 0.5]]
    logprobs = scored.inference_logprobs[0]
    assert [value for value in logprobs if value < 0] == row["logprobs"]


UNDO = {"trl": undo_trl, "prime-rl": undo_prime_rl, "verl": undo_verl}


@pytest.mark.parametrize("name", UNDO)
def test_every_layout_is_the_same_data_and_has_nothing_twice(exported, name):
    rows, sizes = exported
    assert len(rows[name]) == len(rows["assay"]) == 20 * SIZE
    equal = 0
    for row, ours in zip(rows[name], rows["assay"], strict=True):
        assert not set(LAYOUTS[name].moved) & set(row)
        assert find_differences(UNDO[name](row), ours) == []
        equal += 1
    share = sizes[name] / sizes["assay"]
    print(f"{name}: {equal} rollouts equal in {len(ROLLOUT)} columns, {share:.2f} of the bytes")
    assert share < 1.5


def test_verl_s_arguments_are_enough_to_score(exported, world):
    """`compute_score(data_source, solution_str, ground_truth, extra_info)`."""
    rows, _ = exported
    environment = open_environment(world.parameters.environment)
    rewards, longest = world.parameters.rewards, world.parameters.work.max_tokens
    for row in rows["verl"]:
        seed = bytes.fromhex(row["reward_model"]["ground_truth"])
        problem = environment.make_problem(seed, tuple(row["extra_info"]["levels"]))
        assert [{"role": "user", "content": problem.prompt}] == row["prompt"]
        parts = environment.score(problem, row["responses"][0])
        earned = compute_reward(parts, 0, rewards, longest)  # length costs nothing here
        assert earned == round(row["reward"] * 1e6)


def test_the_command_takes_a_layout(taught, tmp_path):
    done = invoke(
        "export",
        "--dir",
        taught,
        "--out",
        tmp_path / "set",
        "--columns",
        "trl",
        "--windows",
        "0..0",
    )
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "set" / "data").glob("*.parquet")
    names = pq.read_table(path).column_names
    assert {"prompt_ids", "completion_ids", "logprobs", "reward", "proof"} <= set(names)
    assert invoke("export", "--out", tmp_path / "x", "--columns", "nobody").exit_code == 2


def read_program():
    """The page's own, as people copy it."""
    (program,) = re.findall(r"```python\n(.*?GRPOTrainer.*?)```", PAGE.read_text(), re.S)
    return program


@pytest.mark.slow
def test_trl_takes_a_step_on_it(taught, exported, world, tmp_path, monkeypatch):
    """The program of docs/owner.md on the first step's rollouts and the model that drew them: TRL
    gets the same values as Assay's trainer, and it learns."""
    trl = pytest.importorskip("trl", reason="TRL is of the extra `train`")
    datasets = pytest.importorskip("datasets", reason="datasets is of the extra `train`")
    first = read_step(get_steps(taught)[0]).record
    out = tmp_path / "set"
    export_steps(taught, out, range(first.window, first.window + 1), columns="trl")
    drawable = torch.tensor([bool(can) for can in world.checkpoint.tokenizer.drawable])
    assert drawable.sum() == len(drawable) - 1  # padding
    seen = []

    class Watched(trl.GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            made = super()._generate_and_score_completions(inputs)
            ids = torch.cat([made["prompt_ids"], made["completion_ids"]], 1)
            mask = torch.cat([made["prompt_mask"], made["completion_mask"]], 1)
            length = made["completion_ids"].size(1)
            with torch.no_grad():
                logprobs, *_ = self._get_per_token_logps_and_entropies(
                    self.model, ids, mask, length
                )
                logits = self.model(input_ids=ids, attention_mask=mask).logits[:, -length - 1 : -1]
            # TRL's are among all ids
            among = logits[..., drawable].logsumexp(-1) - logits.logsumexp(-1)
            seen.append((made, logprobs - among))
            return made

    def load(*arguments, **options):
        return datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), **options)

    monkeypatch.setattr(trl, "GRPOTrainer", Watched)
    program = read_program()
    for told, given in {
        "from datasets import load_dataset\n": "",
        '"SET"': repr(str(out)),
        '"CHECKPOINT"': repr(str(GENESIS)),
        '"run"': f"{str(tmp_path / 'run')!r}, use_cpu=True, bf16=False, report_to=[], "
        "save_strategy='no', logging_steps=1, shuffle_dataset=False, max_steps=1",
        "learning_rate=1e-6": "learning_rate=1e-4",
        "gradient_accumulation_steps=4": "gradient_accumulation_steps=10",
    }.items():
        assert program.count(told) == 1, told
        program = program.replace(told, given)
    names = {"load_dataset": load}
    exec(compile(program, "owner.md", "exec"), names)

    expected = exported[0]["trl"][: first.groups * SIZE]
    assert sum(len(made["advantages"]) for made, _ in seen) == len(expected) == 80
    number = 0
    for made, logprobs in seen:
        for i, advantage in enumerate(made["advantages"].tolist()):
            row = expected[number]
            length = len(row["completion_ids"])
            assert (
                made["completion_ids"][i][made["completion_mask"][i].bool()].tolist()
                == (row["completion_ids"])
            )
            assert advantage == pytest.approx(row["advantage"] or 0.0, abs=1e-5)
            assert logprobs[i, :length].tolist() == pytest.approx(row["logprobs"], abs=1e-3)
            number += 1
    history = names["trainer"].state.log_history
    (reward,) = [entry["reward"] for entry in history if "reward" in entry]
    assert reward == pytest.approx(sum(row["reward"] for row in expected) / 80, abs=1e-5)
    trained = dict(names["trainer"].model.named_parameters())
    assert all(math.isfinite(weight.data.abs().sum()) for weight in trained.values())
    before = trl.trainer.utils.create_model_from_path(str(GENESIS)).state_dict()
    moved = sum(not torch.equal(before[name], weight.data) for name, weight in trained.items())
    print(f"{number} rollouts of {first.groups} groups; {moved} of {len(trained)} tensors moved")
    assert moved == len(trained)
