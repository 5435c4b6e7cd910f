"""reasoning-gym in its cage: strict in form, the same everywhere; no scorer can end us."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

if find_spec("reasoning_gym") is None:
    pytest.skip("needs the extra `envs`", allow_module_level=True)

from assay.cage import Budget, Cage, Lost, WorkerError, parent
from assay.environments import RewardParts, gym, make_environment
from assay.environments.base import ANSWER_BYTES
from assay.environments.gym import Entry, ReasoningGym, is_well_formed
from assay.environments.gym_datasets import LEVELS, REFUSED
from assay.protocol.parameters import MILLION
from tests.environments.conftest import NUMBER_TRICKS, TRICKS, make_seed

NOTHING = RewardParts(0, 0, 0)
SUMS = make_environment("reasoning_gym:chain_sum", {})
CODE = ["-P", "-c"]
#: What two processes say of the same numbers, in opposite orders: a name, a level, a number.
ASK = """
import json, sys
from assay.environments.gym import answer_request
asked = json.loads(sys.argv[1])
if sys.argv[2] == "backwards":
    asked.reverse()
said = [json.loads(answer_request(json.dumps(["make", *each]).encode())) for each in asked]
print("\\n" + json.dumps(list(zip(asked, said))))  # some datasets print
"""


def ask_process(asked: list[tuple[str, int, int]], order: str, hash_seed: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, *CODE, ASK, json.dumps(asked), order],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},  # noqa: TID251 - a child needs a whole environment
        capture_output=True,
        text=True,
        check=True,
        timeout=1_800,
    )
    found: list[object] = sorted(json.loads(done.stdout.splitlines()[-1]), key=str)
    return found


def find_differences(asked: list[tuple[str, int, int]]) -> set[str]:
    """Datasets that two processes disagree on."""
    forwards, backwards = (
        ask_process(asked, order, seed) for order, seed in (("forwards", "1"), ("backwards", "2"))
    )
    pairs = zip(forwards, backwards, strict=True)
    return {a[0][0] for a, b in pairs if a != b}  # type: ignore[index]


@pytest.fixture
def cage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cage]:
    """A cage of the test's own, its child scoring by the code the test gives as `boot`."""
    monkeypatch.setattr(parent, "START_PAUSES", ())
    with Cage("scorer", "") as own:
        monkeypatch.setattr(gym, "_get_cage", lambda: own)
        yield own


@pytest.fixture(scope="module")
def scorers() -> Iterator[Cage]:
    """All datasets, asked without the form of an answer before them."""
    with Cage("scorer", "from assay.environments.gym import serve_gym; serve_gym()") as own:
        yield own


def ask(cage: Cage, *request: object) -> dict[str, object]:
    reply = cage.ask(json.dumps(request).encode(), 1 << 24, Budget(60.0))
    assert not isinstance(reply, Lost), reply
    said: dict[str, object] = json.loads(reply)
    return said


def boot(code: str, before: str = "") -> str:
    """A child whose every scorer is `code`, a function of the answer."""
    return before + (
        "from assay.environments import gym as g\n"
        "from reasoning_gym.arithmetic.chain_sum import ChainSumDataset as d\n"
        f"d.score_answer = lambda self, answer, entry: {code}\n"
        "g.serve_gym()"
    )


#: What fills an answer: digits, brackets, separators, moves, names, nothing.
HOSTILE = (
    *"90 1-+*/()[]{},.:;='\"\\aAxQ_#%~",
    *("1,", "1 ", "- ", "+1", "-(", "[],", "[1],", "[[1", '{"a":', '"a",', '"A":1,', "1:", "A=1,"),
    *(
        "R ",
        "Rw2' ",
        "fill A",
        "pour A->B ",
        " is a knight",
        "Move disk 1 from Peg 1 to Peg 2 ",
        "0x",
    ),
    *("\u00ac", "\u00acP\u2228", "P \u2227 ", "\u00d7", "up ", "down\n", "1\n", " \n", "\n"),
)
#: A problem whose reference is no whole number, so that the scorer is asked.
OPEN = SUMS.make_problem(make_seed(1), [1])
OPEN = type(OPEN)(OPEN.prompt, 1, Entry("chain_sum", 1, OPEN.answer.number, "none"))  # type: ignore[attr-defined]


# --- problems


@pytest.mark.parametrize("name", ["chain_sum", "word_sorting", "mini_sudoku", "graph_color"])
def test_a_reference_answer_is_right(name: str) -> None:
    environment = make_environment(f"reasoning_gym:{name}", {})
    for i in range(4):
        problem = environment.make_problem(make_seed(i), environment.levels)
        assert problem.level in environment.levels
        assert isinstance(problem.answer, Entry)
        right = f"thinking\n#### {problem.answer.reference}"
        assert environment.score(problem, right) == RewardParts(MILLION, 0, 0)
        assert problem == environment.make_problem(make_seed(i), environment.levels)


