"""Tasksets of verifiers, in: scored as by verifiers itself, and what no wheel may hold."""

import io
import json
import random
import zipfile
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.base import UNREAD, rate_answer
from assay.environments.foreign.archive import write_archive
from assay.environments.foreign.package_environment import PARAMS
from assay.environments.listing import list_environments
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.registry import make_environment
from assay.environments.tasksets import environment, look_at_wheel, vet_bundle
from assay.environments.tasksets.bundle import BUNDLE_MAX, DATA, MANIFEST, WHEEL, find_bundle_fault
from assay.environments.tasksets.environment import TasksetArchive
from assay.protocol.parameters import UNITS
from assay.subnet import vetting as own_files
from tests.absent import has_sandbox
from tests.commands import run_command
from tests.environments.archive_files import add_file
from tests.environments.conftest import make_seed
from tests.environments.hub_styles import (
    INIT,
    STYLES,
    TAGS,
    WORDS,
    pack_bundle,
    pack_wheel,
    write_data,
    write_taskset,
)
from tests.environments.verifiers_python import HAS_VERIFIERS, NO_VERIFIERS, ask_verifiers

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

FULL = rate_answer(1)


def open_taskset(file: Path) -> TasksetArchive:
    """A bundle as a network's machine opens it."""
    return TasksetArchive(file.read_bytes(), PARAMS[UNITS].default)


