"""The arithmetic of a recipe's plan for a window can be followed."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from assay.artifacts.checkpoints.folder import CHECKPOINTS_KEPT
from assay.cli.plan_view import render_plan
from assay.inference.attention import BLOCK
from assay.inference.placing.model_sizes import LEARNED_LOGITS_MAX, measure_shape
from assay.protocol.parameters import MAIN_TIMING, MAIN_WORK
from assay.session.memory import MASK_FLOATS, PROMPT, estimate_height
from assay.settings.loading import ConfigError
from assay.settings.sections import TrainerSettings
from assay.subnet.model_numbers import ModelNumbers
from assay.subnet.recipe import list_recipes, read_recipe
from assay.subnet.window_costs import (
    CARDS,
    LEAST_WEIGHTS,
    SUSTAINED,
    Card,
    SheetPace,
    compute_draft_seconds,
    compute_keep_seconds,
    compute_late_share,
    compute_learn_seconds,
    compute_miner_cost,
    compute_read_seconds,
    compute_trainer_bytes,
    compute_trainer_cost,
    compute_validator_cost,
)
from assay.subnet.window_plan import make_plan
from assay.training import LOGITS_MAX, LearnConfig
from tests.absent import has_sandbox
from tests.commands import run_command
from tests.missing_packages import hide_packages
from tests.subnet.conftest import GOOD, MATH, change

pytestmark = pytest.mark.usefixtures("forget_files")

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


def test_a_hybrids_rows_read_and_write_their_states():
    """Ten layers, two of attention: by hand, keys of two, and in eight 4 heads of 8 · 16 numbers
    and three inputs of a convolution of 2 · 2 · 8 + 4 · 16 channels."""
    sizes = {
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_value_head_dim": 16,
        "layer_types": ["linear_attention"] * 8 + ["full_attention"] * 2,
    }
    fields = PLAIN.model_dump() | {"model_type": "qwen3_5_text", "head_dim": 10, "config": sizes}
    hybrid = ModelNumbers(**fields)
    state = 8 * (4 * 8 * 16 + 3 * (2 * 2 * 8 + 4 * 16))
    assert (hybrid.shape.state, hybrid.shape.cached) == (state, 2 * 2 * 5 * 10)
    context = LENGTHS.prompt + LENGTHS.completion / 2
    kept = 4 * (2 * 2 * 5 * 10 * context + 2 * state)
    drawn = 200 * 2 * hybrid.products + 3 * 200 * kept
    drafted = compute_draft_seconds(hybrid, ROUND, "split3", LENGTHS, 3)
    assert drafted == pytest.approx(drawn / 1e6 / SUSTAINED)


def test_a_mixtures_rows_read_all_experts_and_a_token_is_multiplied_by_its_own():
    """Ten layers: by hand, attention, a router and 8 experts of three matrices, of which 2 count
    for a token."""
    routed = {"moe_intermediate_size": 20, "num_experts": 8, "num_experts_per_tok": 2}
    fields = PLAIN.model_dump() | {"model_type": "qwen3_moe", "head_dim": 10, "config": routed}
    mixture = ModelNumbers(**fields)
    rest, expert = 10 * (100 * 30 * 10 + 8 * 100) + 100 * 1_000, 10 * 3 * 100 * 20
    assert (mixture.products, mixture.read) == (rest + 2 * expert, rest + 8 * expert)
    assert mixture.parameters == mixture.read + 100 * 1_000 + 10 * (2 * 100 + 2 * 10) + 100
    kept = 4 * 2 * 10 * 5 * 10 * (LENGTHS.prompt + LENGTHS.completion / 2)
    drawn = 200 * 2 * mixture.read + 3 * 200 * kept
    drafted = compute_draft_seconds(mixture, ROUND, "split3", LENGTHS, 3)
    assert drafted == pytest.approx(drawn / 1e6 / SUSTAINED)


#: A model that no family describes, as `[model]` of a recipe.
CLASS = """[model]
name = "tiiuae/Falcon-H1-0.5B"
model_type = "falcon_h1"
vocab_size = 32_784
hidden_size = 1_024
num_hidden_layers = 36
tie_word_embeddings = false
weights = 521_411_104
"""


def write_class(write, before="", after=""):
    """The recipe with that model."""
    head, rest = GOOD.split("[model]\n", 1)
    tail = rest[rest.index("\n[") :]
    tail = re.sub(r"\n\[model\.config\]\n(?:[^\[\n].*\n|\n)*", "\n", tail)
    return write(head + CLASS.replace(before, after) + tail)


def test_a_class_without_a_family_reads_each_rollout_with_its_prompt(write):
    recipe = read_recipe(write_class(write))
    assert not recipe.model.packs
    assert recipe.model.parameters == 521_411_104
    assert recipe.model.products == 521_411_104 - 32_784 * 1_024
    plan = make_plan(recipe, CARDS["H100"], recipe.course.miners)
    prompt, completion, _ = recipe.course.lengths
    size = plan.rules.work.group_size
    times = size * (prompt + completion) / (prompt + size * completion)
    assert plan.times_read == pytest.approx(times)
    said = " ".join(run_command("plan", write_class(write)).stdout.split())
    assert "no family describes falcon_h1: its class reads each rollout with its prompt" in said
    assert f"{times:.2f} times the tokens of packed rows. Not known here: what its layers" in said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("falcon_h1", "llama", "model.weights: llama is a family, whose weights follow"),
        ("falcon_h1", "mimo", "model.config: model_type mimo in config.json: its code is not in"),
        ("weights = 521_411_104", "weights = 0", "model.weights is 0; use "),
        ("hidden_size = 1_024", "hiden_size = 1_024", "model.hiden_size is not a setting"),
    ],
)
def test_a_class_that_cannot_be_is_refused_in_a_line(write, before, after, said):
    with pytest.raises(ConfigError, match=said):
        read_recipe(write_class(write, before, after))


def test_a_window_grows_with_miners_and_shrinks_with_cards():
    recipe = read_recipe("7b-8-cards")
    rules, card = recipe.make_rules(), CARDS["H100"]
    miner = compute_miner_cost(recipe, rules, SheetPace.of(recipe, card))
    assert miner.groups == rules.work.group_cap
    slower = SheetPace.of(recipe, replace(card, bf16=card.bf16 / 100, bandwidth=1e11))
    slow = compute_miner_cost(recipe, rules, slower)
    assert 0 <= slow.groups < miner.groups
    pace = SheetPace.of(recipe, card)
    one, four = (compute_validator_cost(recipe, rules, pace, n, 16) for n in (1, 4))
    assert four.tokens == 4 * one.tokens == 4 * 16 * (130 + 700)
    assert four.seconds == pytest.approx(4 * one.seconds)
    few = compute_validator_cost(recipe, rules, pace, 1, 3)  # whose prompts are read once
    assert few.tokens == 3 * 130 + 16 * 700
    team = compute_trainer_cost(recipe, rules, pace, 256)
    assert team.stored - one.stored == 2 * 12 * recipe.model.parameters
    course = recipe.course.model_copy(update={"trainer_cards": 1})
    alone = compute_trainer_cost(recipe.model_copy(update={"course": course}), rules, pace, 256)
    assert alone.stored == team.stored
    assert alone.seconds > team.seconds
    assert alone.tokens == team.tokens == (256 + 128) * (130 + 16 * 700)


#: Episodes of four turns, with replies of 300 tokens.
REPLIES = "completion_tokens = 200\nreply_tokens = 300"
EPISODES = change(
    change(GOOD, "completion_tokens = 200", REPLIES),
    "[parameters.work]",
    "[parameters.work]\nturns = 4\ncontext = 1_024\nreply_bytes = 256\npaid_reply = 4_000",
)


def test_replies_are_read_and_not_drawn(write):
    """By hand, beside single turns of the same own tokens: a row of 300 more tokens at products'
    speed between its steps, half of them before each token, and whole rows in the reference and the
    lesson. A miner's file has own tokens alone."""
    single, turns = (read_recipe(write(text)) for text in (GOOD, EPISODES))
    assert (single.course.lengths, turns.course.lengths) == (LENGTHS, (120, 200, 300))
    rules, card = turns.make_rules(), CARDS["H100"]
    long = turns.course.lengths
    lengthened = LENGTHS._replace(prompt=120 + 150)  # as many tokens before each
    drawn, same = (
        compute_draft_seconds(PLAIN, ROUND, "split3", each, 3) for each in (long, lengthened)
    )
    replies = 3 * 300 * 2 * PLAIN.products / 1e9 / SUSTAINED
    assert drawn == pytest.approx(same + replies)
    read, same = (
        compute_read_seconds(PLAIN, ROUND, "split3", each, 7) for each in (long, lengthened)
    )
    assert read == pytest.approx(same)
    pace = SheetPace.of(turns, card)
    judged = compute_validator_cost(turns, rules, pace, 4, 24)
    assert judged.tokens == 4 * rules.work.audited_rollouts * (120 + 200 + 300)
    assert judged.moved == compute_validator_cost(single, rules, pace, 4, 24).moved
    taught = compute_trainer_cost(turns, rules, pace, 8)
    of_one = compute_trainer_cost(single, rules, pace, 8)
    groups = 8 + turns.trainer.local_groups
    learned = min(8, turns.trainer.external_groups) + turns.trainer.local_groups
    more = rules.work.group_size * 300 * (groups + learned * turns.trainer.epochs)
    assert taught.tokens - of_one.tokens == more
    assert taught.seconds > of_one.seconds
    few = replace(card, bf16=card.bf16 / 500, bandwidth=card.bandwidth / 100)
    mined, of_one = (
        compute_miner_cost(each, rules, SheetPace.of(each, few)) for each in (turns, single)
    )
    assert 0 < mined.groups < of_one.groups


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("reply_tokens = 300", "", "reply_tokens is missing: parameters.work.turns is 4"),
        ("turns = 4\ncontext = 1_024\nreply_bytes = 256\npaid_reply = 4_000", "", "have one turn"),
        (
            "context = 1_024",
            "context = 931",
            "context = 931: most episodes .* set context = 932 or",
        ),
        ("reply_tokens = 300", "reply_tokens = -1", "reply_tokens"),
        ("context = 1_024", "context = 40_000", "40,000: set context = 32768 under"),
    ],
)
def test_replies_that_cannot_be_are_refused_in_a_line(write, before, after, said):
    done = run_command("plan", write(change(EPISODES, before, after)))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(said, line), line


