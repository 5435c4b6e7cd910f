"""The cost of a recipe's window, and whether it fits, by arithmetic. Nothing here loads torch,
which takes seconds, unless the trainer's optimiser needs it."""

from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from typing import Any

from assay.environments.programs.speed import measure_rate
from assay.environments.registry import compute_named_shares, count_named_units
from assay.inference.placing.model_sizes import compute_weight_bytes
from assay.protocol.parameters import GROUP_CONTEXT_MAX, GateRule, Parameters
from assay.session.memory import (
    OPENED_MIN,
    PROGRAM_BYTES,
    STORED,
    estimate_height,
    estimate_offloaded,
)
from assay.session.window_time import compute_window_seconds
from assay.settings.extras import list_lacks
from assay.settings.sections import MinerSettings
from assay.subnet.gating import GateReach, compute_reach
from assay.subnet.machine_speed import MachineSpeed, MeasuredPace
from assay.subnet.recipe import Implementation, Recipe, read_recipe
from assay.subnet.window_costs import (
    DISK,
    HASHED,
    LEAST_WEIGHTS,
    SUSTAINED,
    Card,
    Pace,
    ScoringCost,
    SheetPace,
    WindowCost,
    compute_gate_cost,
    compute_late_share,
    compute_miner_cost,
    compute_scoring_cost,
    compute_trainer_cost,
    compute_validator_cost,
    get_card,
)

#: Most tokens of a group: see `find_parameters_fault`.
_TOKENS_MAX = 1 << 22
_GIB = 1 << 30
#: Share of a GPU's memory that a program may use: the rest is for the allocator.
MEMORY_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A recipe, by its file or a shipped one's name, and what to take in place of its own choice.

    Attributes:
        miners: their number. card: see `get_card`.
        slot_ms: a block's time, as a localnet has it.
    """

    recipe: str
    miners: int | None = None
    card: str | None = None
    implementation: Implementation | None = None
    slot_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RolePlan:
    """The needs of one program's window, and the available resources."""

    role: str
    cards: int
    cost: WindowCost
    allowed_seconds: float
    memory: int  # most bytes on one GPU
    allowed_memory: int
    #: the largest max_tokens, or with several turns context, for which memory suffices; 0: none
    tokens_fit: int
    offloaded: int  # bytes in host memory instead of on GPUs, of all of a trainer's processes
    fits_time: bool
    fits_memory: bool

    def to_json(self) -> dict[str, Any]:
        """The plan for scripts."""
        return asdict(self) | {"fits": self.fits}

    @property
    def fits(self) -> bool:
        return self.fits_time and self.fits_memory


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What a gate costs in each window, and what it can show."""

    reach: GateReach
    tokens: int
    seconds: float
    share: float  # of a window

    def describe(self) -> list[str]:
        """Lines for a person."""
        cost = (
            f"gate: {self.tokens:,} tokens and {self.seconds:,.1f} s of each window, "
            f"{self.share:.1%} of it"
        )
        return [*self.reach.describe(), cost]


@dataclass(frozen=True, slots=True)
class CoursePlan:
    """A recipe's plan. `hours`: of its steps, with one in each window, or at the trainer's
    speed."""

    recipe: Recipe
    rules: Parameters
    card: Card
    miners: int
    window_seconds: float
    roles: tuple[RolePlan, ...]
    #: of all completions that a validator scores; None: they bring no code
    scoring: ScoringCost | None = None
    gate: GatePlan | None = None
    #: what a trainer on this machine would lack: see `list_lacks`
    missing: tuple[str, ...] = ()
    #: of this machine, if it was measured
    speed: MachineSpeed | None = None

    @property
    def late_share(self) -> int:
        """The computed counterpart of the parameters' `position_share`, millionths."""
        return compute_late_share(self.recipe.model, self.card, self.recipe.course.implementation)

    @property
    def shares(self) -> dict[int, float]:
        """The share of the problems that each level has at the start."""
        shares = compute_named_shares(self.recipe.environment, self.recipe.levels)
        whole = sum(shares)
        return {k: share / whole for k, share in zip(self.recipe.levels, shares, strict=True)}

    @property
    def times_read(self) -> float:
        """The tokens of a group that are read, over those that packed rows would have: 1, or more
        where no family describes the model."""
        lengths, size = self.recipe.course.lengths, self.rules.work.group_size
        packs = self.recipe.model.packs
        return lengths.count_group(size, packs=packs) / lengths.count_group(size)

    @property
    def step_seconds(self) -> float:
        trainer = self.roles[-1]
        return max(self.window_seconds, trainer.cost.seconds)

    @property
    def hours(self) -> float:
        return self.recipe.course.steps * self.step_seconds / 3_600

    @property
    def fits(self) -> bool:
        return all(role.fits for role in self.roles)

    @property
    def holds(self) -> bool:
        """Return whether seconds are meaningful: they were measured, or the model is large enough
        for the arithmetic."""
        return self.speed is not None or self.recipe.model.parameters >= LEAST_WEIGHTS

    def to_json(self) -> dict[str, Any]:
        """The plan for scripts, with all inputs of its figures."""
        return {
            "about": self.recipe.about,
            "measured": self.speed is not None,
            "speed": self.speed and self.speed.to_json(),
            "holds": self.holds,
            "fits": self.fits,
            "hours": self.hours,
            "step_seconds": self.step_seconds,
            "window_seconds": self.window_seconds,
            "miners": self.miners,
            "roles": {role.role: role.to_json() for role in self.roles},
            "scoring": self.scoring and asdict(self.scoring) | {"seconds": self.scoring.seconds},
            "gate": self.gate and asdict(self.gate),
            "missing": self.missing,
            "card": asdict(self.card),
            "sustained": SUSTAINED,
            "hashed": HASHED,
            "disk": DISK,
            "memory_share": MEMORY_SHARE,
            "commit_margin": MinerSettings().commit_margin,
            "late_share": self.late_share,
            "times_read": self.times_read,
            "levels": {str(level): share for level, share in self.shares.items()},
            "steering": asdict(self.rules.steering),
            "weights": self.recipe.model.parameters,
            "model": self.recipe.model.model_dump() | {"products": self.recipe.model.products},
            "rewards": asdict(self.rules.rewards),
            "work": asdict(self.rules.work),
            "timing": asdict(self.rules.timing),
            "course": self.recipe.course.model_dump(),
            "trainer": self.recipe.trainer.model_dump(mode="json", exclude={"dir"}),
        }


