"""Commands' output for people: whole figures, on a narrow terminal and without one."""

import re
from io import StringIO

import pytest
from rich.console import Console

from assay.cli import console
from assay.cli.checks_view import render_checks
from assay.cli.console import FIGURES, open_console
from assay.cli.demo_view import count_missed
from assay.lab.demo.view import plot_reward, render_summary
from assay.neurons.preflight.check_results import CheckState, PreflightCheck
from tests.charts.pictures import read_texts

SCORES = (11_058, 12_276, 12_534, 11_046)


@pytest.fixture
def summary():
    reasons = {
        "honest-1": ("honest", "ACCEPTED"),
        "honest-2": ("honest", "NO_COMMITMENT"),
        "best-of-seeds": ("cheat", "SAMPLING_MISMATCH"),
        "late-cheat": ("cheat", "NO_COMMITMENT"),
    }
    verdicts = [{"name": n, "role": role, "reason": why} for n, (role, why) in reasons.items()]
    scores = [dict.fromkeys(reasons, score) for score in SCORES]
    return {
        "windows": [{"window": w, "verdicts": verdicts} for w in range(5, 13)],
        "settlements": [
            {"windows": [w, w + 1], "scores": score, "incentives": dict.fromkeys(reasons, 1)}
            for w, score in zip(range(5, 13, 2), scores, strict=True)
        ],
        "steps": [{"window": 5, "rewards": [400_000, 500_000]}],
        "gate": None,
        "accuracy": {
            "problems": 1_500,
            "before": 0.37,
            "before_interval95": [0.35, 0.39],
            "after": 0.63,
            "after_interval95": [0.61, 0.65],
        },
        "episode": None,
        "promises_broken": [],
        "seconds": 60.0,
        "peak_rss_mib": 1_000,
    }


def draw(drawn, width):
    text = StringIO()
    Console(width=width, file=text).print(drawn)
    return text.getvalue()


def test_figures_of_a_demo_are_whole_on_a_usual_terminal(summary):
    shown = draw(render_summary(summary), FIGURES)
    for figure in ("9–10", "11–12", "SAMPLING_MISMATCH", *(f"{score:,}" for score in SCORES)):
        assert figure in shown
    assert "…" not in shown


@pytest.mark.parametrize(("low", "is_said"), [(0.61, True), (0.39, False), (0.30, False)])
def test_a_demo_says_that_its_model_got_better_where_it_did(summary, low, is_said):
    summary["accuracy"]["after_interval95"] = [low, 0.65]
    shown = draw(render_summary(summary), FIGURES)
    assert "Every cheat earned 0, the chain paid every honest miner" in shown
    assert ("the model got better" in shown) is is_said


def test_a_demo_with_a_gate_says_what_its_checkpoints_have_shown(summary):
    assert "new problems" not in draw(render_summary(summary), FIGURES)
    said = "checkpoint 4 solves 3.1 points more of 16 new problems than the first checkpoint"
    summary["gate"] = {"gain_sentence": said}
    assert f"on new problems: {said}" in " ".join(draw(render_summary(summary), 200).split())


def test_an_episode_of_a_demo_is_shown_turn_by_turn(summary):
    turns = [{"turn": "4", "reply": "higher\n"}, {"turn": "7\x1b[2J", "reply": ""}]
    summary["episode"] = {"question": "Guess.\n", "turns": turns, "end": "it had its turns"}
    shown = draw(render_summary(summary), FIGURES)
    assert re.search(r"  Guess\.\s+> 4\s+higher\s+> 7\?\[2J\s+it had its turns", shown)


def test_long_cells_are_broken_and_not_cut():
    path = "/srv/" + "a-long-name/" * 12 + "coldkeypub.txt"
    shown = draw(render_checks([PreflightCheck("wallet", CheckState.FAIL, path, "make it")]), 60)
    assert path in re.sub(r"\s", "", shown)


def test_without_a_terminal_a_row_is_a_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    words = "a sentence that goes on " * 9 + "and ends"
    open_console().print(render_checks([PreflightCheck("chain", CheckState.OK, words, "")]))
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("columns", "width"), [(60, FIGURES), (120, 120)])
def test_a_narrow_terminal_does_not_cut_figures(monkeypatch, columns, width):
    made = Console(width=columns, force_terminal=True)
    monkeypatch.setattr(console, "Console", lambda **_: made)
    assert open_console(FIGURES).width == width


def test_only_honest_miners_are_counted_as_late(summary):
    assert count_missed(summary) == 8


def test_both_kinds_of_points_are_explained_beside_the_picture(tmp_path, summary):
    (tmp_path / "reward.svg").write_text(plot_reward(summary))
    texts = read_texts(tmp_path / "reward.svg")
    assert any(text.startswith("reward of the accepted groups") for text in texts)
    assert any(text.startswith("held-out accuracy before and after") for text in texts)
    for when in ("before", "after"):
        assert f"{100 * summary['accuracy'][when]:.1f} %" in texts


def test_unchecked_parts_are_named_once():
    names, remedy = ("clock", "relays", "beacon"), "fix the other problems, then check again"
    hidden = [PreflightCheck(name, CheckState.WARN, "not checked", remedy) for name in names]
    shown = draw(
        render_checks([PreflightCheck("chain", CheckState.FAIL, "gone", "mend it"), *hidden]), 80
    )
    assert shown.count(remedy) == 1
    assert all(name in shown for name in names)
