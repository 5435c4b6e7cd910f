"""Packages: the page's own, the checks of a new one, refusals."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from assay.cli.env_package import run_env_export, run_env_vet
from assay.environments import (
    UNREAD,
    ProblemFileError,
    add_problem_files,
    make_environment,
    rate_answer,
)
from assay.environments.foreign import (
    is_packed,
    pack_folder,
    package_box,
    package_environment,
    python_fence,
    vet_package,
    vetting,
    write_new_package,
)
from assay.environments.foreign.fence_report import Fences
from assay.environments.foreign.package_environment import PackageChild, find_levels_fault
from assay.environments.tasksets import export_taskset
from assay.neurons.settings.loading import ConfigError
from assay.sandbox import WorkerError
from tests.commands import run_command
from tests.environments.conftest import TRICKS, make_seed

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


def write_archive(folder: Path, text: str, name: str = "pack") -> Path:
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text)
    file = folder / f"{name}.zip"
    file.write_bytes(pack_folder(package))
    return file


def find_failed(file: Path, problems: int = 2) -> dict[str, str]:
    """Failed checks, tried on two problems of each level: enough for an intended defect."""
    report = vet_package(file, problems)
    return {check.name: check.detail for check in report.checks if check.name in report.failed}


def test_the_pages_first_example_is_complete_and_fit_to_pay_by(tmp_path: Path) -> None:
    file = write_archive(tmp_path, PAGE, "stack")
    assert find_failed(file) == {}
    digest = sha256(file.read_bytes()).hexdigest()
    add_problem_files([file])
    environment = make_environment(f"package:{digest}", {})
    assert environment.levels == [4, 8, 16, 32]
    mix = make_environment("mix", {f"package:{digest}": 1, "arithmetic": 1})
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
    first, second = (write_archive(tmp_path / name, GOOD) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.fixture
def package(tmp_path: Path) -> str:
    return add_package(tmp_path, "", "")


def test_problems_and_scores_are_the_same_in_another_process(package: str) -> None:
    first, second = (make_environment(package, {}) for _ in range(2))
    assert first.digest == second.digest
    for number in range(20):
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
    "levels that are no integers": ("1, 2", "True, 2.5", "loads", "LEVELS are integers"),
    "a level beyond all numbers": ("1, 2", "1, 10**5000", "loads", "LEVELS are integers"),
    "does not load": ("LEVELS", "1 / 0\nLEVELS", "loads", "ZeroDivisionError"),
    "no Python": ("LEVELS", "LEVELS LEVELS", "loads", "not Python"),
    "no function around it": ("LEVELS", "return\nLEVELS", "loads", "line 4: 'return' outside"),
    "names wrong ones without end": ("[str(task + 1)]", "['x'] * 1001", "wrong", "at most 1000"),
    "imports os": ("LEVELS", "import os\nLEVELS", "loads", "line 4: import os"),
    "imports a clock": ("LEVELS", "from time import time\nLEVELS", "loads", "import time"),
    "imports chance": ("LEVELS", "import random\nLEVELS", "loads", "import random"),
    "opens a file": ("LEVELS", "open('/etc/hostname')\nLEVELS", "loads", "open"),
    "evaluates answers": ("answer == str(task)", "eval(answer) == task", "loads", "eval"),
    "reaches around": ("LEVELS", "().__class__\nLEVELS", "loads", ".__class__"),
    "reaches a module's own": ("LEVELS", "import json\njson._x\nLEVELS", "loads", "._x"),
    "never ends": ("LEVELS", "x = 0\nwhile x >= 0:\n    x += 1\nLEVELS", "loads", "steps"),
    "takes all memory": ("LEVELS", "x = bytes(1 << 33)\nLEVELS", "loads", "died"),
    "a prompt of bytes": ('f"{a} + {b}?"', "b'?'", "problems", "prompt"),
    "a prompt that steers": ('f"{a} + {b}?"', "chr(27)", "problems", "U+001B"),
    "solves wrongly": ("str(task)\n\ndef score", "'1'\n\ndef score", "right answers", "not True"),
    "gives 1 for True": ("answer == str(task)", "1", "right answers", "not True"),
    "takes more than the answer": ("answer ==", "answer.strip() ==", "hostile answers", "earns"),
    "takes a right answer within": ("answer == str(task)", "str(task) in answer", "hostile", ""),
    "takes what is near": (
        "answer == str(task)",
        "abs(float(answer) - task) < 0.5",
        "nearly right",
        "a tenth more earns in 2 of 2 problems",
    ),
    "takes a beginning": (
        "answer == str(task)",
        "answer != '' and str(task).startswith(answer)",
        "nearly right",
        "its first half earns in 2 of 2 problems",
    ),
    "its own wrong ones earn": ("str(task + 1)", "str(task)", "wrong answers", "earns"),
    "names no wrong ones": ("[str(task + 1)]", "[]", "wrong answers", "none"),
    "hangs on hashes": (
        'f"{a} + {b}?"',
        "f\"{a} + {b}? {list({'p', 'q', 'r', 's', 't', 'u', 'v'})}\"",
        "same twice",
        "another process",
    ),
    "scores what it has solved before": (
        "return str(task)\n\ndef score(task, answer):\n    return answer ==",
        "type(Fraction(1)).seen = 1\n    return str(task)\n\ndef score(task, answer):\n"
        "    return 'seen' in dir(Fraction) and answer ==",
        "keeps nothing",
        "another if asked first",
    ),
    "asks otherwise after a while": (
        "a, b = draw(10 ** (level + 2)), draw(90)",
        "kind = type(Fraction(1))\n    kind.seen = kind.seen + 1 if 'seen' in dir(kind) else 0\n"
        "    a, b = draw(10 ** (level + 2)), draw(90)\n    b += kind.seen > 1500",
        "keeps nothing",
        "is another after",
    ),
    "work that takes no step": (
        "return answer ==",
        "answer == '0x' * 32 + '~' and 3 ** (1 << 25) % 7\n    return answer ==",
        "CPU time",
        "'0x0x",
    ),
    "a pattern without bound": (
        "return answer ==",
        "re.fullmatch(r'([0-9]+)*', answer)\n    return answer ==",
        "bounded",
        "CPU time",
    ),
    "always the same answer": ("a + b\n", "'7'\n", "constant answers", "solves 8 of 8"),
    "too much work": (
        "return answer ==",
        "len(answer) > 2000 and sum(1 for _ in range(10**7))\n    return answer ==",
        "bounded",
        "steps",
    ),
}


#: A request runs for a tenth of its twenty seconds before vetting says so.
DEAR = {"a pattern without bound", "work that takes no step"}
#: Another defect stays that fails the same check, of those that need all requests.
FURTHER = {
    *("solves wrongly", "takes a right answer within", "takes a beginning"),
    *("names no wrong ones", "asks otherwise after a while"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.nightly] * (n in DEAR | FURTHER)) for n in DEFECTS]
)
def test_one_defect_and_it_is_not_fit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "asks otherwise after a while":  # in the forty problems of constant answers
        monkeypatch.setattr(vetting, "CONSTANTS", 40)
    before, after, check, words = DEFECTS[name]
    assert before in GOOD
    text = "import re\nfrom fractions import Fraction\n" + GOOD.replace(before, after)
    if name == "always the same answer":
        text = text.replace("str(task + 1)", "'8'").replace("str(task)", "task")
    text = text.replace("LEVELS = 1, 2", "LEVELS = (1,)")
    failed = find_failed(write_archive(tmp_path, text))
    found = [detail for key, detail in failed.items() if key.startswith(check)]
    assert found, failed
    assert words in found[0]


def test_another_right_answer_close_to_the_first_is_no_defect(tmp_path: Path) -> None:
    """Where only some problems have one."""
    text = GOOD.replace("answer == str(task)", "answer in (str(task), str(task + (task % 5 == 0)))")
    text = text.replace("str(task + 1)", "str(task + 2)").replace("LEVELS = 1, 2", "LEVELS = (1,)")
    assert find_failed(write_archive(tmp_path, text), 4) == {}


#: Code that is refused even without the look at the text: bytes that it does not see.
REACHES = {
    "a file": "type(stream)('/etc/hostname')",
    "a listing": "sys.modules['posix'].listdir('/')",
    "a process": "sys.modules['posix'].fork()",
    "a command": "sys.modules['posix'].system('true')",
    "an import": "sys.modules['builtins'].__import__('socket')",
    "a frame": "(lambda it: [it.append(x.gi_frame for x in it), *it[0]])([])",
    "code of one's own": "make_problem.__code__.replace(co_name='x')",
    "a file where open was called harmless": (
        "(FENCE.update(_HARMLESS={'open'}), sys.modules['_io'].FileIO('/etc/hostname'))"
    ),
    "a signal": "sys.modules['posix'].kill(1, 0)",
}


@pytest.mark.parametrize("name", REACHES)
def test_audited_events_are_refused_whatever_the_text(name: str, tmp_path: Path) -> None:
    """The box itself, in a bare process, with a look at the text that finds nothing."""
    reach = REACHES[name]
    if name == "a file":
        reach = "sys.modules['_io'].FileIO('/etc/hostname')"
    text = (
        "BOX = type(__loader__).exec_module.__globals__\nsys = BOX['sys']\nLEVELS = (1,)\n"
        "FENCE = vars(sys.modules['__main__'].fence)\n"
        f"def make_problem(draw, level):\n return str({reach}), 1\n"
    )
    file = write_archive(tmp_path, text)
    program = f"""
import importlib.util, json, sys
def load(file):
    spec = importlib.util.spec_from_file_location("one", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
box, fence = map(load, {[package_box.__file__, python_fence.__file__]!r})
data = open({str(file)!r}, "rb").read()
found = box.PackageBox(data, lambda text, top: None, fence)
print(found.answer(json.dumps(["make", 1, 1]).encode()).decode())
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert "is not for a package" in done.stdout, done.stdout + done.stderr


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
        (pack(("json/__init__.py", GOOD)), "name of a module"),
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


#: Native loops without end: of these Python takes no step, so nothing but a clock ends them.
ENDLESS = "answer == '7' and sum(iter(int, 1)) or answer"
TOO_LONG = r"took more than 0\.5 s of CPU time"


def add_package(folder: Path, before: str, after: str) -> str:
    """The name of an environment: the right package with one part replaced."""
    file = write_archive(folder, GOOD.replace(before, after))
    add_problem_files([file])
    return f"package:{sha256(file.read_bytes()).hexdigest()}"


def test_an_end_by_the_clock_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine would say 0 where a fast one says right: it says nothing."""
    monkeypatch.setattr(package_environment, "SECONDS", 0.5)
    environment = make_environment(add_package(tmp_path, "return answer", f"return {ENDLESS}"), {})
    problem = environment.make_problem(make_seed(7), [1])
    a, b = map(int, re.findall("[0-9]+", problem.prompt)[:2])
    with pytest.raises(WorkerError, match=TOO_LONG):
        environment.score(problem, "#### 7")
    assert environment.score(problem, f"#### {a + b}") == FULL
    assert environment.score(problem, "#### 8") == UNREAD


def test_an_end_by_the_clock_makes_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_environment, "SECONDS", 0.5)
    name = add_package(tmp_path, "a, b =", "sum(iter(int, 1))\n    a, b =")
    environment = make_environment(name, {})
    with pytest.raises(WorkerError, match=TOO_LONG):
        environment.make_problem(make_seed(7), [1])


def test_an_end_by_the_clock_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_environment, "SECONDS", 0.5)
    name = add_package(tmp_path, "LEVELS", "sum(iter(int, 1))\nLEVELS")
    with pytest.raises(WorkerError, match=TOO_LONG):
        make_environment(name, {})


@pytest.mark.parametrize("stops", ["'time').sleep(60)", "'signal').raise_signal(9)"])
def test_a_machine_that_finds_no_processor_gives_no_verdict(
    stops: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as under endless load, or when the system ends processes for lack of memory."""
    monkeypatch.setattr(package_environment, "_PATIENCE", 0.5)
    answer = f"lambda request: __import__({stops}"
    boot = f"from assay.sandbox.child import serve; serve({answer})"
    child = PackageChild(tmp_path / "pack.zip", "0" * 64, boot=boot)
    try:
        with pytest.raises(WorkerError, match="got no CPU time"):
            child.decide("score", 1, 1, "8")
    finally:
        child.close()


def test_a_file_that_changed_is_not_run(tmp_path: Path) -> None:
    file = write_archive(tmp_path, GOOD)
    child = PackageChild(file, "0" * 64)
    with pytest.raises(WorkerError, match="has changed"):
        child.ask("describe")
    child.close()


def test_another_digest_is_not_found(package: str) -> None:
    with pytest.raises(ProblemFileError, match="no file with SHA-256"):
        make_environment("package:" + "0" * 64, {})
    with pytest.raises(ValueError, match="no parameter"):
        make_environment(package, {"size": 1})


@pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "a/b", "../a", "a" * 41])
def test_illegal_names(name: str) -> None:
    with pytest.raises(ValueError, match="not a name of a package"):
        write_new_package(name)


