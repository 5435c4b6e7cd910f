"""A warm start of the shipped model, which already knows the form of sums."""

import json
import shutil
import signal
from dataclasses import replace
from itertools import pairwise

import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.cli.preparation import run_preparation
from assay.environments import problem_file
from assay.environments.levels import Success
from assay.environments.problem_file import add_problem_files, compute_file_digest
from assay.inference.placement import Placement
from assay.network.extras import MissingExtraError
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings
from assay.subnet import warm_start
from assay.subnet.adoption.adopt import find_unadopted
from assay.subnet.genesis_checkpoint import make_recipe_genesis
from assay.subnet.recipe import read_recipe
from assay.subnet.warm_start import WarmStartRequest, run_warm_start
from assay.training import GENESIS, LearnConfig, Learner
from assay.training.examples import NoExampleError, sample_right
from assay.training.preparation import FORMAT, PreparationConfig, Progress, Trial, finishing
from tests.commands import run_command
from tests.missing_packages import hide_packages

LEARNING = LearnConfig(tokens_per_pass=512)
COURSE = PreparationConfig(steps=4, batch=4, rate=1e-3, every=2)
#: Where nothing hangs on what is learned.
STEP = replace(COURSE, steps=1)


@pytest.fixture
def request_(tmp_path, monkeypatch):
    # a course ends early where all answers are read: of six problems that is luck
    monkeypatch.setattr(warm_start, "FORMAT", 2.0)
    recipe = read_recipe("genesis-arithmetic")
    return WarmStartRequest(
        model=GENESIS,
        folder=tmp_path / "w",
        recipe=recipe,
        config=COURSE,
        problems=6,
        held=3,
        asked=40,
        tries=2,
    )


def run(request, said=None):
    report = (lambda line: None) if said is None else said
    return run_warm_start(request, LEARNING, Placement(), report)


def read_model(request):
    return load_file(request.folder / "model" / "model.safetensors")


def test_a_course_ends_with_a_model_that_a_network_takes(request_, tmp_path):
    document = run(request_)
    progress = document["progress"]
    assert [trial["step"] for trial in progress["trials"]] == [0, 2, 4]
    assert all(trial["loss"] > 0 for trial in progress["trials"])
    assert document["end"] == "all 4 steps are done"
    assert document["adapter"] is None
    assert document == json.loads((request_.folder / "warm_start.json").read_text())
    assert sorted(path.name for path in request_.folder.iterdir()) == ["model", "warm_start.json"]
    assert find_unadopted(request_.folder / "model") is None
    assert not (request_.folder / "model" / "manifest.json").exists()  # it is of other weights
    out = tmp_path / "genesis"
    recipe = replace_calibration(request_.recipe)
    made = make_recipe_genesis(recipe, request_.folder / "model", out, recipe.make_rules())
    assert made.manifest.number == 0
    lines = []
    assert run(request_, lines.append) == document
    assert lines[-1].endswith("is finished: all 4 steps are done")


def replace_calibration(recipe):
    """Few problems: a rate needs no more here."""
    return recipe.model_copy(
        update={"calibration": recipe.calibration.model_copy(update={"problems": 4})}
    )


def adopt(source, base, out):
    return run_command("adopt", source, *([] if base is None else ["--base", base]), "--out", out)


