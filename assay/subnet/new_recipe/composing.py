"""The sections of a new recipe, with the reason of every number."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from assay.protocol.encoding import to_json
from assay.protocol.parameters import FRACTION_BITS, Tests, Timing, Work
from assay.session.memory import PROMPT
from assay.subnet.calibration_findings import CalibrationFindings
from assay.subnet.new_recipe.numbers import CPU, Sizes, explain_sizes
from assay.subnet.new_recipe.trial import Trial
from assay.subnet.new_recipe.writing import Entry, Section, list_settings, write_recipe
from assay.subnet.presets import PRESETS

#: Longest description of a recipe, characters.
_ABOUT_MAX = 200


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a recipe is written from.

    Attributes:
        command: that writes it.
        asked, answers: names of the problems and of the model, for its description.
        environment, files: as in a recipe. levels: to begin with.
        are_chosen: an owner has named the levels.
        model: entries of `[model]` and of `[model.config]`.
        work, tests: of the parameters. sizes: by which K and G are chosen.
        units: millions that a problem may cost. cost: what a right answer costs, in words.
        findings: of the calibration by these tests; None: it is still to come.
        pairs: of implementations to compare.
        trainer: settings. near: the shipped recipe that they are of, and how they differ.
        course: `[course]`, but for what the trial has measured.
    """

    command: str
    seed: int
    asked: str
    answers: str
    preset: str
    environment: str
    files: Sequence[str]
    levels: Sequence[int]
    are_chosen: bool
    model: tuple[Sequence[Entry], Sequence[Entry]]
    work: Work
    tests: Tests
    sizes: Sizes
    units: int
    cost: str
    trial: Trial
    problems: int
    pairs: Sequence[tuple[str, str]]
    findings: CalibrationFindings | None
    trainer: Mapping[str, Any]
    near: tuple[str, str]
    course: Mapping[str, Any]


def compose_recipe(facts: Facts) -> str:
    """The file's text."""
    sizes, config = facts.model
    return write_recipe(
        [
            _compose_head(facts),
            Section("model", sizes, ["The sizes in the adopted model's config.json."]),
            Section("model.config", config),
            _compose_work(facts),
            _compose_tests(facts),
            _compose_calibration(facts),
            _compose_trainer(facts),
            _compose_course(facts),
        ]
    )


def _compose_head(facts: Facts) -> Section:
    timing = PRESETS[facts.preset].timing
    about = f"{facts.answers} learns {facts.asked}"
    entries = [
        Entry("about", about[:_ABOUT_MAX]),
        Entry("preset", facts.preset, _explain_windows(timing)),
        Entry("environment", facts.environment, "by the SHA-256 of its files" * bool(facts.files)),
    ]
    if facts.files:
        entries.append(Entry("files", list(facts.files), "those files, from this one's folder"))
    entries.append(Entry("levels", list(facts.levels), _explain_levels(facts)))
    return Section(
        "",
        entries,
        [
            f"Written by `{facts.command}`. Figures are of that run on one machine: "
            f"{len(facts.trial.outcomes)} problems of seed {facts.seed}, one completion each, "
            f"of which {facts.trial.solved} are right and {facts.trial.read} can be read. `assay "
            "plan`, demo, localnet, train and subnet publish take this file with --recipe."
        ],
    )


def _explain_windows(timing: Timing) -> str:
    return f"windows of {timing.window_blocks} blocks of {timing.slot_ms / 1_000:g} s"


def _explain_levels(facts: Facts) -> str:
    counts = ", ".join(
        f"{solved} of {asked} at {level}" for level, (asked, solved) in facts.trial.levels.items()
    )
    if facts.are_chosen:
        return f"named by --level; solved: {counts}"
    if not facts.trial.solved:
        return f"the easiest, because nothing is solved yet: {counts}"
    return f"those that are solved sometimes, but not always: {counts}"


