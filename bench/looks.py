"""`assay env look` at files of many rows, with its start: seconds on the wall where two cores are
free, and processor seconds of all its processes. Each is the least of several runs, because other
work of the machine only adds.

One file has problems with whole numbers, as DAPO-Math-17k has them, one has answers as competitions
have them, with solutions, and one is in GSM8K's format.
"""

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, run
from tempfile import TemporaryDirectory

from figures import FAST, Figure, report, time_cpu

ROWS, RUNS = (12_000, 1) if FAST else (100_000, 7)
CORES = 2
WORDS = ["the", "sum", "of", "all", "points", "in", "a", "circle", "is", "how", "many", "integers"]

Row = dict[str, str]


def draw_whole(drawn: random.Random, text: str) -> Row:
    return {"problem": text, "answer": str(drawn.randrange(1_000))}


def draw_solved(drawn: random.Random, text: str) -> Row:
    answer = draw_answer(drawn)
    solution = rf"{text[:150]} \boxed{{{answer}}}."
    return {"problem": text, "answer": answer, "solution": solution}


def draw_answer(drawn: random.Random) -> str:
    """An answer as files of competition problems have them: two of three are whole numbers."""
    kind, a, b = drawn.random(), drawn.randrange(1, 400), drawn.randrange(2, 100)
    shares = (
        *((0.68, str(drawn.choice((b, a, a * b)))), (0.82, rf"\frac{{{a}}}{{{b}}}")),
        *((0.88, rf"{b}\sqrt{{{a}}}"), (0.93, f"({a}, {b})"), (0.96, r"\text{even}")),
    )
    return next((answer for share, answer in shares if kind < share), f"x^2 + {a}")


def draw_lines(drawn: random.Random, text: str) -> Row:
    """A solution of two to seven lines, with GSM8K's notes of what is computed."""
    lines = [f"{text[:60]} <<{n}*2={n * 2}>>{n * 2}" for n in range(drawn.randrange(2, 8))]
    return {"question": text, "answer": "\n".join([*lines, f"#### {drawn.randrange(1_000)}"])}


def write_rows(file: Path, draw: Callable[[random.Random, str], Row]) -> None:
    drawn = random.Random(0)
    with file.open("w") as opened:
        for number in range(ROWS):
            text = f"{number}: {' '.join(drawn.choices(WORDS, k=40))}?"
            opened.write(json.dumps(draw(drawn, text)) + "\n")


def measure_look(draw: Callable[[random.Random, str], Row]) -> tuple[float, float]:
    """Seconds on the wall, and processor seconds."""
    with TemporaryDirectory() as name:
        file = Path(name) / "rows.jsonl"
        write_rows(file, draw)
        command = [sys.executable, "-m", "assay", "env", "look", str(file), "--json"]
        runs = [
            time_cpu(lambda: run(command, check=True, stdout=DEVNULL))  # with its forks
            for _ in range(RUNS)
        ]
    wall, processor = zip(*runs, strict=True)
    return min(wall), min(processor)


def main() -> None:
    os.sched_setaffinity(0, range(CORES))
    figures = []
    for what, draw in (
        ("whole numbers", draw_whole),
        ("all kinds of answers", draw_solved),
        ("GSM8K's format", draw_lines),
    ):
        wall, processor = measure_look(draw)
        said = f"{ROWS:,} rows, {what}"
        figures.append(Figure(f"{said}: on the wall, two cores", wall, "s", bound=3))
        figures.append(Figure(f"{said}: processor seconds", processor, "s"))
    report("a first look at files of problems, two cores", figures, 1)


if __name__ == "__main__":
    main()