def test_an_adapter_makes_the_same_model_anywhere(request_, tmp_path):
    """And of no other base: one weight that it does not touch is enough."""
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    with_factors = replace(LEARNING, lora_rank=4)
    document = run_warm_start(request_, with_factors, Placement(), lambda line: None)
    file = request_.folder / "adapter.safetensors"
    assert document["adapter"] == str(file)
    assert file.stat().st_size < (request_.folder / "model" / "model.safetensors").stat().st_size
    made = adopt(file, GENESIS, tmp_path / "made")
    assert made.returncode == 0, made.stderr
    learned = read_model(request_)
    assert learned.keys() == load_file(GENESIS / "model.safetensors").keys()
    again = load_file(tmp_path / "made" / "model.safetensors")
    assert all(torch.equal(again[name], learned[name]) for name in learned)
    kept = sorted(path.name for path in (request_.folder / "model").iterdir())
    assert sorted(p.name for p in (tmp_path / "made").iterdir()) == sorted(
        {*kept, "adoption.json", "generation_config.json"} - {"warm_start.json"}
    )
    other = load_file(GENESIS / "model.safetensors")
    other["model.norm.weight"][3] += 0.5
    shutil.copytree(GENESIS, tmp_path / "other")
    (tmp_path / "other" / "manifest.json").unlink()
    save_file(other, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    refused = adopt(file, tmp_path / "other", tmp_path / "wrong")
    assert refused.returncode == 2
    assert "makes other tensors" in " ".join(refused.stderr.split())
    assert not (tmp_path / "wrong").exists()
    without = adopt(file, None, tmp_path / "wrong")
    assert without.returncode == 2
    assert "name an adapter's base with --base" in " ".join(without.stderr.split())
    model = adopt(GENESIS / "model.safetensors", GENESIS, tmp_path / "wrong")
    assert model.returncode == 2
    assert "is no adapter of Assay's" in " ".join(model.stderr.split())


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_course_ends_with_the_same_bits(request_, tmp_path, monkeypatch, at):
    run(replace(request_, folder=tmp_path / "whole"))
    learn, done = Learner.update, []

    def update(self, *arguments):
        if len(done) == at - 1:
            done.append(None)
            raise RuntimeError("killed")
        done.append(None)
        return learn(self, *arguments)

    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(RuntimeError, match="killed"):
        run(request_)
    monkeypatch.setattr(Learner, "update", learn)
    run(request_)
    whole, resumed = read_model(replace(request_, folder=tmp_path / "whole")), read_model(request_)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_signal_waits_for_the_step_and_saves_it(request_, monkeypatch):
    learn, said = Learner.update, []

    def update(self, *arguments):
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return learn(self, *arguments)

    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(KeyboardInterrupt):
        run(request_, said.append)
    assert any("finishing this step" in line for line in said)
    state = json.loads((request_.folder / "warm_start.json").read_text())
    assert state["progress"]["step"] == 3
    assert (request_.folder / state["learner"]).exists()


def test_a_second_signal_counts_at_once():
    reached = []

    def stop_twice():
        with finishing(lambda line: None):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append(None)

    with pytest.raises(KeyboardInterrupt):
        stop_twice()
    assert reached == []


def test_a_folder_is_of_one_plan(request_):
    request = replace(request_, config=STEP)
    run(request)
    other = replace(request, config=replace(STEP, rate=2e-3), problems=7)
    with pytest.raises(ConfigError, match="with other course, problems: name another folder"):
        run(other)
    (request.folder / "warm_start.json").write_text('{"plan": 1}')
    with pytest.raises(ConfigError, match="is damaged"):
        run(request)


def test_the_models_own_right_answers_are_drawn_once(request_, tmp_path, monkeypatch):
    drawn = []

    def draw(lessons, drafter, seed, first, problems, tries):
        drawn.append((first, problems, tries))
        return sample_right(lessons, drafter, seed, first, problems, tries)

    monkeypatch.setattr(warm_start, "sample_right", draw)
    own = replace(request_, source="own", config=STEP)
    document = run(own)
    assert document["plan"]["examples"] == "own"
    assert drawn == [(0, 32, 2), (32, 8, 2)]
    file, again = own.folder / "own_answers.jsonl", tmp_path / "again"
    first, second = file.read_bytes().splitlines(keepends=True)
    assert len(json.loads(first)) > 0
    again.mkdir()
    (again / file.name).write_bytes(first + second[:-1])  # as a killed command leaves it
    run(replace(own, folder=again))
    assert drawn == [(0, 32, 2), (32, 8, 2), (32, 8, 2)]
    assert (again / file.name).read_bytes() == first + second
    models = read_model(own), read_model(replace(own, folder=again))
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_no_right_answer_gives_nothing_to_imitate(request_):
    hard = replace(request_, environment="arithmetic", source="own", asked=2, tries=1)
    hard = replace(hard, recipe=hard.recipe.model_copy(update={"levels": (12,)}))
    with pytest.raises(NoExampleError, match="none of 2 answers of the model's own was right"):
        run(hard)


def test_a_file_of_too_few_problems_says_so(request_, tmp_path, monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})
    file = tmp_path / "rows.jsonl"
    rows = [{"question": f"{n}+1=?\n", "answer": f"#### {n + 1}"} for n in range(3)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([file])
    recipe = request_.recipe.model_copy(update={"levels": (1, 2, 3)})
    named = f"gsm:{compute_file_digest(file)}"
    few = replace(request_, recipe=recipe, environment=named, problems=60)
    with pytest.raises(NoExampleError, match="2,000 kept for trials; there are too few others"):
        run(few)


def test_other_levels_than_the_recipes_are_learned(tmp_path):
    few = ("--steps=1", "--batch=2", "--problems=2", f"--out={tmp_path / 'w'}", "--json")
    command = ("train", "warm-start", str(GENESIS), "--recipe=genesis-arithmetic", *few)
    done = run_command(*command, "--level=3", "--level=2", "--level=3")
    assert done.returncode == 0
    assert json.loads(done.stdout)["plan"]["levels"] == [2, 3]
    done = run_command(*command, "--level=99")
    assert done.returncode == 2
    assert "does not have all of [99]" in done.stderr


def test_a_missing_library_is_named_before_a_model_is_read(monkeypatch):
    hide_packages(monkeypatch, "peft")
    settings, request = Settings(trainer={"lora_rank": 4}), None
    with pytest.raises(MissingExtraError, match="install the extra `train`"):
        run_preparation(lambda *_: pytest.fail("read"), settings, request, "", True, True, ())


def test_a_mixture_with_some_solutions_is_imitated(request_):
    recipe = request_.recipe.model_copy(update={"levels": (1001, 2005)})
    mixed = replace(request_, recipe=recipe, environment="mix,arithmetic=1,sat=1", config=STEP)
    assert run(replace(mixed, problems=20))["plan"]["examples"] == "solutions"


def test_conversations_are_imitated_turn_by_turn(request_, tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": "1+1=?"}, {"role": "assistant", "content": "2"}]},
        {"prompt": "2+2=?", "completion": "4"},
        {
            "prompt": [{"role": "user", "content": "3+3=?"}],
            "completion": [{"role": "assistant", "content": "6"}],
        },
        {
            "messages": [
                {"role": "user", "content": "4+4=?"},
                {"role": "assistant", "content": "8"},
                {"role": "user", "content": "5+5=?"},
                {"role": "assistant", "content": "10"},
            ]
        },
        {"messages": [{"role": "tool", "content": "x"}]},
        {"question": "?"},
        {"messages": [{"role": "assistant", "content": "hello"}]},
    ]
    file = tmp_path / "said.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = []
    document = run(replace(request_, source=file, config=STEP), lines.append)
    (told,) = [line for line in lines if line.startswith(str(file))]
    assert "5 examples of 7 rows" in told
    assert "without messages, or a prompt and a completion" in told
    assert "answers no user" in told
    assert document["plan"]["examples"].startswith("file ")
    assert document["progress"]["trials"][0]["loss"] is None  # too few to hold any back


def test_rows_are_shown_and_each_column_is_read_or_told(request_, tmp_path):
    """A table's other columns are not unpacked; nobody told of them where they were of `sft`."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{n}+1=?", "mood": None},
                {"role": "assistant", "content": f"{n + 1}", "mood": "good"},
            ],
            "id": n,
            "difficulty": "low",
        }
        for n in range(30)
    ]
    file = tmp_path / "said.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    lines = []
    document = run(replace(request_, source=file, show=2), lines.append)
    assert [one["row"] for one in document["shown"]] == [1, 2]
    assert document["shown"][1]["prompt"] == "1+1=?"
    assert document["shown"][1]["completion"].startswith("2")
    assert document["rows"]["unread"] == {"message.mood": 30, "difficulty": 30}
    assert document["rows"]["ignored"] == {"id": 30}
    assert any("difficulty 30 times" in line for line in lines)
    assert not (request_.folder / "model").exists()


def make_trial(step, loss, read):
    return Trial(step, loss, Success(0, 100), Success(read, 100))


@pytest.mark.parametrize(
    ("trials", "ends"),
    [
        ([(0, 2.0, 99)], False),
        ([(0, 2.0, 0), (1, 1.0, 99)], False),
        ([(0, 2.0, 0), (1, 1.0, 99), (2, 0.995, 95)], True),
        ([(0, 2.0, 0), (1, 1.0, 99), (2, 0.995, 94)], False),
        ([(0, 2.0, 0), (1, 1.0, 99), (2, 1.5, 96)], True),
        ([(0, None, 0), (1, None, 99)], False),
    ],
)
def test_a_course_ends_by_form_and_loss_and_not_by_success(trials, ends):
    progress = Progress(trials=[make_trial(*trial) for trial in trials])
    assert (progress.find_end(FORMAT) is not None) is ends
    assert progress.find_end(None) is None


def test_the_rate_rises_and_falls():
    config = PreparationConfig(steps=100, rate=1.0)
    rates = [config.compute_rate(step) for step in range(100)]
    assert rates[0] == 0.1
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert all(before >= after for before, after in pairwise(rates[10:]))
    assert 0.1 <= rates[-1] < 0.11
