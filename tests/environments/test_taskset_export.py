"""Tasksets of verifiers, out: the wheel, and that verifiers gives the scores that we give."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from assay.environments.arithmetic import write_solution
from assay.environments.base import Environment, Problem
from assay.environments.dealing import make_miner_problem
from assay.environments.foreign.new_package import write_new_package
from assay.environments.foreign.package_file import pack_folder
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import make_environment, parse_choice
from assay.environments.rewards import choose_rewards, compute_reward
from assay.environments.tasksets import export_taskset, look_at_wheel
from assay.environments.worlds.errands import write_commands
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import MILLION
from tests.commands import run_command
from tests.environments.conftest import NUMBER_TRICKS, TRICKS
from tests.environments.hub_styles import STYLES, pack_bundle
from tests.environments.verifiers_python import HAS_VERIFIERS, NO_VERIFIERS, ask_verifiers

SEED = "5a" * 32
needs_verifiers = pytest.mark.skipif(not HAS_VERIFIERS, reason=NO_VERIFIERS)


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> str:
    return write(folder, "".join(json.dumps(row) + "\n" for row in rows).encode())


def write(folder: Path, data: bytes) -> str:
    digest = sha256(data).hexdigest()
    (folder / digest).write_bytes(data)
    add_problem_files([folder / digest])
    return digest


def write_gsm(folder: Path) -> str:
    rows = [{"question": f"{n} and {n}?", "answer": f"#### {2 * n}"} for n in range(40)]
    return f"gsm:{write_rows(folder, rows)}"


def write_math(folder: Path) -> str:
    rows = [
        {
            "problem": f"Half of {n}?",
            "solution": f"\\boxed{{\\frac{{{n}}}{{2}}}}",
            "level": "Level 1",
        }
        for n in range(3, 40)
    ]
    return f"math:{write_rows(folder, rows)}"


def write_code(folder: Path) -> str:
    tests = json.dumps({"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]})
    row = {"question": "Add two.", "difficulty": "introductory", "input_output": tests}
    return f"code:{write_rows(folder, [row])},millions=20"


def write_package(folder: Path) -> str:
    for path, text in write_new_package("letters").items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    return f"package:{write(folder, pack_folder(folder / 'letters'))}"


def write_taskset(folder: Path) -> str:
    texts, rows, _, _ = STYLES["boxed"]
    return f"verifiers:{write(folder, pack_bundle(texts, rows))}"


def write_mix(folder: Path) -> str:
    return f"mix,gsm=2,arithmetic=1,{write_gsm(folder)}=3"


def solve_sat(problem: Problem) -> str:
    formula: Any = problem.answer
    signs = product((0, 1), repeat=formula.variables)
    return next(
        "".join(map(str, bits))
        for bits in signs
        if all(any(bits[abs(x) - 1] == (x > 0) for x in clause) for clause in formula.clauses)
    )


def solve_any(environment: Any, problem: Problem) -> str:
    """A full solution if the answer gives it; else some text."""
    answer: Any = problem.answer
    if hasattr(answer, "problem"):
        return solve_any(environment, answer.problem)
    if hasattr(answer, "row"):
        return f"#### {answer.row.value}"
    if hasattr(answer, "right"):
        return environment.write_answer(answer.text)
    if hasattr(answer, "reference"):
        return f"#### {answer.reference}"
    if hasattr(answer, "clauses"):
        return f"#### {solve_sat(problem)}"
    if hasattr(answer, "cases"):
        return "```python\nprint(sum(map(int, input().split())))\n```"
    if hasattr(answer, "number"):
        said = environment._archive.ask("solve", answer.level, answer.number)  # noqa: SLF001
        return said["answer"] if "form" in said else f"#### {said['answer']}"
    if hasattr(answer, "values"):
        return write_solution(problem, range(len(answer.values)))
    return write_commands(problem)


#: Kind → its name as a person writes it, and levels.
KINDS: dict[str, tuple[Callable[[Path], str], list[int]]] = {
    "sums": (lambda folder: "arithmetic,minus=30,words=50", []),
    "errands": (lambda folder: "errands", [1, 3]),
    "words": (lambda folder: "gsm", []),
    "sat": (lambda folder: "sat,k=3", [5, 6, 8]),
    "a file of words": (write_gsm, []),
    "a file of mathematics": (write_math, []),
    "programs": (write_code, []),
    "a dataset": (lambda folder: "reasoning_gym:chain_sum", [1, 2]),
    "a package": (write_package, []),
    "a taskset": (write_taskset, []),
    "a mixture": (write_mix, []),
}


def list_replies(
    environment: Environment, problems: list[Problem], count: int
) -> list[tuple[int, str]]:
    """Right ones, tricks around them, right ones of others, and damaged ones, in turn."""
    small = {**TRICKS, **NUMBER_TRICKS}
    tricks = [trick for name, trick in small.items() if not name.startswith("10 MB")]
    return list(_mix_replies(environment, problems, tricks, count))


def _mix_replies(
    environment: Environment, problems: list[Problem], tricks: list[Any], count: int
) -> Iterator[tuple[int, str]]:
    draw = random.Random(count)
    solved = [solve_any(environment, problem) for problem in problems]
    for number in range(count):
        index = number % len(problems)
        right = solved[index]
        kind = number // len(problems) % 4
        if kind == 0:
            yield index, right
        elif kind == 1:
            tail = right.rpartition("#### ")[2]
            try:
                yield index, draw.choice(tricks)(tail)
            except ValueError:  # some tricks are for whole numbers
                yield index, right + " "
        elif kind == 2:
            yield index, draw.choice(solved)
        else:
            place = draw.randrange(len(right))
            yield index, right[:place] + draw.choice("0 #\n-x\u200b") + right[place:]


@pytest.fixture(params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, list[int]]:
    write_name, levels = KINDS[request.param]
    return request.param, write_name(tmp_path), levels


def test_a_wheel_is_the_same_and_whole(exported: tuple[str, str, list[int]]) -> None:
    _, name, _ = exported
    environment = make_environment(*parse_choice(name))
    file_name, wheel = export_taskset(environment)
    assert export_taskset(make_environment(*parse_choice(name))) == (file_name, wheel)
    module = file_name.partition("-")[0]
    assert [check.passed for check in look_at_wheel(wheel, b"")] == [True, True]
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        named = json.loads(archive.read(f"{module}/environment.json"))
        for digest in named["files"]:
            assert sha256(archive.read(f"{module}/files/{digest}")).hexdigest() == digest
    again = make_environment(named["name"], named["settings"])
    assert again.digest == environment.digest == bytes.fromhex(named["digest"])


def compare(name: str, levels: list[int], place: Path, count: int) -> None:
    environment = make_environment(*parse_choice(name))
    file_name, wheel = export_taskset(environment)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        archive.extractall(place)
    legal, seed = start_levels(levels or environment.levels), bytes.fromhex(SEED)
    problems = [
        make_miner_problem(environment, seed, bytes(32), index, legal)
        for index in range(count // 5)
    ]
    replies = list_replies(environment, problems, count)
    scores, prompts = ask_verifiers(
        file_name.partition("-")[0],
        place,
        replies,
        {"seed": SEED, "levels": levels, "count": len(problems)},
    )
    assert prompts == [problem.prompt for problem in problems]
    paid = choose_rewards(environment.rated)
    ours = [
        compute_reward(environment.score(problems[index], text), 0, paid, 1) / MILLION
        for index, text in replies
    ]
    assert [score["correct"] for score in scores] == [[one, 1.0] for one in ours]
    assert 0 < sum(one > 0.5 for one in ours) < count
    flags = [word for level in levels for word in ("--level", str(level))]
    files = [
        word
        for file in place.parent.iterdir()
        if len(file.name) == 64
        for word in ("--file", str(file))
    ]
    for (index, text), one in list(zip(replies, ours, strict=True))[:: max(1, count // 10)]:
        done = run_command(
            *("env", "score", name, "--answer", "-", "--seed", SEED, "--index", str(index)),
            *(*flags, *files, "--json"),
            given=text,
        )
        assert json.loads(done.stdout)["reward"] / MILLION == one


@needs_verifiers
def test_verifiers_gives_our_scores(exported: tuple[str, str, list[int]], tmp_path: Path) -> None:
    _, name, levels = exported
    place = tmp_path / "site"
    compare(name, levels, place, 40)


@needs_verifiers
@pytest.mark.nightly
def test_verifiers_gives_our_scores_to_a_thousand(
    exported: tuple[str, str, list[int]], tmp_path: Path
) -> None:
    _, name, levels = exported
    compare(name, levels, tmp_path / "site", 1_000)


def test_the_command(tmp_path: Path) -> None:
    done = run_command("env", "export", "sat,k=4", "--verifiers", str(tmp_path / "out"), "--json")
    told = json.loads(done.stdout)
    wheel = Path(told["file"])
    environment = make_environment("sat", {"k": 4})
    assert (wheel.name, wheel.read_bytes()) == export_taskset(environment)
    assert told["digest"] == environment.digest.hex()
    assert told["taskset"] == f"assay_sat_{told['digest'][:8]}"
    (tmp_path / "taken").write_text("")
    for bad in (("nosuch", "out"), ("sat", "taken"), ("gsm:" + "0" * 64, "out")):
        done = run_command("env", "export", bad[0], "--verifiers", str(tmp_path / bad[1]))
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
