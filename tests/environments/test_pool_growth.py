"""How a pool grows, what may not be one, and the environments that draw from it."""

import re
from collections.abc import Container, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.base import Environment, Problem, rate_answer
from assay.environments.mixture import Mixture
from assay.environments.pieces import growth
from assay.environments.pieces.growth import (
    POOL_BYTES_MAX,
    SHAPE_MAX,
    compute_pool,
    compute_shape,
    describe_difference,
    find_pool_fault,
    measure_pool,
    read_pool,
    write_pool,
)
from assay.environments.pieces.induce import INPUTS_MIN
from assay.environments.pieces.piece import INPUTS_MAX, Piece, check_piece
from assay.environments.pieces.piece_environment import PARAMS, PieceEnvironment, get_task
from assay.environments.pieces.pool import list_first_pieces
from assay.environments.pieces.propose import Proposal, Propose, ProposeTask, write_proposal
from assay.environments.pooling import (
    find_asked_piece,
    find_proposal,
    find_trial,
    is_proposing,
    list_asked,
    list_proposed,
    with_pool,
)
from assay.environments.problem_file import add_problem_files
from assay.environments.prompting import PromptedEnvironment
from assay.environments.registry import (
    get_pool_cap,
    make_environment,
    open_environment,
    open_environment_of,
    parse_choice,
)
from assay.environments.tools import ToolEnvironment
from assay.protocol.encoding import from_json, read_json
from assay.protocol.manifest import POOL_FILE, FurtherFile, Manifest
from assay.protocol.parameters import MILLION, UNITS, EnvironmentChoice, Setting
from tests.absent import has_sandbox
from tests.environments.conftest import make_seed

MOST = 1_000
VECTORS = Path(__file__).parent.parent / "vectors"


def grow(
    pool: Sequence[Piece],
    proposals: Sequence[Proposal],
    most: int,
    unsolvable: Container[Piece] = (),
) -> tuple[Piece, ...]:
    """The pool after a step, without the sandbox."""
    return compute_pool(pool, proposals, most, lambda piece: piece not in unsolvable)


