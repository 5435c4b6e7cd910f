"""Packages: the page's own, the checks of a new one, refusals."""

import io
import os
import re
import struct
import subprocess
import sys
import zipfile
from hashlib import shake_256
from pathlib import Path
from typing import Any

import pytest

from assay.environments.base import UNREAD, Conversation, rate_answer
from assay.environments.foreign.guest_archive import GuestArchive
from assay.environments.foreign.inside import Draw
from assay.environments.foreign.making import find_making_fault
from assay.environments.foreign.new_package import write_new_package
from assay.environments.foreign.package_environment import PackageTask, find_levels_fault
from assay.environments.foreign.package_file import is_packed, pack_folder
from assay.environments.foreign.vetting import MILLIONS, vet_package
from assay.environments.problem_file import ProblemFileError
from assay.environments.registry import make_environment
from assay.environments.tasksets import export_taskset
from assay.protocol.parameters import UNITS, Prompts, Shot
from assay.settings.loading import ConfigError
from assay.subnet.vetting import VetRequest, export_environment, vet_file
from tests.absent import has_sandbox
from tests.commands import run_command
from tests.environments.archive_files import add_file, change_text, write_package
from tests.environments.conftest import TRICKS, make_seed

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

ROOT = Path(__file__).parents[2]
FULL = rate_answer(1)
#: The first block of the page, unchanged.
PAGE = (ROOT / "docs/environments.md").read_text().partition("```python\n")[2].partition("```")[0]
#: A right package; defects replace its parts.
GOOD = """
LEVELS = 1, 2

def make_problem(draw, level):
    a, b = draw(10 ** (level + 2)), draw(90)
    return f"{a} + {b}?", a + b

def solve(task):
    return str(task)

def score(task, answer):
    return answer == str(task)

def list_wrong(task):
    return [str(task + 1)]
"""


def find_failed(
    file: Path, problems: int = 2, millions: int = MILLIONS, tried: int = 10
) -> dict[str, str]:
    """Failed checks, tried on two problems of each level: enough for an intended defect."""
    report = vet_package(file, problems, millions, tried)
    return {check.name: check.detail for check in report.checks if check.name in report.failed}


def test_the_pages_first_example_is_complete_and_fit_to_pay_by(tmp_path: Path) -> None:
    file = write_package(tmp_path, PAGE, "stack")
    assert find_failed(file) == {}
    name = add_file(file)
    environment = make_environment(name, {})
    assert environment.levels == [4, 8, 16, 32]
    mix = make_environment("mix", {name: 1, "arithmetic": 1})
    assert mix.make_problem(make_seed(0), [2_008]).level == 2_008