def test_two_processes_make_the_same_problems() -> None:
    names = ["chain_sum", "word_sorting", "mini_sudoku", "zebra_puzzles", "decimal_chain_sum"]
    asked = [(name, LEVELS[name][0], i) for name in names for i in (1, 2, 2**31 - 1)]
    assert find_differences(asked) == set()


def test_other_versions_are_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert b"reasoning-gym 0.1.25" in gym.get_versions()
    assert b"sympy " in gym.get_versions()
    assert gym.get_versions().endswith(f"python 3.{sys.version_info[1]}".encode())
    monkeypatch.setattr(gym, "get_versions", lambda: b"reasoning-gym 0.1.25\nsympy 0")
    assert make_environment(SUMS.name, {}).digest != SUMS.digest


@pytest.mark.parametrize("found", ["0.1.24", None])
def test_an_absent_or_other_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    def version(name: str) -> str:
        if found is None:
            raise gym.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(gym, "version", version)
    gym.get_versions.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"pip install 'assay\[envs\]'"):
            make_environment("reasoning_gym:chain_sum", {})
    finally:
        gym.get_versions.cache_clear()


def test_refused_and_unknown_datasets_say_why() -> None:
    with pytest.raises(ValueError, match=r"puzzle24 is refused: .*scorer"):
        make_environment("reasoning_gym:puzzle24", {})
    with pytest.raises(ValueError, match="no dataset 'chess'"):
        make_environment("reasoning_gym:chess", {})
    with pytest.raises(ValueError, match="no parameter 'size'"):
        make_environment("reasoning_gym:chain_sum", {"size": 3})
    assert not set(LEVELS) & set(REFUSED)


# --- answers


@pytest.mark.parametrize("trick", {**TRICKS, **NUMBER_TRICKS})
def test_adversarial_answer_to_a_sum(trick: str) -> None:
    problem = next(
        problem
        for i in range(99)
        if len((problem := SUMS.make_problem(make_seed(i), [3])).answer.reference) == 4  # type: ignore[attr-defined]
        and "-" not in problem.answer.reference  # type: ignore[attr-defined]
    )
    right = problem.answer.reference  # type: ignore[attr-defined]
    assert SUMS.score(problem, f"#### {right}").correctness == MILLION
    assert SUMS.score(problem, {**TRICKS, **NUMBER_TRICKS}[trick](right)) == NOTHING


@pytest.mark.parametrize("name", ["word_sorting", "countdown", "advanced_geometry"])
@pytest.mark.parametrize("trick", TRICKS)
def test_adversarial_answer(name: str, trick: str) -> None:
    environment = make_environment(f"reasoning_gym:{name}", {})
    problem = environment.make_problem(make_seed(5), environment.levels[:1])
    right = problem.answer.reference  # type: ignore[attr-defined]
    assert environment.score(problem, f"#### {right}").correctness == MILLION
    assert environment.score(problem, TRICKS[trick](right)) == NOTHING


