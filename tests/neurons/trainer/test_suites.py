"""A trainer's evaluations on suites: which checkpoints, which rows, and a stop in the middle."""

import json
from types import SimpleNamespace

import pytest
import torch

from assay.environments import gsm
from assay.environments.registry import make_environment
from assay.evaluation.folder import COMPLETIONS, RESULTS
from assay.evaluation.suite import EvaluationError
from assay.inference.checkpoint import load_checkpoint
from assay.inference.draws.sampler import BROKEN
from assay.inference.folder import CheckpointError
from assay.neurons.trainer.suites import FOLDER, SuiteMonitor, read_suites
from assay.protocol.amendment import ParameterHistory
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Prompts, PromptText
from assay.training import GENESIS
from tests.vectors.subjects import PARAMETERS

HISTORY = ParameterHistory(PARAMETERS)


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(GENESIS)


class Checkpoints:
    """A folder that has only this one."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint

    def get(self, digest, _=None):
        if digest != self.checkpoint.digest:
            raise CheckpointError("it is gone")
        return self.checkpoint


def write(path, numbers):
    environment = make_environment(gsm.NAME, {})
    seeds = [hash_fields(Domain.HELD_OUT, bytes([number])) for number in numbers]
    rows = [environment.make_problem(seed, [1]).answer.row for seed in seeds]
    texts = [json.dumps({"question": row.question, "answer": row.solution}) for row in rows]
    path.write_text("\n".join(texts))
    return path


def learn(number, digest):
    return SimpleNamespace(published=SimpleNamespace(number=number, digest=digest))


def test_rows_of_the_training_file_are_named_before_anything_is_asked(tmp_path):
    said = []
    trained = write(tmp_path / "train.jsonl", range(3))
    suites = read_suites([write(tmp_path / "suite.jsonl", range(2, 6))], [trained], said.append)
    assert [row.number for row in suites[0].rows] == [2, 3, 4]
    assert said == [
        f"suite suite.jsonl: 1 rows are filtered out, in the training file {trained}: row 1"
    ]
    with pytest.raises(EvaluationError, match="none of its 3 rows can be asked: 3 in the training"):
        read_suites([trained], [trained], said.append)


def test_an_owner_s_words_are_asked(tmp_path, checkpoint):
    file, words = write(tmp_path / "suite.jsonl", range(2)), PromptText("after", " Now.")
    given = {gsm.NAME: Prompts(gsm.NAME, (words,)), "math": Prompts("math", (words,))}
    suites, said = read_suites([file], (), print, given), []
    monitor = SuiteMonitor(tmp_path, Checkpoints(checkpoint), suites, 1, said.append, HISTORY)
    monitor.note(learn(1, checkpoint.digest))
    while monitor.step():
        pass
    assert said[0].endswith("asked as gsm8k with your own words")
    results = json.loads((tmp_path / FOLDER / "1" / RESULTS).read_text())
    assert results["suites"][0]["prompts"]["texts"] == [{"name": "after", "text": " Now."}]
    with pytest.raises(EvaluationError, match="words for math, and the suites are of gsm"):
        read_suites([file], (), print, {"math": given["math"]})


def test_every_second_checkpoint_is_evaluated_and_a_stop_costs_nothing(tmp_path, checkpoint):
    suites = read_suites([write(tmp_path / "suite.jsonl", range(40))], (), print)
    said = []
    open_monitor = lambda: SuiteMonitor(  # noqa: E731
        tmp_path, Checkpoints(checkpoint), suites, 2, said.append, HISTORY
    )
    monitor = open_monitor()
    assert not monitor.step()
    for number, digest in ((1, checkpoint.digest), (2, checkpoint.digest), (4, bytes(32))):
        monitor.note(learn(number, digest))
    assert monitor.step()
    kept = (tmp_path / FOLDER / "2" / COMPLETIONS).read_bytes()
    assert kept
    monitor.close()
    monitor = open_monitor()
    while monitor.step():
        pass
    folders = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    assert folders == ["2"]  # 1 has no turn, and 4 was not there again after the stop
    assert (tmp_path / FOLDER / "2" / COMPLETIONS).read_bytes().startswith(kept)
    results = json.loads((tmp_path / FOLDER / "2" / RESULTS).read_text())
    assert results["name"] == "checkpoint 2"
    share = results["suites"][0]["scorers"][0]["pass"]["1"]["value"]
    assert said == [said[0]]
    assert f"checkpoint 2, suite.jsonl: {100 * share:.1f} % of 40 problems" in said[0]
    assert not open_monitor().step()


def test_a_checkpoint_that_cannot_hold_a_suite_is_reported_and_training_goes_on(
    tmp_path, checkpoint
):
    row = {"question": "How many? " * 200, "answer": "#### 7"}
    (tmp_path / "long.jsonl").write_text(json.dumps(row))
    said = []
    suites = read_suites([tmp_path / "long.jsonl"], (), said.append)
    monitor = SuiteMonitor(tmp_path, Checkpoints(checkpoint), suites, 1, said.append, HISTORY)
    monitor.note(learn(1, checkpoint.digest))
    assert monitor.step()
    assert not monitor.step()
    assert "1 of 1 prompts do not fit the model's context" in said[0]


def test_a_checkpoint_that_cannot_draw_is_reported_and_training_goes_on(tmp_path):
    broken = load_checkpoint(GENESIS)
    with torch.no_grad():
        for parameter in broken.model.parameters():
            parameter.fill_(torch.nan)
    said = []
    suites = read_suites([write(tmp_path / "suite.jsonl", range(2))], (), said.append)
    monitor = SuiteMonitor(tmp_path, Checkpoints(broken), suites, 1, said.append, HISTORY)
    monitor.note(learn(1, broken.digest))
    assert monitor.step()
    assert not monitor.step()
    assert said == [f"suites: {BROKEN}"]
