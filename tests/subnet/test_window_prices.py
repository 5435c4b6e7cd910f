"""A plan in dollars: hand arithmetic, agreement with the plan, and wrong prices in one line."""

import json

import pytest

from assay.settings.loading import ConfigError
from assay.settings.money import (
    compute_cost,
    compute_million_cost,
    format_dollars,
    parse_dollars,
    parse_hour_price,
)
from assay.subnet.recipe import read_recipe
from assay.subnet.window_costs import CARDS, SheetPace, compute_trainer_cost
from assay.subnet.window_plan import make_plan
from assay.subnet.window_prices import compute_prices
from tests.commands import run_command

RECIPE = "llama-3.2-3b-math"


def make_priced(hour=2_000_000, miners=None):
    recipe = read_recipe(RECIPE)
    plan = make_plan(recipe, CARDS[recipe.course.card], miners or recipe.course.miners)
    return plan, compute_prices(plan, hour)


def test_an_hours_price_becomes_that_of_a_million_tokens():
    # 36 s of a machine of $2 an hour are 2 cents, for 50,000 tokens: 40 cents a million
    assert compute_cost(2_000_000, 36) == 20_000
    assert compute_million_cost(2_000_000, 36, 50_000) == 400_000
    assert compute_million_cost(2_000_000, 36, 0) is None


@pytest.mark.parametrize(
    ("text", "micro"),
    [("2.0/h", 2_000_000), ("2/h", 2_000_000), (" .5/h", None), ("0.000001/h", 1)],
)
def test_a_price_is_read_exactly(text, micro):
    if micro is None:
        with pytest.raises(ConfigError):
            parse_hour_price(text)
    else:
        assert parse_hour_price(text) == micro
    assert parse_dollars("350.25", "--tao-price") == 350_250_000


@pytest.mark.parametrize(
    ("micro", "text"),
    [(20, "$0.000020"), (53_000, "$0.0530"), (1_041_900, "$1.04"), (1_234_567_890, "$1,234.57")],
)
def test_a_small_amount_keeps_its_digits(micro, text):
    assert format_dollars(micro) == text


def test_all_programs_are_priced_by_the_seconds_of_the_plan():
    plan, prices = make_priced()
    miner, validator, trainer = prices.programs
    assert prices.tokens == plan.miners * plan.roles[0].cost.tokens
    assert (miner.machines, validator.machines, trainer.machines) == (plan.miners, 1, 1)
    for priced, role in zip(prices.programs, plan.roles, strict=True):
        dollars = 2 * priced.machines * role.cost.seconds / 3_600
        assert priced.window == pytest.approx(dollars * 1e6, abs=1)
        assert priced.verified == pytest.approx(dollars * 1e12 / prices.tokens, abs=1)
        assert priced.rented == round(2e6 * priced.machines * plan.window_seconds / 3_600)
        assert priced.rented > priced.window
    assert miner.own == miner.verified
    assert validator.own_tokens == plan.roles[1].cost.tokens
    assert prices.verified == miner.verified + validator.verified + trainer.verified


def test_what_a_trainer_learns_from_is_not_what_it_judges():
    plan, prices = make_priced()
    recipe, role = read_recipe(RECIPE), plan.roles[2]
    settings = recipe.trainer
    size = recipe.course.lengths.count_group(plan.rules.work.group_size)
    taken = min(role.cost.groups, settings.external_groups) + settings.local_groups
    assert prices.programs[2].own_tokens == round(taken * size * settings.epochs)
    once = settings.model_copy(update={"epochs": 2 * settings.epochs})
    pace = SheetPace.of(recipe, plan.card)
    twice = compute_trainer_cost(
        recipe.model_copy(update={"trainer": once}), plan.rules, pace, role.cost.groups
    )
    assert twice.learned == 2 * role.cost.learned


def test_a_price_scales_and_miners_do_not_change_what_theirs_cost():
    _, two = make_priced()
    _, four = make_priced(4_000_000)
    assert four.verified == pytest.approx(2 * two.verified, abs=3)
    _, many = make_priced(miners=16)
    assert many.programs[0].verified == two.programs[0].verified
    assert many.programs[2].verified_rented < two.programs[2].verified_rented


def test_prices_are_printed_for_people_and_as_json():
    shown = run_command("plan", RECIPE, "--price", "2.0/h")
    assert shown.returncode == 0
    assert "a miner's window costs $0.2000 rented" in shown.stdout
    assert "What it is paid is not known here" in shown.stdout
    document = json.loads(run_command("plan", RECIPE, "--price", "2.0/h", "--json").stdout)
    _, prices = make_priced()
    assert document["prices"] == json.loads(json.dumps(prices.to_json()))
    assert document["prices"]["unit"] == "micro-dollars"
    plain = run_command("plan", RECIPE, "--json")
    assert json.loads(plain.stdout)["prices"] is None
    assert "$" not in run_command("plan", RECIPE).stdout


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("2.0", "the unit is missing"),
        ("2.0/d", "'d' is not its unit"),
        ("-2.0/h", "in digits"),
        ("nan/h", "in digits"),
        ("inf/h", "in digits"),
        ("1e3/h", "in digits"),
        ("2.0000001/h", "at most six decimals"),
        ("0.0/h", "above 0"),
        ("", "the unit is missing"),
    ],
)
def test_a_wrong_price_is_refused_in_a_line(price, said):
    done = run_command("plan", RECIPE, "--price", price)
    assert done.returncode == 2
    assert said in done.stderr
    assert "2.0/h" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout
