"""Direct preference optimisation of the shipped model, by pairs of a contest and of strangers."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from assay.environments.registry import open_environment
from assay.inference.placement import Placement
from assay.lab.contests.preference_pairs import PREFERENCES, Preference, PreferenceWriter
from assay.settings.loading import ConfigError
from assay.subnet.adoption.adopt import find_unadopted
from assay.subnet.preferences import PreferenceRequest, run_preferences
from assay.subnet.recipe import read_recipe
from assay.training import GENESIS, LearnConfig, Learner
from assay.training.examples import NoExampleError
from assay.training.held_out import make_held_out_seed
from assay.training.preparation import PreparationConfig
from tests.commands import run_command

LEARNING = LearnConfig(tokens_per_pass=512)
COURSE = PreparationConfig(steps=4, batch=4, rate=1e-4, every=2)
#: Where nothing hangs on what is learned.
STEP = replace(COURSE, steps=1)


def write_pairs(folder, count=30):
    """A contest's data set: a sum is better than its question. Its folder."""
    rows = [
        Preference(f"{n}+{n}=?\n", f"{2 * n}\n", f"{n}+{n}\n", "scorer", n, 1, "00", "01")
        for n in range(1, count + 1)
    ]
    with PreferenceWriter(folder, "Sums.") as writer:
        writer.write(rows)
    return folder


@pytest.fixture
def request_(tmp_path):
    return PreferenceRequest(
        model=GENESIS,
        folder=tmp_path / "w",
        recipe=read_recipe("genesis-arithmetic"),
        source=write_pairs(tmp_path / "contest") / PREFERENCES,
        config=COURSE,
        problems=6,
    )


def run(request, said=None):
    report = (lambda line: None) if said is None else said
    return run_preferences(request, LEARNING, Placement(), report)


def read_model(request):
    return load_file(request.folder / "model" / "model.safetensors")


def test_a_course_ends_with_a_model_that_prefers_what_it_was_told(request_):
    lines = []
    document = run(request_, lines.append)
    assert any("30 examples of 30 rows" in line for line in lines)
    trials = document["progress"]["trials"]
    assert [trial["step"] for trial in trials] == [0, 2, 4]
    assert trials[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # log 2: as the reference
    assert trials[-1]["loss"] < trials[0]["loss"]
    assert trials[-1]["preferred"] == {"solved": 3, "asked": 3, "mixed": 0}
    assert document["end"] == "all 4 steps are done"
    assert document == json.loads((request_.folder / "dpo.json").read_text())
    assert sorted(path.name for path in request_.folder.iterdir()) == [
        "dpo.json", "model", "reference.json"
    ]  # fmt: skip
    assert find_unadopted(request_.folder / "model") is None
    assert run(request_, lines.append) == document
    assert lines[-1].endswith("is finished: all 4 steps are done")


def test_factors_learn_what_is_preferred_and_leave_an_adapter(request_, tmp_path):
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    factors = replace(LEARNING, lora_rank=4)
    request = replace(request_, config=replace(COURSE, rate=1e-3))
    document = run_preferences(request, factors, Placement(), lambda line: None)
    first, *_, last = document["progress"]["trials"]
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)  # log 2: as the reference
    assert last["loss"] < first["loss"]
    file, made = request.folder / "adapter.safetensors", tmp_path / "made"
    assert document["adapter"] == str(file)
    done = run_command("adopt", file, "--base", GENESIS, "--out", made)
    assert done.returncode == 0, done.stderr
    again, learned = load_file(made / "model.safetensors"), read_model(request)
    assert all(torch.equal(again[name], learned[name]) for name in learned)


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_course_ends_with_the_same_bits(request_, tmp_path, monkeypatch, at):
    run(replace(request_, folder=tmp_path / "whole"))
    learn, done = Learner.update, []

    def update(self, *arguments):
        done.append(None)
        if len(done) == at:
            raise RuntimeError("killed")
        return learn(self, *arguments)

    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(RuntimeError, match="killed"):
        run(request_)
    run(request_)
    whole, resumed = read_model(replace(request_, folder=tmp_path / "whole")), read_model(request_)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_folder_is_of_one_plan(request_):
    request = replace(request_, config=STEP)
    run(request)
    with pytest.raises(ConfigError, match="preference training with other beta: name another"):
        run(replace(request, beta=0.2))