def test_a_plan_says_what_replies_it_counts(write):
    done = run_command("plan", write(EPISODES))
    assert "completions of 200 tokens, with replies of 300; SHA-256" in " ".join(
        done.stdout.split()
    )


def test_kept_states_grow_with_weights():
    """By hand, of 7,615,616,512 weights: 12 bytes of state and 2 of a checkpoint are hashed and
    written, by one process, also in a team."""
    recipe = read_recipe("7b-8-cards")
    weights = recipe.model.parameters
    assert weights == 7_615_616_512
    pace = SheetPace.of(recipe, CARDS["H100"])
    seconds = 14 * weights * (1 / 1.4e9 + 1 / 3e9)
    assert compute_keep_seconds(recipe, pace) == pytest.approx(seconds)
    trainer = recipe.trainer.model_copy(update={"lora_rank": 8})
    factors = recipe.model_copy(update={"trainer": trainer})
    assert compute_keep_seconds(factors, pace) == pytest.approx(6 * weights * (1 / 1.4e9 + 1 / 3e9))
    checkpoints = (CHECKPOINTS_KEPT + 2) * 2 * weights
    assert compute_trainer_bytes(recipe) == checkpoints + 2 * 12 * weights
    trainer = recipe.trainer.model_copy(update={"steps_kept": 3})
    more = recipe.model_copy(update={"trainer": trainer})
    assert compute_trainer_bytes(more) == checkpoints + 4 * 12 * weights


