"""From what is asked and a model to a recipe's file.

    made = make_recipe(RecipeRequest("problems.csv", Path("model"), Path("problems.toml"), …))

What is cheap is checked first, all of it; then the model is adopted, tried on problems, and
calibrated as publishing would. What publishing asks of a network, this asks of its own recipe.
"""

import json
import tomllib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.environments.base import Environment
from assay.environments.registry import count_named_units, open_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.context_length import count_positions
from assay.inference.pair_report import CAP_RATE_MAX
from assay.inference.plain_config import is_plain
from assay.network.files import replace_file
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import REPLY_BYTES_MAX, Parameters, Tests, Work, make_tests
from assay.session.window_time import compute_window_seconds
from assay.settings.loading import ConfigError, check_all, open_named_environment
from assay.settings.sections import MinerSettings
from assay.subnet.adoption.adopt import Adoption, plan_adoption, write_adoption
from assay.subnet.calibration_findings import CalibrationFindings
from assay.subnet.genesis_checkpoint import (
    RampMissingError,
    calibrate_recipe,
    open_adopted_tokenizer,
)
from assay.subnet.measurements import Measurements
from assay.subnet.model_class import make_class
from assay.subnet.model_measurements import ModelMeasurements
from assay.subnet.new_recipe.composing import Facts, compose_recipe
from assay.subnet.new_recipe.model_section import list_model_entries
from assay.subnet.new_recipe.numbers import (
    CPU,
    Sizes,
    choose_levels,
    choose_max_tokens,
    choose_trainer,
    complete_replies,
    compute_cap,
    find_nearest,
    list_sizes,
    round_up,
)
from assay.subnet.new_recipe.subject import Subject, open_subject
from assay.subnet.new_recipe.trial import Trial, ask_model, try_model
from assay.subnet.presets import PRESETS, make_identity, make_parameters
from assay.subnet.publishing import list_network_faults
from assay.subnet.recipe import PlainRecipe, Recipe, find_recipe_faults, read_recipe
from assay.subnet.reply_frames import fill_frames
from assay.subnet.waiting import Report, ignore_report, telling
from assay.subnet.window_costs import (
    LEAST_WEIGHTS,
    Card,
    SheetPace,
    compute_late_share,
    compute_miner_cost,
    compute_trainer_cost,
    get_card,
)
from assay.subnet.window_plan import list_shortages, make_plan

#: Most own tokens of a completion that is tried: on a GPU, on a processor, and there by a model of
#: `LEAST_WEIGHTS`, for which these are minutes. Problems that it is then calibrated on.
_CEILING, _CEILING_CPU, _CEILING_LARGE, _CALIBRATED_LARGE = 1_024, 128, 64, 32
#: Bytes of a reply, and tokens of one beside a turn's, for which a trial has room.
_REPLY_BYTES, _REPLY_TOKENS = 4_096, 256
#: The least that replies may have, bytes.
_REPLY_MIN = 64
#: Longest context of a trial of episodes, tokens.
_CONTEXT_MAX = 1 << 15
#: Most groups of a miner, where the nearest recipe has no bound; miners that are expected.
_CAP_MAX, _MINERS, _MINERS_CPU = 64, 4, 2
#: How often a cap is doubled that does not hold, and caps that are measured together.
_DOUBLINGS, _FORESEEN = 8, 4
#: Of a machine, what a miner has beside validator and trainer, and the groups that it should make.
_OWN_SHARE, _OWN_GROUPS = 0.5, 2
#: The most seconds that a localnet's blocks may take.
_BLOCK_TIME_MAX = 60


@dataclass(frozen=True, slots=True)
class RecipeRequest:
    """A recipe that an owner wants.

    Attributes:
        asked: see `open_subject`. data, family: see there, too.
        model: as `assay adopt` takes it. named: as a person has named it.
        out: the file. It may be there.
        card: of miners, validators and trainer; see `get_card`.
        device: torch's name of this machine's, on which the model is tried.
        is_here: whether the trainer is to run on this machine.
        levels: to begin with; None: by the trial, in which all are asked.
        ceiling: most own tokens of a completion that is tried; None: by the device.
        problems: of the trial, and of the calibration. seed: of the trial's.
        command: that asks for it, for a comment.
    """

    asked: str
    model: Path
    named: str
    out: Path
    card: str = CPU
    device: str = CPU
    is_here: bool = True
    preset: str = "main"
    levels: Sequence[int] | None = None
    miners: int | None = None
    ceiling: int | None = None
    problems: int = 64
    seed: int = 0
    data: Path | None = None
    family: str | None = None
    command: str = "assay recipe new"


