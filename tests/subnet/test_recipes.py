"""Recipes are read strictly, and what they say of a window is arithmetic that can be followed."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from typing import get_args

import pytest
import torch
from transformers import LlamaConfig, Qwen2Config, Qwen3Config
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from assay.artifacts.checkpoints.checkpoint_folder import CHECKPOINTS_KEPT
from assay.cli.options import SettingsSource
from assay.cli.plan import make_plan
from assay.cli.preflight.memory import estimate_memory
from assay.environments import add_problem_files, problem_file
from assay.inference.architecture import FAMILIES
from assay.inference.placing.model_sizes import LEARNED_LOGITS_MAX, measure_shape
from assay.network.toml_settings import TomlError
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import ComputeSettings, TrainerSettings
from assay.neurons.trainer.trainer_setup import make_learning
from assay.protocol.parameters import MAIN_TIMING, MAIN_WORK, make_tests
from assay.recipes import RECIPES
from assay.subnet.presets import DEMO_RECIPE, DEMO_WORK, PRESETS
from assay.subnet.recipes import ModelNumbers, list_recipes, read_recipe, require_architecture
from assay.subnet.window_costs import (
    CARDS,
    SUSTAINED,
    Card,
    compute_draft_seconds,
    compute_keep_seconds,
    compute_learn_seconds,
    compute_miner_cost,
    compute_read_seconds,
    compute_trainer_bytes,
    compute_trainer_cost,
    compute_validator_cost,
)
from assay.training import LOGITS_MAX, LearnConfig
from tests.commands import run_command

GOOD = (RECIPES / "qwen2.5-0.5b-gsm.toml").read_text()
MATH = (RECIPES / "qwen2.5-1.5b-math.toml").read_text()
CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


@pytest.fixture(autouse=True)
def forget_files(monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "own.toml"
        file.write_text(text)
        return str(file)

    return write


def change(text, before, after):
    assert text.count(before) >= 1, before
    return text.replace(before, after, 1)


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_can_be_read_and_its_levels_follow_its_cap(name):
    recipe = read_recipe(name)
    assert recipe == read_recipe(str(RECIPES / f"{name}.toml"))
    rules = recipe.make_rules("arithmetic" if recipe.file else None)
    assert rules.tests.margin_levels == make_tests(rules.tests.margin_cap).margin_levels
    assert rules.work.max_tokens >= recipe.course.completion_tokens
    assert recipe.course.card in CARDS
    make_learning(recipe.trainer)


def test_the_demos_numbers_are_its_recipes():
    recipe = read_recipe(DEMO_RECIPE)
    assert make_learning(recipe.trainer) == LearnConfig()
    assert replace(MAIN_WORK, **recipe.parameters["work"]) == DEMO_WORK == PRESETS["demo"].work
    assert recipe.make_rules().work == DEMO_WORK


def test_families_are_those_that_the_house_can_load():
    assert get_args(ModelNumbers.model_fields["model_type"].annotation) == FAMILIES


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


# --- what is wrong is told in one line


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("group_size = 16", "group_sise = 16", "parameters.work.group_sise .*mean 'group_size'"),
        (
            "learning_rate = 2e-6",
            "lerning_rate = 2e-6",
            "trainer.lerning_rate is no setting: .*'learning_rate'",
        ),
        ("[trainer]", "[trainr]", "trainr is no setting: did you mean 'trainer'"),
        (
            "[parameters.work]",
            "[parameters.wrk]",
            "parameters.wrk is no setting: did you mean 'work'",
        ),
        (
            "[parameters.work]",
            "[parameters.start]\nwindow = 1\n[parameters.work]",
            "parameters.start is no setting",
        ),
        (
            "hidden_size = 896",
            "hiden_size = 896",
            "line [0-9]+: model.hiden_size is no setting: did you mean 'hidden_s",
        ),
        ('about = "', 'abut = "', "line 2: abut is no setting: did you mean 'about'"),
        ("vocab_size = 151_936\n", "", "line [0-9]+: model.vocab_size is missing; write a whole"),
        ("num_attention_heads = 14", "num_attention_heads = 15", "_heads: 15 do not divide .* 896"),
        ("num_key_value_heads = 2", "num_key_value_heads = 4", "_heads: 4 do not divide 14 num_a"),
        ("hidden_size = 896", "hidden_size = 14", "model.head_dim: 1 is odd"),
        ("group_size = 16", "group_size = 1", "parameters.work.group_size is 1: "),
        ('ion = "split3"', 'ion = "split2"', 'course.implementation is "split2"; use "fp32-sdpa"'),
        ("trainer_cards = 1", "trainer_cards = 8", "trainer.processes: 1 differ from the 8 of cou"),
        ("epochs = 1", "epochs = 1\nprocesses = 2", "trainer.processes: 2 differ from the 1 of"),
        ("steps = 200", "steps = 200\nspeed = 3", "course.speed is no setting: there are card, "),
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
        ("num_hidden_layers = 24", "num_hidden_layers = 0", "model.num_hidden_layers is 0; use "),
        (
            'model_type = "qwen2"',
            'model_type = "gpt2"',
            'model.model_type is "gpt2"; use "llama", "qwen2" or',
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
        ("qwen2.5-1.5b-math", "group_size", "group_sise", "parameters.work.group_sise is no setti"),
        ("qwen3-4b-mixture", "chain_sum", "chain_sm", "environment: .*'chain_sm': did you mean 'c"),
        ("qwen3-4b-mixture", "gsm=1", "gms=1", "environment: .*'gms'; there are: arithmetic, "),
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
    with pytest.raises(ConfigError, match="shipped are 7b-8-cards, genesis-arithmetic, "):
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


# --- what a window takes

PLAIN = ModelNumbers(
    name="plain",
    model_type="llama",
    vocab_size=1_000,
    hidden_size=100,
    intermediate_size=300,
    num_hidden_layers=10,
    num_attention_heads=10,
    num_key_value_heads=5,
    tie_word_embeddings=False,
)
#: A card of round numbers.
ROUND = Card("round", 1e9, 1e8, 1e9, 1e6, "made up")
LENGTHS = read_recipe("qwen2.5-0.5b-gsm").course.lengths


def test_seconds_are_products_over_rates():
    """By hand: ten layers of 100 · (20 + 10) · 10 + 3 · 100 · 300, and 100 · 1,000."""
    weights = 10 * (100 * 30 * 10 + 3 * 100 * 300) + 100 * 1_000
    assert PLAIN.products == weights == 1_300_000
    context = LENGTHS.prompt + LENGTHS.completion / 2
    scores = 4 * 10 * 100 * context / 1e8
    read = 7 * (6 * weights / 1e9 + scores + 12 * 1_000 / 1e6) / SUSTAINED
    assert compute_read_seconds(PLAIN, ROUND, "split3", LENGTHS, 7) == pytest.approx(read)
    drawn = 200 * 2 * weights + 3 * 200 * 4 * (2 * 10 * 5 * 10) * context
    drafted = compute_draft_seconds(PLAIN, ROUND, "split3", LENGTHS, 3)
    assert drafted == pytest.approx(drawn / 1e6 / SUSTAINED)
    read = 7 * (2 * weights / 1e8 + scores + 12 * 1_000 / 1e6) / SUSTAINED
    assert compute_read_seconds(PLAIN, ROUND, "fp32-sdpa", LENGTHS, 7) == pytest.approx(read)
    settings = TrainerSettings(precision="bfloat16", recompute=True)
    learned = 7 * 4 * (2 * weights / 1e9 + scores) / SUSTAINED
    assert compute_learn_seconds(PLAIN, ROUND, LENGTHS, 7, settings) == pytest.approx(learned)
    plain = compute_learn_seconds(PLAIN, ROUND, LENGTHS, 7, TrainerSettings(precision="float32"))
    assert plain == pytest.approx(7 * 3 * (2 * weights / 1e8 + scores) / SUSTAINED)


def test_a_window_grows_with_miners_and_shrinks_with_cards():
    recipe = read_recipe("7b-8-cards")
    rules, card = recipe.make_rules("arithmetic"), CARDS["H100"]
    miner = compute_miner_cost(recipe, rules, card)
    assert miner.groups == rules.work.group_cap
    slow = compute_miner_cost(recipe, rules, replace(card, bf16=card.bf16 / 100, bandwidth=1e11))
    assert 0 <= slow.groups < miner.groups
    one, four = (compute_validator_cost(recipe, rules, card, n) for n in (1, 4))
    assert four.tokens == 4 * one.tokens == 4 * 16 * (130 + 700)
    assert four.seconds == pytest.approx(4 * one.seconds)
    team = compute_trainer_cost(recipe, rules, card, 256)
    assert team.stored - one.stored == 3 * 12 * recipe.model.parameters
    course = recipe.course.model_copy(update={"trainer_cards": 1})
    alone = compute_trainer_cost(recipe.model_copy(update={"course": course}), rules, card, 256)
    assert alone.stored == team.stored - 12 * recipe.model.parameters
    assert alone.seconds > team.seconds
    assert alone.tokens == team.tokens == (256 + 128) * (130 + 16 * 700)


def test_what_is_kept_grows_with_weights_and_a_teams_is_written_twice():
    """By hand, of 7,615,616,512 weights: 12 bytes of state and 2 of a checkpoint are hashed; a
    team's state is written, read and written."""
    recipe = read_recipe("7b-8-cards")
    weights = recipe.model.parameters
    assert weights == 7_615_616_512
    seconds = 14 * weights / 1.4e9 + (3 * 12 + 2) * weights / 3e9
    assert compute_keep_seconds(recipe) == pytest.approx(seconds)
    course = recipe.course.model_copy(update={"trainer_cards": 1})
    one = recipe.model_copy(update={"course": course})
    alone = 14 * weights / 1.4e9 + (12 + 2) * weights / 3e9
    assert compute_keep_seconds(one) == pytest.approx(alone)
    trainer = recipe.trainer.model_copy(update={"lora_rank": 8})
    factors = one.model_copy(update={"trainer": trainer})
    assert compute_keep_seconds(factors) == pytest.approx(6 * weights * (1 / 1.4e9 + 1 / 3e9))
    checkpoints = (CHECKPOINTS_KEPT + 2) * 2 * weights
    assert compute_trainer_bytes(recipe) == checkpoints + 3 * 12 * weights
    trainer = recipe.trainer.model_copy(update={"steps_kept": 3})
    more = recipe.model_copy(update={"trainer": trainer})
    assert compute_trainer_bytes(more) == checkpoints + 5 * 12 * weights