ATTACKS = [
    "__import__('os').system('touch {file}')",
    "exec(chr(111))",
    "open('{file}', 'w')",
    "().__class__.__base__.__subclasses__()",
    "[x for x in (1,)]",
    "lambda: 0",
    "Integral(x, x)",
    "exit()",
    "x.free_symbols",
    "9e9",
    "factorial(9)",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", sorted(gym.PATTERNS))
def test_an_answer_that_is_code_is_never_evaluated(name: str, attack: str) -> None:
    assert not is_well_formed(name, "no answer", attack)


@pytest.mark.timeout(120)
def test_patterns_cannot_be_made_to_backtrack() -> None:
    """Going back for each character would take hours."""
    for pattern in gym.PATTERNS.values():
        for part in ("1", "1*", "((", "R ", "1.", "Q_", "P \u2227"):
            assert not pattern.fullmatch(part * 10**6 + "!")


@pytest.mark.parametrize(
    ("name", "reference", "answer"),
    [
        ("countdown", "7", "9**9**9"),  # each of these costs a machine all it has
        ("countdown", "(1 + 2)", "9 **9"),
        ("rubiks_cube", "R U", "R99999999"),
        ("propositional_logic", "(P \u2227 Q)", "(a \u2227 b)"),
        ("propositional_logic", "(P \u2227 \u00acQ)", "\u00ac" * 64 + "P"),
        ("binary_matrix", "0 1", "-" * 200 + "1"),
        ("codeio", '{"a": "b"}', '{"a": "c"}'),
        ("number_sorting", "['1.0', '2.0']", "[NaN, NaN]"),  # and this was right
    ],
)
def test_what_multiplies_the_work_or_fools_a_scorer_is_never_asked(
    name: str, reference: str, answer: str
) -> None:
    assert not is_well_formed(name, reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("12", "12", True),
        ("12", "12.0", False),
        ("12", "012", False),
        ("12", "13", False),
        ("1.5", "1.50", False),
        ("1.5", "1.49", True),
        ("1.5", ".5", False),
        ("1.5", "nan", False),
        ("True", "true", False),
        ("True", "False", True),
        ("a b", "b a", True),
        ("a b", "a b c", False),
        ("a b", "x a b", False),
        ("a b", "a\nb", False),
        ("a\nb", "b\na", True),
        ("a", "\u0430", False),
        ("\u03c0 r", "2\u03c0", True),
        ("a b", "b" * 256, True),
        ("a b", "b" * 257, False),
        ("a \u03c0", "\u03c0" * 128, True),
        ("a \u03c0", "\u03c0" * 129, False),
        ("ab " * 2_000 + "c", "b" * 12_002, True),
        ("ab " * 2_000 + "c", "b" * 12_003, False),
        ("a", "[" * 64, True),
        ("a", "[({" * 21 + "[[", False),
        ("([]", "{" * 66, True),
        ("([]", "{" * 67, False),
    ],
)
def test_form(reference: str, answer: str, expected: bool) -> None:
    assert is_well_formed("word_sorting", reference, answer) is expected


# --- scorers that misbehave


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
def test_a_scorer_that_breaks_gives_nothing(cage: Cage, code: str) -> None:
    cage.boot = boot(code)
    assert SUMS.score(OPEN, "#### 7") == NOTHING
    cage.boot = boot("1.0")
    cage.renew()
    assert SUMS.score(OPEN, "#### 7").correctness == MILLION


def test_a_scorer_that_loops_for_ever_gives_nothing(
    cage: Cage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gym, "SCORE_SECONDS", 0.5)
    cage.boot = boot("sum(iter(int, 1))")
    assert SUMS.score(OPEN, "#### 7") == NOTHING


