"""status.json and `assay status`: where a window is, whether a program lives and keeps up."""

import io
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from rich.console import Console

from assay.artifacts.status.miner import UploadStatus
from assay.artifacts.status.program import CountdownStatus
from assay.artifacts.status.trainer import (
    FiguresStatus,
    GroupsStatus,
    HeldOutStatus,
    PaceStatus,
    PoolStatus,
    StaleAgeStatus,
    StatsStatus,
)
from assay.artifacts.status.validator import LedgerEntryStatus
from assay.cli.program_view import (
    find_lags,
    render_drafting,
    render_head,
    render_program,
    render_speed,
)
from assay.environments.pieces.growth import PoolFigures, measure_pool
from assay.network.evm.contracts import LedgerEntry
from assay.neurons.miner.uploads import Upload
from assay.neurons.program.life import Sign
from assay.neurons.program.loop import claim_folder
from assay.neurons.program.status import describe_countdown
from assay.neurons.trainer.monitor import HeldOutPoint
from assay.protocol.parameters import DEMO_TIMING
from assay.training.figures import GroupFigures
from assay.training.lesson import LearnStats, StaleAge
from assay.training.pace import PaceFigures
from assay.training.watch import WatchedWindow
from tests.commands import run_command
from tests.statuses import VALIDATOR, check_status

START = 7 * DEMO_TIMING.window_blocks


@pytest.mark.parametrize(
    ("after", "phase", "due"),
    [
        (0, "CHALLENGE", "COMMIT"),
        (DEMO_TIMING.commit_offset - 1, "CHALLENGE", "COMMIT"),
        (DEMO_TIMING.commit_offset, "COMMIT", "AUDIT"),
        (DEMO_TIMING.audit_offset, "AUDIT", "SAMPLE"),
        (DEMO_TIMING.sample_offset, "SAMPLE", "FETCH_END"),
        (DEMO_TIMING.fetch_end, "FETCH_END", "MIRROR_END"),
        (DEMO_TIMING.mirror_end, "MIRROR_END", "VERDICT_END"),
        (DEMO_TIMING.verdict_end, "VERDICT_END", None),
    ],
)
def test_a_window_is_between_two_of_its_moments(after: int, phase: str, due: str | None) -> None:
    found = describe_countdown(DEMO_TIMING, 7, START + after)
    assert (found["phase"], found["next"]) == (phase, due)
    if found["block"] is None:
        assert found == CountdownStatus(
            phase=phase, next=None, block=None, blocks=None, seconds=None
        )
    else:
        assert found["blocks"] == found["block"] - START - after > 0
        assert found["seconds"] == found["blocks"] * DEMO_TIMING.slot_ms / 1_000


def test_before_its_first_block_a_window_has_only_its_checkpoint() -> None:
    found = describe_countdown(DEMO_TIMING, 7, START - 1)
    assert (found["phase"], found["next"], found["blocks"]) == ("CHECKPOINT", "CHALLENGE", 1)


def draw(status: dict[str, Any], sign: Sign) -> str:
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as said:
        console.print(render_head(status, sign))
    return said.get()


def test_the_sample_has_the_shape() -> None:
    check_status(VALIDATOR)


@pytest.mark.parametrize(
    ("status", "of"),
    [
        (FiguresStatus, WatchedWindow),
        (GroupsStatus, GroupFigures),
        (HeldOutStatus, HeldOutPoint),
        (LedgerEntryStatus, LedgerEntry),
        (PaceStatus, PaceFigures),
        (PoolStatus, PoolFigures),
        (StaleAgeStatus, StaleAge),
        (StatsStatus, LearnStats),
        (UploadStatus, Upload),
    ],
)
def test_what_is_written_field_by_field_has_the_fields_of_the_status(
    status: type[Any], of: type[Any]
) -> None:
    """And their types, but those that JSON has as others."""
    shown, made = get_type_hints(status), get_type_hints(of)
    assert [name for name in shown if name != "sentence"] == list(made)
    plain = {name: kind for name, kind in made.items() if kind in (int, float, str, bool)}
    assert plain.items() <= shown.items()
    maybe = {name for name, kind in made.items() if type(None) in get_args(kind)}
    assert maybe == {name for name, kind in shown.items() if type(None) in get_args(kind)}


