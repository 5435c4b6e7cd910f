"""Recipes are read strictly, a mistake in one is told in a line, and a trainer works by them."""

import json
import re
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config, Qwen3Config
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from assay.cli.settings_source import SettingsSource
from assay.environments.problem_file import add_problem_files
from assay.network.toml_settings import TomlError
from assay.protocol.parameters import MAIN_WORK, make_tests
from assay.settings.learning import make_learning
from assay.settings.loading import ConfigError
from assay.settings.sections import ComputeSettings
from assay.subnet.model_numbers import ModelNumbers
from assay.subnet.presets import DEMO_RECIPE, DEMO_WORK, PRESETS
from assay.subnet.recipe import list_recipes, read_recipe, require_architecture
from assay.subnet.recipes import RECIPES
from assay.subnet.window_costs import CARDS
from assay.training import LearnConfig
from tests.commands import run_command
from tests.subnet.conftest import GOOD, MATH, change

pytestmark = pytest.mark.usefixtures("forget_files")

CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_can_be_read_and_its_levels_follow_its_cap(name):
    recipe = read_recipe(name)
    assert recipe == read_recipe(str(RECIPES / f"{name}.toml"))
    rules = recipe.make_rules()
    assert rules.tests.margin_levels == make_tests(rules.tests.margin_cap).margin_levels
    assert rules.work.max_tokens >= recipe.course.completion_tokens
    assert recipe.course.card in CARDS
    make_learning(recipe.trainer)


def test_the_demos_numbers_are_its_recipes():
    recipe = read_recipe(DEMO_RECIPE)
    assert make_learning(recipe.trainer) == LearnConfig(anchor="step")
    assert replace(MAIN_WORK, **recipe.parameters["work"]) == DEMO_WORK == PRESETS["demo"].work
    assert recipe.make_rules().work == DEMO_WORK


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("llama", {"tie_word_embeddings": False}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"tie_word_embeddings": True, "head_dim": 32}),
        ("qwen3", {"tie_word_embeddings": False, "head_dim": 8}),
    ],
)
def test_weights_are_counted_as_the_family_has_them(family, more):
    sizes = {
        "vocab_size": 320,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    } | more
    config = CONFIGS[family](**sizes)
    with torch.device("meta"):
        model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    numbers = ModelNumbers(name="small", model_type=family, **sizes)
    assert numbers.parameters == sum(weight.numel() for weight in model.parameters())


