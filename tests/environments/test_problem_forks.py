"""Rows that forks read: what is found is the same, whoever reads what, and nothing stays behind."""

import json
import marshal
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments import problem_file
from assay.environments.problem_forks import share_work
from assay.environments.problem_look import look_at_file
from assay.environments.problem_report import Look, write_rows

#: A program with a fork: each of the two works once before the other does more. Then `LATER` runs.
PROGRAM = """
import os, select, signal, sys, time
from assay.environments.problem_forks import share_work

main, (heard, told) = os.getpid(), os.pipe()

def work(share):
    if os.getpid() == main:
        assert select.select([heard], [], [], 60)[0], "no fork works"
        {main}
    else:
        os.write(told, b".")
        {fork}
    return [os.getpid() == main, *share]

try:
    found = share_work(work, 1_000, 2)
except KeyboardInterrupt:
    print("stopped")
else:
    own = sum(is_own for is_own, *_ in found)
    print([number for _, *share in found for number in share] == list(range(1_000)))
    print("alone" if own == len(found) else "shared")
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
"""


def run_forked(*, main: str = "pass", fork: str = "pass") -> "subprocess.Popen[str]":
    """A process in a group of its own. It and its forks write to the same pipes."""
    command = [sys.executable, "-c", PROGRAM.format(main=main, fork=fork)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, process_group=0)


def test_two_processes_share_the_work() -> None:
    with run_forked() as process:
        out, err = process.communicate(timeout=60)
    assert (out.splitlines(), err) == (["True", "shared", "no child is left"], "")


@pytest.mark.parametrize(
    "end",
    ["os.kill(os.getpid(), signal.SIGKILL)", "raise MemoryError", "sys.exit()", "os._exit(0)"],
)
def test_the_work_of_a_lost_fork_is_done_here(end: str) -> None:
    with run_forked(fork=end) as process:
        out, err = process.communicate(timeout=60)
    assert (out.splitlines(), err) == (["True", "alone", "no child is left"], "")


def test_ctrl_c_ends_all_without_a_word_of_the_fork() -> None:
    with run_forked(
        main='print("ready", flush=True); time.sleep(600)', fork="time.sleep(600)"
    ) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == "ready\n"
        os.killpg(p.pid, signal.SIGINT)
        out, err = p.communicate(timeout=60)
    assert (out.splitlines(), err) == (["stopped", "no child is left"], "")


def test_a_fork_ends_with_its_parent() -> None:
    """It has 255 shares to sleep through, and holds the pipes that are read to their end."""
    with run_forked(main="os.kill(main, signal.SIGKILL)", fork="time.sleep(1)") as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 10_000])
def test_shares_are_in_order(count: int) -> None:
    found = share_work(list, count, 1)
    assert [number for share in found for number in share] == list(range(count))
    assert len(found) == max(1, min(count, 256))
    sizes = set(map(len, found))
    assert max(sizes) - min(sizes) <= 1


def say(*said: str) -> list[dict[str, str]]:
    roles = ("user", "assistant") * len(said)
    return [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]


#: Usable rows, doubles, contradictions, chats, and rows that are skipped or damaged.
KINDS: tuple[dict[str, object], ...] = (
    {"problem": "1+1?", "answer": "2", "solution": r"\boxed{2}", "level": 1},
    {"problem": "1+1?", "answer": "2.0", "solution": "two", "level": 5},
    {"problem": "2+2?", "answer": "4", "solution": "four", "level": "Level 2"},
    {"problem": "2+2?", "answer": "5", "solution": "five"},
    {"problem": say("And 3+3?"), "answer": "6", "level": 3},
    {"problem": say("Hello", "Yes?", "And 3+3?"), "answer": "6", "level": 3},
    {"problem": say("Hello", "Yes?", "And 3+3?"), "answer": "7", "level": 3},
    {"problem": say("Hello", "Yes?"), "answer": "7", "level": 3},
    {"problem": [{"role": "user"}], "answer": "1"},
    {"problem": "All roots?", "answer": "1, 2, 3", "level": 4},
    {"problem": "What is 144/12?", "answer": "12", "level": 4},
    {"problem": "Grün \N{SNOWMAN}?", "answer": r"\frac{1}{2}", "solution": "", "level": 2},
    {"problem": "How?", "answer": r"\text{so}", "level": 1},
    {"problem": "Where?", "answer": "x<1", "level": 1},
    {"problem": "", "answer": "1"},
    {"problem": "Open?", "answer": "1", "solution": r"\boxed{1"},
    {"problem": "Odd?", "answer": ["1", "2"]},
    {"problem": "Bad \x00?", "answer": "1"},
    {"answer": "3"},
)
LINES = (
    *(json.dumps(kind).encode() for kind in KINDS),
    b"{",
    b"[]",
    b'{"problem": 1, "problem": 2}',
)
#: The first row shows the columns.
FILES = st.lists(st.sampled_from(LINES), max_size=40).map(lambda rows: [LINES[0], *rows])


def look(file: Path, processes: int = 1) -> tuple[Look, list[object], bytes]:
    found, rows = look_at_file(file, processes=processes)
    return found, [(row.number, row.level, row.source) for row in rows], write_rows(rows)


def share_by(ends: list[int]) -> Callable[..., list[Any]]:
    """A `share_work` whose shares end at these numbers. What is found is sent, as by a fork."""

    def work_each(work: Callable[[range], Any], count: int, _: int) -> list[Any]:
        cut = [0, *sorted(min(end, count) for end in ends), count]
        shares = [range(first, end) for first, end in pairwise(cut)]
        worked = {i: marshal.dumps(work(shares[i])) for i in reversed(range(len(shares)))}
        return [marshal.loads(worked[i]) for i in range(len(shares))]

    return work_each


@given(FILES, st.lists(st.integers(0, 42), max_size=5))
def test_shares_find_what_one_process_does(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: list[int]
) -> None:
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_bytes(b"\n".join(lines))
    alone = look(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem_file, "SHARED_MIN", 0)
        patch.setattr(problem_file, "share_work", share_by(ends))
        shared = look(file, processes=2)
    assert shared == alone
    assert list(shared[0].damaged) == list(alone[0].damaged)
    assert list(shared[0].left_out) == list(alone[0].left_out)


GSM = (
    {"question": "1+1?", "answer": "so\n#### 2"},
    {"question": "1+1?", "answer": "then\n#### 2"},
    {"question": "1+1?", "answer": "no\n#### 3"},
    {"question": "2+2?", "answer": "1\n2\n#### 1,004"},
    {"question": "?", "answer": "7"},
    {"question": 1, "answer": "7\n#### 7"},
)


@given(st.lists(st.sampled_from(GSM), max_size=20), st.lists(st.integers(0, 21), max_size=3))
def test_rows_of_gsm(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], ends: list[int]
) -> None:
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, [GSM[0], *rows])))
    alone = look(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem_file, "SHARED_MIN", 0)
        patch.setattr(problem_file, "share_work", share_by(ends))
        assert look(file, processes=2) == alone


def test_the_command_finds_it_too(tmp_path: Path) -> None:
    """Of a file that several processes read, where there are several cores."""
    file, written = tmp_path / "rows.jsonl", tmp_path / "new.jsonl"
    many = [
        json.dumps({"problem": f"{n}+{n}?", "answer": str(n * 2), "level": n % 5 + 1}).encode()
        for n in range(problem_file.SHARED_MIN)
    ]
    file.write_bytes(b"\n".join([*LINES, *many, *LINES]))
    command = ["env", "look", str(file), "--write", str(written), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "assay", *command], capture_output=True, text=True, timeout=120
    )
    found, _, expected = look(file)
    assert (done.returncode, done.stderr) == (0, "")
    assert written.read_bytes() == expected
    said = json.loads(done.stdout)
    assert (said["asked"], said["rows"]) == (found.asked, found.rows)
    assert [one["rows"] for one in said["damaged"].values()] == list(
        map(len, found.damaged.values())
    )
