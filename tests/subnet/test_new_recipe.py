"""`assay recipe new`: what it writes is what the other commands take, and what they would refuse is
said at once."""

import csv
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.discovery import DiscoveryError
from assay.environments import problem_file
from assay.environments.registry import count_named_units
from assay.lab.localnet.founding import make_first_checkpoint, shorten_windows
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import DEMO_TIMING, find_parameters_fault, find_scoring_fault
from assay.settings.loading import ConfigError
from assay.subnet.calibration_findings import CalibrationFindings
from assay.subnet.measurements import Measurements
from assay.subnet.new_recipe.making import RecipeRequest, _widen, make_recipe
from assay.subnet.new_recipe.model_section import list_model_entries
from assay.subnet.new_recipe.numbers import (
    choose_levels,
    choose_max_tokens,
    choose_sizes,
    find_nearest,
    list_sizes,
)
from assay.subnet.new_recipe.subject import open_subject
from assay.subnet.new_recipe.writing import Entry, Section, write_recipe
from assay.subnet.presets import PRESETS
from assay.subnet.publish import OwnedSubnet, PreparedNetwork, publish
from assay.subnet.recipe import list_recipes, read_recipe
from assay.subnet.recipes import RECIPES
from assay.subnet.waiting import ignore_report
from assay.training import GENESIS
from tests.absent import has_sandbox
from tests.artifacts.test_discovery import BEACON, LOCATOR, OWNER, TRAINER, Net
from tests.commands import run_command
from tests.subnet.conftest import GOOD, change

pytestmark = pytest.mark.usefixtures("forget_files")

#: Model and trial that take seconds.
FEW = 16


def write_sums(folder: Path, count: int = 60) -> Path:
    file = folder / "sums.csv"
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["question", "answer"])
        rows.writerows([f"What is {n} + {n * n}?", n + n * n] for n in range(count))
    return file


def ask(folder: Path, asked: str, **more: object) -> RecipeRequest:
    named = {"problems": FEW, "ceiling": 24, "out": folder / "own.toml"} | more
    return RecipeRequest(asked, GENESIS, "a model", **named)  # type: ignore[arg-type]


def test_a_file_and_a_model_become_a_recipe_that_a_localnet_takes_as_it_is(tmp_path):
    sums, kept, lines = write_sums(tmp_path), Measurements(tmp_path / "kept"), []
    made = make_recipe(ask(tmp_path, str(sums)), kept=kept)
    text = (tmp_path / "own.toml").read_text()
    recipe = read_recipe(str(tmp_path / "own.toml"))
    assert recipe == made.recipe
    assert recipe.files == ("sums.csv",)
    assert re.fullmatch("math:[0-9a-f]{64}", recipe.environment)
    assert [level for level in recipe.levels if level in made.trial.levels] == [*recipe.levels]
    assert sum(asked for asked, _ in made.trial.levels.values()) == FEW
    assert not made.findings.faults
    # each number under [parameters] has a reason, and the seed is there
    section = tomllib.loads(text)["parameters"]["work"]
    for name in section:
        line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        before = text[: text.index(f"\n{line}")].splitlines()[-1]
        assert "#" in line or before.startswith("# "), name
    assert f"{FEW} problems of seed 0" in text
    # what was measured is not measured again: the same bytes, and a localnet that only reads
    again = make_recipe(ask(tmp_path, str(sums)), lines.append, kept)
    assert (tmp_path / "own.toml").read_text() == text
    assert again.trial.outcomes == made.trial.outcomes
    assert not [line for line in lines if line.startswith(("sampling", "comparing", "measuring"))]
    short = shorten_windows(recipe)
    folder, findings = make_first_checkpoint(short, GENESIS, tmp_path / "genesis", lines.append)
    assert folder == tmp_path / "genesis"  # the shipped checkpoint is of other problems
    assert findings is not None
    assert not findings.faults
    assert run_command("plan", str(tmp_path / "own.toml")).returncode == 0


