"""A process of a team that fails alone ends, and so does the team: the others wait for it in the
middle of a request. What fails in all of them alike, they survive."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.inference.placing.devices import MemoryLackError
from assay.training import GENESIS, LearnConfig, Learner, LessonError, team
from assay.training.imitation import Example
from assay.training.objectives import Imitation
from assay.training.sharding import DisagreementError
from assay.training.team import SharedLearner, TeamError, follow, make_shared
from assay.training.team_messages import Request, encode_request
from tests.training.forked_team import run_forked_team
from tests.training.team import make_learner

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it.")
LACK = MemoryLackError("cuda:0 has not enough memory for a lesson")
DIFFER = DisagreementError("process 1: it has no tensor a")
DISK = OSError(5, "Input/output error")
BROKEN = LessonError("the loss is not a number")
ONE = [Example([10], [5, 1])]
STATE = Path("state")
REQUESTS: dict[str, Callable[[Any], object]] = {
    "learn": lambda made: made.learn([], ONE),
    "update": lambda made: made.update(ONE, Imitation(), 0.1),
    "measure": lambda made: made.measure(ONE, Imitation()),
    "sum_logprobs": lambda made: made.sum_logprobs(ONE),
    "bf16_state": lambda made: made.bf16_state(),
    "export_factors": lambda made: made.export_factors(),
    "export_state": lambda made: dict(made.export_state()),
    "save_state": lambda made: made.save_state(STATE),
    "load_state": lambda made: made.load_state(STATE),
}


def fail(error: Exception) -> Callable[..., Any]:
    def raise_it(*arguments: object, **named: object) -> None:
        raise error

    return raise_it


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> SharedLearner:
    """The first process's learner, whose requests nobody else hears."""
    monkeypatch.setattr(team, "tell_bytes", lambda asked, most: asked)
    monkeypatch.setattr(Learner, "step", 0)
    return object.__new__(SharedLearner)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("error", [FULL, LACK, RuntimeError("no kernel"), AttributeError("defect")])
def test_the_first_ends_where_it_fails_alone(
    first: SharedLearner,
    name: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A neuron survives every exception, and SystemExit is none."""
    monkeypatch.setattr(Learner, name, fail(error))
    with pytest.raises(SystemExit) as ended:
        REQUESTS[name](first)
    assert ended.value.code == 1
    said = capfd.readouterr().err.splitlines()
    if error in (FULL, LACK):
        (line,) = said
        assert line == "assay: process 0 of 1 has failed: " + str(error).partition("\n")[0]
    else:  # a defect: where it is
        assert said[1].startswith("Traceback")
        assert said[-1] == f"{type(error).__name__}: {error}"


SHARED = [
    *((name, BROKEN) for name in REQUESTS if not name.endswith("_state") or name == "bf16_state"),
    ("save_state", DISK),
    *(("load_state", error) for error in (DISK, DIFFER, KeyError("step"), ValueError("other"))),
]


@pytest.mark.parametrize(("name", "error"), SHARED)
def test_the_first_survives_what_fails_in_all(
    first: SharedLearner, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, name, fail(error))
    with pytest.raises(type(error)) as raised:
        REQUESTS[name](first)
    assert raised.value is error


@pytest.mark.parametrize("error", [DISK, DIFFER])
def test_a_folder_that_nobody_gets_is_tried_again(
    first: SharedLearner, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, "load_weights", fail(error))
    with pytest.raises(TeamError, match=f"^the team cannot learn: {re.escape(str(error))}$"):
        make_shared(GENESIS, LearnConfig(), None, "cpu")


@pytest.mark.parametrize("error", [FULL, RuntimeError("no kernel")])
def test_the_first_ends_where_it_alone_cannot_make_a_learner(
    first: SharedLearner,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Learner, "load_weights", fail(error))
    with pytest.raises(SystemExit):
        make_shared(GENESIS, LearnConfig(), None, "cpu")
    assert str(error).partition("\n")[0] in capfd.readouterr().err


def run_follower(requests: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`follow` with the first one's requests, and then "end". Returns those that it received."""
    received = []

    def hear(asked: bytes, most: int) -> bytes:
        name, *arguments = requests.pop(0) if requests else ("end",)
        received.append(name)
        return encode_request(Request(name, tuple(arguments)))

    monkeypatch.setattr(team, "tell_bytes", hear)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    follow()
    return received


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Learner:
    """The learner that a follower makes."""
    learner = make_learner()
    monkeypatch.setattr(team, "_make", lambda plan: learner)
    return learner


@pytest.mark.parametrize(("name", "error"), SHARED)
def test_a_follower_survives_what_fails_in_all(
    made: Learner, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, name, fail(error))
    received = run_follower([("make", None), (name,)], monkeypatch)
    assert received == ["make", name, "end"]


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("error", [FULL, RuntimeError("no kernel")])
def test_a_follower_ends_where_it_fails_alone(
    made: Learner,
    name: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Learner, name, fail(error))
    with pytest.raises(SystemExit) as ended:
        run_follower([("make", None), (name,)], monkeypatch)
    assert ended.value.code == 1
    assert str(error).partition("\n")[0] in capfd.readouterr().err


@pytest.mark.parametrize("error", [DISK, DIFFER, FULL, RuntimeError("no kernel")])
def test_a_follower_that_makes_a_learner(
    first: SharedLearner, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[object] = []
    monkeypatch.setattr(team, "_make", lambda plan, kind: plans.append(plan))
    make_shared(GENESIS, LearnConfig(), None, "cpu")
    monkeypatch.undo()
    monkeypatch.setattr(Learner, "load_weights", fail(error))
    requests = [("make", *plans)]
    if error in (DISK, DIFFER):
        assert run_follower(requests, monkeypatch) == ["make", "end"]
    else:
        with pytest.raises(SystemExit):
            run_follower(requests, monkeypatch)


def test_other_code_ends_all_and_is_said_once_on_a_host(
    first: SharedLearner, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    differs = DisagreementError("process 1 sees code 1, and the first code 2")

    def agree(seen: dict[str, str], fault: str | None) -> None:
        if "code" in seen:
            raise differs

    monkeypatch.setattr(team, "agree", agree)
    for rank, lines in ("0", [f"assay: the team cannot learn: {differs}"]), ("1", []):
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(SystemExit) as ended:
            make_shared(GENESIS, LearnConfig(), None, "cpu")
        assert ended.value.code == 1
        assert capfd.readouterr().err.splitlines() == lines


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["0", "1"])
@pytest.mark.parametrize("where", ["make", "save", "load"])
def test_a_team_ends_where_one_process_fails_alone(
    tmp_path: Path, failing: str, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """And not after days: the other waits for it in a collective, and gives signs of life."""
    with pytest.raises(TeamError, match=r"^process [01] of 2 ended with exit code 1, and so"):
        run_forked_team(2, "tests.training.failing_process", str(tmp_path), failing, where)
    line = f"assay: process {failing} of 2 has failed: CUDA out of memory."
    assert capfd.readouterr().err.splitlines() == [line]
    assert not (tmp_path / "retried").exists()
