"""`assay plan`: the cost of a recipe's window, and whether it fits, by arithmetic. Nothing here
loads torch, which takes seconds."""

from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from assay.cli.console import FIGURES, make_table, print_result
from assay.cli.exits import FINDING, OK
from assay.environments.programs.speed import measure_rate
from assay.environments.registry import compute_named_shares, count_named_units
from assay.inference.placing.model_sizes import compute_weight_bytes
from assay.protocol.parameters import GROUP_CONTEXT_MAX, Parameters
from assay.session.memory import (
    OPENED_MIN,
    PROGRAM_BYTES,
    STORED,
    estimate_height,
    estimate_offloaded,
)
from assay.session.window_time import compute_window_seconds
from assay.settings.sections import MinerSettings
from assay.subnet.recipe import Implementation, Recipe, read_recipe
from assay.subnet.window_costs import (
    DISK,
    HASHED,
    LEAST_WEIGHTS,
    SUSTAINED,
    Card,
    ScoringCost,
    WindowCost,
    compute_late_share,
    compute_miner_cost,
    compute_scoring_cost,
    compute_trainer_cost,
    compute_validator_cost,
    get_card,
)

#: Most tokens of a group: see `find_parameters_fault`.
_TOKENS_MAX = 1 << 22
#: Share of a GPU's memory that a program may use: the rest is for the allocator.
MEMORY_SHARE = 0.9
_GIB = 1 << 30


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
        """Return whether the model is large enough for the arithmetic to be meaningful about
        time."""
        return self.recipe.model.parameters >= LEAST_WEIGHTS

    def to_json(self) -> dict[str, Any]:
        """The plan for scripts, with all inputs of its figures."""
        return {
            "about": self.recipe.about,
            "measured": False,
            "holds": self.holds,
            "fits": self.fits,
            "hours": self.hours,
            "step_seconds": self.step_seconds,
            "window_seconds": self.window_seconds,
            "miners": self.miners,
            "roles": {role.role: role.to_json() for role in self.roles},
            "scoring": self.scoring and asdict(self.scoring) | {"seconds": self.scoring.seconds},
            "card": asdict(self.card),
            "sustained": SUSTAINED,
            "hashed": HASHED,
            "disk": DISK,
            "memory_share": MEMORY_SHARE,
            "commit_margin": MinerSettings().commit_margin,
            "late_share": self.late_share,
            "levels": {str(level): share for level, share in self.shares.items()},
            "steering": asdict(self.rules.steering),
            "weights": self.recipe.model.parameters,
            "model": self.recipe.model.model_dump() | {"products": self.recipe.model.products},
            "rewards": asdict(self.rules.rewards),
            "work": asdict(self.rules.work),
            "timing": asdict(self.rules.timing),
            "course": self.recipe.course.model_dump(),
            "trainer": self.recipe.trainer.model_dump(exclude={"dir"}),
        }


def run_plan(
    recipe: str,
    miners: int | None,
    card: str | None,
    implementation: Implementation | None,
    as_json: bool,
) -> int:
    """Print the cost of a window. The exit code is 1 if something does not fit. Raises ConfigError:
    there is no such recipe."""
    read = read_recipe(recipe)
    if implementation is not None:
        course = read.course.model_copy(update={"implementation": implementation})
        read = read.model_copy(update={"course": course})
    chosen = get_card(read.course.card if card is None else card)
    plan = make_plan(read, chosen, miners or read.course.miners)
    print_result(plan.to_json(), as_json, render_plan(plan), FIGURES)
    return OK if plan.fits else FINDING


def make_plan(recipe: Recipe, card: Card, miners: int) -> CoursePlan:
    """The plan of all three roles, each with such GPUs; each miner makes as many groups as it
    can. Where completions bring code, measures how quickly this machine runs it."""
    rules = recipe.make_rules()
    window = rules.timing.window_blocks * rules.timing.slot_ms / 1_000
    mined = compute_miner_cost(recipe, rules, card)
    judged = compute_validator_cost(recipe, rules, card, miners)
    taught = compute_trainer_cost(recipe, rules, card, miners * mined.groups)
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
    )


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


def render_plan(plan: CoursePlan) -> RenderableType:
    """The plan for people."""
    table = make_table(
        "program",
        "GPUs",
        "tokens",
        "seconds",
        "of",
        "memory",
        "of",
        "moved",
        "disk",
        "fits",
        left=("program", "fits"),
    )
    for role in plan.roles:
        lacks = [] if role.fits_time else ["time"]
        lacks += [] if role.fits_memory else ["memory"]
        table.add_row(
            role.role,
            str(role.cards),
            f"{role.cost.tokens:,}",
            f"{role.cost.seconds:,.0f}",
            f"{role.allowed_seconds:,.0f}",
            f"{role.memory / _GIB:,.1f} GiB",
            f"{role.allowed_memory / _GIB:,.1f} GiB",
            f"{role.cost.moved / 1e9:,.2f} GB",
            f"{role.cost.stored / 1e9:,.0f} GB",
            "yes" if role.fits else f"no: {' and '.join(lacks)}",
        )
    lines = _describe_plan(plan)
    return Group(Text(lines[0]), table, *(Text(line) for line in lines[1:]))