def open_recipe(request: PlanRequest) -> Recipe:
    """The recipe by its name, with the request's choices. Raises ConfigError: there is none."""
    read = read_recipe(request.recipe)
    if request.implementation is None:
        return read
    course = read.course.model_copy(update={"implementation": request.implementation})
    return read.model_copy(update={"course": course})


def plan_recipe(request: PlanRequest, speed: MachineSpeed | None = None) -> CoursePlan:
    """The plan of a recipe by its name. Raises ConfigError: there is no such recipe or card.

    Args:
        speed: what this machine was measured to be with the recipe's model; None: data sheets say.
    """
    recipe = open_recipe(request)
    card = get_card(recipe.course.card if request.card is None else request.card)
    miners = request.miners or recipe.course.miners
    return make_plan(recipe, card, miners, speed, request.slot_ms)


def make_plan(
    recipe: Recipe,
    card: Card,
    miners: int,
    speed: MachineSpeed | None = None,
    slot_ms: int | None = None,
) -> CoursePlan:
    """The plan of all three roles, each with such devices; each miner makes as many groups as it
    can. Where completions bring code, measures how quickly this machine runs it.

    Args:
        card: with a speed, the one of which it says late tokens' cost.
        speed: see `plan_recipe`. slot_ms: a block's time, in place of the recipe's.
    """
    rules = recipe.make_rules()
    if slot_ms is not None:
        rules = replace(rules, timing=replace(rules.timing, slot_ms=slot_ms))
    pace: Pace = SheetPace.of(recipe, card)
    if speed is not None:
        pace = MeasuredPace(recipe.model, speed, rules.work.max_tokens, DISK)
        card = replace(card, name=speed.kind, memory=speed.memory)
    window = rules.timing.window_blocks * rules.timing.slot_ms / 1_000
    mined = compute_miner_cost(recipe, rules, pace)
    judged = compute_validator_cost(recipe, rules, pace, miners, mined.groups)
    taught = compute_trainer_cost(recipe, rules, pace, miners * mined.groups)
    mining = compute_window_seconds(rules.timing, MinerSettings().commit_margin)
    team = recipe.course.trainer_cards
    units = count_named_units(recipe.environment).total()
    scoring = compute_scoring_cost(units, rules, miners, measure_rate()) if units else None
    return CoursePlan(
        recipe,
        rules,
        card,
        miners,
        window,
        (
            _plan_role("miner", recipe, rules, card, 1, mined, mining),
            _plan_role("validator", recipe, rules, card, 1, judged, window),
            _plan_role("trainer", recipe, rules, card, team, taught, window),
        ),
        scoring,
        _plan_gate(recipe, rules, pace, window),
        tuple(list_lacks(recipe.trainer, "cpu" if recipe.course.card == "cpu" else "auto")),
        speed,
    )