# --- faults are named in one line


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("group_size = 16", "group_sise = 16", "parameters.work.group_sise .*mean 'group_size'"),
        (
            "learning_rate = 2e-6",
            "lerning_rate = 2e-6",
            "trainer.lerning_rate is not a setting: .*'learning_rate'",
        ),
        ("[trainer]", "[trainr]", "trainr is not a setting: did you mean 'trainer'"),
        (
            "[parameters.work]",
            "[parameters.wrk]",
            "parameters.wrk is not a setting: did you mean 'work'",
        ),
        (
            "[parameters.work]",
            "[parameters.start]\nwindow = 1\n[parameters.work]",
            "parameters.start is not a setting",
        ),
        (
            "hidden_size = 896",
            "hiden_size = 896",
            "line [0-9]+: model.hiden_size is not a setting: did you mean 'hidden_s",
        ),
        ('about = "', 'abut = "', "line 2: abut is not a setting: did you mean 'about'"),
        ("vocab_size = 151_936\n", "", "line [0-9]+: model.vocab_size is missing; write a whole"),
        ("num_attention_heads = 14", "num_attention_heads = 15", "_heads: 15 do not divide .* 896"),
        ("num_key_value_heads = 2", "num_key_value_heads = 4", "_heads: 4 do not divide 14 num_a"),
        ("hidden_size = 896", "hidden_size = 14", "model.head_dim: 1 is odd"),
        ("group_size = 16", "group_size = 1", "parameters.work.group_size is 1: "),
        ('ion = "split3"', 'ion = "split2"', 'course.implementation is "split2"; use "fp32-sdpa"'),
        (
            "steps = 200",
            "steps = 200\nlongest_prompt = 9",
            "longest_prompt: 9 is below course.prompt_tokens, the 120 of",
        ),
        ("max_position_embeddings = 32_768", "foo = 1", "config: .* field 'foo'"),
        (
            "max_position_embeddings = 32_768",
            "head_dim = 64",
            "model.config.head_dim belongs under",
        ),
        (
            "max_position_embeddings = 32_768",
            "max_position_embeddings = 700",
            "context is 700 tokens .*: set max_tokens = 444 under .parameters.work. or less",
        ),
        ("trainer_cards = 1", "trainer_cards = 8", "trainer.processes: 1 differ from the 8 of cou"),
        ("epochs = 1", "epochs = 1\nprocesses = 2", "trainer.processes: 2 differ from the 1 of"),
        ("steps = 200", "steps = 200\nspeed = 3", "course.speed is not a setting: there are c"),
        ("completion_tokens = 200", "completion_tokens = 2_000", "tokens: 2000 exceed the 512 of "),
        ("epochs = 1", "epochs = 1\nclip_high = 5.0", "trainer.clip_cap: 4.0 is below 1 . clip_h"),
        (
            "external_groups = 128",
            "external_groups = 0",
            "trainer.external_groups: 0, with local_groups = 0, leaves no group to learn from",
        ),
        ("group_size = 16", "group_size = 70_000", "work: group_size: does not fit 2 bytes"),
        ("group_size = 16", "group_size = 0", r"a size under \[work\] is 0"),
        ("group_size = 16", 'group_size = "16"', "work: group_size: '16' is not an integer"),
        ("levels = [1, 2, 3]", "levels = [1, inf]", "levels.1: inf is neither"),
        (
            "epochs = 1",
            "epochs = 0",
            "line [0-9]+: trainer.epochs is 0; use a whole number from 1 to 64",
        ),
        ("epochs = 1", 'epochs = "1"', 'trainer.epochs is "1"; use a whole number'),
        (
            "epochs = 1",
            "epochs = nan",
            "trainer.epochs: nan is neither text, boolean, number nor list",
        ),
        (
            "epochs = 1",
            "epochs = 2026-01-01",
            "trainer.epochs: 2026-01-01 is neither text, boolean, number nor list",
        ),
        ("epochs = 1", 'epochs = 1\ndir = "here"', "trainer.dir is a folder of one machine"),
        ("epochs = 1", 'epochs = 1\ntracker = "wandb"', "trainer.tracker sends figures to others"),
        (
            "epochs = 1",
            'epochs = 1\noptimizer = "muon"\nlora_rank = 8',
            "trainer.optimizer: muon makes the update of a whole matrix orthogonal",
        ),
        ("epochs = 1", 'epochs = 1\nsft = "no.jsonl"', "trainer.sft, a file of examples, needs "),
        ("epochs = 1", "epochs = 1\nsft_weight = 0.5", "trainer.sft, a file of examples, needs "),
        ("epochs = 1", "epochs = 1\nkl_weight = inf", "trainer.kl_weight: inf is neither "),
        (
            "epochs = 1",
            "epochs = 1\nopen_to_network = true",
            "trainer.local_addr and trainer.open_to_network: a recipe may open no machine",
        ),
        ("num_hidden_layers = 24", "num_hidden_layers = 0", "model.num_hidden_layers is 0; use "),
        (
            'model_type = "qwen2"',
            'model_type = "gpt2"',
            'model.model_type is "gpt2"; use "llama", "qwen2", "qwen3"',
        ),
        ('preset = "main"', 'preset = "mian"', 'preset is "mian"; use "main" or "demo"'),
        (
            "levels = [1, 2, 3]",
            "levels = [1, 99]",
            "levels: gsm does not have all of .*; it has 1, 2",
        ),
        ("levels = [1, 2, 3]", "levels = [2, 1]", "not in order"),
        ('environment = "gsm"', 'environment = "gms"', "there is no environment 'gms'"),
        ('environment = "gsm"', 'environment = "math:SHA256"', "file: describe the file"),
        ("levels = [1, 2, 3]", 'levels = [1]\nfile = "mine"', "file: describe the file"),
        ("[trainer]", "[trainer", "line [0-9]+, column [0-9]+: not TOML: "),
    ],
)
def test_a_recipe_with_a_mistake_names_its_place(write, before, after, said):
    file = write(change(GOOD, before, after))
    with pytest.raises((ConfigError, TomlError), match=said) as raised:
        read_recipe(file)
    assert str(raised.value).startswith(file)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("qwen2.5-1.5b-math", '"math:', '"mth:', "environment: .* 'mth:SHA256' of a file; .*math:"),
        ("qwen2.5-1.5b-math", "SHA256", "SHA25", "file: .* if the environment has SHA256.*:SHA25'"),
        ("qwen2.5-1.5b-math", "SHA256", "SHA256,k=3", "environment: .* no parameter 'k'; it has:"),
        ("qwen2.5-1.5b-math", "[1, 2, 3]", "[0, 2]", r"levels: .* all of \[0, 2\]; it has 1, 2, "),
        ("qwen2.5-1.5b-math", "[1, 2, 3]", "[1, 9]", "levels: .*; it has 1, 2, 3, 4, 5$"),
        ("qwen2.5-1.5b-math", "group_size", "group_sise", "parameters.work.group_sise is not a "),
        ("qwen3-4b-mixture", "chain_sum", "chain_sm", "environment: .*'chain_sm': did you mean 'c"),
        ("qwen3-4b-mixture", "gsm=1", "gms=1", "environment: .*'gms'; there are: abduce, ari"),
        ("qwen3-4b-mixture", "mix,gsm=1", "mix,gsm=0", "environment: mix: gsm = 0 must be an int"),
        ("qwen3-4b-mixture", "mix,gsm", "mix,gsm.k=2,gsm", "environment: .* 'gsm' has no paramet"),
        ("qwen3-4b-mixture", "1_003, 1_004", "1_003, 1_009", "levels: mix,gsm=1.* it has 1001, "),
    ],
)
def test_a_plan_refuses_a_mistake_beside_a_file_that_is_not_there(write, name, before, after, said):
    """A recipe of a file is planned without it, so only names and levels can be checked."""
    file = write(change((RECIPES / f"{name}.toml").read_text(), before, after))
    done = run_command("plan", file)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.search(f"{re.escape(file)}.*{said}", line), line