def compare(name: str, folder: Path, count: int) -> None:
    """Rewards of `count` replies to a taskset: verifiers' own and those of the sandbox."""
    texts, rows, _, _ = STYLES[name]
    wheel_name, wheel = pack_wheel(texts)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        archive.extractall(folder / "site")
    file = folder / "taskset.zip"
    file.write_bytes(pack_bundle(texts, rows))
    opened = open_taskset(file)
    draw, tasks = random.Random(count), 20
    solved = [opened.ask("solve", 1, index)["answer"] for index in range(tasks)]
    replies = []
    for number in range(count):
        right = solved[number % tasks]
        place = draw.randrange(len(right))
        damaged = right[:place] + draw.choice("0 <x}\n-,\u200b") + right[place:]
        forms = right, damaged, draw.choice(solved), f"So {right}.\n{draw.choice(solved)}\n"
        replies.append((number % tasks, forms[number // tasks % len(forms)]))
    theirs, prompts = ask_verifiers(
        wheel_name.partition("-")[0], folder / "site", replies, {}, rows or None
    )
    for (index, text), rewards in zip(replies, theirs, strict=True):
        assert opened.ask("score", 1, index, text)["rewards"] == rewards
    for index, prompt in enumerate(prompts):
        assert opened.ask("make", 1, index)["prompt"].endswith(prompt)
    full = [all(score == 1 for score, weight in one.values() if weight) for one in theirs]
    assert 0 < sum(full) < count


FIT = [name for name, style in STYLES.items() if style[2] is None]


@pytest.mark.skipif(not HAS_VERIFIERS, reason=NO_VERIFIERS)
@pytest.mark.parametrize("name", FIT)
def test_verifiers_gives_the_same_rewards(name: str, tmp_path: Path) -> None:
    compare(name, tmp_path, 80)


@pytest.mark.skipif(not HAS_VERIFIERS, reason=NO_VERIFIERS)
@pytest.mark.nightly
@pytest.mark.parametrize("name", FIT)
def test_verifiers_gives_the_same_rewards_to_a_thousand(name: str, tmp_path: Path) -> None:
    compare(name, tmp_path, 1_000)


@pytest.fixture
def taskset(tmp_path: Path) -> str:
    file = write_taskset(tmp_path, TAGS, WORDS)
    return add_file(file, "verifiers")


def test_it_is_an_environment_like_any_other(taskset: str) -> None:
    first, second = (make_environment(taskset, {}) for _ in range(2))
    assert first.digest == second.digest
    assert list(first.levels) == [1]
    for number in range(3):
        problem = first.make_problem(make_seed(number), [1])
        assert second.make_problem(make_seed(number), [1]) == problem
        text = problem.prompt.strip().rpartition("\n")[2]
        assert problem.prompt.startswith("Reverse the text character-by-character.")
        right = f"<reversed_text>{text[::-1]}</reversed_text>"
        for said, parts in (
            (right, FULL),
            (f"Let me see.\n{right}\n", FULL),
            (right.upper(), UNREAD),
            (problem.prompt, UNREAD),
            (right[1:], UNREAD),
            ("\ud800" + right[1:], UNREAD),
            ("", UNREAD),
            (right + " " * (1 << 17), UNREAD),
        ):
            assert first.score(problem, said) == parts
            assert second.score(problem, said) == parts
    mix = make_environment("mix", {taskset: 1, "arithmetic": 1})
    assert mix.make_problem(make_seed(0), [2_001]).level == 2_001
    with pytest.raises(TypeError, match="not a problem"):
        first.score(make_environment("sat", {}).make_problem(make_seed(0), [5]), "")


def test_twenty_thousand_tasks_are_loaded_and_no_more(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"prompt": f"text number {n}"} for n in range(20_001)]
    file = write_taskset(tmp_path, TAGS, rows)
    opened = open_taskset(file)
    assert len(opened.tasks) == 20_000
    assert "19999" in opened.ask("make", 1, 39_999)["prompt"]


def test_tasks_that_are_not_asked_are_told(tmp_path: Path) -> None:
    unfit: list[dict[str, object]] = [{"prompt": "x" * 16_385}, {"prompt": "a\x00b"}]
    file = write_taskset(tmp_path, TAGS, [*WORDS, *unfit])
    add_problem_files([file])
    (entry,) = [entry for entry in list_environments() if entry.file == str(file)]
    assert entry.skipped == 2
    assert f"{len(WORDS)} tasks, 2 more filtered out: without a prompt" in entry.about


def test_rows_that_a_taskset_makes_itself(tmp_path: Path) -> None:
    loaded = "load_dataset(self.config.dataset_name, split=self.config.dataset_split)"
    assert loaded in TAGS
    made = "Dataset.from_list([{'prompt': f'text {n * n}'} for n in range(50)])"
    text = TAGS.replace("import load_dataset", "import Dataset").replace(loaded, made)
    file = write_taskset(tmp_path, text, [])
    opened = open_taskset(file)
    assert len(opened.tasks) == 50
    assert "2401" in opened.ask("make", 1, 49)["prompt"]


@pytest.mark.usefixtures("few_texts")
def test_chance_without_a_seed_is_found_and_decides_alike(tmp_path: Path) -> None:
    """In a network it is the same in every copy: what vetting might miss parts no validators."""
    text = TAGS.replace("import re\n", "import random\nimport re\n").replace(
        'prompt=row["prompt"],', 'prompt=row["prompt"] + str(random.random()),'
    )
    file = write_taskset(tmp_path, text, WORDS)
    failed = [check.name for check in vet_bundle(file, 1, tried=10).checks if not check.passed]
    assert "same twice" in failed
    name = add_file(file, "verifiers")
    first, second = (make_environment(name, {}) for _ in range(2))
    problems = [[one.make_problem(make_seed(n), [1]) for n in range(3)] for one in (first, second)]
    assert problems[0] == problems[1]


@pytest.mark.parametrize(
    ("bases", "fault"),
    [
        ("vf.Task[ReverseData], Helper", None),
        ("Helper, vf.Task[ReverseData]", "__init__: it needs what is not in its data"),
        ("vf.Task[ReverseData], Scorer", "score: it needs a scorer of its own"),
    ],
)
def test_a_hook_is_what_verifiers_would_call(bases: str, fault: str | None, tmp_path: Path) -> None:
    """For a class behind `Task`, `Task`'s own methods are never called."""
    text = TAGS.replace(
        "class ReverseTask(vf.Task[ReverseData]):",
        "class Helper:\n    def __init__(self): ...\n\n"
        f"class Scorer:\n    async def score(self): ...\n\nclass ReverseTask({bases}):",
    )
    file = write_taskset(tmp_path, text, WORDS)
    opened = open_taskset(file)
    said = opened.ask("describe")
    assert "error" not in said if fault is None else str(said["error"]).endswith(fault), said


def test_no_reply_finds_what_another_leaves_behind(tmp_path: Path) -> None:
    """In its own module, in verifiers' class and in verifiers' module: all begin anew."""
    text = TAGS.replace("SYSTEM =", "SEEN = []\nSYSTEM =").replace(
        "        match = _TAG",
        "        if 'POISON' in trace.last_reply:\n"
        "            SEEN.append(1)\n"
        "            vf.TaskData.seen = vf.seen = True\n"
        "        if SEEN or 'seen' in dir(vf.TaskData) or 'seen' in dir(vf):\n"
        "            return 0.0\n"
        "        match = _TAG",
    )
    file = write_taskset(tmp_path, text, WORDS)
    environment = make_environment(add_file(file, "verifiers"), {})
    problem = environment.make_problem(make_seed(0), [1])
    asked = problem.prompt.strip().rpartition("\n")[2]
    right = f"<reversed_text>{asked[::-1]}</reversed_text>"
    for said, parts in ((right, FULL), (f"POISON {right}", UNREAD), (right, FULL)):
        assert environment.score(problem, said) == parts


def test_data_that_come_in_several_replies_are_one_list(tmp_path: Path) -> None:
    """More than a copy may write at once, packed to go into one; and what does not fit is told."""
    rows: list[dict[str, object]] = [
        {"prompt": f"{n} " + sha256(bytes([n % 250, n // 250])).hexdigest() * 60}
        for n in range(900)
    ]
    bundle = pack_bundle(GOOD, rows)
    assert len(bundle) <= BUNDLE_MAX < sum(len(str(row["prompt"])) for row in rows)
    archive = TasksetArchive(bundle, 400)
    assert (archive.fault, len(archive.tasks)) == (None, 900)
    for number in (0, 600, 899):
        assert archive.ask("make", 1, number)["prompt"].endswith(str(rows[number]["prompt"]))
    many = [{"prompt": random.Random(n).randbytes(4_000).hex()} for n in range(900)]
    assert "bytes packed, more than" in str(find_bundle_fault(pack_bundle(GOOD, many)))


def test_a_reply_has_its_tasks_data_and_no_others(tmp_path: Path) -> None:
    """What is loaded when a reply is scored would be every other task's answer."""
    text = TAGS.replace(
        "match = _TAG",
        "from datasets import load_dataset\n"
        "        load_dataset('x', split='train')\n        match = _TAG",
    )
    said = open_taskset(write_taskset(tmp_path, text, WORDS)).ask("score", 1, 0, "x")
    assert "load_dataset is for load() alone" in said["error"]


#: Packs a list of lines, a number of times, and writes it as the reply to `load` by itself.
FORGED = """
import base64, json, os, zlib
packer = zlib.compressobj(9)
packed = b"".join(packer.compress(LINES) for _ in range(COUNT)) + packer.flush()
said = {"tasks": TASKS, "skipped": 0, "turns": TURNS, "rows": base64.b64encode(packed).decode()}
reply = b"+" + json.dumps(said).encode()
os.write(1, reply + len(reply).to_bytes(4, "big"))
os._exit(0)
"""


@pytest.mark.parametrize(
    ("lines", "count", "tasks"),
    [
        ("b'{}' + b'\\n' * (1 << 16)", 1, 1),
        ("b'x' * (1 << 18) + b'x'", 1, 1),
        ("b'x' * (1 << 17) + b'\\n'", 9, 20_000),
        ("b'x' * (1 << 17) + b'\\n'", 5, 20_000),
    ],
    ids=["many", "long", "large", "large with those before"],
)
def test_a_list_of_tasks_takes_no_memory_without_bound(
    lines: str, count: int, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module packs what no honest copy loads: a megabyte of it may have been a gigabyte."""
    monkeypatch.setattr(environment, "FILE_MAX", 1 << 20)
    text = FORGED.replace("LINES", f"({lines})").replace("COUNT", str(count))
    text = text.replace("TASKS", str(tasks)).replace("TURNS", "1")
    bundle = pack_bundle({"reverse/__init__.py": text}, [])
    archive = TasksetArchive(bundle, PARAMS[UNITS].default)
    assert archive.fault == "what it loads is no list of tasks, or has more than 1 MiB"


@pytest.mark.parametrize("turns", ["0", "65", "True", "'2'", "None", "10**9"])
def test_a_module_that_claims_odd_turns_is_refused(turns: str) -> None:
    text = FORGED.replace("LINES", "b'{}'").replace("COUNT", "1").replace("TASKS", "1")
    bundle = pack_bundle({"reverse/__init__.py": text.replace("TURNS", turns)}, [])
    archive = TasksetArchive(bundle, PARAMS[UNITS].default)
    assert archive.fault == "its episodes have more than 64 turns"


@pytest.mark.usefixtures("few_texts")
def test_what_a_taskset_writes_itself_breaks_no_vetting(tmp_path: Path) -> None:
    text = TAGS.replace(
        "match = _TAG",
        'import os\n        reply = b\'+{"answer": "x", "right": true, "bare": 1, "form": [""]}\'\n'
        "        os.write(1, reply + len(reply).to_bytes(4, 'big'))\n"
        "        os._exit(0)\n        match = _TAG",
    )
    report = vet_bundle(write_taskset(tmp_path, text, WORDS), 1, tried=10)
    failed = {check.name: check.detail for check in report.checks if not check.passed}
    assert "its reply has no answer in a form" in failed["right answers"]


def change_member(wheel: bytes, path: str, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return write_archive({**members, path: data})


GOOD = {"reverse/__init__.py": INIT, "reverse/taskset.py": TAGS}
ROWS = write_data(WORDS)


@pytest.mark.parametrize(
    ("wheel", "data", "check", "words"),
    [
        (b"", ROWS, "wheel", "not a zip archive"),
        (b"PK\x03\x04" + bytes(100), ROWS, "wheel", "not a zip archive"),
        (bytes(5 << 20), ROWS, "wheel", "more than"),
        (pack_wheel({**GOOD, "reverse/fast.so": "x"})[1], ROWS, "python alone", "reverse/fast.so"),
        (pack_wheel({**GOOD, "reverse/old.PYC": "x"})[1], ROWS, "python alone", "compiled"),
        (pack_wheel({**GOOD, "x.pth": "import os"})[1], ROWS, "python alone", "x.pth"),
        (pack_wheel({**GOOD, "other.py": ""})[1], ROWS, "wheel", "installs other, reverse"),
        (pack_wheel({**GOOD, "reverse/a-b.py": ""})[1], ROWS, "wheel", "not a name of a module"),
        (pack_wheel({**GOOD, "reverse/../x.py": ""})[1], ROWS, "wheel", "outside"),
        (pack_wheel({f"reverse/m{n}.py": "" for n in range(300)})[1], ROWS, "wheel", "303 files"),
        (pack_wheel({**GOOD, "reverse/b.py": "#" * (17 << 20)})[1], ROWS, "wheel", "more than"),
        (
            change_member(pack_wheel(GOOD)[1], "reverse/taskset.py", b"# another"),
            ROWS,
            "record",
            "reverse/taskset.py has not the digest",
        ),
        (
            change_member(pack_wheel(GOOD)[1], "reverse/more.py", b""),
            ROWS,
            "record",
            "reverse/more.py is not in its RECORD",
        ),
        (pack_wheel(GOOD)[1], b"{}\n[]\n", "data", "row 2 of its data is not a JSON object"),
        (pack_wheel(GOOD)[1], b"{}\n{", "data", "row 2"),
        (pack_wheel(GOOD)[1], b'{"a": "' + b"x" * (1 << 17) + b'"}', "data", "row 1"),
        (pack_wheel(GOOD)[1], b"\xff", "data", "row 1"),
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,  # megabytes are no name
)
def test_a_malformed_taskset_is_not_run(wheel: bytes, data: bytes, check: str, words: str) -> None:
    *looked, last = look_at_wheel(wheel, data)
    assert all(one.passed for one in looked)
    assert (last.name, last.passed) == (check, False)
    assert words in last.detail


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_damaged_wheels_and_bundles_are_told_and_never_raise(kind: int) -> None:
    for read, data in (
        (lambda one: look_at_wheel(one, ROWS), pack_wheel(GOOD)[1]),
        (find_bundle_fault, pack_bundle(GOOD, WORDS)),
    ):
        packed = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(data)) as archive,
            zipfile.ZipFile(packed, "w", kind) as again,
        ):
            for name in archive.namelist():
                again.writestr(name, archive.read(name))
        draw = random.Random(kind)
        for _ in range(400):
            changed = bytearray(packed.getvalue())
            for _ in range(draw.randint(1, 4)):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            del changed[draw.choice((len(changed), draw.randrange(len(changed)))) :]
            read(bytes(changed))


def test_a_bundle_whose_parts_are_others_is_not_opened(tmp_path: Path) -> None:
    bundle = pack_bundle(GOOD, WORDS)
    assert find_bundle_fault(bundle) is None
    for part, data in ((WHEEL, b"PK"), (DATA, b"{}\n"), (MANIFEST, b"[]")):
        changed = change_member(bundle, part, data)
        file = tmp_path / "changed.zip"
        file.write_bytes(changed)
        add_problem_files([file])
        with pytest.raises(ProblemFileError, match="has not the SHA-256"):
            make_environment(f"verifiers:{sha256(changed).hexdigest()}", {})
    assert "alone" in str(find_bundle_fault(change_member(bundle, "more", b"")))
    with pytest.raises(ProblemFileError, match="no file with SHA-256"):
        make_environment("verifiers:" + "0" * 64, {})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_files, "vet_bundle", partial(vet_bundle, tasks=1))
    name, wheel = pack_wheel(GOOD)
    (tmp_path / name).write_bytes(wheel)
    (tmp_path / "rows.jsonl").write_bytes(ROWS)
    done = run_command(
        "env", "vet", str(tmp_path / name), "--data", str(tmp_path / "rows.jsonl"), "--json"
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["fit"]) == (0, True), told
    bundle = Path(told["file"])
    assert told["name"] == f"verifiers:{sha256(bundle.read_bytes()).hexdigest()}"
    names = [check["name"] for check in told["checks"]]
    assert names[:4] == ["wheel", "data", "bundle", "loads"]  # vetted like a named bundle
    shown = run_command("env", "show", told["name"], "--file", str(bundle))
    assert shown.returncode == 0, shown.stderr
    listed = run_command("env", "list", "--file", str(bundle), "--json")
    assert told["name"] in {entry["name"] for entry in json.loads(listed.stdout)}
    (tmp_path / name).write_bytes(wheel[:-30])
    done = run_command("env", "vet", str(tmp_path / name))
    assert done.returncode == 1
    assert "not fit for a subnet: wheel" in done.stdout


def test_the_command_knows_a_bundle(tmp_path: Path) -> None:
    broken = {
        **GOOD,
        "reverse/taskset.py": TAGS.replace("import re\n", "import requests\nimport re\n"),
    }
    good, damaged = pack_bundle(broken, WORDS), pack_bundle(GOOD, WORDS)
    damaged = change_member(damaged, DATA, b"{}\n")
    for data, names in ((good, ["bundle", "loads"]), (damaged, ["bundle"])):
        file = tmp_path / "any.zip"
        file.write_bytes(data)
        done = run_command("env", "vet", str(file), "--json")
        told = json.loads(done.stdout)
        assert (done.returncode, told["fit"]) == (1, False)
        assert told["name"] == f"verifiers:{sha256(data).hexdigest()}"
        assert [check["name"] for check in told["checks"]] == names