def make_piece(number: int, inputs: int = 1, body: str = "len(a)") -> Piece:
    """No function of the first pool. Nothing here runs it."""
    words = ["plus", "minus", "times", "over", "under", "above", "below", "beside"]
    shape = " + ".join([body, *words[: number % 8], *["a"] * (number // 8)])
    given = tuple(f"'{i}'" for i in range(inputs))
    return Piece(f"def f(a):\n    return {shape}", given, given[::-1], 12 + number)


def widen(piece: Piece, given: str, output: str = "0") -> Proposal:
    return Proposal(replace(piece, inputs=(given,), outputs=(output,)), widens=True)


def add(*pieces: Piece) -> list[Proposal]:
    return [Proposal(piece, widens=False) for piece in pieces]


def test_proposals_are_appended_each_once_and_the_oldest_go() -> None:
    first, second, third = map(make_piece, range(3))
    pool = grow((), add(first, second, first), MOST)
    assert pool == (first, second)
    other = replace(first, inputs=("'x'",))  # the same function
    assert grow(pool, add(third, other, second), MOST) == (first, second, third)
    assert grow(pool, add(third), 2) == (second, third)
    assert grow(pool, [], 1) == (second,)
    shipped = list_first_pieces()[7]
    assert grow((), add(shipped), MOST) == ()


def test_steps_follow_each_other() -> None:
    """Whoever starts with the parent's pool finds the same as who starts at the genesis."""
    steps = [add(*(make_piece(i) for i in range(begin, begin + 5))) for begin in range(0, 60, 3)]
    pools = [()]
    for step in steps:
        pools.append(grow(pools[-1], step, 12))
    again = grow(read_pool(write_pool(pools[10])), steps[10], 12)
    assert again == pools[11]
    assert len(pools[-1]) == 12
    assert [piece.size for piece in pools[-1]] == list(range(62, 74))[-12:]


def test_an_input_widens_its_function_where_it_is() -> None:
    first, second = make_piece(0), make_piece(1)
    pool = grow((), [*add(first, second), widen(first, "'new'", "3")], MOST)
    assert pool[0].inputs == ("'0'", "'new'")
    assert pool[0].outputs == ("'0'", "3")
    assert pool[1] == second
    assert grow(pool, [widen(first, "'new'"), widen(make_piece(9), "1")], MOST) == pool
    full = replace(first, inputs=("1",) * INPUTS_MAX, outputs=("2",) * INPUTS_MAX)
    assert grow((full,), [widen(full, "'new'")], MOST) == (full,)


def test_what_its_own_function_does_not_answer_stays_out() -> None:
    """It takes no place of its shape either, and a later input may come in where one did not."""
    first, second = make_piece(0), make_piece(1)
    assert grow((), add(first, second), MOST, [first]) == (second,)
    wide = replace(first, inputs=("'0'", "'1'"), outputs=("'0'", "0"))
    other = replace(wide, inputs=("'0'", "'2'"))
    pool = grow((first,), [widen(first, "'1'"), widen(first, "'2'")], MOST, [wide])
    assert pool == (other,)
    copies = [replace(first, function=f"def f(a):\n    return a * {i}") for i in range(99)]
    pool = grow((), add(*copies), MOST, copies[:9])
    assert pool == tuple(copies[9 : 9 + SHAPE_MAX])


def test_a_shipped_piece_with_a_new_input_takes_its_place() -> None:
    shipped = list_first_pieces()[3]
    (wider,) = grow((), [widen(shipped, "123", "456")], MOST)
    assert wider.digest == shipped.digest
    assert wider.inputs == (*shipped.inputs, "123")
    assert grow((wider,), [widen(shipped, "124", "456")], MOST)[0].inputs[-2:] == ("123", "124")


def test_one_pattern_does_not_fill_the_pool() -> None:
    copies = [
        replace(make_piece(0), function=f"def f(a):\n    return a * {i} + ' {i} \\' 7'")
        for i in range(1_000)
    ]
    assert len({compute_shape(piece.function) for piece in copies}) == 1
    pool = grow((), add(*copies[:20]), MOST)
    pool = grow(pool, add(*copies[10:], make_piece(1)), MOST)
    assert pool == (*copies[:SHAPE_MAX], make_piece(1))
    text = 'def f(a):\n    return a["x\'1"] + a1'
    assert compute_shape(text) == "def f(a):\n    return a[''] + a0"


def test_a_function_of_both_pools_counts_once() -> None:
    shipped = list_first_pieces()[0]
    copies = [
        replace(shipped, function=shipped.function.replace("10", str(11 + i))) for i in range(40)
    ]
    assert {compute_shape(one.function) for one in copies} == {compute_shape(shipped.function)}
    (both,) = grow((), [widen(shipped, "123")], MOST)
    for parent in ((), (both,)):
        assert grow(parent, add(*copies), MOST) == (*parent, *copies[: SHAPE_MAX - 1])


def test_a_pool_has_bytes_without_end_neither() -> None:
    given = tuple(f"'{i:0500}'" for i in range(INPUTS_MAX))
    large = [replace(make_piece(i), inputs=given, outputs=given) for i in range(64)]
    row = len(write_pool(large[:1]))
    count = POOL_BYTES_MAX // row
    many = [
        replace(
            large[0], function=f"def f(a):\n    return {'+'.join('a' * (2 + i % 40))}{'-a' * i}"
        )
        for i in range(count + 9)
    ]
    pool = grow((), add(*many), 8_192)
    assert len(write_pool(pool)) <= POOL_BYTES_MAX
    assert pool == tuple(many[-len(pool) :])
    assert len(pool) < len(many)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"{}\n", "row 1 of the pool"),
        (write_pool([make_piece(0)])[:-1], "row 1 of the pool is written in another way"),
        (write_pool([make_piece(0)]).replace(b":", b": "), "row 1 of the pool is written"),
        (write_pool([make_piece(0), make_piece(0)]), "the pool has a function twice"),
        (write_pool([make_piece(0)]) + b"\n", "row 2 of the pool"),
        (write_pool([replace(make_piece(0), size=0)]), "row 1 of the pool"),
        (write_pool([replace(make_piece(0), outputs=())]), "row 1 of the pool"),
        (b" " * (POOL_BYTES_MAX + 1), "at most"),
    ],
)
def test_what_is_no_pool_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_pool(data)
    assert re.search(fault, find_pool_fault(data) or "")


def test_a_pool_is_read_once_for_all_files_that_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def read_noted(data: bytes) -> tuple[Piece, ...]:
        read.append(data)
        return read_pool(data)

    monkeypatch.setattr(growth, "read_pool", read_noted)
    find_pool_fault.cache_clear()
    good, bad = write_pool([make_piece(1), make_piece(2)]), write_pool([make_piece(3)] * 2)
    for _ in range(3):
        assert find_pool_fault(bytes(bytearray(good))) is None
        assert find_pool_fault(bytes(bytearray(bad))) == "the pool has a function twice"
    assert read == [good, bad]


def test_a_false_pool_is_described() -> None:
    first, second, third = map(make_piece, range(3))
    due = first, second
    assert describe_difference(due, due) == ""
    assert "leaves out" in describe_difference(due, (second,))
    assert "leaves out" in describe_difference(due, (first,))
    assert "row 3" in describe_difference(due, (first, second, third))
    assert "is of no valid proposal" in describe_difference(due, (first, third, second))
    assert "is due there" in describe_difference(due, (second, first))
    assert "other inputs" in describe_difference(due, (first, replace(second, inputs=("1",))))


