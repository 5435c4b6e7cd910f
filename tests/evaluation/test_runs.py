"""An evaluation by the shipped model: its figures, its stops, and what is in its way."""

import json
from copy import copy
from dataclasses import replace
from fractions import Fraction

import pytest

from assay.environments import gsm
from assay.environments.registry import make_environment
from assay.evaluation import folder
from assay.evaluation.folder import COMPLETIONS, PLAN, RESULTS, EvaluationFolder
from assay.evaluation.model import open_folder
from assay.evaluation.request import EvaluationRules
from assay.evaluation.run import Evaluation, Progress
from assay.evaluation.suite import EvaluationError, read_suite
from assay.inference.placement import Placement
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Prompts, PromptText
from assay.training import GENESIS
from tests.disks import filling

RULES = EvaluationRules(samples=3, temperature=1_024, max_tokens=12, seed=0)


@pytest.fixture(scope="module")
def model():
    return open_folder(GENESIS)


@pytest.fixture(scope="module")
def loaded(model):
    return model.load(Placement())


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "words.jsonl"
    environment = make_environment(gsm.NAME, {})
    seeds = [hash_fields(Domain.HELD_OUT, bytes([number])) for number in range(5)]
    rows = [environment.make_problem(seed, [1]).answer.row for seed in seeds]
    texts = [json.dumps({"question": row.question, "answer": row.solution}) for row in rows]
    path.write_text("\n".join(texts))
    return read_suite(path)


@pytest.fixture
def run(model, loaded, suite):
    """Runs an evaluation of the suite in a folder, until it has this many completions."""

    def run(path, rules=RULES, until=None, rows=4, asked=suite):
        evaluation = Evaluation(model, [asked], rules, "tiny")
        files = EvaluationFolder(path)
        with files.hold(evaluation.make_plan()):
            sampler = model.make_sampler(loaded, rules.temperature, rules.max_tokens, rows)
            for _ in evaluation.run(files, lambda: sampler):
                if until is not None and evaluation.done >= until:
                    break
        return evaluation

    return run


def read_rows(path):
    lines = (path / COMPLETIONS).read_text().splitlines()
    return sorted(lines, key=lambda line: [json.loads(line)[n] for n in ("row", "sample")])


def test_completions_are_as_long_as_the_context_allows(model, suite):
    """The shipped model's holds 512 tokens."""
    evaluation = Evaluation(model, [suite], replace(RULES, max_tokens=0), "tiny")
    longest = max(len(ids) for each in evaluation._prompts for ids in each)  # noqa: SLF001
    assert evaluation.rules.max_tokens == 512 - longest
    assert evaluation.make_plan()["max_tokens"] == 512 - longest


def test_a_run_that_was_killed_goes_on_to_the_same_result(run, tmp_path):
    whole = run(tmp_path / "whole")
    assert whole.done == whole.asked == 15
    begun = run(tmp_path / "killed", until=5)
    assert begun.asked > begun.done >= 5
    assert not (tmp_path / "killed" / RESULTS).exists()
    journal = tmp_path / "killed" / COMPLETIONS
    kept = journal.read_bytes()
    journal.write_bytes(kept + kept.partition(b"\n")[0])  # a kill cut the last line off
    run(tmp_path / "killed")
    assert journal.read_bytes().startswith(kept)
    assert read_rows(tmp_path / "killed") == read_rows(tmp_path / "whole")
    results = (tmp_path / "whole" / RESULTS).read_bytes()
    assert (tmp_path / "killed" / RESULTS).read_bytes() == results
    assert run(tmp_path / "killed").tokens == whole.tokens  # nothing is left to draw


def test_figures_follow_from_what_was_drawn(run, tmp_path, suite):
    result = run(tmp_path / "e").make_results()
    (described,) = result["suites"]
    assert [described[name] for name in ("asked", "rows", "convention")] == [5, 5, "gsm8k"]
    drawn = [json.loads(line) for line in read_rows(tmp_path / "e")]
    assert described["tokens"] == result["tokens"] == sum(each["tokens"] for each in drawn)
    assert described["cut"] == sum(not each["ended"] for each in drawn)
    for which, scorer in enumerate(suite.convention.scorers):
        counts = [
            sum(scorer.judge(each["text"], row).is_right for each in drawn
                if each["row"] == row.number)
            for row in suite.rows
        ]  # fmt: skip
        told = described["scorers"][which]
        assert told["right"] == [[row.number, n] for row, n in zip(suite.rows, counts, strict=True)]
        assert told["pass"]["1"]["value"] == round(float(Fraction(sum(counts), 15)), 6)
        assert told["pass"]["3"]["value"] == sum(count > 0 for count in counts) / 5
        assert told["histogram"] == [counts.count(right) for right in range(4)]
    json.dumps(result)