def test_a_held_out_problem_is_drawn_twice():
    recipe = read_recipe("qwen2.5-0.5b-gsm")
    rules, card = recipe.make_rules(), CARDS["H100"]

    def draw(problems):
        trainer = recipe.trainer.model_copy(update={"problems": problems})
        changed = recipe.model_copy(update={"trainer": trainer})
        return compute_trainer_cost(changed, rules, SheetPace.of(changed, card), 1).seconds

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
        return estimate_height("trainer", shape, MAIN_WORK, learning=learning, cards=cards)

    weights = recipe.model.parameters
    assert estimate(1) - estimate(8) == 14 * weights - 8 * shape.tables
    assert (
        estimate(1, lora_rank=8) - estimate(8, lora_rank=8) == 7 * weights // 2 - 4 * shape.tables
    )


def test_offloaded_states_are_in_the_host_and_not_on_the_card():
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
    assert factors.offloaded == 4 * weights
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
    assert plan["scoring"] is None
    assert plan["course"]["implementation"] == "split3"
    assert plan["hours"] == pytest.approx(300 * plan["step_seconds"] / 3_600)
    assert list(plan["roles"]) == ["miner", "validator", "trainer"]
    given = tomllib.loads(MATH)
    assert plan["course"] == given["course"] | {"longest_prompt": None, "reply_tokens": 0}
    assert given["model"].items() <= plan["model"].items()
    assert given["parameters"]["work"].items() <= plan["work"].items()
    assert plan["timing"] == asdict(MAIN_TIMING)
    assert plan["holds"]
    assert plan["roles"]["trainer"]["cost"]["stored"] > plan["roles"]["miner"]["cost"]["stored"]
    assert plan["trainer"]["external_groups"] == given["trainer"]["external_groups"]
    shown = run_command("plan", "qwen2.5-1.5b-math")
    assert shown.returncode == 0
    assert "computed, not measured: 30% of the data sheet of H100" in shown.stdout
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


