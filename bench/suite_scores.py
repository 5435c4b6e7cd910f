"""Scores of `assay eval` beside those of lm_eval, row for row, on the same completions.

Word problems of `gsm` are written to a file, and `assay eval` lets a model answer them after two
examples, at temperature 0. lm_eval reads the same rows by its own task `gsm8k`, of which only the
place of the data and the choice of examples are changed, and asks a model that repeats these
completions. It has both prompts, so they are compared, too. Both also score texts that were made
to differ: for each row, right and wrong numbers in every spelling that a filter may stumble over.

pip install lm_eval. `--out DIR` names the folder of an adopted model, in place of the shipped one.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from figures import FAST, OUT, Figure, report

from assay.environments import gsm
from assay.environments.registry import make_environment
from assay.evaluation.folder import EvaluationFolder
from assay.evaluation.model import open_folder
from assay.evaluation.request import EvaluationRules
from assay.evaluation.run import Evaluation
from assay.evaluation.sampling import OwnSampler
from assay.evaluation.suite import Suite, read_shots, read_suite
from assay.inference.placement import Placement
from assay.protocol.hashing import Domain, hash_fields
from assay.training import GENESIS

ROWS, SHOTS, TOKENS = (8, 1, 16) if FAST else (24, 2, 96)
#: {} is the right number, {+} the next one, {,} the right one with commas.
MADE = (
    "#### {}",
    "The answer is {}.",
    "#### {,}",
    "#### {}.",
    "####{}",
    "#### {+}\n#### {}",
    "#### {}\n#### {+}",
    "#### ${}",
    "So $ {} in all.",
    "${,}.",
    "#### {}.00",
    "#### -{}",
    "#### {} apples, and 2 for you",
    "#### {}\n\nQuestion: and now? #### 3",
    "{}</s>{+}",
    "{+}<|im_end|>{}",
    "\\boxed{{}}",
    "#### x",
    "",
    "...",
    "$",
    "1,2,{}",
    "#### ٣",
    "#### {}\u00a0",
    "####  {}",
    "between 1-{}",
    "#### {}-{+}",
    "#### ,{}",
)


def write_rows(path: Path, first: int, count: int) -> None:
    """Rows in GSM8K's format, each question once."""
    environment, rows = make_environment(gsm.NAME, {}), dict[str, str]()
    number = first
    while len(rows) < count:
        seed = hash_fields(Domain.HELD_OUT, b"suite", number.to_bytes(4, "big"))
        answer: Any = environment.make_problem(seed, range(1, 4)).answer
        rows.setdefault(answer.row.question, answer.row.solution)
        number += 1
    lines = [json.dumps({"question": q, "answer": a}) for q, a in rows.items()]
    path.write_text("\n".join(lines) + "\n")


def draw(model_folder: Path, suite: Suite, rules: EvaluationRules, out: Path) -> Evaluation:
    """The evaluation, with its completions in `out`."""
    model = open_folder(model_folder)
    evaluation = Evaluation(model, [suite], rules, model_folder.name)
    loaded = model.load(Placement())

    def make_sampler() -> OwnSampler:
        return model.make_sampler(loaded, rules.temperature, rules.max_tokens)

    folder = EvaluationFolder(out)
    with folder.hold(evaluation.make_plan()):
        for _ in evaluation.run(folder, make_sampler):
            print(f"  {evaluation.done} of {evaluation.asked} completions", file=sys.stderr)
    return evaluation


class Other:
    """lm_eval's own task, on local files."""

    def __init__(self, suite: Path, shots: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"  # noqa: TID251 - it must not look for its data set
        import lm_eval.tasks
        from lm_eval.api.task import ConfigurableTask
        from yaml import safe_load

        yaml = Path(lm_eval.tasks.__file__).parent / "gsm8k" / "gsm8k.yaml"
        config = dict(safe_load(yaml.read_text()))
        for name in ("tag", "dataset_name"):
            config.pop(name)
        config |= {
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"train": str(shots), "test": str(suite)}},
            "fewshot_config": {"sampler": "first_n"},
        }
        self._config, self._task = config, ConfigurableTask

    def score(self, answers: Sequence[str]) -> tuple[list[str], dict[str, list[bool]]]:
        """Its prompts, and for each filter whether each row is right, as one completion a row."""
        from lm_eval import simple_evaluate
        from lm_eval.api.model import LM

        prompts: dict[int, str] = {}

        class Repeating(LM):  # type: ignore[misc]
            def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
                texts = []
                for request in requests:
                    prompt, settings = request.args
                    prompts[request.doc_id] = prompt
                    text = answers[request.doc_id]
                    for stop in settings["until"]:
                        text = text.split(stop)[0]
                    texts.append(text)
                return texts

            def loglikelihood(self, requests: Any) -> Any:
                raise NotImplementedError

            loglikelihood_rolling = loglikelihood

        task = self._task(config=dict(self._config))
        found: Any = simple_evaluate(
            Repeating(), tasks=[task], num_fewshot=SHOTS, bootstrap_iters=0, log_samples=True
        )
        scores: dict[str, list[bool]] = {}
        (samples,) = found["samples"].values()
        for sample in sorted(samples, key=lambda sample: sample["doc_id"]):
            scores.setdefault(sample["filter"], []).append(bool(sample["exact_match"] == 1))
        return [prompts[number] for number in sorted(prompts)], scores


