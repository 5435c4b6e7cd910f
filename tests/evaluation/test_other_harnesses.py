"""Models and environments where others look: lm-eval and Inspect, by their own commands."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from assay.environments.dealing import make_miner_problem
from assay.environments.registry import make_environment
from assay.environments.rewards import choose_rewards, compute_reward
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import MILLION
from assay.subnet.vetting import export_for_inspect
from tests.commands import run_command
from tests.tree import ROOT

GENESIS = ROOT / "assay" / "training" / "genesis"


def find_skip(package: str, extra: str) -> pytest.MarkDecorator:
    missing = find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is of the extra `{extra}`")


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-P", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


TASK = """\
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {rows}}}
test_split: train
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_target: {target}
{more}
"""


@find_skip("lm_eval", "lm-eval")
def test_lm_eval_reads_the_shipped_model(tmp_path: Path) -> None:
    """Its likelihoods prefer the right sum, as the model was trained to, and it generates."""
    rows = [{"question": f"{a} + {b} = ", "answer": f"{a + b}"} for a in range(4) for b in range(4)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    choices = 'doc_to_choice: ["{{answer}}", "{{answer}}x"]'
    until = 'generation_kwargs: {until: ["\\n"], max_gen_toks: 8, do_sample: false}'
    for kind, target, more in (
        ("multiple_choice", "0", choices),
        ("generate_until", '"{{answer}}"', until),
    ):
        tasks = tmp_path / kind
        tasks.mkdir()
        text = TASK.format(rows=file, kind=kind, target=target, more=more)
        (tasks / "sums.yaml").write_text(text)
        words = ("--model", "assay", "--model_args", f"folder={GENESIS}", "--tasks", "sums")
        where = ("--include_path", tasks, "--device", "cpu", "--output_path", tasks / "out")
        run("-m", "assay.evaluation.lm_eval_adapter", "run", *words, *where, cwd=tmp_path)
        (found,) = (tasks / "out").rglob("results*.json")
        results = json.loads(found.read_text())["results"]["sums"]
        if kind == "multiple_choice":
            assert results["acc,none"] == 1.0


@find_skip("lm_eval", "lm-eval")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("folder=nowhere", "cannot read nowhere/config.json"),
        ("max_length=64", "name its folder: --model_args folder=FOLDER"),
    ],
)
def test_a_folder_that_is_none_is_said_in_a_line(tmp_path: Path, given: str, said: str) -> None:
    words = ("run", "--model", "assay", "--model_args", given, "--tasks", "sums")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "assay.evaluation.lm_eval_adapter", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_to_type_next_is_quoted(tmp_path: Path) -> None:
    done = run_command("env", "export", "gsm", "--inspect", "my task", cwd=tmp_path)
    assert "inspect eval 'my task/task.py' --model" in done.stdout


ANSWERS = """
import sys
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model

said = sys.argv[2:]
outputs = [ModelOutput.from_content("mockllm/model", one) for one in said]
for output in outputs:
    output.usage = ModelUsage()  # else it fetches a tokenizer to count
model = get_model("mockllm/model", custom_outputs=outputs)
eval(sys.argv[1], model=model, task_args={"count": len(said), "levels": "1"}, max_connections=1,
     log_format="json", log_dir="logs", display="none")
"""


@find_skip("inspect_ai", "inspect")
def test_inspect_gives_our_rewards(tmp_path: Path) -> None:
    environment = make_environment("arithmetic", {})
    file, _ = export_for_inspect("arithmetic", tmp_path / "task")
    problems = [
        make_miner_problem(environment, bytes(32), bytes(32), index, start_levels([1]))
        for index in range(4)
    ]
    said = [f"{problem.answer}" if place % 2 else "none" for place, problem in enumerate(problems)]
    run("-c", ANSWERS, file.name, *said, cwd=file.parent)
    (log,) = (file.parent / "logs").glob("*.json")
    samples = json.loads(log.read_text())["samples"]
    weights = choose_rewards(environment.rated)
    for problem, text, sample in zip(problems, said, samples, strict=True):
        parts = environment.score(problem, text)
        assert sample["input"][-1]["content"] == problem.prompt
        assert sample["output"]["choices"][0]["message"]["content"] == text
        assert sample["scores"]["right"]["value"] == ("C" if parts.is_right else "I")
        assert sample["scores"]["reward"]["value"] == compute_reward(parts, 0, weights, 1) / MILLION


@find_skip("inspect_ai", "inspect")
def test_inspect_asks_the_shipped_model(tmp_path: Path) -> None:
    export_for_inspect("arithmetic", tmp_path)
    model = ("--model", "hf/local", "-M", f"model_path={GENESIS}", "-M", "device=cpu")
    words = ("-T", "count=3", "--max-tokens", "8", "--display", "plain")
    shown = run("-m", "inspect_ai._cli.main", "eval", "task.py", *model, *words, cwd=tmp_path)
    assert "accuracy" in shown


def test_a_task_is_written_once_and_in_no_strange_folder(tmp_path: Path) -> None:
    done = run_command("env", "export", "gsm", "--inspect", tmp_path / "task", "--json")
    document = json.loads(done.stdout)
    first = Path(document["file"]).read_bytes()
    compile(first, "task.py", "exec")
    again = run_command("env", "export", "gsm", "--inspect", tmp_path / "task")
    assert again.returncode == 0
    assert Path(document["file"]).read_bytes() == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "task.py").write_text("mine")
    refused = run_command("env", "export", "gsm", "--inspect", tmp_path / "mine")
    assert (refused.returncode, "name a new folder" in refused.stderr) == (2, True)
    assert (tmp_path / "mine" / "task.py").read_text() == "mine"
    both = run_command("env", "export", "gsm", "--inspect", tmp_path, "--verifiers", tmp_path)
    neither = run_command("env", "export", "gsm")
    assert [done.returncode for done in (both, neither)] == [2, 2]
    assert "one of the two" in neither.stderr