CODE = change(
    change(MATH, 'environment = "math:SHA256"', 'environment = "code:SHA256"'), "[1, 2, 3]", "[1]"
)


def test_a_plan_says_what_scoring_programs_takes(write):
    """Half of 360 s for 2 miners · 12 groups · 16 programs of 230 million, at 32 · 2,000 million a
    second, and at this machine's rate."""
    recipe = read_recipe(write(CODE))
    plan = make_plan(recipe, CARDS["H100"], 2)
    units = 2 * 12 * 16 * 230
    cost = plan.to_json()["scoring"]
    assert (cost["units"], cost["allowed_seconds"]) == (units, 180)
    assert cost["reference_seconds"] == pytest.approx(units / 64_000)
    assert (cost["rate"] is None) is (not has_sandbox())
    if cost["rate"] is not None:
        assert cost["seconds"] == pytest.approx(units / cost["rate"])
    console = Console(width=1_000)
    with console.capture() as shown:
        console.print(render_plan(plan))
    assert f"scoring takes a validator up to {units:,} million units" in shown.get()


def test_a_recipe_whose_scoring_does_not_fit_is_refused_in_a_line(write):
    dear = change(CODE, "code:SHA256", "code:SHA256,units=5000")
    done = run_command("plan", write(dear))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "units = 5,000 · valued_groups = 12 · group_size = 16" in done.stderr
    assert "units = 234 would fit" in done.stderr


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


@pytest.mark.parametrize("card", ["H100", "H200", "B200"])
def test_a_llama_is_read_three_times_as_fast_by_split_products(card):
    recipe = read_recipe("llama-3.2-3b-math")
    split, plain = (
        compute_read_seconds(recipe.model, CARDS[card], name, recipe.course.lengths, 1_000)
        for name in ("split3", "fp32-sdpa")
    )
    assert plain >= 3 * split