def test_a_held_out_problem_is_drawn_twice():
    recipe = read_recipe("qwen2.5-0.5b-gsm")
    rules, card = recipe.make_rules(), CARDS["H100"]

    def draw(problems):
        trainer = recipe.trainer.model_copy(update={"problems": problems})
        changed = recipe.model_copy(update={"trainer": trainer})
        return compute_trainer_cost(changed, rules, card, 1).seconds

    drawn = compute_draft_seconds(recipe.model, card, "split3", LENGTHS, 1_024)
    assert draw(512) - draw(0) == pytest.approx(drawn)


def test_a_teams_card_holds_embeddings_and_head_whole():
    """torch's FSDP2 keeps what no layer holds from the way there to its gradients: 4 bytes each."""
    recipe = read_recipe("7b-8-cards")
    shape = measure_shape(recipe.model, recipe.model.parameters)
    assert shape.tables == 2 * 152_064 * 3_584
    tied = recipe.model.model_copy(update={"tie_word_embeddings": True})
    assert measure_shape(tied, 1).tables == 152_064 * 3_584

    def estimate(cards, **learning):
        learning = LearnConfig(**learning)
        return estimate_memory("trainer", shape, MAIN_WORK, learning=learning, cards=cards)

    weights = recipe.model.parameters
    assert estimate(1) - estimate(8) == 14 * weights - 8 * shape.tables
    assert estimate(1, lora_rank=8) - estimate(8, lora_rank=8) == 7 * weights - 4 * shape.tables


