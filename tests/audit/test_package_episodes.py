"""A network of episodes in a stranger's worlds: its miner, two forgers and another auditor."""

import pytest

from assay.environments import problem_file
from tests.absent import has_sandbox
from tests.audit.audited import HOTKEYS, read_window
from tests.audit.episodes import FORGED, play_episodes
from tests.environments.archive_files import add_file, write_package

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

#: A number is guessed as in `guess`, whose replies the forgers of episodes expect.
WORLD = """
LEVELS = tuple(range(1, 9))
TURNS = 6

def make_problem(draw, level):
    return f"Find a number below {10 * level}.", draw(10 * level)

def begin(task):
    return task, None

def step(state, turn):
    words = turn.split()
    guess = int(words[-1]) if words and words[-1].isascii() and words[-1].isdigit() else -1
    if guess == state[0]:
        return (state[0], guess), None
    return (state[0], guess), "higher\\n" if guess < state[0] else "lower\\n"

def score(state):
    return state[0] == state[1]

def solve(task):
    return [str(task)]

def list_wrong(task):
    return [[str(task + 1)]]
"""


def test_episodes_in_a_strangers_world_are_mined_judged_and_audited(tmp_path, monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})
    name = add_file(write_package(tmp_path, WORLD))
    network = play_episodes(tmp_path, f"{name},units=80")
    rows = {row.hotkey: row.reason for row in read_window(network.records, 0).members}
    assert {name: rows[HOTKEYS[name]] for name in FORGED} == FORGED
    assert network.export(tmp_path / "bundle").matched