def test_a_plan_counts_the_logits_that_a_learner_computes_at_once():
    assert LEARNED_LOGITS_MAX == LOGITS_MAX


def test_a_plan_that_does_not_fit_is_a_finding():
    done = run_command("plan", "7b-8-cards", "--card", "RTX 4090", "--json")
    assert done.returncode == 1
    roles = json.loads(done.stdout)["roles"]
    assert not any(role["fits_memory"] for role in roles.values())
    assert roles["trainer"]["cards"] == 8


def test_memory_that_does_not_suffice_is_told_with_the_max_tokens_that_would(write):
    """One token fewer than said fits, one more does not."""
    long = change(GOOD, "max_tokens = 512", "max_tokens = 65_536")
    long = change(long, "embeddings = 32_768", "embeddings = 131_072")
    long = change(long, "groups_per_step = 8", "groups_per_step = 8\nlongest_prompt = 2_000")
    recipe = read_recipe(write(long))
    assert recipe.course.prompt == 2_000
    miner = make_plan(recipe, CARDS["RTX 4090"], 2).roles[0]
    assert not miner.fits_memory
    for tokens in (miner.tokens_fit, miner.tokens_fit + 1):
        work = recipe.parameters["work"] | {"max_tokens": tokens}
        changed = recipe.model_copy(update={"parameters": recipe.parameters | {"work": work}})
        role = make_plan(changed, CARDS["RTX 4090"], 2).roles[0]
        assert role.fits_memory is (tokens == miner.tokens_fit)
        assert role.tokens_fit == miner.tokens_fit
    done = run_command("plan", write(long))
    assert done.returncode == 1
    said = f"prompt of 2,000, and there are 20.1: max_tokens = {miner.tokens_fit:,} would fit"
    assert said in " ".join(done.stdout.split())


def test_memory_that_does_not_suffice_is_told_with_the_context_that_would(write):
    """One token fewer than said fits, one more does not."""
    long = change(EPISODES, "context = 1_024", "context = 65_536")
    long = change(long, "embeddings = 32_768", "embeddings = 131_072")
    recipe = read_recipe(write(long))
    miner = make_plan(recipe, CARDS["RTX 4090"], 2).roles[0]
    assert not miner.fits_memory
    for tokens in (miner.tokens_fit, miner.tokens_fit + 1):
        work = recipe.parameters["work"] | {"context": tokens}
        changed = recipe.model_copy(update={"parameters": recipe.parameters | {"work": work}})
        role = make_plan(changed, CARDS["RTX 4090"], 2).roles[0]
        assert role.fits_memory is (tokens == miner.tokens_fit)
    done = run_command("plan", write(long))
    assert done.returncode == 1
    said = f"context of 65,536 tokens, and there are 20.1: context = {miner.tokens_fit:,} would fit"
    assert said in " ".join(done.stdout.split())