@pytest.mark.parametrize("name", ["queue", "numbers", "assay", "gi_frame"])
def test_no_package_is_laid_down_that_vetting_refuses_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is (the|a) name of"):
        write_new_package(name)


def test_the_folder_around_a_package_is_told_and_not_packed(tmp_path: Path) -> None:
    write_archive(tmp_path / "outer", GOOD)
    done = run_command("env", "vet", str(tmp_path / "outer"))
    assert done.returncode == 2
    assert "has no __init__.py: name the package's own folder" in done.stderr
    assert not (tmp_path / "outer.zip").exists()


@pytest.mark.parametrize(
    ("fences", "words"),
    [
        (Fences(False, True, 7), "no fence around system calls"),
        (Fences(True, False, 7), "no copies"),
        (Fences(True, True, 0), "no fence around files"),
        (Fences(True, True, 7), ""),
    ],
)
def test_vetting_says_which_fences_were_missing(
    fences: Fences, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vetting, "probe_fences", lambda: fences)
    check = vetting.look_at_fences()
    assert (check.name, check.passed) == ("fences", fences.is_whole)
    assert words in check.detail


def test_a_missing_fence_is_the_machines_and_not_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vetting, "probe_fences", lambda: Fences(False, True, 7))
    file = write_archive(tmp_path, GOOD.replace("1, 2", "1,"))
    assert run_env_vet(file, None, True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fit"], told["fenced"]) == (True, False)
    *_, check = told["checks"]
    assert (check["name"], check["passed"]) == ("fences", False)


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
    assert "ascending integers" in str(find_levels_fault({"levels": levels}))
    assert find_levels_fault({"levels": [1, 2, 999]}) is None


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    """Writing spares somebody else's file. An earlier run's own file is renewed, if its replacement
    is fit."""
    packed = write_archive(tmp_path, GOOD.replace("1, 2", "1,"))
    assert is_packed(packed)
    (tmp_path / "pack/more.py").write_text("X = 1\n")
    assert run_env_vet(tmp_path / "pack", None, True) == 0
    assert is_packed(packed)
    fit = packed.read_bytes()
    names = zipfile.ZipFile(packed).namelist()
    assert names == ["pack/__init__.py", "pack/more.py"]
    (tmp_path / "pack/more.py").write_text("import os\n")
    done = run_command("env", "vet", str(tmp_path / "pack"))
    assert done.returncode == 1
    assert "no file was written or replaced" in done.stdout
    assert packed.read_bytes() == fit
    packed.unlink()
    assert run_env_vet(tmp_path / "pack", None, True) == 1
    assert not packed.exists()
    for theirs in (b"thesis", pack(("pack/__init__.py", GOOD))[:-1], pack(("other/a.txt", ""))):
        packed.write_bytes(theirs)
        with pytest.raises(ConfigError, match=r"pack\.zip exists, and this command did not write"):
            run_env_vet(tmp_path / "pack", None, True)
        assert packed.read_bytes() == theirs
    environment = make_environment("sat", {"k": 4})
    name, wheel = export_taskset(environment)
    run_env_export("sat,k=4", tmp_path, True)
    run_env_export("sat,k=4", tmp_path, True)
    assert (tmp_path / name).read_bytes() == wheel
    (tmp_path / name).write_bytes(packed.read_bytes())
    with pytest.raises(ConfigError, match="exists, and this command did not write it"):
        run_env_export("sat,k=4", tmp_path, True)