def _describe_lack(role: RolePlan, plan: CoursePlan) -> str:
    """The number that would fit where memory does not suffice."""
    prompt, work = plan.recipe.course.prompt, plan.rules.work
    bound, needs = "max_tokens", f"{work.max_tokens:,} tokens behind a prompt of {prompt:,}"
    if work.turns > 1:
        bound, needs = "context", f"a context of {work.context:,} tokens"
    said = (
        f"the {role.role} needs {role.memory / _GIB:,.1f} GiB for {needs}, and there are "
        f"{role.allowed_memory / _GIB:,.1f}: "
    )
    if role.tokens_fit:
        return f"{said}{bound} = {role.tokens_fit:,} would fit"
    return f"{said}no {bound} would fit"


def _describe_scoring(cost: ScoringCost) -> str:
    measured = "this machine was not measured: install the extra `envs`"
    if cost.rate is not None and cost.seconds is not None:
        measured = (
            f"{cost.seconds:,.0f} s by all cores of this machine, which were measured to count "
            f"{cost.rate:,.0f} million units a second"
        )
    return (
        f"scoring takes a validator up to {cost.units:,} million units: of a window's "
        f"{cost.allowed_seconds:,.0f} s for it, {cost.reference_seconds:,.0f} s on the reference "
        f"machine, and {measured}"
    )


def _describe_levels(plan: CoursePlan) -> str:
    """What is asked at the start, and how far that may move."""
    steering = plan.rules.steering
    shares = ", ".join(f"{level} ({share:.1%})" for level, share in plan.shares.items())
    if not steering.weight_step:
        return f"levels at the start: {shares}; their weights stay"
    low, high = (bound / 10 for bound in (steering.success_low, steering.success_high))
    least, most = (bound / 1_000 for bound in (steering.weight_min, steering.weight_max))
    return (
        f"levels at the start: {shares}; each checkpoint changes their weights by at most "
        f"{steering.weight_step / 10:g} %, between {least:g} and {most:g}, toward levels that "
        f"teach, of which {low:g} to {high:g} % are solved"
    )


def _describe_plan(plan: CoursePlan) -> tuple[str, ...]:
    """Lines: the introduction, and the text below the table."""
    card, course = plan.card, plan.recipe.course
    miner, _, trainer = plan.roles
    small = (
        f"the seconds are wrong for models under {LEAST_WEIGHTS / 1e6:,.0f} M weights: these "
        "spend them on launches and Python, which are not counted"
    )
    miners = "1 miner makes" if plan.miners == 1 else f"{plan.miners} miners make"
    host = (
        "offload: the trainer's weights, gradients and moments are "
        f"{trainer.offloaded / _GIB:,.1f} GiB of host memory, which is not checked, and the time "
        "for moving them is not counted"
    )
    replies = f", with replies of {course.reply_tokens}" if course.reply_tokens else ""
    late = (
        f"each own token before it adds {plan.late_share / 1e4:.2f} % of a first token's cost to a "
        f"token; position_share pays {plan.rules.work.position_share / 1e4:.2f} %"
    )
    return (
        f"{plan.recipe.about}",
        f"{miners} up to {miner.cost.groups} groups each in a window of "
        f"{plan.window_seconds:,.0f} s; the trainer judges {trainer.cost.groups} of them",
        f"{course.steps} steps of {plan.step_seconds:,.0f} s: {plan.hours:,.1f} hours",
        f"the plan assumes that all programs run {course.implementation}: start them with "
        f"--implementation {course.implementation}",
        *(() if plan.scoring is None else (_describe_scoring(plan.scoring),)),
        late,
        _describe_levels(plan),
        *(_describe_lack(role, plan) for role in plan.roles if not role.fits_memory),
        *((host,) if trainer.offloaded else ()),
        *(() if plan.holds else (small,)),
        f"computed, not measured: {SUSTAINED:.0%} of the data sheet of {card.name} "
        f"({card.source}: {card.bf16 / 1e12:,.0f} TFLOPS of bf16, {card.fp32 / 1e12:,.1f} of fp32, "
        f"{card.bandwidth / 1e12:.2f} TB/s, {card.memory / 1e9:,.0f} GB), prompts of "
        f"{course.prompt_tokens} and completions of {course.completion_tokens} tokens{replies}; "
        f"SHA-256 at {HASHED / 1e9} GB/s, as measured on an AMD EPYC core, and a disk of "
        f"{DISK / 1e9:.0f} GB/s",
    )
