"""A demo of any recipe's subnet."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from assay.lab.demo.run import EPISODES_MINERS, RECIPE_MINERS, Demo, choose_subnet
from assay.settings.loading import ConfigError
from assay.settings.sections import DemoSettings
from assay.subnet.recipe import list_recipes, read_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_is_played_by_its_own_rules_in_short_windows(name):
    own = read_recipe(name).make_rules()
    recipe, cast, _ = choose_subnet(DemoSettings(recipe=name))
    played = recipe.make_rules()
    assert (played.work, played.tests) == (own.work, own.tests)
    assert played.environment == own.environment
    assert played.timing.window_blocks <= 60
    assert played.timing.verdict_end % played.timing.window_blocks == 0
    assert played.timing.tempo % played.timing.window_blocks == 0
    assert cast is (EPISODES_MINERS if own.work.turns > 1 else RECIPE_MINERS)
    assert asdict(played.rewards) == asdict(own.rewards)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recipe": "smollm2-135m-gsm", "episodes": True}, "leave one out"),
        ({"model": "somewhere"}, "--model needs a recipe"),
        ({"recipe": "nix"}, "there is no recipe 'nix'"),
    ],
)
def test_what_does_not_fit_together_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        choose_subnet(DemoSettings(**settings))


def test_a_recipe_needs_its_model(tmp_path):
    settings = DemoSettings(recipe="smollm2-135m-gsm", out=tmp_path)
    with pytest.raises(ConfigError, match="name a folder with HuggingFaceTB/SmolLM2-135M-Instruct"):
        Demo(settings, lambda run: None)


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_a_recipes_subnet_pays_the_honest(tmp_path):
    command = [sys.executable, "-m", "assay", "demo", "--recipe", "genesis-arithmetic", "--json"]
    # an odd number: the last settlement covers a window that the demo does not play
    command += ["--windows", "7", "--problems", "200", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3_000)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    summary = json.loads(done.stdout)
    reasons = {(v["name"], v["reason"]) for w in summary["windows"] for v in w["verdicts"]}
    assert ("honest-1", "ACCEPTED") in reasons
    assert ("cheap-model", "SAMPLING_MISMATCH") in reasons