@pytest.mark.parametrize(
    ("state", "held", "age", "said"),
    [
        ("running", True, 3, "running"),
        ("running", None, 3, "running"),
        ("running", True, 300, "busy with one step for 5 min"),
        ("running", False, 2, "NOT RUNNING: it ended unexpectedly 2 s ago"),
        ("running", None, 7_200, "NOT RUNNING, or on another machine: written 2 h ago"),
        ("stopped", False, 200_000, "stopped 2 days ago"),
    ],
)
def test_a_dead_program_is_said_to_be_dead(
    state: str, held: bool | None, age: int, said: str
) -> None:
    assert said in draw(VALIDATOR | {"state": state}, Sign(held, age)).splitlines()[0]


def test_it_says_what_it_is_late_with() -> None:
    window = {"window": 3, "state": "final", "void": None, "members": 2, "verdicts": [{}]}
    row = {"epoch": 5, "state": "due"}
    status = VALIDATOR | {"at": 1_000, "head_at": 500.0, "head": 200}
    late = status | {"windows": [window], "settlements": [row]}
    assert find_lags(late) == [
        "the newest final block is 8 min old",
        "window 3 was not judged in full",
        "the weights of epoch 5 are not sent yet",
    ]
    assert "behind: the newest final block" in draw(late, Sign(True, 1))
    well = status | {"head_at": 990.0, "windows": [window | {"verdicts": [{}, {}]}]}
    assert find_lags(well) == []
    assert "up to date" in draw(well, Sign(True, 1))
    phase = str(well["countdown"]["phase"])
    assert phase in draw(well, Sign(True, 1))
    gone = draw(well | {"state": "stopped"}, Sign(False, 1))
    assert "up to date" not in gone, "blocks go on without it"
    assert phase not in gone


def test_a_validator_says_how_long_the_episodes_are_that_it_judged() -> None:
    def show(**counts: int) -> str:
        told = {f"judged_{name}": {"": float(count)} for name, count in counts.items()}
        console = Console(file=io.StringIO(), width=200)
        with console.capture() as said:
            console.print(render_program(VALIDATOR | {"counts": told}, Sign(True, 1)))
        return said.get()

    means = "2.5 turns and 12 tokens of replies a rollout, on average"
    assert f"episodes judged since the start: {means}" in show(rollouts=8, turns=20, replies=96)
    for counts in ({}, {"rollouts": 8, "turns": 8, "replies": 0}):
        assert "episodes" not in show(**counts)


def test_a_trainer_says_how_diverse_the_pool_of_proposals_is() -> None:
    """Of networks without proposals, and of older programs, it says nothing."""

    def show(**fields: object) -> str:
        console = Console(file=io.StringIO(), width=200)
        status = VALIDATOR | {"program": "trainer", "steps": []} | fields
        with console.capture() as said:
            console.print(render_program(status, Sign(True, 1)))
        return said.get()

    words = "pool: 0 proposals of 0 shapes, 0 of the most frequent"
    assert words in show(pool=measure_pool(b"").to_json())
    assert "pool" not in show(pool=None)
    assert "pool" not in show()


def test_a_folder_whose_program_was_killed_says_so(tmp_path: Path) -> None:
    def ask(*options: str) -> str:
        return run_command("status", "--dir", tmp_path, *options).stdout

    with ExitStack() as stack:
        stack.enter_context(claim_folder(tmp_path, "validator"))
        (tmp_path / "status.json").write_text(json.dumps(VALIDATOR))
        assert "busy with one step" in ask()
    assert "NOT RUNNING" in ask()  # nobody holds the folder's lock any more
    assert json.loads(ask("--json")) == VALIDATOR


