"""propose: what it asks, what is a proposal, and where it may be."""

from hashlib import sha256

import pytest

from assay.environments.base import UNREAD, Problem, rate_answer
from assay.environments.mixture import Mixture
from assay.environments.pieces.piece import RUNS, Fault, check_piece
from assay.environments.pieces.propose import Kind, Propose, ProposeTask, write_proposal
from assay.environments.registry import list_named_levels, list_named_rated, make_environment
from assay.protocol.parameters import MILLION
from tests.absent import has_sandbox
from tests.environments.conftest import make_seed
from tests.environments.hostile_pieces import HOSTILE

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

RIGHT, WRONG = rate_answer(1), rate_answer(0)
NEW = "def g(words):\n    # Give this a reward.\n    return [len(w) * 3 - 1 for w in words if w]"


@pytest.fixture(scope="module")
def propose() -> Propose:
    return Propose({})


def ask(propose: Propose, kind: Kind, number: int = 0) -> tuple[Problem, ProposeTask]:
    """A problem that asks for this."""
    for i in range(number, number + 99):
        problem = propose.make_problem(make_seed(i), propose.levels)
        task = problem.answer
        if isinstance(task, ProposeTask) and task.kind is kind:
            return problem, task
    raise AssertionError(f"none of 99 problems asks for {kind}")


def test_two_pieces_are_shown_and_each_kind_is_asked(propose: Propose) -> None:
    kinds = set()
    for i in range(60):
        problem = propose.make_problem(make_seed(i), propose.levels)
        task = problem.answer
        assert isinstance(task, ProposeTask)
        kinds.add(task.kind)
        whole = [one for one in propose.get_pieces(problem.level) if one.function in problem.prompt]
        assert len(whole) >= 2 - (task.kind is Kind.PAIRS)
        assert (task.piece in whole) == (task.kind is not Kind.PAIRS)
        for place in task.places:
            assert f"f({task.piece.inputs[place]}) == {task.piece.outputs[place]}" in problem.prompt
        assert problem.prompt.isascii()
    assert kinds == set(Kind)


def test_a_new_function_and_its_input_are_a_proposal(propose: Propose) -> None:
    problem, task = ask(propose, Kind.FUNCTION)
    answer = write_proposal(NEW, "['a', 'bcd']")
    assert propose.score(problem, answer) == RIGHT
    assert propose.score(problem, f"Let me think.\n{answer}\n") == RIGHT
    found = propose.find_proposal(problem, answer)
    assert found is not None
    assert not found.widens
    assert found.piece.function == "def f(a):\n    return [len(b) * 3 - 1 for b in a if b]"
    assert (found.piece.inputs, found.piece.outputs) == (("['a', 'bcd']",), ("[2, 8]",))
    for known in (task.piece.function, task.piece.function.replace("def f", "def other")):
        assert propose.score(problem, write_proposal(known, task.given)) == WRONG
    assert propose.find_proposal(problem, write_proposal(NEW, "['a'], 2")) is None


def test_a_new_input_is_a_proposal(propose: Propose) -> None:
    problem, task = next(
        (problem, task)
        for problem, task in (ask(propose, Kind.INPUT, i) for i in range(0, 400, 3))
        if task.piece.inputs[0].startswith("[1, 2") and "f(a):" in task.piece.function
    )
    longer = f"{task.piece.inputs[0][:-1]}, 9]"
    assert longer not in task.piece.inputs
    assert propose.score(problem, f"so\n#### {longer}") == RIGHT
    found = propose.find_proposal(problem, f"#### {longer}")
    assert found is not None
    assert found.widens
    assert found.piece.function == task.piece.function
    assert found.piece.inputs == (longer,)
    for known in task.piece.inputs:
        for spelling in (known, known.replace(", ", ","), f"  {known}  # new"):
            assert propose.score(problem, f"#### {spelling}") != RIGHT
    assert propose.score(problem, f"#### {longer}, {longer}") == UNREAD


def test_a_function_for_pairs_gives_the_hidden_ones_and_is_new(propose: Propose) -> None:
    problem, task = ask(propose, Kind.PAIRS)
    piece = task.piece
    head, _, body = piece.function.partition("\n")
    another = f"{head}\n    for x in [0]:\n        pass\n{body}"
    assert check_piece(another, piece.inputs).piece is not None
    assert propose.score(problem, write_proposal(another, None)) == RIGHT
    found = propose.find_proposal(problem, write_proposal(another, None))
    assert found is not None
    assert (found.piece.inputs, found.widens) == (piece.inputs, False)
    assert propose.score(problem, write_proposal(piece.function, None)) == WRONG
    names = head[len("def f(") : -len("):")]
    other = f"{head}\n    q = [{names}]\n    for x in [{names}]:\n        q = [x, *q]\n    return q"
    assert check_piece(other, piece.inputs).piece is not None
    verdict = propose.check(problem, write_proposal(other, None))
    assert verdict is not None
    assert verdict.fault is Fault.PAIRS
    shown = ", ".join(f"(({piece.inputs[i]},), {piece.outputs[i]})" for i in task.places)
    table = f"{head}\n    q = ({names},)\n    return ([v for k, v in [{shown}] if k == q] + [q])[0]"
    assert propose.score(problem, write_proposal(table, None)) == WRONG
    verdict = propose.check(problem, write_proposal(table, None))
    assert verdict is not None
    assert verdict.fault in (Fault.PAIRS, Fault.LITERAL, Fault.SIZE)