def test_a_new_package_passes_its_own_tests(tmp_path: Path) -> None:
    for path, text in write_new_package("letters").items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_the_same_folder_is_the_same_archive(tmp_path: Path) -> None:
    first, second = (write_package(tmp_path / name, GOOD) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_package_writes_no_line_of_its_own_to_a_terminal(tmp_path: Path) -> None:
    """Nor is a reply with an error of its own anything but that reply."""
    forged = 'b\'+{"levels": [1], "error": "\\\\u001b[2J", "fault": "\\\\u001b[2J\\\\nfit"}\''
    text = f"import os\nreply = {forged}\nos.write(1, reply + len(reply).to_bytes(4, 'big'))\n"
    archive = GuestArchive(write_package(tmp_path, f"{text}os._exit(0)\n").read_bytes(), 200)
    said = archive.ask("describe")
    assert "error" not in said
    assert (said["levels"], said["fault"]) == ([1], "?[2J")


@pytest.fixture
def package(tmp_path: Path) -> str:
    return add_package(tmp_path, "", "")


def test_problems_and_scores_are_the_same_in_another_process(package: str) -> None:
    first, second = (make_environment(package, {}) for _ in range(2))
    assert first.digest == second.digest
    for number in range(4):
        problem = first.make_problem(make_seed(number), [1, 2])
        assert second.make_problem(make_seed(number), [1, 2]) == problem
        a, b = map(int, re.findall("[0-9]+", problem.prompt)[:2])
        for answer, parts in ((a + b, FULL), (a + b + 1, UNREAD)):
            assert first.score(problem, f"#### {answer}") == parts
            assert second.score(problem, f"so\n#### {answer}") == parts


def test_adversarial_answers(package: str) -> None:
    environment = make_environment(package, {})
    problem = environment.make_problem(make_seed(7), [1])
    a, b = map(int, re.findall("[0-9]+", problem.prompt)[:2])
    assert environment.score(problem, f"#### {a + b}") == FULL
    for trick in TRICKS.values():
        assert environment.score(problem, trick(str(a + b))) == UNREAD
    with pytest.raises(TypeError, match="not a problem"):
        environment.score(make_environment("sat", {}).make_problem(make_seed(0), [5]), "")


#: Name → (the replaced text, its replacement, the check that fails, words of the reason).
DEFECTS = {
    "no levels": ("LEVELS = 1, 2", "", "loads", "LEVELS"),
    "levels not ascending": ("1, 2", "2, 1", "loads", "ascending"),
    "levels that are no integers": ("1, 2", "True, 2.5", "loads", "ascending integers"),
    "a level beyond all numbers": ("1, 2", "1, 10**5000", "loads", "ValueError"),
    "does not load": ("LEVELS", "1 / 0\nLEVELS", "loads", "pack/__init__.py, line 4: ZeroDivision"),
    "no Python": ("LEVELS", "LEVELS LEVELS", "loads", "pack/__init__.py, line 4: invalid syntax"),
    "ends its process": ("LEVELS", "import os\nos._exit(0)\nLEVELS", "loads", "ended by itself"),
    "an error without words": (
        "LEVELS",
        "class E(BaseException):\n    def __str__(self): raise self\nraise E\nLEVELS",
        "loads",
        "without words",
    ),
    "names wrong ones without end": ("[str(task + 1)]", "['x'] * 1001", "wrong", "at most 1000"),
    "opens a file": ("LEVELS", "open('/etc/hostname')\nLEVELS", "loads", "FileNotFoundError"),
    "evaluates answers": (
        "answer == str(task)",
        "eval(answer) == task",
        "hostile answers",
        "earns",
    ),
    "never ends": ("LEVELS", "while True: pass\nLEVELS", "loads", "too many instructions"),
    "never ends, in C": ("LEVELS", "sum(iter(int, 1))\nLEVELS", "loads", "too many instructions"),
    "takes all memory": ("LEVELS", "x = bytes(1 << 30)\nLEVELS", "loads", "MemoryError"),
    "writes without end": (
        "LEVELS",
        "import os\nos.write(1, b'x' * (1 << 20))\nLEVELS",
        "loads",
        "writes too much",
    ),
    "a prompt of bytes": ('f"{a} + {b}?"', "b'?'", "problems", "TypeError"),
    "a prompt that steers": ('f"{a} + {b}?"', "chr(27)", "problems", "U+001B"),
    "solves wrongly": ("str(task)\n\ndef score", "'1'\n\ndef score", "right answers", "not True"),
    "gives 1 for True": ("answer == str(task)", "1", "right answers", "not True"),
    "takes more than the answer": ("answer ==", "answer.strip() ==", "hostile answers", "earns"),
    "takes a right answer within": ("answer == str(task)", "str(task) in answer", "hostile", ""),
    "takes what is near": (
        "answer == str(task)",
        "abs(float(answer) - task) < 0.5",
        "nearly right",
        "a tenth more earns in 1 of 1 problems",
    ),
    "takes a beginning": (
        "answer == str(task)",
        "answer != '' and str(task).startswith(answer)",
        "nearly right",
        "its first half earns in 1 of 1 problems",
    ),
    "its own wrong ones earn": ("str(task + 1)", "str(task)", "wrong answers", "earns"),
    "names no wrong ones": ("[str(task + 1)]", "[]", "wrong answers", "none"),
    "asks by chance": (
        'f"{a} + {b}?"',
        "f\"{a} + {b}? {__import__('random').random()}\"",
        "same twice",
        "is another with other randomness",
    ),
    "asks by addresses": (
        'f"{a} + {b}?"',
        'f"{a} + {b}? {id(object())}"',
        "same twice",
        "is another with other randomness, time or memory",
    ),
    "scores by the clock": (
        "return answer ==",
        "import time\n    return time.time() > 1e9 or answer ==",
        "same twice",
        "is another with other randomness, time or memory",
    ),
    "a pattern without bound": (
        "return answer ==",
        "re.fullmatch(r'([0-9]+)*', answer)\n    return answer ==",
        "bounded",
        "too many instructions",
    ),
    "always the same answer": ("a + b\n", "'7'\n", "constant answers", "solves 8 of 8"),
    "too much work": (
        "return answer ==",
        "len(answer) > 2000 and sum(1 for _ in range(10**7))\n    return answer ==",
        "bounded",
        "too many instructions",
    ),
    "a right answer that takes most": (
        "return answer ==",
        "sum(range(8 * 10**4))\n    return answer ==",
        "cost",
        "of 60 million",
    ),
}


#: Those that end before texts are tried; of the others some stay, one for each check.
CHEAP = {name for name, (_, _, check, _) in DEFECTS.items() if check in ("loads", "problems")}
KEPT = {"takes a right answer within", "asks by addresses", "a pattern without bound"}


@pytest.mark.usefixtures("few_texts")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.nightly] * (n not in CHEAP | KEPT)) for n in DEFECTS],
)
def test_one_defect_and_it_is_not_fit(name: str, tmp_path: Path) -> None:
    before, after, check, words = DEFECTS[name]
    assert before in GOOD
    text = "import re\nfrom fractions import Fraction\n" + GOOD.replace(before, after)
    if name == "always the same answer":
        text = text.replace("str(task + 1)", "'8'").replace("str(task)", "task")
    text = text.replace("LEVELS = 1, 2", "LEVELS = (1,)")
    failed = find_failed(write_package(tmp_path, text), 1, 60)
    found = [detail for key, detail in failed.items() if key.startswith(check)]
    assert found, failed
    assert words in found[0]