def test_what_is_offloaded_is_not_on_the_card_but_in_the_host():
    """By hand: 16 bytes a weight leave the GPU; 8 come back for each weight of embeddings and head
    and of two of 28 layers."""
    recipe = read_recipe("7b-8-cards")
    weights = recipe.model.parameters
    shape = measure_shape(recipe.model, weights)
    layer = 3_584 * (28 + 28 + 4 + 4) * 128 + 3 * 3_584 * 18_944 + 2 * 3_584 + (28 + 8) * 128
    assert layer <= shape.block <= layer + 3_584

    def plan(cards, card="H200", **changes):
        course = recipe.course.model_copy(update={"trainer_cards": cards})
        trainer = recipe.trainer.model_copy(update={"processes": cards} | changes)
        changed = recipe.model_copy(update={"course": course, "trainer": trainer})
        return make_plan(changed, CARDS[card], 8)

    for cards in (1, 8):
        whole, moved = (plan(cards, offload=offload).roles[-1] for offload in (False, True))
        held = 16 * weights // cards + (8 * shape.tables if cards > 1 else 0)
        assert whole.memory - moved.memory == held - 8 * (shape.tables + 2 * shape.block)
        assert (whole.offloaded, moved.offloaded) == (0, 16 * weights)
    assert not plan(1).fits
    assert plan(1, offload=True).roles[-1].fits_memory
    factors = plan(1, offload=True, lora_rank=8).roles[-1]
    assert factors.offloaded == 8 * weights
    assert moved.memory - factors.memory == 4 * (shape.tables + 2 * shape.block)
    alone = plan(1, "cpu", offload=True).roles[-1]
    assert alone.offloaded == 0
    assert alone.memory > 16 * weights