needs_sandbox = pytest.mark.skipif(not has_sandbox(), reason="no sandbox: assay sandbox prepare")
TEXT = "mix,propose=1,deduce=1,induce=1,induce.bos=1,abduce=1,abduce.tool=calculator"


def choose(text: str) -> EnvironmentChoice:
    name, params = parse_choice(text)
    made = make_environment(name, params)
    settings = tuple(Setting(key, value) for key, value in sorted(made.params.items()))
    return EnvironmentChoice(made.name, settings, made.digest)


@pytest.fixture(scope="module")
def choice() -> EnvironmentChoice:
    return choose(TEXT)


def list_parts(environment: Environment) -> list[PieceEnvironment]:
    assert isinstance(environment, Mixture)
    found = []
    for part in environment.parts:
        while isinstance(part, PromptedEnvironment | ToolEnvironment):
            part = part.inner
        assert isinstance(part, PieceEnvironment)
        found.append(part)
    return found


@needs_sandbox
def test_all_parts_draw_from_the_pool(choice: EnvironmentChoice) -> None:
    pieces = [make_piece(i, inputs=4) for i in range(40)]
    plain, grown = open_environment(choice), open_environment(choice, write_pool(pieces))
    assert plain.digest == grown.digest
    assert plain.levels == grown.levels
    for before, after in zip(list_parts(plain), list_parts(grown), strict=True):
        assert after.known - before.known == {piece.digest for piece in pieces}
        levels = [after.get_pieces(level) for level in after.levels]
        assert sum(map(len, levels)) == 40 + sum(
            len(before.get_pieces(level)) for level in before.levels
        )
    prompts = [grown.make_problem(make_seed(i), grown.levels).prompt for i in range(60)]
    new = [piece.function for piece in pieces]
    assert any(function in prompt for prompt in prompts for function in new)
    before = [plain.make_problem(make_seed(i), plain.levels).prompt for i in range(60)]
    assert not any(function in prompt for prompt in before for function in new)


@needs_sandbox
def test_what_draws_from_no_checkpoints_pool_stays(tmp_path: Path) -> None:
    file = tmp_path / "pool.jsonl"
    file.write_bytes(write_pool([make_piece(i) for i in range(20)]))
    add_problem_files([file])
    name = f"deduce:{sha256(file.read_bytes()).hexdigest()}"
    for environment in (make_environment("sat", {}), make_environment(name, {})):
        assert with_pool(environment, [make_piece(30)]) is environment


@needs_sandbox
def test_what_the_pool_has_is_not_proposed_again(choice: EnvironmentChoice) -> None:
    text = "def f(a):\n    return [b * 3 + 1 for b in a]"
    propose = Propose({})
    problem = next(
        problem
        for problem in (propose.make_problem(make_seed(i), [1]) for i in range(99))
        if isinstance(problem.answer, ProposeTask) and problem.answer.kind == 0
    )
    found = find_proposal(propose.open(problem).step(write_proposal(text, "[1, 2]"), True)[0])
    assert found is not None
    assert is_proposing(propose.open(problem))
    pool = compute_pool((), [found], MOST)
    grown = propose.with_pool(pool)
    assert propose.score(problem, write_proposal(text, "[5]")).correctness
    assert not grown.score(problem, write_proposal(text, "[5]")).correctness
    other = open_environment(choice)
    state = other.open(other.make_problem(make_seed(0), [2_001]))
    assert not is_proposing(state)
    assert find_proposal(state) is None
    assert find_proposal(None) is None


@needs_sandbox
def test_a_pool_that_its_manifest_does_not_name_is_our_own_fault(choice: EnvironmentChoice) -> None:
    vector = read_json((VECTORS / "manifest.json").read_bytes())
    plain = replace(from_json(Manifest, vector["manifest"]), files=())
    data = write_pool([make_piece(0)])
    named = FurtherFile(POOL_FILE, sha256(data).digest(), len(data))
    manifest = replace(plain, files=(named,))
    assert open_environment_of(choice, manifest, data) is open_environment(choice, data)
    assert open_environment_of(choice, plain, b"") is open_environment(choice)
    for other, pool in ((manifest, b""), (plain, data), (manifest, data + data)):
        with pytest.raises(ValueError, match="not the one that the manifest names"):
            open_environment_of(choice, other, pool)


@needs_sandbox
def test_only_proposals_have_a_cap() -> None:
    assert get_pool_cap(choose("mix,propose=1,deduce=1,propose.pool=64")) == 64
    assert get_pool_cap(choose("mix,propose=1,deduce=1")) == 2_048
    assert get_pool_cap(choose("deduce")) is None