def test_what_runs_here_is_found(tmp_path: Path) -> None:
    """Without flags: all that run, in the usual folders and a localnet's; else the last that
    did."""

    def ask() -> tuple[str, dict[str, Any]]:
        shown = run_command("status", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout, json.loads(run_command("status", "--json", cwd=tmp_path).stdout)

    none = run_command("status", cwd=tmp_path)
    assert (none.returncode, none.stderr.count("\n")) == (2, 1)
    assert "start `assay demo`" in none.stderr
    inside, alone, other = "assay-localnet/validator", "assay-validate", "assay-train"
    with ExitStack() as stack:
        for at, name in enumerate((inside, alone, other)):
            folder = tmp_path / name
            folder.mkdir(parents=True)
            (folder / "status.json").write_text(json.dumps(VALIDATOR | {"at": at}))
            if name != other:
                stack.enter_context(claim_folder(folder, "validator"))
        drawn, document = ask()
        assert document == {
            "localnet": None,
            "runs": {alone: VALIDATOR | {"at": 1}, inside: VALIDATOR | {"at": 0}},
        }
        assert re.findall(r"^assay-.*", drawn, re.MULTILINE) == [alone, inside]
    drawn, document = ask()
    assert [*document["runs"]] == [other]
    assert "NOT RUNNING" in drawn


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"program": "x"}', "[" * 100_000])
def test_a_damaged_status_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    done = run_command("status", "--dir", tmp_path)
    assert done.returncode == 2
    assert "damaged" in done.stderr


def test_incompatible_options_are_named(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps(VALIDATOR))
    for options, words in (
        (["--hotkey", "5x"], "--record"),
        (["--record", tmp_path, "--hotkey", "5x"], "--hotkey"),
        (["--record", tmp_path], "no record"),
        (["--record", tmp_path / "nowhere"], "not a folder"),
        (["--json"], "--watch"),
        ([], "terminal"),
    ):
        done = run_command("status", "--dir", tmp_path, "--watch", *options)
        assert done.returncode == 2
        assert words in done.stderr


def test_how_many_groups_fit_into_a_window() -> None:
    speed = {
        "step": 2,
        "made": 2,
        "seconds": 30.0,
        "tokens_per_second": 51.25,
        "window_seconds": 240.0,
        "upload_seconds": 2.0,
        "fits": 15,
    }
    fit = "about 15 groups fit into the 240 s of a window at 51.2 tokens a second"
    assert [str(line) for line in render_speed(speed)] == [fit]
    cut = f"{fit}; the newest step was cut off with 1 of 2 groups"
    assert [str(line) for line in render_speed(speed | {"made": 1})] == [cut]
    none = speed | {"made": 0, "fits": None, "tokens_per_second": None}
    assert "no group was finished yet in the 240 s of a window" in str(render_speed(none)[0])
    assert render_speed(None) == []


def test_the_cost_of_drafting_and_the_drafting_servers() -> None:
    step = {
        "tokens": 3_000,
        "seconds": 2.0,
        "kept": 0.957,
        "ahead": 32,
        "drafting_seconds": 1.8,
        "reading_seconds": 1.5,
    }
    engines = [
        {"url": "http://127.0.0.1:8000", "state": "drafting", "lack": None},
        {"url": "http://127.0.0.1:8001", "state": "left", "lack": "it does not answer in time"},
    ]
    lines = [str(line) for line in render_drafting({"drafting": step, "engines": engines})]
    assert lines == [
        "1,500 tokens a second, 95.7% of drafts kept, drafted 32 tokens ahead: drafts took 1.8 s, "
        "reading them 1.5 s, of 2.0 s",
        "engine http://127.0.0.1:8000: drafting",
        "engine http://127.0.0.1:8001: left: it does not answer in time",
    ]
    episodes = step | {"rollouts": 16, "turns": 16, "replies": 0}
    assert len(render_drafting({"drafting": episodes, "engines": []})) == 1, "of one turn"
    episodes |= {"turns": 54, "replies": 340}
    assert str(render_drafting({"drafting": episodes, "engines": []})[1]) == (
        "episodes: 3.4 turns and 21 tokens of replies a rollout, on average"
    )
    broken = render_drafting({"drafting": episodes | {"broken": 3}, "engines": []})
    assert str(broken[1]).endswith(" on average; the sandbox ended 3 of 16")
    alone = render_drafting({"drafting": step | {"kept": None, "ahead": None}, "engines": []})
    assert str(alone[0]).startswith("1,500 tokens a second: drafts took")
    assert render_drafting({}) == render_drafting({"drafting": None, "engines": []}) == []