@dataclass(frozen=True, slots=True)
class MadeRecipe:
    """A recipe that was written, and what an owner should know of it.

    Attributes:
        block_time: seconds between a localnet's blocks with which this machine makes groups.
    """

    file: Path
    recipe: Recipe
    trial: Trial
    findings: CalibrationFindings
    notes: Sequence[str]
    block_time: int

    def to_json(self) -> dict[str, Any]:
        """The result for scripts."""
        trial, work = self.trial, self.recipe.parameters["work"]
        return {
            "recipe": str(self.file),
            "environment": self.recipe.environment,
            "files": list(self.recipe.files),
            "levels": list(self.recipe.levels),
            "work": work,
            "trial": {
                "problems": len(trial.outcomes),
                "right": trial.solved,
                "read": trial.read,
                "cut": trial.cut,
                "levels": {str(k): list(counts) for k, counts in trial.levels.items()},
            },
            "calibration": self.findings.to_json(),
            "notes": list(self.notes),
            "block_time": self.block_time,
        }


def make_recipe(
    request: RecipeRequest, report: Report = ignore_report, kept: Measurements | None = None
) -> MadeRecipe:
    """Measure, and write the file, atomically.

    Args:
        report: called with what takes long.
        kept: what was measured before; None: nothing is kept.

    Raises:
        ConfigError: problems, model and machine do not fit: everything that is wrong, in lines.
        OperatorError: something cannot be read or run.
    """
    kept = kept or Measurements()
    with ExitStack() as opened:

        def read_model() -> Adoption:
            with telling(report, f"reading {request.named}"):
                return opened.enter_context(plan_adoption(request.model))

        checks: list[Callable[[], Any]] = [
            partial(get_card, request.card),
            partial(_open_subject, request, report),
            read_model,
        ]
        card, subject, adoption = check_all(checks)
        folder = Path(
            opened.enter_context(TemporaryDirectory(prefix=".assay-", dir=request.out.parent))
        )
        write_adoption(adoption, folder, report)
        return _Making(request, card, subject, adoption, folder, report, kept).make()


def _open_subject(request: RecipeRequest, report: Report) -> Subject:
    sizes = list_sizes(request.card, request.preset)
    subject = open_subject(request.asked, request.data, request.family, sizes, report)
    legal = open_named_environment(subject.name).levels
    wrong = sorted(set(request.levels or ()) - set(legal))
    if wrong:
        listed = ", ".join(map(str, legal[:24])) + (", …" if len(legal) > 24 else "")
        raise ConfigError(f"--level {wrong[0]}: {request.asked} has the levels {listed}")
    return subject