def test_a_plan_of_an_offloading_trainer_says_what_the_host_holds(write):
    file = write(change(GOOD, "recompute = true", "recompute = true\noffload = true"))
    shown = run_command("plan", file)
    assert shown.returncode == 0
    assert "offload: the trainer's weights, gradients and moments are 7.4 GiB of" in shown.stdout
    assert "offload" not in run_command("plan", "qwen2.5-0.5b-gsm").stdout


def test_a_plan_is_printed_for_people_and_as_json():
    done = run_command(
        "plan", "qwen2.5-1.5b-math", "--miners", "4", "--card", "a100-80gb", "--json"
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["miners"], plan["card"]["name"], plan["fits"]) == (4, "A100-80GB", True)
    assert not plan["measured"]
    assert plan["course"]["implementation"] == "split3"
    assert plan["hours"] == pytest.approx(300 * plan["step_seconds"] / 3_600)
    assert list(plan["roles"]) == ["miner", "validator", "trainer"]
    given = tomllib.loads(MATH)
    assert plan["course"] == given["course"]
    assert given["model"].items() <= plan["model"].items()
    assert given["parameters"]["work"].items() <= plan["work"].items()
    assert plan["timing"] == asdict(MAIN_TIMING)
    assert plan["holds"]
    assert plan["roles"]["trainer"]["cost"]["stored"] > plan["roles"]["miner"]["cost"]["stored"]
    assert plan["trainer"]["external_groups"] == given["trainer"]["external_groups"]
    shown = run_command("plan", "qwen2.5-1.5b-math")
    assert shown.returncode == 0
    assert "computed, not measured: 60% of the data sheet of H100" in shown.stdout
    assert "disk" in shown.stdout
    assert "that all programs run split3: start them with --implementation split3" in shown.stdout
    assert "are wrong for models" not in shown.stdout
    shown = run_command("plan", "genesis-arithmetic")
    assert "are wrong for models under 50 M weights" in shown.stdout


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_fits(name):
    recipe = read_recipe(name)
    plan = make_plan(recipe, CARDS[recipe.course.card], recipe.course.miners)
    assert plan.fits


def test_a_plan_loads_no_torch():
    """It is arithmetic: torch takes seconds to load."""
    script = (
        "import sys\n"
        "from assay.cli.entry import main\n"
        "sys.argv[1:] = ['plan', 'qwen2.5-1.5b-math', '--miners', '4', '--card', 'H100']\n"
        "try:\n    sys.exit(main())\n"
        "finally:\n    print({'torch', 'transformers'} & sys.modules.keys(), file=sys.stderr)\n"
    )
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (0, "set()\n")
    assert "hours" in done.stdout


def test_a_plan_counts_the_logits_that_a_learner_computes_at_once():
    assert LEARNED_LOGITS_MAX == LOGITS_MAX


def test_a_plan_that_does_not_fit_is_a_finding():
    done = run_command("plan", "7b-8-cards", "--card", "RTX 4090", "--json")
    assert done.returncode == 1
    roles = json.loads(done.stdout)["roles"]
    assert not any(role["fits_memory"] for role in roles.values())
    assert roles["trainer"]["cards"] == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("7b-9-cards",), "did you mean '7b-8-cards'?"),
        (("7b-8-cards", "--card", "H300"), "'H300' is not a GPU"),
        (("7b-8-cards", "--miners", "0"), "--miners"),
    ],
)
def test_a_plan_of_nothing_is_refused_in_a_line(words, said):
    done = run_command("plan", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_is_for_the_implementation_that_it_names():
    """fp32 needs 4 bytes of a weight, of two checkpoints, and an H100's fp32 is 14.8 times slower
    than its bf16, of which `split3` takes three products."""
    words = ("plan", "qwen2.5-1.5b-math", "--implementation", "fp32-sdpa")
    shown = run_command(*words)
    assert "that all programs run fp32-sdpa: start them with" in shown.stdout
    split, plain = (
        json.loads(run_command(*each, "--json").stdout)["roles"]["validator"]
        for each in (words[:2], words)
    )
    recipe = read_recipe("qwen2.5-1.5b-math")
    assert plain["memory"] - split["memory"] == 2 * 2 * recipe.model.parameters
    slower = plain["cost"]["seconds"] / split["cost"]["seconds"]
    assert 3 < slower < 989 / 67 / 3
    done = run_command("plan", "qwen2.5-1.5b-math", "--implementation", "split")
    assert done.returncode == 2
    assert "'split3'" in done.stderr


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
