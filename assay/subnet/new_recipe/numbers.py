"""Numbers of a new recipe that follow by a rule: a window's sizes by the law of load, a margin's
cap, tokens, a trainer's settings. Nothing here measures anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, log, sqrt
from typing import Any

from assay.environments.registry import count_named_units
from assay.protocol.parameters import (
    FRACTION_BITS,
    MILLION,
    SCORING_SHARE,
    SEATS_MAX,
    Timing,
    Work,
    compute_scoring_load,
)
from assay.settings.extras import list_lacks
from assay.settings.loading import ConfigError
from assay.settings.sections import TrainerSettings
from assay.subnet.presets import PRESETS
from assay.subnet.prompt_notes import list_reply_notes
from assay.subnet.recipe import Recipe, list_recipes, read_recipe
from assay.subnet.window_costs import CARDS

#: The device that is no GPU, in data sheets and in recipes.
CPU = "cpu"
#: valued_groups and group_size, the largest first, with as many audited rollouts.
_SIZES_CPU = ((4, 8), (2, 8), (2, 4))
_SIZES = ((12, 16), (8, 16), (4, 16), *_SIZES_CPU)
_AUDITED_CPU, _AUDITED = 8, 16
#: The most that replies may make of them.
_AUDITED_MAX = 64
#: The fewest millions of units that an environment may set.
UNITS_MIN = 10
#: A measured length has room by this factor, and is a multiple of so many tokens.
_ROOM, _STEP = 1.25, 16
#: Of completions as many may be cut off where the longest other one says max_tokens.
_CUT_SHARE = 0.05
#: The rule of the shipped recipes: logits for a model of 12 layers of 768.
_CAP, _CAP_SIZE = 40 * 9e-6, 12 * 768
#: Reply tokens that are paid, in thousandths of own ones, are a multiple of this.
_PAID_STEP = 100
#: The learning rate of all weights where a recipe's is of LoRA, whose rates are larger.
_FACTORS_SHARE = 0.01


def name_card(device: str) -> str:
    """The data sheet's name of a device, or torch's name of a GPU that has none here."""
    if device == CPU:
        return CPU
    import torch

    name = str(torch.cuda.get_device_name(device))
    for card in CARDS:
        model, _, memory = card.partition("-")
        if card != CPU and model in name and memory in name:
            return card
    return name


@dataclass(frozen=True, slots=True)
class Sizes:
    """K, G and R, and the millions of units for which a window of so many seconds has time."""

    valued_groups: int
    group_size: int
    audited_rollouts: int
    units: int
    seconds: float


def list_sizes(card: str, preset: str) -> list[Sizes]:
    """The sizes that a network may have, the largest first.

    Without a GPU the first are those for which a demo's windows have time, too: a localnet takes
    such parameters also from `subnet publish`.
    """
    audited = _AUDITED_CPU if card == CPU else _AUDITED
    offered = _SIZES_CPU if card == CPU else _SIZES
    presets = [("demo", offered[:1])] * (card == CPU and preset != "demo") + [(preset, offered)]
    found = []
    for named, pairs in presets:
        timing, work = PRESETS[named].timing, PRESETS[preset].work
        for valued, group in pairs:
            sized = replace(work, valued_groups=valued, group_size=group)
            seconds = timing.window_blocks * timing.slot_ms / 1_000
            found.append(Sizes(valued, group, audited, _compute_room(timing, sized), seconds))
    return found


def _compute_room(timing: Timing, work: Work) -> int:
    """The millions of units that a problem may cost."""
    rollouts, room = compute_scoring_load(1, timing, work)
    return room // rollouts


def choose_sizes(sizes: Sequence[Sizes], environment: str) -> Sizes:
    """The largest sizes for which a named environment's units leave time. Raises ConfigError: none
    do."""
    units = count_named_units(environment).total()
    for each in sizes:
        if units <= each.units:
            return each
    raise ConfigError(say_cost(sizes[-1], f"{environment} may take {units:,}"))


def say_cost(least: Sizes, what: str) -> str:
    """Why problems cost too much, and what they may cost."""
    return (
        f"{what} million units a problem, and {least.seconds:g} s have time for {least.units:,} "
        f"with valued_groups = {least.valued_groups} and group_size = {least.group_size}, the "
        f"least that are useful: make problems cheaper, write units={least.units} behind the "
        "environment's name if that suffices, or take --preset main where it is demo"
    )


def explain_sizes(sizes: Sizes, units: int) -> str:
    """The law of load in a line."""
    if not units:
        return "no answer is code: scoring has no law of load"
    return (
        f"law of load: {SEATS_MAX} hotkeys · {sizes.valued_groups} · {sizes.group_size} · "
        f"{units:,} units in 1/{SCORING_SHARE} of {sizes.seconds:g} s; up to {sizes.units:,} fit"
    )


def choose_max_tokens(lengths: Sequence[int], cut: int, ceiling: int) -> int:
    """max_tokens by the completions that ended, or the ceiling if too many were cut off.

    Args:
        lengths: of those that ended.
        cut: number of the others.
    """
    if not lengths or cut > _CUT_SHARE * (len(lengths) + cut):
        return ceiling
    return min(ceiling, round_up(max(lengths)))


def round_up(tokens: int) -> int:
    """A length with room to grow."""
    return _STEP * ceil(_ROOM * tokens / _STEP)


def choose_levels(levels: Mapping[int, tuple[int, int]]) -> list[int]:
    """The levels to begin with: those that were solved sometimes. Without one the hardest that was
    always solved, or the easiest.

    Args:
        levels: level → problems, and how many of them were solved.
    """
    asked = {level: counts for level, counts in levels.items() if counts[0]}
    mixed = [level for level, (count, solved) in asked.items() if 0 < solved < count]
    if mixed:
        return sorted(mixed)
    solved = [level for level, (_, right) in asked.items() if right]
    return [max(solved)] if solved else [min(asked)]


def compute_cap(layers: int, width: int) -> int:
    """The margin cap by the rule of the shipped recipes, 2^-20 logits; at least the preset's."""
    cap = _CAP * sqrt(layers * width / _CAP_SIZE) * 2**FRACTION_BITS
    return max(PRESETS["main"].tests.margin_cap, round(cap))