def test_a_recipe_that_is_not_there_or_no_text_is_told(write, tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean 'qwen2\.5-1\.5b-math'"):
        read_recipe("qwen2.5-1.5-math")
    with pytest.raises(ConfigError, match="shipped are 7b-8-cards, gemma-3-4b-gsm, "):
        read_recipe("nothing-like-it")
    with pytest.raises(TomlError, match="larger than 1 MiB"):
        read_recipe(write(GOOD + "#" * (1 << 20)))
    binary = tmp_path / "own.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(TomlError, match="is not TOML"):
        read_recipe(str(binary))


def test_another_architecture_is_told_by_the_size_that_differs(write, tmp_path):
    recipe = read_recipe("qwen2.5-0.5b-gsm")
    config = recipe.model.model_dump(exclude={"name", "head_dim"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    require_architecture(recipe, tmp_path)
    for name, value in {"num_hidden_layers": 28, "model_type": "qwen3", "head_dim": 32}.items():
        (tmp_path / "config.json").write_text(json.dumps(config | {name: value}))
        with pytest.raises(ConfigError, match=f"architecture.*: {name} is {value} and not"):
            require_architecture(recipe, tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConfigError, match="model_type is None"):
        require_architecture(recipe, tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json "):
        require_architecture(recipe, tmp_path)
    with pytest.raises(ConfigError, match=r"No such file.*Qwen/Qwen2.5-0.5B"):
        require_architecture(recipe, tmp_path / "nowhere")


def test_a_file_of_problems_is_asked_for_and_named_by_its_digest(write, tmp_path):
    recipe = read_recipe(write(MATH))
    with pytest.raises(ConfigError, match=r"Hendrycks.*none is named: name it with --file FILE"):
        recipe.fill_environment()
    rows = [{"problem": f"{n}?", "solution": rf"\boxed{{{n}}}", "level": 1} for n in range(3)]
    for count in (2, 3):
        file = tmp_path / f"{count}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
        add_problem_files([file])
        if count == 2:
            name = recipe.fill_environment()
            assert name.startswith("math:")
            assert len(name) == len("math:") + 64
            with pytest.raises(ConfigError, match=r"math:.* does not have all of .*; it has 1"):
                recipe.require_levels(name)
    with pytest.raises(ConfigError, match="2 such files are named"):
        recipe.fill_environment()


# --- a trainer's settings from a recipe


def test_a_trainer_runs_the_implementation_that_its_recipe_plans_with():
    source = SettingsSource({"compute": {}}, recipe="7b-8-cards")
    assert source.load().compute.implementation == "split3"
    flags = {"compute": {"implementation": "fp32-eager"}}
    found = SettingsSource(flags, recipe="7b-8-cards").load().compute.implementation
    assert found == "fp32-eager"
    plain = SettingsSource({"compute": {}}, recipe=DEMO_RECIPE).load().compute
    assert plain == ComputeSettings()


def test_a_trainer_works_by_a_recipe_and_its_own_flags_win(tmp_path):
    recipe = read_recipe("7b-8-cards").trainer
    flags = {"trainer": {"dir": tmp_path}}
    found = SettingsSource(flags, recipe="7b-8-cards").load().trainer
    assert found == recipe.model_copy(update={"dir": tmp_path})
    file = tmp_path / "own.toml"
    file.write_text("[trainer]\nepochs = 3\n")
    found = SettingsSource(flags, file, recipe="7b-8-cards").load().trainer
    assert (found.epochs, found.learning_rate) == (3, recipe.learning_rate)