@pytest.mark.usefixtures("few_texts")
def test_another_right_answer_close_to_the_first_is_no_defect(tmp_path: Path) -> None:
    """Where only some problems have one."""
    text = GOOD.replace("answer == str(task)", "answer in (str(task), str(task + (task % 5 == 0)))")
    text = text.replace("str(task + 1)", "str(task + 2)").replace("LEVELS = 1, 2", "LEVELS = (1,)")
    assert find_failed(write_package(tmp_path, text), 4) == {}


def pack(*files: tuple[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files:
            archive.writestr(name, text)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a zip archive"),
        (b"PK\x03\x04" + bytes(100), "not a zip archive"),
        (pack(), "0 files"),
        (pack(("pack.py", GOOD)), "one folder"),
        (pack(("pack/__init__.py", GOOD), ("pack/fast.so", "")), "'pack/fast.so'"),
        (pack(("../pack/__init__.py", GOOD)), "'../pack/__init__.py'"),
        (pack(("/pack/__init__.py", GOOD)), "'/pack/__init__.py'"),
        (pack(("a/__init__.py", GOOD), ("b/__init__.py", GOOD)), "a, b"),
        (pack(*((f"pack/m{i}.py", "") for i in range(65))), "65 files"),
        (pack(("pack/__init__.py", "#" * (5 << 20))), "unpacks"),
        (bytes(2 << 20), "more than"),
    ],
)
def test_a_malformed_package_is_not_run(data: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "pack.zip"
    file.write_bytes(data)
    failed = find_failed(file)
    assert list(failed) == ["archive"]
    assert words in failed["archive"]


def add_package(folder: Path, before: str, after: str) -> str:
    """The name of an environment: the right package with one part replaced."""
    return add_file(write_package(folder, change_text(GOOD, (before, after))))


def test_what_takes_too_many_instructions_earns_nothing(tmp_path: Path) -> None:
    """The budget is the owner's, and counts the same everywhere: just enough earns, one million
    less does not."""
    name = add_package(tmp_path, "return answer", "sum(range(5 * 10**4))\n    return answer")
    verdicts = []
    for millions in range(10, 60, 4):
        environment = make_environment(name, {UNITS: millions})
        problem = environment.make_problem(make_seed(7), [1])
        a, b = map(int, re.findall("[0-9]+", problem.prompt)[:2])
        verdicts.append(environment.score(problem, f"#### {a + b}") == FULL)
    assert verdicts == sorted(verdicts)
    assert {False, True} == set(verdicts)
    with pytest.raises(ValueError, match="from 10 to 5000"):
        make_environment(name, {UNITS: 9})


@pytest.mark.parametrize("before", ["sum(iter(int, 1))", "1 / 0"])
def test_a_number_of_which_no_problem_is_made_is_asked_all_the_same(
    tmp_path: Path, before: str
) -> None:
    """By everybody alike: no message, one turn, and whatever is said earns nothing."""
    name = add_package(tmp_path, "a, b =", f"{before}\n    a, b =")
    for environment in (
        make_environment(name, {UNITS: 50}),
        make_environment(
            name, {UNITS: 50, "tool": 1, "plain": 1}, [Prompts(name, (), (Shot("1 + 1?", "2"),))]
        ),
        make_environment("mix", {name: 10**6, f"{name}.{UNITS}": 50, "arithmetic": 1}),
    ):
        problem = environment.make_problem(make_seed(7), environment.levels[-1:])
        assert not problem.is_made
        assert problem.conversation == Conversation(())
        assert problem.prompt == problem.conversation.text == ""
        assert environment.score(problem, "#### 5") == UNREAD
        state, reply = environment.open(problem).step("<tool>1+1</tool>", is_ended=True)
        assert reply is None
        assert state.score() == UNREAD
        assert environment.list_thoughtless(problem)
        assert not environment.solve(problem)


def test_attempts_at_a_problem_share_its_instructions(tmp_path: Path, monkeypatch) -> None:
    """Each attempt may take what those before it left, so that a problem has one price."""
    name = add_package(tmp_path, "a, b =", "sum(range(10**6))\n    1 / 0\n    a, b =")
    environment = make_environment(name, {UNITS: 200})
    asked, honest = list[int](), GuestArchive.ask

    def ask(self, *request, within=None):
        asked.append(within)
        return honest(self, *request, within=within)

    monkeypatch.setattr(GuestArchive, "ask", ask)
    assert not environment.make_problem(make_seed(7), [1]).is_made
    assert asked == sorted(asked, reverse=True)
    assert asked[0] == 200 * 10**6
    assert 1 < len(asked) <= 16


def test_vetting_tries_more_problems_than_it_examines(tmp_path: Path) -> None:
    """One number in thirty loops for ever: four problems of each level do not show it."""
    loop = "if draw(30) == 0:\n        while True: pass\n    a, b ="
    file = write_package(tmp_path / "rare", GOOD.replace("a, b =", loop, 1))
    report = vet_package(file, 1, MILLIONS, 300)
    assert report.failed == ("makes problems",)
    assert "are not made" in report.checks[-1].detail
    assert "too many instructions" in report.checks[-1].detail
    fit = vet_package(write_package(tmp_path, GOOD), 1, MILLIONS, 100)
    assert fit.is_fit
    assert "a share of 2.95% that is not would be missed once in 20 times" in fit.checks[-1].detail
    environment = make_environment(add_file(file), {})
    assert "of problems of level 1" in (find_making_fault(environment) or "")


def test_prompts_are_drawn_as_on_the_page(package: str) -> None:
    """The draws are those of the specification, and the package's own code makes the same of them
    outside."""
    namespace: dict[str, Any] = {}
    exec(GOOD, namespace)
    environment = make_environment(package, {})
    for number in range(5):
        problem = environment.make_problem(make_seed(number), [1, 2])
        task = problem.answer
        assert isinstance(task, PackageTask)
        prompt, _ = namespace["make_problem"](Draw(task.level, task.number), task.level)
        assert problem.question == prompt
    draw = Draw(4, 7)
    for place, bound in enumerate((2, 10**6, 1 << 64)):
        word = shake_256(struct.pack(">QQQ", 4, 7, place)).digest(8)
        assert draw(bound) == int.from_bytes(word, "big") % bound


#: What a hostile author tries → what comes of it, where it is no error. Each is a package's scorer.
TRIED = {
    "an answer in the place of the reply": "os.write(1, REPLY)\n    os._exit(0)",
    "an answer before the reply": "os.write(1, REPLY)\n    return False",
    "the driver's own names": (
        "import sys\n    sys.modules['__main__'].RESULT = b''\n    return 1 / 0"
    ),
    "no length": "os.write = lambda *_: None\n    return True",
    "a length beyond all": "os.write(1, b'\\xff' * 8)\n    os._exit(0)",
    "a reply that is nested": "os.write(1, NESTED)\n    os._exit(0)",
}


@pytest.mark.parametrize("name", TRIED)
def test_a_reply_of_ones_own_is_a_score_at_most(name: str, tmp_path: Path) -> None:
    """An author decides what his package pays, so a reply that it writes itself gains him nothing:
    it is a score or none, and nothing that it writes ends a node."""
    replies = (
        "import os\n"
        "def frame(text): return text + len(text).to_bytes(4, 'big')\n"
        "REPLY = frame(b'+{\"right\": true}')\n"
        "NESTED = frame(b'+' + b'[' * 10**5)\n"
    )
    file = write_package(
        tmp_path, replies + GOOD.replace("return answer == str(task)", TRIED[name])
    )
    said = GuestArchive(file.read_bytes(), 100).ask("score", 1, 7, "8")
    if name == "an answer in the place of the reply":
        assert said["right"] is True
    elif name == "an answer before the reply":
        assert said["right"] is False
    else:
        assert "right" not in said
        assert said["error"].isprintable()


def test_nothing_of_the_machine_or_of_another_request_is_there(tmp_path: Path) -> None:
    """No file, variable, time or argument of this machine; a copy for each request; and of a
    problem's answer nothing while it is asked."""
    seen = (
        "import os, sys, time\n"
        "sys.seen = getattr(sys, 'seen', 0) + 1\n"
        "FOUND = [dict(os.environ), sys.argv, time.time() < 1, sys.seen, os.path.exists('/etc')]\n"
    )
    file = write_package(tmp_path, seen + GOOD.replace('f"{a} + {b}?"', "repr(FOUND)"))
    archive = GuestArchive(file.read_bytes(), 100)
    assert archive.ask("score", 1, 7, "secret")["right"] is False
    prompts = {archive.ask("make", 1, 7)["prompt"] for _ in range(3)}
    assert prompts == {"[{}, ['program.py'], True, 1, False]"}


def test_modules_are_ordinary_ones(tmp_path: Path) -> None:
    """Several modules, relative imports, dataclasses, all of Python's library, any syntax."""
    package = tmp_path / "pack"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from .inner.sums import *\nfrom . import inner as i\n")
    (package / "inner/__init__.py").write_text("from decimal import Decimal\n")
    (package / "inner/sums.py").write_text(
        "import random\nfrom dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass Task:\n    total: int\n"
        + GOOD.replace("return answer ==", "task = eval('task.total')\n    return answer ==")
        .replace("a + b\n", "Task(a + b)\n")
        .replace("str(task)\n\ndef score", "str(task.total)\n\ndef score")
    )
    archive = GuestArchive(pack_folder(package), 100)
    assert archive.ask("describe")["levels"] == [1, 2]
    right = archive.ask("solve", 2, 5)["answer"]
    assert archive.ask("score", 2, 5, right)["right"] is True


@pytest.mark.parametrize("name", ["json", "assay", "zipfile"])
def test_a_package_named_like_a_module_is_refused(name: str, tmp_path: Path) -> None:
    said = GuestArchive(write_package(tmp_path, GOOD, name).read_bytes(), 100).ask("describe")
    assert said["error"].endswith(f"{name} is the name of a module of Python or of Assay")


def test_another_digest_is_not_found(package: str) -> None:
    with pytest.raises(ProblemFileError, match="no file with SHA-256"):
        make_environment("package:" + "0" * 64, {})
    with pytest.raises(ValueError, match="no parameter"):
        make_environment(package, {"size": 1})


@pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "a/b", "../a", "a" * 41])
def test_illegal_names(name: str) -> None:
    with pytest.raises(ValueError, match="not a name of a package"):
        write_new_package(name)


