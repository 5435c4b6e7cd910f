"""Scorers of reasoning-gym that misbehave: none earns, none ends us, and our own fault is named."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

if find_spec("reasoning_gym") is None:
    pytest.skip("needs the extra `envs`", allow_module_level=True)

from assay.environments import UNREAD, Problem, gym, make_environment, rate_answer
from assay.environments.step_counter import STEPS_MAX
from assay.protocol.parameters import MILLION
from assay.sandbox import PreloadedPython, Sandbox, WorkerError, parent
from tests.environments.conftest import ask_scorer, make_seed

#: What a wrong answer achieves: it may have been read.
NOTHING = UNREAD, rate_answer(0)


@pytest.fixture(scope="module")
def preloaded() -> Iterator[PreloadedPython]:
    """Reasoning-gym is imported once: scorers break in forks."""
    made = PreloadedPython(["assay.environments.gym", "reasoning_gym"])
    yield made
    assert not made.refusal
    made.close()


@pytest.fixture
def sandbox(preloaded: PreloadedPython, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox of the test's own, its child scoring by the code the test gives as `boot`."""
    monkeypatch.setattr(parent, "START_PAUSES", ())
    with Sandbox("scorer", "", preloaded=preloaded) as own:
        monkeypatch.setattr(gym, "_get_sandbox", lambda: own)
        yield own


def boot(code: str, before: str = "") -> str:
    """A child whose scorer of decimal sums is `code`, a function of the answer."""
    return before + (
        "from assay.environments import gym as g\n"
        "from reasoning_gym.arithmetic.decimal_chain_sum import DecimalChainSumDataset as d\n"
        f"d.score_answer = lambda self, answer, entry: {code}\n"
        "g.serve_gym()"
    )


DECIMALS = make_environment("reasoning_gym:decimal_chain_sum", {})


@pytest.fixture(scope="module")
def problem(preloaded: PreloadedPython) -> Problem:
    """Its scorer is asked of every number that is not its reference."""
    serve = "from assay.environments import gym; gym.serve_gym()"
    with Sandbox("maker", serve, preloaded=preloaded) as own, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gym, "_get_sandbox", lambda: own)
        return DECIMALS.make_problem(make_seed(1), [1])


@pytest.mark.parametrize(
    "code",
    [
        "1 // 0",
        "0.999",
        "float('nan')",
        "None",
        "'1'  * 2 > 1",
        "__import__('os')._exit(0)",
        "__import__('os').abort()",
        "bytes(1 << 34)",
        "__import__('os').system('true')",
        "__import__('socket').socket()",
        "__import__('subprocess').run(['true'])",
        "open('/tmp/assay-never', 'w').write('x' * 10**6)",
        "(_ for _ in ()).throw(SystemExit)",
        "(f := lambda: f())()",
    ],
)
def test_a_scorer_that_breaks_gives_nothing(problem: Problem, sandbox: Sandbox, code: str) -> None:
    sandbox.boot = boot(code)
    assert DECIMALS.score(problem, "#### 7") in NOTHING
    sandbox.boot = boot("1.0")
    sandbox.renew()
    assert DECIMALS.score(problem, "#### 7").correctness == MILLION


def test_an_end_by_the_clock_is_no_verdict(
    problem: Problem, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Native code takes no steps: of a slow machine and of a loop without end nobody can tell which
    it was, so that nothing is scored."""
    monkeypatch.setattr(gym, "SECONDS", 0.5)
    sandbox.boot = boot("1.0 if answer == '8' else sum(iter(int, 1))")
    with pytest.raises(WorkerError, match=r"more than 0\.5 s of CPU time"):
        DECIMALS.score(problem, "#### 7")
    assert DECIMALS.score(problem, "#### 8").correctness == MILLION


def test_an_end_by_the_clock_makes_no_problem(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is another asked for."""
    monkeypatch.setattr(gym, "SECONDS", 0.5)
    endless = "d.__getitem__ = lambda self, i: sum(iter(int, 1))\n"
    sandbox.boot = boot("0").replace("g.serve_gym()", f"{endless}g.serve_gym()")
    with pytest.raises(WorkerError, match="CPU time"):
        DECIMALS.make_problem(make_seed(3), [1])


#: Scorers that never end, one that continues when it is stopped, and one that outruns the counting.
ENDLESS = {
    "for": "def f():\n    for _ in iter(int, 1): pass\n",
    "while": "def f():\n    n = 0\n    while True: n += 1\n",
    "generator": "def f(): return sum(1 for _ in iter(int, 1))\n",
    "stubborn": "def f():\n try:\n  while 1: n = 0\n except BaseException: return 1.0\n",
    "deep": "def g(): g()\ndef f():\n try: g()\n except RecursionError: return 1.0\n",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_scorer_of_too_many_steps_gives_nothing_and_lives_on(
    problem: Problem, sandbox: Sandbox, kind: str
) -> None:
    sandbox.boot = boot("f() if answer == '7' else 1.0", ENDLESS[kind])
    assert DECIMALS.score(problem, "#### 8").correctness == MILLION
    child = sandbox.pid
    assert DECIMALS.score(problem, "#### 7") in NOTHING
    assert DECIMALS.score(problem, "#### 8").correctness == MILLION
    assert sandbox.pid == child


def test_steps_are_counted_to_the_limit_and_no_further(sandbox: Sandbox) -> None:
    """A loop of n rounds takes as many steps more as it has rounds more, and one too many is 0."""
    rounds = "sum(1 for _ in range(int(answer)))"
    sandbox.boot = boot(f"{rounds} * 0 + 1")
    entry = "score", "decimal_chain_sum", 1, 0
    few, more = (ask_scorer(sandbox, *entry, str(n))["steps"] for n in (100, 1_100))
    assert isinstance(few, int)
    assert isinstance(more, int)
    a_round, rest = divmod(more - few, 1_000)
    assert rest == 0
    legal = (STEPS_MAX - few) // a_round + 100
    assert ask_scorer(sandbox, *entry, str(legal))["right"] is True
    assert ask_scorer(sandbox, *entry, str(legal + 1)) == {"right": False, "steps": STEPS_MAX + 1}


def test_a_scorer_that_somebody_kills_is_our_own_fault(problem: Problem, sandbox: Sandbox) -> None:
    """A machine short of memory kills like this. What a scorer can do to itself ends with another
    signal."""
    sandbox.boot = boot("__import__('signal').raise_signal(9)")
    with pytest.raises(WorkerError, match="it died"):
        DECIMALS.score(problem, "#### 7")


def test_a_machine_too_busy_to_score_is_our_own_fault(
    problem: Problem, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "REQUEST_SECONDS", 0.3)
    sandbox.boot = boot("__import__('time').sleep(60)")
    with pytest.raises(WorkerError, match="got no CPU time"):
        DECIMALS.score(problem, "#### 7")


def test_a_generator_that_breaks_is_asked_for_another(sandbox: Sandbox) -> None:
    fails = "d.__getitem__ = lambda self, i: {'question': 'q', 'answer': 'a', 'metadata': {}} if "
    fails += "self.seed % 4 == 0 else 1 // 0\n"
    sandbox.boot = boot("0").replace("g.serve_gym()", fails + "g.serve_gym()")
    problem = DECIMALS.make_problem(make_seed(3), [1])
    assert problem.answer.number % 4 == 0  # type: ignore[attr-defined]
    sandbox.boot = sandbox.boot.replace("% 4 == 0", "< 0")
    sandbox.renew()
    with pytest.raises(WorkerError, match="makes no problem"):
        DECIMALS.make_problem(make_seed(3), [1])
