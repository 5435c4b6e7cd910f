"""What `assay plan` prints."""

from rich.console import Group, RenderableType
from rich.text import Text

from assay.cli.console import FIGURES, make_table, print_result
from assay.settings.money import format_dollars
from assay.subnet.machine_speed import MachineSpeed
from assay.subnet.window_costs import DISK, HASHED, LEAST_WEIGHTS, SUSTAINED, ScoringCost
from assay.subnet.window_plan import CoursePlan, RolePlan
from assay.subnet.window_prices import WindowPrices

_GIB = 1 << 30


def show_plan(plan: CoursePlan, prices: WindowPrices | None, as_json: bool) -> None:
    """Show the cost of a window, also in dollars if a machine's price is known."""
    document = plan.to_json() | {"prices": prices and prices.to_json()}
    print_result(document, as_json, render_plan(plan, prices), FIGURES)


def render_plan(plan: CoursePlan, prices: WindowPrices | None = None) -> RenderableType:
    """The plan for people."""
    table = make_table(
        "program",
        "GPUs" if plan.speed is None else "machines",
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
        shortages = [] if role.fits_time else ["time"]
        shortages += [] if role.fits_memory else ["memory"]
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
            "yes" if role.fits else f"no: {' and '.join(shortages)}",
        )
    lines = _describe_plan(plan)
    priced = [] if prices is None else _render_prices(prices, plan)
    return Group(Text(lines[0]), table, *priced, *(Text(line) for line in lines[1:]))


def _render_prices(prices: WindowPrices, plan: CoursePlan) -> list[RenderableType]:
    """Dollars by program, and what they do not say."""
    table = make_table(
        "dollars", "machines", "a window", "1M verified", "1M of its own", left=("dollars",)
    )
    for one in prices.programs:
        own = f"{one.own_kind} {_say(one.own)}"
        cells = _say(one.window), _say(one.verified), own
        table.add_row(one.program, f"{one.machines:,}", *cells)
        cells = _say(one.rented), _say(one.verified_rented), _say(one.own_rented)
        table.add_row("  rented", "", *cells)
    table.add_row("together", "", "", _say(prices.verified), "")
    table.add_row("  rented", "", "", _say(prices.verified_rented), "")
    each = format_dollars(round(prices.programs[0].rented / plan.miners))
    lines = (
        f"at {format_dollars(prices.hour)} an hour of each machine: while it works, and rented for "
        "all of a window. 1M verified: a million tokens of completions that all miners commit, "
        f"{prices.tokens:,} in a window, with one validator; each further one costs as much again",
        f"a miner's window costs {each} rented. What it is paid is not known here: the subnet's "
        "emission, what others commit, alpha's price in TAO, TAO's in dollars. `assay mine "
        "--dry-run --price` asks the chain",
    )
    return [table, *(Text(line) for line in lines)]


def _say(amount: int | None) -> str:
    return "–" if amount is None else format_dollars(amount)


def _describe_shortage(role: RolePlan, plan: CoursePlan) -> str:
    """The number that would fit where memory does not suffice."""
    prompt, work = plan.recipe.course.prompt, plan.rules.work
    bound, needs = "max_tokens", f"{work.max_tokens:,} tokens behind a prompt of {prompt:,}"
    if work.turns > 1:
        bound, needs = "context", f"a context of {work.context:,} tokens"
    needed = (
        f"the {role.role} needs {role.memory / _GIB:,.1f} GiB for {needs}, and there are "
        f"{role.allowed_memory / _GIB:,.1f}: "
    )
    if role.tokens_fit:
        return f"{needed}{bound} = {role.tokens_fit:,} would fit"
    return f"{needed}no {bound} would fit"


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


def _describe_class(plan: CoursePlan) -> str:
    """What is known of a class that no family describes, and what is not."""
    return (
        f"no family describes {plan.recipe.model.model_type}: its class reads each rollout with "
        f"its prompt, {plan.times_read:.2f} times the tokens of packed rows. Not known here: what "
        "its layers are (memory and seconds are of layers that all attend to all tokens), and "
        "whether its own cache serves a draft: without, each token reads the whole again, and a "
        "miner makes far fewer groups. `assay adopt` says which, and how fast it reads"
    )


