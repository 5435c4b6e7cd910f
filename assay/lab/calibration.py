"""Compares two implementations on the same tokens, to see whether a network may permit both.

The tokens are the checkpoint's own calibration set. Attacks run on fewer of them, for comparison.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from assay.inference.calibration import Comparison, Side, compare, measure_divergence
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.families import CHOSEN
from assay.inference.folder import CALIBRATION_FILE, MANIFEST_FILE, read_passages
from assay.inference.implementations import make_alone
from assay.inference.measurable import require_measurable
from assay.inference.pair_report import Pair, RouterReading, describe_pair, list_thresholds
from assay.inference.passages import Passage
from assay.inference.placement import make_placement
from assay.inference.reference import Reference
from assay.inference.routing import choose_fewer, count_experts, has_routers
from assay.lab.calibration_picture import draw_pair
from assay.lab.gauntlet.strategy import make_int4, make_int8
from assay.network.files import write_file, write_json
from assay.network.hub.origin import find_origin
from assay.protocol.encoding import to_json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import (
    EXPERT_BITS,
    FRACTION_BITS,
    MAIN_WORK,
    SMALL_MODEL_TESTS,
    make_tests,
)
from assay.settings.loading import ConfigError, make_out_folder
from assay.settings.placing import open_placement
from assay.settings.sections import CalibrateSettings, ComputeSettings
from assay.verification import Projection, make_projection

#: Contexts on which attacks run.
_ATTACKED_CONTEXTS = 64
#: Share by which each weight is off, in the attack with a model close to the true one.
_PERTURBATION = 0.01
_COOLER = round(0.9 * MAIN_WORK.temperature)
REPORT_FILE, PICTURE_FILE = "report.json", "calibration.svg"
#: Called with one line about what is being done.
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The document of report.json, and the folder that has it."""

    report: dict[str, Any]
    out: Path

    @property
    def is_fit(self) -> bool:
        """Whether a network may permit the pair, and nothing is to be fixed first."""
        return not self.report["refused"] and not self.report["findings"]


def calibrate(settings: CalibrateSettings, compute: ComputeSettings, step: Step) -> Calibrated:
    """Compare two implementations, and write what a network that permits both needs: calibration,
    report and picture.

    Args:
        settings: names a model's folder.
        step: called with what is being done.

    Raises:
        ConfigError: the settings do not fit together.
        CheckpointError, ImplementationError: the model or an implementation cannot be used.
    """
    _require_usable(settings)
    assert settings.model is not None
    out = settings.out
    step("loading the model")
    sides = _open_sides(settings, compute)
    checkpoint = sides[settings.b]
    contexts = read_passages(settings.model)[: settings.problems]
    if len(contexts) < 2:
        raise ConfigError(f"{settings.model} has a calibration set of fewer than two contexts")
    step("trying whether the model can be measured in packs")
    require_measurable(checkpoint.model)
    pair = _measure(sides, contexts, settings, step)
    report, calibration = describe_pair(pair)
    report = {"model": settings.model.name, "checkpoint": checkpoint.digest.hex(), **report}
    origin = find_origin(settings.model)
    if origin is not None:
        report |= {"model": str(origin.pinned), "origin": origin.to_json()}
    if calibration is not None:
        write_json(out / CALIBRATION_FILE, to_json(calibration))
        report["calibration"] = calibration.digest.hex()
    else:  # an older file would look like this pair's
        (out / CALIBRATION_FILE).unlink(missing_ok=True)
    write_json(out / REPORT_FILE, report)
    write_file(out / PICTURE_FILE, draw_pair(pair).encode())
    return Calibrated(report, out)


def _require_usable(settings: CalibrateSettings) -> None:
    """Check everything that can be known before minutes of work."""
    if settings.cap is not None and round(settings.cap * 2**FRACTION_BITS) < 100:
        raise ConfigError("--cap is too small: the first level is a hundredth of it, in 2^-20")
    if (settings.out / MANIFEST_FILE).exists():
        raise ConfigError(f"--out {settings.out} contains a checkpoint: name another folder")
    make_out_folder(settings.out)


def _open_sides(settings: CalibrateSettings, compute: ComputeSettings) -> dict[str, Checkpoint]:
    """Each side's checkpoint, and where and how it runs. It is loaded once for each device."""
    default = open_placement(compute)
    placements = {}
    for name in (settings.a, settings.b):
        device, _, implementation = name.rpartition(":")
        placements[name] = make_placement(
            device or default.device, implementation, default.memory_share
        )
    if len(set(placements.values())) < 2:
        raise ConfigError(f"--a {settings.a} and --b {settings.b} are the same: name two")
    assert settings.model is not None
    loaded: dict[str, Checkpoint] = {}
    sides = {}
    for name, placement in placements.items():
        if placement.device not in loaded:
            loaded[placement.device] = load_checkpoint(settings.model, placement=placement)
        sides[name] = loaded[placement.device]
    return sides