#: Scorers that never end, one that goes on when it is stopped, and one that outruns the counting.
ENDLESS = {
    "for": "def f():\n    for _ in iter(int, 1): pass\n",
    "while": "def f():\n    n = 0\n    while True: n += 1\n",
    "generator": "def f(): return sum(1 for _ in iter(int, 1))\n",
    "stubborn": "def f():\n try:\n  while 1: n = 0\n except BaseException: return 1.0\n",
    "deep": "def g(): g()\ndef f():\n try: g()\n except RecursionError: return 1.0\n",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_scorer_of_too_many_steps_gives_nothing_and_lives_on(cage: Cage, kind: str) -> None:
    cage.boot = boot("f() if answer == '7' else 1.0", ENDLESS[kind])
    assert SUMS.score(OPEN, "#### 8").correctness == MILLION
    child = cage.pid
    assert SUMS.score(OPEN, "#### 7") == NOTHING
    assert SUMS.score(OPEN, "#### 8").correctness == MILLION
    assert cage.pid == child


def test_steps_are_counted_to_the_limit_and_no_further(cage: Cage) -> None:
    """A loop of n rounds takes as many steps more as it has rounds more, and one too many is 0."""
    rounds = "sum(1 for _ in range(int(answer)))"
    cage.boot = boot(f"{rounds} * 0 + 1")
    entry = "score", "chain_sum", 1, 0
    few, more = (ask(cage, *entry, str(n))["steps"] for n in (100, 1_100))
    assert isinstance(few, int)
    assert isinstance(more, int)
    a_round, rest = divmod(more - few, 1_000)
    assert rest == 0
    legal = (gym.STEPS_MAX - few) // a_round + 100
    assert ask(cage, *entry, str(legal))["right"] is True
    assert ask(cage, *entry, str(legal + 1)) == {"right": False, "steps": gym.STEPS_MAX + 1}


def test_a_scorer_that_somebody_kills_is_our_own_fault(cage: Cage) -> None:
    """As a machine short of memory does. What a scorer could do to itself has another signal."""
    cage.boot = boot("__import__('signal').raise_signal(9)")
    with pytest.raises(WorkerError, match="it died"):
        SUMS.score(OPEN, "#### 7")


def test_a_machine_too_busy_to_score_is_our_own_fault(
    cage: Cage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "REQUEST_SECONDS", 0.3)
    cage.boot = boot("__import__('time').sleep(60)")
    with pytest.raises(WorkerError, match="found no processor"):
        SUMS.score(OPEN, "#### 7")


def test_a_generator_that_breaks_is_asked_for_another(cage: Cage) -> None:
    fails = "d.__getitem__ = lambda self, i: {'question': 'q', 'answer': 'a', 'metadata': {}} if "
    fails += "self.seed % 4 == 0 else 1 // 0\n"
    cage.boot = boot("0").replace("g.serve_gym()", fails + "g.serve_gym()")
    problem = SUMS.make_problem(make_seed(3), [1])
    assert problem.answer.number % 4 == 0  # type: ignore[attr-defined]
    cage.boot = cage.boot.replace("% 4 == 0", "< 0")
    cage.renew()
    with pytest.raises(WorkerError, match="makes no problem"):
        SUMS.make_problem(make_seed(3), [1])


def test_another_datasets_problem_is_our_own_fault() -> None:
    other = ReasoningGym("word_sorting", {}).make_problem(make_seed(0), [1])
    with pytest.raises(TypeError):
        SUMS.score(other, "#### 1")


# --- all of them


def test_every_dataset_is_known_or_refused() -> None:
    code = "import json, reasoning_gym.factory as f; print(json.dumps(sorted(f.DATASETS)))"
    command = [sys.executable, *CODE, code]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert sorted([*LEVELS, *REFUSED]) == json.loads(done.stdout)


@pytest.mark.slow
def test_every_dataset_is_the_same_in_two_processes() -> None:
    """The lowest and the highest level of each, of two numbers; `make nightly` looks at all."""
    asked = [
        (name, level, number)
        for name, levels in LEVELS.items()
        for level in {levels[0], levels[-1]}
        for number in (5, 6)
    ]
    assert find_differences(asked) == set()


@pytest.mark.nightly
def test_every_level_of_every_dataset_is_the_same_in_two_processes() -> None:
    asked = [(n, level, i) for n, levels in LEVELS.items() for level in levels for i in range(8)]
    assert find_differences(asked) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_every_reference_is_right_and_no_constant_is(name: str) -> None:
    environment = make_environment(f"reasoning_gym:{name}", {})
    for i, level in enumerate({environment.levels[0], environment.levels[-1]}):
        problem = environment.make_problem(make_seed(i), [level])
        right = problem.answer.reference  # type: ignore[attr-defined]
        assert environment.score(problem, f"#### {right}").correctness == MILLION
        for wrong in ("NaN", "inf", "{}", "[]", "()", "None", "null", "x", "-", '""', "[[]]"):
            if wrong != right:
                assert environment.score(problem, f"#### {wrong}") == NOTHING, wrong


def test_a_right_conclusion_stays_far_below_its_steps_however_it_is_padded(scorers: Cage) -> None:
    """The dearest of all that were found: its scorer tries all truths of ten variables."""
    dearest = 0
    for number in range(12):
        entry = "propositional_logic", 5, number
        made = ask(scorers, "make", *entry)
        reference = str(made["answer"])
        nots = "\u00ac" * ((64 - len(reference) - 2) // 2 * 2)
        padded = f"{nots}({reference})"
        assert gym.PATTERNS["propositional_logic"].fullmatch(padded)
        said = ask(scorers, "score", *entry, padded)
        assert said["right"]
        dearest = max(dearest, said["steps"])  # type: ignore[call-overload]
    assert gym.STEPS_MAX // 50 < dearest < gym.STEPS_MAX // 5


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_no_answer_comes_near_the_steps_that_it_may_take(name: str, scorers: Cage) -> None:
    """So no right one hangs on a step more or less, of what an earlier one left in a cache. The
    limit is for what this test and its author did not think of."""
    for number in range(3):
        entry = name, LEVELS[name][-1], number
        made = ask(scorers, "make", *entry)
        reference = str(made["answer"])
        size = max(gym.ANSWER_MIN, 2 * len(reference.encode()))
        parts = [*HOSTILE, *dict.fromkeys(reference), *dict.fromkeys(reference.split("\n"))]
        texts = [part * (size // len(part.encode() or b"0")) for part in parts]
        texts += [f"{{{text[: size - 2].strip()}}}" for text in texts]
        texts += [f"[{text[: size - 2].strip(' ,')}]" for text in texts]
        for text in filter(lambda text: is_well_formed(name, reference, text), texts):
            assert ask(scorers, "score", *entry, text)["steps"] <= gym.STEPS_MAX // 20, text[:80]  # type: ignore[operator]
        if len(reference.encode()) <= ANSWER_BYTES:
            said = ask(scorers, "score", *entry, reference)
            assert said["right"]
            assert said["steps"] <= gym.STEPS_MAX // 20  # type: ignore[operator]