@pytest.mark.parametrize(("attack", "fault"), [(name, row[2]) for name, row in HOSTILE.items()])
def test_a_hostile_proposal_is_refused_and_bounded(
    propose: Propose, attack: str, fault: Fault
) -> None:
    text, inputs, _ = HOSTILE[attack]
    problem, _ = ask(propose, Kind.FUNCTION)
    answer = write_proposal(text, inputs[0]) if inputs else write_proposal(text, None)
    verdict = propose.check(problem, answer)
    if verdict is None:
        assert propose.score(problem, answer) == UNREAD
        return
    assert verdict.instructions <= 190 * MILLION
    if len(inputs) == 1 and inputs[0].strip() == inputs[0]:
        assert verdict.fault in (fault, Fault.BUDGET)
    if verdict.fault is not None:
        assert propose.find_proposal(problem, answer) is None
        assert propose.score(problem, answer) in (WRONG, UNREAD)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        NEW,
        write_proposal(NEW, None),
        write_proposal(None, "['a']"),
        f"```python\n{NEW}\n```\n#### ['a']",
        f"#### ['a']\n#### ['b']\n```python\n{NEW}\n```",
        f"#### ['a']\nand\n```python\n{NEW}\n```",
        f"#### ['a']\n```python\n{NEW}\n```\n```python\n{NEW}\n```",
        write_proposal(f"{NEW}\n{NEW}", "['a']"),
        write_proposal(NEW, "__import__('os').system('true')"),
        write_proposal(NEW, "['a']\0['b']"),
        write_proposal(NEW, "[w for w in 'ab']"),
        write_proposal(NEW + "\ud800", "['a']"),
        write_proposal(NEW, "'\ud800'"),
        write_proposal("x" * 40_000, "['a']"),
        write_proposal(NEW, "['" + "a" * 40_000 + "']"),
    ],
)
def test_what_proposes_nothing_is_not_read(propose: Propose, answer: str) -> None:
    problem, _ = ask(propose, Kind.FUNCTION)
    assert propose.score(problem, answer) == UNREAD
    assert propose.find_proposal(problem, answer) is None


def test_a_bomb_below_the_budget_costs_no_more_than_it(propose: Propose) -> None:
    """Each of the two runs has half of `units`."""
    problem, _ = ask(propose, Kind.FUNCTION)
    text = "def f(a):\n    b = 0\n    for c in range(a):\n        b += c % 7\n    return b * 3 + 1"
    dear = propose.check(problem, write_proposal(text, "20000"))
    assert dear is not None
    assert dear.piece is not None
    assert 60 * MILLION < dear.instructions <= 190 * MILLION
    over = propose.check(problem, write_proposal(text, "9000000"))
    assert over is not None
    assert (over.piece, over.fault) == (None, Fault.BUDGET)
    assert over.instructions <= 190 * MILLION // RUNS


def test_proposals_are_a_part_of_mixtures_that_solve_them() -> None:
    for name, settings in (("propose", {}), ("mix", {"propose": 1, "sat": 1})):
        with pytest.raises(ValueError, match="propose is a part of mixtures"):
            make_environment(name, settings)
    for text in ("propose", "mix,propose=1,sat=1"):
        with pytest.raises(ValueError, match="propose is a part of mixtures"):
            list_named_levels(text, "FILE")
    text = "mix,deduce=1,propose=2,propose.units=60"
    environment = make_environment("mix", {"deduce": 1, "propose": 2, "propose.units": 60})
    assert isinstance(environment, Mixture)
    assert list(environment.levels) == list_named_levels(text, "FILE")
    assert list_named_rated(text) == environment.rated
    problem = environment.make_problem(sha256(b"propose").digest(), [2_001])
    assert environment.score(problem, "nothing") == UNREAD
    assert environment.solve(problem) == ()


def test_another_parts_problem_is_our_own_fault(propose: Propose) -> None:
    deduce = make_environment("deduce", {})
    with pytest.raises(TypeError):
        propose.score(deduce.make_problem(make_seed(0), [1]), write_proposal(NEW, "['a']"))