def test_the_figures_of_a_pool() -> None:
    """Of ten pieces, of which eight have one shape, the numbers left out."""
    body = "[a * {}, 2]"
    alike = [
        Piece(f"def f(a):\n    return {body.format(n)}", ("1",), ("[1]",), 14) for n in range(8)
    ]
    pool = write_pool([*alike, make_piece(1, inputs=4), make_piece(2)])
    figures = measure_pool(pool)
    assert (figures.proposals, figures.shapes, figures.largest) == (10, 3, 8)
    sizes = 8 * 14 + make_piece(1).size + make_piece(2).size
    assert (figures.size, figures.inputs) == (sizes / 10, 1.3)
    assert figures.to_json()["sentence"] == (
        f"10 proposals of 3 shapes, 8 of the most frequent; {sizes / 10:.1f} nodes and 1.3 inputs "
        "on average"
    )
    empty = measure_pool(b"")
    assert (empty.proposals, empty.shapes, empty.largest, empty.size) == (0, 0, 0, 0.0)


def test_what_an_episode_asks() -> None:
    """Behind prompts and tools, too; a proposal asks none."""
    deduce = {"deduce.tool": 1, "deduce.call_form": 1}
    settings = {"deduce": 1, "propose": 1, "sat": 1}
    plain = make_environment("mix", settings)
    for environment in (plain, make_environment("mix", settings | deduce)):
        asked = environment.open(environment.make_problem(make_seed(0), [1_001]))
        assert find_asked_piece(asked) in list_first_pieces()
        for level in (2_001, environment.levels[-1]):
            state = environment.open(environment.make_problem(make_seed(0), [level]))
            assert find_asked_piece(state) is None


def test_what_tells_how_hard_a_piece_is() -> None:
    """Only what the prompt itself says: of `induce` two pieces can have one prompt."""
    one = make_piece(1, INPUTS_MIN)
    other = replace(one, function=make_piece(1, 1, "max(a)").function)
    for name in ("deduce", "abduce", "induce"):
        first, second = (with_pool(make_environment(name, {}), [piece]) for piece in (one, other))
        for place in range(4_000):
            problem = first.make_problem(
                make_seed(place), [first.levels[place % len(first.levels)]]
            )
            if get_task(problem).piece == one:
                break
        else:
            raise AssertionError("no seed asks for this piece")
        again = second.make_problem(make_seed(place), [problem.level])
        assert get_task(again).piece == other
        trials = [find_trial(first.open(problem)), find_trial(second.open(again))]
        if name == "induce":
            assert problem.prompt == again.prompt
            assert trials == [None, None]
            continue
        assert problem.prompt != again.prompt
        trial, place = trials[0], get_task(problem).places[0]
        assert trial is not None
        twin = widen(one, "'z'", one.outputs[place])  # an input with the same output
        for proposal, count in (
            (Proposal(one, widens=False), 1),
            (Proposal(other, widens=False), 0),
            (widen(one, one.inputs[place], one.outputs[place]), 1),
            (widen(one, "'z'", "'z'"), 0),
            (twin, int(name == "abduce")),
        ):
            assert len(set(list_asked(trial)) & set(list_proposed(proposal))) == count


SLOW = "def f(a):\n    b = 0\n    for c in range(a):\n        b += c % 7\n    return b * 3 + 1"


@needs_sandbox
def test_slow_inputs_are_left_out_where_together_nobody_could_answer() -> None:
    """Each alone is a proposal within the budget; `induce` runs an answer on all of them."""
    found = [check_piece(SLOW, [str(12_000 + i)], budget=95 * MILLION) for i in range(INPUTS_MAX)]
    first, *others = [one.piece for one in found if one.piece is not None]
    assert len(others) == INPUTS_MAX - 1
    proposals = [*add(first), *(Proposal(one, widens=True) for one in others)]
    light = check_piece(SLOW, ["12"]).piece
    assert light is not None
    (piece,) = pool = compute_pool((), [*proposals, Proposal(light, widens=True)], MOST)
    assert INPUTS_MIN <= len(piece.inputs) < INPUTS_MAX
    assert piece.inputs == (*(str(12_000 + i) for i in range(len(piece.inputs) - 1)), "12")
    for name in ("deduce", "abduce", "induce"):
        environment = make_environment(name, {UNITS: PARAMS[UNITS].low})
        assert isinstance(environment, PieceEnvironment)
        grown = environment.with_pool(pool)
        asked = find_problem(grown, piece)
        (answer,) = grown.solve(asked)
        assert grown.score(asked, answer) == rate_answer(1)


def find_problem(environment: PieceEnvironment, piece: Piece) -> Problem:
    """One that is about this piece."""
    levels = [level for level in environment.levels if piece in environment.get_pieces(level)]
    problems = (environment.make_problem(make_seed(i), levels) for i in range(999))
    return next(problem for problem in problems if get_task(problem).piece == piece)