def _describe_levels(plan: CoursePlan) -> str:
    """What is asked at the start, and how far that may move."""
    steering = plan.rules.steering
    shares = ", ".join(f"{level} ({share:.1%})" for level, share in plan.shares.items())
    if not steering.weight_step:
        return f"curriculum at the start: levels {shares}; their weights stay"
    low, high = (bound / 10 for bound in (steering.success_low, steering.success_high))
    least, most = (bound / 1_000 for bound in (steering.weight_min, steering.weight_max))
    return (
        f"curriculum at the start: levels {shares}; each checkpoint changes their weights by at "
        f"most {steering.weight_step / 10:g} %, between {least:g} and {most:g}, toward levels with "
        f"few zero-variance groups, of which {low:g} to {high:g} % are solved"
    )


def _describe_source(plan: CoursePlan) -> str:
    """Where seconds are from."""
    card, course, speed = plan.card, plan.recipe.course, plan.speed
    lengths = (
        f"prompts of {course.prompt_tokens} and completions of {course.completion_tokens} tokens"
    )
    if course.reply_tokens:
        lengths += f", with replies of {course.reply_tokens}"
    if speed is None:
        return (
            f"computed, not measured: {SUSTAINED:.0%} of the data sheet of {card.name} "
            f"({card.source}: {card.bf16 / 1e12:,.0f} TFLOPS of bf16, {card.fp32 / 1e12:,.1f} of "
            f"fp32, {card.bandwidth / 1e12:.2f} TB/s, {card.memory / 1e9:,.0f} GB), {lengths}; "
            f"SHA-256 at {HASHED / 1e9} GB/s, as measured on an AMD EPYC core, and a disk of "
            f"{DISK / 1e9:.0f} GB/s"
        )
    reading, drafting, files = speed.reading, speed.drafting, speed.files
    threads = "one thread" if speed.threads == 1 else f"{speed.threads} threads"
    stored = f"a disk of {DISK / 1e9:.0f} GB/s, which could not be measured"
    if speed.stored is not None:
        stored = f"a disk of {speed.stored / 1e9:.2f} GB/s"
    return (
        f"measured on {speed.device} by {threads}, in {speed.took_wall:,.0f} s of the clock and "
        f"{speed.took:,.0f} of its processors. A reading takes {reading.token * 1e6:,.3g} µs a "
        f"token for products, {reading.seen * 1e9:,.3g} ns for each token that it sees in a layer, "
        f"{reading.drawn * 1e6:,.3g} µs for logits and a keyed draw; a step of a draft "
        f"{drafting.step * 1e3:,.3g} ms, and {drafting.row * 1e6:,.3g} µs for each row; a "
        f"miner's file {files.write * 1e3:,.3g} ms for each group; all but the reading of its "
        f"audit {files.file * 1e3:,.3g} ms, and {files.group * 1e3:,.3g} ms for each group; "
        f"SHA-256 at {speed.hashed / 1e9:.2f} GB/s, and {stored}. Seconds are those of a machine "
        f"that does nothing else{_say_threads(speed)}, for {lengths}. A lesson is taken for as "
        "many readings as it has passes"
    )


def _say_threads(speed: MachineSpeed) -> str:
    if speed.threads == 1:
        return ""
    many = speed.threads
    return f", whose {many} threads are all busy: {many} times as many of its processors"


def _describe_plan(plan: CoursePlan) -> tuple[str, ...]:
    """Lines: the introduction, and the text below the table."""
    course = plan.recipe.course
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
    position_cost = (
        f"each earlier token of a completion makes a token {plan.late_share / 1e4:.2f} % more "
        f"costly, and pays it {plan.rules.work.position_share / 1e4:.2f} % more (position_share)"
    )
    return (
        f"{plan.recipe.about}",
        f"{miners} up to {miner.cost.groups} groups each in a window of "
        f"{plan.window_seconds:,.0f} s; the trainer judges {trainer.cost.groups} of them",
        f"{course.steps} steps of {plan.step_seconds:,.0f} s: {plan.hours:,.1f} hours",
        f"the plan assumes that all programs run {course.implementation}: start them with "
        f"--implementation {course.implementation}",
        *(() if plan.scoring is None else (_describe_scoring(plan.scoring),)),
        *(() if plan.gate is None else plan.gate.describe()),
        position_cost,
        _describe_levels(plan),
        *(_describe_shortage(role, plan) for role in plan.roles if not role.fits_memory),
        *((host,) if trainer.offloaded else ()),
        *(() if plan.recipe.model.packs else (_describe_class(plan),)),
        *(() if plan.holds else (small,)),
        *(f"no trainer on this machine: {line}" for line in plan.missing),
        _describe_source(plan),
    )