def _measure(
    loaded: Mapping[str, Checkpoint],
    contexts: list[Passage],
    settings: CalibrateSettings,
    step: Step,
) -> Pair:
    temperature = MAIN_WORK.temperature
    tests = SMALL_MODEL_TESTS
    if settings.cap is not None:
        tests = make_tests(round(settings.cap * 2**FRACTION_BITS))
    taus = list_thresholds(tests)
    checkpoint = loaded[settings.b]
    seed = hash_fields(Domain.PROJECTION, checkpoint.digest)
    projection = make_projection(seed, checkpoint.manifest)
    sides = []
    for name in (settings.a, settings.b):
        step(f"{name} reads {len(contexts):,} contexts")
        implementation = name.rpartition(":")[2]
        reference = loaded[name].get_reference(temperature, implementation)
        sides.append(Side.compute(reference, contexts))
    a, b = sides
    step("comparing the two")
    honest = compare(a, b, contexts, taus, temperature, projection)
    attacked = contexts[:_ATTACKED_CONTEXTS]
    judge = Side(b.reference, b.states[: len(attacked)])
    own = None
    if has_routers(checkpoint.model):
        step("its own routers read")
        drawable = checkpoint.tokenizer.drawable
        own = Side.compute(Reference(checkpoint.model, drawable, temperature), attacked)
    return Pair(
        a=settings.a,
        b=settings.b,
        honest=honest,
        attacks=_measure_attacks(checkpoint, attacked, judge, own, taus, projection, step),
        routers=None if own is None else _read_routers(checkpoint, attacked, judge, own, step),
        tests=tests,
        temperature=temperature,
        stored=checkpoint.calibration if settings.cap is None else None,
    )


def _measure_attacks(
    checkpoint: Checkpoint,
    contexts: list[Passage],
    judge: Side,
    own: Side | None,
    taus: list[float],
    projection: Projection,
    step: Step,
) -> dict[str, Comparison]:
    """The results of miners that deviate: they prefill with the model that they draw from. `own`: a
    mixture with its own routers."""
    temperature = MAIN_WORK.temperature
    drawable = checkpoint.tokenizer.drawable

    def make(model: PreTrainedModel, chosen: Callable[[int], int] | None = None) -> Reference:
        cheap = make_alone(model)
        if chosen is not None:
            choose_fewer(cheap, chosen)
        return Reference(cheap, drawable, temperature)

    makers: dict[str, Callable[[], Reference]] = {
        "bf16": lambda: checkpoint.get_reference(temperature, "bf16"),
        "int8": lambda: make(make_int8(checkpoint.model)),
        "int4": lambda: make(make_int4(checkpoint.model)),
        "1 % noise": lambda: make(_perturb(checkpoint.model)),
    }
    if own is not None:
        makers |= {
            "one expert fewer": lambda: make(checkpoint.model, lambda k: max(1, k - 1)),
            "half of the experts": lambda: make(checkpoint.model, lambda k: max(1, k // 2)),
        }
    comparisons = {}
    for name, make_cheat in makers.items():
        step(f"attack: {name}")
        side = Side.compute(make_cheat(), contexts)
        comparisons[name] = compare(side, judge, contexts, taus, temperature, projection)
    if own is not None:
        step("attack: own routers")
        comparisons["own routers"] = compare(own, judge, contexts, taus, temperature, projection)
    step("attack: T = .9")
    comparisons["T = .9"] = compare(judge, judge, contexts, taus, temperature, projection, _COOLER)
    return comparisons


def _read_routers(
    checkpoint: Checkpoint, contexts: list[Passage], judge: Side, own: Side, step: Step
) -> RouterReading:
    """The ramp of a mixture. `own`: with its own routers."""
    step("reading the routers")
    ramped = make_alone(checkpoint.model)
    drawable, temperature = checkpoint.tokenizer.drawable, MAIN_WORK.temperature
    with count_experts(ramped) as count:
        Side.compute(Reference(ramped, drawable, temperature), contexts)
    return RouterReading(
        ramp=checkpoint.manifest.router_ramp,
        proposed=count.proposed,
        chosen=getattr(checkpoint.model.config, CHOSEN),
        needed=count.needed / (1 << EXPERT_BITS),
        divergence=measure_divergence(own, judge),
    )


def _perturb(model: PreTrainedModel) -> PreTrainedModel:
    """A copy with every weight off by about 1 %, the same on every run."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            parameter.mul_(1 + _PERTURBATION * noise)
    return other