def score_ours(suite: Suite, answers: Sequence[str]) -> dict[str, list[bool]]:
    """The same by the convention's scorers. The suite's rows come again and again."""
    convention, count = suite.convention, len(suite.rows)
    texts = [answer if (cut := convention.cut(answer)) is None else cut for answer in answers]
    return {
        scorer.name: [
            scorer.judge(text, suite.rows[place % count]).is_right
            for place, text in enumerate(texts)
        ]
        for scorer in convention.scorers
    }


def fill(text: str, right: int) -> str:
    """A made answer to a row whose right answer is a number."""
    filled = text.replace("{,}", f"{right:,}").replace("{+}", str(right + 1))
    return filled.replace("{}", str(right))


def main() -> None:
    """Draw, score twice, compare."""
    if find_spec("lm_eval") is None:
        sys.exit("lm_eval is not installed: pip install lm_eval")
    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        write_rows(place / "test.jsonl", 0, ROWS)
        write_rows(place / "shots.jsonl", 1 << 20, SHOTS)
        suite = read_suite(place / "test.jsonl")
        shots = read_shots(place / "shots.jsonl", SHOTS)
        rules = EvaluationRules(1, 0, TOKENS, 0, shots, plain=True)
        evaluation = draw(OUT or GENESIS, suite, rules, place / "out")
        drawn = {
            each.ask.row: each.text
            for each in EvaluationFolder(place / "out").read(evaluation.is_asked)
        }
        # each made answer has a row of its own, whose question nobody reads
        rights = [int(row.solution.rpartition("#### ")[2]) for row in suite.rows]
        made_texts = [fill(text, right) for text in MADE for right in rights]
        lines = (place / "test.jsonl").read_text() * (1 + len(MADE))
        (place / "all.jsonl").write_text(lines)
        answers = [*(drawn[row.number] for row in suite.rows), *made_texts]
        prompts, theirs = Other(place / "all.jsonl", place / "shots.jsonl").score(answers)
    asked = [suite.convention.put(row, shots).text for row in suite.rows]
    other_prompts = sum(one != two for one, two in zip(asked, prompts, strict=False))
    ours = score_ours(suite, answers)
    different = [
        number
        for name, scores in ours.items()
        for number, pair in enumerate(zip(scores, theirs[name], strict=True))
        if pair[0] != pair[1]
    ]
    for number in different:
        print(f"  another score: {answers[number]!r}", file=sys.stderr)
    differ = sum(number < ROWS for number in different)
    made, scored = len(different) - differ, 2 * len(made_texts)
    made_right = sum(sum(scores[ROWS:]) for scores in theirs.values())
    (told,) = evaluation.make_results()["suites"]
    shares = [scorer["pass"]["1"]["value"] for scorer in told["scorers"]]
    names = [scorer["name"] for scorer in told["scorers"]]
    report(
        f"Scores beside lm_eval: {ROWS} problems, {SHOTS} examples, {evaluation.name}",
        [
            Figure("prompts that differ", other_prompts, f"of {ROWS}", bound=0),
            Figure("scores of the model's answers that differ", differ, f"of {2 * ROWS}", bound=0),
            *(
                Figure(
                    f"{name} of the model", value, "share", "lm_eval", share(theirs[name][:ROWS])
                )
                for name, value in zip(names, shares, strict=True)
            ),
            Figure("scores of made answers that differ", made, f"of {scored:,}", bound=0),
            Figure("made answers that lm_eval takes", made_right, f"of {scored:,}"),
        ],
        threads=1,
    )


def share(right: Sequence[bool]) -> float:
    """The share of right rows."""
    return sum(right) / len(right)


if __name__ == "__main__":
    main()