def complete_replies(work: Work, replies: float, own: float) -> Work:
    """[work] whose replies are paid as they were measured, as far as that is worth no fake.

    Args:
        replies, own: tokens of an episode, on average.
    """
    wanted = _PAID_STEP * ceil(1_000 * replies / max(1.0, own) / _PAID_STEP)
    most = (work.valued_groups - 2) * 1_000 * MILLION // work.prompt_share
    paid = replace(work, paid_reply=max(0, min(wanted, most)))
    while list_reply_notes(paid) and paid.audited_rollouts < _AUDITED_MAX:
        paid = replace(paid, audited_rollouts=paid.audited_rollouts + 1)
    return paid


@cache
def _list_shipped() -> dict[str, Recipe]:
    return {name: read_recipe(name) for name in list_recipes()}


def find_nearest(weights: int, card: str, turns: int) -> tuple[str, Recipe]:
    """The shipped recipe for a GPU, or for none, whose model is the nearest in size; of several
    that with as many turns, one or more."""

    def measure(item: tuple[str, Recipe]) -> tuple[float, bool]:
        recipe = item[1]
        own = recipe.parameters.get("work", {}).get("turns", 1)
        return abs(log(recipe.model.parameters / weights)), (own > 1) != (turns > 1)

    shipped = _list_shipped().items()
    return min(
        (one for one in shipped if (one[1].course.card == CPU) == (card == CPU)), key=measure
    )


def choose_trainer(recipe: Recipe, *, is_here: bool, packs: bool) -> tuple[dict[str, Any], str]:
    """A trainer's settings by the nearest recipe, and how they differ from it; empty: not.

    Args:
        is_here: the trainer is to run on this machine.
        packs: whether a family describes the model.
    """
    settings = recipe.trainer.model_dump(mode="json", exclude_unset=True)
    if not settings.get("lora_rank"):
        return settings, ""
    lacks = is_here and bool(list_lacks(TrainerSettings(lora_rank=settings["lora_rank"]), CPU))
    if packs and not lacks:
        return settings, ""
    rate = float(f"{settings['learning_rate'] * _FACTORS_SHARE:.1g}")
    why = "this machine lacks the extra `train`" if packs else "no family describes the model"
    settings = {name: value for name, value in settings.items() if name != "lora_rank"}
    return settings | {"learning_rate": rate}, f"all weights learn, without LoRA: {why}"