def test_another_seed_asks_other_problems(tmp_path):
    made = [
        make_recipe(ask(tmp_path, "arithmetic", levels=[2], seed=seed, problems=8)).trial
        for seed in (0, 1)
    ]
    assert made[0].outcomes != made[1].outcomes
    assert {one.level for trial in made for one in trial.outcomes} == {2}


def test_episodes_have_turns_replies_and_a_context(tmp_path):
    made = make_recipe(ask(tmp_path, "guess", ceiling=48, levels=[1], problems=8))
    work = made.recipe.parameters["work"]
    rules = made.recipe.make_rules()
    assert find_parameters_fault(rules) is None
    assert work["turns"] > 1
    assert made.recipe.course.reply_tokens > 0
    longest = max(one.prompt + one.replies for one in made.trial.outcomes)
    assert rules.work.context >= longest + rules.work.max_tokens


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_written(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("name,age\nA,3\nB,4\n")
    request = ask(tmp_path, str(bad), card="H900")
    with pytest.raises(ConfigError) as raised:
        make_recipe(replace(request, model=tmp_path / "nowhere"))
    lines = str(raised.value).splitlines()
    assert "H900" in lines[0]
    assert any("bad.csv" in line for line in lines)
    assert any("nowhere" in line for line in lines)
    assert not (tmp_path / "own.toml").exists()
    with pytest.raises(ConfigError, match=r"--level 9: .* has the levels 1, 2, 3"):
        make_recipe(ask(tmp_path, str(write_sums(tmp_path)), levels=[9]))
    strange = tmp_path / "strange.csv"
    strange.write_text("question,answer\n" + "".join(f"Wie viel ißt {n}?,{n}\n" for n in range(40)))
    with pytest.raises(ConfigError, match="prompts cannot be put to the model"):
        make_recipe(ask(tmp_path, str(strange)))
    long = tmp_path / "long.csv"
    rows = "".join(f"{'1+' * (400 + n)}1=,{n}\n" for n in range(40))
    long.write_text(f"question,answer\n{rows}")
    with pytest.raises(ConfigError, match=r"16 of 16 prompts .* the longest: ") as raised:
        make_recipe(ask(tmp_path, str(long)))
    assert len(str(raised.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bad.csv",
        "long.csv",
        "strange.csv",
        "sums.csv",
    ]


# --- numbers by rule


@pytest.mark.parametrize("card", ["cpu", "H200"])
@pytest.mark.parametrize("preset", PRESETS)
def test_sizes_leave_time_for_their_units_and_for_no_more(card, preset):
    for sizes in list_sizes(card, preset):
        base = PRESETS["demo" if sizes.seconds == 12 else preset]
        work = replace(base.work, valued_groups=sizes.valued_groups, group_size=sizes.group_size)
        assert sizes.valued_groups < sizes.audited_rollouts
        assert find_scoring_fault(sizes.units, base.timing, work) is None
        assert find_scoring_fault(sizes.units + 1, base.timing, work) is not None


def test_a_problem_that_costs_too_much_is_told_what_it_may_cost():
    sizes = list_sizes("cpu", "demo")
    assert sizes[0].units < sizes[1].units < sizes[2].units
    for each in sizes:
        assert choose_sizes(sizes, f"gsm,tool=python,tool_units={each.units}") == each
    dear = f"gsm,tool=python,tool_units={sizes[-1].units + 1}"
    with pytest.raises(ConfigError, match=f"have time for {sizes[-1].units:,} with valued_groups"):
        choose_sizes(sizes, dear)
    assert choose_sizes(sizes, "gsm") == sizes[0]


def test_a_path_may_have_commas(tmp_path):
    file = write_sums(tmp_path).rename(tmp_path / "sums, small.csv")
    subject = open_subject(str(file), None, None, list_sizes("H200", "main"), ignore_report)
    assert list(subject.files) == [file]


def test_a_package_gets_the_units_for_which_a_window_has_time(tmp_path):
    if not has_sandbox():
        pytest.skip("no sandbox: assay sandbox prepare")
    folder = tmp_path / "letters"
    assert run_command("env", "new", "letters", "--dir", str(folder)).returncode == 0
    sizes = list_sizes("cpu", "demo")
    found = open_subject(str(folder / "letters"), None, None, sizes, ignore_report)
    assert found.name.endswith(f",units={sizes[0].units}")
    assert found.sizes == sizes[0]
    assert found.files == [folder / "letters.zip"]
    with pytest.raises(ConfigError, match="the least that are useful"):
        open_subject(f"{folder / 'letters'},units=4999", None, None, sizes, ignore_report)


@pytest.mark.parametrize(
    ("levels", "chosen"),
    [
        ({1: (4, 4), 2: (4, 1), 3: (4, 3), 4: (4, 0)}, [2, 3]),
        ({1: (4, 4), 2: (4, 4), 3: (4, 0)}, [2]),
        ({3: (4, 0), 5: (4, 0)}, [3]),
        ({1: (0, 0), 2: (3, 0)}, [2]),
    ],
)
def test_levels_are_those_that_are_solved_sometimes(levels, chosen):
    assert choose_levels(levels) == chosen


def test_max_tokens_follow_what_ended_unless_much_was_cut():
    assert choose_max_tokens([10] * 63 + [40], 0, 128) == 64  # 1.25 · 40, in 16s
    assert choose_max_tokens([10] * 60, 3, 128) == 16
    assert choose_max_tokens([10] * 60, 4, 128) == 128
    assert choose_max_tokens([], 64, 128) == 128
    assert choose_max_tokens([120], 0, 128) == 128


def make_findings(**given: object) -> CalibrationFindings:
    tests = PRESETS["main"].tests
    rates = tuple(limit // 2 for limit in tests.rate_limits)
    named = {"margin": 1e-6, "beyond_cap": 0.0, "scale": tests.scale_min, "token_seconds": 0.0}
    calibration = Calibration(rates, 1_000)
    whole = {"pair": ("a", "b"), "tests": tests, "calibration": calibration} | named | given
    return CalibrationFindings(**whole)  # type: ignore[arg-type]


def test_tests_are_widened_only_by_what_does_not_hold():
    tests = PRESETS["main"].tests
    wide = make_findings(margin=1e-4)
    assert wide.cap <= _widen(tests, wide).margin_cap < 2 * wide.cap
    assert _widen(tests, make_findings(beyond_cap=1e-3)).margin_cap == 2 * tests.margin_cap
    large = make_findings(scale=2 * tests.scale_max)
    widened = _widen(tests, large)
    assert widened.margin_cap == tests.margin_cap
    assert widened.scale_max >= 2 * large.scale


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_is_the_nearest_to_its_own_model(name):
    recipe = read_recipe(name)
    turns = recipe.parameters.get("work", {}).get("turns", 1)
    _, nearest = find_nearest(recipe.model.parameters, recipe.course.card, turns)
    assert nearest.model.parameters == recipe.model.parameters
    assert (nearest.course.card == "cpu") == (recipe.course.card == "cpu")


def test_a_model_is_stated_so_that_its_weights_are_counted():
    config = json.loads((GENESIS / "config.json").read_text())
    entries, more = list_model_entries("a model", config, 0)
    text = write_recipe([Section("model", entries), Section("model.config", more)])
    stated = tomllib.loads(text)["model"]
    shipped = read_recipe("genesis-arithmetic").model
    read = type(shipped).model_validate(stated)
    assert read.find_fault() is None
    assert (read.parameters, read.shape) == (shipped.parameters, shipped.shape)


VALUES = st.one_of(
    st.integers(-(1 << 62), 1 << 62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.integers(0, 9), max_size=60),
)


@given(st.dictionaries(st.from_regex("[a-z_]{1,9}", fullmatch=True), VALUES, min_size=1), st.text())
def test_what_is_written_is_read_again(values, why):
    entries = [Entry(key, value, why) for key, value in values.items()]
    assert tomllib.loads(write_recipe([Section("part", entries, [why])])) == {"part": values}


# --- the same checks everywhere


def test_a_recipe_with_several_mistakes_has_a_line_for_each(write):
    text = change(GOOD, "completion_tokens = 200", "completion_tokens = 2_000")
    text = change(text, "trainer_cards = 1", "trainer_cards = 8")
    text = change(text, "levels = [1, 2, 3]", "levels = [2, 1]")
    text = change(
        text, "group_size = 16", "group_size = 16\nturns = 4\ncontext = 2_048\nreply_bytes = 64"
    )
    with pytest.raises(ConfigError) as raised:
        read_recipe(write(text))
    said = str(raised.value).splitlines()
    for what in (
        "levels: ",
        "trainer.processes: ",
        "course.completion_tokens: ",
        "reply_tokens is",
    ):
        assert len([line for line in said if what in line]) == 1, what
    assert len(said) == 4


def test_a_recipes_own_file_is_found_beside_it_and_must_be_as_it_was(write, tmp_path, monkeypatch):
    made = make_recipe(ask(tmp_path, str(write_sums(tmp_path)), problems=8))
    recipe = str(tmp_path / "own.toml")
    problem = tmp_path / "sums.csv"
    problem.write_text(problem.read_text() + "What is 1 + 1?,2\n")
    with pytest.raises(ConfigError, match="has changed since; make the recipe anew"):
        read_recipe(recipe)
    problem.unlink()
    monkeypatch.setattr(problem_file, "_known", {})
    alone = read_recipe(recipe)  # as on a machine that only trains
    assert alone == made.recipe
    assert alone.make_rules().work == made.recipe.make_rules().work
    with pytest.raises(ConfigError, match="put it there, or name it with --file"):
        alone.fill_environment()
    with pytest.raises(ConfigError, match="names no file by its SHA-256"):
        read_recipe(
            write(change(GOOD, 'environment = "gsm"', 'environment = "gsm"\nfiles = ["x"]'))
        )
    assert made.recipe.files == ("sums.csv",)


def test_publishing_says_all_faults_before_it_asks(tmp_path):
    net, questions = Net(tmp_path), []
    network = PreparedNetwork(
        TRAINER, BEACON, "gsm", "demo", None, None, ({"work": {"max_tokens": 8}},), GENESIS
    )
    subnet = OwnedSubnet(net.chain, OWNER, net.store, LOCATOR)
    with pytest.raises(DiscoveryError) as raised:
        publish(network, subnet, questions.append)
    assert "could join" in str(raised.value)
    assert "max_tokens" in str(raised.value)
    wrong = replace(network, trainer=OWNER)
    with pytest.raises(DiscoveryError, match=r"\n- trainer and owner share(.|\n)*\n- "):
        publish(wrong, subnet, questions.append)
    assert questions == []
    assert not net.chain.get_commitments(net.chain.get_head())


def test_a_localnet_values_fewer_groups_where_scoring_would_take_too_long(write):
    text = change(
        (RECIPES / "qwen2.5-0.5b-gsm.toml").read_text(),
        '"gsm"',
        '"gsm,tool=python,call_form=hermes,tool_units=200"',
    )
    text = change(
        text, "[parameters.work]", "[parameters.work]\nturns = 2\ncontext = 2_048\nreply_bytes = 64"
    )
    text = change(text, "prompt_tokens = 120", "prompt_tokens = 120\nreply_tokens = 9")
    recipe = read_recipe(write(text))
    own, short = recipe.make_rules(), shorten_windows(recipe).make_rules()
    units = count_named_units(recipe.environment).total()
    assert find_scoring_fault(units, replace(DEMO_TIMING, window_blocks=30), own.work) is not None
    assert find_scoring_fault(units, short.timing, short.work) is None
    assert short.work.valued_groups < own.work.valued_groups
    assert short.work.group_size == own.work.group_size
    assert short.timing.verdict_end == short.timing.window_blocks