@pytest.mark.parametrize("name", ["queue", "numbers", "assay", "class", "async"])
def test_no_package_is_laid_down_that_vetting_refuses_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is (the name of|a word of Python's own)"):
        write_new_package(name)


def test_the_folder_around_a_package_is_told_and_not_packed(tmp_path: Path) -> None:
    write_package(tmp_path / "outer", GOOD)
    done = run_command("env", "vet", str(tmp_path / "outer"))
    assert done.returncode == 2
    assert "has no __init__.py: name the package's own folder" in done.stderr
    assert not (tmp_path / "outer.zip").exists()


@pytest.mark.parametrize("suffix", [".zip", ".taskset.zip", ".whl"])
def test_a_pipe_is_refused_at_once(suffix: str, tmp_path: Path) -> None:
    pipe = tmp_path / f"pack{suffix}"
    os.mkfifo(pipe)
    done = run_command("env", "vet", str(pipe))
    assert (done.returncode, done.stdout) == (2, "")
    assert "pack" in done.stderr
    assert "is not a regular file" in done.stderr
    listed = run_command("env", "list", "--file", str(pipe))
    assert listed.returncode == 1
    assert "is not a regular file" in listed.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    "levels", [[True, 2], [1, 2.0], [0.5], [1, "2"], [0, 1], [2, 1], [1, 1], [1000], [], [[1]]]
)
def test_levels_are_ascending_integers(levels: list[object]) -> None:
    assert "ascending integers" in str(find_levels_fault({"levels": levels, "turns": 1}))
    assert find_levels_fault({"levels": [1, 2, 999], "turns": 1}) is None