def test_the_most_probable_tokens_are_the_same_in_each_sample(run, tmp_path):
    run(tmp_path / "e", replace(RULES, temperature=0, samples=2))
    texts = {}
    for line in read_rows(tmp_path / "e"):
        drawn = json.loads(line)
        texts.setdefault(drawn["row"], set()).add(drawn["text"])
    assert [len(each) for each in texts.values()] == [1] * 5


def test_another_evaluation_needs_another_folder(run, suite, tmp_path):
    run(tmp_path / "e", until=1)
    with pytest.raises(EvaluationError, match="other max_tokens, seed: name another folder"):
        run(tmp_path / "e", replace(RULES, seed=1, max_tokens=8))
    own = replace(suite, prompts=Prompts(gsm.NAME, (PromptText("after", ""),)))
    with pytest.raises(EvaluationError, match=r"other suites \(1: prompts\): name another"):
        run(tmp_path / "e", asked=own)
    with (
        EvaluationFolder(tmp_path / "e").hold(json.loads((tmp_path / "e" / PLAN).read_text())),
        pytest.raises(EvaluationError, match="in use"),
    ):
        run(tmp_path / "e")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"suite": 0}', "damaged"),
        ("[]", "damaged"),
        ("x" * 100, "damaged"),
        ("x" * 2_000, "longer than 0 MiB"),
        ('{"suite":1,"row":1,"sample":0,"tokens":1,"ended":true,"text":""}', "another eval.*row 1"),
        ('{"suite":0,"row":9,"sample":0,"tokens":1,"ended":true,"text":""}', "another eval.*row 9"),
    ],
)
def test_a_line_that_is_none_is_named_with_what_to_do(run, tmp_path, monkeypatch, line, said):
    monkeypatch.setattr(folder, "_LINE_MAX", 1_000)
    run(tmp_path / "e", until=1)
    journal = tmp_path / "e" / COMPLETIONS
    kept = journal.read_text()
    journal.write_text(f"{line}\n{kept}")
    with pytest.raises(EvaluationError, match=f"line 1: {said}.*: delete this line"):
        run(tmp_path / "e")
    journal.write_text(kept)
    assert run(tmp_path / "e").done == 15


def test_prompts_are_put_as_an_environment_would_put_them(run, model, suite, tmp_path):
    """`bos` and `plain` are those of an environment, named in the result; what is odd is said."""
    result = run(tmp_path / "e", replace(RULES, samples=1, bos=True)).make_results()
    assert (result["prompt"], result["bos"]) == ("plain", True)
    assert result["warnings"] == ["bos=1 has no effect: the tokenizer has no bos_token"]
    tokenizer = copy(model.tokenizer)
    tokenizer.bos, tokenizer.adds_bos = 1, True
    other = replace(model, tokenizer=tokenizer)
    (warning,) = Evaluation(other, [suite], RULES, "tiny").warnings
    assert warning.endswith("--bos does so")
    assert Evaluation(other, [suite], replace(RULES, bos=True), "tiny").warnings == []


def test_a_full_disk_is_reported_and_leaves_nothing_half_written(run, tmp_path):
    run(tmp_path / "e", until=1)
    size = (tmp_path / "e" / COMPLETIONS).stat().st_size
    said = pytest.raises(EvaluationError, match=f"cannot write .*{COMPLETIONS}.*: make room")
    with filling(size + 20), said:
        run(tmp_path / "e")
    assert (tmp_path / "e" / COMPLETIONS).stat().st_size == size + 20  # half a line
    assert not (tmp_path / "e" / RESULTS).exists()
    assert run(tmp_path / "e").done == 15


def test_a_suite_that_the_context_cannot_hold_is_refused_before_anything_is_drawn(model, suite):
    longest = max(len(ids) for ids in model.encode_suite(suite, [
        suite.convention.put(row) for row in suite.rows
    ], 1))  # fmt: skip
    positions = model.config["max_position_embeddings"]
    rules = replace(RULES, max_tokens=positions)
    with pytest.raises(EvaluationError, match=f"5 of 5 prompts.*{positions - longest} or less"):
        Evaluation(model, [suite], rules, "tiny")
    Evaluation(model, [suite], replace(rules, max_tokens=positions - longest), "tiny")
    narrow = replace(model, config=model.config | {"max_position_embeddings": longest})
    with pytest.raises(EvaluationError, match="take fewer --shots, shorter problems"):
        Evaluation(narrow, [suite], RULES, "tiny")


def test_progress_says_how_much_is_left(model, suite):
    said = []
    evaluation = Evaluation(model, [suite], RULES, "tiny")
    progress = Progress(evaluation, said.append)
    progress.tell()
    progress.tell()  # too soon
    assert said == ["0 of 15 completions"]