def _compose_work(facts: Facts) -> Section:
    work, trial, base = facts.work, facts.trial, PRESETS[facts.preset].work
    load = explain_sizes(facts.sizes, facts.units)
    ended = max(trial.ended, default=0)
    whys = {
        "group_size": f"G: {load}" + (f"; {facts.cost}" if facts.cost else ""),
        "valued_groups": "K: see group_size; a miner with such a machine makes as many in a window",
        "audited_rollouts": "R: beyond K, those that are drawn uniformly",
        "group_cap": "of a miner: the trainer has time to judge so many of each in a window",
        "max_tokens": (
            f"{trial.cut} of {len(trial.outcomes)} were cut off at {trial.ceiling}; the longest "
            f"other one has {ended}"
        ),
        "position_share": "as `assay plan` computes it for the card",
        "turns": "as many as the environment's worlds want",
        "context": "prompt and replies of the longest episode, and max_tokens, with a quarter more",
        "reply_bytes": f"twice the longest reply, which has {trial.reply_bytes}",
        "paid_reply": (
            f"thousandths: {trial.mean_replies:.0f} tokens of replies to "
            f"{trial.compute_own(work.max_tokens):.0f} own ones, as far as no fake gains by it"
        ),
    }
    changed = {
        name: value
        for name, value in asdict(work).items()
        if value != getattr(base, name) or name in ("group_size", "valued_groups", "max_tokens")
    }
    return Section("parameters.work", list_settings(changed, whys))


def _compose_tests(facts: Facts) -> Section:
    tests, base, unit = facts.tests, PRESETS[facts.preset].tests, 2**FRACTION_BITS
    about = []
    if facts.findings is not None:
        found = facts.findings
        a, b = found.pair
        about = [
            f"A cap of {tests.margin_cap / unit:.2g} logits. Measured between {a} and {b} on "
            f"{found.calibration.tokens:,} tokens: margins exceed {found.margin:.2g} once in 1e8 "
            f"tokens, so the rule's least cap is {found.cap:,}; an honest rate is at most "
            f"{found.rate_share:.2g} of its limit; states have scale {found.scale:,}. Other "
            "machines may need more: `assay calibrate` on each kind."
        ]
    written = to_json(tests)
    changed = {name: value for name, value in written.items() if value != to_json(base)[name]}
    first = ("margin_cap", "margin_levels", "scale_max")
    names = [*(name for name in first if name in changed or name != "scale_max")]
    names += [name for name in changed if name not in names]
    whys = {
        "margin_cap": "2^-20 logits",
        "margin_levels": "0 and a hundredth of the cap, doubled",
        "scale_max": "2^-16: twice the measured scale, or the preset's",
    }
    entries = [Entry(name, written[name], whys.get(name, "")) for name in names]
    return Section("parameters.tests", entries, about)


def _compose_calibration(facts: Facts) -> Section:
    return Section(
        "calibration",
        [
            Entry("problems", facts.problems, "of the set that checkpoint 0 is calibrated on"),
            Entry("pairs", [list(pair) for pair in facts.pairs]),
        ],
    )


def _compose_trainer(facts: Facts) -> Section:
    name, difference = facts.near
    about = f"As {name} has them, the shipped recipe of the nearest size for such a machine"
    about += f"; {difference}." if difference else "."
    return Section("trainer", list_settings(facts.trainer, {}), [about])


def _compose_course(facts: Facts) -> Section:
    trial, work = facts.trial, facts.work
    own = trial.compute_own(work.max_tokens)
    values = dict(facts.course)
    values["prompt_tokens"] = ceil(trial.mean_prompt)
    if trial.prompt > PROMPT:
        values["longest_prompt"] = trial.prompt
    values["completion_tokens"] = max(1, min(work.max_tokens, ceil(own)))
    if work.turns > 1:
        values["reply_tokens"] = max(1, ceil(trial.mean_replies))
    whys = {
        "card": "of everybody" if values["card"] != CPU else "of everybody: no GPU",
        "prompt_tokens": f"on average; the longest of the trial has {trial.prompt}",
        "completion_tokens": f"on average, {own:.1f}",
        "reply_tokens": f"of an episode, on average, {trial.mean_replies:.1f}",
        "miners": "expected; `assay plan --miners N` takes others",
        "steps": f"as {facts.near[0]}",
    }
    order = (
        *("card", "implementation", "trainer_cards", "miners", "groups_per_step"),
        *("prompt_tokens", "longest_prompt", "completion_tokens", "reply_tokens", "steps"),
    )
    ordered = {name: values[name] for name in order if name in values}
    return Section("course", list_settings(ordered, whys))
