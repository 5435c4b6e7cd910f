"""Calls of tools per second on one core: the calculator, the search in 100,000 documents, and a
short Python program beside the same program by itself. Then the dearest file: as many episodes as a
validator plays for one, each of which spends all that Python's default budget allows; or searches
for the most frequent words in each call.
"""

import json
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from random import Random

from figures import FAST, Figure, read_processor_time, report

from assay.environments.base import Problem
from assay.environments.registry import make_environment
from assay.environments.search.search_file import PARAMS, WORDS_MAX, Search
from assay.environments.search.search_rows import Document
from assay.environments.tools import PARAMS as TOOL_PARAMS
from assay.environments.tools import CallForm
from assay.environments.tools.calculator import Calculator
from assay.environments.tools.calls import write_call
from assay.environments.tools.python import SPENT, Python
from assay.environments.tools.tool_environment import TURNS, ToolEnvironment
from assay.protocol.parameters import MAIN_WORK, TOOL_UNITS
from assay.sandbox.guest import INTERPRETER, Budget, Request, run, running

SHARE = 20 if FAST else 1
REPEATS = 1 if FAST else 5
DOCUMENTS = 100_000 // SHARE
UNITS = TOOL_PARAMS[TOOL_UNITS].default
PROGRAM = "print(sum(i * i for i in range(100)))"
#: Programs that spend a budget: each of these is tried, and the dearest counts.
HOSTILE = {
    "loops": "while True: pass",
    "grows": "x = [0]\nwhile True: x += x",
    "prints": "while True: print('x' * 99)",
    "sorts": "import random\nx = list(range(99_999))\nwhile True: random.shuffle(x); x.sort()",
    "compiles": "while True: exec(compile('a = 1\\n' * 999, 'x', 'exec'))",
    "returns": "x = [i for i in range(30_000)]",
}


def get_time() -> float:
    """Processor seconds of this process and its sandboxed children."""
    return read_processor_time(running._get_children(INTERPRETER).pids)


def measure_rate(count: int, run_one: Callable[[], object]) -> float:
    """The most calls a second of several runs."""
    rates = []
    for _ in range(REPEATS):
        started = get_time()
        for _ in range(count):
            run_one()
        rates.append(count / (get_time() - started))
    return max(rates)


def open_problem(text: str) -> tuple[ToolEnvironment, Problem]:
    name, *settings = text.split(",")
    environment = make_environment(name, {k: int(v) for k, v in (s.split("=") for s in settings)})
    assert isinstance(environment, ToolEnvironment)
    return environment, environment.make_problem(bytes(32), environment.levels[:1])


def measure_calculator() -> Figure:
    environment, problem = open_problem("gsm,tool=1,call_form=1")
    state = environment.open(problem)
    turn = write_call("(12 + 30) * 4 / 7", CallForm.HERMES, Calculator())
    rate = measure_rate(20_000 // SHARE, lambda: state.step(turn, is_ended=True))
    return make_figure("a call of calculator, read and answered", rate, 10_000)


def measure_search() -> list[Figure]:
    chance, words = Random(0), [f"w{number:x}" for number in range(30_000)]
    often = list(accumulate(1 / (number + 1) for number in range(len(words))))
    texts = (" ".join(chance.choices(words, cum_weights=often, k=80)) for _ in range(DOCUMENTS))
    defaults = (one.default for one in PARAMS.values())
    search = Search([Document("", text) for text in texts], *defaults)
    queries = iter([" ".join(chance.choices(words, cum_weights=often, k=8)) for _ in range(9_999)])
    rate = measure_rate(1_000 // SHARE, lambda: search.answer(next(queries)))
    played = MAIN_WORK.valued_groups * MAIN_WORK.group_size
    calls = played * (TURNS - 1)
    often_asked = [" ".join(words[:WORDS_MAX]), " ".join(words[:1] * WORDS_MAX)]
    least = min(measure_rate(100 // SHARE, partial(search.answer, one)) for one in often_asked)
    return [
        make_figure(f"a call of search in {DOCUMENTS:,} documents", rate, 100),
        Figure(
            f"a hostile file: {played} episodes that search for {WORDS_MAX} frequent words",
            calls / least,
            "s",
            f"{TURNS - 1} calls each, {1e3 / least:,.1f} ms a call",
            bound=20,
        ),
    ]


def measure_python() -> list[Figure]:
    environment, problem = open_problem("gsm,tool=3,call_form=1")
    state = environment.open(problem)
    turn = write_call(PROGRAM, CallForm.HERMES, Python(UNITS))
    request, budget = Request(PROGRAM.encode()), Budget(100_000_000, 1 << 12)
    bare = measure_rate(500 // SHARE, lambda: run(request, budget))
    rate = measure_rate(500 // SHARE, lambda: state.step(turn, is_ended=True))
    said = f"the program by itself, {1e6 / bare:,.0f} µs; {rate:,.0f} a second"
    name = "a call of python, a short program"
    return [Figure(name, 1e6 / rate, "µs", said, 1e6 / bare, bound=1e6 / 150)]


def measure_hostile() -> list[Figure]:
    """Seconds of the episodes of one file whose calls spend all there is, by their programs."""
    played = MAIN_WORK.valued_groups * MAIN_WORK.group_size
    seconds = {}
    Python(UNITS).call(PROGRAM, None)  # a child runs, and its image is compiled
    for name, program in HOSTILE.items():
        started = get_time()
        for _ in range(max(1, 8 // SHARE)):
            tool, memory, reply, calls = Python(UNITS), None, "", 0
            while reply != SPENT and calls < TURNS - 1:
                reply, memory = tool.call(program, memory)
                calls += 1
        seconds[name] = (get_time() - started) / max(1, 8 // SHARE) * played
    name = max(seconds, key=lambda one: seconds[one])
    said = json.dumps({one: round(spent, 1) for one, spent in seconds.items()})
    return [
        Figure(
            f"a hostile file: {played} episodes that spend {UNITS} million each, the dearest kind",
            seconds[name],
            "s",
            said.replace('"', ""),
            bound=20,
        )
    ]


def make_figure(name: str, rate: float, needed: int) -> Figure:
    return Figure(name, 1e6 / rate, "µs", f"{rate:,.0f} a second", bound=1e6 / needed)


def main() -> None:
    figures = [measure_calculator(), *measure_python(), *measure_hostile(), *measure_search()]
    report("tools", figures, 1)


if __name__ == "__main__":
    main()