@dataclass(frozen=True)
class _Making:
    """The way from a model that is adopted in a folder to a recipe's file."""

    request: RecipeRequest
    card: Card
    subject: Subject
    adoption: Adoption
    folder: Path
    report: Report
    kept: Measurements

    @property
    def is_slow(self) -> bool:
        """Whether each token of the model takes this machine long."""
        return self.request.device == CPU and self.adoption.weights >= LEAST_WEIGHTS

    def make(self) -> MadeRecipe:
        request = self.request
        trial, work = self._try()
        facts = self._choose_sizes(self._gather(trial, work))
        facts = self._calibrate(facts)
        assert facts.findings is not None, "it was calibrated"
        with replace_file(request.out) as temporary:
            temporary.write_text(compose_recipe(facts), "utf-8")
            recipe = read_recipe(str(temporary))
        notes = self._list_notes(facts)
        time = self._find_block_time(recipe, facts.findings.token_seconds)
        return MadeRecipe(request.out, recipe, trial, facts.findings, notes, time)

    # --- measuring

    def _try(self) -> tuple[Trial, Work]:
        """The trial, and [work] as far as it follows from it alone."""
        request, name = self.request, self.subject.name
        bare, sizes = open_named_environment(name), self.subject.sizes
        by_device = _CEILING_LARGE if self.is_slow else _CEILING_CPU
        ceiling = request.ceiling or (by_device if request.device == CPU else _CEILING)
        base = replace(
            PRESETS[request.preset].work,
            group_size=sizes.group_size,
            valued_groups=sizes.valued_groups,
            audited_rollouts=sizes.audited_rollouts,
            max_tokens=ceiling,
        )
        if bare.turns > 1:
            positions = count_positions(self.adoption.config) or _CONTEXT_MAX
            context = min(positions, ceiling + bare.turns * _REPLY_TOKENS + _CONTEXT_MAX // 4)
            base = replace(
                base, turns=bare.turns, context=max(context, ceiling), reply_bytes=_REPLY_BYTES
            )
        environment = self._open(base)
        levels = sorted(set(request.levels or environment.levels))
        given = request.problems, request.seed, ceiling, base.context
        asked, fits = ask_model(self.folder, environment, levels, *given)
        base = replace(base, max_tokens=fits)
        measuring = ModelMeasurements(self.folder, self.kept, request.device, report=self.report)
        trial = try_model(measuring, self.folder, environment, asked, base)
        return trial, self._size_lengths(trial, base)

    def _open(self, work: Work) -> Environment:
        """The environment with the frames of its replies."""
        base = PRESETS[self.request.preset]
        blank = make_identity(bytes(32), 0, 0, bytes(32), bytes(32))
        rules = make_parameters(base.timing, base, blank, QUICKNET, self.subject.name)
        tokenizer = open_adopted_tokenizer(self.folder)
        rules = fill_frames(replace(rules, work=work), tokenizer, self.report)
        return open_environment(rules.environment)

    def _size_lengths(self, trial: Trial, work: Work) -> Work:
        most = choose_max_tokens(trial.ended, trial.cut, trial.ceiling)
        work = replace(work, max_tokens=most)
        if work.turns == 1:
            return work
        said = max(one.prompt + one.replies for one in trial.outcomes)
        positions = count_positions(self.adoption.config) or _CONTEXT_MAX
        context = min(positions, round_up(said + most))
        longest = min(REPLY_BYTES_MAX, max(_REPLY_MIN, 2 * trial.reply_bytes))
        return replace(work, context=max(context, most), reply_bytes=longest)

    def _calibrate(self, facts: Facts) -> Facts:
        """Find the tests that a model's calibration fits, and ask what publishing would ask."""
        request, tests = self.request, facts.tests
        findings: CalibrationFindings | None = None
        for _ in range(_DOUBLINGS):
            facts = replace(facts, tests=tests)
            recipe = self._read(facts)
            rules = recipe.make_rules()
            given = recipe, self.folder, rules, request.device, self.report, self.kept
            wider = [_scale(tests, tests.margin_cap << n) for n in range(1, _FORESEEN)]
            try:
                findings = calibrate_recipe(*given, others=wider).findings
            except RampMissingError as error:
                tests = replace(tests, router_ramp=error.ramp, experts_max=error.experts_max)
                continue
            if not findings.faults:
                break
            tests = _widen(tests, findings)
        assert findings is not None, "a ramp lacks once"
        faults = [f"the calibration does not hold: {fault}" for fault in findings.faults]
        faults += find_recipe_faults(recipe)
        faults += self._ask_as_publishing(rules)
        faults += list_shortages(make_plan(recipe, self.card, recipe.course.miners))
        if faults:
            raise ConfigError("\n".join(dict.fromkeys(faults)))
        return replace(facts, findings=findings)

    def _ask_as_publishing(self, rules: Parameters) -> list[str]:
        checkpoint = load_checkpoint(self.folder)
        identity = replace(rules.identity, genesis_checkpoint=checkpoint.manifest.digest)
        rules = fill_frames(replace(rules, identity=identity), checkpoint.tokenizer, ignore_report)
        if checkpoint.is_plain:
            rules = replace(rules, model_class=make_class(checkpoint))
        return list_network_faults(rules, checkpoint)

    # --- choosing

    def _gather(self, trial: Trial, work: Work) -> Facts:
        """What is known before the calibration."""
        request, subject, config = self.request, self.subject, self.adoption.config
        entries = list_model_entries(request.named, config, self.adoption.weights)
        near, shipped = find_nearest(self.adoption.weights, self.card.name, work.turns)
        packs = not is_plain(config)
        trainer, differs = choose_trainer(shipped, is_here=request.is_here, packs=packs)
        is_cpu = self.card.name == CPU
        pairs = [("fp32-sdpa", "fp32-eager")]
        pairs += [] if is_cpu else [("fp32-sdpa", "split3")]
        course = {
            "card": self.card.name,
            "implementation": "fp32-sdpa" if is_cpu else "split3",
            "trainer_cards": shipped.course.trainer_cards,
            "miners": request.miners or (_MINERS_CPU if is_cpu else _MINERS),
            "groups_per_step": shipped.course.groups_per_step,
            "steps": shipped.course.steps,
        }
        layers, width = config["num_hidden_layers"], config["hidden_size"]
        assert isinstance(layers, int)
        assert isinstance(width, int)
        tests = PRESETS[request.preset].tests
        tests = _scale(tests, max(tests.margin_cap, compute_cap(layers, width)))
        chosen = sorted(set(request.levels or choose_levels(trial.levels)))
        most = shipped.parameters.get("work", {}).get("group_cap", _CAP_MAX)
        return Facts(
            command=request.command,
            seed=request.seed,
            asked=request.asked,
            answers=request.named,
            preset=request.preset,
            environment=subject.name,
            files=[_name_file(file, request.out) for file in subject.files],
            levels=chosen,
            are_chosen=request.levels is not None,
            model=entries,
            work=replace(work, group_cap=max(most, subject.sizes.valued_groups)),
            tests=tests,
            sizes=subject.sizes,
            units=count_named_units(subject.name).total(),
            cost=subject.cost,
            trial=trial,
            problems=min(request.problems, _CALIBRATED_LARGE if self.is_slow else 4_096),
            pairs=pairs,
            findings=None,
            trainer=trainer,
            near=(near, differs),
            course=course,
        )

    def _choose_sizes(self, facts: Facts) -> Facts:
        """K and G that a miner with the card has time for, and the groups that a trainer has."""
        runs, model = facts.course["implementation"], self._read(facts).model
        work = facts.work
        if model.parameters >= LEAST_WEIGHTS:  # of smaller ones it would say nothing
            share = compute_late_share(model, self.card, runs)
            work = replace(work, position_share=share)
        for sizes in list_sizes(self.card.name, facts.preset):
            if sizes.valued_groups > facts.sizes.valued_groups or sizes.units < facts.units:
                continue
            sized = _put_sizes(replace(facts, work=work), sizes)
            recipe = self._read(sized)
            rules, pace = recipe.make_rules(), SheetPace.of(recipe, self.card)
            if compute_miner_cost(recipe, rules, pace).groups >= sizes.valued_groups:
                break
        window = rules.timing.window_blocks * rules.timing.slot_ms / 1_000
        cap, miners = rules.work.group_cap, recipe.course.miners
        while cap > rules.work.valued_groups:
            if compute_trainer_cost(recipe, rules, pace, miners * cap).seconds <= window:
                break
            cap -= 1
        return replace(sized, work=replace(sized.work, group_cap=cap))

    def _read(self, facts: Facts) -> Recipe:
        """The recipe of some facts, as its file would be read."""
        document = tomllib.loads(compose_recipe(facts))
        form = PlainRecipe if is_plain(self.adoption.config) else Recipe
        read: Recipe = form.model_validate_json(json.dumps(document), strict=True)
        return read

    # --- what an owner should know

    def _list_notes(self, facts: Facts) -> list[str]:
        request, trial = self.request, facts.trial
        count, notes = len(trial.outcomes), list[str]()
        if not trial.solved:
            notes.append(
                f"none of {count} completions is right, and groups without a right answer teach "
                "nothing: `assay train warm-start`, easier problems or another model come first"
            )
        if trial.cut > count // 4:
            notes.append(
                f"{trial.cut} of {count} completions were cut off at {trial.ceiling} tokens: "
                f"--max-tokens {4 * trial.ceiling} tries longer ones"
            )
        if facts.near[1]:
            notes.append(f"[trainer]: {facts.near[1]}")
        if self.card.name != CPU and request.device == CPU:
            notes.append(
                f"the plan is for {self.card.name}; the model was tried on this machine's processor"
            )
        return notes + [f"guessed of the model: {one}" for one in self.adoption.notes.guessed]

    def _find_block_time(self, recipe: Recipe, token_seconds: float) -> int:
        """Seconds between a localnet's blocks with which this machine makes groups in time."""
        timing = PRESETS["demo"].timing  # whose moments a localnet has
        allowed = compute_window_seconds(timing, MinerSettings().commit_margin)
        group = recipe.parameters["work"]["group_size"] * recipe.course.lengths.completion
        takes = _OWN_GROUPS * group * token_seconds / _OWN_SHARE
        return min(_BLOCK_TIME_MAX, max(1, ceil(takes * 1_000 / timing.slot_ms / allowed)))


def _put_sizes(facts: Facts, sizes: Sizes) -> Facts:
    trial, work = facts.trial, facts.work
    work = replace(
        work,
        group_size=sizes.group_size,
        valued_groups=sizes.valued_groups,
        audited_rollouts=sizes.audited_rollouts,
    )
    if work.turns > 1:
        own = trial.compute_own(work.max_tokens)
        work = complete_replies(work, trial.mean_replies, own)
    return replace(facts, work=work, sizes=sizes)


def _widen(tests: Tests, findings: CalibrationFindings) -> Tests:
    """Tests with room for what a calibration has found."""
    cap = tests.margin_cap
    is_crossed = findings.beyond_cap > CAP_RATE_MAX or findings.rate_share > 1
    while cap < findings.cap or (is_crossed and cap == tests.margin_cap):
        cap *= 2
    return replace(_scale(tests, cap), scale_max=max(tests.scale_max, findings.scale_max))


def _scale(tests: Tests, cap: int) -> Tests:
    """Tests with another cap, and the levels that belong to it."""
    return replace(tests, margin_cap=cap, margin_levels=make_tests(cap).margin_levels)


def _name_file(file: Path, recipe: Path) -> str:
    """A file's path as a recipe has it: from its own folder, if it is below that."""
    whole, folder = file.resolve(), recipe.resolve().parent
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)