def list_shortages(plan: CoursePlan) -> list[str]:
    """What does not fit, each in a line with the number that would."""
    found, work = [], plan.rules.work
    bound = "max_tokens" if work.turns == 1 else "context"
    for role in plan.roles:
        if not role.fits_memory:
            fits = f"{bound} = {role.tokens_fit:,}" if role.tokens_fit else f"no {bound}"
            found.append(
                f"the {role.role} needs {role.memory / _GIB:,.1f} GiB of the "
                f"{role.allowed_memory / _GIB:,.1f} that programs may take of a {plan.card.name}: "
                f"{fits} would fit"
            )
        if not role.fits_time and role.role == "miner":
            found.append(
                f"a miner with one {plan.card.name} makes {role.cost.groups} groups of "
                f"{work.group_size} in the {role.allowed_seconds:,.0f} s of a window, and "
                f"{work.valued_groups} are valued: take a smaller model, fewer max_tokens, or a "
                "faster --card"
            )
        elif not role.fits_time:
            found.append(
                f"the {role.role} takes {role.cost.seconds:,.0f} s of a window's "
                f"{role.allowed_seconds:,.0f}: take fewer miners, or a faster --card"
            )
    return found


def _plan_gate(recipe: Recipe, rules: Parameters, pace: Pace, window: float) -> GatePlan | None:
    if rules.gate.rule is GateRule.NONE:
        return None
    tokens, seconds = compute_gate_cost(recipe, rules, pace)
    return GatePlan(compute_reach(rules.gate), tokens, seconds, seconds / window)


def _plan_role(
    role: str,
    recipe: Recipe,
    rules: Parameters,
    card: Card,
    cards: int,
    cost: WindowCost,
    allowed: float,
) -> RolePlan:
    shape, learning = recipe.model.shape, recipe.trainer if role == "trainer" else None
    offloaded = estimate_offloaded(shape, learning) if learning is not None else 0
    # as many open checkpoints as when memory is scarce
    held = PROGRAM_BYTES + OPENED_MIN * compute_weight_bytes(
        STORED * shape.parameters, recipe.course.implementation
    )
    if card.name == "cpu":  # it is the same memory
        held, offloaded = held + offloaded, 0

    is_single = rules.work.turns == 1
    bound = "max_tokens" if is_single else "context"

    def estimate(tokens: int) -> int:
        return held + estimate_height(
            role,
            shape,
            replace(rules.work, **{bound: tokens}),
            recipe.course.groups_per_step if role == "miner" else 0,
            learning,
            cards,
            recipe.course.prompt,
        )

    room = int(card.memory * MEMORY_SHARE)
    memory = estimate(getattr(rules.work, bound))
    most = (_TOKENS_MAX if is_single else GROUP_CONTEXT_MAX) // rules.work.group_size
    enough = cost.groups >= rules.work.valued_groups if role == "miner" else True
    return RolePlan(
        role=role,
        cards=cards,
        cost=cost,
        allowed_seconds=allowed,
        memory=memory,
        allowed_memory=room,
        tokens_fit=bisect_right(range(1, most + 1), room, key=estimate),
        offloaded=offloaded,
        fits_time=enough and cost.seconds <= allowed,
        fits_memory=memory <= room,
    )