def test_a_lost_reference_is_named(request_, monkeypatch):
    def update(self, *arguments):
        if self.step == 2:
            (request_.folder / "reference.json").write_text("[1]")
            raise RuntimeError("killed")
        return learn(self, *arguments)

    learn = Learner.update
    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(RuntimeError, match="killed"):
        run(request_)
    with pytest.raises(ConfigError, match=r"reference\.json is damaged"):
        run(request_)


USER = {"role": "user", "content": "1+1=?"}


def say(text):
    return {"role": "assistant", "content": text}


def test_rows_are_read_as_trl_reads_them(request_, tmp_path):
    rows = [
        {"prompt": "1+1=?", "chosen": "2", "rejected": "3"},
        {"prompt": [USER], "chosen": [say("2")], "rejected": [say("4")]},
        {"chosen": [USER, say("2")], "rejected": [USER, say("5")]},
        {"prompt": "1+1=?", "chosen": "2", "rejected": "2"},
        {"prompt": "1+1=?", "chosen": "2"},
        {"chosen": [USER, say("2")], "rejected": [USER, USER]},
        {"chosen": [USER, say("2")], "rejected": [USER, USER, say("3")]},
        {"prompt": "1+1=?", "completion": "2"},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = []
    run(replace(request_, source=file, config=STEP), lines.append)
    (told,) = [line for line in lines if line.startswith(str(file))]
    assert "3 examples of 8 rows" in told
    for reason in (
        "whose two answers are equal",
        "2 without a chosen and a rejected answer",
        "whose rejected answer is not the assistant's",
        "whose two answers are to different prompts",
    ):
        assert reason in told
    file.write_text(json.dumps(rows[3]) + "\n")
    with pytest.raises(NoExampleError, match="no row to learn from"):
        run(replace(request_, source=file, folder=tmp_path / "other"))


def test_pairs_are_shown_as_they_will_be_read_and_nothing_is_learned(request_):
    document = run(replace(request_, show=2))
    first, second = document["shown"]
    assert (first["row"], second["row"]) == (1, 2)
    assert (first["prompt"], second["prompt"]) == ("1+1=?\n", "2+2=?\n")
    assert first["chosen"].startswith("2\n")
    assert len(first["chosen"]) > len("2\n")  # the end token is seen
    assert document["rows"]["examples"] == 30
    assert document["rows"]["unread"] == {}
    assert not (request_.folder / "model").exists()
    assert not (request_.folder / "dpo.json").exists()


def test_problems_of_the_trials_are_not_learned(request_, tmp_path):
    environment = open_environment(request_.recipe.make_rules().environment)
    seed = make_held_out_seed(environment, 0)
    asked = environment.make_problem(seed, request_.recipe.levels).prompt
    rows = [{"prompt": text, "chosen": "2", "rejected": "3"} for text in (asked, "1+1=?\n")]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = []
    run(replace(request_, source=file, config=STEP), lines.append)
    assert "1 pairs left out: their problems are tried" in lines
    file.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(NoExampleError, match="use fewer --problems"):
        run(replace(request_, source=file, folder=tmp_path / "other"))


def test_the_command_takes_a_contests_folder(tmp_path):
    contest = write_pairs(tmp_path / "contest")
    few = ("--steps=1", "--batch=2", "--problems=2", f"--out={tmp_path / 'w'}")
    command = ("train", "dpo", GENESIS, contest, "--recipe=genesis-arithmetic", *few)
    done = run_command(*command)
    assert done.returncode == 0
    assert "of 3 pairs right" in done.stdout
    assert f"--model {tmp_path / 'w' / 'model'}" in done.stdout
    shown = run_command(*command, "--show=1", "--json")
    assert [one["row"] for one in json.loads(shown.stdout)["shown"]] == [1]
    empty = run_command("train", "dpo", GENESIS, tmp_path, "--recipe=genesis-arithmetic", *few)
    assert empty.returncode == 2