@pytest.mark.parametrize("turns", [0, -1, 65, True, 2.0, "2", None, [2]])
def test_turns_are_a_small_integer(turns: object) -> None:
    assert "TURNS is" in str(find_levels_fault({"levels": [1], "turns": turns}))
    assert find_levels_fault({"levels": [1], "turns": 64}) is None


@pytest.mark.usefixtures("few_texts")
def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    """Writing spares somebody else's file. An earlier run's own file is renewed, if its replacement
    is fit."""
    packed = write_package(tmp_path, GOOD.replace("1, 2", "1,"))
    assert is_packed(packed)
    (tmp_path / "pack/more.py").write_text("X = 1\n")
    request = VetRequest(tmp_path / "pack")
    assert vet_file(request).file == packed
    assert is_packed(packed)
    fit = packed.read_bytes()
    names = zipfile.ZipFile(packed).namelist()
    assert names == ["pack/__init__.py", "pack/more.py"]
    (tmp_path / "pack/__init__.py").write_text("import no_such_module\n")
    done = run_command("env", "vet", str(tmp_path / "pack"))
    assert done.returncode == 1
    assert "no file was written or replaced" in done.stdout
    assert packed.read_bytes() == fit
    packed.unlink()
    assert vet_file(request).file is None
    assert not packed.exists()
    for theirs in (b"thesis", pack(("pack/__init__.py", GOOD))[:-1], pack(("other/a.txt", ""))):
        packed.write_bytes(theirs)
        with pytest.raises(ConfigError, match=r"pack\.zip exists, and this command did not write"):
            vet_file(request)
        assert packed.read_bytes() == theirs
    environment = make_environment("sat", {"k": 4})
    name, wheel = export_taskset(environment)
    export_environment("sat,k=4", tmp_path)
    export_environment("sat,k=4", tmp_path)
    assert (tmp_path / name).read_bytes() == wheel
    (tmp_path / name).write_bytes(packed.read_bytes())
    with pytest.raises(ConfigError, match="exists, and this command did not write it"):
        export_environment("sat,k=4", tmp_path)