def test_a_context_takes_memory_in_proportion_to_its_tokens():
    """A judge's pass of one long rollout: states and masks, and the logits of a chunk."""
    shape = read_recipe("qwen3-4b-mixture").model.shape
    first, second, third = (
        estimate_height("validator", shape, replace(MAIN_WORK, max_tokens=tokens))
        for tokens in (1 << 16, 1 << 17, 3 << 16)
    )
    assert third - second == second - first == 4 * (shape.wide + MASK_FLOATS) << 16
    assert MASK_FLOATS == 5 * 2 * BLOCK // 4
    work = replace(MAIN_WORK, turns=4, context=PROMPT + (1 << 17))  # replies among them
    assert estimate_height("validator", shape, work) == second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("7b-9-cards",), "did you mean '7b-8-cards'?"),
        (("7b-8-cards", "--card", "H300"), "'H300' is not a GPU"),
        (("7b-8-cards", "--card", ""), "'' is not a GPU"),
        (("7b-8-cards", "--miners", "0"), "--miners"),
    ],
)
def test_a_plan_of_nothing_is_refused_in_a_line(words, said):
    done = run_command("plan", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_a_plan_is_for_the_implementation_that_it_names(write, family):
    """fp32 needs 4 bytes of a weight, of two checkpoints, and an H100's fp32 is 14.8 times slower
    than its bf16, of which `split3` takes three products."""
    path = write(change(MATH, '"qwen2"', f'"{family}"'))
    words = ("plan", path, "--implementation", "fp32-sdpa")
    assert "that all programs run fp32-sdpa: start them with" in run_command(*words).stdout
    split, plain = (
        json.loads(run_command(*each, "--json").stdout)["roles"]["validator"]
        for each in (words[:2], words)
    )
    assert plain["memory"] - split["memory"] == 2 * 2 * read_recipe(path).model.parameters
    slower = plain["cost"]["seconds"] / split["cost"]["seconds"]
    assert 3 < slower < 989 / 67 / 3


def test_a_plan_of_no_implementation_is_refused():
    done = run_command("plan", "qwen2.5-1.5b-math", "--implementation", "split")
    assert done.returncode == 2
    assert "'split3'" in done.stderr


def test_late_tokens_are_paid_as_much_as_the_steepest_card_spends_on_them():
    """Each recipe's `position_share`, and the main network's for all of them."""
    steepest = 0
    for name in list_recipes():
        recipe = read_recipe(name)
        if recipe.model.parameters < LEAST_WEIGHTS:
            continue
        runs = recipe.course.implementation
        most = max(compute_late_share(recipe.model, card, runs) for card in CARDS.values())
        paid = recipe.make_rules().work.position_share
        assert most <= paid <= 1.1 * most
        if recipe.preset == "main":
            steepest = max(steepest, most)
    assert steepest <= MAIN_WORK.position_share <= 1.1 * steepest


def test_a_late_tokens_cost_by_hand():
    """Ten layers of 5 keys and values of 10 numbers, four bytes each; attention of 10 heads."""
    products = 2 * 1_300_000 / 1e8
    weights = 4 * 1_300_000 / 256 / 1e6
    first = max(weights, products) + products + 12 * 1_000 / 1e6
    late = 4 * 2 * 10 * 5 * 10 / 1e6 + 4 * 10 * 100 / 1e8
    share = compute_late_share(PLAIN, ROUND, "fp32-sdpa")
    assert share == pytest.approx(10**6 * late / first, abs=1)


def test_a_plan_says_what_a_trainer_would_lack_here(monkeypatch):
    hide_packages(monkeypatch, "peft", "bitsandbytes")
    done = run_command("plan", "smollm2-135m-gsm")
    line = "no trainer on this machine: lora_rank needs peft: install the extra `train` "
    assert line in " ".join(done.stdout.split())
    document = json.loads(run_command("plan", "smollm2-135m-gsm", "--json").stdout)
    assert len(document["missing"]) == 1
    assert json.loads(run_command("plan", "genesis-arithmetic", "--json").stdout)["missing"] == []


def test_a_plan_says_that_examples_are_not_here(write):
    given = "sft_weight = 0.5\nsft = 'nowhere.jsonl'\nepochs = 1"
    done = run_command("plan", write(change(GOOD, "epochs = 1", given)), "--json")
    assert done.returncode == 0, done.stderr
    (line,) = json.loads(done.stdout)["missing"]
    assert line.startswith("sft: nowhere.jsonl")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lora_rank = 4", "set lora_rank = 0"),
        ("processes = 2", "set processes = 1 and offload = false"),
        ("offload = true", "set processes = 1 and offload = false"),
    ],
)
def test_a_class_without_a_family_is_learned_whole_and_by_one_process(write, line, said):
    """Before a network is published with it, by what a learner would say after it."""
    text = Path(write_class(write)).read_text()
    before, section, after = text.partition("[trainer]\n")
    after = re.sub(rf"(?m)^{line.split()[0]} = .*\n", "", after)
    with pytest.raises(ConfigError, match=f"trainer: no family describes the model.*{said}"):
        read_recipe(write(f"{before}{section}{line}\n{after}"))
